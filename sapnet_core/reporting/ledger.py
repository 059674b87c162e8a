"""The ledger of claims: every result that the paper states, read from `reporting/claims.toml`, with its table cells.

Each claim that a system beats I3D+MLP gets controls, which ask the same of stronger floors (`FLOORS`).
"""

import math
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass, fields, replace
from functools import cache
from itertools import pairwise, product
from pathlib import Path
from typing import NamedTuple

import numpy as np

from sapnet_core.experiments.metrics import fisher_mean
from sapnet_core.experiments.paper import TABLES, paper_table
from sapnet_core.experiments.systems import RIDGE
from sapnet_core.experiments.tables import CLASS_TABLES

__all__ = [
    "FLOORS",
    "SINGLE_ERRORS",
    "Claim",
    "Floor",
    "Name",
    "Side",
    "asked_of",
    "by_classes",
    "ledger",
    "printed_effect",
]

Name = tuple[str, str, str]  # one cell: the table or figure that declares its trials, row, column
Side = tuple[Name, ...]  # cells whose metric is averaged
MLP = "I3D+MLP"
SINGLE_ERRORS = ("count", "worst")  # kinds of claims about single errors, which are asked of each seed by itself


class Floor(NamedTuple):
    """A system of which controls ask what the paper says of I3D+MLP.

    Attributes:
        row: its row.
        words: the row in words.
        tables: the table of a claim's cell -> the table that has this row beside it, for the same videos; a table that
            is missing has none. None stands for every table.
    """

    row: str
    words: str
    tables: Mapping[str, str] | None = None


# name in a control's id -> its floor
FLOORS = {
    "in order": Floor("I3D+MLP (clips in order)", "the MLP that sees the clips in order"),
    "ridge": Floor(RIDGE, "ridge regression on the mean feature"),
    "L_reg alone": Floor(
        "SAP-Net, L_reg alone", "the same network that learns from labeled videos alone", {"I": "I", "II": "II"}
    ),
    "searched": Floor(
        "I3D+MLP (searched)", "I3D+MLP with searched settings", {"I": "IV", "II": "V", "VI": "VI", "VII": "VII"}
    ),
}


@dataclass(frozen=True)
class Claim:
    """One result that the paper states, or a control beside it; the fields are those of `reporting/claims.toml`.

    Attributes:
        id: a short unique name.
        place: where the paper states it.
        statement: the result in words.
        short: the result in a few words, for pictures; tested is what `pairs` say.
        kind: "greater", "comparable", "count", "worst", "arithmetic" or "untested".
        family: the table or figure that it is about, `place` by default; p-values are corrected over a family.
        control: a question of ours, not of the paper.
        metric: a name in `resampling.METRICS`.
        pairs: in each pair the first side is claimed to be higher than the second.
        paper: the printed difference, NaN if there is none.
        margin: the largest difference that counts as equal; if NaN, `MARGIN` of `statistics` for rho, else none.
        limit, count: for "count", at most `count` videos are off by more than `limit` points.
        numbers: for "arithmetic", statements of `paper.paper_arithmetic`.
        reason: for "untested", why.
        note: what a reader must know of the comparison, beside its verdict.
    """

    id: str
    place: str
    statement: str
    kind: str = "greater"
    family: str = ""
    control: bool = False
    metric: str = "rho"
    pairs: tuple[tuple[Side, Side], ...] = ()
    paper: float = math.nan
    margin: float = math.nan
    limit: float = math.nan
    count: int = 0
    numbers: tuple[str, ...] = ()
    reason: str = ""
    note: str = ""
    short: str = ""

    @property
    def names(self) -> list[Name]:
        """The cells of all pairs, without repeats."""
        return list(dict.fromkeys(name for pair in self.pairs for side in pair for name in side))


def _side(text: str) -> Side:
    trials, row, columns = (part.strip() for part in text.split(" | "))
    return tuple((trials, row, column.strip()) for column in columns.split(";"))


def _pairs(entry: dict) -> tuple[tuple[Side, Side], ...]:
    a, b = ([x] if isinstance(x, str) else x for x in (entry.get("a", []), entry.get("b", [])))
    rising = [(high, low) for low, high in pairwise(entry.get("rising", []))]
    found = [*(product(a, b) if b else ((one, "") for one in a)), *rising, *entry.get("pairs", [])]
    return tuple((_side(high), _side(low) if low else ()) for high, low in found)


@cache
def ledger() -> tuple[Claim, ...]:
    """All claims in the order of the file, each followed by its controls if it compares with I3D+MLP.

    Raises:
        ValueError: an entry of the file has an unknown field.
    """
    entries = tomllib.loads(Path(__file__).with_name("claims.toml").read_text(encoding="utf-8"))["claim"]
    known, claims = {f.name for f in fields(Claim)}, []
    for entry in entries:
        own = {name: value for name, value in entry.items() if name not in ("a", "b", "rising", "pairs")}
        if unknown := set(own) - known:
            raise ValueError(
                f"reporting/claims.toml, claim {entry.get('id')}: unknown field {', '.join(sorted(unknown))}"
            )
        own.setdefault("family", own.get("place", ""))
        claim = Claim(**{**own, "pairs": _pairs(entry), "numbers": tuple(entry.get("numbers", ()))})
        claims += [claim, *_controls(claim)]
    return tuple(claims)


def _controls(claim: Claim) -> list[Claim]:
    """The controls of a claim against I3D+MLP: the same claim against each of `FLOORS` that has all of its cells.

    Other claims have none.
    """
    beaten = {row for _, low in claim.pairs for _, row, _ in low}
    if claim.control or claim.kind != "greater" or beaten != {MLP}:
        return []
    controls = []
    for short, floor in FLOORS.items():
        pairs = tuple((high, tuple(_in_place(name, floor) for name in low)) for high, low in claim.pairs)
        if all(None not in low for _, low in pairs):
            statement, named = f"{claim.statement}; asked of {floor.words}", f"{claim.id} ({short})"
            control = replace(claim, id=named, statement=statement, control=True, pairs=pairs, paper=math.nan)
            controls.append(control)
    return controls


def _in_place(name: Name, floor: Floor) -> Name | None:
    """The cell of a floor for the same videos and labels as a cell of I3D+MLP, None if there is none."""
    table, _, column = name
    if floor.tables is None or floor.tables.get(table) == table:
        return (table, floor.row, column)
    other = floor.tables.get(table)
    return (other, floor.row, column) if other and column in paper_table(other).columns else None


def asked_of(control: str) -> tuple[str, str]:
    """The claim that a control belongs to, and the name of its floor (`FLOORS`); ("", "") for a question of its own."""
    claim, found, short = control.rpartition(" (")
    short = short.removesuffix(")")
    return (claim, short) if found and short in FLOORS else ("", "")


def by_classes(side: Side) -> bool:
    """Whether a side averages over classes (by Fisher's z, E14) and not over label shares (plain mean)."""
    return side[0][0] in CLASS_TABLES


def printed_effect(claim: Claim) -> float:
    """The difference between the paper's printed cells, the smallest over the pairs; NaN if a cell is not printed."""

    def mean(side: Side) -> float:
        cells = [paper_table(table).at[row, column] for table, row, column in side]
        return fisher_mean(cells) if by_classes(side) else float(np.mean(cells))

    if claim.control or claim.metric != "rho" or not all(table in TABLES for table, _, _ in claim.names):
        return math.nan
    try:
        return min((mean(high) - mean(low) for high, low in claim.pairs if low), default=math.nan)
    except KeyError:  # a row that the paper's table lacks
        return math.nan
