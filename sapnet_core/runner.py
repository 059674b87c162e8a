"""Run the notebooks with Papermill, only what is missing, and say what each made.

    python -m sapnet_core.runner --profile quick --only 03

An executed notebook goes to `runs/notebooks/`, by a temporary file and a rename once its last cell is through, so that
a failure leaves every earlier good output alone. Beside it a small JSON file records what the run was made from; a
notebook of which nothing has changed since, and whose figures are still as it wrote them, is up to date. At the end
the gallery and a page for each notebook are written beside the figures.
"""

import argparse
import hashlib
import json
import os
import platform
import re
import shutil
import sys
import time
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import FIRST_COMPLETED, ProcessPoolExecutor, wait
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from importlib.metadata import PackageNotFoundError, version
from multiprocessing import get_context
from pathlib import Path

from sapnet_core import paths, profiles
from sapnet_core.data.source import source_records
from sapnet_core.experiments import KNOWN, declared_trials
from sapnet_core.notebooks import find, load
from sapnet_core.progress import progress_bar
from sapnet_core.report.gallery import write_gallery, write_page
from sapnet_core.results import run_trials
from sapnet_core.storage import read_json, write_bytes, write_json

__all__ = ["Outcome", "check_parameters", "inputs_digest", "run_notebook", "run_all", "summary", "main"]

PACKAGES = ("torch", "torchvision", "numpy", "scipy", "pandas", "matplotlib", "seaborn")
ANNOTATIONS = {".pkl", ".json", ".csv", ".txt"}


@dataclass(frozen=True)
class Outcome:
    """What became of one notebook. `state` is "ran", "up to date" or "failed"."""

    name: str
    state: str
    seconds: float = 0.0
    made: tuple[str, ...] = field(default=())
    error: str = ""


def check_parameters(notebook: Path, parameters: dict[str, object]) -> None:
    """Refuse parameters that a notebook does not have, or that have another type than it declares.

    Papermill itself only warns of an unknown name, and the run then silently uses the default.

    Raises:
        ValueError: names the notebook, the parameter and the parameters it has.
    """
    from papermill import inspect_notebook

    known = inspect_notebook(str(notebook))
    for name, value in parameters.items():
        if name not in known:
            raise ValueError(f"{notebook.name} has no parameter {name!r}: it has {', '.join(known) or 'none'}")
        declared = known[name]["inferred_type_name"]
        if declared in ("str", "int", "float", "bool") and type(value).__name__ != declared:
            raise ValueError(f"{notebook.name}: {name}={value!r} is no {declared}")


def _hash(file: Path) -> str:
    return hashlib.sha256(file.read_bytes()).hexdigest()


def _hash_files(files: Iterable[Path], base: Path) -> str:
    lines = [f"{file.relative_to(base).as_posix()} {_hash(file)}" for file in sorted(files)]
    return hashlib.sha256("\n".join(lines).encode()).hexdigest()


def _data_digest() -> str | None:
    """Identity of the user's files at most three folders deep: content of annotations, size and time of the rest."""
    data = paths.data_root()
    if data is None:
        return None
    files = sorted(f for depth in ("*", "*/*", "*/*/*") for f in data.glob(depth) if f.is_file())
    rest = [(str(f.relative_to(data)), f.stat().st_size, f.stat().st_mtime_ns) for f in files
            if f.suffix not in ANNOTATIONS]  # fmt: skip
    labels = _hash_files((f for f in files if f.suffix in ANNOTATIONS), data)
    return hashlib.sha256(json.dumps([labels, rest]).encode()).hexdigest()


def _version(package: str) -> str:
    try:
        return version(package)
    except PackageNotFoundError:
        return "absent"


