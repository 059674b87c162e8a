"""Results of trials on disk: read where they are there, run where they are not, here or on any executor.

A trial's hash names a folder with `config.json`, `metrics.json`, `predictions.csv`, `curves.csv` and `run.json`
(seconds and versions, kept apart so that `metrics.json` is the same in every run). A folder is written beside and
renamed, so it is whole or absent.
"""

import json
import os
import shutil
import tempfile
import time
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import Executor, ProcessPoolExecutor, as_completed
from dataclasses import asdict
from multiprocessing import get_context
from pathlib import Path

import pandas as pd
import torch

from sapnet_core import paths
from sapnet_core.metrics import bootstrap_interval, relative_l2, spearman
from sapnet_core.storage import read_json
from sapnet_core.trials import (
    FittedTrial,
    Trial,
    TrialData,
    fit_stack,
    fit_trial,
    label_count,
    stack_key,
    trial_data,
    trial_footage,
    trial_hash,
)

__all__ = ["trial_folder", "run_trial", "run_stack", "run_trials", "stacks", "results", "predictions", "curves"]

Progress = Callable[[int, int], None]  # (done, of all)
STACK = 25  # trials side by side: enough to fill a GPU, few enough for its memory


def trial_folder(trial: Trial) -> Path:
    """Where the trial's result lies, or will."""
    return paths.runs() / "trials" / f"{trial.dataset}-{trial.method}-{trial_hash(trial)}"


def run_trial(trial: Trial, device: str = "cpu") -> Path:
    """Run one trial unless its result is there; returns its folder.

    One thread, so that the numbers do not depend on how many trials run at once.
    """
    folder = trial_folder(trial)
    if folder.is_dir():
        return folder
    threads, started = torch.get_num_threads(), time.perf_counter()
    torch.set_num_threads(1)
    try:
        data = trial_data(trial, device=device)
        fitted = fit_trial(trial, data, device)
    finally:
        torch.set_num_threads(threads)
    return _write(trial, data, fitted, time.perf_counter() - started, device)


def run_stack(trials: Sequence[Trial], device: str = "cpu") -> list[Path]:
    """Run trials of one `trials.stack_key` as one program; each gets its own folder, as from `run_trial`.

    `run.json` gives each an equal part of the seconds.
    """
    started = time.perf_counter()
    data = [trial_data(trial, device=device) for trial in trials]
    fitted = fit_stack(list(trials), data, device)
    each = (time.perf_counter() - started) / len(trials)
    return [_write(*one, each, device) for one in zip(trials, data, fitted, strict=True)]


def _write(trial: Trial, data: TrialData, trained: FittedTrial, seconds: float, device: str) -> Path:
    """Write a trial's folder, whole or not at all."""
    folder, (fitted, _, scored, predicted) = trial_folder(trial), trained
    predicted, true = predicted.double(), data.score[scored].double()
    last = ([row for row in fitted.curves if fitted.step is None or row["step"] < fitted.step] or [{}])[-1]
    low, high = bootstrap_interval(predicted, true, resamples=1000, seed=0)
    metrics = {
        "rho": round(float(spearman(predicted, true)), 6), "rho_low": round(low, 6), "rho_high": round(high, 6),
        "r_l2": round(100 * float(relative_l2(predicted, true)), 6), "n": len(scored),
        "labeled": label_count(trial, data),
        **{k: round(v, 6) for k, v in last.items() if k.startswith("share_")},
        **({} if fitted.step is None else {"step": fitted.step}),
    }  # fmt: skip
    table = pd.DataFrame({"key": [data.records[i].key for i in scored], "score": true, "predicted": predicted})
    run = {"seconds": seconds, "torch": torch.__version__, "device": device}
    folder.parent.mkdir(parents=True, exist_ok=True)
    beside = Path(tempfile.mkdtemp(dir=folder.parent, prefix=".writing-"))
    for name, content in (("config", asdict(trial)), ("metrics", metrics), ("run", run)):
        (beside / f"{name}.json").write_text(json.dumps(content, indent=1) + "\n")
    table.to_csv(beside / "predictions.csv", index=False, float_format="%.6f")
    pd.DataFrame(fitted.curves).to_csv(beside / "curves.csv", index=False, float_format="%.6g")
    try:
        os.replace(beside, folder)
    except OSError:  # another writer was first: its result is the same
        shutil.rmtree(beside, ignore_errors=True)
        if not folder.is_dir():
            raise
    return folder


