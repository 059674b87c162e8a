"""A heatmap of paired differences: color and number tell the difference, a mark tells the verdict."""

from textwrap import fill

import matplotlib.pyplot as plt
import pandas as pd
import seaborn as sns
from matplotlib.colors import LinearSegmentedColormap
from matplotlib.figure import Figure

from sapnet_core.experiments.statistics import CONTRADICTED, NO_DIFFERENCE, SUPPORTED, UNDECIDED
from sapnet_core.experiments.systems import marked
from sapnet_core.reporting.style import COLORS, COLUMN

__all__ = ["MARKS", "heatmap"]

# verdict on "SAP-Net is above this system" -> (mark, what it says); the marks are those of the site
MARKS = {
    SUPPORTED: ("✓", "SAP-Net above"),
    CONTRADICTED: ("✗", "SAP-Net below"),
    NO_DIFFERENCE: ("=", "no difference"),
    UNDECIDED: ("?", "undecided"),
}
LIMIT = 0.3  # differences beyond it have the same color, so that all heatmaps have one scale
ROW, NAME = 0.21, 25  # inches of a row, letters of a name in one line
# orange below zero, white at zero, blue above; all are light enough for black numbers
BELOW_ABOVE = LinearSegmentedColormap.from_list("below and above", [COLORS[1], "white", COLORS[4]])


def heatmap(differences: pd.DataFrame, title: str) -> Figure:
    """Draw the differences of a table, one column of a page wide.

    Args:
        differences: from `paired_differences`; a cell without a row stays empty.
        title: above the picture.

    Returns:
        The figure, which is the current one.
    """
    order = {name: list(dict.fromkeys(differences[name])) for name in ("system", "column")}
    value, verdict = (
        differences.pivot(index="system", columns="column", values=name).reindex(order["system"])[order["column"]]
        for name in ("difference", "verdict")
    )
    text = value.map("{:+z.2f} ".format) + verdict.map(lambda word: MARKS.get(word, ("", ""))[0])
    fig, ax = plt.subplots(figsize=(COLUMN, ROW * len(value) + 1.15))
    beyond = (value.min(axis=None) < -LIMIT, value.max(axis=None) > LIMIT)
    ends = {(False, False): "neither", (True, False): "min", (False, True): "max", (True, True): "both"}[beyond]
    sns.heatmap(
        value,
        mask=value.isna(),
        annot=text.where(value.notna(), ""),
        fmt="",
        annot_kws={"size": 6.5, "color": "black"},
        cmap=BELOW_ABOVE,
        vmin=-LIMIT,
        vmax=LIMIT,
        linewidths=0.5,
        cbar_kws={"location": "bottom", "extend": ends, "aspect": 30, "pad": 0.03, "label": "SAP-Net minus system, ρ"},
        ax=ax,
    )
    bar = ax.collections[0].colorbar.ax
    bar.tick_params(labelsize=6.5)
    bar.xaxis.label.set_size(7)
    ax.grid(visible=False)
    ax.xaxis.tick_top()
    ax.set(xlabel="", ylabel="")
    fig.suptitle(title, fontsize=8)
    ax.set_yticks(ax.get_yticks(), [fill(marked(name), NAME) for name in value.index], linespacing=0.9)
    ax.tick_params(length=0, labelsize=6.5)
    fig.supxlabel(" · ".join(f"{mark} {words}" for mark, words in MARKS.values()), fontsize=6.5)
    return fig
