"""Paths on disk and other settings from environment variables, which only this module reads.

`root()` is the folder that contains `notebooks/` and `figures/`. It is found from this file when the package is used
in place (an editable install, the normal case), else from the working folder upward, so that it is found both from the
folder of a notebook and from the one where Papermill was called.
"""

import os
from pathlib import Path

from sapnet_core.runtime.cores import allowed_cores
from sapnet_core.runtime.file_kinds import ARCHIVES, found_at, listed

__all__ = [
    "root",
    "runs",
    "figures",
    "data_root",
    "detector",
    "i3d",
    "c3d",
    "swin",
    "skip_bad",
    "recompute",
    "jobs",
    "numbers",
    "finefs_split",
    "find_notebooks",
    "NUMBERS",
    "SPLITS",
]

NUMBERS = ("float32", "bfloat16")  # formats in which backbones can compute
SPLITS = ("random", "ordered", "interleaved", "files")  # split rules of FineFS, which has no published split


def root() -> Path:
    """The repository's root. Raises FileNotFoundError where neither this package nor the working folder is in one."""
    for start in (Path(__file__).resolve().parent, Path.cwd().resolve()):
        for folder in (start, *start.parents):
            if (folder / "runall.sh").is_file() and (folder / "sapnet_core").is_dir():
                return folder
    raise FileNotFoundError(
        "no repository root found above the package or the working folder: run from inside the clone"
    )


def runs() -> Path:
    """The folder of features, trials and executed notebooks. `SAPNET_RUNS` moves it."""
    return _target("SAPNET_RUNS", "runs")


def figures() -> Path:
    """The folder of tables and figures. `SAPNET_FIGURES` moves it, as the tests do."""
    return _target("SAPNET_FIGURES", "figures")


def find_notebooks(names: list[str] | None = None, folder: Path | None = None) -> list[Path]:
    """Notebooks in reading order; `names` keeps those whose stem starts with one of them.

    Raises:
        ValueError: no notebook starts with one of the names.
    """
    folder = folder or root() / "notebooks"
    every = sorted(folder.glob("*.ipynb"))
    starts = tuple(Path(name).name.removesuffix(".ipynb") for name in names or ())
    for start in starts:
        if not start or not any(path.stem.startswith(start) for path in every):
            known = ", ".join(path.stem for path in every) or "none"
            raise ValueError(f"no notebook has a name that starts with {start!r}: choose among {known}")
    return [path for path in every if not starts or path.stem.startswith(starts)]


def _target(variable: str, usual: str) -> Path:
    """A folder to write to, which may not exist yet. Raises ValueError where the path is something else."""
    name = os.environ.get(variable)
    folder = _expanded(name) if name else root() / usual
    if os.path.lexists(folder) and not os.path.isdir(folder):
        told = f"{variable}={name!r}" if name else str(folder)
        raise ValueError(f"{told} is not a folder, but {found_at(folder)}: give a folder, which need not exist yet")
    return folder


def data_root() -> Path | None:
    """The user's folder of datasets or own videos (`SAPNET_DATA`), or None.

    Raises:
        FileNotFoundError: the path is not a folder, or not a readable one; the message says what is there.
    """
    name = os.environ.get("SAPNET_DATA")
    if not name:
        return None
    folder = _expanded(name)
    if not os.path.isdir(folder) and not folder.is_absolute():
        folder = root() / folder  # notebooks run in their own folder, but the user's path is relative to the root
    if not os.path.isdir(folder):
        found, remedy = found_at(folder), "unset it, or set it to the folder that holds the datasets or records.csv"
        if found and folder.name.lower().endswith(ARCHIVES):
            remedy = "unpack it, and set the variable to the unpacked folder"
        raise FileNotFoundError(f"SAPNET_DATA={name!r} is not a folder{found and f', but {found}'}: {remedy}")
    if not os.access(folder, os.R_OK | os.X_OK):
        raise FileNotFoundError(f"SAPNET_DATA={name!r} is a folder that cannot be read: change its permissions")
    return folder.resolve()


