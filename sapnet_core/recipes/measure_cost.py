"""Measure what trials of the study take beside the time of their training: memory, and the time of their features.

    python -m sapnet_core recipe measure_cost

Each measurement has a new process with one thread of PyTorch. One trains SAP-Net at the paper's size for a few steps,
with the most labels that a table of the study gives it, and notes the most memory that it took. Another one simulates
some videos and computes the features of both views. The results are in `study/cost.csv`, one row for each dataset.
"""

import re
import tempfile
import time
from argparse import Namespace
from dataclasses import replace
from pathlib import Path

import pandas as pd

from sapnet_core.backbones.registry import format_name
from sapnet_core.experiments.fit import fit_trial
from sapnet_core.experiments.profiles import DATASETS
from sapnet_core.experiments.stored import FOLDER
from sapnet_core.experiments.study import study_trials
from sapnet_core.experiments.trial import Trial
from sapnet_core.experiments.trial_data import prepare_trials, trial_data
from sapnet_core.runtime import environment
from sapnet_core.runtime.arguments import check_environment, unwritable
from sapnet_core.runtime.files import write_text
from sapnet_core.runtime.processor import processor_kind
from sapnet_core.runtime.progress import trial_bars
from sapnet_core.runtime.variables import variables
from sapnet_core.runtime.workers import WorkerPool

__all__ = ["COST", "COST_COLUMNS", "cost_row", "largest_trials", "stored_cost"]

COST = FOLDER / "cost.csv"
# memory: most memory of a training process, in GB; video: processor seconds of simulating it and computing its features
COST_COLUMNS = ["dataset", "memory", "video", "numbers", "processor"]
TABLES = ("I", "II", "VI", "VII")  # each dataset's own tables
STATUS = Path("/proc/self/status")  # the kernel's account of the process that reads it
STEPS = 20  # after the first steps, the memory of a training stays what it is


def stored_cost() -> dict[str, dict[str, object]]:
    """Dataset -> its row of the table; empty where nothing was measured.

    Raises:
        ValueError: the table has other columns.
    """
    if not COST.is_file():
        return {}
    table = pd.read_csv(COST)
    if list(table.columns) != COST_COLUMNS:
        raise ValueError(f"{COST}: the columns are not {', '.join(COST_COLUMNS)}: restore it with git checkout")
    return {row["dataset"]: row for row in table.to_dict("records")}


def largest_trials() -> dict[str, Trial]:
    """Dataset -> the trial of SAP-Net in the study's tables that has the most labels."""
    found: dict[str, Trial] = {}
    for trial in sum(study_trials("study", TABLES, [0]).values(), []):
        best = found.get(trial.dataset)
        if trial.method == "sap-net" and (best is None or trial.share > best.share):
            found[trial.dataset] = trial
    return found


def training_memory(trial: Trial) -> float:
    """The most memory (GB) that this process has taken after it trained a trial for `STEPS` steps."""
    short = replace(trial, steps=STEPS, epochs=0.0)
    fit_trial(short, trial_data(short))
    # getrusage would count the memory of the process that started this one, too
    return int(re.search(r"VmHWM:\s+(\d+) kB", STATUS.read_text())[1]) * 1024 / 1e9


def seconds_per_video(trial: Trial, videos: int) -> float:
    """Processor seconds of simulating a video and computing the features of its views, in this process."""
    some = replace(trial, train=videos - videos // 4, test=videos // 4)
    with tempfile.TemporaryDirectory() as runs, variables(SAPNET_RUNS=runs):
        begun = time.process_time()
        features = trial_data(some).features
        return (time.process_time() - begun) / len(features.views["frame"])


def cost_row(trial: Trial, videos: int) -> dict[str, object]:
    """A row of the table (`COST_COLUMNS`) for a trial's dataset; each number is measured in a new process, and the
    time of a video is the mean over `videos` of them."""
    measured = []
    for measure, given in ((training_memory, (trial,)), (seconds_per_video, (trial, videos))):
        with WorkerPool(1) as pool:
            measured.append(round(pool.submit(measure, *given).result(), 3))
    return dict(zip(COST_COLUMNS, (trial.dataset, *measured, format_name(), processor_kind()), strict=True))


def main(asked: Namespace) -> None:
    """Measure each dataset, and write the table."""
    check_environment()
    if not STATUS.is_file():
        raise ValueError(f"the most memory of a process is read from {STATUS}, which is not here: measure on Linux")
    if fault := unwritable(COST.parent):
        raise ValueError(f"{COST} cannot be written: {fault}")
    trials = largest_trials()
    with trial_bars() as bars:
        prepare_trials(trials.values(), asked.jobs or environment.jobs(), progress=bars["videos"])
    rows = []
    for dataset in DATASETS:
        rows.append(cost_row(trials[dataset], asked.videos))
        print(*rows[-1].values(), flush=True)
    write_text(COST, pd.DataFrame(rows, columns=COST_COLUMNS).to_csv(index=False))
