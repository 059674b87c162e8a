"""Missing values of a sequence over time, such as steps at which a sensor or a pose detector found nothing."""

import numpy as np

__all__ = ["filled", "first_gap"]


def first_gap(values: np.ndarray) -> tuple[int, int] | None:
    """Step and column, counted from 0, of the first value of (T, C) that is not finite; None where all are."""
    finite = np.isfinite(values)
    if finite.all():
        return None
    step, column = np.unravel_index(finite.argmin(), finite.shape)
    return int(step), int(column)


def filled(values: np.ndarray) -> np.ndarray:
    """(T, C) with each missing value (not finite) interpolated linearly over time within its column; before the first
    and after the last known value of a column, that value is repeated.

    Raises:
        ValueError: a column has no known value at all; the message names its number, counted from 0.
    """
    values = np.array(values, dtype=np.float64)
    finite = np.isfinite(values)
    if (empty := np.flatnonzero(~finite.any(0))).size:
        raise ValueError(f"column {empty[0]} has no value at any step")
    steps = np.arange(len(values))
    for column in np.flatnonzero(~finite.all(0)):
        known = finite[:, column]
        values[~known, column] = np.interp(steps[~known], steps[known], values[known, column])
    return values
