"""Plots that several figures share, drawn into given axes: curves over seeds and forest plots of differences."""

from collections.abc import Sequence
from typing import Literal

import numpy as np
from matplotlib.axes import Axes

from sapnet_core.experiments.intervals import Paired, correlation_interval
from sapnet_core.reporting.style import COLORS

__all__ = ["seed_curve", "seed_marks", "forest", "stems", "beyond"]

VIDEOS = "#4d4d4d"  # color of intervals over test videos in every plot


def seed_curve(
    ax: Axes, x: Sequence[float], values, color: str = COLORS[0], marker: str = "o", label: str | None = None
) -> None:
    """Draw `seed_marks` along an axis, joined by a line through the means.

    Intervals are lines and no bands: where there are few seeds, bands of neighboring positions hide the curve.

    Args:
        x: (n,) positions in ascending order.
        values: (n, S) correlations, one column per seed.
    """
    x = np.asarray(x, dtype=float)
    seed_marks(ax, x, values, color, marker, label, width=np.diff(x).min() / 2)
    ax.plot(x, [correlation_interval(row).value for row in values], color=color, zorder=2)


def seed_marks(
    ax: Axes, x: Sequence[float], values, color: str, marker: str = "o", label: str | None = None, width: float = 0.2
) -> None:
    """Draw correlations at separate positions: a large mark for the mean over seeds, a line for its 95 % interval, and
    the seeds as small points, spread within `width` so that equal ones stay visible.

    Args:
        x: (n,) positions.
        values: (n, S) correlations, one column per seed.
    """
    x, values = np.asarray(x, dtype=float), np.asarray(values, dtype=float)
    mean, low, high = np.array([correlation_interval(row) for row in values]).T
    spread = np.linspace(-0.3, 0.3, values.shape[1]) * width
    ax.vlines(x, low, high, color=color, lw=1.4, zorder=1)
    ax.plot((x[:, None] + spread).ravel(), values.ravel(), ".", color=color, ms=4, alpha=0.55, zorder=2)
    ax.plot(x, mean, marker, color=color, mec="white", ms=6, label=label, zorder=3)


def forest(ax: Axes, rows: dict[str, Paired], color: str = COLORS[0], gap_before: str = "") -> None:
    """Forest plot of paired differences, from top to bottom: a dot for the mean, a thick line for the interval over
    seeds and a thin one for the interval over test videos.

    `gap_before` is the name of a row that is set apart from those above it, such as the mean over rows.
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
    """Draw `forest` upright for differences along an axis: `rows` maps position -> difference, and `width` is the
    distance between positions."""
    x = np.array(list(rows), dtype=float)
    value, low, high, video_low, video_high = np.array([tuple(found) for found in rows.values()]).T
    ax.axhline(0, color="black", lw=0.8)
    ax.vlines(x, low, high, color=color, lw=2.6, label="over seeds")
    ax.vlines(x + 0.2 * width, video_low, video_high, color=VIDEOS, lw=1.2, label="over videos")
    ax.plot(x, value, "o", color=color, mec="white", ms=5, label="mean difference")


def beyond(
    ax: Axes, at: float, low: float, high: float, color: str, axis: Literal["x", "y"] = "x", size: float = 9.0
) -> None:
    """Draw an arrow at the edge of a panel on each side where an interval goes on beyond it; the panel's limits are set
    before.

    Args:
        at: place of the interval on the other axis.
        low, high: the interval along `axis`; ends that are NaN have no arrow.
        size: of the arrow, in points.
    """
    ends, markers = (ax.get_xlim(), "<>") if axis == "x" else (ax.get_ylim(), "v^")
    for end, leaves, marker in zip(ends, (low < ends[0], high > ends[1]), markers, strict=True):
        if leaves:
            place = (end, at) if axis == "x" else (at, end)
            ax.plot(*place, marker, color=color, ms=size, mew=0, clip_on=False, zorder=4)
