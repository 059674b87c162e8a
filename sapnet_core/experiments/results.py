"""Results of trials on disk: read where they are there, run where they are not, here or on any executor.

A trial's hash names a folder with `config.json`, `metrics.json`, `predictions.csv`, `curves.csv` and `run.json`
(seconds and versions, kept apart so that `metrics.json` is the same in every run), and a `digest` of all that. A folder
is written beside and renamed, so it is whole or absent; one that was damaged or edited later no longer fits its digest:
whoever reads it is told so, and `run_trials` makes it again. A training that was killed goes on from `.training-*`
beside it (`checkpoint.Checkpoint`).
"""

import hashlib
import json
import os
import shutil
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import Executor
from contextlib import closing, suppress
from dataclasses import asdict, replace
from pathlib import Path

import pandas as pd
import torch

from sapnet_core.experiments.fit import FittedTrial, fit_selections, fit_stack, label_count, stack_key
from sapnet_core.experiments.metrics import relative_l2, spearman
from sapnet_core.experiments.statistics import bootstrap_interval
from sapnet_core.experiments.trial import Trial, TrialData, prepare_trials, trial_data, trial_hash
from sapnet_core.runtime import environment
from sapnet_core.runtime.devices import torch_threads
from sapnet_core.runtime.disk import HOUR, discard, in_runs, must_be_writable, remove
from sapnet_core.runtime.executors import run_tasks
from sapnet_core.runtime.file_kinds import found_at
from sapnet_core.runtime.files import read_json, write_text
from sapnet_core.runtime.progress import relayed

__all__ = [
    "trial_folder",
    "damage",
    "run_trial",
    "run_selections",
    "run_stack",
    "run_trials",
    "stacks",
    "results",
    "predictions",
    "curves",
    "run_facts",
]

Progress = Callable[[int, int], None]  # (done, of all)
STACK = 25  # trials side by side: enough to fill a GPU, few enough for its memory
FILES = ("config.json", "metrics.json", "predictions.csv", "curves.csv", "run.json")
DIGEST = "digest"
UNSIGNED = f"has no file {DIGEST!r}, as results of earlier versions"
_ONE = threading.Lock()  # torch draws from one generator a process: its threads train one after the other


def trial_folder(trial: Trial) -> Path:
    """Where the trial's result lies, or will."""
    with in_runs():
        return environment.runs() / "trials" / f"{trial.dataset}-{trial.method}-{trial_hash(trial)}"


def damage(folder: Path) -> str:
    """What is wrong with a trial's folder, "" for nothing: a file of it is absent, or not what was written.

    The digest is over the folder's name too, so no trial's result is taken for another's.

    Raises:
        OSError: what lies there cannot be read just now, be it whole or not: its permissions, too many open files, the
            disk itself.
    """
    if not folder.is_dir():
        return f"is no folder, but {found_at(folder) or 'absent'}"
    sums = []
    for name in (*FILES, DIGEST):
        try:
            if not (folder / name).is_file():
                found = found_at(folder / name)
                return UNSIGNED if name == DIGEST and not found else f"{name} is {found or 'missing'}"
            with open(folder / name, "rb") as file:
                if name == DIGEST:
                    known = file.read(4096).decode("ascii", "replace")
                else:
                    sums.append(hashlib.file_digest(file, "sha256"))
        except FileNotFoundError:  # another process takes it away, as damaged
            return f"{name} is missing"
    whole, *parts = _digest(folder.name, sums).splitlines()
    if known.splitlines() in ([whole], [whole, *parts]):
        return ""
    changed = [name for name, part in zip(FILES, parts, strict=True) if part not in known]
    return (
        f"{changed[0]} was damaged or edited"
        if 0 < len(changed) < len(FILES)
        else ("its files are of another trial, or were damaged: they do not fit their digest")
    )


def _digest(name: str, sums: Sequence) -> str:
    """The content of the file `digest`: a SHA-256 over the folder's name and the sums of `FILES`; and a line for each
    file, which tells what was damaged."""
    sha = hashlib.sha256(name.encode())
    for one in sums:
        sha.update(one.digest())
    lines = [f"{one.hexdigest()}  {file}" for file, one in zip(FILES, sums, strict=True)]
    return "\n".join([sha.hexdigest(), *lines]) + "\n"


def _read(trial: Trial) -> Path:
    """The folder of a trial's result, for reading.

    Raises:
        FileNotFoundError: the trial was not run.
        ValueError: its result was damaged.
    """
    folder = trial_folder(trial)
    with in_runs():
        if not os.path.lexists(folder):
            raise FileNotFoundError(f"{folder.name} was not run: call run_trials first")
        if fault := damage(folder):
            raise ValueError(f"{folder}: {fault}: call run_trials, which makes it again")
    return folder


