"""HGCN has the parts of its source: refinement by neighbors, two graphs on shots, scenes with a mean and a spread."""

import numpy as np
import pytest
import torch
from plain_numbers import filled, numbers, softmax, tensors
from test_methods import easy_set

from sapnet_core.methods import hgcn


def made(**settings):
    run = hgcn.training(easy_set()[0], settings, torch.Generator().manual_seed(0))
    run.network.eval()
    return run


def test_the_widths_are_those_of_the_source():
    net = hgcn.HGCN(1024, 10, 7, 8)
    widths = {
        name: net.get_submodule(name).out_channels
        for name in ("refinement.state", "refinement.shots", "graph.query", "graph.out", "assign.out", "scene")
    }
    assert [*widths.values()] == [256, 512, 128, 256, 7, 128]
    assert {name for name, m in net.named_modules() if getattr(m, "groups", 1) == 8} == {
        "refinement.state",
        "refinement.shots",
        "graph.query",
        "graph.key",
        "graph.out",
        "scene",
    }
    narrow = hgcn.HGCN(16, 10, 7, 8)
    assert narrow.refinement.shots.out_channels == 128 and narrow.scene.out_channels == 32  # as for 256 channels
    mean, spread = net(torch.randn(3, 10, 1024))
    assert mean.shape == spread.shape == (3, 7) and (spread > 0).all()
    assert torch.equal(net.shares, torch.ones(7, 10)) and torch.equal(net.graph.fixed, torch.eye(10))


def test_a_shot_depends_on_the_clips_beside_it_alone():
    layer = hgcn.ClipRefinement(16, 8, 6, 4, refine=True)
    x = torch.randn(1, 16, 6, generator=torch.Generator().manual_seed(0), requires_grad=True)
    layer(x)[:, :, 2].sum().backward()
    assert (x.grad.abs().sum((0, 1)) > 0).tolist() == [False, True, True, True, False, False]


def test_refinement_follows_the_equation():
    layer = hgcn.ClipRefinement(16, 8, 5, 1, refine=True)
    x = torch.randn(1, 16, 5, generator=torch.Generator().manual_seed(0))
    z, a = torch.relu(layer.state(x))[0], torch.zeros(5, 5)
    for i in range(5):
        for j in range(5):
            if abs(i - j) < 2:
                a[i, j] = torch.tanh(z[:, i] - z[:, j]).mean() + float(i == j)
    assert torch.allclose(layer(x)[0], torch.relu(layer.shots(x @ a))[0], atol=1e-5)


def test_a_score_is_the_sum_over_scenes_and_draws_no_noise():
    run, (_, x, _) = made(), easy_set()
    mean = run.network(hgcn.clips(x.frame))[0]
    train = easy_set()[0]
    _, shift, scale = train.unit_targets(True)
    assert torch.allclose(run.score(x), mean.sum(1) * scale + shift, atol=1e-5)
    assert torch.equal(run.score(x), run.score(x))
    first, second = (float(made().loss(0)["L_all"].detach()) for _ in range(2))
    run = made()
    torch.manual_seed(1)  # the loss draws noise from the global random numbers
    assert first == second != float(run.loss(0)["L_all"].detach())


def test_every_part_learns():
    run = made()
    run.loss(0)["L_all"].backward()
    for name, p in run.network.named_parameters():
        assert p.grad.abs().max() > 0, name


@pytest.mark.parametrize("clips", [1, 7, 68])
def test_any_number_of_clips_will_do(clips):
    assert hgcn.HGCN(64, clips, 7, 4)(torch.randn(2, clips, 64))[0].isfinite().all()


def test_the_loss_has_its_value():
    """Clips, shots, actions and scenes step by step, and the squared error of the sum over scenes, with its noise."""
    net, w = filled(hgcn.HGCN(16, 5, 3, 1), 20, 0.1)
    x, noise, y = numbers(8, 4, 5, 16), numbers(9, 4, 3), numbers(11, 4)
    apart = np.abs(np.arange(5)[:, None] - np.arange(5))

    def mixed(name: str, x: np.ndarray) -> np.ndarray:
        return np.einsum("oc,bct->bot", w[f"{name}.weight"][:, :, 0], x) + w.get(f"{name}.bias", np.zeros(1))[:, None]

    def graph(name: str, x: np.ndarray) -> np.ndarray:
        q, k = mixed(f"{name}.query", x), mixed(f"{name}.key", x)
        alike = np.einsum("bct,bcs->bts", q, k) / np.sqrt(q.shape[1])
        held = softmax((apart < 3) + w[f"{name}.strength"] * alike + w[f"{name}.fixed"])
        return np.maximum(mixed(f"{name}.out", x @ held), 0)

    clips = x.transpose(0, 2, 1)
    z = np.maximum(mixed("refinement.state", clips), 0)
    change = np.tanh(z[:, :, :, None] - z[:, :, None, :]).mean(1)
    shots = np.maximum(mixed("refinement.shots", clips @ ((change + np.eye(5)) * (apart < 2))), 0)
    shares = w["shares"] + w["strength"] * graph("assign", shots)
    v = np.maximum(mixed("scene", graph("graph", shots) @ shares.transpose(0, 2, 1)), 0)
    mean, spread = mixed("mean", v)[:, 0], np.exp(0.5 * mixed("log_variance", v)[:, 0])
    value = (((mean + spread * noise).sum(1) - y) ** 2).mean()
    assert value == pytest.approx(7.943958508887478, rel=1e-12)
    x, noise, y = tensors(x, noise, y)
    mean, spread = net(x)
    assert float(((mean + spread * noise).sum(1) - y).square().mean().detach()) == pytest.approx(value, rel=1e-9)
