"""Results of trials: writing, checking and reading them. `experiments.run` computes those that are missing.

A result is a folder in `runs/trials` with the files of `experiments.result_files`. A trial that has no such folder is
looked for among the results that the repository stores (`experiments.stored`). Writing is atomic: a folder is written
under a temporary name and then renamed, so it is complete or absent. A folder that was damaged or edited later does not
match its digest, and every function that reads it reports this.
"""

import json
import os
import sys
from collections.abc import Iterable, Sequence
from dataclasses import asdict
from pathlib import Path

import numpy as np
import pandas as pd
import torch

from sapnet_core.backbones.registry import number_format
from sapnet_core.experiments.fit import FittedTrial, label_count
from sapnet_core.experiments.result_files import (
    DIGEST,
    UNSIGNED,
    damage,
    digest_text,
    parse_curves,
    parse_predictions,
    result_files,
    trial_folder,
)
from sapnet_core.experiments.stored import is_stored, stored_files
from sapnet_core.experiments.trial import Trial
from sapnet_core.experiments.trial_data import TrialData
from sapnet_core.experiments.trial_hash import trial_hash
from sapnet_core.experiments.trial_metrics import score_metrics
from sapnet_core.features.sequences import is_sequence
from sapnet_core.methods import Fitted
from sapnet_core.runtime.disk import discard, in_runs, must_be_writable
from sapnet_core.runtime.files import atomic_folder, write_text
from sapnet_core.runtime.fingerprint import bytes_digest
from sapnet_core.runtime.processor import processor_kind

__all__ = [
    "curves",
    "has_result",
    "predictions",
    "results",
    "run_facts",
    "trial_folder",
    "without_result",
    "write_result",
]


def _read(trial: Trial, file: str) -> bytes:
    """The content of a file of a trial's result, after the whole result was checked.

    Raises:
        FileNotFoundError: the trial was not run, and is not stored.
        ValueError: its result is damaged.
    """
    folder = trial_folder(trial)
    with in_runs():
        if os.path.lexists(folder):
            if fault := damage(folder):
                raise ValueError(f"{folder}: {fault}: call run_trials to compute it again")
            return (folder / file).read_bytes()
    if is_stored(trial):
        return stored_files(trial)[file]
    raise FileNotFoundError(f"{folder.name} was not run: call run_trials first")


def without_result(trials: Iterable[Trial]) -> list[Trial]:
    """The trials that have no intact result, neither in the folder of runs nor stored. Damaged results are reported on
    standard error and removed.

    If there are any such trials, the folder of results is created and must be writable.
    """
    missing, unsigned = [], 0
    for trial in trials:
        folder, fault = trial_folder(trial), ""
        if os.path.lexists(folder):
            if not (fault := damage(folder)):
                continue
            unsigned += fault == UNSIGNED
            discard(folder)
        stored = is_stored(trial)
        if fault and fault != UNSIGNED:
            what = "the stored result is used" if stored else "it is computed again"
            print(f"{folder}: {fault}: {what}", file=sys.stderr, flush=True)
        if not stored:
            missing.append(trial)
    if unsigned:
        many = "1 result of an earlier version has" if unsigned == 1 else f"{unsigned} results of earlier versions have"
        print(f"{many} no digest in {folder.parent}: computed again", file=sys.stderr, flush=True)
    if missing:
        must_be_writable(folder.parent)
    return missing


def has_result(trial: Trial) -> bool:
    """Whether a trial has a result in the folder of runs, which may be damaged, or a stored one."""
    return trial_folder(trial).is_dir() or is_stored(trial)


def write_result(trial: Trial, data: TrialData, trained: FittedTrial, seconds: float, device: str) -> Path:
    """Write a trial's result folder atomically, and return it.

    Args:
        trial, data: the trial and its data.
        trained: the trained trial, with its predictions in points.
        seconds, device: duration of the training (on a CPU, processor time) and its device, for `run.json`.

    Raises:
        OSError: the folder cannot be written.
    """
    folder, (fitted, _, scored, predicted) = trial_folder(trial), trained
    predicted, true = predicted.double(), data.score[scored].double()
    last = ([row for row in fitted.curves if fitted.step is None or row["step"] < fitted.step] or [{}])[-1]
    metrics = {
        **{name: round(value, 6) for name, value in score_metrics(predicted, true).items()},
        "labeled": label_count(trial, data),
        **{k: round(v, 6) for k, v in last.items() if k.startswith("share_")},
        **({} if (step := _step(fitted)) is None else {"step": step}),
    }
    table = pd.DataFrame({"key": [data.records[i].key for i in scored], "score": true, "predicted": predicted})
    files = result_files(trial, metrics, table, pd.DataFrame(fitted.curves), _facts(data, seconds, device))
    with atomic_folder(folder, lambda: not damage(folder)) as beside:
        for name, content in files.items():
            write_text(beside / name, content.decode())
        sums = [bytes_digest([content]) for content in files.values()]
        write_text(beside / DIGEST, digest_text(folder.name, sums))
    return folder


def _facts(data: TrialData, seconds: float, device: str) -> dict[str, object]:
    """What a training took, and all that decides the last digits of its numbers."""
    own = data.trial.source == "features" or is_sequence(data.records)  # no backbone computed these
    numbers = torch.float32 if own else number_format(device)
    return {
        "seconds": seconds,
        "device": device,
        "processor": processor_kind(device),
        "numbers": str(numbers).removeprefix("torch."),
        "threads": torch.get_num_threads(),
        "torch": torch.__version__,
        "numpy": np.__version__,
    }


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
        metrics = {"step": trial.steps, **json.loads(_read(trial, "metrics.json"))}
        rows.append({**asdict(trial), **metrics, "hash": trial_hash(trial)})
    return pd.DataFrame(rows)


def predictions(trial: Trial) -> pd.DataFrame:
    """Predictions of a trial that was run: columns key, score and predicted, in points. Raises as `results` does."""
    return parse_predictions(_read(trial, "predictions.csv"))


def curves(trial: Trial) -> pd.DataFrame:
    """Loss terms by step of a trial that was run. Raises as `results` does."""
    return parse_curves(_read(trial, "curves.csv"))


def run_facts(trial: Trial) -> dict[str, object]:
    """What the run of a trial took, and what it was computed by. Raises as `results` does.

    Returns:
        `seconds` (processor time on a CPU; what was stored before December 2026 has the time that passed, which other
        programs lengthened), `device`, `processor` (its kind), `numbers` (the number format in which its features were
        computed), `threads` of PyTorch, and the versions of `torch` and `numpy`. On the same kind of processor, with
        the same number format, threads and versions, a trial gives the same numbers bit for bit, and up to rounding
        elsewhere.
    """
    return json.loads(_read(trial, "run.json"))
