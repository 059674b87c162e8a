"""A reader for annotation pickles that builds numpy arrays, numpy scalars and plain containers, and nothing else.

numpy fills types and arrays with whatever bytes a pickle holds, and a forged type turns these bytes into pointers. So
each numpy type is built from a short plain name, and each array is checked before numpy sees it; all else is the work
of `restricted_pickle.Machine`.
"""

import math
import re
import stat
from pathlib import Path

import numpy as np

from sapnet_core.file_kinds import printable
from sapnet_core.restricted_pickle import Machine, Refused, key, word

__all__ = ["AnnotationError", "read_pickle"]

LARGEST = 128 * 2**20  # bytes of a file; the largest official one has 3.5 million
PLAIN_TYPE = re.compile(r"[<>|=]?(?:b1|[iu][1248]|f(?:2|4|8)|c(?:8|16)|[SU][1-9]\d{0,6}|O8?|\?|[bBhHiIlLqQefdFD])")


class AnnotationError(ValueError):
    """An annotation file is missing, torn, hostile or not of the official schema. One line: file, key, remedy."""

    def __init__(self, message: str):
        super().__init__(printable(message))


# ---- what a pickle may name, and what that does here ----------------------------------------------------------------
class _Type:
    """A numpy type as a pickle describes it: a plain name, and a byte order that may come later."""

    def __init__(self, name: str):
        self.name, self.order = name, ""

    def dtype(self) -> np.dtype:
        kind = np.dtype(self.name)
        return kind.newbyteorder(self.order) if self.order else kind


def _plain_type(name: object, align: object = False, copy: object = True) -> _Type:
    """`numpy.dtype(name, align, copy)` for a type of numbers, text of fixed width, or objects."""
    if not (isinstance(name, str) and PLAIN_TYPE.fullmatch(name)):
        raise Refused(f"holds a numpy type {word(name)}, and labels need numbers and text")
    return _Type(name)


def _set_type(kind: _Type, state: object) -> None:
    """What follows a numpy type in a pickle: of all that numpy would take from it, the byte order alone is taken."""
    order = state[1] if isinstance(state, tuple) and len(state) >= 2 else None
    if not (isinstance(order, str) and order in ("<", ">", "|", "=")):
        raise Refused("holds a numpy type with a state that is none")
    if any(part is not None for part in state[2:5]):
        raise Refused("holds a numpy type with fields or parts, and labels need numbers and text")
    kind.order = "" if order in "|=" else order


def _empty_array(kind: object, shape: object, code: object) -> np.ndarray:
    """`numpy._reconstruct`: an array that its state fills later."""
    if kind is not NDARRAY:
        raise Refused("wants an array of another class than numpy's own")
    return np.empty(0, np.int8)


def _sized(shape: object, kind: object) -> tuple[tuple[int, ...], np.dtype, int]:
    """A checked shape, the type, and how many values there are."""
    if not (isinstance(kind, _Type) and isinstance(shape, tuple) and len(shape) <= 32):
        raise Refused("holds an array without a type or a shape")
    if not all(type(size) is int and 0 <= size < 2**40 for size in shape):
        raise Refused("holds an array whose shape is none")
    return shape, kind.dtype(), math.prod(shape)


def _set_array(array: np.ndarray, state: object) -> None:
    """What follows `_empty_array`: shape, type, order and content, which must fit each other exactly."""
    if not (isinstance(state, tuple) and len(state) == 5):
        raise Refused("holds an array without content")
    _, shape, kind, fortran, content = state
    shape, dtype, count = _sized(shape, kind)
    if dtype.hasobject:
        fits = isinstance(content, list) and len(content) == count
        content = list(content) if fits else content
    else:
        fits = isinstance(content, bytes) and len(content) == count * dtype.itemsize
    if not fits:
        raise Refused("holds an array with content of another size")
    array.__setstate__((1, shape, dtype, bool(fortran), content))


def _scalar(kind: object, content: object) -> np.generic:
    _, dtype, _ = _sized((), kind)
    if dtype.hasobject or not isinstance(content, bytes) or len(content) != dtype.itemsize:
        raise Refused("holds a numpy number with content of another size")
    return np.frombuffer(content, dtype)[0]


def _from_buffer(content: object, kind: object, shape: object, order: object) -> np.ndarray:
    shape, dtype, count = _sized(shape, kind)
    fits = isinstance(content, bytes | bytearray) and len(content) == count * dtype.itemsize
    if dtype.hasobject or not fits or order not in ("C", "F"):
        raise Refused("holds an array with content of another size")
    return np.frombuffer(content, dtype).reshape(shape, order=order).copy(order)


def _set(members: object = ()) -> set:
    if not isinstance(members, list | tuple):
        raise Refused("makes a set of something else than a list")
    return {key(member) for member in members}


def _bytearray(content: object = b"") -> bytearray:
    if not isinstance(content, bytes):
        raise Refused("makes a bytearray of something else than bytes")
    return bytearray(content)


def _complex(real: object, imaginary: object) -> complex:
    if not (isinstance(real, float) and isinstance(imaginary, float)):
        raise Refused("makes a complex number of something else than two numbers")
    return complex(real, imaginary)


NDARRAY = object()  # stands for the class numpy.ndarray, which nothing here may call
FUNCTIONS = {("numpy", "dtype"): _plain_type, ("numpy", "ndarray"): NDARRAY}
for _core in ("numpy.core", "numpy._core"):  # numpy 1 and numpy 2
    FUNCTIONS[f"{_core}.multiarray", "_reconstruct"] = _empty_array
    FUNCTIONS[f"{_core}.multiarray", "scalar"] = _scalar
    FUNCTIONS[f"{_core}.numeric", "_frombuffer"] = _from_buffer
for _module in ("builtins", "__builtin__"):
    FUNCTIONS[_module, "set"] = _set
    FUNCTIONS[_module, "frozenset"] = lambda members=(): frozenset(_set(members))
    FUNCTIONS[_module, "bytearray"] = _bytearray
    FUNCTIONS[_module, "complex"] = _complex
STATES = {_Type: _set_type, np.ndarray: _set_array}


def read_pickle(path: Path | str, source: str = "where it was published"):
    """The object in a pickle of numpy arrays, numpy scalars and builtin containers.

    Memory in use stays below four times the file, or below 1 GB.

    Args:
        path: the file.
        source: where the user gets a good copy; named in the error.

    Raises:
        AnnotationError: the file is missing or no regular file, is no whole pickle, or wants anything that labels do
            not need.
    """
    path = Path(path)
    try:
        if not stat.S_ISREG(path.stat().st_mode):
            raise AnnotationError(f"{path}: no regular file: download it from {source}")
        if path.stat().st_size > LARGEST:
            raise AnnotationError(f"{path}: larger than {LARGEST >> 20} MiB: download the file anew from {source}")
        content = path.read_bytes()
    except FileNotFoundError:
        raise AnnotationError(f"{path}: no such file: download it from {source}") from None
    except OSError as error:
        raise AnnotationError(f"{path}: cannot be read ({error.strerror}): download it anew from {source}") from None
    try:
        return Machine(content, FUNCTIONS, STATES).run()
    except Refused as error:
        raise AnnotationError(f"{path}: refused, it {error}: download the file anew from {source}") from None
    except Exception as error:  # a damaged pickle can fail in any way that Python knows
        reason = f"{type(error).__name__}: {error}".splitlines()[0][:120]
        raise AnnotationError(f"{path}: no whole pickle ({reason}): download it anew from {source}") from None
