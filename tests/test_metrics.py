"""Metrics against SciPy and values computed by hand."""

import math

import numpy as np
import pytest
import torch
from scipy import stats

from sapnet_core.experiments.metrics import fisher_mean, relative_l2, spearman


def draw(n, noise, seed=0):
    generator = torch.Generator().manual_seed(seed)
    true = torch.randn(n, generator=generator)
    return true + noise * torch.randn(n, generator=generator), true


@pytest.mark.parametrize("n", [2, 3, 10, 353])
@pytest.mark.parametrize("ties", [False, True])
def test_spearman_is_scipys(n, ties):
    pred, true = draw(n, 1.0, seed=n)
    if ties and n > 3:
        pred, true = (pred * 2).round(), (true * 3).round()
    expected = stats.spearmanr(pred.numpy(), true.numpy()).statistic
    assert spearman(pred, true).item() == pytest.approx(expected, abs=1e-12)
    assert spearman(-pred, true).item() == pytest.approx(-expected, abs=1e-12)


def test_spearman_works_on_many_rows_at_once():
    pred, true = draw(60, 1.0)
    pred, true = pred.reshape(3, 20).round(), true.reshape(3, 20)
    assert torch.equal(spearman(pred, true), torch.stack([spearman(p, y) for p, y in zip(pred, true, strict=True)]))


def test_spearman_of_a_constant_is_zero_and_of_nan_an_error():
    true = torch.arange(5.0)
    assert spearman(torch.ones(5), true) == 0 and spearman(true, torch.ones(5)) == 0
    for bad in (torch.tensor([1, 2, math.nan, 4, 5]), torch.ones(1)):
        with pytest.raises(ValueError, match="NaN"):
            spearman(bad, true[: len(bad)])


def test_relative_l2_by_hand():
    true, pred = torch.tensor([0.0, 10, 20]), torch.tensor([1.0, 10, 18])
    assert relative_l2(pred, true).item() == pytest.approx((1 / 400 + 0 + 4 / 400) / 3)
    assert relative_l2(pred, true, low=0, high=100).item() == pytest.approx((1 + 4) / 1e4 / 3)
    with pytest.raises(ValueError, match="low and high"):
        relative_l2(pred, torch.ones(3))


def test_fisher_mean_by_hand_and_not_the_arithmetic_mean():
    rhos = [0.196, 0.403, 0.319, 0.305]  # Action-Net's row of Table VI, printed 0.308 with an arithmetic mean of 0.306
    assert fisher_mean(rhos) == pytest.approx(math.tanh(sum(map(math.atanh, rhos)) / 4))
    assert round(fisher_mean(rhos), 3) == 0.308 != round(float(np.mean(rhos)), 3)
    assert fisher_mean([1.0, 0.5]) == pytest.approx(1.0, abs=1e-5)
