"""Kill the trials, and one notebook of the whole suite, at many random moments; say what they left. Minutes.

    python tests/kill_many.py --moments 20 --only 10

Not a part of the test suite, whose `test_kill.py` does four moments. The notebook starts from a copy of `runs/` without
the results of one method, which it computes again.
"""

import argparse
import os
import random
import shutil
import subprocess
import tempfile
import time
from contextlib import suppress
from pathlib import Path

import nbformat
import pandas as pd
import psutil
import test_kill
from PIL import Image

from sapnet_core.experiments.results import damage
from sapnet_core.runtime import environment


def suite(folder: Path, only: str) -> subprocess.Popen:
    """`runall.sh --only` in a house of its own."""
    variables = {**os.environ, "SAPNET_RUNS": str(folder / "runs"), "SAPNET_FIGURES": str(folder / "figures")}
    return subprocess.Popen(
        [environment.root() / "runall.sh", "--only", only],
        env=variables,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
    )


def house(folder: Path, source: Path) -> Path:
    """A copy of a runs folder without the trials of I3D+MLP on FineDiving, and no figures."""
    shutil.copytree(source, folder / "runs", ignore=shutil.ignore_patterns("finediving-mlp-*", "notebooks", ".*"))
    (folder / "figures").mkdir()
    return folder


def half_written(folder: Path) -> list[str]:
    """Names of files under their final names that cannot be read to their end, and of results that are not whole."""
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
    """All that the run is for: figures and results, but for seconds and versions; pages tell when cells ran."""
    files = [*(folder / "figures").iterdir(), *(folder / "runs" / "trials").glob("finediving-mlp-*/*")]
    return {str(f.relative_to(folder)): f.read_bytes() for f in files if f.is_file() and f.name != "run.json"}


def differences(one: Path, other: Path) -> list[str]:
    """Names of files that two runs should have made alike and did not."""
    one, other = left(one), left(other)
    return sorted(name for name in one.keys() | other.keys() if one.get(name) != other.get(name))


def run_suite(folder: Path, only: str) -> float:
    """Let it run to its end; returns its seconds."""
    begun, process = time.monotonic(), suite(folder, only)
    said = process.communicate()[1]
    if process.returncode:
        raise SystemExit(said)
    return time.monotonic() - begun


def begin_again(folder: Path) -> None:
    """Take away what a run that came to its end has made."""
    for made in [
        *(folder / "figures").iterdir(),
        *(folder / "runs" / "notebooks").iterdir(),
        *(folder / "runs" / "trials").glob("finediving-mlp-*"),
    ]:
        shutil.rmtree(made) if made.is_dir() else made.unlink()


def kill_suite(folder: Path, only: str, moments: int, seed: int, seconds: float) -> list[str]:
    """Kill so many runs that take about `seconds`, and let the last one end; returns the half-written files.

    Odd kills take the runner alone, which leaves its kernel to find out; even ones take every process of it.
    """
    draw, bad, hits = random.Random(seed), [], 0
    while hits < moments:
        process = suite(folder, only)
        try:
            process.wait(draw.uniform(0, seconds))
            begin_again(folder)
            continue
        except subprocess.TimeoutExpired:
            hits += 1
        whole = [psutil.Process(process.pid), *psutil.Process(process.pid).children(recursive=True)]
        for one in whole[: len(whole) if hits % 2 == 0 else 1]:
            with suppress(psutil.NoSuchProcess):
                one.kill()
        process.wait()
        bad += half_written(folder)
        print(f"kill {hits}: {len(bad)} half-written", flush=True)
    run_suite(folder, only)
    return bad + half_written(folder)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--moments", type=int, default=20)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--only", default="10", help="a notebook; empty for the trials alone")
    args = parser.parse_args()
    source = environment.runs()
    with tempfile.TemporaryDirectory() as folder:
        base = Path(folder) / "computed"
        os.environ["SAPNET_RUNS"] = str(base)
        computed = (base, *test_kill.undisturbed(base))
        shutil.copytree(base, runs := Path(folder) / "runs")
        hits = test_kill.kill_often(runs, computed, args.moments, args.seed)
        print(f"trials: {args.moments} kills, {hits} hit, {len(computed[1])} results equal an undisturbed run's")
        if args.only:
            alone, disturbed = (house(Path(folder) / name, source) for name in ("alone", "disturbed"))
            seconds = run_suite(alone, args.only)
            bad = kill_suite(disturbed, args.only, args.moments, args.seed, seconds)
            print(
                f"notebook {args.only}: {args.moments} kills in runs of {seconds:.0f} s; half-written: {bad or 0}; "
                f"unlike an undisturbed run: {differences(alone, disturbed) or 0}"
            )


if __name__ == "__main__":
    main()
