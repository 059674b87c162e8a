"""The test of one claim: the predictions of the cells that it compares, its numbers, and its verdict.

Cells are looked up here; `experiments.statistics` compares them and gives the verdict. A claim about a cell without
trials in this profile is "not testable here"; a claim about several cells, of which only some have trials, can be
contradicted by these but not supported.
"""

import math
from collections.abc import Callable, Iterable, Mapping

import torch
from torch import Tensor

from sapnet_core.experiments.names import title
from sapnet_core.experiments.paper import paper_arithmetic
from sapnet_core.experiments.resampling import Cell, resampled
from sapnet_core.experiments.statistics import (
    ARITHMETIC,
    EVERY_SEED,
    MARGIN,
    NO_TEST,
    RHO_DIFFERENCE,
    SEEDS_AND_VIDEOS,
    SUPPORTED,
    Evidence,
    Hypothesis,
    all_above,
    comparable,
    compare,
    judge,
    size_beside,
    weakest,
)
from sapnet_core.reporting.ledger import SINGLE_ERRORS, Claim, Name, Side, by_classes
from sapnet_core.reporting.words import in_list

__all__ = ["FailedDives", "Lookup", "examine", "decide", "part_differences", "size_beside_print"]

Lookup = Callable[[Name], Cell | None]
FailedDives = Callable[[Name], Tensor | None]


def examine(
    claim: Claim, lookup: Lookup, resamples: int = 1000, failed: FailedDives = lambda name: None
) -> dict[str, object]:
    """Compute the numbers of one claim, without its verdict.

    Args:
        lookup: maps the name of a cell to its predictions, or to None if its trials are not declared.
        resamples: number of resamples of the test videos.
        failed: maps the name of a cell to the scores (S, F) in points that its S seeds predict for F failed dives of
            other twins, all of which are judged 0, or to None if they were not scored.

    Returns:
        "test" and, where they exist, effect, low, high, seed_low, seed_high and seeds of the weakest difference,
        reason, and the other attributes of `statistics.Hypothesis`.
    """
    if claim.kind == "untested":
        return {"test": NO_TEST, "reason": claim.reason}
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
        return {"test": NO_TEST, **missing}
    if claim.kind in SINGLE_ERRORS:
        return _errors(claim, cells, failed)

    found = [_difference(claim, pair, cells, resamples) for pair in pairs]
    link, _ = weakest(found)
    numbers = {
        "effect": link.value,
        "low": link.low,
        "high": link.high,
        "seed_low": link.seed_low,
        "seed_high": link.seed_high,
        "seeds": len(link.by_seed),
    }
    if claim.kind == "comparable":
        return numbers | comparable(link, claim.margin)._asdict()
    margin = claim.margin if claim.metric != "rho" or math.isfinite(claim.margin) else MARGIN
    return numbers | missing | all_above(found, margin, partly=bool(absent))._asdict()


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
    return compare(high, low, by_classes(pair[0]), limit=RHO_DIFFERENCE if claim.metric == "rho" else math.inf)


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
    return {"test": ARITHMETIC, "said": bool(common), "effect": effect, "paper": printed, "reason": reason}


def _errors(claim: Claim, named: Mapping[Name, Cell], failed: FailedDives) -> dict[str, object]:
    """Check a claim about single large errors seed by seed; "said" is None where the seeds disagree.

    A claim of the paper about a failed dive, one judged 0, is asked of such a dive alone. Where no test video is judged
    0, failed dives of other twins take its place, and a control asks the same of the video with the lowest score.
    """
    cells = list(named.values())
    true, off = cells[0].true, torch.stack([(cell.predicted - cell.true).abs() for cell in cells])  # (C, S, N)
    if claim.kind == "worst":
        lowest = true.min().item() if claim.control else 0.0
        notes = [f"of {len(cells)} systems, the one with the highest such score counts"] if len(cells) > 1 else []
        if (true == lowest).any():
            value = true[off.argmax(2)]  # (C, S): the true score where the error of a cell is largest
            notes += [f"the lowest score of all is {lowest:.1f}"] if claim.control else []
        else:
            added = [failed(name) for name in named]
            if any(one is None for one in added):
                return {"test": NO_TEST, "reason": "no test video of this source is judged 0"}
            value, note = _beside_failed(true, off, dict(zip(named, added, strict=True)))
            notes.append(note)
        each, reason = (value == lowest).all(0), "; ".join(notes)
        value = value.amax(0)  # (S,): zero if all cells fail there
    else:
        value = (off > claim.limit).any(0).sum(1).double()
        *some, last = dict.fromkeys(column for _, _, column in claim.names)
        columns = f"{', '.join(some)} or {last}" if some else last
        each, reason = value <= claim.count, f"test videos off by more than {claim.limit:g} points at {columns}"
    said = bool(each[0]) if len(each.unique()) == 1 else None
    return {
        "test": EVERY_SEED,
        "effect": value.mean().item(),
        "low": value.min().item(),
        "high": value.max().item(),
        "seeds": len(value),
        "said": said,
        "reason": reason,
    }


def _beside_failed(true: Tensor, off: Tensor, failed: Mapping[Name, Tensor]) -> tuple[Tensor, str]:
    """The true score where the error is largest, if each of F failed dives is added alone to the test videos: the lower
    median over these dives (C, S); and a note on how many of them have the largest error.

    Args:
        true: (N,) true scores of the test videos, none of them 0.
        off: (C, S, N) their absolute errors by cell and seed.
        failed: predicted scores (S, F) of the failed dives by each of the C cells.
    """
    most, where = off.max(2)
    fails = torch.stack([x.abs() for x in failed.values()]) > most[..., None]  # (C, S, F); their true score is 0
    value = torch.where(fails, 0.0, true[where][..., None]).median(2).values  # of two middle ones the lower
    told = []
    for (_, row, _), count in zip(failed, fails.sum(2).double(), strict=True):
        of = f" of {row}" if len(failed) > 1 else ""
        told.append(f"the error{of} is the largest on {count.mean():.1f} ({count.min():.0f} to {count.max():.0f})")
    note = (
        f"no test video is judged 0, so this is the median over {fails.shape[2]} failed dives of other twins, each "
        f"added alone to the test videos; {in_list(told)} of them"
    )
    return value, note


def decide(rows: Iterable[dict]) -> list[dict[str, object]]:
    """Decide the examined claims of one family (`statistics.judge`): verdict, p_holm (the p-value after Holm's
    correction), and to_decide, the number of seeds that would decide an undecided claim (NaN for others)."""
    family = [Hypothesis(**{name: row[name] for name in Hypothesis._fields if name in row}) for row in rows]
    return [{"verdict": one.word, "p_holm": one.p_holm, "to_decide": one.to_decide} for one in judge(family)]


def size_beside_print(row: dict) -> str:
    """Compare the effect's interval with the printed difference, whatever the verdict on the sign
    (`statistics.size_beside`); "" where either is missing."""
    if not row["test"].startswith(SEEDS_AND_VIDEOS) or math.isnan(row["paper"]) or math.isnan(row["low"]):
        return ""
    supported = row["verdict"] == SUPPORTED and row["kind"] != "comparable"
    return size_beside(row["paper"], row["low"], row["high"], supported)
