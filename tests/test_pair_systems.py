"""Parts of the pair systems: which labeled videos are exemplars, intervals of relative scores, the regression tree."""

from dataclasses import replace

import pytest
import torch
from test_methods import easy_set

from sapnet_core.methods import VideoBatch
from sapnet_core.methods.exemplars import Exemplars, nearest_first, partner_weights
from sapnet_core.methods.gap_intervals import GapIntervals
from sapnet_core.methods.place_loss import place_loss
from sapnet_core.methods.regression_tree import RegressionTree


def generator() -> torch.Generator:
    return torch.Generator().manual_seed(0)


def test_the_order_is_by_gap_and_then_by_distance():
    gap = torch.tensor([[0.0, 1, 0, 0.5, 1], [1, 1, 1, 1, 1]])
    far = torch.tensor([[5.0, 1, 4, 2, 3], [3, 2, 1, 5, 4]])
    assert nearest_first(gap, far).tolist() == [[2, 0, 3, 1, 4], [2, 1, 0, 4, 3]]


def test_partners_are_alike_or_else_the_nearest():
    gap = torch.tensor([[0.0, 0, 2, 1], [0, 0, 2, 1], [2, 2, 0, 1], [1, 1, 1, 0]])
    far = torch.tensor([[0.0, 9, 1, 1], [9, 0, 1, 1], [1, 1, 0, 9], [3, 2, 4, 0]])
    assert partner_weights(gap, far).tolist() == [[0, 1, 0, 0], [1, 0, 0, 0], [0, 0, 0, 1], [0, 1, 0, 0]]
    assert partner_weights(torch.zeros(1, 1), torch.zeros(1, 1)).tolist() == [[1]]


@pytest.mark.parametrize("match", ["difficulty", "action"])
def test_exemplars_are_labeled_and_like_the_video_as_long_as_there_are_any(match):
    train, x, _ = easy_set()
    exemplars = Exemplars(train, match, generator())
    found, known = exemplars.nearest(x, 12), getattr(train, match)
    assert found.shape == (len(x), 12) and (found < 40).all()
    same = known[found] == getattr(x, match)[:, None]
    assert same[:, :10].all() and not same[:, 10:].any()  # ten labeled videos of each of the four actions
    far = torch.cdist(x.frame.mean(1), train.frame.mean(1)).gather(1, found)
    assert (far[:, :10].diff(dim=1) >= 0).all()
    if match == "difficulty":  # those of the nearest difficulty fill up
        assert ((known[found[:, 10:]] - x.difficulty[:, None]).abs() < 0.11).all()
    partners = exemplars.partners(train.labeled.repeat(5))
    assert (known[partners] == known[train.labeled.repeat(5)]).all()
    assert (partners != train.labeled.repeat(5)).all() and len(set(partners.tolist())) > 30


@pytest.mark.parametrize("match", ["difficulty", "action"])
def test_without_difficulty_and_action_the_nearest_features_decide(match):
    train, x, _ = easy_set()
    bare, seen = replace(train, difficulty=None, action=None), VideoBatch(x.frame)
    far = torch.cdist(x.frame.mean(1), train.frame[:40].mean(1))
    assert torch.equal(Exemplars(bare, match, generator()).nearest(seen, 5), far.argsort(1)[:, :5])
    unknown = [replace(part, action=torch.full((90,), -1)) for part in (train, x)]
    assert torch.equal(Exemplars(unknown[0], "action", generator()).nearest(unknown[1], 5), far.argsort(1)[:, :5])


def test_a_vote_is_the_mean_over_exemplars():
    train, x, _ = easy_set()
    exemplars = Exemplars(train, "action", generator())
    own = torch.rand(len(x), len(train.y), generator=generator())
    found, few = exemplars.vote(x, 7, lambda q, e: own[q, e]), exemplars.nearest(x, 7)
    by_hand = torch.stack([(train.y[e] + own[q, e]).mean() for q, e in enumerate(few)])
    assert torch.allclose(found, by_hand, atol=1e-6)


def test_pairs_are_alike_unless_there_are_too_few():
    train, _, _ = easy_set()
    exemplars = Exemplars(train, "action", generator())
    alike = exemplars.pairs(8)
    assert len(alike) == 4 * 45 and (train.action[alike[:, 0]] == train.action[alike[:, 1]]).all()
    assert len(exemplars.pairs(4 * 45 + 1)) == 40 * 39 // 2


