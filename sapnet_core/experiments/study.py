"""A study: all trials of a profile, run in pieces, whose results are stored in the repository as they finish.

python -m sapnet_core study --profile study --tables I II --seeds 0 1 2

It can be stopped at any time: results of trials that had finished are in the folder of runs, and the next run stores
them first and then goes on with the others.
"""

import time
from collections.abc import Iterator, Sequence
from itertools import chain

from sapnet_core.experiments import stored
from sapnet_core.experiments.expected_time import expected_seconds
from sapnet_core.experiments.profiles import get_profile, with_second_look
from sapnet_core.experiments.result_files import result_name
from sapnet_core.experiments.run import run_trials, trainings
from sapnet_core.experiments.stored import store, stored_names, stored_size
from sapnet_core.experiments.tables import check_data, declared_trials
from sapnet_core.experiments.trial import Trial
from sapnet_core.runtime.executors import reach_cluster
from sapnet_core.runtime.progress import duration, trial_bars, waiting

__all__ = ["run_study", "study_trials"]

PIECE = 50  # trials after which the tables are written


def study_trials(profile: str, names: Sequence[str], seeds: Sequence[int] | None = None) -> dict[str, list[Trial]]:
    """The trials that each table or figure adds to those before it, in the order in which a study runs them.

    Within a table, all trials of one seed precede those of the next, so that every row has the same seeds early.

    Args:
        profile: name of the profile.
        names: tables and figures, as for `declared_trials`.
        seeds: some of the profile's seeds, or of those that a second look adds (`profiles.SECOND_LOOK`); None takes the
            profile's.

    Raises:
        ValueError: a name or the profile is unknown, or the profile has no such seed.
    """
    size = get_profile(profile) if seeds is None else with_second_look(get_profile(profile))
    if unknown := sorted(set(seeds or ()) - set(size.seeds)):
        known = ", ".join(map(str, size.seeds))
        raise ValueError(f"profile {profile!r} has no seed {unknown[0]}: choose among {known}")
    found, seen = {}, set()
    for name in dict.fromkeys(names):
        declared = dict.fromkeys(declared_trials(name, size).values())
        own = [t for t in declared if t not in seen and (seeds is None or t.seed in seeds)]
        found[name] = sorted(own, key=lambda trial: trial.seed)
        seen.update(own)
    return found


def run_study(profile: str, names: Sequence[str], seeds: Sequence[int] | None, jobs: int) -> None:
    """Run and store all trials of `study_trials` that are not stored yet; progress goes to standard error.

    Args:
        profile, names, seeds: as for `study_trials`.
        jobs: number of processes; with `SAPNET_DASK`, the cluster runs the trials.

    Raises:
        ValueError: as `study_trials`, `check_data` and `store`.
        OSError: a table or a result cannot be written.
    """
    check_data()
    reach_cluster()
    with waiting("looking for what is missing"):
        every = study_trials(profile, names, seeds)
        trials = list(chain(*every.values()))
        store(trials)
        left = _left(trials)
    print(_standing(every, left), flush=True)
    begun, first = time.monotonic(), left
    for piece in _pieces(left):
        with trial_bars() as bars:
            run_trials(piece, jobs, **bars)
        store(piece)
        left = _left(trials)
        print(_standing(every, left, _remaining(time.monotonic() - begun, first, left)), flush=True)


def _left(trials: Sequence[Trial]) -> list[Trial]:
    known = stored_names()
    return [trial for trial in trials if result_name(trial) not in known]


def _pieces(trials: Sequence[Trial]) -> Iterator[list[Trial]]:
    """The trials in order, in pieces of `PIECE` or a few more: trials that share one training stay together."""
    shared = {trial: group for group in trainings(trials) for trial in group}
    piece: dict[Trial, None] = {}
    done: set[Trial] = set()
    for trial in trials:
        if trial not in done:
            piece.update(dict.fromkeys(shared[trial]))
            done.update(shared[trial])
        if len(piece) >= PIECE:
            yield list(piece)
            piece = {}
    if piece:
        yield list(piece)


def _remaining(wall: float, first: Sequence[Trial], left: Sequence[Trial]) -> float:
    """Seconds until the end of the study, from the trials that were run within the seconds `wall`."""
    to_come = sum(expected_seconds(left))
    ran = sum(expected_seconds(first)) - to_come
    return wall * to_come / ran if ran > 0 else 0.0


def _standing(every: dict[str, list[Trial]], left: Sequence[Trial], seconds: float | None = None) -> str:
    """What is done, what is left, and when it will be done, in one line."""
    total, missing = sum(map(len, every.values())), set(left)
    text = f"{total - len(left)} of {total} trials are stored in {stored.FOLDER} ({stored_size() / 1e6:.1f} MB)"
    if not left:
        return f"{text}: all that were asked for"
    missing_in = {name: sum(trial in missing for trial in trials) for name, trials in every.items()}
    text += "; left: " + ", ".join(f"{name} {many}" for name, many in missing_in.items() if many)
    if seconds is not None:
        end = time.strftime("%a %d %b %H:%M", time.localtime(time.time() + seconds))
        text += f"; about {duration(seconds)}, until {end}"
    return text
