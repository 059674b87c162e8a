"""The second look of the study: more seeds for what the first left undecided, and no verdict of the first changes."""

from dataclasses import replace

import pandas as pd
import pytest
import torch

from sapnet_core.experiments import stored_seeds
from sapnet_core.experiments.profiles import SECOND_LOOK, get_profile, with_second_look
from sapnet_core.experiments.resampling import Cell
from sapnet_core.experiments.statistics import SUPPORTED, UNDECIDED
from sapnet_core.experiments.study import study_trials
from sapnet_core.reporting import claims
from sapnet_core.reporting.claims import evaluate

STUDY = replace(get_profile("study"), resamples=50)
FAMILY = "Table I"


@pytest.fixture
def ledger(monkeypatch):
    """A function that gives the verdicts on one family, by the claim's id, where the trials are stored for which
    `holds` is true.

    With ten seeds, SAP-Net is ahead of I3D+MLP, but not visibly of the other systems; with the later ten, it is
    clearly ahead of these, and far behind I3D+MLP.
    """
    true = torch.randn(40, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    place = {}
    for table in ("I", "IV"):
        for (system, column, seed), trial in claims.declared_trials(table, with_second_look(STUDY)).items():
            place.setdefault(trial, (system, sum(map(ord, system + column)) * 100 + seed))
    early, late = {"SAP-Net (Ours)": 0.9, "I3D+MLP": 9.0}, {"SAP-Net (Ours)": 0.3, "I3D+MLP": 0.01}

    def cell(trials, _read):
        predicted = []
        for trial in trials:
            system, draw = place[trial]
            own = torch.randn(len(true), generator=torch.Generator().manual_seed(draw), dtype=torch.float64)
            noise = late.get(system, 3.0) if trial.seed in SECOND_LOOK else early.get(system, 1.0)
            predicted.append(true + noise * own)
        return Cell(torch.stack(predicted), true, "x")

    monkeypatch.setattr(claims, "read_cell", cell)
    monkeypatch.delenv("SAPNET_RECOMPUTE", raising=False)

    def verdicts(holds) -> pd.DataFrame:
        monkeypatch.setattr(stored_seeds, "is_stored", holds)
        return evaluate(STUDY, [FAMILY]).set_index("claim")

    return verdicts


def test_the_study_command_knows_the_seeds_of_both_looks():
    wide = with_second_look(get_profile("study"))
    assert wide.seeds == tuple(range(20)) and with_second_look(get_profile("quick")) == get_profile("quick")
    first, second = study_trials("study", ["fig14"])["fig14"], study_trials("study", ["fig14"], [10, 19])["fig14"]
    assert {t.seed for t in first} == {*range(10)} and {t.seed for t in second} == {10, 19}
    assert {replace(t, seed=0) for t in first} == {replace(t, seed=0) for t in second}
    assert not study_trials("study", ["decisions"], [10])["decisions"]  # few seeds have these trials
    with pytest.raises(ValueError, match="seed 20.* 0, 1"):
        study_trials("study", ["fig14"], [20])
    with pytest.raises(ValueError, match="seed 10.* 0, 1"):
        study_trials("quick", ["fig14"], [10])


def test_the_first_look_stands_until_all_twenty_seeds_of_a_claims_tables_are_stored(ledger):
    first = ledger(lambda trial: trial.seed < 10)
    assert {UNDECIDED, SUPPORTED} <= {*first["verdict"]} and {*first["seeds"]} <= {0, 10}
    missing = next(t for t in claims.declared_trials("I", with_second_look(STUDY)).values() if t.seed == 15)
    pd.testing.assert_frame_equal(ledger(lambda trial: trial != missing), first)


def test_the_second_look_decides_with_twenty_seeds_and_keeps_the_verdicts_of_the_first(ledger):
    first, second = ledger(lambda trial: trial.seed < 10), ledger(lambda trial: True)
    undecided = first["verdict"] == UNDECIDED
    pd.testing.assert_frame_equal(second[~undecided], first[~undecided])
    assert {*second.loc[undecided, "seeds"]} == {20} and (second.loc[undecided, "verdict"] == SUPPORTED).any()
    alone = evaluate(with_second_look(STUDY), [FAMILY]).set_index("claim")
    assert (alone.loc[~undecided, "verdict"] != first.loc[~undecided, "verdict"]).any()  # twenty seeds say otherwise
    tested = undecided & ~second["control"]
    assert (second.loc[tested, "p"] == alone.loc[tested, "p"]).all()
    assert (second.loc[tested, "p_holm"] <= second.loc[tested, "p"] * tested.sum()).all()  # among these claims alone


def test_where_all_is_trained_anew_there_is_no_second_look(ledger, monkeypatch):
    monkeypatch.setenv("SAPNET_RECOMPUTE", "1")
    assert {*ledger(lambda trial: True)["seeds"]} <= {0, 10}
