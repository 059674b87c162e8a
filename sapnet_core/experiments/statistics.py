"""Comparison of systems: tests, and the one rule by which notebooks and ledger judge a claim.

A claim says that one side is better than another. A side is one trained system, or several whose metrics are averaged
(over label shares or classes). Both sides are trained with the same seeds and scored on the same test videos, so their
metrics are subtracted within a seed and a resample before they are averaged. Two sources of noise remain: labels,
weights and batches, measured by the spread over seeds; and the choice of test videos, measured by resampling them.
`compare` adds both, because an interval that covers only one of them is too short.

The rule is in `judge`. The claims about one table or figure form a family. A claim is *supported* or *contradicted* if
its p-value, corrected over the family (Holm), is below `LEVEL`. There is *no difference* if the difference is shown to
lie within a margin (two one-sided tests, corrected in the same way). Anything else is *undecided*, and
`seeds_to_decide` estimates how many seeds would decide it. A claim that needs no p-value, such as one about printed
numbers, has the verdict that is seen, and one of which nothing was measured is *not testable here*.

A claim about several differences is tested by the weakest of them (`all_above`), and one that a difference is small by
its margin (`comparable`).
"""

import math
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import torch
from scipy import stats
from torch import Tensor

from sapnet_core.experiments.intervals import Interval, mean_interval, within_range

__all__ = [
    "SUPPORTED",
    "CONTRADICTED",
    "NO_DIFFERENCE",
    "UNDECIDED",
    "UNTESTABLE",
    "VERDICTS",
    "LEVEL",
    "MARGIN",
    "RHO_DIFFERENCE",
    "MOST_SEEDS",
    "NO_TEST",
    "ARITHMETIC",
    "EVERY_SEED",
    "SEEDS_AND_VIDEOS",
    "Evidence",
    "compare",
    "compare_over_videos",
    "evidence_of",
    "weakest",
    "two_sided",
    "equivalence",
    "holm",
    "Hypothesis",
    "Verdict",
    "hypothesis_of",
    "all_above",
    "comparable",
    "judge",
    "size_beside",
    "seeds_to_decide",
    "seeds_in_words",
    "all_seeds_in_words",
    "in_words",
]

SUPPORTED, CONTRADICTED, NO_DIFFERENCE = "supported", "contradicted", "no difference"
UNDECIDED, UNTESTABLE = "undecided", "not testable here"
VERDICTS = (SUPPORTED, CONTRADICTED, NO_DIFFERENCE, UNDECIDED, UNTESTABLE)

LOOKS = 2  # a study is looked at twice (`study/plan.md`)
LEVEL = 0.05 / LOOKS  # significance level of every test, after Holm's correction
MARGIN = 0.02  # differences of rho up to this count as none, unless a claim states its own margin
RHO_DIFFERENCE = 2.0  # largest possible difference of two rank correlations
POWER = 0.8  # power of the test with the number of seeds that `seeds_to_decide` returns
MOST_SEEDS = 1000  # largest number of seeds that `seeds_to_decide` considers

# How a claim was tested. The first three need no p-value: nothing was measured; the claim is about printed numbers; or
# it is about each seed by itself.
NO_TEST, ARITHMETIC, EVERY_SEED = WITHOUT_P = ("none", "arithmetic", "every seed")
SEEDS_AND_VIDEOS = "seeds and videos"  # by `compare`
PARTLY = f"{SEEDS_AND_VIDEOS}, of the pairs that are here"  # a part of what the claim compares was not measured
EQUIVALENCE = f"{SEEDS_AND_VIDEOS}, equivalence"


