"""A heatmap of paired differences: color and number tell the difference, a sign tells the verdict. Bold cells have the
verdict of the ledger."""

from textwrap import fill

import matplotlib.pyplot as plt
import pandas as pd
import seaborn as sns
from matplotlib.colors import LinearSegmentedColormap
from matplotlib.figure import Figure

from sapnet_core.experiments.statistics import CONTRADICTED, NO_DIFFERENCE, SUPPORTED, UNDECIDED
from sapnet_core.experiments.systems import marked
from sapnet_core.reporting.style import COLORS, COLUMN

__all__ = ["VERDICT_SIGNS", "control_heatmap", "heatmap"]

# verdict on "SAP-Net is above this system" -> (sign, its meaning in words); the signs are those of the site
VERDICT_SIGNS = {
    SUPPORTED: ("✓", "SAP-Net above"),
    CONTRADICTED: ("✗", "SAP-Net below"),
    NO_DIFFERENCE: ("=", NO_DIFFERENCE),
    UNDECIDED: ("?", UNDECIDED),
}
LIMIT = 0.3  # differences beyond it have the same color, so that all heatmaps have one scale
ROW, NAME, SHORT = 0.21, 25, 17  # inches of a row, letters of a name in one line, and beside two panels
BESIDE = 3  # largest number of columns of a panel that has room beside another one
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
    value, text, bold = _cells(differences)
    fig, ax = plt.subplots(figsize=(COLUMN, ROW * len(value) + 1.27))
    _panel(ax, value, text, bold)
    _color_bar(fig, [ax], _ends(differences), "SAP-Net minus system, ρ")
    fig.suptitle(title, fontsize=8)
    ax.set_yticks(ax.get_yticks(), [fill(marked(name), NAME) for name in value.index], linespacing=0.9)
    _explain(fig, differences, "SAP-Net")
    return fig


def control_heatmap(differences: pd.DataFrame, title: str) -> Figure:
    """Draw the differences from controls, one column of a page wide, with a panel for each control: beside each other,
    or one below the other where they have many columns.

    Args:
        differences: from `control_differences`; a cell without a row stays empty.
        title: above the picture.

    Returns:
        The figure, which is the current one.
    """
    controls = list(dict.fromkeys(differences["control"]))
    systems = list(dict.fromkeys(differences["system"]))
    stacked = differences["column"].nunique() > BESIDE
    rows, columns = (len(controls), 1) if stacked else (1, len(controls))
    height = rows * (ROW * len(systems) + 0.3) + 1.12
    fig, axes = plt.subplots(
        rows, columns, figsize=(COLUMN, height), sharey=not stacked, squeeze=False, layout="constrained"
    )
    fig.get_layout_engine().set(w_pad=0.02, wspace=0.02)
    for ax, control in zip(axes.flat, controls, strict=True):
        _panel(ax, *_cells(differences[differences["control"] == control], systems))
        ax.set_title(f"minus {control}" if stacked else f"minus\n{fill(control, SHORT)}", fontsize=7)
    names = [fill(marked(name), NAME if stacked else SHORT) for name in systems]
    for ax in axes[:, 0]:
        ax.set_yticks(ax.get_yticks(), names, linespacing=0.9)
    _color_bar(fig, list(axes.flat), _ends(differences), "system minus control, ρ")
    fig.suptitle(title, fontsize=8)
    _explain(fig, differences, "system")
    return fig


def _cells(
    differences: pd.DataFrame, systems: list[str] | None = None
) -> tuple[pd.DataFrame, pd.DataFrame, pd.DataFrame]:
    """Differences, their text, and whether the ledger gave the verdict: a row for each system and a column for each
    column of the table, in their order."""
    order = {name: list(dict.fromkeys(differences[name])) for name in ("system", "column")}
    value, verdict, claim = (
        differences.pivot(index="system", columns="column", values=name).reindex(systems or order["system"])[
            order["column"]
        ]
        for name in ("difference", "verdict", "claim")
    )
    text = value.map("{:+z.2f} ".format) + verdict.map(lambda word: VERDICT_SIGNS.get(word, ("", ""))[0])
    return value, text.where(value.notna(), ""), claim.notna() & (claim != "")


def _explain(fig: Figure, differences: pd.DataFrame, above: str) -> None:
    """Say below a figure what its signs mean; `above` is what a verdict puts above or below."""
    text = " · ".join(f"{sign} {words.replace('SAP-Net', above)}" for sign, words in VERDICT_SIGNS.values())
    fig.supxlabel(text + "\nbold: the verdict of the ledger" * bool((differences["claim"] != "").any()), fontsize=6.5)


def _ends(differences: pd.DataFrame) -> str:
    """The ends of the color bar beyond which there are differences."""
    beyond = (differences["difference"].min() < -LIMIT, differences["difference"].max() > LIMIT)
    return {(False, False): "neither", (True, False): "min", (False, True): "max", (True, True): "both"}[beyond]


def _color_bar(fig: Figure, axes: list[plt.Axes], ends: str, label: str) -> None:
    """Draw the color bar of some panels below them."""
    mesh = axes[0].collections[0]
    bar = fig.colorbar(mesh, ax=axes, location="bottom", extend=ends, aspect=30, pad=0.03, label=label)
    bar.outline.set_linewidth(0)
    bar.ax.tick_params(labelsize=6.5)
    bar.ax.xaxis.label.set_size(7)


def _panel(ax: plt.Axes, value: pd.DataFrame, text: pd.DataFrame, bold: pd.DataFrame) -> None:
    """Draw cells into axes."""
    sns.heatmap(
        value,
        mask=value.isna(),
        annot=text,
        fmt="",
        annot_kws={"size": 6.5, "color": "black"},
        cmap=BELOW_ABOVE,
        vmin=-LIMIT,
        vmax=LIMIT,
        linewidths=0.5,
        cbar=False,
        ax=ax,
    )
    for cell in ax.texts:
        column, row = map(int, cell.get_position())
        cell.set_fontweight("bold" if bold.iat[row, column] else "normal")
    ax.grid(visible=False)
    ax.xaxis.tick_top()
    ax.set(xlabel="", ylabel="")
    ax.tick_params(length=0, labelsize=6.5)