def inputs_digest(notebook: Path, parameters: dict[str, object]) -> str:
    """One hash over all that a notebook's outcome hangs on: its cells (not their stored outputs), parameters, the
    core's files, versions, and the annotation files, weights and choices in use."""
    core = Path(__file__).parent
    parts = {
        "cells": [(cell.cell_type, cell.source) for cell in load(notebook).cells],
        "parameters": parameters,
        "core": _hash_files((f for f in core.rglob("*") if f.is_file() and f.suffix != ".pyc"), core),
        "versions": [platform.python_version(), *map(_version, PACKAGES)],
        "data": _data_digest(),
        "weights": [file and _hash(file) for file in (paths.detector(), paths.i3d(), paths.c3d(), paths.swin())],
        "choices": [profiles.finefs_split(), paths.skip_bad()],
    }
    return hashlib.sha256(json.dumps(parts, sort_keys=True).encode()).hexdigest()


@contextmanager
def _figures_in(folder: Path) -> Iterator[None]:
    """Let what is drawn meanwhile go to `folder`."""
    before = os.environ.get("SAPNET_FIGURES")
    os.environ["SAPNET_FIGURES"] = str(folder)
    try:
        yield
    finally:
        os.environ.pop("SAPNET_FIGURES")
        if before is not None:
            os.environ["SAPNET_FIGURES"] = before


def _tidy(folder: Path, name: str) -> None:
    """Remove what earlier runs of a notebook left when they were killed."""
    for left in folder.glob(f".{name}.*"):
        owner = left.name.removeprefix(f".{name}.").partition(".")[0]
        if owner.isdigit() and not Path(f"/proc/{owner}").exists() and Path("/proc/self").exists():
            shutil.rmtree(left) if left.is_dir() else left.unlink()


def _is_current(record: Path, output: Path, digest: str) -> bool:
    if not (record.is_file() and output.is_file()):
        return False
    earlier = read_json(record)
    made = [(paths.figures() / name, content) for name, content in earlier["made"].items()]
    return earlier["inputs"] == digest and all(file.is_file() and _hash(file) == content for file, content in made)


def run_notebook(notebook: Path, parameters: dict[str, object], folder: Path) -> Outcome:
    """Run one notebook, unless it is up to date; its output goes to `folder`.

    It draws into a folder of its own: what it made moves to `figures/` once its last cell is through.

    Args:
        parameters: checked by name and type before anything runs.
        folder: where `NAME.ipynb` and its record `NAME.json` go; after a failure `NAME.failed.ipynb`.
    """
    import papermill

    name, started = notebook.stem, time.perf_counter()
    output, record, failed = (folder / f"{name}.{suffix}" for suffix in ("ipynb", "json", "failed.ipynb"))
    check_parameters(notebook, parameters)
    digest = inputs_digest(notebook, parameters)
    if _is_current(record, output, digest):
        return Outcome(name, "up to date", made=tuple(read_json(record)["made"]))
    folder.mkdir(parents=True, exist_ok=True)
    _tidy(folder, name)
    figures, beside = paths.figures(), folder / f".{name}.{os.getpid()}.ipynb"
    drawn = beside.with_suffix(".figures")
    drawn.mkdir()
    try:
        with _figures_in(drawn):
            papermill.execute_notebook(
                str(notebook), str(beside), parameters, cwd=str(notebook.parent), kernel_name="python3",
                progress_bar=False, extra_arguments=["--IPKernelApp.log_level=40"],  # errors only: a start is no news
            )  # fmt: skip
        made = {}
        for file in sorted(file for file in drawn.rglob("*") if file.is_file()):
            write_bytes(figures / file.relative_to(drawn), file.read_bytes())
            made[file.relative_to(drawn).as_posix()] = _hash(file)
    except Exception as error:  # whatever a cell or its kernel raised: the suite goes on with the next notebook
        if beside.is_file():
            os.replace(beside, failed)
        text = re.sub(r"\x1b\[[0-9;]*m", "", str(error)).strip()
        return Outcome(name, "failed", time.perf_counter() - started, error=text)
    except BaseException:  # interrupted
        beside.unlink(missing_ok=True)
        raise
    finally:
        shutil.rmtree(drawn)
    os.replace(beside, output)
    failed.unlink(missing_ok=True)
    seconds = time.perf_counter() - started
    write_json(record, {"inputs": digest, "made": made, "seconds": round(seconds, 1)})
    return Outcome(name, "ran", seconds, tuple(made))


