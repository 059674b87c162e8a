"""Open the notebooks in JupyterLab as working copies, so that the files of the repository stay as they are.

JupyterLab saves a notebook every two minutes, and a notebook that runs writes tables and figures. Both would change
tracked files. The command `lab` therefore copies the notebooks to `lab/notebooks` in the folder of runs and opens the
copies; tables and figures of such a session go to `lab/figures`. Features and trials are shared with all other runs.

A copy in which something was written or run stays. A copy that nobody touched follows its original. `copies.json`
records from which original each copy was made, and the digest of its cells at that moment.
"""

import json
import os
import sys
from importlib.util import find_spec
from pathlib import Path

from sapnet_core.runtime import environment
from sapnet_core.runtime.files import read_json, write_bytes, write_json
from sapnet_core.runtime.fingerprint import file_digest, fingerprint

__all__ = ["open_lab", "refresh_copies"]

# JupyterLab's plugin that asks at the first start whether it may fetch news and look for updates
SETTINGS = {"disabledExtensions": {"@jupyterlab/apputils-extension:announcements": True}}


def refresh_copies(originals: list[Path], lab: Path) -> list[str]:
    """Bring the working copies in `lab/notebooks` up to date with their originals.

    Returns:
        The stems of notebooks whose original is newer than the copy, and whose copy was kept because its cells or their
        outputs were changed.
    """
    known, kept = _known(lab / "copies.json"), []
    for original in originals:
        copy, digest = lab / "notebooks" / original.name, file_digest(original)
        made = known.get(original.stem, {})
        if copy.is_file() and made.get("original") == digest:
            continue
        if os.path.lexists(copy) and _cells(copy) not in (made.get("cells"), _cells(original)):
            kept.append(original.stem)
            continue
        write_bytes(copy, original.read_bytes())
        known[original.stem] = {"original": digest, "cells": _cells(original)}
    write_json(lab / "copies.json", known)
    return kept


def _known(file: Path) -> dict[str, dict]:
    """What `copies.json` records, by stem; a damaged file records nothing, so that every changed copy is kept."""
    try:
        read = read_json(file)
    except (OSError, ValueError):
        return {}
    return {k: v for k, v in read.items() if isinstance(v, dict)} if isinstance(read, dict) else {}


def _cells(notebook: Path) -> str:
    """A digest of the cells of a notebook and of their outputs; of the content where it is no notebook.

    Metadata is left out, since JupyterLab changes it when a notebook is merely opened and saved.
    """
    try:
        cells = json.loads(notebook.read_text(encoding="utf-8"))["cells"]
        return fingerprint([[cell["cell_type"], cell["source"], cell.get("outputs", [])] for cell in cells])
    except (OSError, ValueError, KeyError, TypeError, RecursionError):
        return file_digest(notebook) if notebook.is_file() else "no file"


def _told(path: Path) -> str:
    """A path as a message shows it: relative to the repository if it lies inside."""
    return path.relative_to(environment.root()).as_posix() if path.is_relative_to(environment.root()) else str(path)


def _first(folder: Path, variable: str) -> str:
    """The value of a variable that lists folders, with one more folder in front."""
    return os.pathsep.join(filter(None, (str(folder), os.environ.get(variable))))


def open_lab(name: str = "00", port: int | None = None, browser: bool = True, copy_only: bool = False) -> None:
    """Refresh the working copies and become a JupyterLab server that shows one of them: the command `lab`.

    Args:
        name: the beginning of a notebook's name.
        port: port of the server; None takes the first free one from 8888 on.
        browser: whether to open a browser.
        copy_only: only refresh the copies, for another program such as VS Code.

    Raises:
        ValueError: no notebook has such a name.
        ImportError: JupyterLab is not installed.
        OSError: a copy cannot be written.
    """
    first, lab = environment.find_notebooks([name])[0], environment.runs().absolute() / "lab"
    copy = lab / "notebooks" / first.name
    if kept := refresh_copies(environment.find_notebooks(), lab):
        print(
            f"There is a newer original of {', '.join(kept)}. Your changed copy stays: "
            f"delete or rename it in {_told(copy.parent)} to get the new notebook."
        )
    if copy_only:
        print(f"The copies are in {_told(copy.parent)}. Set SAPNET_FIGURES to {lab / 'figures'} for their figures.")
        return
    if find_spec("jupyterlab") is None:
        raise ImportError('JupyterLab is not installed: pip install -e ".[notebooks]"')
    print(f"JupyterLab opens {_told(copy)}; Ctrl-C ends it.", flush=True)
    write_json(lab / "settings" / "labconfig" / "page_config.json", SETTINGS)
    options = ["--Application.log_level=WARN", f"--ServerApp.root_dir={lab}"]
    options += [f"--LabApp.default_url=/lab/tree/notebooks/{first.name}"]  # also in the address that is printed
    options += [f"--ServerApp.port={port}"] if port else []
    options += [] if browser else ["--no-browser"]
    options += ["--allow-root"] if hasattr(os, "geteuid") and os.geteuid() == 0 else []
    variables = {
        **os.environ,
        "PYTHONPATH": _first(environment.root(), "PYTHONPATH"),  # kernels import the package of this clone
        "JUPYTER_CONFIG_PATH": _first(lab / "settings", "JUPYTER_CONFIG_PATH"),
        "JUPYTER_PREFER_ENV_PATH": "1",  # the kernel is this Python, whatever kernels the user has installed
        "SAPNET_RUNS": str(environment.runs().absolute()),
        "SAPNET_FIGURES": str(lab / "figures"),
    }
    os.execve(sys.executable, [sys.executable, "-m", "jupyterlab", *options], variables)
