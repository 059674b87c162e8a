"""The test of one claim: from the predictions of its cells to its numbers, and from these to a verdict.

The rule for verdicts is `experiments.statistics.judge`. A claim about a cell without trials in this profile is "not
testable here"; a claim about several cells, of which only some have trials, can be contradicted by these but not
supported.
"""

import math
from collections.abc import Callable, Iterable, Mapping

import torch

from sapnet_core.experiments.names import title
from sapnet_core.experiments.paper import paper_arithmetic
from sapnet_core.experiments.resampling import Cell, resampled
from sapnet_core.experiments.statistics import (
    CONTRADICTED,
    MARGIN,
    SUPPORTED,
    UNDECIDED,
    UNTESTABLE,
    Evidence,
    Hypothesis,
    Verdict,
    compare,
    equivalence,
    judge,
    seeds_to_decide,
    weakest,
)
from sapnet_core.reporting.ledger import Claim, Name, Side, by_classes

__all__ = ["Lookup", "examine", "decide", "part_differences", "size_beside_print"]

Lookup = Callable[[Name], Cell | None]

PARTLY = "seeds and videos, of the pairs that are here"


def examine(claim: Claim, lookup: Lookup, resamples: int = 1000) -> dict[str, object]:
    """Compute the numbers of one claim, without its verdict.

    Args:
        lookup: maps the name of a cell to its predictions, or to None if its trials are not declared.
        resamples: number of resamples of the test videos.

    Returns:
        "test" and, where they exist, effect, low, high, seed_low, seed_high, p, seeds, reason, said (whether this run
        shows what is claimed; None where seeds disagree), and for `judge` p_equal, margin and evidence, all of the
        weakest difference.
    """
    if claim.kind == "untested":
        return {"test": "none", "reason": claim.reason}
    if claim.kind == "arithmetic":
        return _arithmetic(claim)
    cells = {name: lookup(name) for name in claim.names}
    absent = [name for name, cell in cells.items() if cell is None]
    pairs = [pair for pair in claim.pairs if not any(cells[name] is None for side in pair for name in side)]
    here = {name[0] for name, cell in cells.items() if cell is not None}
    # a table of which nothing is here is named in place of its rows
    named = dict.fromkeys(title(table) if here and table not in here else row for table, row, _ in absent)
    missing = {"reason": f"no results at this size of {', '.join(named)}"} if absent else {}
    if not pairs or absent and claim.kind != "greater":
        return {"test": "none", **missing}
    if claim.kind in ("count", "worst"):
        return _errors(claim, list(cells.values()))

    found = [_difference(claim, pair, cells, resamples) for pair in pairs]
    link, p = weakest(found)
    numbers = {
        "effect": link.value,
        "low": link.low,
        "high": link.high,
        "seed_low": link.seed_low,
        "seed_high": link.seed_high,
        "seeds": len(link.by_seed),
        "evidence": link,
        "margin": claim.margin if claim.metric != "rho" or math.isfinite(claim.margin) else MARGIN,
    }
    if claim.kind == "comparable":
        inside, outside = equivalence(link, claim.margin)
        within = abs(link.value) <= claim.margin
        p = inside if within else min(1.0, 2 * outside)
        beyond = link._replace(value=abs(link.value) - claim.margin)  # its excess over the margin
        numbers |= {} if within else {"evidence": beyond, "margin": math.nan}
        return {"test": "seeds and videos, equivalence", **numbers, "p": p, "said": within}
    said = link.value > 0
    # Bonferroni's correction, since `link` is the weakest of several pairs
    numbers["p_equal"] = min(1.0, len(found) * equivalence(link, numbers["margin"])[0])
    if absent:  # one counterexample contradicts the claim, but part of the pairs cannot support it
        return {"test": PARTLY, **numbers, "p": 1.0 if said else p, "said": said, **missing}
    return {"test": "seeds and videos", **numbers, "p": p, "said": said}


def part_differences(claim: Claim, cells: Mapping[Name, Cell], resamples: int = 1000) -> list[Evidence]:
    """The differences that a claim states: one for each of its pairs of sides, in their order.

    Args:
        claim: a claim of kind "greater" or "comparable".
        cells: the predictions of all its cells.
        resamples: number of resamples of the test videos.

    Raises:
        KeyError: a cell is missing.
    """
    return [_difference(claim, pair, cells, resamples) for pair in claim.pairs]


def _difference(claim: Claim, pair: tuple[Side, Side], cells: Mapping[Name, Cell | None], resamples: int) -> Evidence:
    """The difference of the two sides of one pair, all cells of which are there."""
    high, low = ([resampled(cells[name], claim.metric, resamples) for name in side] for side in pair)
    return compare(high, low, by_classes(pair[0]), limit=2.0 if claim.metric == "rho" else math.inf)


