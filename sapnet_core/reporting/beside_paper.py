"""Every seed of every system beside the paper's number, in one panel for each table and label share."""

from textwrap import fill

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import torch
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from sapnet_core.experiments.metrics import spearman
from sapnet_core.experiments.paper import paper_table
from sapnet_core.experiments.systems import OURS, RIDGE, marked
from sapnet_core.reporting.style import COLORS, PAGE

__all__ = ["beside_paper", "order_agreement"]

DOT = {"marker": "o", "ms": 3.5, "alpha": 0.6, "ls": "none"}
BAR = {"lw": 2.5}
DIAMOND = {"marker": "D", "ms": 5, "mfc": "white", "mec": "black", "mew": 0.8, "ls": "none"}
ROW, NAME = 0.36, 25  # inches of a row at a page's width, letters of a name in one line


def beside_paper(runs: pd.DataFrame, title: str) -> Figure:
    """Draw a row of panels for each table and a panel for each of its columns, all on one axis of rho.

    Args:
        runs: table, column, system, seed, rho; each table has the same number of columns. Systems are sorted by their
            mean over a table's columns.
        title: above the picture; it names datasets, source, size and seeds.

    Returns:
        The figure, which is the current one.
    """
    tables = list(dict.fromkeys(runs["table"]))
    order = {t: runs[runs["table"] == t].groupby("system")["rho"].mean().sort_values().index for t in tables}
    columns = {t: list(dict.fromkeys(runs.loc[runs["table"] == t, "column"])) for t in tables}
    tall = [len(order[t]) + 3 for t in tables]
    fig, axes = plt.subplots(
        len(tables),
        len(columns[tables[0]]),
        figsize=(PAGE, ROW * sum(tall)),
        sharex=True,
        sharey="row",
        squeeze=False,
        gridspec_kw={"height_ratios": tall},
    )
    for row, table in zip(axes, tables, strict=True):
        for ax, column in zip(row, columns[table], strict=True):
            part = runs[(runs["table"] == table) & (runs["column"] == column)]
            _panel(ax, part, paper_table(table)[column], order[table])
            ax.set_title(column if len(tables) == 1 else f"Table {table}, {column}")
    for ax in axes[-1]:
        ax.set_xlabel("Spearman's ρ" if axes.shape[1] < 3 else "ρ")
        ax.locator_params(axis="x", nbins=6 // axes.shape[1] + 1)
    fig.suptitle(title)
    looks = {"a seed": DOT, "mean of the seeds": BAR, "the paper": DIAMOND}
    marks = [Line2D([], [], **{"color": "#444444", **look}) for look in looks.values()]
    fig.legend(marks, list(looks), loc="outside lower center", ncols=3)
    return fig


def _panel(ax: plt.Axes, part: pd.DataFrame, paper: pd.Series, order: pd.Index) -> None:
    for i, system in enumerate(order):
        seeds = part.loc[part["system"] == system, "rho"]
        color = COLORS[5] if system == OURS else COLORS[6] if system == RIDGE or "MLP" in system else COLORS[0]
        ax.plot([seeds.mean()] * 2, [i - 0.35, i + 0.35], color=color, **BAR)
        ax.plot(seeds, [i] * len(seeds), color=color, **DOT)
        ax.plot(paper.get(system, np.nan), i, **DIAMOND)
    names = [fill(marked(system), NAME) for system in order]
    ax.set_yticks(range(len(names)), names, linespacing=0.95)


def order_agreement(runs: pd.DataFrame) -> pd.DataFrame:
    """How far the paper and this run put the systems of a column in the same order.

    Args:
        runs: as for `beside_paper`.

    Returns:
        One row per table and column: table, column, systems (those that the paper prints), agreement (the rank
        correlation of the paper's numbers with the means over the seeds) and place (SAP-Net's, of all systems here).
    """
    rows = []
    for (table, column), part in runs.groupby(["table", "column"], sort=False):
        mean, paper = part.groupby("system")["rho"].mean(), paper_table(table)[column].dropna()
        both = [system for system in paper.index if system in mean.index]
        agreement = float(spearman(*(torch.tensor(x[both].to_numpy()) for x in (mean, paper))))
        place = f"{int((mean > mean[OURS]).sum()) + 1} of {len(mean)}"
        rows.append({"table": table, "column": column, "systems": len(both), "agreement": agreement, "place": place})
    return pd.DataFrame(rows)
