"""Is one side better than the other? A difference of two sides with both of its noises: other seeds, other videos.

A side is one trained system, or several whose figures are averaged (label shares, classes). Both sides were trained
with the same seeds and are scored on the same videos, so everything is subtracted before it is averaged. What is left
has two sources. Other labels, weights and batches would have moved it: the spread over seeds says how far. Other test
videos would have moved it: resampling them says how far. An interval that knows one of the two alone is too short.
"""

import math
import zlib
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from typing import NamedTuple

import torch
from scipy.special import stdtr, stdtrit
from torch import Tensor

from sapnet_core.experiments.metrics import mean_interval

__all__ = ["Cell", "Evidence", "METRICS", "compare", "holm", "resampled", "two_sided", "equivalence"]


@dataclass(frozen=True)
class Cell:
    """Predictions of one system under one condition.

    Attributes:
        predicted: (S, N), a row a seed.
        true: (N,).
        videos: names the test set; cells of one name share their resamples.
    """

    predicted: Tensor
    true: Tensor
    videos: str


class Evidence(NamedTuple):
    """A difference, side a - side b.

    Attributes:
        value: the mean over seeds.
        low, high: its 95 % interval over seeds and videos.
        seed_low, seed_high: Student's 95 % interval over the seeds alone.
        p: two-sided, of no difference, over seeds and videos.
        se, df: standard error and degrees of freedom behind low, high and p.
        by_seed: the differences, one a seed.
    """

    value: float
    low: float
    high: float
    seed_low: float
    seed_high: float
    p: float
    se: float
    df: float
    by_seed: tuple[float, ...]


def _mid_ranks(values: Tensor, counts: Tensor) -> Tensor:
    """Average ranks (..., R, N) of values (..., N) in resamples that hold them `counts` (R, N) times.

    No resample is sorted: the values are, once, and counts are summed up along their order.
    """
    order = values.argsort(-1)
    held = counts[:, order].movedim(0, -2) if values.ndim > 1 else counts[:, order]  # (..., R, N)
    upto = held.cumsum(-1)
    in_order = values.gather(-1, order)
    last = torch.searchsorted(in_order.contiguous(), in_order.contiguous(), right=True) - 1  # equal values rank alike
    first = torch.searchsorted(in_order.contiguous(), in_order.contiguous())
    upper = upto.gather(-1, last.unsqueeze(-2).expand_as(upto))
    below = (upto - held).gather(-1, first.unsqueeze(-2).expand_as(upto))
    ranks = torch.empty_like(upto)
    return ranks.scatter_(-1, order.unsqueeze(-2).expand_as(upto), (below + upper + 1) / 2)


