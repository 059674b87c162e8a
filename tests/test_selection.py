"""Choice of the scored step: known best steps are found, snapshots change no training, and no score leaks into it."""

from dataclasses import replace
from functools import cache

import pandas as pd
import pytest
import torch
from small_trials import small_trial
from torch import nn

from sapnet_core import methods
from sapnet_core.experiments import fit as fitting
from sapnet_core.experiments.fit import fit_trial, predict_all
from sapnet_core.experiments.metrics import spearman
from sapnet_core.experiments.results import results, trial_folder
from sapnet_core.experiments.run import run_stack, run_trial, run_trials
from sapnet_core.experiments.selection import choose_step, validation_part
from sapnet_core.experiments.trial import Trial
from sapnet_core.experiments.trial_data import trial_data
from sapnet_core.methods import Fitted, VideoBatch
from sapnet_core.training.checkpoint import Checkpoint
from sapnet_core.training.loop import fit_steps
from sapnet_core.training.state import TrainingState

pytestmark = pytest.mark.usefixtures("own_runs")

SMALL = small_trial(30, warmup=0.0, tau=0.1)
# Steps are chosen outside of a method, alike for all of them: four kinds of systems always run, the others when slow
# tests do. Whether snapshots disturb a method's training is tested for every method in test_trainer.
ALWAYS = ("mlp", "usdl", "core", "sap-net")
ITERATIVE = [
    pytest.param(name, marks=() if name in ALWAYS else pytest.mark.slow)
    for name in methods.METHODS
    if name not in ("coreg", "ridge", "svr")
]


def small(method: str, select: str, **changes) -> Trial:
    """`SMALL` with another method and rule; musdl learns from panels of judges, so its target is the execution."""
    overrides = SMALL.overrides if method == "sap-net" else ()
    target = "execution" if method == "musdl" else "score"
    return replace(SMALL, method=method, select=select, overrides=overrides, target=target, **changes)


@cache
def fit_small(method: str, select: str) -> tuple:
    """`fit_trial` of a small trial, which is trained once for all tests that only read what it gave."""
    return fit_trial(small(method, select), trial_data(small(method, select)))


def snapshots_of(method: str) -> Fitted:
    """The system of the same trial, trained with twenty snapshots."""
    task = fitting.training_task(small(method, "last"), trial_data(small(method, "last")))
    return methods.get_method(method)(task.train, task.settings, task.generator(), Checkpoint(snapshot_count=20))


class Slope(nn.Module):
    """Scores w * mean(x), with the one parameter w."""

    def __init__(self):
        super().__init__()
        self.w = nn.Parameter(torch.tensor(3.0))

    def forward(self, x):
        return self.w * x.mean((1, 2))


def walk(steps: int, count: int) -> Fitted:
    """Train w from 3 to below zero, with `count` snapshots on the way."""
    net, checkpoint = Slope(), Checkpoint(snapshot_count=count)
    state = TrainingState(net.state_dict(keep_vars=True))
    kept = {"checkpoint": checkpoint, "state": state, "anneal": False}
    curve = fit_steps(net.parameters(), lambda step: {"L_all": (net.w + 3) ** 2}, steps, 0.1, **kept)
    return Fitted(lambda videos: net(videos.frame).detach(), curve, net, snapshots=checkpoint.snapshots)


def test_the_best_step_is_found():
    fitted = walk(steps=60, count=20)
    steps, slopes = [step for step, _ in fitted.snapshots], torch.tensor([s["w"] for _, s in fitted.snapshots])
    assert steps == list(range(3, 61, 3)) and slopes[0] > 2 and slopes[-1] < -1
    x, points = torch.rand(10, 2, 4), torch.full((10,), 10.0)
    videos, score = VideoBatch(x), x.mean((1, 2)) * 10 * slopes[7]  # scores by the slope after step 24
    best = choose_step(fitted, videos, points, score, ranked=False)
    assert best.step == 24 and best.network.w.item() == slopes[7] and torch.allclose(best.predict(videos) * 10, score)
    rising = choose_step(fitted, videos, points, x.mean((1, 2)), ranked=True)
    assert rising.step == 3  # the first of equal ranks
    falling = choose_step(fitted, videos, points, -x.mean((1, 2)), ranked=True)
    assert falling.step == steps[int((slopes < 0).nonzero()[0])]


def test_snapshots_are_few_and_hold_the_last_step():
    assert [step for step, _ in walk(steps=7, count=20).snapshots] == [1, 2, 3, 4, 5, 6, 7]
    assert [step for step, _ in walk(steps=45, count=20).snapshots] == [*range(3, 46, 3)]
    assert [step for step, _ in walk(steps=50, count=20).snapshots] == [*range(3, 50, 3), 50]
    assert not walk(steps=50, count=0).snapshots


@pytest.mark.parametrize("method", ITERATIVE)
def test_snapshots_change_no_weight(method):
    """The last step's weights are bit-identical, whether or not snapshots are kept."""
    last, watched = fit_small(method, "last")[0], snapshots_of(method)
    assert last.curves == watched.curves and last.step is None
    for name, value in last.network.state_dict().items():
        assert torch.equal(value, watched.network.state_dict()[name])
        assert torch.equal(value, watched.snapshots[-1][1][name])