def detector() -> Path | None:
    """The user's COCO weights of a person detector (`SAPNET_DETECTOR`), or None. Raises as `i3d`."""
    return _file("SAPNET_DETECTOR")


def i3d() -> Path | None:
    """The user's Kinetics weights of I3D (`SAPNET_I3D`), or None.

    Raises:
        FileNotFoundError: the path is not a file; the message says what is there.
        ValueError: the file is empty, or of a kind that holds no weights.
    """
    return _file("SAPNET_I3D")


def c3d() -> Path | None:
    """The user's Sports-1M weights of C3D (`SAPNET_C3D`), or None. Raises as `i3d`."""
    return _file("SAPNET_C3D")


def swin() -> Path | None:
    """The user's Kinetics weights of Video Swin (`SAPNET_SWIN`), or None. Raises as `i3d`."""
    return _file("SAPNET_SWIN")


def _file(variable: str) -> Path | None:
    name = os.environ.get(variable)
    if not name:
        return None
    file = _expanded(name)
    if not os.path.isfile(file) and not file.is_absolute():
        file = root() / file
    found, remedy = found_at(file), "unset it, or set it to a file of weights"
    if found == "a folder":
        try:
            found += f", which holds {listed(sorted(os.listdir(file))) or 'nothing'}"
        except OSError as error:
            found += f", and cannot be opened ({error.strerror})"
    if not os.path.isfile(file):
        raise FileNotFoundError(f"{variable}={name!r} is not a file{found and f', but {found}'}: {remedy}")
    if found not in ("a file", "a zip archive"):  # torch.save writes zip archives
        raise ValueError(f"{variable}={name!r} is {found}: download the weights again, or unset it")
    return file.resolve()


def _expanded(name: str) -> Path:
    """A path with `~` expanded to the home folder where there is one."""
    try:
        return Path(name).expanduser()
    except RuntimeError:  # no such user
        return Path(name)


def skip_bad() -> bool:
    """Whether unreadable videos are left out (`SAPNET_SKIP_BAD=1`) instead of stopping the run."""
    return os.environ.get("SAPNET_SKIP_BAD", "0") not in ("", "0")


def recompute() -> bool:
    """Whether trials are trained anew, although the repository stores their results (`SAPNET_RECOMPUTE=1`)."""
    return os.environ.get("SAPNET_RECOMPUTE", "0") not in ("", "0")


def numbers() -> str:
    """The number format in which features are computed: `SAPNET_NUMBERS`, one of `NUMBERS`; "" takes the device's own.

    Raises:
        ValueError: `SAPNET_NUMBERS` is something else.
    """
    asked = os.environ.get("SAPNET_NUMBERS", "")
    if asked not in ("", *NUMBERS):
        raise ValueError(f"SAPNET_NUMBERS={asked!r} is invalid: unset it, or choose one of {', '.join(NUMBERS)}")
    return asked


def jobs() -> int:
    """Number of worker processes: `SAPNET_JOBS`, else one for each allowed core.

    Raises:
        ValueError: `SAPNET_JOBS` is not a whole number of at least 1.
    """
    asked = os.environ.get("SAPNET_JOBS")
    if not asked:
        return allowed_cores()
    if not (asked.isascii() and asked.isdecimal() and int(asked)):
        raise ValueError(
            f"SAPNET_JOBS={asked!r} is not a whole number of at least 1: unset it, or give a number of processes"
        )
    return int(asked)


def finefs_split() -> str:
    """The split rule of FineFS (`SAPNET_SPLIT`), one of `SPLITS`. Raises ValueError, which names them, for another."""
    rule = os.environ.get("SAPNET_SPLIT") or "random"
    if rule not in SPLITS:
        raise ValueError(f"SAPNET_SPLIT={rule!r} is unknown: choose one of {', '.join(SPLITS)}")
    return rule
