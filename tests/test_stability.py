"""Verdicts on another kind of processor: which trials are trained again, and what is written about a claim."""

from dataclasses import replace

import pandas as pd
import pytest
import torch
from test_claims import TWO
from test_verify import ONE, OTHER, edited, forge

from sapnet_core.__main__ import main
from sapnet_core.experiments import stored
from sapnet_core.experiments.metrics import spearman
from sapnet_core.experiments.profiles import PROFILES
from sapnet_core.experiments.results import predictions
from sapnet_core.experiments.run import run_trials
from sapnet_core.reporting import claims, stability
from sapnet_core.runtime.processor import processor_kind

SEEDS = 0, 1
CELLS = {name: [replace(of, seed=seed) for seed in SEEDS] for name, of in zip(TWO.names, (ONE, OTHER), strict=True)}
NEW = [trial for trials in CELLS.values() for trial in trials]


@pytest.fixture
def study(own_runs, tmp_path, monkeypatch):
    """A stored study of four small trials about which there is one claim; the last of them is of another processor."""
    run_trials(NEW)
    monkeypatch.setattr(stored, "FOLDER", tmp_path / "study")
    monkeypatch.delenv("SAPNET_RECOMPUTE", raising=False)
    stored.store(NEW)
    monkeypatch.setenv("SAPNET_RUNS", str(tmp_path / "runs"))
    two = replace(TWO, family="Table I")
    for module in (claims, stability):
        monkeypatch.setattr(module, "ledger", lambda: (two,))
    monkeypatch.setattr(claims, "_judged", lambda asked, size: {"two": (size, CELLS)})
    monkeypatch.setitem(PROFILES, "study", replace(PROFILES["study"], resamples=50))
    other = edited(stored.stored_files(NEW[-1]), run={"processor": "another"}, predicted=lambda p: p[::-1].to_numpy())
    forge(tmp_path / "study", NEW[-1], other)
    return tmp_path / "study"


def test_a_claim_is_judged_again_with_what_this_processor_computes(study, capsys, monkeypatch):
    was = predictions(NEW[-1])
    assert main(["stability", "two", "--jobs", "1"]) == 0
    row = pd.read_csv(study / "stability.csv").squeeze()
    assert capsys.readouterr().out == f"two: {row.stored_verdict} as stored, {row.verdict} here\n"
    assert (row.trained, row.seeds, row.processor) == (1, len(SEEDS), processor_kind())
    now = was.assign(predicted=was["predicted"][::-1].to_numpy())  # as before it was forged
    before, after = (
        float(spearman(*(torch.tensor(one[name].to_numpy(copy=True)) for name in ("predicted", "score"))))
        for one in (was, now)
    )
    assert row.trial_moved == pytest.approx(abs(after - before), rel=1e-3) and row.trial_moved > 0
    assert row.mean_moved == pytest.approx(row.trial_moved / len(SEEDS), rel=1e-3)
    # the forged trial is on the side that is subtracted
    assert row.effect - row.stored_effect == pytest.approx((before - after) / len(SEEDS), rel=1e-3)


def test_rows_of_other_processors_are_kept(study):
    row = dict.fromkeys(stability.COLUMNS, 0.5) | {"claim": "two", "verdict": "undecided"}
    for processor, effect in (("a", 0.25), ("b", 0.5), ("a", 0.75)):
        stability.store_rows([row | {"processor": processor, "effect": effect}])
    table = pd.read_csv(study / "stability.csv")
    assert table[["processor", "effect"]].to_numpy().tolist() == [["a", 0.75], ["b", 0.5]]


def test_claims_without_anything_to_train_again_are_one_line(study, capsys):
    forge(study, NEW[-1], edited(stored.stored_files(NEW[-1]), run={"processor": processor_kind()}))
    for asked, said in (("two", "choose other claims"), ("none", "claims.toml")):
        assert main(["stability", asked, "--jobs", "1"]) == 2
        err = capsys.readouterr().err
        assert said in err and err.count("\n") == 1
    assert not (study / "stability.csv").exists()


def test_a_trial_that_is_not_stored_is_one_line(study):
    with pytest.raises(ValueError, match="1 of 2 trials are not stored"):
        stability.trained_elsewhere([ONE, replace(ONE, seed=7)])
