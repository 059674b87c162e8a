"""Run trials that have no result yet: in this process, in worker processes, on any executor, or stacked on a GPU.

Features are computed first. Trials that differ only in the step whose weights are scored share one training. A killed
training resumes from its checkpoint, a file `.training-*` in the folder of results.
"""

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
from sapnet_core.experiments.result_files import damage, trial_folder
from sapnet_core.experiments.results import without_result, write_result
from sapnet_core.experiments.trial import Trial
from sapnet_core.experiments.trial_data import prepare_trials, trial_data
from sapnet_core.methods import OwnMethod, own_methods, register
from sapnet_core.runtime import environment
from sapnet_core.runtime.devices import torch_threads
from sapnet_core.runtime.disk import HOUR, discard, in_runs, must_be_writable, remove
from sapnet_core.runtime.executors import run_tasks
from sapnet_core.runtime.fingerprint import fingerprint
from sapnet_core.runtime.progress import relayed

__all__ = ["run_selections", "run_stack", "run_trial", "run_trials", "stacks", "trainings"]

Progress = Callable[[int, int], None]  # called with (number done, total number)
STACK = 25  # maximum number of stacked trials: enough to fill a GPU, few enough for its memory
_ONE = threading.Lock()  # PyTorch has one global RNG per process, so threads of a process must train one at a time


def run_trial(trial: Trial, device: str = "cpu") -> Path:
    """Run one trial unless its result exists; returns its folder.

    PyTorch uses one thread, so that the numbers do not depend on how many trials run in parallel.
    """
    return run_selections([trial], device)[0]


def run_selections(trials: Sequence[Trial], device: str = "cpu") -> list[Path]:
    """Run trials that share one training, as `run_trial` does: they differ only in `select`, "last" first.

    `run.json` gives each an equal part of the seconds.
    """
    with _ONE, in_runs():
        todo = without_result(trials)
        if todo:
            clock, file = _clock(device), _training_file(trial_folder(todo[-1]).name)
            started = clock()
            with torch_threads(1):
                data = trial_data(todo[0], device=device)
                for trial, fitted in zip(todo, fit_selections(todo, data, device, file), strict=True):
                    write_result(trial, data, fitted, (clock() - started) / len(todo), device)
            discard(file)
    return [trial_folder(trial) for trial in trials]


def run_stack(trials: Sequence[Trial], device: str = "cpu") -> list[Path]:
    """Run trials that share one `fit.stack_key`, stacked; each gets its own folder, as from `run_trial`.

    `run.json` gives each an equal part of the seconds.
    """
    clock = _clock(device)
    started = clock()
    data = [trial_data(trial, device=device) for trial in trials]
    file = _training_file(fingerprint([trial_folder(t).name for t in trials]))
    with _ONE, in_runs():
        must_be_writable(file.parent)
        fitted = fit_stack(list(trials), data, device, file)
        each = (clock() - started) / len(trials)
        folders = [write_result(*one, each, device) for one in zip(trials, data, fitted, strict=True)]
        discard(file)
    return folders


def _clock(device: str) -> Callable[[], float]:
    """The clock that times a training: on a CPU the processor time of this process, which neither other programs nor a
    suspended computer lengthen."""
    return time.process_time if device == "cpu" else time.perf_counter


def _training_file(name: str) -> Path:
    return environment.runs() / "trials" / f".training-{name}.safetensors"


def _tidy() -> None:
    """Remove leftovers of killed runs: half-written files and folders, and checkpoints whose result exists.

    Half-written ones are kept for an hour, because another run may be writing them. Checkpoints without a result are
    kept for 60 days, because a training may be resumed after weeks.
    """
    for left in (environment.runs() / "trials").glob(".*"):
        training, name = left.name.startswith(".training-"), left.stem.removeprefix(".training-")
        with suppress(OSError):  # already removed
            old = time.time() - left.lstat().st_mtime > (60 * 24 * HOUR if training else HOUR)
            if old or (training and not damage(left.with_name(name))):
                remove(left)


