"""Compare systems: intervals, tests, and the one rule by which notebooks and ledger call a claim supported or not.

A claim says that one side is better than another. A side is one trained system, or several whose figures are averaged
(label shares, classes). Both sides are trained with the same seeds and scored on the same test videos, so everything is
subtracted within a seed and a video before it is averaged. Two sources of noise are left. Other labels, weights and
batches would have moved the difference: the spread over seeds says how far. Other test videos would have moved it:
resampling them says how far. `compare` adds both, since an interval that knows one of the two alone is too short.

The rule, `judge`: the claims about one table or figure are a family. A claim is *supported* or *contradicted* where its
p-value, corrected over the family (Holm), is below `LEVEL`; there is *no difference* where the difference is shown to
stay within `margin` (two one-sided tests, corrected likewise); anything else is *undecided*, and `seeds_to_decide` says
how many seeds would settle it.
"""

import math
from collections.abc import Callable, Hashable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import pandas as pd
import torch
from scipy import stats
from torch import Tensor

from sapnet_core.experiments.metrics import spearman

__all__ = [
    "SUPPORTED",
    "CONTRADICTED",
    "NO_DIFFERENCE",
    "UNDECIDED",
    "UNTESTABLE",
    "VERDICTS",
    "LEVEL",
    "MARGIN",
    "Interval",
    "mean_interval",
    "correlation_interval",
    "within_range",
    "bootstrap_interval",
    "paired_difference",
    "Paired",
    "SeedScores",
    "seed_scores",
    "Evidence",
    "compare",
    "evidence_of",
    "weakest",
    "two_sided",
    "equivalence",
    "holm",
    "Hypothesis",
    "Verdict",
    "hypothesis_of",
    "judge",
    "seeds_to_decide",
    "seeds_in_words",
    "in_words",
]

SUPPORTED, CONTRADICTED, NO_DIFFERENCE = "supported", "contradicted", "no difference"
UNDECIDED, UNTESTABLE = "undecided", "not testable here"
VERDICTS = (SUPPORTED, CONTRADICTED, NO_DIFFERENCE, UNDECIDED, UNTESTABLE)

LEVEL = 0.05  # of every test, after Holm's correction
MARGIN = 0.02  # differences of rho within it count as none, unless a claim states its own margin
POWER = 0.8  # with which `seeds_to_decide` seeds decide
MOST_SEEDS = 1000  # beyond which no number is named
CHUNK = 2_000_000  # resampled values held at once


# ---- intervals ------------------------------------------------------------------------------------------------------
class Interval(NamedTuple):
    """A value and its confidence interval."""

    value: float
    low: float
    high: float


def within_range(value: float, half: float, limit: float) -> tuple[float, float]:
    """The interval value -+ half of a quantity that lies between -limit and limit.

    Where one of its ends leaves that range, the normal approximation does not hold on the quantity's own scale. Both
    ends are then built in Fisher's z = atanh(value / limit), which makes a correlation's spread nearly independent of
    its size (R. A. Fisher, "On the 'probable error' of a coefficient of correlation deduced from a small sample",
    Metron 1, 1921), with the half width carried over by the delta method, half / limit / (1 - (value / limit)^2), and
    mapped back. `limit` is 1 for a correlation, 2 for a difference of two, infinite for a quantity without bounds.
    """
    low, high = value - half, value + half
    share = value / limit
    if not math.isfinite(half) or (-limit <= low and high <= limit) or abs(share) >= 1:
        return max(low, -limit), min(high, limit)
    z, spread = math.atanh(share), half / limit / (1 - share**2)
    return limit * math.tanh(z - spread), limit * math.tanh(z + spread)


def mean_interval(values, level: float = 0.95, limit: float = math.inf) -> Interval:
    """Mean over seeds with Student's interval, kept between -limit and limit (`within_range`); the interval is NaN
    where there is one seed alone."""
    values = torch.as_tensor(values, dtype=torch.float64)
    count, mean = len(values), values.mean().item()
    if count < 2:
        return Interval(mean, math.nan, math.nan)
    # mean -+ t_{(1 + level) / 2, n - 1} s / sqrt(n)
    half = float(stats.t.ppf((1 + level) / 2, count - 1)) * values.std().item() / math.sqrt(count)
    return Interval(mean, *within_range(mean, half, limit))


