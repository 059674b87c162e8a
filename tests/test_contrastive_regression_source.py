"""CoRe has the parts of its source: pairs in both orders, and exemplars of the same difficulty that vote."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from test_methods import easy_set, predict
from test_trials import SMALL

from sapnet_core.experiments.fit import fit_trial
from sapnet_core.experiments.trial_data import trial_data
from sapnet_core.methods import VideoBatch, contrastive_regression


def test_pairs_are_learned_in_both_orders():
    train, _, _ = easy_set()
    run, seen = contrastive_regression.training(train, {}, torch.Generator().manual_seed(0)), []
    run.network.register_forward_hook(lambda net, given, out: seen.append(given[0]))
    run.loss(0)
    e, q, y = seen[0].split([16, 16, 1], 1)
    half = len(y) // 2
    assert torch.equal(e[:half], q[half:]) and torch.equal(q[:half], e[half:])


def test_core_predicts_from_the_exemplars_of_the_same_difficulty():
    train, x, y = easy_set()
    one = x.difficulty == x.difficulty[0]
    changed = train.y + 0.2 * (train.difficulty == x.difficulty[0])  # these dives were judged more kindly
    found = predict("core", replace(train, y=changed), x)
    assert (found - y)[one].mean() - (found - y)[~one].mean() == pytest.approx(0.2, abs=0.1)


@pytest.mark.parametrize("match", ["difficulty", "action"])
def test_core_learns_without_difficulty_and_action(match):
    train, x, y = easy_set()
    found = predict("core", replace(train, difficulty=None, action=None), VideoBatch(x.frame), match=match)
    assert (found - y).abs().mean() < 0.2


@pytest.mark.usefixtures("own_runs")
def test_a_trial_without_difficulty_and_action_predicts_every_video():
    trial = replace(SMALL, method="core", overrides=())
    data = trial_data(trial)
    records = tuple(replace(record, action="") for record in data.records)
    bare = replace(data, records=records, difficulty=torch.ones(len(records)))
    assert fit_trial(trial, bare).predicted.isfinite().all()


def test_the_loss_has_its_value():
    """The negative log probability of the true interval, and the squared error of the place, averaged over all pairs:
    an interval that holds few of them counts for no more than these."""
    train, _, _ = easy_set()
    run, seen = contrastive_regression.training(train, {}, torch.Generator().manual_seed(0)), []
    run.network.register_forward_hook(lambda net, given, out: seen.append((given[0], *out)))
    terms = {name: float(term.detach()) for name, term in run.loss(0).items()}
    pair, log_p, place = (part.detach().numpy() for part in seen[0])
    y, level = train.y[:40].numpy(), train.difficulty[:40].numpy()
    one, other = np.triu_indices(40, 1)
    gaps = np.sort(np.abs(y[one] - y[other])[level[one] == level[other]])
    half = [gaps[int(share * (len(gaps) - 1))] for share in np.arange(1, 8) / 8]  # eight parts of equal mass
    edges = np.array([-1.0, *(-edge for edge in half[::-1]), 0.0, *half, 1.0], dtype=np.float32)
    known = pair[:, -1]  # the exemplars' scores; those of the videos follow in the other order of the pairs
    gap = np.roll(known, len(known) // 2) - known
    k = np.array([sum(g >= edge if g >= 0 else g > edge for edge in edges[1:-1]) for g in gap])
    rows = range(len(gap))
    off = (place[rows, k] - (gap - edges[k]) / (edges[k + 1] - edges[k])) ** 2
    assert terms["L_class"] == pytest.approx(-log_p[rows, k].mean(), rel=1e-4)
    assert terms["L_place"] == pytest.approx(off.mean(), rel=1e-4)
    assert terms["L_all"] == pytest.approx(off.mean() - log_p[rows, k].mean(), rel=1e-4)
    assert sum(off[k == leaf].mean() for leaf in set(k)) > 3 * off.mean()  # the intervals, added up, are another loss
