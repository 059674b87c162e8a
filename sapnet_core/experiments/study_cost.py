"""What a study costs: seconds of its stored trials, summed over the tables and figures that they were run for."""

from collections.abc import Sequence

import pandas as pd

from sapnet_core.experiments.expected_time import expected_seconds
from sapnet_core.experiments.names import STUDY
from sapnet_core.experiments.result_files import result_name
from sapnet_core.experiments.stored import stored_seconds
from sapnet_core.experiments.study import study_trials

__all__ = ["study_cost"]


def study_cost(profile: str = "study", names: Sequence[str] = STUDY) -> pd.DataFrame:
    """One row for each table or figure of a study: the trials that it adds to those before it, and what they took.

    A trial uses one core; features are computed before it and are not counted.

    Args:
        profile, names: as for `study.study_trials`.

    Returns:
        A data frame with columns "adds trials of", "trials", "stored", "core-hours" (of those that are stored) and
        "core-hours left" (of the others, by `expected_time.expected_seconds`); its last row holds the sums.
    """
    took, rows, every = stored_seconds(), [], study_trials(profile, names)
    seconds = {trial: took.get(result_name(trial)) for trials in every.values() for trial in trials}
    left = [trial for trial, known in seconds.items() if known is None]
    expected = dict(zip(left, expected_seconds(left), strict=True))
    for name, trials in every.items():
        done = [seconds[trial] for trial in trials if trial not in expected]
        hours = sum(done) / 3600, sum(expected[trial] for trial in trials if trial in expected) / 3600
        rows.append((name, len(trials), len(done), *hours))
    table = pd.DataFrame(rows, columns=["adds trials of", "trials", "stored", "core-hours", "core-hours left"])
    total = {"adds trials of": "all", **table.drop(columns="adds trials of").sum()}
    return pd.concat([table, pd.DataFrame([total])], ignore_index=True).astype({"trials": int, "stored": int})
