"""Drawings that several figures share, each into axes that are given: curves over seeds and forests of differences."""

from collections.abc import Sequence

import numpy as np
from matplotlib.axes import Axes

from sapnet_core.experiments.statistics import Paired, correlation_interval
from sapnet_core.reporting.style import COLORS

__all__ = ["seed_curve", "seed_marks", "forest", "stems"]

VIDEOS = "#4d4d4d"  # the interval over test videos, whatever the color of the one over seeds


def seed_curve(
    ax: Axes,
    x: Sequence[float],
    values,
    color: str = COLORS[0],
    marker: str = "o",
    label: str | None = None,
    band: bool = True,
) -> None:
    """The mean correlation over seeds as a line, its 95 % interval as a band, every seed as a small point.

    Args:
        x: (n,) places.
        values: (n, S) correlations, one column a seed.
        band: draw the interval.
    """
    x, values = np.asarray(x, dtype=float), np.asarray(values, dtype=float)
    mean, low, high = np.array([correlation_interval(row) for row in values]).T
    if band:
        ax.fill_between(x, low, high, color=color, alpha=0.15, lw=0, zorder=1)
    ax.plot(np.repeat(x, values.shape[1]), values.ravel(), ".", color=color, ms=4, alpha=0.55, zorder=2)
    ax.plot(x, mean, color=color, marker=marker, mec="white", ms=5.5, label=label, zorder=3)


def seed_marks(
    ax: Axes, x: Sequence[float], values, color: str, marker: str = "o", label: str | None = None, width: float = 0.2
) -> None:
    """As `seed_curve` for places side by side: a large mark for the mean, a line for its interval, and the seeds as
    small points spread over `width`, so that equal ones are seen."""
    x, values = np.asarray(x, dtype=float), np.asarray(values, dtype=float)
    mean, low, high = np.array([correlation_interval(row) for row in values]).T
    spread = np.linspace(-0.3, 0.3, values.shape[1]) * width
    ax.vlines(x, low, high, color=color, lw=1.4, zorder=1)
    ax.plot((x[:, None] + spread).ravel(), values.ravel(), ".", color=color, ms=4, alpha=0.55, zorder=2)
    ax.plot(x, mean, marker, color=color, mec="white", ms=6, label=label, zorder=3)


def forest(ax: Axes, rows: dict[str, Paired], color: str = COLORS[0], gap_before: str = "") -> None:
    """Paired differences by name, from above: thick line over seeds, thin line over videos, a dot for the mean.

    `gap_before` sets a name apart from those above it, as the mean over rows.
    """
    y = np.arange(len(rows), dtype=float)
    if gap_before in rows:
        y[list(rows).index(gap_before) :] += 0.3
    value, low, high, video_low, video_high = np.array([tuple(found) for found in rows.values()]).T
    ax.axvline(0, color="black", lw=0.8)
    ax.hlines(y, low, high, color=color, lw=2.6, label="over seeds")
    ax.hlines(y + 0.28, video_low, video_high, color=VIDEOS, lw=1.2, label="over videos")
    ax.plot(value, y, "o", color=color, mec="white", ms=5, label="mean difference")
    ax.set(yticks=y, yticklabels=list(rows), ylim=(y[-1] + 0.7, -0.6))


def stems(ax: Axes, rows: dict[float, Paired], color: str = COLORS[0], width: float = 1.0) -> None:
    """`forest` upright, for differences along an axis: place -> difference; `width` is from one place to the next."""
    x = np.array(list(rows), dtype=float)
    value, low, high, video_low, video_high = np.array([tuple(found) for found in rows.values()]).T
    ax.axhline(0, color="black", lw=0.8)
    ax.vlines(x, low, high, color=color, lw=2.6, label="over seeds")
    ax.vlines(x + 0.2 * width, video_low, video_high, color=VIDEOS, lw=1.2, label="over videos")
    ax.plot(x, value, "o", color=color, mec="white", ms=5, label="mean difference")