def _run_and_show(notebook: Path, parameters: dict[str, object], folder: Path) -> Outcome:
    """Run a notebook and make its page of the gallery, side by side with others."""
    outcome = run_notebook(notebook, parameters, folder)
    if outcome.state == "ran":
        with suppress(ValueError, OSError):  # met again, and said, where the gallery is made
            write_page(notebook, parameters["profile"])
    return outcome


def run_all(
    notebooks: list[Path], parameters: dict[str, object], folder: Path, say: Callable[[str], None] = print,
    jobs: int = 1, pages: bool = False,
) -> list[Outcome]:  # fmt: skip
    """Run notebooks, `jobs` at once; a failure does not stop the others. Returns what became of each, in their order.

    `pages` makes the gallery's page of each as well, where notebooks run side by side.

    Parameters are checked against every notebook before the first one runs (ValueError). `say` gets one line as a
    notebook ends. A notebook that measures times (`..._speed`) runs by itself, after the others; those on own videos
    (`..._own_...`), which read what the one before them computed, run one after the other. Side by side, these and the
    appendices begin: they take long, and a long one that begins last keeps one core alone busy.
    """
    for notebook in notebooks:
        check_parameters(notebook, parameters)
    alone = [notebook for notebook in notebooks if jobs == 1 or notebook.stem.endswith("_speed")]
    outcomes: dict[Path, Outcome] = {}

    def ended(notebook: Path, outcome: Outcome) -> None:
        outcomes[notebook] = outcome
        say(f"[{len(outcomes)}/{len(notebooks)}] {outcome.name} {outcome.state}, {outcome.seconds:.1f} s")
        if outcome.error:
            say(outcome.error)

    if together := [notebook for notebook in notebooks if notebook not in alone]:
        own = [notebook for notebook in together if "_own_" in notebook.stem]
        others = sorted((n for n in together if n not in own), key=lambda notebook: notebook.stem[0].isdigit())
        lanes = [lane for lane in (own, *([notebook] for notebook in others)) if lane]
        workers, asked, run = min(jobs, len(lanes)), {}, _run_and_show if pages else run_notebook
        with ProcessPoolExecutor(workers, get_context("spawn")) as pool:
            while lanes or asked:
                while lanes and len(asked) < workers:
                    first, *rest = lanes.pop(0)
                    asked[pool.submit(run, first, parameters, folder)] = first, rest
                for future in wait(asked, return_when=FIRST_COMPLETED).done:
                    first, rest = asked.pop(future)
                    ended(first, future.result())
                    lanes = [rest, *lanes] if rest else lanes
    for notebook in alone:
        ended(notebook, run_notebook(notebook, parameters, folder))
    return [outcomes[notebook] for notebook in notebooks]


def summary(outcomes: list[Outcome]) -> str:
    """The closing table: notebook, seconds, what it made (fig05.csv, fig05.png, ... are one stem)."""

    def stems(made: tuple[str, ...]) -> str:
        kinds: dict[str, list[str]] = {}
        for name in made:
            kinds.setdefault(name.rpartition(".")[0], []).append(name.rpartition(".")[2])
        return ", ".join(f"{stem}.{{{','.join(ends)}}}" if len(ends) > 1 else f"{stem}.{ends[0]}"
                         for stem, ends in kinds.items())  # fmt: skip

    width = max([len(outcome.name) for outcome in outcomes] + [8])
    lines = [f"{'notebook':<{width}}  {'seconds':>8}  {'':<10}  made"]
    lines += [f"{o.name:<{width}}  {o.seconds:>8.1f}  {o.state:<10}  {stems(o.made)}".rstrip() for o in outcomes]
    failed = sum(outcome.state == "failed" for outcome in outcomes)
    total = sum(outcome.seconds for outcome in outcomes)
    return "\n".join([*lines, f"{len(outcomes)} notebooks, {total:.0f} s, {failed} failed"])