def _one_thread():
    torch.set_num_threads(1)


def run_trials(
    trials: Iterable[Trial],
    jobs: int = 1,
    device: str = "cpu",
    executor: Executor | None = None,
    progress: Progress | None = None,
    videos: Callable[[str], Progress] | None = None,
) -> list[Path]:
    """Run every trial that has no result yet; returns the folders in the order asked.

    Features are computed first, with `jobs` processes. Trials then run in this process (`jobs=1`), in a process pool,
    or on any `concurrent.futures` executor given. On a GPU, trials that differ in seed, labels or data alone train side
    by side (`run_stack`).

    Args:
        progress: called with (done, of all) at the start and after each trial, where any is missing.
        videos: from a dataset's name to what is called in the same way while its features are computed.
    """
    trials = list(dict.fromkeys(trials))
    todo = [t for t in trials if not trial_folder(t).is_dir()]
    for one in {(t.dataset, t.source, t.train, t.test, t.twin_seed, trial_footage(t), t.teacher, t.reading): t
                for t in todo}.values():  # fmt: skip
        trial_data(one, jobs, device, videos and videos(f"{one.dataset}: video"))
    if progress and todo:
        progress(0, len(todo))
    if torch.device(device).type != "cpu" and executor is None:
        done = 0
        for stack in stacks(todo, device):
            (run_stack(stack, device) if len(stack) > 1 else run_trial(stack[0], device))
            done += len(stack)
            if progress:
                progress(done, len(todo))
    elif jobs == 1 and executor is None:
        for done, trial in enumerate(todo, 1):
            run_trial(trial, device)
            if progress:
                progress(done, len(todo))
    elif todo:
        own = executor or ProcessPoolExecutor(min(jobs, len(todo)), get_context("spawn"), initializer=_one_thread)
        try:
            for done, future in enumerate(as_completed([own.submit(run_trial, t, device) for t in todo]), 1):
                future.result()
                if progress:
                    progress(done, len(todo))
        finally:
            if executor is None:
                own.shutdown(cancel_futures=True)
    return [trial_folder(t) for t in trials]


def stacks(trials: Iterable[Trial], device: str = "cpu") -> list[list[Trial]]:
    """Trials parted into those that train side by side, at most `STACK` together."""
    parts: dict[object, list[Trial]] = {}
    for trial in trials:
        parts.setdefault(stack_key(trial, trial_data(trial, device=device)) or trial, []).append(trial)
    return [part[i : i + STACK] for part in parts.values() for i in range(0, len(part), STACK)]


def results(trials: Sequence[Trial]) -> pd.DataFrame:
    """One row a trial: its fields, its metrics (among them `step`, the optimizer steps behind the scored weights), and
    its hash. Raises FileNotFoundError for a trial that was not run."""
    rows = []
    for trial in trials:
        folder = trial_folder(trial)
        if not folder.is_dir():
            raise FileNotFoundError(f"{folder.name} was not run: call run_trials first")
        metrics = {"step": trial.steps, **read_json(folder / "metrics.json")}
        rows.append({**asdict(trial), **metrics, "hash": trial_hash(trial)})
    return pd.DataFrame(rows)


def predictions(trial: Trial) -> pd.DataFrame:
    """Columns key, score, predicted of a trial that was run."""
    return pd.read_csv(trial_folder(trial) / "predictions.csv", dtype={"key": str})


def curves(trial: Trial) -> pd.DataFrame:
    """Loss terms by step of a trial that was run."""
    return pd.read_csv(trial_folder(trial) / "curves.csv")
