"""The paper's tables beside this run: mean and interval over seeds, and the highest mean of each column in bold."""

import math
from collections.abc import Collection
from itertools import groupby
from operator import itemgetter
from typing import NamedTuple

import numpy as np
import pandas as pd

from sapnet_core.experiments.intervals import correlation_interval, mean_interval
from sapnet_core.experiments.paper import NOTES, paper_numbers
from sapnet_core.experiments.systems import RIDGE, marked
from sapnet_core.reporting.column_alignment import holds_words
from sapnet_core.reporting.literal import in_markdown

__all__ = [
    "LEVELS",
    "PARTS",
    "Cell",
    "as_printed",
    "comparison_table",
    "flat",
    "markdown",
    "show",
    "show_text",
    "shown_cells",
]

PARTS = ("paper", "mean", "low", "high", "seeds", "best")
EMPTY = dict(zip(PARTS, (math.nan, math.nan, math.nan, math.nan, 0, False), strict=True))  # a cell without any result
LEVELS = ("block", "system", "year")  # names of the index levels of `as_printed`
GRAY = "#999999"
BOLD = "Bold: the highest mean of a column, if nothing untrained reaches as much. Bold is no verdict: see the ledger."
REFERENCES = "Floors and ceiling"  # the block of rows that no system was trained for


def _best(cell: pd.DataFrame, value: str, floors: dict[str, float]) -> str | None:
    """The system of one column that is printed in bold: the one with the highest mean, if no floor is as high; None
    otherwise. Whether its lead is more than chance is for `experiments.statistics.judge` to say, and not for a table.
    """
    means = cell.dropna(subset=[value]).groupby("system", sort=False)[value].mean()
    return None if means.empty or means.max() <= max(floors.values(), default=-math.inf) else means.idxmax()


def comparison_table(
    results: pd.DataFrame, paper: pd.DataFrame, floors: pd.DataFrame | None = None, value: str = "rho"
) -> pd.DataFrame:
    """Combine a table of the paper with the results of this run.

    Args:
        results: one row per trial: system, column, seed and `value`.
        paper: the paper's cells: system, column and `value`, in printed order. Its columns are those of the table;
            systems that it lacks are appended.
        floors: reference rows without seeds, placed below the others: system and `value`, and column if values differ
            by column. A row whose name starts with "ceiling" is shown, but does not count as a rival for bold print.
        value: the metric, a column of all three; "rho" is treated as a correlation.

    Returns:
        A data frame with index system and columns (column, part). The parts are paper, mean, low and high (ends of the
        95 % interval over seeds, for correlations between -1 and 1), seeds (their number) and best (whether the mean is
        the highest of its column, which is printed in bold). Unknown values are NaN.

    Raises:
        ValueError: two results for one cell and seed, or a column that the paper's table lacks.
    """
    if results.duplicated(["system", "column", "seed"]).any():
        raise ValueError("results have two rows for one system, column and seed: pass the trials of one table")
    columns = list(dict.fromkeys(paper["column"]))
    if unknown := sorted(set(results["column"]) - set(columns)):
        raise ValueError(f"results have columns {unknown} that the paper's table lacks: choose among {columns}")
    floors = pd.DataFrame(columns=["system", value]) if floors is None else floors
    systems = list(dict.fromkeys([*paper["system"], *results["system"]]))
    interval, rows = correlation_interval if value == "rho" else mean_interval, {}
    for column in columns:
        cell = results[results["column"] == column]
        printed = paper[paper["column"] == column].set_index("system")[value]
        below = (floors[floors["column"] == column] if "column" in floors else floors).set_index("system")[value]
        beatable = {
            name: float(rho)
            for name, rho in below.items()
            if math.isfinite(rho) and not str(name).startswith("ceiling")
        }
        best = _best(cell, value, beatable)
        for system in [*systems, *dict.fromkeys(floors["system"])]:
            runs = cell.loc[cell["system"] == system, value].dropna()
            mean = runs.mean() if len(runs) else float(below.get(system, math.nan))
            low, high = interval(runs.tolist())[1:] if len(runs) else (math.nan, math.nan)
            parts = (printed.get(system, math.nan), mean, low, high, len(runs), system == best)
            rows.setdefault(system, {}).update({(column, part): x for part, x in zip(PARTS, parts, strict=True)})
    table = pd.DataFrame.from_dict(rows, orient="index")
    table.columns = pd.MultiIndex.from_tuples(table.columns, names=["column", "part"])
    return table.rename_axis("system")


