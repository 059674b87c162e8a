"""Where things lie on disk: the one module that knows paths.

`root()` is the folder that holds `notebooks/` and `figures/`. It is found from this file when the package is used
in place (an editable install, the normal way here), else from the working folder upward, so that a notebook finds it
from its own folder and Papermill from the caller's.
"""

import os
from pathlib import Path

__all__ = ["root", "runs", "figures", "data_root", "detector", "i3d", "c3d", "swin", "skip_bad"]


def root() -> Path:
    """The repository's root. Raises FileNotFoundError when neither this package nor the working folder lies in one."""
    for start in (Path(__file__).resolve().parent, Path.cwd().resolve()):
        for folder in (start, *start.parents):
            if (folder / "runall.sh").is_file() and (folder / "sapnet_core").is_dir():
                return folder
    raise FileNotFoundError("no repository root above the package or the working folder: run from inside the clone")


def runs() -> Path:
    """Everything a run produces outside `figures/`: features, trials, executed notebooks. `SAPNET_RUNS` moves it."""
    return Path(os.environ.get("SAPNET_RUNS") or root() / "runs")


def figures() -> Path:
    """Where tables and figures go. `SAPNET_FIGURES` moves it (tests draw elsewhere)."""
    return Path(os.environ.get("SAPNET_FIGURES") or root() / "figures")


def data_root() -> Path | None:
    """The user's folder of official annotation files (`SAPNET_DATA`), or None. Raises if it names no folder."""
    name = os.environ.get("SAPNET_DATA")
    if not name:
        return None
    folder = Path(name).expanduser()
    if not folder.is_absolute() and not folder.is_dir():
        folder = root() / folder  # notebooks run in their own folder, the user typed it at the root
    if not folder.is_dir():
        raise FileNotFoundError(f"SAPNET_DATA={name!r} is no folder: unset it, or point it at the annotation files")
    return folder.resolve()


def detector() -> Path | None:
    """The user's COCO weights of a person detector (`SAPNET_DETECTOR`), or None. Raises if it names no file."""
    return _file("SAPNET_DETECTOR")


def i3d() -> Path | None:
    """The user's Kinetics weights of I3D (`SAPNET_I3D`), or None. Raises if it names no file."""
    return _file("SAPNET_I3D")


def c3d() -> Path | None:
    """The user's Sports-1M weights of C3D (`SAPNET_C3D`), or None. Raises if it names no file."""
    return _file("SAPNET_C3D")


def swin() -> Path | None:
    """The user's Kinetics weights of Video Swin (`SAPNET_SWIN`), or None. Raises if it names no file."""
    return _file("SAPNET_SWIN")


def _file(variable: str) -> Path | None:
    name = os.environ.get(variable)
    if not name:
        return None
    file = Path(name).expanduser()
    if not file.is_absolute() and not file.is_file():
        file = root() / file
    if not file.is_file():
        raise FileNotFoundError(f"{variable}={name!r} is no file: unset it, or point it at a file of weights")
    return file.resolve()


def skip_bad() -> bool:
    """Whether videos that cannot be read are left out (`SAPNET_SKIP_BAD=1`) instead of stopping the run."""
    return os.environ.get("SAPNET_SKIP_BAD", "0") not in ("", "0")
