"""Kill the trials, and one notebook of the whole suite, at many random moments; say what they left. Minutes.

    python tests/kill_many.py --moments 20 --only 10

Not a part of the test suite, whose `test_kill.py` does four moments. The notebook starts from a copy of `runs/` without
the results of one method, which it computes again.
"""

import argparse
import os
import random
import shutil
import signal
import subprocess
import tempfile
import time
from pathlib import Path

import nbformat
import pandas as pd
import psutil
import test_kill
from PIL import Image

from sapnet_core import paths


def suite(folder: Path, only: str) -> subprocess.Popen:
    """`runall.sh --only` in a house of its own."""
    environment = {**os.environ, "SAPNET_RUNS": str(folder / "runs"), "SAPNET_FIGURES": str(folder / "figures")}
    return subprocess.Popen([paths.root() / "runall.sh", "--only", only], env=environment, stdout=subprocess.DEVNULL,
                            stderr=subprocess.PIPE, text=True)  # fmt: skip


def house(folder: Path, source: Path) -> Path:
    """A copy of a runs folder without the trials of I3D+MLP on FineDiving, and no figures."""
    shutil.copytree(source, folder / "runs", ignore=shutil.ignore_patterns("finediving-mlp-*", "notebooks", ".*"))
    (folder / "figures").mkdir()
    return folder


def half_written(folder: Path) -> list[str]:
    """Names of files under their final names that cannot be read to their end."""
    bad = []
    for file in [*(folder / "figures").rglob("*"), *(folder / "runs" / "notebooks").rglob("*"),
                 *(folder / "runs" / "trials").glob("[!.]*/*")]:  # fmt: skip
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
    """All that the run is for: figures and results, but for seconds and versions."""
    files = [*(folder / "figures").iterdir(), *(folder / "runs" / "trials").glob("finediving-mlp-*/*")]
    return {str(f.relative_to(folder)): f.read_bytes() for f in files if f.name != "run.json"}


def kill_suite(base: Path, source: Path, only: str, moments: int, seed: int) -> str:
    """Odd kills take the runner alone, which leaves its kernel to find out; even ones take every process of it."""
    alone = house(base / "alone", source)
    begun = time.monotonic()
    process = suite(alone, only)
    if process.wait():
        raise SystemExit(process.stderr.read())
    seconds, draw, hits, bad = time.monotonic() - begun, random.Random(seed), 0, []
    disturbed = house(base / "disturbed", source)
    for moment in range(moments):
        process = suite(disturbed, only)
        time.sleep(draw.uniform(0.05, 0.95) * seconds)
        whole = psutil.Process(process.pid).children(recursive=True) if moment % 2 and process.poll() is None else []
        process.send_signal(signal.SIGKILL)
        hits += process.wait() == -signal.SIGKILL
        for one in whole:
            try:
                one.kill()
            except psutil.NoSuchProcess:
                continue
        bad += half_written(disturbed)
    last = suite(disturbed, only)
    if last.wait():
        raise SystemExit(last.stderr.read())
    bad += half_written(disturbed)
    one, other = left(alone), left(disturbed)
    differ = sorted(name for name in one.keys() | other.keys() if one.get(name) != other.get(name))
    return (f"notebook {only}: {moments} kills in runs of {seconds:.0f} s, {hits} hit; half-written files: {bad or 0}; "
            f"{len(one)} files compared with an undisturbed run, different: {differ or 0}")  # fmt: skip


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--moments", type=int, default=20)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--only", default="10", help="a notebook; empty for the trials alone")
    args = parser.parse_args()
    source = paths.runs()
    with tempfile.TemporaryDirectory() as folder:
        base = Path(folder) / "computed"
        os.environ["SAPNET_RUNS"] = str(base)
        computed = (base, *test_kill.undisturbed(base))
        shutil.copytree(base, runs := Path(folder) / "runs")
        hits = test_kill.kill_often(runs, computed, args.moments, args.seed)
        print(f"trials: {args.moments} kills, {hits} hit, {len(computed[1])} results equal an undisturbed run's")
        if args.only:
            print(kill_suite(Path(folder), source, args.only, args.moments, args.seed))


if __name__ == "__main__":
    main()
