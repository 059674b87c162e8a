"""What each compared system costs on cached features: parameters, seconds of training, videos a second."""

import time
from collections.abc import Mapping

import pandas as pd
import torch

from sapnet_core.experiments.fit import fit_trial, training_task
from sapnet_core.experiments.trial import Trial
from sapnet_core.experiments.trial_data import trial_data

__all__ = ["system_cost"]

PREFERRED = ("10%", "supervised")  # columns on which a system is measured, where it has them
REPEATS = 5  # predictions of all scored videos, for the speed


def system_cost(trials: Mapping[tuple[str, str, str, int], Trial]) -> pd.DataFrame:
    """Train each system once and predict with it, on one thread; the backbone is not counted.

    A system is measured on the first of its trials with few labels, else on the first in which all videos have labels,
    else on its first one.

    Args:
        trials: (table, system, column, seed) -> Trial.

    Returns:
        One row per system, in the order of `trials`: system, "measured on" (dataset and column), parameters,
        "training, s" (processor time) and "videos/s".
    """
    rows, threads = [], torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        for system in dict.fromkeys(key[1] for key in trials):
            own = [key for key in trials if key[1] == system]
            key = next((k for column in PREFERRED for k in own if k[2] == column), own[0])
            rows.append({"system": system, **_measured(trials[key], key[2])})
    finally:
        torch.set_num_threads(threads)
    return pd.DataFrame(rows)


def _measured(trial: Trial, column: str) -> dict[str, object]:
    data = trial_data(trial)
    training_task(trial, data)  # features that are not there are computed before the time is taken
    start = time.process_time()
    fitted, videos, *_ = fit_trial(trial, data)
    trained = time.process_time() - start
    fitted.predict(videos)
    start = time.perf_counter()
    for _ in range(REPEATS):
        fitted.predict(videos)
    speed = REPEATS * len(videos) / (time.perf_counter() - start)
    weights = sum(p.numel() for p in fitted.network.parameters()) if fitted.network else 0
    return {
        "measured on": f"{trial.dataset} {column}",
        "parameters": weights,
        "training, s": round(trained, 2),
        "videos/s": speed,
    }
