"""Run the notebooks that are not up to date with Papermill, and report which files each wrote.

    python -m sapnet_core run --profile quick --only 03

An executed notebook is written to a temporary file and renamed into `runs/notebooks/` after its last cell, so that a
failure keeps the earlier good output. A JSON file beside it records a digest of the run's inputs: the notebook is up to
date as long as these inputs are the same and its output and figures are still as the run wrote them. At the end the
gallery and one page per notebook are written beside the figures.
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

from sapnet_core.experiments.names import OF_FRAMES, SHOWN_IN
from sapnet_core.experiments.run import run_trials
from sapnet_core.experiments.without_videos import NO_FRAMES
from sapnet_core.features.source import known_datasets, source_kind, source_records
from sapnet_core.reporting.gallery import with_pages, write_gallery, write_page
from sapnet_core.reporting.inputs import data_digest, inputs_digest
from sapnet_core.reporting.notebook_trials import LEDGER, notebook_trials
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
    """The result of one notebook.

    Attributes:
        name: stem of the notebook's file.
        state: "ran", "up to date" or "failed".
        seconds: duration of the run, 0 if up to date.
        made: files that it wrote, relative to the folder of figures.
        error: message of a failure, else "".
    """

    name: str
    state: str
    seconds: float = 0.0
    made: tuple[str, ...] = field(default=())
    error: str = ""


def check_parameters(notebook: Path, parameters: dict[str, object]) -> None:
    """Refuse parameters that a notebook does not declare, or that have another type than declared.

    Papermill itself only warns about an unknown name, and the run would use the default.

    Raises:
        ValueError: an unknown name, a wrong type, or a damaged notebook; the message names notebook and parameter.
    """
    from papermill import inspect_notebook

    load(notebook)  # its error names a damaged notebook
    known = inspect_notebook(str(notebook))
    for name, value in parameters.items():
        if name not in known:
            raise ValueError(f"{notebook.name} has no parameter {name!r}: it has {', '.join(known) or 'none'}")
        declared = known[name]["inferred_type_name"]
        if declared in ("str", "int", "float", "bool") and type(value).__name__ != declared:
            raise ValueError(
                f"{notebook.name}: parameter {name}={value!r} has the wrong type: give a value of type {declared}"
            )


def _is_own(notebook: Path) -> bool:
    """Whether a notebook is made for own data (`07_own_training`), not an appendix on own methods."""
    return notebook.stem[0].isdigit() and "_own_" in notebook.stem


def _is_of_paper(notebook: Path) -> bool:
    """Whether a notebook draws tables or figures of the paper, or judges its claims; the appendices only read some."""
    return notebook.stem == LEDGER or (notebook.stem in SHOWN_IN and notebook.stem[0].isdigit())


def _tidy(folder: Path, name: str) -> None:
    """Delete the temporary files that killed runs of a notebook left behind."""
    for left in folder.glob(f".{name}.*"):
        owner = left.name.removeprefix(f".{name}.").partition(".")[0]
        if owner.isdigit() and not Path(f"/proc/{owner}").exists() and Path("/proc/self").exists():
            shutil.rmtree(left) if left.is_dir() else left.unlink()


def _made_before(record: Path, output: Path, digest: str) -> tuple[str, ...] | None:
    """Names of the files that an earlier run made from the same inputs.

    None if there was no such run, or if its record, its output or one of its figures is missing, damaged or replaced.
    """
    try:
        earlier = read_json(record)
        made = earlier["made"]
        files = {output: earlier["output"], **{environment.figures() / name: content for name, content in made.items()}}
        whole = all(file.is_file() and file_digest(file) == content for file, content in files.items())
        return tuple(made) if whole and earlier["inputs"] == digest else None
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        return None


def run_notebook(notebook: Path, parameters: dict[str, object], folder: Path, data: str | None = None) -> Outcome:
    """Run one notebook, unless it is up to date, and write the executed copy to `folder`.

    The notebook draws into a temporary folder; its files move to `figures/` after the last cell. An error in a cell
    does not raise: it is reported in the outcome.

    Args:
        parameters: checked by name and type before anything runs.
        folder: receives `NAME.ipynb` and its record `NAME.json`, or after a failure `NAME.failed.ipynb`.
        data: the result of `inputs.data_digest`, if the caller has it already.

    Raises:
        ValueError: as `check_parameters`.
    """
    import papermill

    logging.getLogger("papermill").setLevel(logging.CRITICAL)  # it raises the errors that it logs
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
        write_bytes(output, beside.read_bytes())
        failed.unlink(missing_ok=True)
        seconds = time.perf_counter() - started
        content = {"inputs": digest, "output": file_digest(output), "made": made, "seconds": round(seconds, 1)}
        write_json(record, content)
    except Exception as error:  # whatever a cell or its kernel raised: the suite goes on with the next notebook
        with suppress(OSError):  # a full disk, for example, which `error` reports already
            write_bytes(failed, beside.read_bytes())
        text = first_line(error) if isinstance(error, OSError) else re.sub(r"\x1b\[[0-9;]*m", "", str(error)).strip()
        return Outcome(name, "failed", time.perf_counter() - started, error=text)
    finally:
        beside.unlink(missing_ok=True)
        shutil.rmtree(drawn, ignore_errors=True)
        note.unlink(missing_ok=True)
    return Outcome(name, "ran", seconds, tuple(made))


def _run_and_show(
    pages: frozenset[str], notebook: Path, parameters: dict[str, object], folder: Path, data: str | None
) -> Outcome:
    """Run a notebook and write its page of the gallery, in one worker process; `pages` as for `write_page`."""
    outcome = run_notebook(notebook, parameters, folder, data)
    if outcome.state == "ran":
        with suppress(ValueError, OSError):  # writing the gallery meets the same fault again and reports it
            write_page(notebook, parameters.get("profile"), pages)
    return outcome


def run_all(
    notebooks: list[Path],
    parameters: dict[str, object],
    folder: Path,
    say: Callable[[str], None] = print,
    jobs: int = 1,
    pages: frozenset[str] | None = None,
    under_way: dict[str, float] | None = None,
) -> list[Outcome]:
    """Run notebooks in `jobs` worker processes; a failure does not stop the others.

    Notebooks that draw the paper's tables, figures and claims (`_is_of_paper`) start first, and a line says when they
    are done. Then come those on own data (`_is_own`), one after the other, since each reads what the one before it
    computed, and the appendices: they take long, and a long notebook that starts last would keep a single core busy at
    the end. A notebook that measures times (`..._speed`) runs alone, after all others.

    Args:
        parameters: checked against every notebook before the first one runs.
        folder: as in `run_notebook`.
        say: called with a line when a notebook ends, and with the error of one that failed.
        jobs: number of worker processes; with 1 the notebooks run one by one in this process.
        pages: if given, also write the gallery page of each notebook that runs in a worker; as for `write_page`.
        under_way: kept up to date as running notebook -> time at which it started (`time.monotonic`).

    Returns:
        One outcome per notebook, in the order given.

    Raises:
        ValueError: as `check_parameters`, or `jobs` is no whole number from 1 on.
        RuntimeError: a worker process was killed.
    """
    whole("jobs", jobs)
    for notebook in notebooks:
        check_parameters(notebook, parameters)
    alone = [notebook for notebook in notebooks if jobs == 1 or notebook.stem.endswith("_speed")]
    outcomes: dict[Path, Outcome] = {}
    data, under_way = data_digest(), {} if under_way is None else under_way
    of_paper, begun = set(filter(_is_of_paper, notebooks)), time.monotonic()

    def ended(notebook: Path, outcome: Outcome) -> None:
        outcomes[notebook] = outcome
        del under_way[notebook.stem]
        say(f"[{len(outcomes)}/{len(notebooks)}] {outcome.name} {outcome.state}, {outcome.seconds:.1f} s")
        if outcome.error:
            say(outcome.error)
        if notebook in of_paper and of_paper <= outcomes.keys() and len(of_paper) < len(notebooks):
            say(f"the notebooks of the paper's tables, figures and claims took {duration(time.monotonic() - begun)}")

    if together := [notebook for notebook in notebooks if notebook not in alone]:
        own = [notebook for notebook in together if _is_own(notebook)]
        others = [notebook for notebook in together if notebook not in own and notebook not in of_paper]
        others.sort(key=lambda notebook: notebook.stem[0].isdigit())  # the appendices first
        lanes = [[notebook] for notebook in together if notebook in of_paper]
        lanes += [own] if own else []
        lanes += [[notebook] for notebook in others]
        workers, asked, run = (
            min(jobs, len(lanes)),
            {},
            run_notebook if pages is None else partial(_run_and_show, pages),
        )
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
    """Format the closing table: notebook, seconds, state and files written, as in "fig05.{csv,png}"."""

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


def _run_declared(notebooks: list[Path], profile: str | None) -> None:
    """Run all trials that the notebooks need, on every core, so that the notebooks themselves only read and draw.

    An error is printed and not raised: notebooks that need the trial will meet it again, and the others can run.
    """
    try:
        with trial_bars() as bars:
            run_trials(notebook_trials(notebooks, profile), environment.jobs(), **bars)
    except (ValueError, OSError, RuntimeError) as error:
        print(f"not all trials were run: {error}", file=sys.stderr, flush=True)


def _without_frames(notebooks: list[Path], data: Path | None) -> list[Path]:
    """The notebooks without those about frames of a dataset of which there are features alone; each is named.

    Raises:
        ValueError: none is left.
    """
    kinds = {n: source_kind(OF_FRAMES[n.stem], data) for n in notebooks if data and n.stem in OF_FRAMES}
    out = {n: NO_FRAMES[kind] for n, kind in kinds.items() if kind in NO_FRAMES}
    told = [f"{n.stem} is about frames, and of {OF_FRAMES[n.stem]} there are {what} alone" for n, what in out.items()]
    if len(out) == len(notebooks):
        raise ValueError(f"{told[0]}: add the videos, or choose other notebooks")
    for line in told:
        print(f"{line}: left out", flush=True)
    return [n for n in notebooks if n not in out]


def _standing(under_way: dict[str, float], folder: Path, seconds: float, width: int | None) -> str:
    """The progress of the running notebooks as text: what each kernel reported, or else how long it has been running.
    It is a bar if a single notebook runs and there is a terminal, `width` columns wide."""
    found = []
    for name, begun in sorted(under_way.items()):
        notes = list(filter(None, map(read_note, folder.glob(f".{name}.*.progress"))))
        if notes and width and len(under_way) == 1:
            return notes[0].bar(width, f"{name}, ")
        found.append(f"{name}, {notes[0].line()}" if notes else f"{name}: {duration(time.monotonic() - begun)}")
    return "; ".join(found) or f"looking for what has changed: {duration(seconds)}"


def run_suite(
    profile: str | None,
    notebooks: list[Path],
    only: list[str] | None = None,
    split: str | None = None,
    shares: str | None = None,
) -> int:
    """Run notebooks and the trials they need, report what each wrote, and write the gallery: the command `run`.

    Args:
        profile: a name in `PROFILES`; None runs each notebook at the profile that it names.
        notebooks: notebooks to run, in order; if `SAPNET_DATA` holds own videos, only those made for own videos run.
        only: the values of `--only`, if given.
        split: the value of `--split`, if given; the data must then include FineFS.
        shares: the value of `--share`, if given; the data must then be own data.

    Returns:
        1 if a notebook failed or the gallery could not be written, else 0.

    Raises:
        ValueError: `split`, `shares` or `only` does not fit the data in use, or the data cannot be used.
    """
    folder = environment.runs() / "notebooks" / (profile or "")
    data = environment.data_root()
    known = known_datasets(data) if data else []
    if split and "finefs" not in known:
        raise ValueError(
            f"--split {split}: only FineFS is split, which is not in {data or 'use'}: give its folder with --data"
        )
    if shares and "folder" not in known:
        raise ValueError(f"--share {shares}: only own data are trained at given shares: give their folder with --data")
    if "folder" in known:  # own videos: only the notebooks made for them
        source_records("folder", None, None, 0, data, folder)  # raises an error before any run if they are unusable
        notebooks = [notebook for notebook in notebooks if _is_own(notebook)]
        folder /= "own"
        if not notebooks:
            raise ValueError(
                f"--only {' '.join(only or ())}: {data} holds own videos, which only 07 and 08 use: choose these"
            )
    notebooks = _without_frames(notebooks, data)
    reach_cluster()

    if not only and folder.name != "own":
        _run_declared(notebooks, profile)
    parameters = {**({"profile": profile} if profile else {}), **({"shares": shares} if shares else {})}
    under_way: dict[str, float] = {}
    with showing(partial(_standing, under_way, folder)) as say:
        pages = with_pages(profile) | {notebook.stem for notebook in notebooks}
        outcomes = run_all(notebooks, parameters, folder, say, environment.jobs(), pages, under_way)
    print("\n" + summary(outcomes), flush=True)
    try:
        with waiting("writing the gallery"):
            page = write_gallery(profile)
        print(f"All of it on one page: {page.relative_to(environment.figures().parent).as_posix()}", flush=True)
    except ValueError as error:  # a file that a notebook wrote is damaged
        print(f"the gallery was not written: {error}", file=sys.stderr)
        return 1
    return int(any(outcome.state == "failed" for outcome in outcomes))
