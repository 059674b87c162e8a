"""TSA-Net has the attention of its source: cells of the tube attend to each other, and begin without an effect."""

import pytest
import torch
from plain_numbers import filled, numbers, softmax, tensors
from test_methods import easy_set

from sapnet_core.methods import VideoBatch, get_method, tsa_net


def test_attention_follows_the_equation():
    tube = tsa_net.TubeAttention(8, 0.5)
    torch.nn.init.normal_(tube.out.weight)
    x = torch.randn(1, 6, 8, generator=torch.Generator().manual_seed(0))
    g, found = tube.value(x)[0], tube(x)[0]
    for i in range(6):
        weights = torch.tensor([0.5 * float(x[0, i] @ x[0, j]) for j in range(6)]).softmax(0)
        assert torch.allclose(found[i], tube.out(sum(w * g[j] for j, w in enumerate(weights))), atol=1e-4)


def test_it_begins_as_the_mean_of_the_frames():
    train, x, _ = easy_set()
    score = [
        tsa_net.training(train, {"attend": attend}, torch.Generator().manual_seed(0)).score(x)
        for attend in (True, False)
    ]
    assert torch.equal(*score)


def test_the_tube_is_the_actor_and_changes_predictions():
    train, x, _ = easy_set()
    turned = VideoBatch(x.frame, x.actor.flip(1) * 2)
    for tube in (True, False):
        fitted = get_method("tsa-net")(train, {"steps": 60, "tube": tube}, torch.Generator().manual_seed(0))
        assert torch.allclose(fitted.predict(x), fitted.predict(turned), atol=1e-4) != tube


def test_the_attention_learns():
    train, _, _ = easy_set()
    run = tsa_net.training(train, {}, torch.Generator().manual_seed(0))
    run.loss(0)["L_all"].backward()
    assert run.network["tube"].out.weight.grad.abs().max() > 0


def test_the_loss_has_its_value():
    """Cells of the tube attend to each other, their mean is scored, and the error is squared."""
    tube, w = filled(tsa_net.TubeAttention(8), 10)
    x, head, y = numbers(5, 4, 6, 8), numbers(6, 8), numbers(7, 4)
    g = x @ w["value.weight"].T + w["value.bias"]
    seen = x + softmax(x @ x.transpose(0, 2, 1)) @ g @ w["out.weight"].T + w["out.bias"]
    value = ((seen.mean(1) @ head - y) ** 2).mean()
    assert value == pytest.approx(4.2566686224562265, rel=1e-12)
    x, head, y = tensors(x, head, y)
    assert float(((x + tube(x)).mean(1) @ head - y).square().mean().detach()) == pytest.approx(value, rel=1e-12)
