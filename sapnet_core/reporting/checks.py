"""Checks of a notebook's numbers: instructive ones are shown, the others are stored in its file for nbval alone.

`check` prints a line that a reader should see. `verify` makes the same check without showing its line, and
`digest_line` summarizes the data behind a figure, since nbval does not compare images. Both store their line as an
output of a type that no front end shows; nbval compares it like any other output.
"""

import math
from collections.abc import Iterable

import numpy as np

__all__ = ["UNSEEN", "check", "digest_line", "verify"]

UNSEEN = "text/x-sapnet-check"  # MIME type of an output that is stored and compared, and that no front end shows


def _array(values) -> np.ndarray:
    """Convert a tensor, sequence or number to a float64 array."""
    if hasattr(values, "detach"):
        values = values.detach().cpu().numpy()
    return np.asarray(values, dtype=np.float64)


def _rounded(value: float, decimals: int) -> str:
    """Format with fixed decimals, without a minus before zero."""
    return f"{round(float(value), decimals) + 0.0:.{decimals}f}"


def check(name: str, measured, expected, tolerance: float = 0.0, decimals: int = 4) -> None:
    """Print `✓ name: measured vs expected`, or raise.

    Args:
        measured, expected: numbers, or arrays or tensors of equal shape; anything else is compared with `==`.
        tolerance: largest absolute difference allowed, element by element.
        decimals: decimals of the printed numbers. Arrays print only their shape and `tolerance`, so that their line is
            the same on another processor.

    Raises:
        AssertionError: they differ by more than `tolerance`, their shapes differ, or one is not finite where the other
            is.
    """
    print(_held(name, measured, expected, tolerance, decimals))


def verify(name: str, measured, expected, tolerance: float = 0.0, decimals: int = 4) -> None:
    """Check as `check` does, with a line that is stored for nbval and not shown."""
    _keep(_held(name, measured, expected, tolerance, decimals))


def _held(name: str, measured, expected, tolerance: float, decimals: int) -> str:
    if isinstance(measured, (str, bool, tuple, frozenset, set, dict)) or measured is None:
        assert measured == expected, f"✗ {name}: {measured!r} vs {expected!r}"
        return f"✓ {name}: {measured} vs {expected}"
    mine, reference = _array(measured), _array(expected)
    assert mine.shape == reference.shape, f"✗ {name}: shape {mine.shape} vs {reference.shape}"
    good = np.isclose(mine, reference, rtol=0, atol=tolerance, equal_nan=True)
    if mine.ndim == 0:
        exact = float(mine).is_integer() and float(reference).is_integer()
        texts = [_rounded(x, 0 if exact else decimals) for x in (mine, reference)]
        assert good, f"✗ {name}: {texts[0]} vs {texts[1]}, tolerance {tolerance:g}"
        return f"✓ {name}: {texts[0]} vs {texts[1]}"
    if not good.all():
        worst = np.unravel_index(np.nanargmax(np.where(good, -1, np.abs(mine - reference))), mine.shape)
        raise AssertionError(
            f"✗ {name}: {mine[worst]:g} vs {reference[worst]:g} at {tuple(map(int, worst))}, "
            f"{int((~good).sum())} of {good.size} differ by more than {tolerance:g}"
        )
    shape = "x".join(map(str, mine.shape))
    return f"✓ {name}: {shape} values vs reference, all " + (f"within {tolerance:g}" if tolerance else "equal")


def _keep(line: str) -> None:
    """Store a line in the notebook's file without showing it; print it outside a notebook."""
    try:
        from IPython import get_ipython
        from IPython.display import display
    except ImportError:
        print(line)
        return
    if getattr(get_ipython(), "kernel", None) is None:
        print(line)
    else:
        display({UNSEEN: line}, raw=True)


def digest_line(name: str, values: Iterable[float], decimals: int = 2) -> None:
    """Store a line that is not shown with a summary of the data behind a figure: count, missing values, mean, standard
    deviation, range, first and last value.

    nbval compares no images, so this line is what differs when the plotted numbers change. Choose `decimals` so that
    the line is the same on another processor.
    """
    array = _array(values).ravel()
    known = array[np.isfinite(array)]
    if not known.size:
        _keep(f"{name}: n={array.size}, no finite value")
        return
    parts = {
        "mean": known.mean(),
        "sd": known.std(),
        "min": known.min(),
        "max": known.max(),
        "first": known[0],
        "last": known[-1],
    }
    missing = f" ({array.size - known.size} missing)" if known.size < array.size else ""
    assert all(map(math.isfinite, parts.values()))
    _keep(f"{name}: n={array.size}{missing}, " + ", ".join(f"{k} {_rounded(v, decimals)}" for k, v in parts.items()))