@pytest.mark.parametrize("method", ITERATIVE)
def test_the_best_step_on_the_test_videos_is_no_worse_than_the_last(method):
    data = trial_data(small(method, "last"))
    truth = data.score[~data.train]
    chosen, _, scored, best = fit_small(method, "test-best")
    last = fit_small(method, "last")[3]
    assert torch.equal(data.score[scored], truth)
    assert spearman(best, truth) >= spearman(last, truth) and 1 <= chosen.step <= SMALL.steps
    assert torch.equal(predict_all(small(method, "test-best"), data)[scored], best)
    held = dict(snapshots_of(method).snapshots)[chosen.step]  # the chosen weights are those that this step had
    assert all(torch.equal(value, held[name]) for name, value in chosen.network.state_dict().items())


def test_at_a_constant_rate_a_training_that_stops_at_the_chosen_step_gives_its_predictions():
    constant = {"overrides": (*SMALL.overrides, ("anneal", False))}
    chosen, _, _, best = fit_trial(replace(SMALL, select="test-best", **constant), trial_data(SMALL))
    stopped = fit_trial(replace(SMALL, steps=chosen.step, **constant), trial_data(SMALL))
    assert torch.equal(stopped.predicted, best)


@pytest.mark.parametrize("method", ITERATIVE)
def test_no_test_score_reaches_training(method):
    data = trial_data(small(method, "last"))
    score = data.score.clone()
    score[~data.train] = score[~data.train].flip(0)
    trial = small(method, "validation")
    one, other = fit_trial(trial, data), fit_trial(trial, replace(data, score=score))
    assert one[0].step == other[0].step and torch.equal(one[3], other[3])


def test_validation_videos_are_a_stratified_quarter_that_training_does_not_see():
    data = trial_data(SMALL)
    roles = fitting.video_roles(small("mlp", "last"), data)
    learn, labeled = roles.learn, roles.labeled
    task = fitting.training_task(small("mlp", "validation"), data)
    seen, judges, train = task.roles.visible, task.roles.choosing, task.train
    kept = torch.isin(learn, judges)
    assert torch.equal(task.roles.learn, learn) and torch.equal(roles.visible, labeled)
    assert labeled.sum() == 20 and len(judges) == 5 and not (seen & kept).any()
    assert torch.equal(labeled, seen | kept) and torch.equal(train.labeled, torch.nonzero(seen).flatten())
    assert train.y[kept].isnan().all() and torch.isin(torch.nonzero(kept).flatten(), train.unlabeled).all()
    ranks = data.score[learn][labeled].sort().values
    assert {int(r) // 4 for r in torch.searchsorted(ranks, data.score[judges])} == {0, 1, 2, 3, 4}  # one per stratum
    assert not torch.equal(judges, fitting.video_roles(small("mlp", "validation", seed=1), data).choosing)


def test_few_labels_give_two_videos_or_an_error():
    score = torch.arange(10.0)
    for count, kept in ((4, 2), (7, 2), (10, 2)):
        assert validation_part(score, score < count, 0).sum() == kept
    with pytest.raises(ValueError, match=" 4 labeled.* 3 "):
        validation_part(score, score < 3, 0)


def test_a_chosen_step_is_written_and_the_last_stays_as_it_was():
    last, best = (run_trial(small("mlp", select)) for select in ("last", "test-best"))
    table = results([small("mlp", "last"), small("mlp", "test-best")])
    assert table.step.tolist() == [30, pd.read_json(best / "metrics.json", typ="series").step]
    assert pd.read_json(last / "metrics.json", typ="series").step == SMALL.steps
    predicted = fit_trial(small("mlp", "last"), trial_data(SMALL))[3].numpy()
    assert pd.read_csv(last / "predictions.csv").predicted.tolist() == pytest.approx(predicted.tolist(), abs=1e-6)


def test_one_training_serves_its_last_step_and_the_best(monkeypatch):
    every = [small("mlp", select, seed=5) for select in ("test-best", "validation", "last")]
    trained, fit = [], fitting.TrainingTask.fit
    monkeypatch.setattr(fitting.TrainingTask, "fit", lambda task: trained.append(task.trial) or fit(task))
    folders = run_trials(every)
    assert [trial.select for trial in trained] == ["test-best", "validation"]
    assert run_trials(every) == folders == [trial_folder(trial) for trial in every] and len(trained) == 2
    data = trial_data(SMALL)
    for trial, folder in zip(every, folders, strict=True):
        alone = fit_trial(trial, data)
        found = pd.read_csv(folder / "predictions.csv").predicted.tolist()
        assert found == pytest.approx(alone[3].tolist(), abs=1e-6)
        assert results([trial]).step.item() == (alone[0].step or SMALL.steps)


@pytest.mark.parametrize("select", ["validation", "test-best"])
def test_a_stack_chooses_for_each_of_its_runs(select):
    several = [small("mlp", select, seed=seed) for seed in (0, 1, 2)]
    run_stack(several)
    data, table = trial_data(SMALL), results(several)
    for trial, step in zip(several, table.step, strict=True):
        alone = fit_trial(trial, data)[0].step
        assert step == alone or abs(step - alone) <= 4  # rounding differs, and adjacent steps score alike
    assert fitting.stack_key(several[0], data) != fitting.stack_key(replace(several[0], select="last"), data)


@pytest.mark.parametrize("method", ["svr", "ridge", "coreg"])
def test_a_closed_form_has_no_step_to_choose(method):
    data = trial_data(SMALL)
    assert len(fit_trial(small(method, "last"), data).predicted) == 12
    with pytest.raises(ValueError, match=f"'{method}'.*select='test-best'"):
        fit_trial(small(method, "test-best"), data)
