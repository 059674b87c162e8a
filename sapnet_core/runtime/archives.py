"""Zip archives from untrusted sources, opened with a bound on the memory that their list of entries takes."""

import io
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

__all__ = ["opened_archive"]

LIST = 8 * 2**20  # maximum bytes of an archive's list of entries; each takes at least 50, and 15 times that once parsed


class _File(io.BufferedReader):
    """A file that returns at most `LIST` bytes per read while its archive is being listed, and that reports a seek
    before its start as damage of the archive, since the disk works."""

    listing = True

    def read(self, size: int | None = -1) -> bytes:
        if self.listing and size is not None and size > LIST:
            raise zipfile.BadZipFile("lists too many entries")
        return super().read(size)

    def seek(self, place: int, whence: int = io.SEEK_SET) -> int:
        if whence == io.SEEK_SET and place < 0:
            raise zipfile.BadZipFile("lists an entry before the start of the file")
        return super().seek(place, whence)


@contextmanager
def opened_archive(path: Path) -> Iterator[zipfile.ZipFile]:
    """Open a zip archive for reading. Raises `zipfile.BadZipFile`, or other errors where its list is damaged."""
    with _File(io.FileIO(path)) as file, zipfile.ZipFile(file) as archive:
        file.listing = False
        yield archive
