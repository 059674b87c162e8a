"""DAE-CoRe predicts a normal distribution of relative scores, by the likelihood or by the loss of its public code."""

import numpy as np
import pytest
import torch
from plain_numbers import numbers, tensors
from test_methods import easy_set, predict

from sapnet_core.methods import dae_core, get_method
from sapnet_core.methods.likelihood import likelihood_loss, variance_of


def test_the_likelihood_is_least_at_the_mean_square_error():
    gap = torch.tensor([0.4, -0.2, 1.0, 0.0])
    error = gap.square().mean()
    at = [float(likelihood_loss(torch.zeros(4), torch.full((4,), float(error) * k), gap)) for k in (0.5, 1.0, 2.0)]
    assert at[1] < at[0] and at[1] < at[2]
    density = torch.distributions.Normal(0.0, error.sqrt()).log_prob(gap).mean()
    assert at[1] == pytest.approx(float(-density) - 0.5 * torch.tensor(2 * torch.pi).log().item(), abs=1e-5)
    weighted = likelihood_loss(torch.zeros(4), torch.ones(4), gap, 0.6, 0.4)
    assert float(weighted) == pytest.approx(0.6 * float(error))


def test_a_variance_has_a_floor():
    assert variance_of(torch.tensor([-100.0, 0.0])).tolist() == pytest.approx([1e-3, 1.001])


def test_a_sample_costs_its_spread():
    mean, gap = torch.tensor([0.1, 0.3]), torch.tensor([0.0, 0.5])
    off = (mean - gap).square().mean()
    noise = torch.tensor([1.0, -1.0])
    assert float(dae_core.sample_loss(mean, torch.zeros(2), gap, noise)) == pytest.approx(2 * float(off))
    spread = dae_core.sample_loss(gap, torch.full((2,), 0.09), gap, noise)
    assert float(spread) == pytest.approx(0.09)


def test_a_large_error_widens_the_likelihood_and_not_the_sample():
    noise, zero = torch.tensor([1.0, -1.0]), torch.zeros(2)
    for error in (0.0, 1.0):
        variance = torch.full((2,), 0.01, requires_grad=True)
        likelihood_loss(zero, variance, torch.full((2,), error)).backward()
        assert ((variance.grad < 0) == (error > 0.1)).all()
        variance.grad = None
        dae_core.sample_loss(zero, variance, torch.full((2,), error), noise).backward()
        assert variance.grad.sum() > 0


def test_predictions_draw_no_noise():
    train, x, _ = easy_set()
    fitted = get_method("dae-core")(train, {"steps": 5, "likelihood": False}, torch.Generator().manual_seed(0))
    assert torch.equal(fitted.predict(x), fitted.predict(x))


def test_a_kinder_difficulty_is_scored_kindlier():
    train, x, y = easy_set()
    one = x.difficulty == x.difficulty[0]
    kinder = type(train)(**{**vars(train), "y": train.y + 0.2 * (train.difficulty == x.difficulty[0])})
    found = predict("dae-core", kinder, x)
    assert (found - y)[one].mean() - (found - y)[~one].mean() == pytest.approx(0.2, abs=0.1)


def test_the_loss_of_the_public_code_has_its_value():
    """Squared errors of mu and of mu + sigma eps, each averaged over the pairs."""
    mean, log_variance, gap, noise = numbers(0, 4, 32)
    variance = np.exp(log_variance)
    value = ((mean + np.sqrt(variance) * noise - gap) ** 2).mean() + ((mean - gap) ** 2).mean()
    assert value == pytest.approx(7.317542765030837, rel=1e-12)
    assert float(dae_core.sample_loss(*tensors(mean, variance, gap, noise))) == pytest.approx(value, rel=1e-12)