def _moments(p: Tensor, y: Tensor, counts: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Covariance and both variances of p and y (..., R, N), weighted by counts (R, N)."""
    n = counts.sum(-1, keepdim=True)
    p, y = (x - (counts * x).sum(-1, keepdim=True) / n for x in (p, y))
    return tuple((counts * product).sum(-1) / n[:, 0] for product in (p * y, p * p, y * y))


def _rho(predicted: Tensor, true: Tensor, counts: Tensor) -> Tensor:
    """Spearman's rho (Eq. 12) of every resample; 0 where a side is constant."""
    both, p, y = _moments(_mid_ranks(predicted, counts), _mid_ranks(true, counts), counts)
    spread = (p * y).sqrt()
    return torch.where(spread > 1e-9, both / spread.clamp_min(1e-9), 0.0)


def _closeness(predicted: Tensor, true: Tensor, counts: Tensor) -> Tensor:
    """-100 R-l2: minus the mean squared distance to the truth, over the squared range of all true scores."""
    off = ((predicted - true) / (true.max() - true.min())) ** 2
    return -100 * off @ counts.T / counts.sum(-1)


def _spread(predicted: Tensor, true: Tensor, counts: Tensor) -> Tensor:
    """sd of predicted over sd of true scores."""
    _, p, y = _moments(predicted.unsqueeze(-2), true.unsqueeze(-2), counts)
    return (p / y.clamp_min(1e-12)).sqrt()


METRICS = {"rho": _rho, "closeness": _closeness, "spread": _spread}  # higher is better in each


@cache
def _counts(videos: str, n: int, resamples: int) -> Tensor:
    """How often each of n videos is in each resample, (R + 1, N); row 0 is the test set itself."""
    generator = torch.Generator().manual_seed(zlib.crc32(videos.encode()))
    drawn = torch.randint(n, (resamples, n), generator=generator)
    counts = torch.zeros(resamples, n, dtype=torch.float64).scatter_add_(1, drawn, torch.ones_like(drawn).double())
    return torch.cat([torch.ones(1, n, dtype=torch.float64), counts])


def resampled(cell: Cell, metric: str = "rho", resamples: int = 1000) -> Tensor:
    """The metric of each seed, (S, 1 + R): on the test videos, then on R resamples of them.

    Raises:
        ValueError: a prediction or a true score is NaN.
    """
    predicted, true = cell.predicted.double(), cell.true.double()
    if predicted.isnan().any() or true.isnan().any():
        raise ValueError(f"{cell.videos}: predictions and scores must be numbers, some are NaN")
    return METRICS[metric](predicted, true, _counts(cell.videos, len(true), resamples))


def compare(a: Sequence[Tensor], b: Sequence[Tensor], fisher: bool = False, level: float = 0.95) -> Evidence:
    """The difference of two sides over seeds and videos.

    The variance of the mean difference has two parts. Over videos: V, the part of the resampling variance that all
    seeds share; with v the variance of the mean over seeds and w the mean variance of one seed, V = (S v - w)/(S - 1).
    Over seeds: s^2 / S, a term for each averaged pair of cells, since label shares and classes are trained apart.
    Degrees of freedom by Satterthwaite: df = (sum of terms)^2 / (sum of term^2 / (S - 1)), V being taken as known.

    Args:
        a, b: cells of each side from `resampled`, (S, 1 + R) each. Where both sides have as many, they are paired.
        fisher: average the cells of a side as correlations (E14) instead of plainly.
        level: of the intervals.

    Raises:
        ValueError: an empty side, or numbers of seeds that differ.
    """
    if not a or not b or len({len(cell) for cell in (*a, *b)}) != 1:
        raise ValueError("both sides need cells, all with the same seeds")
    sides = [torch.stack(list(side)) for side in (a, b)]  # (C, S, 1 + R)
    means = [_average(side, fisher) for side in sides]  # (S, 1 + R)
    difference = means[0] - means[1]
    own, seeds = difference[:, 0], len(difference)
    value = own.mean().item()
    over_seeds = mean_interval(own, level)
    if seeds < 2:
        return Evidence(value, *[math.nan] * 7, tuple(own.tolist()))
    one, mean = difference[:, 1:].var(1).mean().item(), difference[:, 1:].mean(0).var().item()
    videos = max(0.0, (seeds * mean - one) / (seeds - 1))
    terms = [x.var().item() / seeds for x in _parts(sides, means, fisher)]
    se = math.sqrt(videos + sum(terms))
    df = (se**4) / max(sum(t**2 for t in terms) / (seeds - 1), 1e-300)
    df = min(df, 1e6)
    half = float(stdtrit(df, (1 + level) / 2)) * se
    return Evidence(
        value,
        value - half,
        value + half,
        over_seeds.low,
        over_seeds.high,
        two_sided(value, se, df),
        se,
        df,
        tuple(own.tolist()),
    )


def _average(side: Tensor, fisher: bool) -> Tensor:
    return side.clamp(-1 + 1e-9, 1 - 1e-9).atanh().mean(0).tanh() if fisher else side.mean(0)


def _parts(sides: list[Tensor], means: list[Tensor], fisher: bool) -> list[Tensor]:
    """What each pair of cells adds to the difference, (S,) each; to first order where the mean is Fisher's."""
    if len(sides[0]) != len(sides[1]):
        return [(means[0] - means[1])[:, 0]]
    parts = 0
    for sign, side, mean in zip((1, -1), sides, means, strict=True):
        own = side[:, :, 0]  # (C, S)
        # d tanh(mean atanh rho) / d rho_c = (1 - mean^2) / (1 - rho_c^2) / C
        weight = (1 - mean[:, 0].mean() ** 2) / (1 - own.mean(1, keepdim=True) ** 2).clamp_min(1e-6) if fisher else 1.0
        parts = parts + sign * weight * own / len(side)
    return list(parts)


def two_sided(value: float, se: float, df: float) -> float:
    """p of a mean of 0, Student's t."""
    if se == 0:
        return 1.0 if value == 0 else 0.0
    return float(2 * stdtr(df, -abs(value) / se))


def equivalence(evidence: Evidence, margin: float) -> tuple[float, float]:
    """p of "|difference| >= margin" (two one-sided tests), small where the sides are comparable; and p of
    "|difference| <= margin", small where they are not."""
    if math.isnan(evidence.se):
        return math.nan, math.nan
    beyond = (abs(evidence.value) - margin) / max(evidence.se, 1e-12)
    return float(stdtr(evidence.df, beyond)), float(stdtr(evidence.df, -beyond))


def holm(p: Sequence[float]) -> list[float]:
    """Holm's adjusted p-values; NaN was not tested, stays NaN and does not count.

    In rising order, p_(i) times the number of hypotheses still open, never below its predecessor and at most 1.
    """
    order = sorted((i for i, x in enumerate(p) if not math.isnan(x)), key=lambda i: p[i])
    adjusted, least = [math.nan] * len(p), 0.0
    for position, i in enumerate(order):
        least = max(least, min(1.0, (len(order) - position) * p[i]))
        adjusted[i] = least
    return adjusted
