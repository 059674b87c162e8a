"""Copies of this project's package, for tests that run the project's command in a folder of their own."""

import shutil
from pathlib import Path

from sapnet_core.runtime import environment

__all__ = ["copy_package"]


def copy_package(folder: Path) -> None:
    """Copy `sapnet_core` into a folder, with what Python has compiled of it, so that commands start quickly there.

    Files that another process is just compiling have a further suffix; they are left out, since they soon vanish.
    """
    ignored = shutil.ignore_patterns("*.pyc.*")
    shutil.copytree(environment.root() / "sapnet_core", folder / "sapnet_core", ignore=ignored)
