"""Sequences of features or joints over time: `.npy`, `.npz` and `.csv` files that come from anywhere.

No array is unpacked before its size is known, and no file is believed to hold what its header claims.
"""

import math
import stat
import zipfile
import zlib
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from sapnet_core.data.number_tables import read_numbers
from sapnet_core.data.unpickle import AnnotationError
from sapnet_core.file_kinds import found_at

__all__ = ["SEQUENCES", "read_sequence", "sequence_shape"]

SEQUENCES = (".npy", ".npz", ".csv")
LIMIT = 2**30  # bytes that reading a sequence may take: its content, its numbers as float32, and their check
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
            except (zipfile.BadZipFile, zlib.error, EOFError, OSError) as error:
                reason = str(error).splitlines()[0][:100]
                raise AnnotationError(f"{path}: damaged ({reason}): save the array anew") from None
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


def _opened(path: Path):
    """The stream of a `.npy` file's content, or of the array in a `.npz` file."""
    _checked(path)
    if path.suffix.lower() != ".npz":
        return path.open("rb")
    try:
        archive = zipfile.ZipFile(path)
        entries = archive.infolist()
    except (zipfile.BadZipFile, ValueError, OSError, NotImplementedError) as error:
        reason = str(error).splitlines()[0][:100]
        raise AnnotationError(f"{path}: no whole npz file ({reason}): save it anew") from None
    claimed = sum(entry.file_size for entry in entries)
    packed = max(sum(entry.compress_size for entry in entries), 1)
    if claimed > LIMIT or claimed / packed > RATIO:
        fault = f"{path.stat().st_size} bytes that unpack to {claimed / 2**20:.1f} MiB"
        raise AnnotationError(f"{path}: refused, {fault}: save it by numpy.save, or split it")
    named = [entry for entry in entries if entry.filename == "features.npy"] or entries
    if len(named) != 1:
        names = ", ".join(ascii(entry.filename[:40])[1:-1] for entry in entries[:5]) or "none"
        raise AnnotationError(f"{path}: holds {len(entries)} arrays ({names}): keep one, or name one 'features'")
    try:
        return archive.open(named[0])
    except (zipfile.BadZipFile, RuntimeError, NotImplementedError, OSError) as error:
        reason = str(error).splitlines()[0][:100]
        raise AnnotationError(f"{path}: no whole npz file ({reason}): save it anew") from None


def _header(path: Path, file) -> tuple[tuple[int, ...], str, np.dtype]:
    """Shape, order ("C" or "F") and type of the array in an open stream, which then stands at its numbers."""
    read = {(1, 0): np.lib.format.read_array_header_1_0, (2, 0): np.lib.format.read_array_header_2_0}
    try:
        shape, fortran, kind = read[np.lib.format.read_magic(file)](file)
    except Exception as error:  # a damaged header can fail in any way that Python knows
        reason = f"{type(error).__name__}: {error}".splitlines()[0][:100]
        raise AnnotationError(f"{path}: no NumPy array ({reason}): save it by numpy.save") from None
    if kind.kind not in "fiub":
        what = "objects, which could run code," if kind.hasobject else f"{kind} values"
        raise AnnotationError(f"{path}: refused, it holds {what} instead of numbers: save an array of floats")
    joints = len(shape) == 3 and shape[2] in (2, 3)
    if not (joints or len(shape) == 2) or not all(shape) or min(shape) < 0:
        sizes = " x ".join(map(str, shape)) or "a single number"
        raise AnnotationError(f"{path}: its shape is {sizes}: save (time, features) or (time, joints, 2 or 3)")
    taken = math.prod(shape) * (kind.itemsize + 5)  # its bytes, four for a float32, one for the check that it is finite
    if taken > LIMIT:
        raise AnnotationError(f"{path}: would take {taken / 2**20:.0f} MiB, the limit is {LIMIT >> 20}: split it")
    return shape, "F" if fortran else "C", kind
