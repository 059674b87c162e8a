"""APT, after its title: queries that parse steps, each of which adds to the score."""

import torch
from test_methods import easy_set

from sapnet_core.methods import apt
from sapnet_core.methods.time_codes import time_codes


def test_a_score_is_the_sum_over_steps():
    train, x, _ = easy_set()
    run = apt.training(train, {}, torch.Generator().manual_seed(0))
    run.network.eval()
    worth = run.network(apt.clips(x.frame))
    _, shift, scale = train.unit_targets(True)
    assert worth.shape == (len(x), 3)
    assert torch.allclose(run.score(x), worth.sum(1) * scale + shift, atol=1e-5)


def test_steps_differ_with_queries_alone():
    for parse in (True, False):
        net = apt.ActionParser(16, 24, 3, 0.0, parse)
        with torch.no_grad():
            net.worth.weight.copy_(net.worth.weight[:1].expand(3, -1))
            net.worth.bias.zero_()
        worth = net(torch.randn(4, 6, 16))
        assert torch.allclose(worth, worth[:, :1].expand(-1, 3), atol=1e-5) != parse


def test_the_order_of_clips_counts():
    net = apt.ActionParser(16, 24, 3, 0.0, True)
    x = torch.randn(4, 6, 16)
    assert not torch.allclose(net(x), net(x.flip(1)), atol=1e-4)


def test_codes_are_sines_and_cosines_of_time():
    codes = time_codes(5, 7, torch.device("cpu"))
    assert codes.shape == (5, 7) and codes[0].tolist() == [0, 1, 0, 1, 0, 1, 0]
    t = torch.arange(5.0)
    assert torch.allclose(codes[:, 0], t.sin()) and torch.allclose(codes[:, 3], (t * 1e4 ** (-2 / 7)).cos(), atol=1e-5)


def test_every_part_learns():
    run = apt.training(easy_set()[0], {"dropout": 0.0}, torch.Generator().manual_seed(0))
    run.loss(0)["L_all"].backward()
    for name, p in run.network.named_parameters():
        assert p.grad.abs().max() > 0, name
