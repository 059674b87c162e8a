"""Sequences of features or joints over time: `.npy`, `.npz` and `.csv` files that come from anywhere.

No array is unpacked before its size is known, and no file is believed to hold what its header claims.
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
from sapnet_core.datasets.number_tables import read_numbers
from sapnet_core.runtime.archives import opened_archive
from sapnet_core.runtime.file_kinds import found_at

__all__ = ["SEQUENCES", "read_sequence", "sequence_shape"]

SEQUENCES = (".npy", ".npz", ".csv")
LIMIT = 2**30  # bytes that reading a sequence may take: its content, its numbers as float32, and their check
SHOWN = 80  # signs of a shape or a type in a message
RATIO = 200  # unpacked over packed bytes; features and joints seldom pass 10


def sequence_shape(path: Path | str) -> tuple[int, int]:
    """(T, C) of a sequence file, for arrays from their header alone. Raises AnnotationError as `read_sequence`."""
    path = Path(path)
    if path.suffix.lower() == ".csv":
        return tuple(read_sequence(path).shape)
    with _opened(path) as file:
        shape = _header(path, file)[0]
    return shape[0], math.prod(shape[1:])


def read_sequence(path: Path | str) -> Tensor:
    """A sequence of features or joints over time, (T, C) float32.

    `.npy`, `.npz` (one array, or one named "features") and `.csv` (`number_tables.read_numbers`). Joints
    (T, J, 2 or 3) become (T, J * d). What a file claims to hold is checked before it is unpacked.

    Raises:
        AnnotationError: the file is missing, torn or of another kind; holds objects, text or numbers that are not
            finite; has another number of dimensions; is empty; or is larger than `LIMIT` or packed tighter than
            `RATIO`.
    """
    path = Path(path)
    if path.suffix.lower() == ".csv":
        _checked(path)
        values = read_numbers(path)
    else:
        with _opened(path) as file:
            shape, order, kind = _header(path, file)
            size = math.prod(shape) * kind.itemsize
            try:
                content = file.read(size + 1)
            except Exception as error:  # a damaged archive can fail in any way that Python knows
                raise AnnotationError(f"{path}: damaged ({_reason(error)}): save the array anew") from None
        if len(content) != size:
            fault = "cut short" if len(content) < size else "longer than its header says"
            raise AnnotationError(f"{path}: {fault}: save the array anew")
        values = np.frombuffer(content, kind).reshape(shape, order=order).reshape(shape[0], -1)
    with np.errstate(over="ignore"):
        values = np.array(values, dtype=np.float32, order="C")
    finite = np.isfinite(values)
    if not finite.all():
        step, column = np.unravel_index(finite.argmin(), finite.shape)
        fault = f"value {column} of step {step} is not finite"
        raise AnnotationError(f"{path}: {fault}: fill or cut such steps before saving")
    return torch.from_numpy(values)


def _checked(path: Path) -> None:
    """That a path leads to a regular file, which can be read to its end, and not to a pipe or device."""
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
    """The stream of a `.npy` file's content, or of the array in a `.npz` file."""
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
        raise AnnotationError(f"{path}: no whole npz file ({_reason(error)}): save it anew") from None


def _array_entry(path: Path, archive: zipfile.ZipFile) -> zipfile.ZipInfo:
    """The one array of a `.npz` file, or that named "features", packed as NumPy packs and not tighter than `RATIO`."""
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
        raise AnnotationError(f"{path}: packed as numpy does not: save it by numpy.savez or numpy.savez_compressed")
    return named[0]


def _reason(error: Exception) -> str:
    """What a library says of a file, short and on one line."""
    return f"{type(error).__name__}: {error}".splitlines()[0][:100]


def _header(path: Path, file: BinaryIO) -> tuple[tuple[int, ...], str, np.dtype]:
    """Shape, order ("C" or "F") and type of the array in an open stream, which then stands at its numbers."""
    read = {(1, 0): np.lib.format.read_array_header_1_0, (2, 0): np.lib.format.read_array_header_2_0}
    try:
        shape, fortran, kind = read[np.lib.format.read_magic(file)](file)
    except Exception as error:  # a damaged header can fail in any way that Python knows
        raise AnnotationError(f"{path}: no NumPy array ({_reason(error)}): save it by numpy.save") from None
    if kind.kind not in "fiub":
        what = "objects, which could run code," if kind.hasobject else f"{f'{kind}'[:SHOWN]} values"
        raise AnnotationError(f"{path}: refused, it holds {what} instead of numbers: save an array of floats")
    joints = len(shape) == 3 and shape[2] in (2, 3)
    if not (joints or len(shape) == 2) or not all(shape) or min(shape) < 0:
        sizes = " x ".join(map(str, shape))[:SHOWN] or "a single number"
        raise AnnotationError(f"{path}: its shape is {sizes}: save (time, features) or (time, joints, 2 or 3)")
    turned = kind.itemsize if joints and fortran else 0
    taken = math.prod(shape) * (kind.itemsize + turned + 5)  # read, put in order, as float32, and whether it is finite
    if taken > LIMIT:
        fault = f"would take {min(taken >> 20, 2**40)} MiB, the limit is {LIMIT >> 20}"
        raise AnnotationError(f"{path}: {fault}: split it")
    return shape, "F" if fortran else "C", kind
