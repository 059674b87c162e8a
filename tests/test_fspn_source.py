"""FSPN has the parts of its source: two views that share a parser, and an actor who reads the whole frame."""

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


def test_a_parsed_step_is_weighted_by_its_own_activation():
    run, x = made(), easy_set()[1].frame[:4]
    net, positions = run.network, easy_set()[0].positions
    features, logits = net.parser(x, positions)
    sampling = fspn.resampling_matrix(fspn.key_frames(logits), 96, 5)
    steps = net.parse(x, positions)
    for s in range(3):
        rows = sampling[:, 5 * s : 5 * s + 5]
        expected = (rows @ features) * (rows @ torch.sigmoid(logits))[:, :, s : s + 1]
        assert torch.allclose(steps[:, s], expected, atol=1e-6)


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
