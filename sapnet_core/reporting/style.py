"""The style of all figures: legible at column width, distinguishable without color vision, reproducible in bytes."""

import matplotlib as mpl
import seaborn as sns

from sapnet_core.runtime.kernels import show_inline

__all__ = ["COLORS", "MARKERS", "COLUMN", "PAGE", "larger_text", "use_style"]

COLUMN, PAGE = 3.5, 7.2  # widths of a column and of a page of the paper, in inches

# Okabe & Ito (2008), in an order whose neighbors differ in lightness too; black is for the true or reference line. The
# last two are ours, for the pictures with most lines.
COLORS = ("#0072B2", "#E69F00", "#009E73", "#CC79A7", "#56B4E9", "#D55E00", "#7A7A7A", "#000000", "#8C564B", "#8A9A00")
MARKERS = ("o", "s", "^", "D", "v", "P", "X", "*", "p", "h")  # a second way to tell series apart


def use_style() -> None:
    """Set up matplotlib and seaborn for a notebook: call once, in the setup cell.

    Figures appear below their cells, whatever backend or settings of matplotlib the user's shell has.
    """
    show_inline()
    sns.set_theme(context="paper", style="ticks", palette=list(COLORS), font="DejaVu Sans")
    mpl.rcParams.update(
        {
            "figure.figsize": (COLUMN, 2.6),
            "figure.dpi": 120,
            "savefig.dpi": 200,
            "figure.constrained_layout.use": True,
            "savefig.bbox": "tight",
            "savefig.pad_inches": 0.04,
            "font.size": 8,
            "axes.titlesize": 8,
            "axes.labelsize": 8,
            "xtick.labelsize": 7,
            "ytick.labelsize": 7,
            "legend.fontsize": 7,
            "legend.frameon": False,
            "lines.linewidth": 1.4,
            "lines.markersize": 4,
            "axes.spines.top": False,
            "axes.spines.right": False,
            "axes.grid": True,
            "grid.color": "#e6e6e6",
            "grid.linewidth": 0.5,
            "axes.axisbelow": True,
            "image.cmap": "cividis",
            "svg.hashsalt": "sapnet",
            "svg.fonttype": "none",
            "pdf.fonttype": 42,
        }
    )


def larger_text(factor: float = 1.5) -> None:
    """Enlarge the text of all further figures; call after `use_style`.

    A figure of the width `PAGE` then stays legible where it is shown at the width `COLUMN`.
    """
    for name in ("font.size", *(f"{part}size" for part in ("axes.title", "axes.label", "xtick.label", "ytick.label"))):
        mpl.rcParams[name] *= factor
    mpl.rcParams["legend.fontsize"] *= factor
    mpl.rcParams["figure.titlesize"] = mpl.rcParams["axes.titlesize"]
