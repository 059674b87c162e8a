"""The ledger by verdict: a scoreboard, then the paper's results verdict by verdict, each beside its controls."""

import pandas as pd

from sapnet_core.experiments.profiles import PROFILES
from sapnet_core.experiments.statistics import SUPPORTED, UNDECIDED, VERDICTS
from sapnet_core.reporting.claims import effect_text
from sapnet_core.reporting.ledger import FLOORS, asked_of

__all__ = [
    "FEWER",
    "SEEDS_GROUPS",
    "SMALL",
    "basis",
    "beside",
    "by_verdict",
    "control_counts",
    "is_preliminary",
    "scoreboard",
    "seeds_group",
]

SEPARATOR = "; "
# Groups of verdicts by size and seeds.
WHOLE, FEWER, SMALL, NONE = BASES = ("all seeds", "fewer so far", "small size", "no training")
# The same groups of undecided results, in words; the planned seeds may still decide those of the first groups.
SEEDS_GROUPS = (
    "Fewer seeds so far than the study plans",
    "Judged so far at the small size, with a few hundred videos",
    "All planned seeds are there",
)


def scoreboard(table: pd.DataFrame) -> pd.DataFrame:
    """How many of the paper's results have each verdict, and on how many seeds these rest.

    Args:
        table: rows of the ledger (`claims.evaluate`, `ten_sentences.ledger_rows`).

    Returns:
        One row per verdict and one for all: verdict, results, and how many of them rest on "all seeds" of their
        profile, on "fewer so far", on the "small size" that stands in for the study, and on "no training", which are
        sums of printed numbers and statements without a test.
    """
    mine = table[~table["control"].astype(bool)]
    counts = {verdict: dict.fromkeys(BASES, 0) for verdict in VERDICTS}
    for verdict, profile, seeds in zip(mine["verdict"], mine["profile"], mine["seeds"], strict=True):
        counts[verdict][basis(profile, seeds)] += 1
    rows = [(verdict, sum(found.values()), *found.values()) for verdict, found in counts.items()]
    rows.append(("all", *map(sum, zip(*(row[1:] for row in rows), strict=True))))
    return pd.DataFrame(rows, columns=["verdict", "results", *BASES])


def basis(profile: str, seeds: int) -> str:
    """What a verdict rests on, one of `BASES`."""
    if not seeds:
        return NONE
    if profile in PROFILES and not PROFILES[profile].complete:
        return SMALL
    return FEWER if is_preliminary(profile, seeds) else WHOLE


def is_preliminary(profile: str, seeds: int) -> bool:
    """Whether a claim was judged with fewer seeds than its profile plans."""
    return profile in PROFILES and 0 < seeds < len(PROFILES[profile].seeds)


def by_verdict(table: pd.DataFrame) -> pd.DataFrame:
    """The rows of the ledger by verdict: the paper's results first, then the controls, each in the ledger's order
    within a verdict.

    A column "beside" is added, which says what came out of a claim's controls.
    """
    rows = table.assign(beside=beside(table))
    order = rows["verdict"].map(VERDICTS.index) + len(VERDICTS) * rows["control"].astype(bool)
    return rows.assign(_order=order).sort_values("_order", kind="stable").drop(columns="_order").reset_index(drop=True)


def beside(table: pd.DataFrame) -> list[str]:
    """For each row of the ledger, its controls with effect and verdict, in the order of `FLOORS`; "" if it has none."""
    told: dict[str, dict[str, str]] = {}
    for _, row in table[table["control"].astype(bool)].iterrows():
        claim, short = asked_of(row["claim"])
        if claim:
            told.setdefault(claim, {})[short] = f"{short} {effect_text(row)} {row['verdict']}"
    return [SEPARATOR.join(told[c][s] for s in FLOORS if s in told[c]) if c in told else "" for c in table["claim"]]


def control_counts(table: pd.DataFrame) -> pd.DataFrame:
    """For each of `FLOORS`: how many results against I3D+MLP were asked of it, and how many are supported there, among
    those that are supported against I3D+MLP itself."""
    verdicts = dict(zip(table["claim"], table["verdict"], strict=True))
    rows = []
    for short, floor in FLOORS.items():
        asked = [asked_of(c)[0] for c in table["claim"] if asked_of(c)[1] == short]
        led = [claim for claim in asked if verdicts.get(claim) == SUPPORTED]
        kept = sum(verdicts[f"{claim} ({short})"] == SUPPORTED for claim in led)
        rows.append((floor.words, len(asked), len(led), kept))
    return pd.DataFrame(
        rows, columns=["asked of", "results asked", "supported against I3D+MLP", "of these supported here, too"]
    )


def seeds_group(verdict: str, profile: str, seeds: int) -> str:
    """What stands behind an undecided result so far, one of `SEEDS_GROUPS`; "" for other verdicts."""
    groups = dict(zip((FEWER, SMALL, WHOLE), SEEDS_GROUPS, strict=True))
    return groups.get(basis(profile, seeds), SEEDS_GROUPS[-1]) if verdict == UNDECIDED else ""
