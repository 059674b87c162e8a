"""The paper's tables beside this run: mean and interval over seeds, bold only where the interval allows it."""

import math
from collections.abc import Collection
from typing import NamedTuple

import numpy as np
import pandas as pd

from sapnet_core.experiments.intervals import correlation_interval, mean_interval
from sapnet_core.reporting.literal import in_markdown

__all__ = ["PARTS", "Cell", "comparison_table", "flat", "markdown", "show", "shown_cells"]

PARTS = ("paper", "mean", "low", "high", "seeds", "best")


def _best(cell: pd.DataFrame, value: str, floors: dict[str, float]) -> str | None:
    """The system of one column that may be printed in bold: the one with the highest mean, if its paired difference
    over seeds to the runner-up (which may be a floor) has a 95 % interval above 0; None otherwise."""
    by_seed = cell.pivot(index="seed", columns="system", values=value)
    by_seed = by_seed.assign(**{name: rho for name, rho in floors.items() if math.isfinite(rho)}).dropna(axis=1)
    order = by_seed.mean().sort_values(ascending=False, kind="stable").index
    if len(order) < 2 or len(by_seed) < 2 or order[0] in floors:
        return None
    difference = by_seed[order[0]] - by_seed[order[1]]
    return order[0] if mean_interval(difference.tolist()).low > 0 else None


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
        printed in bold). Unknown values are NaN.

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
        beatable = {name: float(rho) for name, rho in below.items() if not str(name).startswith("ceiling")}
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


def flat(table: pd.DataFrame) -> pd.DataFrame:
    """Return the table with one header row and the system as a column, for CSV."""
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
    """A cell as it is shown: text without markup, whether the text is bold, and a note that follows and never is."""

    text: str
    bold: bool = False
    note: str = ""


def shown_cells(table: pd.DataFrame, decimals: int = 3) -> tuple[list[tuple[str, str]], list[list[Cell]]]:
    """Prepare a table for display: its columns as (group, name), and its rows.

    A comparison has two columns in each group, "paper" and "this run"; a cell of the latter is `mean ± half width`, or
    `mean [low, high]` if the interval is asymmetric. The number of seeds stands in the column's name, and in each cell
    where it differs. Any other data frame is shown as it is, with "" as the group of its columns.
    """
    if not isinstance(table.columns, pd.MultiIndex):
        plain = flat(table)
        rows = [[Cell(_text(x, decimals)) for x in row] for row in plain.to_numpy(object)]
        return [("", _text(x, 0)) for x in plain.columns], rows
    columns = list(dict.fromkeys(table.columns.get_level_values(0)))
    usual = int(table.xs("seeds", axis=1, level=1).to_numpy().max(initial=0))
    this_run = "this run" + (f" (n={usual})" if usual else "")
    names = [("", "system"), *((_text(c, decimals), part) for c in columns for part in ("paper", this_run))]
    rows = []
    for system, values in zip(table.index, table.to_numpy(object), strict=True):
        row, values = [Cell(_text(system, decimals))], dict(zip(table.columns, values, strict=True))
        for column in columns:
            paper, mean, low, high, seeds, best = (values[column, part] for part in PARTS)
            run = _number(mean, decimals) + _interval(mean, low, high, decimals)
            row.append(Cell(_number(paper, decimals)))
            row.append(Cell(run, bool(best), "" if seeds in (0, usual) else f" (n={seeds})"))
        rows.append(row)
    return names, rows


def markdown(table: pd.DataFrame, decimals: int = 3, ours: Collection[str] = ()) -> str:
    """Format the cells of `shown_cells` as a Markdown table.

    Names and texts are escaped, since they may come from users; `ours` names the columns of a plain data frame that
    hold Markdown of our own.
    """
    names, rows = shown_cells(table, decimals)
    own = [name in ours for _, name in names]

    def written(cell: Cell, mine: bool) -> str:
        text = cell.text.replace("|", "\\|") if mine else in_markdown(cell.text)
        return (f"**{text}**" if cell.bold else text) + cell.note

    header = [in_markdown(f"{group} {name}" if group else name) for group, name in names]
    rule = ["---"] + ["---:"] * (len(header) - 1)
    lines = (header, rule, *([written(c, mine) for c, mine in zip(row, own, strict=True)] for row in rows))
    return "\n".join("| " + " | ".join(line) + " |" for line in lines)


def show(table: pd.DataFrame, decimals: int = 3, ours: Collection[str] = ()):
    """Return the table of `markdown` as an object that a notebook displays."""
    from IPython.display import Markdown

    return Markdown(markdown(table, decimals, ours))