def as_printed(table: pd.DataFrame, number: str) -> pd.DataFrame:
    """Arrange the rows of a comparison as one of the paper's Tables IV to VII prints them.

    Args:
        table: from `comparison_table`, with all rows and columns of that table of the paper.
        number: "IV", "V", "VI" or "VII".

    Returns:
        The cells of `table` with the index levels system and year (text, "" where none is printed); for a table of two
        blocks also block, in front. A block holds the printed rows in printed order, so that it ends in SAP-Net, and
        before that last one the rows that this run adds to the columns of the block; its other columns are empty. Rows
        that were not trained form a block of their own at the end. `attrs["note"]` holds what `experiments.paper.NOTES`
        says about the table, which `markdown` and `show` print below it.

    Raises:
        ValueError: the paper prints no years in that table, or `table` lacks a row or column of it.
    """
    paper = paper_numbers().query("table == @number")
    if not paper["year"].notna().any():
        raise ValueError(f"table {number!r} has no printed form with years: choose one of IV, V, VI, VII")
    for kind, axis in (("system", table.index), ("column", table.columns.get_level_values(0))):
        if missing := sorted(set(paper[kind]) - set(axis)):
            raise ValueError(f"the comparison lacks {kind} {missing} of Table {number}: pass `comparison_table` of it")
    trained, keys, rows = table.xs("seeds", axis=1, level=1) > 0, [], []
    for block, cells in paper.groupby("block", sort=False):
        own, years = set(cells["column"]), cells.drop_duplicates("system").set_index("system")["year"]
        *printed, last = years.index
        added = [system for system in table.index[trained[[*own]].any(axis=1)] if system not in years.index]
        for system in (*printed, *added, last):
            year = years.get(system, pd.NA)
            keys.append((block, system, "" if pd.isna(year) else str(year)))
            values = table.loc[system]
            rows.append([x if column in own else EMPTY[part] for (column, part), x in values.items()])
    for system in table.index.difference([system for _, system, _ in keys], sort=False):
        keys.append((REFERENCES, system, ""))
        rows.append(table.loc[system].tolist())
    arranged = pd.DataFrame(rows, columns=table.columns, index=pd.MultiIndex.from_tuples(keys, names=LEVELS))
    arranged.attrs["note"] = NOTES.get(number, "")
    return arranged.droplevel("block") if paper["block"].nunique() == 1 else arranged


def flat(table: pd.DataFrame) -> pd.DataFrame:
    """Return the table with one header row and the levels of the index as columns, for CSV."""
    if not isinstance(table.columns, pd.MultiIndex):
        return table if isinstance(table.index, pd.RangeIndex) else table.reset_index()
    names = [f"{column} {part}" for column, part in table.columns]
    return table.set_axis(names, axis=1).reset_index()


def _number(x: float, decimals: int) -> str:
    return "—" if not math.isfinite(x) else f"{round(x, decimals) + 0.0:.{decimals}f}"


def _interval(mean: float, low: float, high: float, decimals: int) -> str:
    if not math.isfinite(low):
        return ""
    if math.isclose(mean - low, high - mean, rel_tol=1e-3, abs_tol=2e-6):
        return f" ± {_number((high - low) / 2, decimals)}"
    return f" [{_number(low, decimals)}, {_number(high, decimals)}]"


def _text(x: object, decimals: int) -> str:
    return _number(float(x), decimals) if isinstance(x, (float, np.floating)) else str(x)


class Cell(NamedTuple):
    """A cell as it is shown: text without markup, whether the text is bold, a note that follows and never is, and
    whether it is gray, because what needs no training reaches more."""

    text: str
    bold: bool = False
    note: str = ""
    gray: bool = False