def correlation_interval(rhos, level: float = 0.95) -> Interval:
    """`mean_interval` of correlations: no bound lies beyond -1 or 1."""
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
    """Percentile bootstrap interval (low, high) of a metric over videos; it keeps to the metric's range by itself.

    Args:
        pred, true: (N,).
        resamples, seed: how many resamples, and what draws them.
        level: coverage.
        metric: maps predictions and truths (R, N) to (R,).
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
    """metric(A) - metric(B) with its bootstrap interval over videos, each resample drawing the same videos for both.
    Arguments as in `bootstrap_interval`."""
    a, b = _resampled_metric([pred_a, pred_b], true, resamples, seed, metric)
    return Interval(float(metric(pred_a, true) - metric(pred_b, true)), *_percentiles(a - b, level))


# ---- what a figure draws: each noise by itself ----------------------------------------------------------------------
class Paired(NamedTuple):
    """A mean difference with its 95 % interval over seeds (NaN for one seed) and the one over test videos, as figures
    draw them. A verdict needs both noises at once: `compare`."""

    value: float
    low: float
    high: float
    video_low: float
    video_high: float

    def __str__(self) -> str:
        """The difference with its interval over seeds."""
        return f"{self.value:+.3f} [{self.low:+.3f}, {self.high:+.3f}]"


@dataclass(frozen=True)
class SeedScores:
    """Spearman's rho of every cell of a table or figure.

    Attributes:
        rho: cell -> (S,), a value a seed.
        again: cell -> (S, R), the same on R resamples of the test videos, which all cells share.
    """

    rho: dict[Hashable, Tensor]
    again: dict[Hashable, Tensor]

    def contrast(self, weights: Mapping[Hashable, float]) -> Paired:
        """Σ weight · rho over cells, such as {a: 1, b: -1}, with both intervals."""
        value = sum(w * self.rho[cell] for cell, w in weights.items())  # (S,)
        again = sum(w * self.again[cell] for cell, w in weights.items())  # (S, R)
        limit = sum(abs(w) for w in weights.values()) or math.inf
        return Paired(*mean_interval(value, limit=limit), *_percentiles(again.mean(0), 0.95))

    def difference(self, ones: Iterable[Hashable], others: Iterable[Hashable]) -> Paired:
        """Mean rho of some cells less the mean rho of others."""
        ones, others = list(ones), list(others)
        weights = dict.fromkeys([*ones, *others], 0.0)
        for cells, sign in ((ones, 1.0), (others, -1.0)):
            for cell in cells:
                weights[cell] += sign / len(cells)
        return self.contrast(weights)


def seed_scores(tables: Mapping[tuple, pd.DataFrame], resamples: int = 1000) -> SeedScores:
    """Scores of predictions, given as (what is varied ..., seed) -> table with columns key, score and predicted, as
    `results.predictions` reads them. Cells are the keys without the seed; a key of two leaves its first part alone.

    Raises:
        ValueError: the tables differ in their test videos, or cells in their number of seeds.
    """
    first, found = None, {}
    for key, table in tables.items():
        first = table if first is None else first
        if not table[["key", "score"]].equals(first[["key", "score"]]):
            raise ValueError(f"{key}: other test videos than the first trial's: their differences are not paired")
        cell = key[0] if len(key) == 2 else key[:-1]
        found.setdefault(cell, []).append(torch.tensor(table["predicted"].to_numpy()))
    if len({len(seeds) for seeds in found.values()}) > 1:
        raise ValueError(f"cells have {sorted({len(seeds) for seeds in found.values()})} seeds: pairs need the same")
    true = torch.tensor(first["score"].to_numpy())  # (N,)
    draws = torch.randint(len(true), (resamples, len(true)), generator=torch.Generator().manual_seed(0))  # (R, N)
    stacked = {cell: torch.stack(seeds) for cell, seeds in found.items()}  # (S, N)
    return SeedScores(
        {cell: spearman(p, true) for cell, p in stacked.items()},
        {cell: spearman(p[:, draws], true[draws]) for cell, p in stacked.items()},
    )


# ---- one difference -------------------------------------------------------------------------------------------------
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


def compare(
    a: Sequence[Tensor], b: Sequence[Tensor], fisher: bool = False, level: float = 0.95, limit: float = math.inf
) -> Evidence:
    """The difference of two sides over seeds and videos.

    The variance of the mean difference has two parts. Over videos: V, the part of the resampling variance that all
    seeds share; with v the variance of the mean over seeds and w the mean variance of one seed, V = (S v - w)/(S - 1).
    Over seeds: s^2 / S, a term for each averaged pair of cells, since label shares and classes are trained apart.
    Degrees of freedom by Satterthwaite: df = (sum of terms)^2 / (sum of term^2 / (S - 1)), V being taken as known.

    Args:
        a, b: cells of each side from `resampled`, (S, 1 + R) each. Where both sides have as many, they are paired.
        fisher: average the cells of a side as correlations (E14) instead of plainly.
        level: of the intervals.
        limit: the largest difference there can be, 2 for correlations; intervals keep to it (`within_range`).

    Raises:
        ValueError: an empty side, or numbers of seeds that differ.
    """
    if not a or not b or len({len(cell) for cell in (*a, *b)}) != 1:
        raise ValueError("both sides need cells, all with the same seeds")
    sides = [torch.stack(list(side)) for side in (a, b)]  # (C, S, 1 + R)
    means = [_average(side, fisher) for side in sides]  # (S, 1 + R)
    difference = means[0] - means[1]
    own, seeds = difference[:, 0], len(difference)
    if seeds < 2:
        return Evidence(own.mean().item(), *[math.nan] * 7, tuple(own.tolist()))
    one, mean = difference[:, 1:].var(1).mean().item(), difference[:, 1:].mean(0).var().item()
    videos = max(0.0, (seeds * mean - one) / (seeds - 1))
    terms = [x.var().item() / seeds for x in _parts(sides, means, fisher)]
    se = math.sqrt(videos + sum(terms))
    df = (se**4) / max(sum(t**2 for t in terms) / (seeds - 1), 1e-300)
    return evidence_of(own, se, min(df, 1e6), level, limit)


def evidence_of(
    by_seed, se: float | None = None, df: float | None = None, level: float = 0.95, limit: float = math.inf
) -> Evidence:
    """Evidence from paired differences (n,): over seeds, or over whatever else was drawn independently, as videos of
    one network. `se` and `df` are those of their mean, where more than their spread is behind it."""
    by_seed = torch.as_tensor(by_seed, dtype=torch.float64)
    value, *over_seeds = mean_interval(by_seed, level, limit)
    if len(by_seed) < 2:
        return Evidence(value, *[math.nan] * 7, tuple(by_seed.tolist()))
    se = by_seed.std().item() / math.sqrt(len(by_seed)) if se is None else se
    df = len(by_seed) - 1 if df is None else df
    half = float(stats.t.ppf((1 + level) / 2, df)) * se
    ends = within_range(value, half, limit)
    return Evidence(value, *ends, *over_seeds, two_sided(value, se, df), se, df, tuple(by_seed.tolist()))


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
    return float(2 * stats.t.cdf(-abs(value) / se, df))


def weakest(found: Sequence[Evidence]) -> tuple[Evidence, float]:
    """Of several differences that are all said to be above 0, the one that says so least, and the p of them all.

    "All are above 0" holds with the p of the weakest (an intersection-union test); that it fails because the weakest
    lies below 0 had as many chances as there are differences (Bonferroni).
    """
    link = max(found, key=lambda e: -1 if math.isnan(e.p) else e.p / 2 if e.value > 0 else 1 - e.p / 2)
    return link, link.p if link.value > 0 else min(1.0, len(found) * link.p)


def equivalence(evidence: Evidence, margin: float) -> tuple[float, float]:
    """p of "|difference| >= margin" (two one-sided tests), small where the sides are comparable; and p of
    "|difference| <= margin", small where they are not."""
    if math.isnan(evidence.se) or math.isnan(margin):
        return math.nan, math.nan
    beyond = (abs(evidence.value) - margin) / max(evidence.se, 1e-12)
    return float(stats.t.cdf(beyond, evidence.df)), float(stats.t.cdf(-beyond, evidence.df))


# ---- the verdict on a family of claims ------------------------------------------------------------------------------
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


class Hypothesis(NamedTuple):
    """One claim of a family, as `judge` takes it.

    Attributes:
        said: whether this run's difference lies on the side that the claim names.
        p: two-sided, of no difference; NaN where one seed alone allows no test.
        p_equal: of a difference as large as the margin or larger; NaN where no margin is stated.
    """

    said: bool
    p: float
    p_equal: float = math.nan


class Verdict(NamedTuple):
    """One of `VERDICTS`, and the corrected p-value behind it."""

    word: str
    p_holm: float


def hypothesis_of(evidence: Evidence, margin: float = MARGIN) -> Hypothesis:
    """The test of the claim that one difference is above 0."""
    return Hypothesis(evidence.value > 0, evidence.p, equivalence(evidence, margin)[0])


def judge(family: Sequence[Hypothesis]) -> list[Verdict]:
    """The rule for a verdict, on all claims of one family at once; see the module's first lines. A claim whose p is NaN
    is undecided and does not count in the family."""
    unequal, equal = (holm([getattr(test, name) for test in family]) for name in ("p", "p_equal"))
    words = []
    for test, p, p_equal in zip(family, unequal, equal, strict=True):
        if p < LEVEL:
            words.append(SUPPORTED if test.said else CONTRADICTED)
        else:
            words.append(NO_DIFFERENCE if p_equal < LEVEL else UNDECIDED)
    return [Verdict(*pair) for pair in zip(words, unequal, strict=True)]


def seeds_to_decide(evidence: Evidence, claims: int = 1, margin: float = MARGIN) -> float:
    """How many seeds would decide a claim with power `POWER`, were the difference and its spread as observed.

    The mean over n seeds has the variance r + s^2 / n: s is the spread of the paired differences over seeds, and r what
    more seeds do not shorten, the rest of the squared standard error (test videos). Decided means that the t-test finds
    the difference (noncentral t with Satterthwaite's degrees of freedom), or that it is shown to stay within `margin`,
    at `LEVEL` over the number of claims: Holm's first step, if nothing else in the family is decided.

    Args:
        claims: tested claims in the family.
        margin: of no difference; NaN where none is stated.

    Returns: a whole number above that of the seeds there are; infinite beyond `MOST_SEEDS`; NaN where one seed alone
    leaves the spread unknown.
    """
    have, spread = len(evidence.by_seed), float(np.std(evidence.by_seed, ddof=1)) if len(evidence.by_seed) > 1 else 0.0
    if have < 2:
        return math.nan
    n = np.arange(have + 1, MOST_SEEDS + 1)
    rest, term = max(0.0, evidence.se**2 - spread**2 / have), np.maximum(spread**2 / n, 1e-24)
    se = np.sqrt(rest + term)
    df, level, value = np.minimum((n - 1) * se**4 / term**2, 1e6), LEVEL / max(1, claims), abs(evidence.value)
    power = stats.nct.sf(stats.t.isf(level / 2, df), df, value / se)
    if margin > 0:
        t = stats.t.isf(level, df)
        power = np.fmax(
            power, stats.nct.cdf(-t, df, (value - margin) / se) - stats.nct.cdf(t, df, (value + margin) / se)
        )
    enough = n[np.nan_to_num(power) >= POWER]
    return float(enough[0]) if len(enough) else math.inf


def seeds_in_words(seeds: float) -> str:
    """A number from `seeds_to_decide` as it is printed, "" where it is NaN."""
    if math.isnan(seeds):
        return ""
    return f"{seeds:.0f} seeds" if math.isfinite(seeds) else f"more than {MOST_SEEDS} seeds"


def in_words(verdict: str, seeds: float = math.nan) -> str:
    """A verdict as it is printed: "undecided" says how many seeds would decide (from `seeds_to_decide`)."""
    if verdict != UNDECIDED:
        return verdict
    text = seeds_in_words(seeds)
    return f"{verdict} ({text} would decide)" if text else f"{verdict} (one seed: the spread over seeds is unknown)"
