"""The picture of the ledger: a line for each claim that is a difference of rho, below the table or figure it is about.

The names of the lines are the claims' `short` forms (`claims.toml`), which a reader understands without the ledger.
"""

import math
from collections.abc import Iterable
from functools import cache

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from sapnet_core.experiments.profiles import get_profile
from sapnet_core.experiments.statistics import CONTRADICTED, NO_DIFFERENCE, SUPPORTED, UNDECIDED
from sapnet_core.experiments.tables import declared_trials
from sapnet_core.reporting.ledger import Claim, ledger
from sapnet_core.reporting.pictures import DATASET_TITLES
from sapnet_core.reporting.plots import beyond
from sapnet_core.reporting.style import COLORS, PAGE

__all__ = ["VERDICT_MARKERS", "claim_forest", "datasets_of"]

# verdict -> color, marker, and whether the marker is filled: color alone does not tell them apart in print
VERDICT_MARKERS = {
    SUPPORTED: (COLORS[2], "^", True),
    CONTRADICTED: (COLORS[5], "v", True),
    NO_DIFFERENCE: (COLORS[3], "s", True),
    UNDECIDED: (COLORS[0], "o", False),
}
# the paper's order; a family that is missing here comes last
ORDER = (
    *("Abstract", "Conclusion", "Table I", "Table II", "Fig. 5", "Fig. 6", "Fig. 7", "Fig. 8", "Fig. 9", "Fig. 10"),
    *("Table III", "Table IV", "Table V", "Table VI", "Table VII"),
)
TEXT, LINE = 11.5, 0.2  # points of the names at a page's width, which is halved in a column; inches of a line
WIDEST = (-0.35, 0.55)  # differences beyond these ends are cut off and marked by an arrow
CONTROL = " (in order)"
MARKER_SIZE = 7  # points of the marker of a verdict


def claim_forest(table: pd.DataFrame, title: str) -> Figure:
    """Draw the claims about rho one below the other: effect, interval and verdict, the size that the paper prints, and
    in gray the same claim asked of the MLP that sees the clips in order.

    Args:
        table: rows of the ledger, as from `claims.evaluate` or from `claims_forest.csv`: claim, control, verdict,
            effect, low, high and paper. Claims without an effect or with a verdict that has no marker in
            `VERDICT_MARKERS` are left out, and so are controls but that against the clips in order.
        title: above the picture; it names source, size and seeds.

    Returns:
        The figure, as wide as a page; it is the current one.

    Raises:
        ValueError: no row can be drawn.
    """
    claims = {claim.id: claim for claim in ledger() if claim.metric == "rho"}
    rows = table[table["effect"].notna() & table["claim"].isin(claims)].set_index("claim")
    drawn = rows[~rows["control"].astype(bool) & rows["verdict"].isin(VERDICT_MARKERS)]
    if drawn.empty:
        raise ValueError("no claim of this table has an effect and a verdict: there is nothing to draw")
    families: dict[str, list[Claim]] = {}
    for name in drawn.index:
        families.setdefault(claims[name].family, []).append(claims[name])
    families = {family: families[family] for family in sorted(families, key=_place)}
    ends = max(WIDEST[0], drawn["low"].min() - 0.02), min(WIDEST[1], drawn["high"].max() + 0.02)
    lines = len(drawn) + len(families)
    fig, ax = plt.subplots(figsize=(PAGE, 1.7 + LINE * lines))
    _lines(ax, families, rows, ends, lines)
    handles = [_marker(look, label=verdict) for verdict, look in VERDICT_MARKERS.items()]
    handles += [
        Line2D([], [], color="black", marker="D", mfc="none", ms=5, ls="", label="size the paper prints"),
        Line2D([], [], color="0.5", marker=".", ms=8, lw=1, label="against the MLP with clips in order"),
    ]
    fig.legend(handles=handles, loc="outside lower center", ncols=2, fontsize=TEXT)
    fig.suptitle(title, fontsize=TEXT)
    return fig


