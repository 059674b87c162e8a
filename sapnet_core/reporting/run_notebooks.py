"""Run the notebooks with Papermill, only what is missing, and say what each made.

    python -m sapnet_core run --profile quick --only 03

An executed notebook goes to `runs/notebooks/`, by a temporary file and a rename once its last cell is through, so that
a failure leaves every earlier good output alone. Beside it a small JSON file records what the run was made from; a
notebook of which nothing has changed since, and whose output and figures are still as it wrote them, is up to date. At
the end the gallery and a page for each notebook are written beside the figures.
"""

import logging
import os
import re
import shutil
import sys
import time
from collections.abc import Callable
from concurrent.futures import FIRST_COMPLETED, wait
from concurrent.futures.process import BrokenProcessPool
from contextlib import suppress
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

from sapnet_core.experiments import profiles
from sapnet_core.experiments.names import KNOWN
from sapnet_core.experiments.run import run_trials
from sapnet_core.experiments.tables import declared_trials
from sapnet_core.features.source import known_datasets, source_records
from sapnet_core.reporting.gallery import write_gallery, write_page
from sapnet_core.reporting.inputs import data_digest, inputs_digest
from sapnet_core.reporting.notebooks import load
from sapnet_core.runtime import environment
from sapnet_core.runtime.command_line import first_line
from sapnet_core.runtime.executors import reach_cluster
from sapnet_core.runtime.files import read_json, write_bytes, write_json
from sapnet_core.runtime.fingerprint import file_digest
from sapnet_core.runtime.kernels import clean_environment
from sapnet_core.runtime.progress import NOTE, duration, read_note, showing, trial_bars, waiting
from sapnet_core.runtime.values import whole
from sapnet_core.runtime.workers import LOST, WorkerPool

__all__ = ["Outcome", "check_parameters", "run_notebook", "run_all", "run_suite", "summary"]


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

    load(notebook)  # a damaged one is named
    known = inspect_notebook(str(notebook))
    for name, value in parameters.items():
        if name not in known:
            raise ValueError(f"{notebook.name} has no parameter {name!r}: it has {', '.join(known) or 'none'}")
        declared = known[name]["inferred_type_name"]
        if declared in ("str", "int", "float", "bool") and type(value).__name__ != declared:
            raise ValueError(f"{notebook.name}: {name}={value!r} is no {declared}")


def _tidy(folder: Path, name: str) -> None:
    """Remove what earlier runs of a notebook left when they were killed."""
    for left in folder.glob(f".{name}.*"):
        owner = left.name.removeprefix(f".{name}.").partition(".")[0]
        if owner.isdigit() and not Path(f"/proc/{owner}").exists() and Path("/proc/self").exists():
            shutil.rmtree(left) if left.is_dir() else left.unlink()


def _made_before(record: Path, output: Path, digest: str) -> tuple[str, ...] | None:
    """What an earlier run made from the same inputs; None where there was none, or where its record, its output or one
    of its figures is gone, damaged or another's."""
    try:
        earlier = read_json(record)
        made = earlier["made"]
        files = {output: earlier["output"], **{environment.figures() / name: content for name, content in made.items()}}
        whole = all(file.is_file() and file_digest(file) == content for file, content in files.items())
        return tuple(made) if whole and earlier["inputs"] == digest else None
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        return None


