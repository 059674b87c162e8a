"""The box at the end of a notebook says what the ledger says, with every statement once and in plain sentences."""

import re
from collections import Counter

import pandas as pd
import pytest
import torch
from wording import in_order

from sapnet_core.experiments.profiles import get_profile
from sapnet_core.experiments.resampling import Cell
from sapnet_core.experiments.statistics import CONTRADICTED, NO_DIFFERENCE, SUPPORTED, UNDECIDED, VERDICTS
from sapnet_core.reporting import came_out, claims
from sapnet_core.reporting.came_out import PHRASES, _counted, _seeds, _sized, came_out_text, verdict_counts
from sapnet_core.reporting.claims import evaluate, stated
from sapnet_core.reporting.ledger import FLOORS, ledger

SIZE = get_profile("smoke")  # which leaves no table to the study
FAMILY = "Table I"
APART = "\n>\n"  # between two paragraphs or lists of the box


@pytest.fixture(autouse=True)
def results(monkeypatch):
    """Results without a training: SAP-Net follows the true scores most closely, then I3D+SSP, then all others."""
    true = torch.randn(60, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    noise = {"SAP-Net (Ours)": 0.2, "I3D+SSP": 0.6}
    # the control against searched settings is in Table IV; a trial of both tables keeps its place in Table I
    cells = [*claims.declared_trials("IV", SIZE).items(), *claims.declared_trials("I", SIZE).items()]
    declared = {trial: (place, key[0]) for place, (key, trial) in enumerate(cells)}

    def cell(trials, _read):
        place, system = declared[trials[0]]
        draw = torch.Generator().manual_seed(place)
        own = torch.randn(len(trials), len(true), generator=draw, dtype=torch.float64)
        return Cell(true + noise.get(system, 2.0) * own, true, "x")

    monkeypatch.setattr(claims, "run_trials", lambda *_: None)
    monkeypatch.setattr(claims, "read_cell", cell)


def test_every_statement_stands_in_it_once_with_its_verdict():
    text, table = came_out_text(SIZE, FAMILY), evaluate(SIZE, [FAMILY])
    papers = table[~table["control"]]
    for _, row in papers.iterrows():
        lines = [line for line in text.splitlines() if line.endswith(f": {stated(row)}")]
        assert len(lines) == 1 and lines[0].startswith(f"> - **{row['verdict']}**")
        assert f"{row['effect']:+.3f}" in lines[0]
    below = papers.loc[papers["below"] != "", "below"]  # systems whose made-up noise is large
    assert 0 < len(below) < len(papers) and text.count(f"({below.iloc[0]})") == len(below)
    counts = Counter(papers["verdict"])
    counted = [f"{counts[word]} {PHRASES[word][counts[word] > 1]}" for word in VERDICTS if word in counts]
    assert in_order(text.splitlines()[2], len(papers), FAMILY, *counted)
    assert set(PHRASES) == set(VERDICTS) and len(counts) > 1


def test_floors_have_one_line_each_and_own_questions_are_apart():
    text, table = came_out_text(SIZE, FAMILY), evaluate(SIZE, [FAMILY])
    for name, (_, words, _) in FLOORS.items():
        asked = table[table["claim"].str.endswith(f"({name})")]
        assert len(asked), name
        held = (asked["verdict"] == SUPPORTED).sum()
        (line,) = [line for line in text.splitlines() if words in line]
        assert in_order(line, words, "I3D+MLP", held, len(asked), SUPPORTED)
    *before, last = text.split(APART)
    own = [c for c in ledger() if c.family == FAMILY and c.control and not c.id.endswith(")")]
    assert own and all(c.statement in last and c.statement not in APART.join(before) for c in own)


def test_the_title_has_the_seeds_of_what_is_listed_and_a_floor_says_its_own(monkeypatch):
    table = evaluate(SIZE, [FAMILY]).assign(profile="study", seeds=10)
    table.loc[table["claim"].str.endswith("(searched)"), "seeds"] = 5
    monkeypatch.setattr(came_out, "family_verdicts", lambda *_: table)
    first, *rest = came_out_text(SIZE, FAMILY).splitlines()
    assert in_order(first, _seeds("study", [10])) and "preliminary" not in first
    (early,) = [line for line in rest if "preliminary" in line]
    assert in_order(early, FLOORS["searched"].words, SUPPORTED, _seeds("study", [5]))
    table.loc[table.index[~table["control"]][0], "seeds"] = 5
    first, *rest = came_out_text(SIZE, FAMILY).splitlines()
    assert in_order(first, 1, "preliminary", _seeds("study", [5]).split(":")[0])
    (marked,) = [line for line in rest if "preliminary" in line and FLOORS["searched"].words not in line]
    assert marked.endswith(f": {stated(table[~table['control']].iloc[0])}")
    table["seeds"] = 5
    assert came_out_text(SIZE, FAMILY).count("preliminary") == 1


def test_sums_of_printed_numbers_stand_apart_and_are_not_counted(monkeypatch):
    table = evaluate(SIZE, [FAMILY])
    first = table.index[~table["control"]][0]
    table.loc[first, ["kind", "verdict", "effect", "low", "high"]] = ["arithmetic", SUPPORTED, 0.053, float("nan"), 0]
    monkeypatch.setattr(came_out, "family_verdicts", lambda *_: table)
    text = came_out_text(SIZE, FAMILY)
    line = f"> - **supported**, 0.053: {table.loc[first, 'statement']}"
    paragraphs = text.split(APART)
    heading = paragraphs[paragraphs.index(line) - 1]  # nothing else stands in the list below it
    assert not heading.startswith("> - ")
    assert in_order(text.splitlines()[2], (~table["control"]).sum() - 1, FAMILY)


def test_it_is_one_quotation_and_ends_with_the_notes():
    text = came_out_text(SIZE, FAMILY, notes=["A note with a number: 3."])
    assert all(line.startswith(">") for line in text.splitlines())
    assert text.endswith("> A note with a number: 3.") and re.search(r"smoke profile, 2 seeds", text)
    with pytest.raises(ValueError, match="Table X: "):
        came_out_text(SIZE, "Table X")


def test_a_study_under_way_says_that_its_verdicts_are_preliminary():
    same, some = _seeds("study", [2, 2]), _seeds("study", [2, 5])
    assert in_order(same, 2, 10, "preliminary") and not in_order(same, 2, 2)
    assert in_order(some, 2, 5, 10, "preliminary") and not in_order(some, 10, 10)
    mixed = _seeds("study", [10, 2, 10, 20])
    assert in_order(mixed, 10, 20, 1, 4, "preliminary", 2, 10) and in_order(_seeds("study", [2, 2, 10]), 10, 2, 3)
    assert _seeds("study", [10, 10]) == "10 seeds" and _seeds("quick", [2, 2]) == "2 seeds"


def test_the_title_says_how_each_statement_was_judged():
    rows = pd.DataFrame({"profile": ["study", "study", "quick", "study"], "seeds": [10, 2, 2, 0]})
    assert in_order(_sized(rows, SIZE), "study", _seeds("study", [10, 2]), "quick", _seeds("quick", [2]))
    assert _sized(rows[rows["seeds"] == 0], SIZE) == "smoke profile, 2 seeds"


@pytest.mark.parametrize("verdict", [SUPPORTED, NO_DIFFERENCE])
@pytest.mark.parametrize("count", [1, 2, 3])
def test_one_verdict_on_all_statements_is_one_sentence(count, verdict):
    text = _counted(pd.DataFrame({"verdict": [verdict] * count}), ["Fig. 12"])
    assert in_order(text, "Fig. 12", PHRASES[verdict][count > 1]) and text.count(verdict) == 1
    assert re.findall(r"\d+", text) == [*["3"] * (count == 3), "12"]  # one and two are in words


def test_numbers_of_verdicts_are_put_into_words():
    counts = pd.Series({"supported": 1, "undecided": 2, "contradicted": 0, "all": 3})
    said = verdict_counts(counts)
    assert in_order(said, 1, PHRASES[SUPPORTED][0], 2, PHRASES[UNDECIDED][1]) and CONTRADICTED not in said
    assert verdict_counts(counts.to_dict()) == said