# ---- one difference -------------------------------------------------------------------------------------------------
class Evidence(NamedTuple):
    """A difference, side a - side b; all attributes but `value` and `by_seed` are NaN for a single seed. Its text is
    that of an `Interval`, "value [low, high]", also in a format such as "+.2f".

    Attributes:
        value: mean difference over seeds.
        low, high: its interval over seeds and videos, 95 % by default.
        seed_low, seed_high: Student's t interval over seeds only, at the same level.
        p: two-sided p-value of no difference, over seeds and videos.
        se, df: standard error and degrees of freedom behind low, high and p.
        by_seed: the differences, one per seed.
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

    def __str__(self) -> str:
        return format(self)

    def __format__(self, spec: str) -> str:
        return format(Interval(self.value, self.low, self.high), spec)


def compare(
    a: Sequence[Tensor], b: Sequence[Tensor], fisher: bool = False, level: float = 0.95, limit: float = math.inf
) -> Evidence:
    """The difference of two sides over S seeds and the test videos.

    The variance of the mean difference has two parts. The part over videos, V, is the resampling variance that all
    seeds share: with v the resampling variance of the mean over seeds and w the mean resampling variance of one seed,
    V = (S v - w) / (S - 1). The part over seeds is a sum of terms s^2 / S, one for each averaged pair of cells, because
    label shares and classes are trained separately. Satterthwaite's degrees of freedom are
    df = (V + sum of terms)^2 / (sum of term^2 / (S - 1)), where V is taken as known.

    Args:
        a, b: cells of each side from `resampled`, (S, 1 + R) each. If both sides have the same number, cells are
            paired.
        fisher: average the cells of a side by Fisher's z (E14) instead of arithmetically.
        level: coverage of the intervals.
        limit: the largest possible difference, `RHO_DIFFERENCE` for correlations; intervals stay within it
            (`within_range`).

    Raises:
        ValueError: a side is empty, or cells differ in their numbers of seeds.
    """
    if not a or not b or len({len(cell) for cell in (*a, *b)}) != 1:
        raise ValueError(
            "a side has no cells, or cells differ in their number of seeds: give both sides cells with the same seeds"
        )
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


def compare_over_videos(a: Tensor, b: Tensor, level: float = 0.95, limit: float = math.inf) -> Evidence:
    """The difference of two networks, of one seed each, over the test videos alone: it says nothing of other seeds.

    Args:
        a, b: the metric of each network, (1 + R,): one row of `resampled`.
        level, limit: as in `compare`.
    """
    difference = a - b
    value, se = difference[0].item(), difference[1:].std().item()
    df = 1e6  # the spread over resamples is taken as known
    half = float(stats.t.ppf((1 + level) / 2, df)) * se
    ends = within_range(value, half, limit)
    return Evidence(value, *ends, math.nan, math.nan, two_sided(value, se, df), se, df, (value,))


def evidence_of(
    by_seed, se: float | None = None, df: float | None = None, level: float = 0.95, limit: float = math.inf
) -> Evidence:
    """Evidence from paired differences (n,), over seeds or other independent draws, such as the videos of one network.

    `se` and `df` are the standard error and degrees of freedom of their mean; by default, those of Student's t-test.
    `level` and `limit` are as in `compare`.
    """
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
    """The contribution of each pair of cells to the difference, (S,) each; to first order for Fisher-z means.

    Sides with different numbers of cells have no pairs; their whole difference is then the only part.
    """
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
    """Two-sided p-value of Student's t-test of a mean of 0."""
    if se == 0:
        return 1.0 if value == 0 else 0.0
    return float(2 * stats.t.cdf(-abs(value) / se, df))


def weakest(found: Sequence[Evidence]) -> tuple[Evidence, float]:
    """The weakest of several differences, for the claim that all are above 0, and the p-value of that joint claim.

    The weakest is the difference with the least evidence of being above 0. If it is above 0, its p-value is that of the
    joint claim (intersection-union test). If it is not, its p-value is multiplied by the number of differences, each
    of which could have contradicted the claim (Bonferroni).
    """
    link = max(found, key=lambda e: -1 if math.isnan(e.p) else e.p / 2 if e.value > 0 else 1 - e.p / 2)
    return link, link.p if link.value > 0 else min(1.0, len(found) * link.p)


def equivalence(evidence: Evidence, margin: float) -> tuple[float, float]:
    """The p-values of "|difference| >= margin" (two one-sided tests), small where the sides are equivalent, and of
    "|difference| <= margin", small where they are not. Both are NaN if the standard error or the margin is."""
    if math.isnan(evidence.se) or math.isnan(margin):
        return math.nan, math.nan
    beyond = (abs(evidence.value) - margin) / max(evidence.se, 1e-12)
    return float(stats.t.cdf(beyond, evidence.df)), float(stats.t.cdf(-beyond, evidence.df))