def _arithmetic(claim: Claim) -> dict[str, object]:
    rows = paper_arithmetic().set_index("statement").loc[list(claim.numbers)]
    common = [
        name
        for name in ("arithmetic", "fisher", "relative")
        if all(name in holds.split(", ") for holds in rows["holds"])
    ]
    reason = f"by these readings: {', '.join(common)}" if common else "by none of three readings"
    relative = rows["relative"].dropna()
    if len(relative):
        reason += f"; it is a difference of rho, relative to the rival's it would be {relative.iloc[0]:.1%}"
    one = rows.iloc[0] if len(rows) == 1 else None
    effect = math.nan if one is None else one[common[0] if common else "arithmetic"]
    printed = math.nan if one is None else one["printed"]
    return {"test": "arithmetic", "said": bool(common), "effect": effect, "paper": printed, "reason": reason}


def _errors(claim: Claim, cells: list[Cell]) -> dict[str, object]:
    """Check a claim about single large errors seed by seed; "said" is None where the seeds disagree.

    A claim of the paper about a failed dive, one judged 0, is asked of such a dive alone. Where no test video is judged
    0, a control asks the same of the video with the lowest score.
    """
    true, off = cells[0].true, torch.stack([(cell.predicted - cell.true).abs() for cell in cells])  # (C, S, N)
    if claim.kind == "worst":
        lowest = true.min().item() if claim.control else 0.0
        if not (true == lowest).any():
            return {"test": "none", "reason": "no test video of this source is judged 0"}
        value = true[off.argmax(2)]  # (C, S): the true score where the error of a cell is largest
        each = (value == lowest).all(0)
        notes = [f"of {len(cells)} systems, the one with the highest such score counts"] if len(cells) > 1 else []
        notes += [f"the lowest score of all is {lowest:.1f}"] if claim.control else []
        reason = "; ".join(notes)
        value = value.amax(0)  # (S,): zero if all cells fail there
    else:
        value = (off > claim.limit).any(0).sum(1).double()
        *some, last = dict.fromkeys(column for _, _, column in claim.names)
        columns = f"{', '.join(some)} or {last}" if some else last
        each, reason = value <= claim.count, f"test videos off by more than {claim.limit:g} points at {columns}"
    said = bool(each[0]) if len(each.unique()) == 1 else None
    return {
        "test": "every seed",
        "effect": value.mean().item(),
        "low": value.min().item(),
        "high": value.max().item(),
        "seeds": len(value),
        "said": said,
        "reason": reason,
    }


def _decided(row: dict) -> str | None:
    """The verdict on a claim that needs no p-value; None if it needs one."""
    if row["test"] == "none":
        return UNTESTABLE
    if row["test"] in ("arithmetic", "every seed"):
        return UNDECIDED if row["said"] is None else SUPPORTED if row["said"] else CONTRADICTED
    return None


def decide(rows: Iterable[dict]) -> list[dict[str, object]]:
    """Decide the examined claims of one family: verdict, p_holm (the p-value after Holm's correction), and to_decide,
    the number of seeds that would decide an undecided claim (`statistics.seeds_to_decide`; NaN for others).

    A claim with undeclared systems can only be contradicted; otherwise it is not testable here.
    """
    rows = list(rows)
    open_ = [i for i, row in enumerate(rows) if _decided(row) is None]
    found = judge([Hypothesis(rows[i]["said"], rows[i]["p"], rows[i].get("p_equal", math.nan)) for i in open_])
    verdicts = [Verdict(_decided(row), math.nan) for row in rows]
    tested = sum(not math.isnan(rows[i]["p"]) for i in open_)
    seeds = [math.nan] * len(rows)
    for i, (word, p) in zip(open_, found, strict=True):
        if rows[i]["test"] == PARTLY and word != CONTRADICTED:
            word, p = UNTESTABLE, math.nan
        if word == UNDECIDED:
            seeds[i] = seeds_to_decide(rows[i]["evidence"], tested, rows[i]["margin"])
        verdicts[i] = Verdict(word, p)
    return [{**v._asdict(), "verdict": v.word, "to_decide": n} for v, n in zip(verdicts, seeds, strict=True)]


def size_beside_print(row: dict) -> str:
    """Compare the effect's interval with the printed difference, whatever the verdict on the sign: "as printed" if the
    interval contains it, else "smaller", "larger" or "suspiciously larger"; "" where either is missing.

    "Suspiciously larger" means that the claim is supported, and that the whole interval lies above twice the printed
    difference and more than 0.02 above it. If a rebuilt system gains more than twice what its authors report, a weak
    baseline, a leak or an easier task is a likelier reason than a better system.
    """
    if not row["test"].startswith("seeds and videos") or math.isnan(row["paper"]) or math.isnan(row["low"]):
        return ""
    printed = row["paper"]
    too_good = printed > 0 and row["low"] > max(2 * printed, printed + 0.02)
    if too_good and row["kind"] != "comparable" and row["verdict"] == SUPPORTED:
        return "suspiciously larger"
    return "smaller" if row["high"] < printed else "larger" if row["low"] > printed else "as printed"
