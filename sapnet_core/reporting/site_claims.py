"""What the gallery says of the paper's claims: the ledger's rows beside the table cells and trials behind them.

The numbers are those of `figures/claims.csv`. `reporting.ledger` names the table cells that a claim compares, and
`experiments.tables` the trials of each cell.
"""

import json
import math
import re
from collections.abc import Callable, Iterable
from functools import cache
from typing import NamedTuple

import pandas as pd

from sapnet_core.experiments.names import KNOWN, title
from sapnet_core.experiments.profiles import PROFILES, get_profile
from sapnet_core.experiments.statistics import CONTRADICTED, SUPPORTED, UNDECIDED, UNTESTABLE, VERDICTS, seeds_in_words
from sapnet_core.experiments.tables import declared_trials
from sapnet_core.experiments.trial import Trial
from sapnet_core.reporting.by_verdict import SMALL, basis
from sapnet_core.reporting.claims import effect_text, stated
from sapnet_core.reporting.ledger import FLOORS, SINGLE_ERRORS, Name, asked_of, ledger
from sapnet_core.reporting.literal import in_markdown
from sapnet_core.reporting.notebook_trials import LEDGER
from sapnet_core.reporting.notebooks import find
from sapnet_core.reporting.provenance import ROMAN

__all__ = [
    "Label",
    "Spot",
    "cell_id",
    "cells_of",
    "claim_views",
    "claims_in_order",
    "count_labels",
    "is_sum",
    "spots",
    "trial_views",
    "verdict_label",
]

KINDS_AND_SIGNS = (("good", "✓"), ("bad", "✗"), ("odd", "="), ("open", "?"), ("open", "–"))
SIGNS = dict(zip(VERDICTS, KINDS_AND_SIGNS, strict=True))
NUMBERS = ("effect", "low", "high", "seed_low", "seed_high", "p_holm", "paper", "to_decide")
SIZES = {  # result of `verdicts.size_beside_print` -> the sentence that the page shows for it
    "as printed": "the printed difference lies in this interval",
    "smaller": "the difference is smaller than printed",
    "larger": "the difference is larger than printed",
    "suspiciously larger": "the difference is suspiciously larger than printed",
}
SHOWN = 12  # table cells of a claim that are listed one by one


class Label(NamedTuple):
    """A small label; `kind` is its CSS class: good, bad, open, odd or old."""

    kind: str
    text: str
    hint: str = ""


class Spot(NamedTuple):
    """A cell of a notebook: the notebook's stem, the cell's id, and its execution count."""

    stem: str
    cell: str
    count: int


def verdict_label(verdict: str, text: str = "") -> Label:
    """The label of a verdict, one of `statistics.VERDICTS`: its sign, and `text` or the verdict itself.

    Raises:
        KeyError: the verdict is unknown.
    """
    kind, sign = SIGNS[verdict]
    return Label(kind, f"{sign} {text or verdict}")


def is_sum(row: dict[str, object]) -> bool:
    """Whether a claim is about printed numbers alone, which are added up: its verdict says nothing of a network."""
    return row.get("kind") == "arithmetic"


def count_labels(rows: Iterable[dict[str, object]]) -> list[Label]:
    """A label with the number of rows for each verdict that occurs; sums of printed numbers stand apart."""
    rows = list(rows)
    found, labels = [row["verdict"] for row in rows if not is_sum(row)], []
    labels += [verdict_label(v, f"{found.count(v)} {v}") for v in VERDICTS if v in found]
    sums = [row["verdict"] for row in rows if is_sum(row)]
    for verdict, words in ((SUPPORTED, "right"), (CONTRADICTED, "wrong")):
        if n := sums.count(verdict):
            text = f"Σ {n} printed {'sum' if n == 1 else 'sums'} {words}"
            labels.append(Label("open", text, "a sum of numbers that the paper prints, checked without training"))
    return labels


def claims_in_order(views: Iterable[dict[str, object]]) -> list[dict[str, object]]:
    """Claims with those first that a test supports or contradicts; sums of printed numbers follow the decided ones."""
    decided = VERDICTS.index(UNDECIDED)
    return sorted(views, key=lambda view: decided - 0.5 if is_sum(view) else VERDICTS.index(view["verdict"]))


def _number(text: str) -> float:
    try:
        return float(text)
    except ValueError:
        return math.nan


def _shown(row: dict[str, str]) -> dict[str, str]:
    """The numbers of a claim as text: the printed difference, the effect with its interval, the corrected p-value, and
    the number of seeds that would decide it, if it is undecided and that is known."""
    given = {"kind": "greater", "metric": "rho", "reason": "", **row}
    numbers = {name: _number(row.get(name, "")) for name in NUMBERS}
    p, printed = numbers["p_holm"], numbers["paper"]
    return {
        "paper": f"{printed:+.3f}" if math.isfinite(printed) else "",
        "ours": effect_text(pd.Series({**given, **numbers})),
        "p": f"{p:.2g}" if math.isfinite(p) else "",
        "decide": seeds_in_words(numbers["to_decide"]) if row["verdict"] == UNDECIDED else "",
    }


def cell_id(name: Name) -> str:
    """The id of a table cell on the page of trials: ("I", "I3D+SSP", "10%") -> "I-I3D-SSP-10"."""
    return re.sub(r"[^A-Za-z0-9]+", "-", " ".join(name)).strip("-")


