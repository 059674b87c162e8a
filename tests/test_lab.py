"""The command `lab`: notebooks are opened as copies, and what a reader wrote into a copy is never lost."""

import json
import os
import subprocess
import sys
from pathlib import Path

import nbformat
import pytest
from nbformat.v4 import new_code_cell, new_notebook, new_output
from wording import in_order

from sapnet_core.runtime import environment
from sapnet_core.runtime.lab import refresh_copies


def write(path: Path, source: str, printed: str = "1", **metadata: object) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    cell = new_code_cell(source, execution_count=1, outputs=[new_output("stream", text=printed)], id="c00")
    nbformat.write(new_notebook(cells=[cell], metadata=metadata), path)
    return path


@pytest.fixture
def originals(tmp_path) -> list[Path]:
    return [write(tmp_path / "notebooks" / f"{name}.ipynb", f"print({i})") for i, name in enumerate(("00_a", "01_b"))]


def source(path: Path) -> str:
    return nbformat.read(path, as_version=4).cells[0].source


def test_an_untouched_copy_follows_its_original(originals, tmp_path):
    lab = tmp_path / "lab"
    assert refresh_copies(originals, lab) == []
    copy = lab / "notebooks" / "00_a.ipynb"
    assert copy.read_bytes() == originals[0].read_bytes()
    write(copy, "print(0)", widgets={"state": {}})  # opened and saved by JupyterLab: only metadata differ
    write(originals[0], "print('new')")
    assert refresh_copies(originals, lab) == [] and source(copy) == "print('new')"


@pytest.mark.parametrize("change", [("print('mine')", "1"), ("print(0)", "2")], ids=["edited", "run"])
def test_a_changed_copy_stays_and_a_newer_original_is_said(originals, tmp_path, change):
    lab = tmp_path / "lab"
    refresh_copies(originals, lab)
    copy = write(lab / "notebooks" / "00_a.ipynb", *change)
    mine = copy.read_bytes()
    assert refresh_copies(originals, lab) == []  # the original is the one that was copied
    write(originals[0], "print('new')")
    for _ in range(2):
        assert refresh_copies(originals, lab) == ["00_a"] and copy.read_bytes() == mine
    copy.rename(copy.with_name("mine.ipynb"))
    assert refresh_copies(originals, lab) == [] and source(copy) == "print('new')"


@pytest.mark.parametrize("record", ["", "[]", '{"00_a": 3}', None])
def test_without_a_record_every_changed_copy_stays(originals, tmp_path, record):
    lab = tmp_path / "lab"
    refresh_copies(originals, lab)
    write(lab / "notebooks" / "00_a.ipynb", "print('mine')")
    (lab / "notebooks" / "01_b.ipynb").write_text("no notebook")
    if record is None:
        (lab / "copies.json").unlink()
    else:
        (lab / "copies.json").write_text(record)
    assert refresh_copies(originals, lab) == ["00_a", "01_b"]
    assert source(lab / "notebooks" / "00_a.ipynb") == "print('mine')"


def command(runs: Path, *arguments: str) -> subprocess.CompletedProcess:
    return subprocess.run(
        [sys.executable, "-m", "sapnet_core", "lab", *arguments],
        cwd=environment.root(),
        env={**os.environ, "SAPNET_RUNS": str(runs)},
        capture_output=True,
        text=True,
        check=False,
    )


def test_the_command_says_which_copies_stay(tmp_path):
    assert command(tmp_path, "--copy-only").returncode == 0
    copies = sorted((tmp_path / "lab" / "notebooks").glob("*.ipynb"))
    assert [copy.name for copy in copies] == [original.name for original in environment.find_notebooks()]
    record = tmp_path / "lab" / "copies.json"
    write(copies[0], "print('mine')")
    record.write_text(json.dumps({copies[0].stem: {"original": "older", "cells": "others"}}))
    done = command(tmp_path, "--copy-only")
    assert done.returncode == 0 and done.stdout.count("\n") == 2
    first = done.stdout.splitlines()[0]
    assert [copy.stem for copy in copies if copy.stem in first] == [copies[0].stem]
    assert in_order(first, "delete", "rename", "notebooks") and source(copies[0]) == "print('mine')"


def test_an_unknown_notebook_is_refused(tmp_path):
    done = command(tmp_path, "77")
    assert (done.returncode, done.stdout, done.stderr.count("\n")) == (2, "", 1) and "'77'" in done.stderr
