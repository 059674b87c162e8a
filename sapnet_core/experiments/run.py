"""Run trials that have no result yet: here, in worker processes, on any executor, or side by side on a GPU.

Features are computed first. Trials that differ only in the step whose weights are scored share one training. A training
that was killed resumes from its checkpoint, `.training-*` beside the results.
"""

import hashlib
import os
import threading
import time
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import Executor
from contextlib import closing, suppress
from dataclasses import replace
from pathlib import Path

import torch

from sapnet_core.experiments.fit import fit_selections, fit_stack, stack_key
from sapnet_core.experiments.results import damage, trial_folder, without_result, write_result
from sapnet_core.experiments.trial import Trial, prepare_trials, trial_data
from sapnet_core.runtime import environment
from sapnet_core.runtime.devices import torch_threads
from sapnet_core.runtime.disk import HOUR, discard, in_runs, must_be_writable, remove
from sapnet_core.runtime.executors import run_tasks
from sapnet_core.runtime.progress import relayed

__all__ = ["run_selections", "run_stack", "run_trial", "run_trials", "stacks"]

Progress = Callable[[int, int], None]  # (done, of all)
STACK = 25  # trials trained side by side: enough to fill a GPU, few enough for its memory
_ONE = threading.Lock()  # torch has one random generator per process, so threads of a process train one after the other


def run_trial(trial: Trial, device: str = "cpu") -> Path:
    """Run one trial unless its result is there; returns its folder.

    One thread, so that the numbers do not depend on how many trials run at once.
    """
    return run_selections([trial], device)[0]


def run_selections(trials: Sequence[Trial], device: str = "cpu") -> list[Path]:
    """Run trials of one training, which differ in `select` alone ("last" first), as `run_trial` does; `run.json` gives
    each an equal part of the seconds."""
    with _ONE, in_runs():
        todo = without_result(trials)
        if todo:
            started, file = time.perf_counter(), _training_file(trial_folder(todo[-1]).name)
            with torch_threads(1):
                data = trial_data(todo[0], device=device)
                for trial, fitted in zip(todo, fit_selections(todo, data, device, file), strict=True):
                    write_result(trial, data, fitted, (time.perf_counter() - started) / len(todo), device)
            discard(file)
    return [trial_folder(trial) for trial in trials]


def run_stack(trials: Sequence[Trial], device: str = "cpu") -> list[Path]:
    """Run trials of one `fit.stack_key` as one program; each gets its own folder, as from `run_trial`.

    `run.json` gives each an equal part of the seconds.
    """
    started = time.perf_counter()
    data = [trial_data(trial, device=device) for trial in trials]
    file = _training_file(hashlib.sha256(" ".join(trial_folder(t).name for t in trials).encode()).hexdigest()[:16])
    with _ONE, in_runs():
        must_be_writable(file.parent)
        fitted = fit_stack(list(trials), data, device, file)
        each = (time.perf_counter() - started) / len(trials)
        folders = [write_result(*one, each, device) for one in zip(trials, data, fitted, strict=True)]
        discard(file)
    return folders


def _training_file(name: str) -> Path:
    return environment.runs() / "trials" / f".training-{name}.safetensors"


def _tidy() -> None:
    """Remove what killed runs left and none will read: half-written files and folders, trainings whose result is there.

    Young ones may belong to a run beside this one, and a training may go on after weeks.
    """
    for left in (environment.runs() / "trials").glob(".*"):
        training, name = left.name.startswith(".training-"), left.stem.removeprefix(".training-")
        with suppress(OSError):  # gone already
            old = time.time() - left.lstat().st_mtime > (60 * 24 * HOUR if training else HOUR)
            if old or (training and not damage(left.with_name(name))):
                remove(left)


def _run(trials: list[Trial], device: str) -> list[str]:
    """Run the trials of one task, wherever that is; returns where their results were written."""
    stacked = len(trials) > 1 and torch.device(device).type != "cpu"
    return [str(folder) for folder in (run_stack if stacked else run_selections)(trials, device)]


def run_trials(
    trials: Iterable[Trial],
    jobs: int = 1,
    device: str = "cpu",
    executor: Executor | None = None,
    progress: Progress | None = None,
    videos: Progress | None = None,
) -> list[Path]:
    """Run every trial that has no result yet; returns the folders in the order asked.

    Features are computed first, with `jobs` processes. Trials then run in this process (`jobs=1`), in a process pool,
    on any `concurrent.futures` executor given, or on the Dask cluster that `SAPNET_DASK` names (`executors.run_tasks`);
    the results are the same. On a GPU, trials that differ in seed, labels or data alone train side by side
    (`run_stack`).

    Args:
        progress: called with (done, of all) at the start and after each task, where any is missing.
        videos: called in the same way while features are computed, a video for each pass through a backbone.

    Raises:
        FileNotFoundError: a worker elsewhere wrote a result, and it is not in this process's `runs/trials`.
    """
    trials, progress = list(dict.fromkeys(trials)), relayed("training", "trials", progress)
    with in_runs():
        _tidy()
        todo = without_result(trials)
        prepare_trials(todo, jobs, device, videos)
        if progress and todo:
            progress(0, len(todo))
        gpu, done = torch.device(device).type != "cpu", 0
        tasks = stacks(todo, device) if gpu else _trainings(todo)
        with closing(run_tasks(_run, [(task, device) for task in tasks], 1 if gpu else jobs, executor)) as ended:
            for index, who, folders in ended:
                for trial, folder in zip(tasks[index], folders, strict=True):
                    _arrived(trial_folder(trial), who, folder)
                done += len(tasks[index])
                if progress:
                    progress(done, len(todo))
    return [trial_folder(t) for t in trials]


def _arrived(folder: Path, who: str, said: str) -> None:
    """Raises FileNotFoundError where a result that a worker wrote does not appear here, or not whole."""
    for _ in range(20):
        if not (fault := damage(folder)):
            return
        with suppress(OSError):
            os.listdir(folder.parent)  # a network file system then looks again
        time.sleep(0.5)
    found = f"is not here whole ({fault})" if os.path.lexists(folder) else "is not here"
    raise FileNotFoundError(
        f"{who} wrote {said}, and {folder} {found}: workers must share the folder SAPNET_RUNS with this process, "
        "and have the same code and data"
    )


def _trainings(trials: Iterable[Trial]) -> list[list[Trial]]:
    """Trials parted into those that one training serves: it ends where it ends, whichever step is scored."""
    parts: dict[Trial, list[Trial]] = {}
    for trial in sorted(trials, key=lambda trial: trial.select != "last"):
        parts.setdefault(replace(trial, select="last") if trial.select == "test-best" else trial, []).append(trial)
    return list(parts.values())


def stacks(trials: Iterable[Trial], device: str = "cpu") -> list[list[Trial]]:
    """Trials parted into those that train side by side, at most `STACK` together."""
    parts: dict[object, list[Trial]] = {}
    for trial in trials:
        parts.setdefault(stack_key(trial, trial_data(trial, device=device)) or trial, []).append(trial)
    return [part[i : i + STACK] for part in parts.values() for i in range(0, len(part), STACK)]
