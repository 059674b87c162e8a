"""Kill a whole run of the suite, with its kernels, at many random moments: no partial file is ever left."""

import os
import random
import shutil
import subprocess
import time
from contextlib import suppress
from pathlib import Path

import nbformat
import pandas as pd
import psutil
import pytest
from PIL import Image

from sapnet_core.experiments.result_files import damage
from sapnet_core.runtime import environment

ONLY = "10"  # the notebook that is run
MADE = "finediving-mlp-*"  # trials that are deleted before each run
MOMENTS = 20


def suite(folder: Path) -> subprocess.Popen:
    """Start `runall.sh` on one notebook, with its own folders for runs and figures."""
    variables = {**os.environ, "SAPNET_RUNS": str(folder / "runs"), "SAPNET_FIGURES": str(folder / "figures")}
    return subprocess.Popen(
        [environment.root() / "runall.sh", "--profile", "smoke", "--only", ONLY],
        env=variables,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
    )


def run_to_its_end(folder: Path) -> float:
    """Run the notebook without disturbance; returns the duration in seconds."""
    begun, process = time.monotonic(), suite(folder)
    said = process.communicate()[1]
    assert process.returncode == 0, said
    return time.monotonic() - begun


def half_written(folder: Path) -> list[str]:
    """Finished files that cannot be read completely, and damaged results, each with the fault; hidden files do not
    count."""
    results = (folder / "runs" / "trials").glob("[!.]*")
    bad = [f"{result.relative_to(folder)}: {fault}" for result in results if (fault := damage(result))]
    for file in [*(folder / "figures").rglob("*"), *(folder / "runs" / "notebooks").rglob("*")]:
        if file.name.startswith(".") or file.is_dir():
            continue
        try:
            if file.suffix == ".csv":
                pd.read_csv(file)
            elif file.suffix == ".png":
                Image.open(file).load()
            elif file.suffix == ".ipynb":
                nbformat.read(file, as_version=4)
            elif not file.read_text().rstrip().endswith((">", "}", "]", "|")) and file.suffix != ".md":
                raise ValueError("no end")
        except Exception as error:
            bad.append(f"{file.relative_to(folder)}: {error}")
    return bad


def left(folder: Path) -> dict[str, bytes]:
    """Path -> content of a run's figures and results. Left out are run.json, which holds durations and versions, and
    pages, which tell when cells ran."""
    files = [*(folder / "figures" / "smoke").iterdir(), *(folder / "runs" / "trials").glob(f"{MADE}/*")]
    return {str(f.relative_to(folder)): f.read_bytes() for f in files if f.is_file() and f.name != "run.json"}


def begin_again(folder: Path) -> None:
    """Delete the outputs of a run, except features and the trials of other methods."""
    for name in ("figures", "runs/notebooks"):
        shutil.rmtree(folder / name, ignore_errors=True)
    (folder / "figures").mkdir()
    for result in (folder / "runs" / "trials").glob(MADE):
        shutil.rmtree(result)


@pytest.mark.slow
def test_kill_a_run_of_the_suite_at_many_moments(tmp_path):
    """Odd kills hit the runner alone, so that its kernel is orphaned; even kills hit all processes of the run."""
    alone, disturbed = tmp_path / "alone", tmp_path / "disturbed"
    run_to_its_end(alone)  # computes the features
    begin_again(alone)
    seconds = run_to_its_end(alone)
    shutil.copytree(alone, disturbed)
    begin_again(disturbed)
    draw, hits = random.Random(1), 0
    while hits < MOMENTS:
        process = suite(disturbed)
        try:
            process.wait(draw.uniform(0, seconds))
            begin_again(disturbed)
            continue
        except subprocess.TimeoutExpired:
            hits += 1
        every = [psutil.Process(process.pid), *psutil.Process(process.pid).children(recursive=True)]
        for one in every[: len(every) if hits % 2 == 0 else 1]:
            with suppress(psutil.NoSuchProcess):
                one.kill()
        process.wait()
        assert half_written(disturbed) == []
    run_to_its_end(disturbed)
    assert half_written(disturbed) == [] and left(disturbed) == left(alone)