def run_notebook(notebook: Path, parameters: dict[str, object], folder: Path, data: str | None = None) -> Outcome:
    """Run one notebook, unless it is up to date; its output goes to `folder`.

    It draws into a folder of its own: what it made moves to `figures/` once its last cell is through.

    Args:
        parameters: checked by name and type before anything runs.
        folder: where `NAME.ipynb` and its record `NAME.json` go; after a failure `NAME.failed.ipynb`.
        data: what `inputs.data_digest` gave, where it was asked before.
    """
    import papermill

    logging.getLogger("papermill").setLevel(logging.CRITICAL)  # its errors come as exceptions too
    name, started = notebook.stem, time.perf_counter()
    output, record, failed = (folder / f"{name}.{suffix}" for suffix in ("ipynb", "json", "failed.ipynb"))
    check_parameters(notebook, parameters)
    digest = inputs_digest(notebook, parameters, data)
    if (made := _made_before(record, output, digest)) is not None:
        return Outcome(name, "up to date", made=made)
    folder.mkdir(parents=True, exist_ok=True)
    _tidy(folder, name)
    figures, beside = environment.figures(), folder / f".{name}.{os.getpid()}.ipynb"
    drawn, note = beside.with_suffix(".figures"), beside.with_suffix(".progress")
    drawn.mkdir()
    try:
        with clean_environment(**{"SAPNET_FIGURES": str(drawn), NOTE: str(note)}):
            papermill.execute_notebook(
                str(notebook),
                str(beside),
                parameters,
                cwd=str(notebook.parent),
                kernel_name="python3",
                progress_bar=False,
                shutdown_kernel="immediate",
            )
        made = {}
        for file in sorted(file for file in drawn.rglob("*") if file.is_file()):
            write_bytes(figures / file.relative_to(drawn), file.read_bytes())
            made[file.relative_to(drawn).as_posix()] = file_digest(file)
        os.replace(beside, output)
        failed.unlink(missing_ok=True)
        seconds = time.perf_counter() - started
        content = {"inputs": digest, "output": file_digest(output), "made": made, "seconds": round(seconds, 1)}
        write_json(record, content)
    except Exception as error:  # whatever a cell or its kernel raised: the suite goes on with the next notebook
        with suppress(OSError):  # a full disk, say, which is what the error tells
            os.replace(beside, failed)
        text = first_line(error) if isinstance(error, OSError) else re.sub(r"\x1b\[[0-9;]*m", "", str(error)).strip()
        return Outcome(name, "failed", time.perf_counter() - started, error=text)
    except BaseException:  # interrupted
        beside.unlink(missing_ok=True)
        raise
    finally:
        shutil.rmtree(drawn, ignore_errors=True)
        note.unlink(missing_ok=True)
    return Outcome(name, "ran", seconds, tuple(made))


def _run_and_show(notebook: Path, parameters: dict[str, object], folder: Path, data: str | None) -> Outcome:
    """Run a notebook and make its page of the gallery, side by side with others."""
    outcome = run_notebook(notebook, parameters, folder, data)
    if outcome.state == "ran":
        with suppress(ValueError, OSError):  # met again, and said, where the gallery is made
            write_page(notebook, parameters["profile"])
    return outcome


def run_all(
    notebooks: list[Path],
    parameters: dict[str, object],
    folder: Path,
    say: Callable[[str], None] = print,
    jobs: int = 1,
    pages: bool = False,
    under_way: dict[str, float] | None = None,
) -> list[Outcome]:
    """Run notebooks, `jobs` at once; a failure does not stop the others. Returns what became of each, in their order.

    `pages` makes the gallery's page of each as well, where notebooks run side by side. `under_way` is kept as the names
    of those that run now, each with the time (`time.monotonic`) at which it began.

    Parameters are checked against every notebook before the first one runs (ValueError). `say` gets one line as a
    notebook ends. A notebook that measures times (`..._speed`) runs by itself, after the others; those on own videos
    (`..._own_...`), which read what the one before them computed, run one after the other. Side by side, these and the
    appendices begin: they take long, and a long one that begins last keeps one core alone busy.
    """
    whole("jobs", jobs)
    for notebook in notebooks:
        check_parameters(notebook, parameters)
    alone = [notebook for notebook in notebooks if jobs == 1 or notebook.stem.endswith("_speed")]
    outcomes: dict[Path, Outcome] = {}
    data, under_way = data_digest(), {} if under_way is None else under_way

    def ended(notebook: Path, outcome: Outcome) -> None:
        outcomes[notebook] = outcome
        del under_way[notebook.stem]
        say(f"[{len(outcomes)}/{len(notebooks)}] {outcome.name} {outcome.state}, {outcome.seconds:.1f} s")
        if outcome.error:
            say(outcome.error)

    if together := [notebook for notebook in notebooks if notebook not in alone]:
        own = [notebook for notebook in together if "_own_" in notebook.stem]
        others = sorted((n for n in together if n not in own), key=lambda notebook: notebook.stem[0].isdigit())
        lanes = [lane for lane in (own, *([notebook] for notebook in others)) if lane]
        workers, asked, run = min(jobs, len(lanes)), {}, _run_and_show if pages else run_notebook
        with WorkerPool(workers) as pool:
            while lanes or asked:
                while lanes and len(asked) < workers:
                    first, *rest = lanes.pop(0)
                    asked[pool.submit(run, first, parameters, folder, data)] = first, rest
                    under_way[first.stem] = time.monotonic()
                for future in wait(asked, return_when=FIRST_COMPLETED).done:
                    first, rest = asked.pop(future)
                    try:
                        ended(first, future.result())
                    except BrokenProcessPool as error:
                        raise RuntimeError(f"the process that ran {first.stem} was killed: {LOST}") from error
                    lanes = [rest, *lanes] if rest else lanes
    for notebook in alone:
        under_way[notebook.stem] = time.monotonic()
        ended(notebook, run_notebook(notebook, parameters, folder, data))
    return [outcomes[notebook] for notebook in notebooks]


