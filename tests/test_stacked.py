"""Runs that are stacked into one program learn what each of them learns alone."""

from dataclasses import replace

import pandas as pd
import pytest
import torch
from small_trials import small_trial

from sapnet_core.experiments import results, run
from sapnet_core.experiments.fit import fit_trial
from sapnet_core.experiments.trial_data import trial_data
from sapnet_core.methods import TrainSet, VideoBatch, can_stack, get_method, get_stack
from sapnet_core.training.stacking import fit_stacked


def make_train(seed: int) -> TrainSet:
    g = torch.Generator().manual_seed(seed)
    frame, actor = torch.randn(2, 40, 18, 64, generator=g)
    y = torch.rand(40, generator=g)
    y[torch.randperm(40, generator=g)[:20]] = torch.nan
    return TrainSet(frame, actor, torch.linspace(0.02, 0.98, 18), y)


def generators():
    return [torch.Generator().manual_seed(seed) for seed in range(3)]


SAPNET = {"steps": 6, "warmup": 0.5, "tau": 0.1, "batch": 8, "batch_unlabeled": 8}
SETTINGS = [
    ("mlp", {"steps": 30}),
    ("mlp-ordered", {"steps": 30, "unit_targets": True}),
    ("sap-net", SAPNET),
    ("sap-net", {**SAPNET, "lambda_ubc": 0.0, "lambda_un": 0.0}),
    ("sap-net", {**SAPNET, "lambda_ubc": 0.0, "lambda_un": 0.0, "lambda_gc": 0.0}),
    ("sap-net", {**SAPNET, "parse_labeled": True, "confidence": "agreement", "supervise_teacher": False}),
]


@pytest.mark.parametrize(("method", "settings"), SETTINGS)
def test_a_stack_equals_its_runs_one_by_one(method, settings):
    trains, unseen = [make_train(seed) for seed in range(3)], VideoBatch(torch.randn(12, 18, 64))
    stacked = get_stack(method)(trains, settings, generators())
    for train, generator, fitted in zip(trains, generators(), stacked, strict=True):
        alone = get_method(method)(train, settings, generator)
        assert [*fitted.curves[0]] == [*alone.curves[0]] and len(fitted.curves) == len(alone.curves)
        for row, expected in zip(fitted.curves, alone.curves, strict=True):
            assert row == pytest.approx(expected, rel=1e-3, abs=1e-4)
        near = (fitted.predict(unseen) - alone.predict(unseen)).abs() < 1e-3
        assert near.float().mean() > 0.9  # a tie of two key frames may be decided differently
    spread = torch.stack([fitted.predict(unseen) for fitted in stacked]).std(0)
    assert spread.min() > 1e-3  # the three runs differ


@pytest.mark.parametrize("own", [{"norm": "batch"}, {"dropout": 0.1}, {"cluster_scope": "dataset"}])
def test_what_mixes_runs_is_refused(own):
    with pytest.raises(ValueError, match="cannot be stacked"):
        get_stack("sap-net")([make_train(0)], {**SAPNET, **own}, generators()[:1])
    assert can_stack("sap-net", SAPNET) and not can_stack("sap-net", {**SAPNET, **own})


def test_a_method_without_parts_is_trained_one_by_one():
    assert not can_stack("vat", {})
    with pytest.raises(ValueError, match="cannot be stacked"):
        get_stack("vat")([make_train(0)], {"steps": 2}, generators()[:1])


def test_buffers_are_refused():
    with pytest.raises(ValueError, match="running_mean"):
        fit_stacked([torch.nn.BatchNorm1d(3)], None, None, 1, 0.1)


def test_a_hidden_score_stops_a_stack():
    bad = make_train(0)
    object.__setattr__(bad, "unit_targets", lambda on: (torch.full((40,), torch.nan), 0.0, 1.0))
    with pytest.raises(FloatingPointError, match="not finite"):
        get_stack("mlp")([make_train(1), bad], {"steps": 2}, generators()[:2])


@pytest.fixture
def small(own_runs):
    return small_trial(4, batch=8, batch_unlabeled=8)


def test_trials_of_one_shape_stand_together(small):
    mlp = replace(small, method="mlp", overrides=())
    asked = [small, mlp, replace(small, seed=1), replace(small, share=0.3), replace(small, steps=5), small]
    parted = run.stacks(asked[:5])
    # 12 and 20 labeled videos both fill a batch of 8; another number of steps or method needs another program.
    assert parted == [[small, replace(small, seed=1), replace(small, share=0.3)], [mlp], [replace(small, steps=5)]]
    few = replace(small, share=0.15)  # 6 labeled videos: a smaller batch
    assert run.stacks([small, few]) == [[small], [few]]
    apart = [replace(small, seed=seed, overrides=(*small.overrides, ("dropout", 0.5))) for seed in (0, 1)]
    assert run.stacks(apart) == [[apart[0]], [apart[1]]]  # dropout cannot be stacked


def test_a_stack_writes_what_its_trials_would(small):
    several = [small, replace(small, seed=1)]
    folders = run.run_stack(several)
    assert folders == [results.trial_folder(trial) for trial in several]
    table = results.results(several)
    assert table.labeled.tolist() == [20, 20] and table.rho.between(-1, 1).all()
    for trial, folder in zip(several, folders, strict=True):
        alone = fit_trial(trial, trial_data(trial))[3]
        stacked = pd.read_csv(folder / "predictions.csv").predicted
        assert abs(stacked - alone.numpy()).median() < 1e-2  # in points
    assert run.run_trials(several) == folders  # read from disk, not run again
