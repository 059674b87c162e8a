"""Results of trials on disk: writing, checking and reading them. `experiments.run` computes those that are missing.

A trial's hash names a folder with `config.json`, `metrics.json`, `predictions.csv`, `curves.csv` and `run.json`
(seconds and versions, kept apart so that `metrics.json` is the same in every run), and a `digest` of them. Writing is
atomic: a folder is written under a temporary name and then renamed, so it is complete or absent. A folder that was
damaged or edited later does not match its digest, and every function that reads it reports this.
"""

import hashlib
import json
import os
import shutil
import sys
import tempfile
from collections.abc import Iterable, Sequence
from dataclasses import asdict
from pathlib import Path

import pandas as pd
import torch

from sapnet_core.experiments.fit import FittedTrial, label_count
from sapnet_core.experiments.intervals import bootstrap_interval
from sapnet_core.experiments.metrics import relative_l2, spearman
from sapnet_core.experiments.trial import Trial, TrialData, trial_hash
from sapnet_core.methods import Fitted
from sapnet_core.runtime import environment
from sapnet_core.runtime.disk import discard, in_runs, must_be_writable
from sapnet_core.runtime.file_kinds import found_at
from sapnet_core.runtime.files import read_json, write_text

__all__ = [
    "trial_folder",
    "damage",
    "results",
    "predictions",
    "curves",
    "run_facts",
    "without_result",
    "write_result",
]

FILES = ("config.json", "metrics.json", "predictions.csv", "curves.csv", "run.json")
DIGEST = "digest"
UNSIGNED = f"has no file {DIGEST!r}, like results of earlier versions"


def trial_folder(trial: Trial) -> Path:
    """The folder of the trial's result, whether it exists or not."""
    with in_runs():
        return environment.runs() / "trials" / f"{trial.dataset}-{trial.method}-{trial_hash(trial)}"


def damage(folder: Path) -> str:
    """Describe what is wrong with a trial's folder: a file is missing, or differs from what was written; "" if intact.

    The digest covers the folder's name, so that one trial's result cannot pass for another's.

    Raises:
        OSError: the folder or a file cannot be read at present, for lack of permission, because of too many open files,
            or because the disk fails; the result may be intact.
    """
    if not folder.is_dir():
        return f"is not a folder, but {found_at(folder) or 'absent'}"
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
        except FileNotFoundError:  # another process is discarding it as damaged
            return f"{name} is missing"
    whole, *parts = _digest(folder.name, sums).splitlines()
    if known.splitlines() in ([whole], [whole, *parts]):
        return ""
    changed = [name for name, part in zip(FILES, parts, strict=True) if part not in known]
    return (
        f"{changed[0]} was damaged or edited"
        if 0 < len(changed) < len(FILES)
        else ("its files belong to another trial or were damaged: they do not match their digest")
    )


def _digest(name: str, sums: Sequence) -> str:
    """The content of the file `digest`: a SHA-256 over the folder's name and the SHA-256 of each of `FILES`, then one
    line per file, which identifies the damaged file."""
    sha = hashlib.sha256(name.encode())
    for one in sums:
        sha.update(one.digest())
    lines = [f"{one.hexdigest()}  {file}" for file, one in zip(FILES, sums, strict=True)]
    return "\n".join([sha.hexdigest(), *lines]) + "\n"


def _read(trial: Trial) -> Path:
    """The folder of a trial's result, checked for reading.

    Raises:
        FileNotFoundError: the trial was not run.
        ValueError: its result is damaged.
    """
    folder = trial_folder(trial)
    with in_runs():
        if not os.path.lexists(folder):
            raise FileNotFoundError(f"{folder.name} was not run: call run_trials first")
        if fault := damage(folder):
            raise ValueError(f"{folder}: {fault}: call run_trials to compute it again")
    return folder


def without_result(trials: Iterable[Trial]) -> list[Trial]:
    """The trials that have no intact result. Damaged results are reported on standard error and removed.

    If there are any such trials, the folder of results is created and must be writable.
    """
    missing, unsigned = [], 0
    for trial in trials:
        folder = trial_folder(trial)
        if not os.path.lexists(folder):
            missing.append(trial)
        elif fault := damage(folder):
            missing.append(trial)
            unsigned += fault == UNSIGNED
            if fault != UNSIGNED:
                print(f"{folder}: {fault}: it is computed again", file=sys.stderr, flush=True)
            discard(folder)
    if unsigned:
        many = "1 result of an earlier version has" if unsigned == 1 else f"{unsigned} results of earlier versions have"
        print(f"{many} no digest in {folder.parent}: computed again", file=sys.stderr, flush=True)
    if missing:
        must_be_writable(folder.parent)
    return missing


def write_result(trial: Trial, data: TrialData, trained: FittedTrial, seconds: float, device: str) -> Path:
    """Write a trial's result folder atomically, and return it.

    Args:
        trial, data: the trial and its data.
        trained: the trained trial, with its predictions in points.
        seconds, device: duration and device of the training, for `run.json`.

    Raises:
        OSError: the folder cannot be written.
    """
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
        **({} if (step := _step(fitted)) is None else {"step": step}),
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
        if damage(folder):  # otherwise another process has written the same result first
            raise
    finally:
        shutil.rmtree(beside, ignore_errors=True)
    return folder


def _step(fitted: Fitted) -> int | None:
    """The number of optimizer steps behind the weights of a trained system; None for a closed form."""
    if fitted.network is None:
        return None
    return fitted.step or int(fitted.curves[-1]["step"]) + 1


def results(trials: Sequence[Trial]) -> pd.DataFrame:
    """A table with one row per trial: its fields, its metrics and its hash. The metric `step` is the number of
    optimizer steps behind the scored weights.

    Raises:
        FileNotFoundError: a trial was not run.
        ValueError: a result is damaged.
    """
    rows = []
    for trial in trials:
        metrics = {"step": trial.steps, **read_json(_read(trial) / "metrics.json")}
        rows.append({**asdict(trial), **metrics, "hash": trial_hash(trial)})
    return pd.DataFrame(rows)


def predictions(trial: Trial) -> pd.DataFrame:
    """Predictions of a trial that was run: columns key, score and predicted, in points. Raises as `results` does."""
    numbers = {"score": float, "predicted": float}
    return pd.read_csv(
        _read(trial) / "predictions.csv",
        dtype={"key": str} | numbers,
        keep_default_na=False,
        na_values=dict.fromkeys(numbers, ""),
    )


def curves(trial: Trial) -> pd.DataFrame:
    """Loss terms by step of a trial that was run. Raises as `results` does."""
    return pd.read_csv(_read(trial) / "curves.csv")


def run_facts(trial: Trial) -> dict[str, object]:
    """The `seconds`, the version of `torch` and the `device` of a trial that was run. Raises as `results` does."""
    return read_json(_read(trial) / "run.json")
