"""Disk errors as one line that names file, fault and remedy; and removal of obsolete or half-written files."""

import errno
import os
import shutil
import tempfile
import time
import uuid
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from sapnet_core.runtime import environment
from sapnet_core.runtime.file_kinds import printable

__all__ = [
    "DiskFault",
    "HOUR",
    "REMEDIES",
    "discard",
    "in_runs",
    "must_be_writable",
    "one_line_faults",
    "remove",
    "tidy",
    "told",
]

HOUR = 3600.0  # seconds
IN_THE_WAY = "move it away, since another file or folder must be written there"
REMEDIES = {
    errno.ENOSPC: "make room on its disk",
    errno.EDQUOT: "make room within your quota",
    errno.EFBIG: "raise the limit on the size of files (ulimit -f)",
    errno.EROFS: "make it writable",
    errno.EACCES: "change its permissions",
    errno.EPERM: "change its permissions",
    errno.ENAMETOOLONG: "use a shorter path",
    errno.ENOTDIR: IN_THE_WAY,
    errno.EEXIST: IN_THE_WAY,
    errno.EISDIR: IN_THE_WAY,
    errno.ENOTEMPTY: IN_THE_WAY,
    errno.ENOENT: "check its name",
    errno.ELOOP: "remove the link, which leads to itself",
    errno.EMFILE: "raise the limit of open files (ulimit -n), or use fewer --jobs",
    errno.ENFILE: "raise the limit of open files, or use fewer --jobs",
    errno.EIO: "check the disk",
    errno.ESTALE: "mount the network folder again",
}
NO_PLACE = (errno.EMFILE, errno.ENFILE)  # too many open files: moving to another folder does not help


class DiskFault(OSError):
    """A disk error; its text is one line with file or folder, fault and remedy. `errno` is that of the system."""

    def __str__(self) -> str:
        return str(self.strerror)


def told(error: OSError, place: Path | str, setting: str = "") -> OSError:
    """Convert an error to a `DiskFault` that names the file concerned, or `place` where the error names none.

    Args:
        setting: the environment variable that moves `place`; mentioned where the fault is below `place`.

    Returns: the error itself where it is no disk error, or where a `setting` is given and the file is outside `place`.
    """
    remedy = REMEDIES.get(error.errno)
    taken = REMEDIES.get(error.errno) == IN_THE_WAY
    name = (error.filename2 if taken else None) or error.filename  # the second name is the target of a rename
    if remedy is None or (isinstance(error, DiskFault) and not setting):
        return error
    at = Path(os.fsdecode(name) if isinstance(name, (str, bytes, os.PathLike)) else place)
    if setting and error.errno not in NO_PLACE:
        at_, place_ = Path(os.path.realpath(at)), Path(os.path.realpath(place))
        if not (at_.is_relative_to(place_) or place_.is_relative_to(at_)):  # below it, or in its way
            return error
        remedy += f", or set {setting} to another folder; then run the same command again, finished work is kept"
    if taken:
        with suppress(OSError):  # the nearest parent that is not a folder
            at = next((p for p in (at, *at.parents) if os.path.lexists(p) and not os.path.isdir(p)), at)
    return DiskFault(error.errno, printable(f"{at}: {os.strerror(error.errno)}: {remedy}"), str(at))


@contextmanager
def one_line_faults(place: Path | str, setting: str = "", instead_of: Path | None = None) -> Iterator[None]:
    """Convert disk errors within the block by `told`; errors about the file `instead_of` are reported for `place`."""
    try:
        yield
    except OSError as error:
        if error.filename == str(instead_of):
            error.filename = str(place)
        if (fault := told(error, place, setting)) is error:
            raise
        raise fault from error


@contextmanager
def in_runs() -> Iterator[None]:
    """`one_line_faults` for everything below the folder of runs."""
    with one_line_faults(environment.runs(), "SAPNET_RUNS"):
        yield


def must_be_writable(folder: Path) -> None:
    """Create a folder and check that files can be written to it. Call this before long work.

    Raises:
        DiskFault: the folder cannot be created or written to.
    """
    with one_line_faults(folder):
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.NamedTemporaryFile(dir=folder, prefix=".writing-"):
            pass


def discard(path: Path) -> None:
    """Remove a file, a link or a folder, beginning with a rename, so that other processes see all of it or nothing.
    Links are not followed."""
    gone = path.with_name(f".damaged-{uuid.uuid4().hex[:8]}")
    with one_line_faults(path):
        try:
            os.rename(path, gone)
        except FileNotFoundError:  # another process was first
            return
    remove(gone)


def remove(path: Path) -> None:
    """Delete a file, a link, or a folder with its content, as far as permissions allow."""
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path, ignore_errors=True)
    else:
        path.unlink(missing_ok=True)


def tidy(folder: Path) -> None:
    """Remove temporary files of killed runs from a folder: hidden files older than an hour. Younger may be in use."""
    for left in folder.glob(".*"):
        with suppress(OSError):  # already removed
            if time.time() - left.lstat().st_mtime > HOUR:
                remove(left)
