"""Single values from annotation files, each taken for what it should be; anything else is a `Fault` of one sentence.

Whoever reads the file knows its name and the key, and puts both before the sentence.
"""

import math
import reprlib
from collections.abc import Sequence

import numpy as np

__all__ = ["FRAMES", "Fault", "field", "items", "name_of", "number_of", "shown", "text_of", "whole_of"]

LARGEST = 1e4  # points of any score
FRAMES = 10**9  # number of a frame; at 25 a second more than a year
LENGTH = 200  # letters of a name, which is part of a path

_short = reprlib.Repr()
_short.maxstring = _short.maxother = 60
_short.maxtuple = _short.maxlist = _short.maxset = _short.maxdict = 4


class Fault(ValueError):
    """What is wrong with a value."""


def shown(value: object) -> str:
    """A value as a message shows it: short, and one line."""
    if isinstance(value, np.ndarray) and value.ndim:
        return f"an array of {' x '.join(map(str, value.shape))} {value.dtype.name[:20]}"
    if isinstance(value, int) and value.bit_length() > 200:
        return f"a number of {value.bit_length()} bits"
    text = " ".join(_short.repr(_plain(value)).split())
    return text if text.isprintable() else ascii(text)[1:-1]


def field(entry: object, name: str) -> object:
    """A field of an entry, which must be a dict."""
    if not isinstance(entry, dict):
        raise Fault(f"is {shown(entry)}, not a dict of fields")
    if name not in entry:
        raise Fault(f"no field {name!r}")
    return entry[name]


def _plain(value: object) -> object:
    """NumPy's single numbers as Python's."""
    return value.item() if isinstance(value, np.generic | np.ndarray) and not value.ndim else value


def number_of(value: object, name: str, positive: bool = False) -> float:
    """A number of points, from 0 on (or above 0) and finite; text is none, even where it could be read as one."""
    if type(value) is float and 0 < value < LARGEST:  # nearly all are
        return value
    value = _plain(value)
    number = math.nan
    if isinstance(value, int | float) and not isinstance(value, bool) and abs(value) < LARGEST:
        number = float(value)
    if not number >= 0 or (positive and number == 0):
        raise Fault(f"{name} is {shown(value)}, not a number {'above' if positive else 'of points from'} 0")
    return number


def whole_of(value: object, name: str, least: int = 0) -> int:
    """A whole number such as a frame's, `least` to `FRAMES`; 3.0 is one."""
    value = _plain(value)
    is_number = isinstance(value, int | float) and not isinstance(value, bool)
    if not (is_number and least <= value <= FRAMES and value == int(value)):
        raise Fault(f"{name} is {shown(value)}, not a whole number from {least} to {FRAMES}")
    return int(value)


def text_of(value: object, name: str, length: int = LENGTH) -> str:
    """Printable text that is not empty."""
    if not isinstance(value, str) or not value.strip() or not value.isprintable() or len(value) > length:
        raise Fault(f"{name} is {shown(value)}, not a short text")
    return str(value)


def name_of(value: object, name: str) -> str:
    """A text that can be the name of a file or folder, and leads nowhere else on any system."""
    text = text_of(value, name)
    if text in (".", "..") or any(c in text for c in "/\\:") or len(text.encode()) > LENGTH:
        raise Fault(f"{name} {shown(text)} is no name of a folder, and could lead out of the data")
    return text


def items(value: object, name: str) -> Sequence:
    """The members of a list, a tuple or an array of one dimension."""
    if isinstance(value, np.ndarray) and value.ndim == 1:
        return value.tolist()
    if not isinstance(value, list | tuple):
        raise Fault(f"{name} is {shown(value)}, not a list")
    return value
