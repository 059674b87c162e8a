"""What the parts are worth: differences with the interval of both noises and the ledger's verdict."""

from dataclasses import replace

import pytest
import torch

from sapnet_core.experiments.profiles import get_profile
from sapnet_core.experiments.resampling import Cell, resampled
from sapnet_core.experiments.statistics import RHO_DIFFERENCE, VERDICTS, compare, hypothesis_of, judge
from sapnet_core.experiments.systems import OURS
from sapnet_core.experiments.tables import declared_trials
from sapnet_core.reporting import worth as module
from sapnet_core.reporting.worth import FEW, MANY, PARTS, worth

SIZE = get_profile("smoke")  # which leaves no table to the study


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


def test_a_part_without_results_has_no_verdict(table_one):
    table = worth(SIZE)
    assert len(table) == 2 * len(PARTS)
    of_table_one = table["part"].isin([part.name for part in PARTS if part.trials == "I"])
    assert (table["seeds"] > 0).equals(of_table_one) and table["effect"].notna().equals(of_table_one)
    assert set(table.loc[of_table_one, "verdict"]) <= set(VERDICTS) and set(table.loc[~of_table_one, "verdict"]) == {""}


def test_a_part_that_a_profile_leaves_to_the_study_is_taken_from_there(monkeypatch):
    monkeypatch.delenv("SAPNET_RECOMPUTE", raising=False)
    monkeypatch.setattr(module, "has_result", lambda trial: False)
    quick, study = (worth(get_profile(name)).set_index("part") for name in ("quick", "study"))
    told = ["column", "effect", "low", "high", "seeds", "planned"]  # the verdict depends on what is judged beside it
    left = list(dict.fromkeys(part.name for part in PARTS if part.trials in get_profile("quick").left_to_study))
    assert left and quick.loc[left, told].equals(study.loc[left, told]) and (quick.loc[left, "seeds"] > 1).all()
    assert (quick.drop(left)["seeds"] == 0).all() and (study.drop(left)["seeds"] > 0).all()


def test_verdicts_are_those_of_one_family(table_one):
    """All differences that are there are judged together, by the ledger's rule."""
    table, declared, evidence = worth(SIZE), declared_trials("I", SIZE), []
    for part in (part for part in PARTS if part.trials == "I"):
        for column in (FEW, MANY):
            cells = [cell_of([declared[row, column, s] for s in SIZE.seeds]) for row in (part.with_it, part.without_it)]
            evidence.append(
                compare(*([resampled(cell, resamples=SIZE.resamples)] for cell in cells), limit=RHO_DIFFERENCE)
            )
    expected = [verdict.word for verdict in judge([hypothesis_of(one) for one in evidence])]
    assert table.loc[table["seeds"] > 0, "verdict"].tolist() == expected


def test_a_part_with_some_of_its_seeds_says_how_many(monkeypatch):
    size = replace(SIZE, seeds=(0, 1, 2))
    one = declared_trials("fig10", size)["whole frame", FEW, 1]
    monkeypatch.setattr(module, "has_result", lambda trial: trial != one)
    monkeypatch.setattr(module, "read_cell", cell_of)
    table = worth(size)
    assert set(table["planned"]) == {3}
    less = table[table["seeds"] < 3]
    assert less[["part", "column", "seeds"]].values.tolist() == [["actor", FEW, 2]]
