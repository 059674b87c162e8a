"""FSPN has the parts of its source: two views that share a parser, and an actor who reads the whole frame."""

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from test_methods import easy_set, predict

from sapnet_core.methods import VideoBatch, fspn


def made(**settings):
    run = fspn.training(easy_set()[0], settings, torch.Generator().manual_seed(0))
    run.network.eval()
    return run


def test_the_sizes_are_those_of_the_source():
    o = fspn.options("fspn", {"width": 64}, fspn.SETTINGS)
    net = fspn.FSPN(1024, o)
    convolutions = net.parser.decoder.convs
    assert [c.out_channels for c in convolutions] == [1024, 512, 256, 128]
    assert [c.out_channels for c in net.reading.enter] == [64, 128, 256]
    assert [len(blocks) for blocks in net.reading.blocks] == [3, 3, 3]
    assert {block.attention.num_heads for blocks in net.reading.blocks for block in blocks} == {8}
    assert net.interval[0].in_features == 2 * (64 + 128 + 256) + 1


def test_the_actor_reads_the_whole_frame_unless_told_not_to():
    g = torch.Generator().manual_seed(1)
    z, v, other = (torch.randn(2, 15, 32, generator=g) for _ in range(3))
    for attend in (True, False):
        reading = fspn.Reading(32, 16, attend)
        assert torch.allclose(reading(z, v), reading(z, other), atol=1e-5) != attend
        assert not torch.allclose(reading(z, v), reading(other, v), atol=1e-5)


def test_predictions_look_at_the_actor_and_refuse_videos_without_one():
    train, x, _ = easy_set()
    run = made()
    assert not torch.equal(run.score(x), run.score(VideoBatch(x.frame, x.actor.flip(2), x.difficulty, x.action)))
    for method in ("fspn", "tsa-net"):
        with pytest.raises(ValueError, match=f"{method} .*teacher='actor'"):
            predict(method, train, VideoBatch(x.frame), steps=2)


def test_a_subaction_begins_behind_a_transition():
    x = torch.arange(20.0).reshape(1, 20, 1).expand(3, -1, -1)
    found = fspn.cut(x, torch.tensor([[4, 14], [0, 19], [9, 10]])).squeeze(3)
    assert found.tolist() == [
        [[0, 1, 2, 3, 4], [5, 7.25, 9.5, 11.75, 14], [15, 16, 17, 18, 19]],
        [[0] * 5, [1, 5.25, 9.5, 13.75, 18], [19] * 5],  # no subaction is empty
        [[0, 2.25, 4.5, 6.75, 9], [10] * 5, [11, 13, 15, 17, 19]],
    ]
    assert fspn.cut(x[:1], torch.tensor([[3]])).shape == (1, 2, 5, 1)


def test_a_subaction_is_weighted_by_the_activations_at_its_transitions():
    run, (train, x, _) = made(), easy_set()
    steps = run.network.parse(x.frame[:4], train.positions).detach().numpy()
    features, logits = (part.detach().double().numpy() for part in run.network.parser(x.frame[:4], train.positions))
    active = 1 / (1 + np.exp(-logits))
    for video in range(4):
        one, two = logits[video, :48, 0].argmax(), 48 + logits[video, 48:, 1].argmax()  # the peak of each half
        a, b = active[video, one, 0], active[video, two, 1]
        two = min(two, 94)
        ranges = [(0, one, a), (one + 1, two, (a + b) / 2), (two + 1, 95, b)]
        for s, (first, last, weight) in enumerate(ranges):
            at = np.linspace(first, last, 5)
            expected = [np.interp(at, np.arange(96), channel) * weight for channel in features[video].T]
            assert np.allclose(steps[video, s].T, expected, atol=1e-5)


def test_the_interval_is_one_question_for_each():
    run = made(contrast=0.0)
    seen = []
    run.network.interval.register_forward_hook(lambda net, given, out: seen.append((given[0], out)))
    terms = run.loss(0)
    pair, logits = seen[0]
    assert pair.shape[1] == 2 * 7 * 16 + 1
    assert (terms["L_bce"] / 16 - F.softplus(logits).mean()).abs() < 0.3  # all but one of 16 questions are denied
    assert set(terms) == {"L_bce", "L_place", "L_all"} and "L_gc" in made().loss(0)


def test_every_part_learns():
    run = made()
    run.loss(0)["L_all"].backward()
    for name, p in run.network.named_parameters():
        assert p.grad is not None and p.grad.abs().max() > 0, name
