"""CoRe has the parts of its source: pairs in both orders, and exemplars of the same difficulty that vote."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from plain_numbers import log_softmax, numbers, tensors
from test_methods import easy_set, predict
from test_trials import SMALL

from sapnet_core.experiments.fit import fit_trial
from sapnet_core.experiments.trial_data import trial_data
from sapnet_core.methods import VideoBatch, contrastive_regression
from sapnet_core.methods.gap_intervals import GapIntervals


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
    """The negative log probability of the true interval, and the squared error of the place, averaged in each one."""
    edges = np.array([-1.0, -0.6, -0.3, -0.1, 0.0, 0.1, 0.3, 0.6, 1.0])
    log_p, place, gap = log_softmax(numbers(1, 40, 8)), numbers(2, 40, 8), np.tanh(numbers(3, 40))
    k = np.array([sum(g >= edge for edge in edges[1:-1]) for g in gap])
    off = (place[range(40), k] - (gap - edges[k]) / (edges[k + 1] - edges[k])) ** 2
    value = -log_p[range(40), k].mean() + sum(off[k == one].mean() for one in set(k))
    assert value == pytest.approx(13.902971173971856, rel=1e-12)
    found = GapIntervals(*tensors(edges)).losses(*tensors(log_p, place, gap))
    assert float(found["L_class"] + found["L_place"]) == pytest.approx(value, rel=1e-12)
