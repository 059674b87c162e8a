"""A reader of annotation pickles that builds only NumPy arrays, NumPy scalars and plain containers.

NumPy fills types and arrays with whatever bytes a pickle holds, and a forged type makes it use these bytes as pointers.
Each NumPy type is therefore built from a name that matches `PLAIN_TYPE`, and each array is checked before NumPy
receives its content. `restricted_pickle.Machine` runs the pickle itself.
"""

import math
import re
import stat
from pathlib import Path

import numpy as np

from sapnet_core.runtime.file_kinds import printable
from sapnet_core.runtime.restricted_pickle import Machine, Refused, key, word

__all__ = ["FUNCTIONS", "STATES", "AnnotationError", "read_pickle"]

LARGEST = 64 * 2**20  # maximum bytes of a file; the largest official file has 3.5 million
PLAIN = (str, bytes, int, float, np.number, np.bool, np.str_, type(None))  # types allowed in an array of objects
PLAIN_TYPE = re.compile(r"[<>|=]?(?:b1|[iu][1248]|f(?:2|4|8)|[SU][1-9]\d{0,6}|O8?|\?|[bBhHiIlLqQefd])")


class AnnotationError(ValueError):
    """An annotation file is missing, damaged, malicious or has another schema than the official files.

    The message is one line with the file, the key and the remedy.
    """

    def __init__(self, message: str):
        super().__init__(printable(message))


# ---- the functions that replace those a pickle may name -------------------------------------------------------------
class _Type:
    """A NumPy type as a pickle describes it: a plain name, and a byte order, which a later instruction may set."""

    def __init__(self, name: str):
        self.name, self.order = name, ""

    def dtype(self) -> np.dtype:
        kind = np.dtype(self.name)
        return kind.newbyteorder(self.order) if self.order else kind


def _plain_type(name: object, align: object = False, copy: object = True) -> _Type:
    """Replaces `numpy.dtype(name, align, copy)`; allows numbers, text of fixed width, and objects."""
    if not (isinstance(name, str) and PLAIN_TYPE.fullmatch(name)):
        raise Refused(f"holds the NumPy type {word(name)}, but labels need only numbers and text")
    return _Type(name)


def _set_type(kind: _Type, state: object) -> None:
    """Set the state of a NumPy type. Only the byte order is used; NumPy itself would accept more."""
    order = state[1] if isinstance(state, tuple) and len(state) >= 2 else None
    if not (isinstance(order, str) and order in ("<", ">", "|", "=")):
        raise Refused("holds a NumPy type with an invalid state")
    if any(part is not None for part in state[2:5]):
        raise Refused("holds a NumPy type with fields, but labels need only numbers and text")
    kind.order = "" if order in "|=" else order


def _empty_array(kind: object, shape: object, code: object) -> np.ndarray:
    """Replaces NumPy's `_reconstruct`: an empty array, which `_set_array` fills later."""
    if kind is not NDARRAY:
        raise Refused("asks for an array class other than NumPy's own")
    return np.empty(0, np.int8)


def _sized(shape: object, kind: object) -> tuple[np.dtype, int]:
    """The type of an array, and the number of values that an array of this shape has."""
    if not (isinstance(kind, _Type) and isinstance(shape, tuple) and len(shape) <= 32):
        raise Refused("holds an array without a valid type or shape")
    if not all(type(size) is int and 0 <= size < 2**40 for size in shape):
        raise Refused("holds an array with an invalid shape")
    return kind.dtype(), math.prod(shape)


def _check_content(dtype: np.dtype, count: int, content: object) -> None:
    """Check that bytes have the size of `count` values of a type, and that each of them is a valid value."""
    if not isinstance(content, bytes | bytearray) or dtype.hasobject or len(content) != count * dtype.itemsize:
        raise Refused("holds an array whose content does not have the size of its shape")
    if dtype.kind == "b" and content.strip(b"\0\1"):
        raise Refused("holds boolean values other than true and false")
    if dtype.kind == "U":
        code = "utf-32-be" if dtype.str.startswith(">") else "utf-32-le"
        str(content, code, "surrogatepass")  # raises where a number is no valid code point


