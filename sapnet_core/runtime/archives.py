"""Zip archives that come from anywhere, listed without taking more memory than their list should need."""

import io
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

__all__ = ["opened_archive"]

LIST = 8 * 2**20  # bytes of an archive's list of entries; each takes 50 at least, and 15 times that when it is read


class _File(io.BufferedReader):
    """A file that gives no more than `LIST` bytes at once while its archive is being listed, and none before its start:
    to seek there is no fault of the disk."""

    listing = True

    def read(self, size: int | None = -1) -> bytes:
        if self.listing and size is not None and size > LIST:
            raise zipfile.BadZipFile("lists more entries than such a file has")
        return super().read(size)

    def seek(self, place: int, whence: int = io.SEEK_SET) -> int:
        if whence == io.SEEK_SET and place < 0:
            raise zipfile.BadZipFile("lists an entry before its start")
        return super().seek(place, whence)


@contextmanager
def opened_archive(path: Path) -> Iterator[zipfile.ZipFile]:
    """A zip archive to read from. Raises `zipfile.BadZipFile`, or whatever else a damaged list meets."""
    with _File(io.FileIO(path)) as file, zipfile.ZipFile(file) as archive:
        file.listing = False
        yield archive