def _missing(trials: Iterable[Trial]) -> list[Trial]:
    """Trials without a whole result; a damaged one is named on standard error and taken out of the way."""
    missing, unsigned = [], 0
    for trial in trials:
        folder = trial_folder(trial)
        if not os.path.lexists(folder):
            missing.append(trial)
        elif fault := damage(folder):
            missing.append(trial)
            unsigned += fault == UNSIGNED
            if fault != UNSIGNED:
                print(f"{folder}: {fault}: it is made again", file=sys.stderr, flush=True)
            discard(folder)
    if unsigned:
        many = "1 result of an earlier version has" if unsigned == 1 else f"{unsigned} results of earlier versions have"
        print(f"{many} no digest in {folder.parent}: made again", file=sys.stderr, flush=True)
    if missing:
        must_be_writable(folder.parent)
    return missing


def run_trial(trial: Trial, device: str = "cpu") -> Path:
    """Run one trial unless its result is there; returns its folder.

    One thread, so that the numbers do not depend on how many trials run at once.
    """
    return run_selections([trial], device)[0]


def run_selections(trials: Sequence[Trial], device: str = "cpu") -> list[Path]:
    """Run trials of one training, which differ in `select` alone ("last" first), as `run_trial` does; `run.json` gives
    each an equal part of the seconds."""
    with _ONE, in_runs():
        todo = _missing(trials)
        if todo:
            started, file = time.perf_counter(), _training_file(trial_folder(todo[-1]).name)
            with torch_threads(1):
                data = trial_data(todo[0], device=device)
                for trial, fitted in zip(todo, fit_selections(todo, data, device, file), strict=True):
                    _write(trial, data, fitted, (time.perf_counter() - started) / len(todo), device)
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
        folders = [_write(*one, each, device) for one in zip(trials, data, fitted, strict=True)]
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


def _write(trial: Trial, data: TrialData, trained: FittedTrial, seconds: float, device: str) -> Path:
    """Write a trial's folder, whole or not at all."""
    folder, (fitted, _, scored, predicted) = trial_folder(trial), trained
    predicted, true = predicted.double(), data.score[scored].double()
    last = ([row for row in fitted.curves if fitted.step is None or row["step"] < fitted.step] or [{}])[-1]
    low, high = bootstrap_interval(predicted, true, resamples=1000, seed=0)
    metrics = {
        "rho": round(float(spearman(predicted, true)), 6),
        "rho_low": round(low, 6),
        "rho_high": round(high, 6),
        "r_l2": round(100 * float(relative_l2(predicted, true)), 6),
        "n": len(scored),
        "labeled": label_count(trial, data),
        **{k: round(v, 6) for k, v in last.items() if k.startswith("share_")},
        **({} if fitted.step is None else {"step": fitted.step}),
    }
    table = pd.DataFrame({"key": [data.records[i].key for i in scored], "score": true, "predicted": predicted})
    run = {"seconds": seconds, "torch": torch.__version__, "device": device}
    folder.parent.mkdir(parents=True, exist_ok=True)
    beside = Path(tempfile.mkdtemp(dir=folder.parent, prefix=".writing-"))
    try:
        for name, content in (("config", asdict(trial)), ("metrics", metrics), ("run", run)):
            write_text(beside / f"{name}.json", json.dumps(content, indent=1) + "\n")
        write_text(beside / "predictions.csv", table.to_csv(index=False, float_format="%.6f"))
        write_text(beside / "curves.csv", pd.DataFrame(fitted.curves).to_csv(index=False, float_format="%.6g"))
        sums = [hashlib.sha256((beside / name).read_bytes()) for name in FILES]
        write_text(beside / DIGEST, _digest(folder.name, sums))
        if os.path.lexists(folder) and damage(folder):
            discard(folder)
        os.replace(beside, folder)
    except OSError:
        if damage(folder):  # else another writer was first: its result is the same
            raise
    finally:
        shutil.rmtree(beside, ignore_errors=True)
    return folder


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
        todo = _missing(trials)
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


def results(trials: Sequence[Trial]) -> pd.DataFrame:
    """One row a trial: its fields, its metrics (among them `step`, the optimizer steps behind the scored weights), and
    its hash. Raises FileNotFoundError for a trial that was not run, ValueError for a damaged result."""
    rows = []
    for trial in trials:
        metrics = {"step": trial.steps, **read_json(_read(trial) / "metrics.json")}
        rows.append({**asdict(trial), **metrics, "hash": trial_hash(trial)})
    return pd.DataFrame(rows)


def predictions(trial: Trial) -> pd.DataFrame:
    """Columns key, score, predicted of a trial that was run. Raises as `results`."""
    numbers = {"score": float, "predicted": float}
    return pd.read_csv(
        _read(trial) / "predictions.csv",
        dtype={"key": str} | numbers,
        keep_default_na=False,
        na_values=dict.fromkeys(numbers, ""),
    )


def curves(trial: Trial) -> pd.DataFrame:
    """Loss terms by step of a trial that was run. Raises as `results`."""
    return pd.read_csv(_read(trial) / "curves.csv")


def run_facts(trial: Trial) -> dict[str, object]:
    """Of a trial that was run: its `seconds`, the version of `torch` and the `device`. Raises as `results`."""
    return read_json(_read(trial) / "run.json")
