"""Readers of sequences of features or joints over time, from untrusted `.npy`, `.npz`, `.csv` and `.txt` files.

The size of an array is checked before it is unpacked, and its content must have the size that the header claims.
"""

import math
import stat
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO

import numpy as np
import torch
from torch import Tensor

from sapnet_core.datasets.annotation_pickles import AnnotationError
from sapnet_core.datasets.gaps import filled, first_gap
from sapnet_core.datasets.number_tables import read_numbers
from sapnet_core.runtime.archives import opened_archive
from sapnet_core.runtime.file_kinds import found_at

__all__ = ["SEQUENCES", "TEXTS", "is_sequence_file", "read_sequence", "sequence_shape"]

SEQUENCES = (".npy", ".npz", ".csv", ".txt")
TEXTS = (".csv", ".txt")  # of these, which hold numbers as text
LIMIT = 2**30  # maximum bytes of memory for reading a sequence: content, float32 values, and the check of these
SHOWN = 80  # maximum characters of a shape or a type in a message
GAP_REMEDY = "fill in or remove such time steps before saving, or write fill in the column missing of records.csv"
RATIO = 200  # maximum ratio of unpacked to packed bytes; features and joints seldom exceed 10


def is_sequence_file(path: str) -> bool:
    """Whether a path has the extension of a sequence."""
    return path.lower().endswith(SEQUENCES)


def sequence_shape(path: Path | str, fill: bool = False) -> tuple[int, int]:
    """(T, C) of a sequence file; for arrays, only the header is read. Raises AnnotationError as `read_sequence`."""
    path = Path(path)
    if path.suffix.lower() in TEXTS:
        return tuple(read_sequence(path, fill).shape)
    with _opened(path) as file:
        shape = _header(path, file)[0]
    return shape[0], math.prod(shape[1:])


def read_sequence(path: Path | str, fill: bool = False) -> Tensor:
    """A sequence of features or joints over time, (T, C) float32.

    The file is a `.npy`, a `.npz` (with one array, or one named "features"), or text (`number_tables.read_numbers`).
    Joints (T, J, d) with d = 2 or 3 become (T, J * d). The size that a file claims is checked before it is unpacked.

    Args:
        path: the file.
        fill: interpolate missing values over time (`gaps.filled`) instead of refusing the file.

    Raises:
        AnnotationError: the file is missing, damaged or of another kind; holds objects or text; holds values that are
            not finite, and `fill` is off or a column has no other values; has another number of dimensions; is empty;
            needs more memory than `LIMIT`; or is compressed by more than the factor `RATIO`.
    """
    path = Path(path)
    if path.suffix.lower() in TEXTS:
        _checked(path)
        values = read_numbers(path, missing=fill)
    else:
        with _opened(path) as file:
            shape, order, kind = _header(path, file)
            size = math.prod(shape) * kind.itemsize
            try:
                content = file.read(size + 1)
            except Exception as error:  # a damaged archive can raise any exception
                raise AnnotationError(f"{path}: damaged ({_reason(error)}): save the array again") from None
        if len(content) != size:
            fault = "cut short" if len(content) < size else "longer than its header says"
            raise AnnotationError(f"{path}: {fault}: save the array again")
        values = np.frombuffer(content, kind).reshape(shape, order=order).reshape(shape[0], -1)
    with np.errstate(over="ignore"):
        values = np.array(values, dtype=np.float32, order="C")
    if gap := first_gap(values):
        if not fill:
            raise AnnotationError(f"{path}: value {gap[1]} of step {gap[0]} is not finite: {GAP_REMEDY}")
        try:
            values = filled(values).astype(np.float32)
        except ValueError as error:
            raise AnnotationError(f"{path}: {error}: remove that column, or the row of this file") from None
    return torch.from_numpy(values)


def _checked(path: Path) -> None:
    """Check that a path leads to a regular file of at most `LIMIT` bytes, not to a pipe or device.

    Raises:
        AnnotationError: it does not.
    """
    try:
        status = path.stat()
    except OSError:
        status = None
    if status is None or not stat.S_ISREG(status.st_mode):
        found = found_at(path)
        raise AnnotationError(f"{path}: {f'is {found}' if found else 'no such file'}: check its name")
    if status.st_size > LIMIT:
        raise AnnotationError(f"{path}: has {status.st_size >> 20} MiB, the limit is {LIMIT >> 20}: split it")