def _place(family: str) -> tuple[int, str]:
    return (ORDER.index(family) if family in ORDER else len(ORDER), family)


@cache
def _datasets(trials: str) -> tuple[str, ...]:
    """The datasets of a table or figure."""
    try:
        return tuple(dict.fromkeys(t.dataset for t in declared_trials(trials, get_profile("smoke")).values()))
    except ValueError:  # the data in use have no such table
        return ()


def datasets_of(claims: Iterable[Claim]) -> str:
    """The datasets of the tables and figures that some claims compare, in words; "" if there are none."""
    trials = dict.fromkeys(name[0] for claim in claims for name in claim.names)
    found = list(dict.fromkeys(dataset for name in trials for dataset in _datasets(name)))
    return f"{len(found)} datasets" if len(found) > 2 else " and ".join(DATASET_TITLES.get(d, d) for d in found)


def _heading(family: str, claims: Iterable[Claim]) -> str:
    where = datasets_of(claims)
    return f"{family} · {where}" if where else family


def _lines(ax: Axes, families: dict[str, list[Claim]], rows: pd.DataFrame, ends: tuple[float, float], lines: int):
    """A heading for each family, and below it one line for each of its claims."""
    ax.set(xlim=ends, ylim=(lines - 0.4, -0.6))
    for axis in (ax, ax.secondary_xaxis("top")):  # the picture is taller than a screen
        axis.set_xlabel("difference of ρ", fontsize=TEXT)
        axis.tick_params(axis="x", labelsize=TEXT)
    names, bold = [], []
    for family, claims in families.items():
        if names:
            ax.axhline(len(names) - 0.5, color="0.75", lw=0.6)
        bold.append(len(names))
        names.append(_heading(family, claims))
        for claim in claims:
            _line(ax, len(names), rows, claim, ends)
            names.append(claim.short or claim.id)
    ax.axvline(0, color="black", lw=0.8, zorder=1)
    ax.set_yticks(range(len(names)), names, fontsize=TEXT)
    for at in bold:
        ax.get_yticklabels()[at].set_fontweight("bold")
    ax.tick_params(axis="y", length=0)
    ax.grid(visible=False, axis="y")
    ax.spines["left"].set_visible(False)


def _line(ax: Axes, at: float, rows: pd.DataFrame, claim: Claim, ends: tuple[float, float]) -> None:
    one = rows.loc[claim.id]
    if claim.id + CONTROL in rows.index:
        control = rows.loc[claim.id + CONTROL]
        _interval(ax, at + 0.36, control, ends, "0.65", 1.0)
        ax.plot(control["effect"], at + 0.36, ".", color="0.5", ms=5, zorder=2)
    look = VERDICT_MARKERS[one["verdict"]]
    _interval(ax, at, one, ends, look[0], 1.8)
    if math.isfinite(one["paper"]):
        ax.plot(one["paper"], at, "D", color="black", mfc="none", mew=1.0, ms=5, zorder=3)
    ax.add_line(_marker(look, [one["effect"]], [at], lw=0))


def _interval(ax: Axes, at: float, row: pd.Series, ends: tuple[float, float], color: str, width: float) -> None:
    """The interval of a row as far as it is in the panel, with an arrow where it goes on."""
    low, high = np.clip([row["low"], row["high"]], *ends)
    ax.plot([low, high], [at, at], color=color, lw=width, solid_capstyle="butt", zorder=2)
    beyond(ax, at, row["low"], row["high"], color, size=1.5 + 1.5 * width)


def _marker(look: tuple[str, str, bool], x=(), y=(), **style) -> Line2D:
    color, marker, filled = look
    edge = {"mfc": color, "mec": "white", "mew": 0.5} if filled else {"mfc": "white", "mec": color, "mew": 1.1}
    return Line2D(x, y, color=color, marker=marker, ms=MARKER_SIZE, zorder=4, **edge, **style)
