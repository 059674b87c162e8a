"""Results of trials on disk: written, checked and read. `experiments.run` makes those that are missing.

A trial's hash names a folder with `config.json`, `metrics.json`, `predictions.csv`, `curves.csv` and `run.json`
(seconds and versions, kept apart so that `metrics.json` is the same in every run), and a `digest` of them. A folder is
written under another name and then renamed, so it is complete or absent; one that was damaged or edited later does not
match its digest, and is reported by whoever reads it.
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
from sapnet_core.experiments.metrics import relative_l2, spearman
from sapnet_core.experiments.statistics import bootstrap_interval
from sapnet_core.experiments.trial import Trial, TrialData, trial_hash
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
UNSIGNED = f"has no file {DIGEST!r}, as results of earlier versions"


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


def without_result(trials: Iterable[Trial]) -> list[Trial]:
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


def write_result(trial: Trial, data: TrialData, trained: FittedTrial, seconds: float, device: str) -> Path:
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
