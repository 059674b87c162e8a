"""A cell of a picture that is a claim of the ledger has the ledger's verdict; the others are one family without it."""

import pandas as pd
import pytest
from test_paired_differences import TRIALS, cell
from wording import in_order

from sapnet_core.experiments.profiles import get_profile
from sapnet_core.experiments.statistics import CONTRADICTED, SUPPORTED, UNDECIDED, holm
from sapnet_core.experiments.systems import OURS
from sapnet_core.experiments.tables import comparison_trials
from sapnet_core.reporting import claimed_cells, paired_differences
from sapnet_core.reporting.claimed_cells import claimed_sentence
from sapnet_core.reporting.ledger import Claim
from sapnet_core.reporting.paired_differences import control_differences
from sapnet_core.reporting.paired_differences import paired_differences as differences

SMALL = get_profile("smoke")  # which leaves no table to the study
SEEDS = sorted({seed for *_, seed in TRIALS})


def claim(name: str, low: str, *columns: str, high: str = OURS, **rest) -> Claim:
    side = {row: tuple(("IV", row, column) for column in columns) for row in (high, low)}
    return Claim(name, "Table IV", f"{high} beats {low}", family="Table IV", pairs=((side[high], side[low]),), **rest)


@pytest.fixture
def ledger(monkeypatch):
    """A function that sets claims with their verdicts, judged on the trials of `TRIALS` with some seeds."""
    monkeypatch.setattr(paired_differences, "read_cell", cell)

    def stands(verdicts: dict[Claim, str], trained=SEEDS, judged: int = len(SEEDS)) -> None:
        cells = {one.id: {n: [(*n[1:], seed) for seed in trained] for n in one.names} for one in verdicts}
        rows = [(one.id, word, 0.125, 12.0, judged) for one, word in verdicts.items()]
        table = pd.DataFrame(rows, columns=["claim", "verdict", "p_holm", "to_decide", "seeds"])
        monkeypatch.setattr(claimed_cells, "ledger", lambda: tuple(verdicts))
        monkeypatch.setattr(claimed_cells, "claim_cells", lambda name, _profile: cells[name])
        monkeypatch.setattr(claimed_cells, "family_verdicts", lambda _profile, *families: table)

    return stands


def test_a_claim_keeps_its_verdict_and_the_other_cells_are_corrected_without_it(ledger):
    ledger({claim("far-10", "far", "10%"): CONTRADICTED, claim("near-mean", "near", "10%", "all"): UNDECIDED})
    alone, found = (differences(TRIALS, 200, "Avg", at) for at in (None, SMALL))
    at = found.set_index(["system", "column"])
    assert at.loc[("far", "10%"), ["claim", "verdict", "p_holm"]].tolist() == ["far-10", CONTRADICTED, 0.125]
    assert at.loc[("near", "Avg"), ["claim", "verdict", "to_decide"]].tolist() == ["near-mean", UNDECIDED, 12.0]
    rest = found[found["claim"] == ""]
    assert len(rest) == len(found) - 2 and rest["p_holm"].tolist() == holm(rest["p"].tolist())
    assert set(alone["claim"]) == {""} and alone.at[found.index[found["claim"] == "far-10"][0], "verdict"] == SUPPORTED
    pd.testing.assert_frame_equal(*(table[["difference", "low", "high", "p", "seeds"]] for table in (alone, found)))


@pytest.mark.parametrize(
    ("one", "how"),
    [
        (claim("other-seeds", "far", "10%"), {"trained": SEEDS[1:]}),
        (claim("second-look", "far", "10%"), {"judged": 2 * len(SEEDS)}),
        (claim("mean", "far", "10%", "all"), {}),  # without a column of means
        (claim("turned", OURS, "10%", high="far"), {}),
        (claim("like", "far", "10%", kind="comparable"), {}),
        (claim("points", "far", "10%", metric="closeness"), {}),
    ],
    ids=lambda value: getattr(value, "id", ""),
)
def test_what_compares_other_trials_or_asks_something_else_is_no_cell(ledger, one, how):
    ledger({one: CONTRADICTED}, **how)
    assert set(differences(TRIALS, 50, profile=SMALL)["claim"]) == {""}


def test_a_control_of_the_ledger_counts_and_gives_way_to_a_claim(ledger):
    ledger({claim("ours", "far", "10%", control=True): UNDECIDED, claim("papers", "far", "10%"): CONTRADICTED})
    assert set(differences(TRIALS, 50, profile=SMALL)["claim"]) == {"", "papers"}
    ledger({claim("ours", "far", "10%", control=True): UNDECIDED})
    found = control_differences(TRIALS, ["far"], 50, SMALL)
    assert found.loc[found["claim"] == "ours", ["system", "column"]].to_numpy().tolist() == [[OURS, "10%"]]


def test_a_sentence_names_the_cells_that_stand_in_the_ledger(ledger):
    ledger({claim("far-10", "far", "10%"): CONTRADICTED})
    said = claimed_sentence(differences(TRIALS, 50, profile=SMALL))
    assert in_order(said, 5, 1, "Contradicted: far (10%)") and said.lower().count(CONTRADICTED) == 1
    twice = pd.concat([control_differences(TRIALS, ["far"], 50, SMALL)] * 2)
    cell_of_it = (OURS, "far", "10%")
    assert in_order(claimed_sentence(twice), len(twice), 2, "Contradicted", *cell_of_it, *cell_of_it)
    assert claimed_sentence(differences(TRIALS, 50)) == ""
    ledger({claim("far-10", "far", "10%"): UNDECIDED})
    assert in_order(claimed_sentence(differences(TRIALS, 50, profile=SMALL)), "Undecided", "far", "10%")


def test_the_cells_of_tables_iv_and_vi_that_the_paper_speaks_of_are_found(monkeypatch):
    rows = [(one.id, UNDECIDED, 1.0, 12.0, len(SMALL.seeds)) for one in claimed_cells.ledger()]
    table = pd.DataFrame(rows, columns=["claim", "verdict", "p_holm", "to_decide", "seeds"])
    monkeypatch.setattr(claimed_cells, "family_verdicts", lambda _profile, *families: table)
    for number, system, columns, name in (
        ("IV", "S4AQA", ["10%"], "iv-s4aqa-10"),
        ("IV", "S4AQA", ["40%"], "iv-s4aqa-40"),
        ("IV", "VAT", ["40%"], None),
        ("VI", "SVR", ["Ball", "Clubs", "Hoop", "Ribbon"], "vi-svr"),
        ("V", "I3D+MLP (clips in order)", ["20%"], "whole-fd-20 (in order)"),
    ):
        trials = {}
        for (row, column, _), trial in comparison_trials(number, SMALL).items():
            trials.setdefault((row, column), []).append(trial)
        sides = tuple([(row, column) for column in columns] for row in (OURS, system))
        (found,) = claimed_cells.claimed_cells([sides], trials, SMALL)
        assert (None if found is None else found["claim"]) == name