def claim_views(
    rows: list[dict[str, str]],
    found: dict[str, Spot],
    where: Callable[[Spot], str],
    known: set[Name],
    stand_in: bool = False,
) -> list[dict[str, object]]:
    """What the page of claims shows of each row of `claims.csv`, controls included.

    Args:
        rows: from `parts.claims`, with controls.
        found: from `spots`.
        where: the address of a notebook's cell.
        known: table cells that the page of trials lists.
        stand_in: whether a verdict at a small size stands in for one at the size of the paper.
    """
    entries = {claim.id: claim for claim in ledger()}
    views = []
    for row in rows:
        spot, claim = found.get(row["claim"]), entries.get(row["claim"])
        cells = [name for name in (claim.names if claim else []) if name in known]
        reason, profile, shown = row.get("reason", ""), row.get("profile", ""), _shown(row)
        told = row.get("kind") in SINGLE_ERRORS and shown["ours"] != "—"  # the effect includes the reason
        words = [part for part in (SIZES.get(row.get("size", ""), ""), "" if told else reason) if part]
        small = row["verdict"] != UNTESTABLE and basis(profile, int(row.get("seeds") or 0)) == SMALL
        views.append(
            {
                "id": re.sub(r"[^A-Za-z0-9]+", "-", row["claim"]).strip("-"),
                "name": row["claim"],
                "statement": stated({**row, "statement": row.get("statement") or row["claim"]}),
                "place": row["place"],
                "family": row.get("family") or row["place"],
                "control": row.get("control") == "True",
                "belongs": asked_of(row["claim"])[0] if row.get("control") == "True" else "",
                "asked": FLOORS[short].words if (short := asked_of(row["claim"])[1]) else "",
                "verdict": row["verdict"],
                "kind": row.get("kind", ""),
                "label": verdict_label(row["verdict"]),
                "sum": is_sum(row),
                "stand_in": profile if stand_in and small else "",
                "reason": reason,
                "words": words,
                "seeds": row.get("seeds", ""),
                "profile": profile,
                "cells": [(" · ".join(name), cell_id(name)) for name in cells[:SHOWN]],
                "more": max(0, len(cells) - SHOWN),
                "spot": None if spot is None else (f"{spot.stem}, cell [{spot.count}]", where(spot)),
                **shown,
            }
        )
    return views


def spots(names: dict[str, str], homes: dict[str, str]) -> dict[str, Spot]:
    """The notebook cell whose stored output shows the verdict on each claim.

    Args:
        names: what each claim states, by its id: a notebook shows either of them.
        homes: the notebook that makes the table or figure that a claim is about, by the claim's id; it is searched
            first, then the notebook of the ledger.
    """
    wanted = {*homes.values(), LEDGER}
    printed = {path.stem: _printed(path, path.stat().st_mtime_ns) for path in find() if path.stem in wanted}
    found = {}
    for name, statement in names.items():
        shown = "|".join(rf"{re.escape(text)}(?![\w,])" for text in {statement, in_markdown(statement)} if text)
        inside = re.compile(rf"(?<![\w-]){re.escape(name)}(?![\w-]| \()" + f"|{shown}" * bool(shown))
        for stem in dict.fromkeys((homes.get(name, LEDGER), LEDGER)):
            cell = next((cell for cell in printed.get(stem, ()) if inside.search(cell[2])), None)
            if cell:
                found[name] = Spot(stem, cell[0], cell[1])
                break
    return found


@cache
def _printed(path, _written: int) -> list[tuple[str, int, str]]:
    """(id, execution count, tables and text that it printed) of each code cell with an output."""
    found = []
    for cell in json.loads(path.read_text(encoding="utf-8"))["cells"]:
        outputs = cell.get("outputs", [])
        texts = [t for o in outputs for k, t in o.get("data", {}).items() if k in ("text/markdown", "text/html")]
        texts += [o["text"] for o in outputs if "text" in o]
        if texts:
            found.append((cell.get("id", ""), cell.get("execution_count") or 0, "\n".join(map("".join, texts))))
    return found


@cache
def cells_of(profile: str) -> dict[Name, tuple[Trial, ...]]:
    """The trials, one per seed, of every table cell that the paper's tables and figures and the claims name."""
    size, found = get_profile(profile), {}
    for table in KNOWN:
        try:
            declared = declared_trials(table, size)
        except ValueError:  # not in this profile
            continue
        for (row, *columns, _), trial in declared.items():
            found.setdefault((table, str(row), " ".join(map(str, columns))), []).append(trial)
    return {name: tuple(trials) for name, trials in found.items()}


def trial_views(
    sizes: dict[str, str], hashed: Callable[[Trial], str], stored: dict[str, float]
) -> list[dict[str, object]]:
    """What the page of trials shows of each table or figure.

    Args:
        sizes: the profile at which each is shown, by the name in `KNOWN`; others are left out.
        hashed: the hash of a trial.
        stored: the ρ of each stored trial by its name (`result_files.result_name`).
    """
    views = []
    for table in sorted(KNOWN, key=_order):
        if sizes.get(table) not in PROFILES:
            continue
        cells = []
        for name, trials in cells_of(sizes[table]).items():
            if name[0] == table:
                names = [(trial.seed, f"{trial.dataset}-{trial.method}-{hashed(trial)}") for trial in trials]
                seeds = [(seed, text.rpartition("-")[2], stored.get(text)) for seed, text in names]
                reached = [rho for _, _, rho in seeds if rho is not None]
                mean = f"{sum(reached) / len(reached):.3f}" if reached else ""
                prefix = names[0][1].rpartition("-")[0]
                cells.append({"id": cell_id(name), "row": name[1], "column": name[2], "prefix": prefix, "seeds": seeds})
                cells[-1] |= {"stored": len(reached), "mean": mean}
        views.append({"table": table, "title": title(table), "profile": sizes[table], "cells": cells})
    return views


def _order(table: str) -> tuple[int, int]:
    """A key that sorts the tables and figures of `experiments.tables` as the paper numbers them."""
    if table in ROMAN:
        return 0, ROMAN.index(table)
    return (1, int(table[3:])) if table.startswith("fig") else (2, KNOWN.index(table))