def _run_declared(profile: str) -> None:
    """Run all trials that the notebooks ask for, with every core, so that notebooks then only read and draw.

    What goes wrong is said, and met again by the notebooks that need it: others go on.
    """
    try:
        trials = [t for name in KNOWN for t in declared_trials(name, profiles.get_profile(profile)).values()]
        run_trials(trials, profiles.jobs(), progress=progress_bar("trial"), videos=progress_bar("video"))
    except (ValueError, OSError, RuntimeError) as error:
        print(f"not all trials were run: {error}", file=sys.stderr, flush=True)


def main(arguments: list[str] | None = None) -> int:
    """Command line; returns 1 if any notebook failed, 2 for a wrong argument."""
    parser = argparse.ArgumentParser(prog="runall.sh", description="Run the notebooks in order; only what is missing.")
    parser.add_argument("--profile", default="quick", choices=sorted(profiles.PROFILES), help="size of the run")
    parser.add_argument("--only", action="append", metavar="NAME", help="notebooks whose name starts so, such as 03")
    parser.add_argument("--data", metavar="DIR", help="folder of datasets, or of own videos (as SAPNET_DATA)")
    parser.add_argument("--split", metavar="RULE", help="how FineFS is split: random, ordered, interleaved or files")
    parser.add_argument("--skip-bad", action="store_true", help="leave out videos that cannot be read")
    parser.add_argument("--jobs", type=int, help="worker processes (default: one a processor core)")
    parser.add_argument("--dask", metavar="ADDRESS", help="scheduler of a Dask cluster that runs the trials: tcp://host:8786")
    args = parser.parse_args(arguments)
    if args.dask:
        os.environ["SAPNET_DASK"] = args.dask  # kernels read it
    if args.data:
        os.environ["SAPNET_DATA"] = str(Path(args.data).expanduser().resolve())
    if args.jobs is not None and args.jobs < 1:
        parser.error(f"--jobs {args.jobs}: one at least")
    if args.split:
        os.environ["SAPNET_SPLIT"] = args.split
    if args.skip_bad:
        os.environ["SAPNET_SKIP_BAD"] = "1"
    os.environ["SAPNET_JOBS"] = str(args.jobs or profiles.jobs())
    # notebooks run side by side: each has its part of the cores
    os.environ.setdefault("OMP_NUM_THREADS", str(max(1, (os.cpu_count() or 1) // profiles.jobs())))

    def say(text: str) -> None:
        print(text, flush=True)

    folder = paths.runs() / "notebooks" / ("" if args.profile == "quick" else args.profile)
    try:
        data = paths.data_root()
        notebooks = find(args.only)
        if data and (data / "records.csv").is_file():  # one's own videos: the notebooks made for them
            source_records("folder", None, None, 0, data, folder)  # a fault is said before anything runs, in one line
            notebooks = [notebook for notebook in notebooks if "_own_" in notebook.stem]
            folder /= "own"
        if not args.only and folder.name != "own":
            _run_declared(args.profile)
        outcomes = run_all(notebooks, {"profile": args.profile}, folder, say, profiles.jobs(), pages=True)
    except (ValueError, FileNotFoundError) as error:
        parser.error(str(error))
    print("\n" + summary(outcomes), flush=True)
    try:
        page = write_gallery(args.profile)
        print(f"All of it on one page: {page.relative_to(paths.figures().parent).as_posix()}", flush=True)
    except ValueError as error:  # a file that a notebook left is not what it should be
        print(f"no gallery: {error}", file=sys.stderr)
        return 1
    return int(any(outcome.state == "failed" for outcome in outcomes))


if __name__ == "__main__":
    sys.exit(main())
