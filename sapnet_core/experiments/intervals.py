"""Confidence intervals: how sure a number is, over seeds and over test videos.

Two sources of noise are measured apart: labels, weights and batches by the spread over seeds (Student's t), and the
choice of test videos by resampling them (bootstrap). `experiments.statistics` adds both where a claim is judged.

`scipy.stats.bootstrap` with a vectorized Spearman's rho takes as long as `bootstrap_interval` (168 and 176 ms for 353
videos and 1000 resamples) and gives the same values on the same resamples, to 1e-16. It draws other resamples from a
seed, though, which moved the ends of an interval by up to 0.0013, and ends are stored with every result.
"""

import math
from collections.abc import Callable, Hashable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import pandas as pd
import torch
from scipy import stats
from torch import Tensor

from sapnet_core.experiments.metrics import spearman
from sapnet_core.experiments.resampling import rho_of_draws

__all__ = [
    "Interval",
    "Paired",
    "SeedScores",
    "bootstrap_interval",
    "correlation_interval",
    "mean_interval",
    "paired_difference",
    "seed_scores",
    "within_range",
]

CHUNK = 2_000_000  # maximum number of resampled values in memory at a time


class Interval(NamedTuple):
    """A value and its confidence interval. Its text is "value [low, high]"; a format, "+.3f" by default, holds for all
    three."""

    value: float
    low: float
    high: float

    def __str__(self) -> str:
        return format(self)

    def __format__(self, spec: str) -> str:
        spec = spec or "+.3f"
        return f"{self.value:{spec}} [{self.low:{spec}}, {self.high:{spec}}]"


def within_range(value: float, half: float, limit: float) -> tuple[float, float]:
    """The interval value -+ half, (low, high), of a quantity that lies between -limit and limit.

    Where an end leaves that range, the normal approximation does not hold on the quantity's own scale. Both ends are
    then computed in Fisher's z = atanh(value / limit), which makes a correlation's spread nearly independent of its
    size (R. A. Fisher, "On the 'probable error' of a coefficient of correlation deduced from a small sample",
    Metron 1, 1921), with the half width converted by the delta method, half / limit / (1 - (value / limit)^2), and
    mapped back. `limit` is 1 for a correlation, 2 for a difference of two, infinite for a quantity without bounds.
    """
    low, high = value - half, value + half
    share = value / limit
    if not math.isfinite(half) or (-limit <= low and high <= limit) or abs(share) >= 1:
        return max(low, -limit), min(high, limit)
    z, spread = math.atanh(share), half / limit / (1 - share**2)
    return limit * math.tanh(z - spread), limit * math.tanh(z + spread)


def mean_interval(values, level: float = 0.95, limit: float = math.inf) -> Interval:
    """Mean over seeds with Student's t interval, kept between -limit and limit (`within_range`).

    The interval is NaN if there is only one seed.
    """
    values = torch.as_tensor(values, dtype=torch.float64)
    count, mean = len(values), values.mean().item()
    if count < 2:
        return Interval(mean, math.nan, math.nan)
    # mean -+ t_{(1 + level) / 2, n - 1} s / sqrt(n)
    half = float(stats.t.ppf((1 + level) / 2, count - 1)) * values.std().item() / math.sqrt(count)
    return Interval(mean, *within_range(mean, half, limit))


def correlation_interval(rhos, level: float = 0.95) -> Interval:
    """`mean_interval` of correlations; its ends lie between -1 and 1."""
    return mean_interval(rhos, level, limit=1.0)