def shown_cells(table: pd.DataFrame, decimals: int = 3) -> tuple[list[tuple[str, str]], list[list[Cell]]]:
    """Prepare a table for display: its columns as (group, name), and its rows.

    A comparison has two columns in each group, "paper" and "this run"; a cell of the latter is `mean ± half width`, or
    `mean [low, high]` if the interval is asymmetric. The number of seeds stands in the column's name, and in each cell
    where it differs; a trained system's cell below a floor, or below ridge regression, is gray; the paper's number
    keeps a fourth decimal if it has one; a row's name has its footnote (`systems.FOOTNOTES`). The years of `as_printed`
    are a column in a group of its own, "Year". Each of its blocks begins with a row that holds the name of the block in
    bold; a column for which a block has no number is blank there. Any other data frame is shown as it is, with "" as
    the group of its columns.
    """
    if not isinstance(table.columns, pd.MultiIndex):
        plain = flat(table)
        rows = [[Cell(_text(x, decimals)) for x in row] for row in plain.to_numpy(object)]
        return [("", _text(x, 0)) for x in plain.columns], rows
    columns, least = list(dict.fromkeys(table.columns.get_level_values(0))), _floors(table)
    usual = int(table.xs("seeds", axis=1, level=1).to_numpy().max(initial=0))
    this_run = "this run" + (f" (n={usual})" if usual else "")
    names = [("", "system"), *((_text(c, decimals), part) for c in columns for part in ("paper", this_run))]
    levels = table.index.names
    if "year" in levels:
        names.insert(1, ("Year", ""))
    if "block" not in levels:
        return names, _rows(table, columns, usual, decimals, least)
    rows = []
    for block, part in table.groupby(level="block", sort=False):
        rows.append([Cell(block, bold=True), *[Cell("")] * (len(names) - 1)])
        used = [c for c in columns if part[[(c, "paper"), (c, "mean")]].notna().to_numpy().any()]
        rows += _rows(part, columns, usual, decimals, least, blank=set(columns) - set(used))
    return names, rows


def _floors(table: pd.DataFrame) -> dict[str, float]:
    """The largest mean, in each column of a comparison, of the rows that a trained system must pass: those without
    seeds but a ceiling, and ridge regression. NaN where there are none."""
    systems = table.index.get_level_values("system" if "year" in table.index.names else 0).astype(str)
    mean, seeds = (table.xs(part, axis=1, level=1) for part in ("mean", "seeds"))
    untrained = (seeds == 0) & ~systems.str.startswith("ceiling")[:, None] | (systems == RIDGE)[:, None]
    return mean.where(untrained).max().to_dict()


def _rows(
    table: pd.DataFrame, columns: list, usual: int, decimals: int, least: dict[str, float], blank: Collection[str] = ()
) -> list[list[Cell]]:
    """The rows of a comparison as `shown_cells` shows them; `usual` is the number of seeds that its header names, and
    `least` the floor of each column."""
    systems, rows = table.index.get_level_values("system" if "year" in table.index.names else 0), []
    years = table.index.get_level_values("year") if "year" in table.index.names else None
    for i, (system, cells) in enumerate(zip(systems, table.to_numpy(object), strict=True)):
        row, values = [Cell(marked(_text(system, decimals)))], dict(zip(table.columns, cells, strict=True))
        if years is not None:
            row.append(Cell(years[i] or "—"))
        for column in columns:
            if column in blank:
                row += [Cell(""), Cell("")]
                continue
            paper, mean, low, high, seeds, best = (values[column, part] for part in PARTS)
            run = _number(mean, decimals) + _interval(mean, low, high, decimals)
            row.append(Cell(_number(paper, decimals if round(paper, decimals) == paper else decimals + 1)))
            row.append(
                Cell(
                    run, bool(best), "" if seeds in (0, usual) else f" (n={seeds})", seeds > 0 and mean < least[column]
                )
            )
        rows.append(row)
    return rows


def markdown(table: pd.DataFrame, decimals: int = 3, ours: Collection[str] = ()) -> str:
    """Format the cells of `shown_cells` as a Markdown table, with `_notes`, if any, below. The first column and those
    that hold words (`holds_words`) are aligned to the left, others to the right.

    Names and texts are escaped, since they may come from users; `ours` names the columns of a plain data frame that
    hold Markdown of our own.
    """
    names, rows = shown_cells(table, decimals)
    own = [name in ours for _, name in names]

    def written(cell: Cell, mine: bool) -> str:
        text = cell.text.replace("|", "\\|") if mine else in_markdown(cell.text)
        return (f"**{text}**" if cell.bold else text) + cell.note

    header = [in_markdown(f"{group} {name}".strip()) for group, name in names]
    rule = ["---:" if i and not holds_words(row[i].text for row in rows) else "---" for i in range(len(header))]
    lines = (header, rule, *([written(c, mine) for c, mine in zip(row, own, strict=True)] for row in rows))
    return "\n".join("| " + " | ".join(line) + " |" for line in lines) + "".join(
        f"\n\n{in_markdown(note)}" for note in _notes(table)
    )