@contextmanager
def _opened(path: Path) -> Iterator[BinaryIO]:
    """Open the content of a `.npy` file, or of the array in a `.npz` file, as a stream. Raises AnnotationError."""
    _checked(path)
    if path.suffix.lower() != ".npz":
        with path.open("rb") as file:
            yield file
        return
    try:
        with opened_archive(path) as archive, archive.open(_array_entry(path, archive)) as file:
            yield file
    except AnnotationError:
        raise
    except Exception as error:
        raise AnnotationError(f"{path}: incomplete or damaged npz file ({_reason(error)}): save it again") from None


def _array_entry(path: Path, archive: zipfile.ZipFile) -> zipfile.ZipInfo:
    """The entry of the only array in a `.npz` file, or of the one named "features".

    Raises:
        AnnotationError: there is no such entry, the archive exceeds `LIMIT` or `RATIO`, or the entry is compressed by
            a method that NumPy does not use.
    """
    entries = archive.infolist()
    claimed = sum(entry.file_size for entry in entries)
    packed = min(sum(entry.compress_size for entry in entries), path.stat().st_size)
    if claimed > LIMIT or claimed > RATIO * packed:
        fault = f"{path.stat().st_size} bytes that unpack to {claimed / 2**20:.1f} MiB"
        raise AnnotationError(f"{path}: refused, {fault}: save it by numpy.save, or split it")
    named = [entry for entry in entries if entry.filename == "features.npy"] or entries
    if len(named) != 1:
        names = ", ".join(ascii(entry.filename[:40])[1:-1] for entry in entries[:5]) or "none"
        raise AnnotationError(f"{path}: holds {len(entries)} arrays ({names}): keep one, or name one 'features'")
    if named[0].compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):
        raise AnnotationError(
            f"{path}: compressed by another method than NumPy's: save it with numpy.savez or numpy.savez_compressed"
        )
    return named[0]


def _reason(error: Exception) -> str:
    """Type and message of a library's error, short and on one line."""
    return f"{type(error).__name__}: {error}".splitlines()[0][:100]


def _header(path: Path, file: BinaryIO) -> tuple[tuple[int, ...], str, np.dtype]:
    """Shape, order ("C" or "F") and dtype of the array in an open stream, which is left at the array's first value.

    Raises:
        AnnotationError: the stream has no array of numbers, or one with an unsuitable shape or beyond `LIMIT`.
    """
    read = {(1, 0): np.lib.format.read_array_header_1_0, (2, 0): np.lib.format.read_array_header_2_0}
    try:
        shape, fortran, kind = read[np.lib.format.read_magic(file)](file)
    except Exception as error:  # a damaged header can raise any exception
        raise AnnotationError(f"{path}: not a NumPy array ({_reason(error)}): save it with numpy.save") from None
    if kind.kind not in "fiub":
        what = "objects, which could run code," if kind.hasobject else f"{f'{kind}'[:SHOWN]} values"
        raise AnnotationError(f"{path}: refused, it holds {what} instead of numbers: save an array of floats")
    joints = len(shape) == 3 and shape[2] in (2, 3)
    if not (joints or len(shape) == 2) or not all(shape) or min(shape) < 0:
        sizes = " x ".join(map(str, shape))[:SHOWN] or "a single number"
        raise AnnotationError(f"{path}: its shape is {sizes}: save an array (time, features) or (time, joints, 2 or 3)")
    turned = kind.itemsize if joints and fortran else 0
    taken = math.prod(shape) * (kind.itemsize + turned + 5)  # bytes of content, reordered copy, float32 and bool mask
    if taken > LIMIT:
        fault = f"would take {min(taken >> 20, 2**40)} MiB, the limit is {LIMIT >> 20}"
        raise AnnotationError(f"{path}: {fault}: split it")
    return shape, "F" if fortran else "C", kind