# ---- the verdict on a family of claims ------------------------------------------------------------------------------
def holm(p: Sequence[float]) -> list[float]:
    """Holm's adjusted p-values. NaN marks a hypothesis that was not tested: it stays NaN and does not count.

    In ascending order, each p_(i) is multiplied by the number of hypotheses from it on, raised to at least its
    predecessor's adjusted value, and cut at 1.
    """
    order = sorted((i for i, x in enumerate(p) if not math.isnan(x)), key=lambda i: p[i])
    adjusted, least = [math.nan] * len(p), 0.0
    for position, i in enumerate(order):
        least = max(least, min(1.0, (len(order) - position) * p[i]))
        adjusted[i] = least
    return adjusted


class Hypothesis(NamedTuple):
    """One claim of a family, as the input of `judge`.

    Attributes:
        said: whether what was observed agrees with the claim, such as a difference with the sign that it states; None
            where nothing was measured, or where seeds disagree on a claim about each of them.
        p: two-sided p-value of no difference; NaN if there is only one seed, which allows no test.
        p_equal: p-value of a difference at least as large as the margin; NaN if no margin is stated.
        evidence, margin: what `seeds_to_decide` needs, where the evidence is over seeds.
        test: how the claim was tested, such as `SEEDS_AND_VIDEOS`.
    """

    said: bool | None = None
    p: float = math.nan
    p_equal: float = math.nan
    evidence: Evidence | None = None
    margin: float = math.nan
    test: str = SEEDS_AND_VIDEOS


class Verdict(NamedTuple):
    """The verdict on one claim of a family. Its text is that of `in_words`.

    Attributes:
        word: one of `VERDICTS`.
        p_holm: the corrected p-value behind it; NaN if it needs none.
        to_decide: the number of seeds that would decide an undecided claim (`seeds_to_decide`); NaN for others.
    """

    word: str
    p_holm: float = math.nan
    to_decide: float = math.nan

    def __str__(self) -> str:
        return in_words(self.word, self.to_decide)


def hypothesis_of(evidence: Evidence, margin: float = MARGIN) -> Hypothesis:
    """The hypothesis for the claim that a difference is above 0."""
    return Hypothesis(evidence.value > 0, evidence.p, equivalence(evidence, margin)[0], evidence, margin)


def all_above(found: Sequence[Evidence], margin: float = MARGIN, partly: bool = False) -> Hypothesis:
    """The hypothesis for the claim that all of several differences are above 0: that of the weakest (`weakest`).

    Args:
        found: the differences.
        margin: differences up to this count as none; NaN if no margin is stated.
        partly: whether other differences that the claim states were not measured. One counterexample contradicts the
            claim, but those that are here cannot support it.
    """
    link, p = weakest(found)
    said = link.value > 0
    # Bonferroni, since `link` is the weakest of several; NaN, which stands for no margin, comes first and stays
    p_equal = min(len(found) * equivalence(link, margin)[0], 1.0)
    if partly:
        return Hypothesis(said, 1.0 if said else p, p_equal, link, margin, PARTLY)
    return Hypothesis(said, p, p_equal, link, margin)


def comparable(evidence: Evidence, margin: float) -> Hypothesis:
    """The hypothesis for the claim that a difference lies within a margin. A difference beyond the margin has two sides
    to lie on, so its one-sided p-value is doubled."""
    inside, outside = equivalence(evidence, margin)
    if abs(evidence.value) <= margin:
        return Hypothesis(True, inside, math.nan, evidence, margin, EQUIVALENCE)
    excess = evidence._replace(value=abs(evidence.value) - margin)
    return Hypothesis(False, min(1.0, 2 * outside), math.nan, excess, math.nan, EQUIVALENCE)


def judge(family: Sequence[Hypothesis]) -> list[Verdict]:
    """Verdicts on all claims of one family, by the rule in the module's docstring.

    A claim whose p is NaN is undecided and does not count in Holm's correction of p. Nor does one that needs no p. A
    claim that was measured in part is contradicted or not testable here.
    """
    family = [one._replace(p=math.nan, p_equal=math.nan) if one.test in WITHOUT_P else one for one in family]
    unequal, equal = (holm([getattr(one, name) for one in family]) for name in ("p", "p_equal"))
    tested = sum(not math.isnan(one.p) for one in family)
    return [_verdict(*one, tested) for one in zip(family, unequal, equal, strict=True)]