def _task(trials: list[Trial], device: str) -> tuple[list[Trial], str, list[OwnMethod]]:
    """The arguments of `_run`: the trials, the device, and those of the reader's own methods that the trials use."""
    used = {trial.method for trial in trials}
    return trials, device, [method for name, method in own_methods().items() if name in used]


def _run(trials: list[Trial], device: str, own: list[OwnMethod]) -> list[str]:
    """Run the trials of one task, in this process or a worker; returns the folders of their results.

    A worker does not know the methods of a notebook, and so registers those of the task, `own`, first.
    """
    for method in own:
        register(method)
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
    """Run every trial that has no result yet; returns the folders of all, in the order of the trials.

    The folder of a trial whose result is stored in the repository (`experiments.stored`) need not exist.

    Features are computed first, with `jobs` processes. Trials then run in this process (`jobs=1`), in a process pool,
    on any `concurrent.futures` executor given, or on the Dask cluster that `SAPNET_DASK` names (`executors.run_tasks`);
    the results are the same. On a GPU, trials that share a `fit.stack_key` are stacked (`run_stack`).

    Args:
        trials: the trials; duplicates run once.
        jobs: number of processes.
        device: device of features and training.
        executor: runs the tasks if given, in place of a process pool.
        progress: called with (number done, total number) of trials, at the start and after each task, if any trial has
            no result.
        videos: called in the same way while features are computed; it counts one video per pass through a backbone.

    Raises:
        FileNotFoundError: a worker reported a result that is not in this process's `runs/trials`.
    """
    trials, progress = list(dict.fromkeys(trials)), relayed("training", "trials", progress)
    with in_runs():
        _tidy()
        todo = without_result(trials)
        prepare_trials(todo, jobs, device, videos)
        if progress and todo:
            progress(0, len(todo))
        gpu, done = torch.device(device).type != "cpu", 0
        tasks = stacks(todo, device) if gpu else trainings(todo)
        calls = [_task(task, device) for task in tasks]
        with closing(run_tasks(_run, calls, 1 if gpu else jobs, executor)) as ended:
            for index, who, folders in ended:
                for trial, folder in zip(tasks[index], folders, strict=True):
                    _arrived(trial_folder(trial), who, folder)
                done += len(tasks[index])
                if progress:
                    progress(done, len(todo))
    return [trial_folder(t) for t in trials]


def _arrived(folder: Path, who: str, said: str) -> None:
    """Wait up to ten seconds for the result `folder` of the worker `who`, which reported the path `said`.

    Raises FileNotFoundError if it does not appear here, or not intact.
    """
    for _ in range(20):
        if not (fault := damage(folder)):
            return
        with suppress(OSError):
            os.listdir(folder.parent)  # makes a network file system refresh its cache
        time.sleep(0.5)
    found = f"is incomplete or damaged here ({fault})" if os.path.lexists(folder) else "is missing here"
    raise FileNotFoundError(
        f"{who} wrote {said}, but {folder} {found}: workers must share the folder SAPNET_RUNS with this process, "
        "and have the same code and data"
    )


def trainings(trials: Iterable[Trial]) -> list[list[Trial]]:
    """Group trials that share one training: those that differ only in whether the last or the test-best step is scored.

    "validation" hides further scores from the training, and so needs a training of its own.
    """
    parts: dict[Trial, list[Trial]] = {}
    for trial in sorted(trials, key=lambda trial: trial.select != "last"):
        parts.setdefault(replace(trial, select="last") if trial.select == "test-best" else trial, []).append(trial)
    return list(parts.values())


def stacks(trials: Iterable[Trial], device: str = "cpu") -> list[list[Trial]]:
    """Group trials that share a `fit.stack_key`, at most `STACK` in a group."""
    parts: dict[object, list[Trial]] = {}
    for trial in trials:
        parts.setdefault(stack_key(trial, trial_data(trial, device=device)) or trial, []).append(trial)
    return [part[i : i + STACK] for part in parts.values() for i in range(0, len(part), STACK)]