def _resampled_metric(
    predictions: Sequence[Tensor], true: Tensor, resamples: int, seed: int, metric: Callable
) -> list[Tensor]:
    """The metric of each prediction on the same resampled videos: a list of (resamples,)."""
    generator = torch.Generator().manual_seed(seed)
    true = torch.as_tensor(true).double().cpu()
    predictions = [torch.as_tensor(pred).double().cpu() for pred in predictions]
    columns = [[] for _ in predictions]
    for first in range(0, resamples, rows := max(1, CHUNK // len(true))):
        index = torch.randint(len(true), (min(rows, resamples - first), len(true)), generator=generator)
        for column, pred in zip(columns, predictions, strict=True):
            column.append(metric(pred[index], true[index]))  # (rows, N) -> (rows,)
    return [torch.cat(column) for column in columns]


def _percentiles(values: Tensor, level: float) -> tuple[float, float]:
    return tuple(values.quantile(torch.tensor([(1 - level) / 2, (1 + level) / 2], dtype=values.dtype)).tolist())


def bootstrap_interval(
    pred: Tensor, true: Tensor, resamples: int = 1000, seed: int = 0, level: float = 0.95, metric: Callable = spearman
) -> tuple[float, float]:
    """Percentile bootstrap interval (low, high) of a metric over videos; it cannot leave the metric's range.

    Args:
        pred, true: predicted and true scores (N,).
        resamples, seed: number of resamples, and the seed that draws them.
        level: coverage of the interval.
        metric: maps predicted and true scores (R, N) to (R,).
    """
    (values,) = _resampled_metric([pred], true, resamples, seed, metric)
    return _percentiles(values, level)


def paired_difference(
    pred_a: Tensor,
    pred_b: Tensor,
    true: Tensor,
    resamples: int = 1000,
    seed: int = 0,
    level: float = 0.95,
    metric: Callable = spearman,
) -> Interval:
    """The difference metric(A) - metric(B) with its bootstrap interval over videos; both share the resamples.

    Arguments are as in `bootstrap_interval`.
    """
    a, b = _resampled_metric([pred_a, pred_b], true, resamples, seed, metric)
    return Interval(float(metric(pred_a, true) - metric(pred_b, true)), *_percentiles(a - b, level))


class Paired(NamedTuple):
    """A mean difference with its 95 % interval over seeds (NaN for one seed) and that over test videos, for figures.

    A verdict must account for both sources of noise together; `statistics.compare` does so.
    """

    value: float
    low: float
    high: float
    video_low: float
    video_high: float

    def __str__(self) -> str:
        """The difference with its interval over seeds."""
        return str(Interval(self.value, self.low, self.high))


@dataclass(frozen=True)
class SeedScores:
    """Spearman's rho of every cell of a table or figure.

    Attributes:
        rho: cell -> (S,), one value per seed.
        again: cell -> (S, R), rho on R resamples of the test videos, which all cells share.
    """

    rho: dict[Hashable, Tensor]
    again: dict[Hashable, Tensor]

    def contrast(self, weights: Mapping[Hashable, float]) -> Paired:
        """The weighted sum Σ weight · rho over cells, with both intervals; {a: 1, b: -1} gives a difference."""
        value = sum(w * self.rho[cell] for cell, w in weights.items())  # (S,)
        again = sum(w * self.again[cell] for cell, w in weights.items())  # (S, R)
        limit = sum(abs(w) for w in weights.values()) or math.inf
        return Paired(*mean_interval(value, limit=limit), *_percentiles(again.mean(0), 0.95))

    def difference(self, ones: Iterable[Hashable], others: Iterable[Hashable]) -> Paired:
        """The mean rho of some cells minus the mean rho of others, with both intervals."""
        ones, others = list(ones), list(others)
        weights = dict.fromkeys([*ones, *others], 0.0)
        for cells, sign in ((ones, 1.0), (others, -1.0)):
            for cell in cells:
                weights[cell] += sign / len(cells)
        return self.contrast(weights)


def seed_scores(tables: Mapping[tuple, pd.DataFrame], resamples: int = 1000) -> SeedScores:
    """Spearman's rho of predictions.

    Args:
        tables: (condition ..., seed) -> table with columns key, score and predicted, as from `results.predictions`. A
            cell is such a key without the seed: a tuple, or the condition itself if there is only one.
        resamples: number R of resamples of the test videos.

    Raises:
        ValueError: the tables differ in their test videos, or the cells in their number of seeds.
    """
    first, found = None, {}
    for key, table in tables.items():
        first = table if first is None else first
        if not table[["key", "score"]].equals(first[["key", "score"]]):
            raise ValueError(
                f"{key}: its test videos differ from the first trial's: give trials with the same test videos"
            )
        cell = key[0] if len(key) == 2 else key[:-1]
        found.setdefault(cell, []).append(torch.tensor(table["predicted"].to_numpy()))
    if len({len(seeds) for seeds in found.values()}) > 1:
        raise ValueError(
            f"cells have {sorted({len(seeds) for seeds in found.values()})} seeds: give every cell the same number"
        )
    true = torch.tensor(first["score"].to_numpy())  # (N,)
    draws = torch.randint(len(true), (resamples, len(true)), generator=torch.Generator().manual_seed(0))  # (R, N)
    stacked = {cell: torch.stack(seeds) for cell, seeds in found.items()}  # (S, N)
    return SeedScores(
        {cell: spearman(p, true) for cell, p in stacked.items()},
        {cell: rho_of_draws(p, true, draws) for cell, p in stacked.items()},
    )