def _verdict(one: Hypothesis, p: float, p_equal: float, tested: int) -> Verdict:
    """The verdict on one claim, from its corrected p-values and the number of tested claims in its family."""
    if one.test == NO_TEST:
        return Verdict(UNTESTABLE)
    if one.test in WITHOUT_P:
        return Verdict(UNDECIDED if one.said is None else SUPPORTED if one.said else CONTRADICTED)
    if p < LEVEL:
        word = SUPPORTED if one.said else CONTRADICTED
    else:
        word = NO_DIFFERENCE if p_equal < LEVEL else UNDECIDED
    if one.test == PARTLY and word != CONTRADICTED:
        return Verdict(UNTESTABLE)
    if word == UNDECIDED and one.evidence is not None:
        return Verdict(word, p, seeds_to_decide(one.evidence, tested, one.margin))
    return Verdict(word, p)


def size_beside(printed: float, low: float, high: float, supported: bool) -> str:
    """Compare an interval with a printed difference: "as printed" if it contains it, else "smaller", "larger" or
    "suspiciously larger".

    "Suspiciously larger" means that the claim is supported, and that the whole interval lies above twice the printed
    difference and more than `MARGIN` above it. If a rebuilt system gains more than twice what its authors report, a
    weak baseline, a leak or an easier task is a likelier reason than a better system.
    """
    if supported and printed > 0 and low > max(2 * printed, printed + MARGIN):
        return "suspiciously larger"
    return "smaller" if high < printed else "larger" if low > printed else "as printed"


def seeds_to_decide(evidence: Evidence, claims: int = 1, margin: float = MARGIN) -> float:
    """Number of seeds that would decide a claim with power `POWER`, if the difference and its spread are as observed.

    The mean over n seeds has the variance r + s^2 / n. Here s is the spread of the paired differences over seeds, and r
    is the rest of the squared standard error, due to the test videos, which more seeds do not reduce. A claim is
    decided if the t-test finds the difference (noncentral t with Satterthwaite's degrees of freedom), or if the
    difference is shown to lie within `margin`, at `LEVEL` over the number of claims: Holm's first step, if nothing else
    in the family is decided.

    Args:
        evidence: the observed difference.
        claims: number of tested claims in the family.
        margin: margin of no difference; NaN if none is stated.

    Returns: a whole number above the present number of seeds; infinite beyond `MOST_SEEDS`; NaN if there is only one
    seed, so that the spread is unknown.
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
    """Text for a number from `seeds_to_decide`, as the end of a sentence; "" if it is NaN."""
    if math.isnan(seeds):
        return ""
    return f"{seeds:.0f} seeds would decide" if math.isfinite(seeds) else f"{MOST_SEEDS} seeds would not decide"


def all_seeds_in_words(seeds: Sequence[float]) -> str:
    """Text for the numbers from `seeds_to_decide` of several undecided claims, as the end of a sentence; "" if there
    are none or all are NaN."""
    finite = [n for n in seeds if math.isfinite(n)]
    beyond = sum(math.isinf(n) for n in seeds)
    if not finite:
        return seeds_in_words(math.inf) if beyond else ""
    least, most = f"{min(finite):.0f}", f"{max(finite):.0f}"
    number = least if least == most else f"{least} to {most}"
    if len(finite) == len(seeds):
        return f"{number} seeds would decide"
    rest = f", and {MOST_SEEDS} would not decide {beyond}" if beyond else ""
    return f"{number} seeds would decide {len(finite)}{rest}"


def in_words(verdict: str, seeds: float = math.nan) -> str:
    """Text for a verdict; for "undecided" it includes the number of seeds from `seeds_to_decide`."""
    if verdict != UNDECIDED:
        return verdict
    text = seeds_in_words(seeds)
    return f"{verdict} ({text or 'one seed: the spread over seeds is unknown'})"
