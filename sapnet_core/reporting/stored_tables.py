"""Read back the tables that `save.save_table` wrote as CSV: numbers as numbers, text unchanged.

A column is numeric if each of its filled cells is formatted as `save_table` formats floats and not all are integers.
"""

import csv
import math
from pathlib import Path

import pandas as pd

from sapnet_core.reporting.literal import from_cell
from sapnet_core.reporting.tables import LEVELS, PARTS

__all__ = ["read_cells", "read_stored_table"]


def read_cells(file: Path) -> tuple[list[str], list[list[str]]]:
    """Read a CSV: its column names and its rows, each padded or cut to one cell per name; both empty for an empty file.

    Raises:
        OSError: the file cannot be opened.
        ValueError: it is not a CSV in UTF-8.
    """
    with open(file, encoding="utf-8", newline="") as stream:
        try:
            head, *rows = [[from_cell(text) for text in line] for line in csv.reader(stream) if line] or [[]]
        except csv.Error as error:
            raise ValueError(f"{file}: not a valid CSV table ({error}): make it again") from None
    return head, [(row + [""] * len(head))[: len(head)] for row in rows]


def read_stored_table(file: Path) -> pd.DataFrame:
    """Read a stored table in a form that `tables.shown_cells` takes: a comparison as `tables.comparison_table` or
    `tables.as_printed` returned it, any other table as a plain data frame whose columns hold text or numbers.

    Raises:
        OSError, ValueError: as `read_cells`.
    """
    head, rows = read_cells(file)
    columns = [list(column) for column in zip(*rows, strict=True)] or [[] for _ in head]
    try:
        return _comparison(head, columns)
    except ValueError:
        plain = [columns[i] if i == 0 else _numbers(columns[i]) for i in range(len(head))]
        return pd.DataFrame(dict(enumerate(plain))).set_axis(head, axis=1)


def _comparison(head: list[str], columns: list[list[str]]) -> pd.DataFrame:
    """Rebuild a comparison: one column for systems, or those of `LEVELS`, then all of `PARTS` for every column.

    Raises:
        ValueError: the table is not a comparison.
    """
    levels = next((len(k) for k in (LEVELS, LEVELS[1:]) if tuple(head[: len(k)]) == k), 1)
    parts = [name.rpartition(" ") for name in head[levels:]]
    if not parts or [part for _, _, part in parts] != [*PARTS] * (len(parts) // len(PARTS)):
        raise ValueError("not a comparison")
    names = [(column, part) for column, _, part in parts]
    if len(set(names)) < len(names):
        raise ValueError("two columns have the same name")
    read = {"seeds": int, "best": "True".__eq__}
    cells = [
        [read.get(part, _float)(text) for text in texts]
        for (_, part), texts in zip(names, columns[levels:], strict=True)
    ]
    named = pd.MultiIndex.from_arrays(columns[:levels], names=head[:levels])
    table = pd.DataFrame(dict(enumerate(cells)), index=named if levels > 1 else named.get_level_values(0))
    return table.set_axis(pd.MultiIndex.from_tuples(names, names=["column", "part"]), axis=1)


def _float(text: str) -> float:
    return float(text) if text else math.nan


def _numbers(texts: list[str]) -> list[str] | list[float]:
    """Convert the cells of a numeric column to floats. Every other column stays text; so does a column of whole
    numbers, even if some of them are "inf", since it was written from text."""
    filled = [text for text in texts if text]
    try:
        written = [f"{float(text):.6g}" for text in filled]
    except ValueError:
        return texts
    is_float = filled == written and not all(text.lstrip("-").isdigit() or text == "inf" for text in filled)
    return [*map(_float, texts)] if is_float else texts
