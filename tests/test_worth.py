"""What the parts are worth: differences with the interval of both noises, or a word where trials are missing."""

from dataclasses import replace

import pytest
import torch

from sapnet_core.experiments.profiles import get_profile
from sapnet_core.experiments.resampling import Cell, resampled
from sapnet_core.experiments.statistics import compare
from sapnet_core.experiments.systems import OURS
from sapnet_core.experiments.tables import declared_trials
from sapnet_core.reporting import worth as module
from sapnet_core.reporting.worth import FEW, MANY, PARTS, worth, worth_list, worth_sentences
from sapnet_core.runtime import environment

SIZE = get_profile("quick")


def cell_of(trials) -> Cell:
    """Made-up predictions of a cell, noisier for all systems but SAP-Net; the same at every call."""
    true = torch.randn(50, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    ours = trials[0] in {t for key, t in declared_trials("I", SIZE).items() if key[0] == OURS}
    draw = torch.Generator().manual_seed(len(repr(trials[0])))
    noise = torch.randn(len(trials), 50, generator=draw, dtype=torch.float64)
    return Cell(true + (0.2 if ours else 1.5) * noise, true, "made up")


@pytest.fixture
def table_one(monkeypatch):
    """Results of Table I alone."""
    there = set(declared_trials("I", SIZE).values())
    monkeypatch.setattr(module, "has_result", lambda trial: trial in there)
    monkeypatch.setattr(module, "read_cell", cell_of)


def test_the_worth_of_a_part_is_the_difference_of_its_two_systems(table_one):
    table = worth(SIZE).set_index(["part", "column"])
    declared = declared_trials("I", SIZE)
    for part in PARTS:
        if part.trials != "I":
            continue
        for column in (FEW, MANY):
            sides = [
                [resampled(cell_of([declared[row, column, s] for s in SIZE.seeds]), resamples=SIZE.resamples)]
                for row in (part.with_it, part.without_it)
            ]
            found = table.loc[part.name, column]
            assert found["effect"] == pytest.approx(compare(*sides).value) and found["seeds"] == len(SIZE.seeds)
            assert found["low"] < found["effect"] < found["high"]


def test_a_part_without_results_says_so_and_the_others_have_both_shares(table_one):
    sentences = worth_sentences(worth(SIZE))
    assert len(sentences) == len(PARTS)
    for part, sentence in zip(PARTS, sentences, strict=True):
        assert sentence.startswith(f"{part.name}, {part.compared}: ")
        shares = sentence.count("% of the labels")
        assert shares == 2 if part.trials == "I" else sentence.endswith("not trained yet at this size.")


def test_a_part_with_some_of_its_seeds_says_how_many(monkeypatch):
    size = replace(SIZE, seeds=(0, 1, 2))
    one = declared_trials("fig10", size)["whole frame", FEW, 1]
    monkeypatch.setattr(module, "has_result", lambda trial: trial != one)
    monkeypatch.setattr(module, "read_cell", cell_of)
    for part, sentence in zip(PARTS, worth_sentences(worth(size)), strict=True):
        assert sentence.endswith(" (2 of 3 seeds so far).") == (part.trials == "fig10")


def test_readme_shows_what_the_stored_trials_give(tmp_path, monkeypatch):
    monkeypatch.setenv("SAPNET_RUNS", str(tmp_path))  # not what a user's own run has trained
    text = (environment.root() / "README.md").read_text(encoding="utf-8")
    shown = text.split("<!-- worth -->\n")[1].split("\n<!-- end -->")[0]
    assert shown == worth_list(get_profile("study")), "python -m sapnet_core.reporting.worth prints the current list"
