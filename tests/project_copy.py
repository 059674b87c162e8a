"""Copies of this project's package and of its committed figures, for tests that work in a folder of their own."""

import io
import shutil
import subprocess
import zipfile
from pathlib import Path

import pytest

from sapnet_core.runtime import environment

__all__ = ["committed_figures", "copy_package"]


def copy_package(folder: Path) -> None:
    """Copy `sapnet_core` into a folder, with what Python has compiled of it, so that commands start quickly there.

    Files that another process is just compiling have a further suffix; they are left out, since they soon vanish.
    """
    ignored = shutil.ignore_patterns("*.pyc.*")
    shutil.copytree(environment.root() / "sapnet_core", folder / "sapnet_core", ignore=ignored)


def committed_figures(folder: Path) -> Path:
    """The files of figures/ as of the last commit, written below `folder`: a user's own run rewrites those of the tree.

    A test that asks for them where there is no history is skipped.
    """
    if not (environment.root() / ".git").exists():
        pytest.skip("no history beside this code")
    packed = subprocess.check_output(["git", "archive", "--format=zip", "HEAD", "figures"], cwd=environment.root())
    with zipfile.ZipFile(io.BytesIO(packed)) as files:
        files.extractall(folder)
    return folder / "figures"
