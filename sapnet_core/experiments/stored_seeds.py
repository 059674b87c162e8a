"""The seeds of a table or figure whose trials are all stored: a study that is under way is drawn with these."""

from dataclasses import replace

from sapnet_core.experiments.profiles import Profile
from sapnet_core.experiments.stored import is_stored
from sapnet_core.experiments.tables import declared_trials
from sapnet_core.experiments.trial import Trial

__all__ = ["FEWEST", "with_stored_seeds"]

FEWEST = 2  # seeds; with fewer there is no interval


def with_stored_seeds(profile: Profile, *names: str) -> Profile:
    """The profile with the seeds for which every trial of some tables and figures is stored.

    Where fewer than `FEWEST` seeds are stored, as at any size but the study's, and with `SAPNET_RECOMPUTE`, the profile
    keeps all its seeds, and the trials are run.

    Args:
        names: tables and figures, as for `declared_trials`.

    Raises:
        ValueError: a name is unknown.
        Damaged: a stored table was damaged.
    """
    found = set(profile.seeds)
    for name in names:
        of: dict[int, list[Trial]] = {}
        for (*_, seed), trial in declared_trials(name, profile).items():
            of.setdefault(seed, []).append(trial)
        found &= {seed for seed, trials in of.items() if all(map(is_stored, trials))}
    return replace(profile, seeds=tuple(sorted(found))) if len(found) >= FEWEST else profile
