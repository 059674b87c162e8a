"""One digest of everything that an executed notebook depends on: it is out of date once any of that changes."""

import os
import platform
from collections.abc import Iterator
from contextlib import suppress
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

from sapnet_core.reporting.markup import PAGE_DATA
from sapnet_core.reporting.notebooks import load
from sapnet_core.runtime import environment
from sapnet_core.runtime.fingerprint import code_digest, file_digest, fingerprint, modules_in, package_data_digest

__all__ = ["data_digest", "inputs_digest"]

# packages that compute, decode, draw or write a notebook's outputs
PACKAGES = (
    "torch",
    "torchvision",
    "numpy",
    "scipy",
    "pandas",
    "matplotlib",
    "seaborn",
    "pillow",
    "av",
    "scikit-learn",
    "captum",
    "ipykernel",
    "ipython",
    "matplotlib-inline",
    "ipywidgets",
)
ANNOTATIONS = {".pkl", ".json", ".csv", ".txt"}


def _files_below(top: Path) -> Iterator[os.DirEntry]:
    """Yield every file below a folder, following links; each folder is visited once, so that cycles of links end."""
    seen, left = set(), [top]
    while left:
        with suppress(FileNotFoundError, PermissionError):  # deleted meanwhile; or unreadable, so no run depends on it
            place = left.pop()
            state = os.stat(place)
            if (state.st_dev, state.st_ino) in seen:
                continue
            seen.add((state.st_dev, state.st_ino))
            for entry in sorted(os.scandir(place), key=lambda entry: entry.name):
                if entry.is_dir():
                    left.append(Path(entry.path))
                elif entry.is_file():  # not a pipe: reading it would wait for a writer
                    yield entry


def data_digest() -> str | None:
    """Digest of the files in the user's data folder, None without such a folder: contents of annotation files, sizes
    and modification times of all others."""
    data = environment.data_root()
    if data is None:
        return None
    labels, rest = [], []
    for entry in _files_below(data):
        if Path(entry.name).suffix.lower() in ANNOTATIONS:
            labels.append(Path(entry.path))
        else:
            state = entry.stat()
            rest.append((os.path.relpath(entry.path, data), state.st_size, state.st_mtime_ns))
    contents = {os.path.relpath(file, data): file_digest(file) for file in labels}
    return fingerprint(contents, sorted(rest), digits=64)


def _version(package: str) -> str:
    try:
        return version(package)
    except PackageNotFoundError:
        return "absent"


def inputs_digest(notebook: Path, parameters: dict[str, object], data: str | None = None) -> str:
    """One digest of everything that a notebook's outcome depends on: its cells (without stored outputs), parameters,
    the package's code and data, versions, and the annotation files, weights and options in use.

    Args:
        data: the result of `data_digest`, if the caller has it already; for a large dataset it takes a while.
    """
    parts = {
        "cells": [(cell.cell_type, cell.source) for cell in load(notebook).cells],
        "parameters": parameters,
        "core": [code_digest(*modules_in()), package_data_digest(without=PAGE_DATA)],
        "versions": [platform.python_version(), *map(_version, PACKAGES)],
        "data": data or data_digest(),
        "weights": [
            file and file_digest(file)
            for file in (environment.detector(), environment.i3d(), environment.c3d(), environment.swin())
        ],
        "choices": [environment.finefs_split(), environment.skip_bad()],
    }
    return fingerprint(parts, digits=64)
