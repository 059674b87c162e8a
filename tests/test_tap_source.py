"""TAP has the parts of its source: queries that attend over time, in order, and a comparison part by part."""

import math
from dataclasses import replace

import pytest
import torch
from plain_numbers import numbers, softmax, tensors
from test_methods import easy_set

from sapnet_core.methods import get_method, tap
from sapnet_core.methods.exemplars import Exemplars
from sapnet_core.methods.gap_intervals import GapIntervals


def test_attention_is_over_time_and_queries_meet_in_the_first_layer_alone():
    decoder = tap.PartDecoder(16, 24, 5, 0.0)
    parts, attention = decoder(torch.randn(3, 12, 16))
    assert parts.shape == (3, 5, 24) and [seen.shape for seen in attention] == [(3, 5, 12)] * 2
    for seen in attention:
        assert torch.allclose(seen.sum(2), torch.ones(3, 5), atol=1e-5)
    assert [layer.among is not None for layer in decoder.layers] == [True, False]
    assert [float(layer.temperature.detach()) for layer in decoder.layers] == [pytest.approx(0.07)] * 2


def test_centers_in_order_and_apart_cost_nothing():
    apart = torch.eye(11)[[2, 5, 8]].unsqueeze(0)  # centers 3, 6 and 9 of 1..11
    rank, sparse = tap.order_losses(apart, 2.0)
    assert float(rank) == float(sparse) == 0
    assert float(tap.order_losses(apart, 3.0)[0]) == pytest.approx(1 + 0 + 0 + 1)
    assert float(tap.order_losses(apart.flip(1), 0.0)[0]) == pytest.approx(6)
    flat = torch.full((1, 3, 11), 1 / 11)  # all centers are 6, on average 30/11 from a step
    rank, sparse = tap.order_losses(flat, 2.0)
    assert float(rank) == pytest.approx(4, abs=1e-5) and float(sparse) == pytest.approx(30 / 11, abs=1e-5)


def test_training_puts_the_queries_in_order():
    train, x, _ = easy_set()
    miss = {}
    for ranking in (0.0, 1.0):
        settings = {"steps": 60, "ranking": ranking}
        network = get_method("tap")(train, settings, torch.Generator().manual_seed(0)).network
        with torch.no_grad():
            attention = network.decoder(x.frame)[1]
        miss[ranking] = sum(float(tap.order_losses(seen, 0.0)[0]) for seen in attention)
    assert miss[1.0] < 0.1 * miss[0.0]


def test_parts_are_compared_with_the_same_parts():
    net = tap.TAP(16, 24, 5, 0.0)
    q, e = torch.randn(2, 5, 24), torch.randn(2, 5, 24)
    order = torch.tensor([3, 1, 4, 0, 2])
    first = net.compare(q, e)
    assert torch.allclose(first[0], net.compare(q[:, order], e[:, order])[0], atol=1e-5)
    assert not torch.allclose(first[0], net.compare(q[:, order], e)[0], atol=1e-4)
    assert not torch.allclose(first[0], net.compare(e, q)[0], atol=1e-4)
    assert torch.allclose(first[0].exp().sum(1), torch.ones(2), atol=1e-5)
    assert ((first[1] > 0) & (first[1] < 1)).all()


def test_every_part_learns():
    run = tap.training(easy_set()[0], {}, torch.Generator().manual_seed(0))
    run.loss(0)["L_all"].backward()
    for name, p in run.network.named_parameters():
        assert p.grad.abs().max() > 0, name


def test_both_orders_of_a_pair_are_added_up():
    run = tap.training(easy_set()[0], {}, torch.Generator().manual_seed(0))
    with torch.no_grad():  # whatever is compared, all intervals are equally probable, and all places 1/2
        for p in [p for name, p in run.network.named_parameters() if not name.startswith("decoder")]:
            p.zero_()
    terms = run.loss(0)
    assert float(terms["L_class"].detach()) == pytest.approx(2 * math.log(16), rel=1e-5)


def test_the_place_weighs_what_it_does_in_batches_of_three_pairs():
    """Each of both orders is a mean over groups of three pairs; in a group, intervals are added up."""
    train = easy_set()[0]
    run, seen = tap.training(train, {"batch": 8, "dropout": 0.0}, torch.Generator().manual_seed(0)), {}
    for name in ("interval", "place"):
        layer = getattr(run.network, name)
        layer.register_forward_hook(lambda net, given, out, name=name: seen.update({name: out.detach().numpy()}))
    run.network.decoder.register_forward_hook(lambda net, given, out: seen.update(x=given[0]))
    terms = run.loss(0)
    rows = (seen["x"][:, None] == train.frame[None, :40]).all((2, 3)).int().argmax(1)
    gap = (train.y[rows] - train.y[rows.roll(8)]).numpy()
    exemplars = Exemplars(train, "difficulty", torch.Generator())
    edges = GapIntervals.between(train.y, exemplars.pairs(8), 16).edges.numpy()
    value = 0.0
    for order in (range(8), range(8, 16)):
        for group in (order[:3], order[3:6], order[6:]):
            off = {}
            for j in group:
                k = sum(gap[j] >= edge if gap[j] >= 0 else gap[j] > edge for edge in edges[1:-1])
                t = (gap[j] - edges[k]) / (edges[k + 1] - edges[k])
                off.setdefault(k, []).append((1 / (1 + math.exp(-seen["place"][j, k])) - t) ** 2)
            value += sum(sum(one) / len(one) for one in off.values()) / 3
    assert float(terms["L_place"].detach()) == pytest.approx(value, rel=1e-4)


def test_the_order_of_steps_counts_and_positions_give_it():
    train, x, _ = easy_set()
    run = tap.training(train, {}, torch.Generator().manual_seed(0))
    terms = run.loss(0)
    assert {"L_class", "L_place", "L_rank", "L_sparse"} <= terms.keys()
    back = torch.arange(train.frame.shape[1]).flip(0)
    turned = replace(train, frame=train.frame[:, back], positions=train.positions[back])
    same = tap.training(turned, {}, torch.Generator().manual_seed(0)).loss(0)
    assert all(torch.allclose(terms[name], same[name], atol=1e-5) for name in terms)


def test_the_losses_of_the_order_have_their_value():
    """Centers of attention in order and apart by the margin, from both ends of time, and attention near its center; the
    second is averaged over the queries, too, as in the public code."""
    seen, margin = softmax(2 * numbers(4, 6, 5, 9)), 1.44
    rank, sparse = 0.0, 0.0
    for video in seen:
        centers = [sum((t + 1) * a for t, a in enumerate(query)) for query in video]
        places = [1.0, *centers, 9.0]
        rank += sum(max(0.0, a - b + margin) for a, b in zip(places[:-1], places[1:], strict=True)) / 6
        sparse += sum(abs(t + 1 - c) * a for c, q in zip(centers, video, strict=True) for t, a in enumerate(q)) / 30
    value = rank + 0.05 * sparse
    assert value == pytest.approx(7.167068840387047, rel=1e-12)
    found = tap.order_losses(*tensors(seen), margin)
    assert float(found[0] + 0.05 * found[1]) == pytest.approx(value, rel=1e-12)