def _notes(table: pd.DataFrame) -> list[str]:
    """The sentences below a table: what bold means, if a comparison has a bold cell, and the note of `as_printed`."""
    compared = isinstance(table.columns, pd.MultiIndex) and "best" in table.columns.get_level_values(1)
    bold = compared and bool(table.xs("best", axis=1, level=1).eq(True).to_numpy().any())
    return [note for note in (BOLD if bold else "", table.attrs.get("note", "")) if note]


def _header(names: list[tuple[str, str]]) -> str:
    """The header of a comparison as rows of HTML: equal neighbors share a cell, names without a group span all rows.

    Groups of two words, such as "SP PCS" and "SP TES", make two levels if all are so.
    """
    groups = [group for group, name in names if group and name]
    levels = 2 if all(len(group.split()) == 2 for group in groups) else 1
    paths = [(*group.split(maxsplit=levels - 1), name) if group and name else (group or name,) for group, name in names]
    depth, rows = max(map(len, paths)), []
    for level in range(1, depth + 1):
        row = ""
        for start, same in groupby(paths, itemgetter(slice(level))):
            whole = [
                path == start for path in same
            ]  # for each path, whether it ends here; such a cell reaches down to the body
            if len(start) == level:
                down = depth - level + 1 if all(whole) else 1
                side = "left" if start == paths[0] else "center"
                size = f'colspan="{len(whole)}" rowspan="{down}"'
                row += f'<th {size} style="text-align: {side}">{_in_html(start[-1])}</th>'
        rows.append(f"<tr>{row}</tr>")
    return "".join(rows)


def _in_html(text: str) -> str:
    return in_markdown(text).replace("\\|", "|")  # of the escapes of `in_markdown`, this one alone is no HTML


def _html(table: pd.DataFrame, decimals: int) -> str:
    """Format a comparison as an HTML table, whose header can have several levels, with its note, if any, below."""
    names, rows = shown_cells(table, decimals)

    def written(cell: Cell) -> str:
        text = f"<strong>{_in_html(cell.text)}</strong>" if cell.bold else _in_html(cell.text)
        return (f'<span style="color: {GRAY}">{text}</span>' if cell.gray else text) + cell.note

    body = "".join(
        f'<tr><th class="name" style="text-align: left">{written(first)}</th>'
        + "".join(f"<td>{written(cell)}</td>" for cell in rest)
        + "</tr>"
        for first, *rest in rows
    )
    gray = "Gray: below a floor, or below ridge regression." if any(c.gray for row in rows for c in row) else ""
    below = "".join(f"<p>{_in_html(note)}</p>" for note in (gray, *_notes(table)) if note)
    return f"<table><thead>{_header(names)}</thead><tbody>{body}</tbody></table>{below}"


class _Comparison:
    """A comparison that notebooks display: as HTML, and as Markdown where they cannot."""

    def __init__(self, table: pd.DataFrame, decimals: int):
        self.html, self.text = _html(table, decimals), markdown(table, decimals)

    def _repr_html_(self) -> str:
        return self.html

    def _repr_markdown_(self) -> str:
        return self.text

    def __repr__(self) -> str:
        return "a comparison of systems"  # without an address in memory, which would change stored notebooks


def show(table: pd.DataFrame, decimals: int = 3, ours: Collection[str] = ()):
    """Return an object that a notebook displays: a comparison with a header of several levels, any other data frame as
    the table of `markdown`."""
    from IPython.display import Markdown

    if isinstance(table.columns, pd.MultiIndex):
        return _Comparison(table, decimals)
    return Markdown(markdown(table, decimals, ours))


def show_text(table: pd.DataFrame, decimals: int = 3, ours: Collection[str] = ()):
    """As `show`, for a plain data frame whose numbers are read as words: all columns are aligned to the left."""
    from IPython.display import Markdown

    return Markdown(markdown(table, decimals, ours).replace("| ---:", "| ---"))
