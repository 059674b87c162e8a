"""The size at which a table or figure is drawn: that of the study, with the seeds that are stored so far, also where a
small profile leaves the table to the study."""

from dataclasses import replace

from sapnet_core.experiments.profiles import PROFILES, Profile, live_profile
from sapnet_core.experiments.stored import is_stored
from sapnet_core.experiments.tables import declared_trials
from sapnet_core.experiments.trial import Trial
from sapnet_core.runtime import environment

__all__ = ["FEWEST", "with_stored_seeds", "without_left"]

FEWEST = 2  # seeds; with fewer there is no interval


def without_left(profile: Profile, *names: str) -> Profile:
    """The study, if the profile leaves one of some tables and figures to it and stored results are used; else the
    profile itself."""
    return PROFILES["study"] if set(names) & set(profile.left) and not environment.recompute() else profile


def with_stored_seeds(profile: Profile, *names: str) -> Profile:
    """The profile with the seeds for which every trial of some tables and figures is stored.

    Where the study has fewer than `FEWEST` seeds of them so far, the quick profile stands in for it, since the trials
    of the study take hours. The study in turn stands in for a profile that leaves one of them to it (`Profile.left`).
    Other profiles are returned as they are, and with `SAPNET_RECOMPUTE`, which trains anew what is stored, so is every
    profile.

    Args:
        names: tables and figures, as for `declared_trials`.

    Raises:
        ValueError: a name is unknown.
        Damaged: a stored table was damaged.
    """
    profile = without_left(profile, *names)
    found = set(profile.seeds)
    for name in names:
        of: dict[int, list[Trial]] = {}
        for (*_, seed), trial in declared_trials(name, profile).items():
            of.setdefault(seed, []).append(trial)
        if profile.complete and not environment.recompute():
            found &= {seed for seed, trials in of.items() if all(map(is_stored, trials))}
    if len(found) == len(profile.seeds):
        return profile
    return replace(profile, seeds=tuple(sorted(found))) if len(found) >= FEWEST else live_profile(profile)
