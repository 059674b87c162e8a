"""Train the trials on UI-PRMD, people left out, and store their results in the repository.

    python -m sapnet_core recipe measure_people DIR

Trials run in pieces, each of which is stored when it is done: the program can be stopped at any time, and goes on where
it was when it is started again. `DIR` holds the published data (`datasets.ui_prmd`); of these nothing is stored but a
digest, the predictions, and the true labels beside them.
"""

import os
import time
from argparse import Namespace

from sapnet_core.experiments.measured_data import store_digests
from sapnet_core.experiments.profiles import get_profile
from sapnet_core.experiments.result_files import result_name
from sapnet_core.experiments.run import run_trials
from sapnet_core.experiments.stored import store, stored_names
from sapnet_core.experiments.trial_data import digested_records
from sapnet_core.experiments.ui_prmd_trials import people_trials
from sapnet_core.features.sequences import sequence_digest
from sapnet_core.runtime import environment
from sapnet_core.runtime.arguments import check_environment
from sapnet_core.runtime.progress import duration, trial_bars

__all__ = ["main"]

DATASET = "ui-prmd"
PIECE = 50  # trials after which the tables are written


def main(asked: Namespace) -> None:
    """Run and store the trials that are not stored yet."""
    os.environ["SAPNET_DATA"] = str(asked.folder)
    check_environment()
    trials = people_trials(get_profile(asked.profile))
    # seed by seed, so that every row has whole tables early
    ordered = [trials[key] for key in sorted(trials, key=lambda key: (key[3], key[2], key[1]))]
    records, digest = digested_records(DATASET, "videos", None, None, 0)
    store_digests(DATASET, digest, sequence_digest(records, asked.folder))
    store(ordered)
    begun, left = time.monotonic(), _left(ordered)
    for first in range(0, len(left), PIECE):
        with trial_bars() as bars:
            run_trials(left[first : first + PIECE], asked.jobs or environment.jobs(), **bars)
        store(left[first : first + PIECE])
        done = min(first + PIECE, len(left))
        ahead = (time.monotonic() - begun) / done * (len(left) - done)
        print(f"{done} of {len(left)} trials are stored; about {duration(ahead)} left", flush=True)
    print(f"{len(ordered)} trials are stored: all of profile {asked.profile}")


def _left(trials: list) -> list:
    known = stored_names("measured")
    return [trial for trial in trials if result_name(trial) not in known]
