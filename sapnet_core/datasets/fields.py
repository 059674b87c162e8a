"""Checks of single values from annotation files; each check returns the value in its type or raises `Fault`.

The message of a `Fault` leaves out the file and the key, which the calling reader puts before it.
"""

import math
import reprlib
from collections.abc import Sequence

import numpy as np

__all__ = ["FRAMES", "Fault", "field", "items", "name_of", "number_of", "shown", "text_of", "whole_of"]

LARGEST = 1e4  # upper bound of a score in points
FRAMES = 10**9  # maximum number of a frame; at 25 frames a second, more than a year
LENGTH = 200  # maximum length of a name, in characters and in bytes, since it becomes part of a path

_short = reprlib.Repr()
_short.maxstring = _short.maxother = 60
_short.maxtuple = _short.maxlist = _short.maxset = _short.maxdict = 4


class Fault(ValueError):
    """A value from an annotation file is absent, or has another kind than expected."""


def shown(value: object) -> str:
    """A short form of a value, on one line, for an error message."""
    if isinstance(value, np.ndarray) and value.ndim:
        return f"an array of {' x '.join(map(str, value.shape))} {value.dtype.name[:20]}"
    if isinstance(value, int) and value.bit_length() > 200:
        return f"a number of {value.bit_length()} bits"
    text = " ".join(_short.repr(_plain(value)).split())
    return text if text.isprintable() else ascii(text)[1:-1]


def field(entry: object, name: str) -> object:
    """A field of an entry. Raises Fault where the entry is no dict or lacks the field."""
    if not isinstance(entry, dict):
        raise Fault(f"is {shown(entry)}, not a dict of fields")
    if name not in entry:
        raise Fault(f"no field {name!r}")
    return entry[name]


def _plain(value: object) -> object:
    """A NumPy scalar as the equivalent Python value; any other value unchanged."""
    return value.item() if isinstance(value, np.generic | np.ndarray) and not value.ndim else value


def number_of(value: object, name: str, positive: bool = False) -> float:
    """A finite number of points, at least 0 (or, with `positive`, above 0). Raises Fault, also for numeric text."""
    if type(value) is float and 0 < value < LARGEST:  # shortcut for nearly all values
        return value
    value = _plain(value)
    number = math.nan
    if isinstance(value, int | float) and not isinstance(value, bool) and abs(value) < LARGEST:
        number = float(value)
    if not number >= 0 or (positive and number == 0):
        raise Fault(f"{name} is {shown(value)}, not a number {'above' if positive else 'of at least'} 0")
    return number


def whole_of(value: object, name: str, least: int = 0) -> int:
    """A whole number from `least` to `FRAMES`, such as a frame number; the float 3.0 is accepted. Raises Fault."""
    value = _plain(value)
    is_number = isinstance(value, int | float) and not isinstance(value, bool)
    if not (is_number and least <= value <= FRAMES and value == int(value)):
        raise Fault(f"{name} is {shown(value)}, not a whole number from {least} to {FRAMES}")
    return int(value)


def text_of(value: object, name: str, length: int = LENGTH) -> str:
    """Printable text that is not blank, of at most `length` characters. Raises Fault."""
    if not isinstance(value, str) or not value.strip() or not value.isprintable() or len(value) > length:
        raise Fault(f"{name} is {shown(value)}, not a short text")
    return str(value)


def name_of(value: object, name: str) -> str:
    """A text that is safe as the name of a file or folder on any system. Raises Fault."""
    text = text_of(value, name)
    if text in (".", "..") or any(c in text for c in "/\\:") or len(text.encode()) > LENGTH:
        raise Fault(f"{name} {shown(text)} is not a safe name of a folder")
    return text


def items(value: object, name: str) -> Sequence:
    """The members of a list, a tuple or a one-dimensional array. Raises Fault."""
    if isinstance(value, np.ndarray) and value.ndim == 1:
        return value.tolist()
    if not isinstance(value, list | tuple):
        raise Fault(f"{name} is {shown(value)}, not a list")
    return value