def summary(outcomes: list[Outcome]) -> str:
    """The closing table: notebook, seconds, what it made (fig05.csv, fig05.png, ... are one stem)."""

    def stems(made: tuple[str, ...]) -> str:
        kinds: dict[str, list[str]] = {}
        for name in made:
            kinds.setdefault(name.rpartition(".")[0], []).append(name.rpartition(".")[2])
        return ", ".join(
            f"{stem}.{{{','.join(ends)}}}" if len(ends) > 1 else f"{stem}.{ends[0]}" for stem, ends in kinds.items()
        )

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
        with trial_bars() as bars:
            trials = [t for name in KNOWN for t in declared_trials(name, profiles.get_profile(profile)).values()]
            run_trials(trials, environment.jobs(), **bars)
    except (ValueError, OSError, RuntimeError) as error:
        print(f"not all trials were run: {error}", file=sys.stderr, flush=True)


def _standing(under_way: dict[str, float], folder: Path, seconds: float, width: int | None) -> str:
    """What runs now, and how far: what a kernel told, or else how long its notebook has been running. A bar where one
    notebook runs and a terminal is `width` columns wide."""
    found = []
    for name, begun in sorted(under_way.items()):
        notes = list(filter(None, map(read_note, folder.glob(f".{name}.*.progress"))))
        if notes and width and len(under_way) == 1:
            return notes[0].bar(width, f"{name}, ")
        found.append(f"{name}, {notes[0].line()}" if notes else f"{name}: {duration(time.monotonic() - begun)}")
    return "; ".join(found) or f"looking for what has changed: {duration(seconds)}"


def run_suite(profile: str, notebooks: list[Path], only: list[str] | None = None, split: str | None = None) -> int:
    """Run notebooks with what they need, say what each made, and write the gallery: the command `run`.

    Args:
        profile: a name in `PROFILES`.
        notebooks: those to run, in order; of them only those that what lies in `SAPNET_DATA` is for.
        only: the names by which a part of all notebooks was asked for, if it was.
        split: the rule for FineFS that was asked for by name, if one was: it must then have something to split.

    Returns:
        1 where a notebook failed, else 0.

    Raises:
        ValueError: `split` or `only` and the data in use do not go together, or the data cannot be used.
    """
    folder = environment.runs() / "notebooks" / ("" if profile == "quick" else profile)
    data = environment.data_root()
    known = known_datasets(data) if data else []
    if split and "finefs" not in known:
        raise ValueError(f"--split {split}: it splits FineFS, which {data or 'no folder of --data'} does not hold")
    if "folder" in known:  # one's own videos: the notebooks made for them
        source_records("folder", None, None, 0, data, folder)  # a fault is said before anything runs, in one line
        notebooks = [notebook for notebook in notebooks if "_own_" in notebook.stem]
        folder /= "own"
        if not notebooks:
            raise ValueError(f"--only {' '.join(only or ())}: {data} holds own videos, which 07 and 08 are for")
    reach_cluster()

    if not only and folder.name != "own":
        _run_declared(profile)
    under_way: dict[str, float] = {}
    with showing(partial(_standing, under_way, folder)) as say:
        outcomes = run_all(notebooks, {"profile": profile}, folder, say, environment.jobs(), True, under_way)
    print("\n" + summary(outcomes), flush=True)
    try:
        with waiting("writing the gallery"):
            page = write_gallery(profile)
        print(f"All of it on one page: {page.relative_to(environment.figures().parent).as_posix()}", flush=True)
    except ValueError as error:  # a file that a notebook left is not what it should be
        print(f"no gallery: {error}", file=sys.stderr)
        return 1
    return int(any(outcome.state == "failed" for outcome in outcomes))
