"""What a disk refuses, in one line that says where, what, and how to go on; and taking away what is in the way."""

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
IN_THE_WAY = "move away what lies there in place of a folder or a file"
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
    errno.ESTALE: "mount the network folder anew",
}
NO_PLACE = (errno.EMFILE, errno.ENFILE)  # another folder would not help


class DiskFault(OSError):
    """A fault of a disk; `str` is one line: the file or folder, the fault and the remedy. `errno` is the system's."""

    def __str__(self) -> str:
        return str(self.strerror)


def told(error: OSError, place: Path | str, setting: str = "") -> OSError:
    """The error as a `DiskFault` that names the file it is about, or `place` where it names none.

    Args:
        setting: the variable that moves `place`: said, where the fault lies there.

    Returns: the error itself where it is none of a disk, or is about a file outside of the `place` of a setting.
    """
    remedy = REMEDIES.get(error.errno)
    taken = REMEDIES.get(error.errno) == IN_THE_WAY
    name = (error.filename2 if taken else None) or error.filename  # the second one is the target of a rename
    if remedy is None or (isinstance(error, DiskFault) and not setting):
        return error
    at = Path(os.fsdecode(name) if isinstance(name, (str, bytes, os.PathLike)) else place)
    if setting and error.errno not in NO_PLACE:
        if not Path(os.path.realpath(at)).is_relative_to(os.path.realpath(place)):
            return error
        remedy += f", or set {setting} to another folder; run again, and what is whole stays"
    if taken:
        with suppress(OSError):  # the nearest that is no folder
            at = next((p for p in (at, *at.parents) if os.path.lexists(p) and not os.path.isdir(p)), at)
    return DiskFault(error.errno, printable(f"{at}: {os.strerror(error.errno)}: {remedy}"), str(at))


@contextmanager
def one_line_faults(place: Path | str, setting: str = "", instead_of: Path | None = None) -> Iterator[None]:
    """Let faults of a disk within be told as `told` does; those of the file `instead_of` as faults of `place`."""
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
    """`one_line_faults` for all that lies below the folder of runs."""
    with one_line_faults(environment.runs(), "SAPNET_RUNS"):
        yield


def must_be_writable(folder: Path) -> None:
    """Make a folder and try whether a file can be made in it: to be asked before long work.

    Raises:
        DiskFault: it cannot.
    """
    with one_line_faults(folder):
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.NamedTemporaryFile(dir=folder, prefix=".writing-"):
            pass


def discard(path: Path) -> None:
    """Take away whatever lies at a path, by one rename: another process sees all of it or nothing. Links are not
    followed."""
    gone = path.with_name(f".damaged-{uuid.uuid4().hex[:8]}")
    with one_line_faults(path):
        try:
            os.rename(path, gone)
        except FileNotFoundError:  # another process was first
            return
    remove(gone)


def remove(path: Path) -> None:
    """Delete a file, a link, or a folder with all in it, as far as it can be."""
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path, ignore_errors=True)
    else:
        path.unlink(missing_ok=True)


def tidy(folder: Path) -> None:
    """Remove what killed runs left half-written in a folder: hidden files an hour old. Younger ones may be in work."""
    for left in folder.glob(".*"):
        with suppress(OSError):  # gone already
            if time.time() - left.lstat().st_mtime > HOUR:
                remove(left)
