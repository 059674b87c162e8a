"""Arrays of numbers in untrusted `.npy` and `.npz` files.

The size of an array is checked before it is unpacked, and its content must have the size that the header claims.
"""

import math
import stat
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO, NamedTuple

import numpy as np

from sapnet_core.datasets.annotation_pickles import AnnotationError
from sapnet_core.runtime.archives import opened_archive
from sapnet_core.runtime.file_kinds import found_at

__all__ = ["LIMIT", "Header", "array_content", "array_header", "check_file", "entries_of", "opened_array", "reason"]

LIMIT = 2**30  # maximum bytes of memory for reading an array: content, float32 values, and the check of these
SHOWN = 80  # maximum characters of a shape or a type in a message
RATIO = 200  # maximum ratio of unpacked to packed bytes; features and joints seldom exceed 10
NUMBERS, TEXTS = "fiub", "US"  # kinds of NumPy types


class Header(NamedTuple):
    """Shape, order ("C" or "F") and dtype of an array, as the file claims them."""

    shape: tuple[int, ...]
    order: str
    kind: np.dtype

    def text(self) -> str:
        """The shape for a message."""
        return " x ".join(map(str, self.shape))[:SHOWN] or "a single number"


def check_file(path: Path, limit: int | None = None) -> None:
    """Check that a path leads to a regular file of at most `limit` bytes (`LIMIT` if None), not to a pipe or device.

    Raises:
        AnnotationError: it does not.
    """
    limit = LIMIT if limit is None else limit
    try:
        status = path.stat()
    except OSError:
        status = None
    if status is None or not stat.S_ISREG(status.st_mode):
        found = found_at(path)
        raise AnnotationError(f"{path}: {f'is {found}' if found else 'no such file'}: check its name")
    if status.st_size > limit:
        raise AnnotationError(f"{path}: has {status.st_size >> 20} MiB, the limit is {limit >> 20}: split it")


def entries_of(path: Path, archive: zipfile.ZipFile, limit: int | None = None) -> list[zipfile.ZipInfo]:
    """The entries of a `.npz` file.

    Raises:
        AnnotationError: they claim more than `limit` bytes (`LIMIT` if None) or more than `RATIO` times their size, or
            one is compressed by a method that NumPy does not use.
    """
    entries = archive.infolist()
    claimed = sum(entry.file_size for entry in entries)
    packed = min(sum(entry.compress_size for entry in entries), path.stat().st_size)
    if claimed > (LIMIT if limit is None else limit) or claimed > RATIO * packed:
        fault = f"{path.stat().st_size} bytes that unpack to {claimed / 2**20:.1f} MiB"
        raise AnnotationError(f"{path}: refused, {fault}: save it by numpy.save, or split it")
    if any(entry.compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED) for entry in entries):
        remedy = "save it with numpy.savez or numpy.savez_compressed"
        raise AnnotationError(f"{path}: compressed by another method than NumPy's: {remedy}")
    return entries


@contextmanager
def opened_array(path: Path) -> Iterator[BinaryIO]:
    """Open a `.npy` file, or the array of a `.npz` file: the only one, or the one named "features".

    Raises:
        AnnotationError: the path leads to no regular file, the file is too large or damaged, or there is no such array.
    """
    check_file(path)
    if path.suffix.lower() != ".npz":
        with path.open("rb") as file:
            yield file
        return
    with damage_told(path, "npz"), opened_archive(path) as archive:
        entries = entries_of(path, archive)
        named = [entry for entry in entries if entry.filename == "features.npy"] or entries
        if len(named) != 1:
            names = ", ".join(ascii(entry.filename[:40])[1:-1] for entry in entries[:5]) or "none"
            raise AnnotationError(f"{path}: holds {len(entries)} arrays ({names}): keep one, or name one 'features'")
        with archive.open(named[0]) as file:
            yield file


@contextmanager
def damage_told(path: Path, kind: str) -> Iterator[None]:
    """Turn any error within the block into an AnnotationError: a damaged archive can raise any exception."""
    try:
        yield
    except AnnotationError:
        raise
    except Exception as error:
        raise AnnotationError(f"{path}: incomplete or damaged {kind} file ({reason(error)}): save it again") from None


def reason(error: Exception) -> str:
    """Type and message of a library's error, short and on one line."""
    return f"{type(error).__name__}: {error}".splitlines()[0][:100]


def array_header(path: Path, file: BinaryIO, texts: bool = False) -> Header:
    """The header of the array in an open stream, which is left at the array's first value.

    Args:
        path: the file, for messages.
        file: the stream.
        texts: allow an array of text, too.

    Raises:
        AnnotationError: the stream has no array of numbers, a shape that is none, or an array beyond `LIMIT`.
    """
    read = {(1, 0): np.lib.format.read_array_header_1_0, (2, 0): np.lib.format.read_array_header_2_0}
    try:
        shape, fortran, kind = read[np.lib.format.read_magic(file)](file)
    except Exception as error:  # a damaged header can raise any exception
        raise AnnotationError(f"{path}: not a NumPy array ({reason(error)}): save it with numpy.save") from None
    if kind.kind not in NUMBERS + TEXTS * texts or kind.subdtype:
        what = "objects, which could run code," if kind.hasobject else f"{f'{kind}'[:SHOWN]} values"
        raise AnnotationError(f"{path}: refused, it holds {what} instead of numbers: save an array of floats")
    found = Header(shape, "F" if fortran else "C", kind)
    if any(size < 0 for size in shape):
        raise AnnotationError(f"{path}: its shape is {found.text()}: save the array again")
    turned = kind.itemsize if len(shape) > 2 and fortran else 0
    taken = math.prod(shape) * (kind.itemsize + turned + 5)  # bytes of content, reordered copy, float32 and bool mask
    if taken > LIMIT:
        fault = f"would take {min(taken >> 20, 2**40)} MiB, the limit is {LIMIT >> 20}"
        raise AnnotationError(f"{path}: {fault}: split it")
    return found


def array_content(path: Path, file: BinaryIO, header: Header) -> np.ndarray:
    """The array behind its header in an open stream; the result shares its memory with the bytes that were read.

    Raises:
        AnnotationError: the stream is damaged, or has fewer or more bytes than the header claims.
    """
    size = math.prod(header.shape) * header.kind.itemsize
    try:
        content = file.read(size + 1)
    except Exception as error:  # a damaged archive can raise any exception
        raise AnnotationError(f"{path}: damaged ({reason(error)}): save the array again") from None
    if len(content) != size:
        fault = "cut short" if len(content) < size else "longer than its header says"
        raise AnnotationError(f"{path}: {fault}: save the array again")
    if header.kind.kind == "U":  # NumPy would take any number for a sign, and fail when the text is read
        code = "utf-32-be" if header.kind.str.startswith(">") else "utf-32-le"
        try:
            content.decode(code, "surrogatepass")
        except UnicodeDecodeError:
            raise AnnotationError(f"{path}: damaged text: save the array again") from None
    if not size:
        return np.empty(header.shape, header.kind)
    return np.frombuffer(content, header.kind).reshape(header.shape, order=header.order)