def test_intervals_hold_equal_parts_of_the_pairs_and_are_mirrored():
    g = torch.Generator().manual_seed(1)
    y = torch.rand(80, generator=g)
    pairs = torch.triu_indices(80, 80, 1).T
    made = GapIntervals.between(y, pairs, 16)
    assert torch.equal(made.edges, -made.edges.flip(0)) and made.edges[[0, 8, 16]].tolist() == [-1, 0, 1]
    gap = y[pairs[:, 0]] - y[pairs[:, 1]]
    k, t = made.locate(gap.abs())
    held = k.bincount(minlength=16)
    assert (held[:8] == 0).all() and (held[8:] - len(gap) / 8).abs().max() <= 2
    assert ((t >= 0) & (t <= 1)).all()
    k, t = made.locate(gap)
    sure = torch.nn.functional.one_hot(k, 16).float().log()
    assert torch.allclose(made.read(sure, t.unsqueeze(1).expand(-1, 16)), gap, atol=1e-5)
    assert float(made.losses(sure.clamp(min=-99), t.unsqueeze(1).expand(-1, 16), gap)["L_place"]) == 0
    wide = GapIntervals.between(torch.tensor([0.0, 3.0]), torch.tensor([[0, 1]]), 4)
    assert wide.edges.tolist() == [-3, -3, 0, 3, 3]


def test_an_edge_is_a_difference_and_belongs_to_the_interval_further_from_0():
    y = torch.tensor([0.0, 0.1, 0.3, 0.7])
    pairs = torch.triu_indices(4, 4, 1).T
    made = GapIntervals.between(y, pairs, 4)  # differences .1 .2 .3 .4 .6 .7: the middle lies between .3 and .4
    assert made.edges.tolist() == pytest.approx([-1, -0.3, 0, 0.3, 1])
    k, t = GapIntervals(torch.tensor([-1.0, -0.5, 0.0, 0.5, 1.0])).locate(torch.tensor([0.5, -0.5, 0.3, -0.3, 0.0]))
    assert k.tolist() == [3, 0, 2, 1, 2] and t.tolist() == pytest.approx([0, 1, 0.6, 0.4, 0])


def test_only_the_leaf_that_holds_a_pair_learns_its_place():
    made = GapIntervals(torch.tensor([-1.0, -0.5, 0.0, 0.5, 1.0]))
    log_p, gap = torch.zeros(3, 4).log_softmax(1), torch.tensor([0.1, 0.3, -0.75])
    place = torch.zeros(3, 4, requires_grad=True)
    found = made.losses(log_p, place, gap)
    assert float(found["L_class"]) == pytest.approx(1.3863, abs=1e-4)  # log 4
    assert float(found["L_place"].detach()) == pytest.approx((0.2**2 + 0.6**2) / 2 + 0.5**2, abs=1e-6)
    found["L_place"].backward()
    assert (place.grad != 0).tolist() == [
        [False, False, True, False],
        [False, False, True, False],
        [True, False, False, False],
    ]


def test_one_group_of_pairs_has_the_loss_of_its_source():
    """The mean squared error of the place in each interval, added up over the intervals that occur."""
    made, g = GapIntervals(torch.tensor([-1.0, -0.5, 0.0, 0.5, 1.0])), generator()
    place, gap = torch.rand(6, 4, generator=g), 1.9 * torch.rand(6, generator=g) - 0.95
    source = made.losses(torch.zeros(6, 4), place, gap)["L_place"]
    for size, orders in ((6, 1), (9, 1), (3, 2)):
        assert torch.allclose(place_loss(made, place, gap, size, orders), source)
    assert not torch.allclose(place_loss(made, place, gap, 3), source)


def test_the_place_in_an_interval_is_averaged_in_small_groups():
    made, half = GapIntervals(torch.tensor([-1.0, -0.5, 0.0, 0.5, 1.0])), torch.full((5, 4), 0.5)
    gap = torch.tensor([0.1, 0.3, -0.75, 0.1, 0.9])  # places 0.2, 0.6 | 0.5 | 0.2 | 0.8 of intervals 2, 2, 0, 2, 3
    first, second = (0.3**2 + 0.1**2) / 2 + 0, 0.3**2 + 0.3**2
    assert float(place_loss(made, half, gap, 3)) == pytest.approx((first + second) / 2, abs=1e-6)
    both, back = torch.cat([gap[:4], -gap[:4]]), 0.3**2  # of the other order, the places are 0.8, 0.4 | 0.5 | 0.8
    first, second = 2 * (0.3**2 + 0.1**2) / 2, 0 + 0 + 2 * back
    found = place_loss(made, half[[0] * 8], both, 2, orders=2)
    assert float(found) == pytest.approx((first + second) / 2, abs=1e-6)


def test_the_tree_is_that_of_its_source():
    tree = RegressionTree(2049, 256, 4)
    assert 2.4e6 < sum(p.numel() for p in tree.parameters()) < 2.6e6  # 2.5 million are published
    log_p, place = tree(torch.randn(5, 2049))
    assert log_p.shape == place.shape == (5, 16)
    assert torch.allclose(log_p.exp().sum(1), torch.ones(5), atol=1e-5)
    log_p[:, 3].sum().backward()
    moved = [layer.weight.grad.abs().amax((1, 2)) > 0 for layer in tree.decide]
    assert [at.nonzero().flatten().tolist() for at in moved] == [[0], [0], [0], [1]]  # the path to leaf 3 alone