def _set_array(array: np.ndarray, state: object) -> None:
    """Set the state of an array from `_empty_array`: shape, type, order and content, which must agree exactly."""
    if not (isinstance(state, tuple) and len(state) == 5):
        raise Refused("holds an array without content")
    _, shape, kind, fortran, content = state
    dtype, count = _sized(shape, kind)
    if dtype.hasobject:  # containers are refused, since freeing deeply nested arrays is recursive
        plain = isinstance(content, list) and all(isinstance(value, PLAIN) for value in content)
        if not plain or len(content) != count:
            raise Refused("holds an array of objects with values other than text and numbers, or too few or too many")
        content = list(content)
    else:
        _check_content(dtype, count, content)
        content = bytes(content)
    array.__setstate__((1, shape, dtype, bool(fortran), content))


def _scalar(kind: object, content: object) -> np.generic:
    dtype, count = _sized((), kind)
    _check_content(dtype, count, content)
    return np.frombuffer(content, dtype)[0]


def _from_buffer(content: object, kind: object, shape: object, order: object) -> np.ndarray:
    dtype, count = _sized(shape, kind)
    _check_content(dtype, count, content)
    if not (isinstance(order, str) and order in ("C", "F")):
        raise Refused("holds an array with an unknown memory order")
    return np.frombuffer(content, dtype).reshape(shape, order=order).copy(order)


def _encoded(text: object, code: object) -> bytes:
    """Replaces `_codecs.encode`: pickles of protocol 2 hold bytes as text in Latin-1."""
    if not (isinstance(text, str) and code in ("latin1", "latin-1")):
        raise Refused("encodes something other than bytes")
    return text.encode("latin-1")


def _set(members: object = ()) -> set:
    if not isinstance(members, list | tuple):
        raise Refused("makes a set from something other than a list")
    return {key(member) for member in members}


NDARRAY = object()  # a placeholder for the class numpy.ndarray, which a pickle may name but not call
FUNCTIONS = {
    ("numpy", "dtype"): _plain_type,
    ("numpy", "ndarray"): NDARRAY,
    ("_codecs", "encode"): _encoded,
}
for _core in ("numpy.core", "numpy._core"):  # numpy 1 and numpy 2
    FUNCTIONS[f"{_core}.multiarray", "_reconstruct"] = _empty_array
    FUNCTIONS[f"{_core}.multiarray", "scalar"] = _scalar
    FUNCTIONS[f"{_core}.numeric", "_frombuffer"] = _from_buffer
for _module in ("builtins", "__builtin__"):  # pickle protocols before 4 write sets by these names
    FUNCTIONS[_module, "set"] = _set
    FUNCTIONS[_module, "frozenset"] = lambda members=(): frozenset(_set(members))
STATES = {_Type: _set_type, np.ndarray: _set_array}


def read_pickle(path: Path | str, source: str = "where it was published"):
    """The object in a pickle of lists, tuples, dicts, sets, text, numbers, and NumPy arrays and scalars of these.

    Memory use stays below four times the size of the file, or below 1 GB.

    Args:
        path: the file.
        source: where the user can download an intact copy; the error message names it.

    Raises:
        AnnotationError: the file is missing, is not a regular file, is not a complete pickle, or contains something
            that labels do not need.
    """
    path = Path(path)
    try:
        if not stat.S_ISREG(path.stat().st_mode):
            raise AnnotationError(f"{path}: not a regular file: download it from {source}")
        with path.open("rb") as file:
            content = file.read(LARGEST + 1)
        if len(content) > LARGEST:
            raise AnnotationError(f"{path}: larger than {LARGEST >> 20} MiB: download the file again from {source}")
    except FileNotFoundError:
        raise AnnotationError(f"{path}: no such file: download it from {source}") from None
    except OSError as error:
        raise AnnotationError(f"{path}: cannot be read ({error.strerror}): download it again from {source}") from None
    try:
        return Machine(content, FUNCTIONS, STATES).run()
    except Refused as error:
        raise AnnotationError(f"{path}: refused, it {error}: download the file anew from {source}") from None
    except Exception as error:  # a damaged pickle can raise any exception
        reason = f"{type(error).__name__}: {error}".splitlines()[0][:120]
        raise AnnotationError(
            f"{path}: incomplete or damaged pickle ({reason}): download it again from {source}"
        ) from None
