"""How well predicted scores rank and fit: Spearman's rho (Eq. 12), relative L2, and how sure a figure is.

Everything works on the last axis and accepts leading ones, so that thousands of bootstrap resamples are one call.
"""

import math
from collections.abc import Callable
from typing import NamedTuple

import torch
import torch.nn.functional as F
from scipy.special import stdtrit
from torch import Tensor

__all__ = ["spearman", "relative_l2", "fisher_mean", "bootstrap_interval", "paired_difference", "mean_interval"]

CHUNK = 2_000_000  # resampled values held at once


class Interval(NamedTuple):
    """A mean and its confidence interval."""

    value: float
    low: float
    high: float


class Difference(NamedTuple):
    """How much more A reaches than B, with its interval and the two-sided bootstrap p-value of no difference."""

    value: float
    low: float
    high: float
    p: float


def spearman(pred: Tensor, true: Tensor) -> Tensor:
    """Spearman's rank correlation (Eq. 12), equal values sharing their average rank.

    Args:
        pred, true: (..., N), broadcast against each other.

    Returns: (...) float64. Where either side is constant, and rho is undefined, 0: it ranks nothing. (scipy gives NaN.)

    Raises:
        ValueError: fewer than two values, or a NaN among them.
    """
    p, y = _ranks(pred), _ranks(true)
    p, y = p - p.mean(-1, keepdim=True), y - y.mean(-1, keepdim=True)
    # Eq. 12: rho = sum_i (p_i - p)(y_i - y) / sqrt(sum_i (p_i - p)^2 sum_i (y_i - y)^2), p and y being ranks
    spread = ((p**2).sum(-1) * (y**2).sum(-1)).sqrt()
    rho = (p * y).sum(-1) / spread.clamp_min(torch.finfo(spread.dtype).tiny)
    return torch.where(spread > 0, rho, 0.0).clamp(-1, 1)


def _ranks(values: Tensor) -> Tensor:
    values = torch.as_tensor(values).double()
    if values.shape[-1] < 2 or values.isnan().any():
        raise ValueError(f"ranks need two or more numbers and no NaN, got {tuple(values.shape)} with NaN or too few")
    in_order, order = values.sort(-1)
    place, end = torch.arange(values.shape[-1], device=values.device), values.shape[-1] - 1
    differ = in_order[..., 1:] != in_order[..., :-1]  # from the value before
    first = F.pad(torch.where(differ, place[1:], 0), (1, 0)).cummax(-1).values  # place of the first of equal values
    last = F.pad(torch.where(differ, place[:-1], end), (0, 1), value=end).flip(-1).cummin(-1).values.flip(-1)
    return torch.empty_like(values).scatter_(-1, order, (first + last + 2).double() / 2)


def relative_l2(pred: Tensor, true: Tensor, low: float | None = None, high: float | None = None) -> Tensor:
    """Relative L2 distance R-l2 = mean(((y - y') / (y_max - y_min))^2), not yet times 100 as it is printed.

    Args:
        pred, true: (..., N) in the same unit.
        low, high: y_min and y_max; by default those of `true`.

    Returns: (...) float64. Raises ValueError where the range is empty.
    """
    pred, true = torch.as_tensor(pred).double(), torch.as_tensor(true).double()
    low = true.amin(-1, keepdim=True) if low is None else torch.tensor(low, dtype=torch.float64)
    high = true.amax(-1, keepdim=True) if high is None else torch.tensor(high, dtype=torch.float64)
    if (high <= low).any():
        raise ValueError("relative L2 needs a range of true scores: all are equal, so give low and high")
    return (((true - pred) / (high - low)) ** 2).mean(-1)


def fisher_mean(rhos) -> float:
    """Average of correlations, tanh(mean(atanh(rho))): how the paper averages classes (erratum E14)."""
    rhos = torch.as_tensor(rhos, dtype=torch.float64).clamp(-1 + 1e-12, 1 - 1e-12)
    return rhos.atanh().mean().tanh().item()


def _resampled(pairs, true: Tensor, resamples: int, seed: int, metric: Callable) -> list[Tensor]:
    """The metric of each prediction on the same resampled videos: a list of (resamples,)."""
    generator = torch.Generator().manual_seed(seed)
    true = torch.as_tensor(true).double().cpu()
    pairs = [torch.as_tensor(pred).double().cpu() for pred in pairs]
    columns = [[] for _ in pairs]
    for first in range(0, resamples, rows := max(1, CHUNK // len(true))):
        index = torch.randint(len(true), (min(rows, resamples - first), len(true)), generator=generator)
        for column, pred in zip(columns, pairs, strict=True):
            column.append(metric(pred[index], true[index]))  # (rows, N) -> (rows,)
    return [torch.cat(column) for column in columns]


def bootstrap_interval(
    pred: Tensor, true: Tensor, resamples: int = 1000, seed: int = 0, level: float = 0.95, metric: Callable = spearman
) -> tuple[float, float]:
    """Percentile bootstrap interval (low, high) of a metric over videos.

    Args:
        pred, true: (N,).
        resamples, seed: how many resamples, and what draws them.
        level: coverage.
        metric: maps predictions and truths (R, N) to (R,).
    """
    (values,) = _resampled([pred], true, resamples, seed, metric)
    return _percentiles(values, level)


def paired_difference(
    pred_a: Tensor,
    pred_b: Tensor,
    true: Tensor,
    resamples: int = 1000,
    seed: int = 0,
    level: float = 0.95,
    metric: Callable = spearman,
) -> Difference:
    """metric(A) - metric(B) on the same videos, each resample drawing the same videos for both.

    Arguments as in `bootstrap_interval`. p is twice the smaller share of resamples on either side of zero.
    """
    a, b = _resampled([pred_a, pred_b], true, resamples, seed, metric)
    difference = a - b
    value = float(metric(pred_a, true) - metric(pred_b, true))
    tail = min((difference <= 0).sum().item(), (difference >= 0).sum().item())
    return Difference(value, *_percentiles(difference, level), min(1.0, 2 * (tail + 1) / (resamples + 1)))


def _percentiles(values: Tensor, level: float) -> tuple[float, float]:
    return tuple(values.quantile(torch.tensor([(1 - level) / 2, (1 + level) / 2], dtype=values.dtype)).tolist())


def mean_interval(values, level: float = 0.95) -> Interval:
    """Mean over seeds with its t interval; the interval is NaN where there is one seed alone."""
    values = torch.as_tensor(values, dtype=torch.float64)
    count, mean = len(values), values.mean().item()
    if count < 2:
        return Interval(mean, math.nan, math.nan)
    # mean -+ t_{(1 + level) / 2, n - 1} s / sqrt(n)
    half = float(stdtrit(count - 1, (1 + level) / 2)) * values.std().item() / math.sqrt(count)
    return Interval(mean, mean - half, mean + half)
