"""The size at which a table or figure is drawn: that of the study, with the seeds that are stored so far, also where a
small profile leaves the table to the study."""

from dataclasses import replace

from sapnet_core.experiments.profiles import PROFILES, Profile, live_profile
from sapnet_core.experiments.stored import is_stored
from sapnet_core.experiments.tables import declared_trials
from sapnet_core.experiments.trial import Trial
from sapnet_core.runtime import environment

__all__ = ["FEWEST", "study_if_left", "with_stored_seeds"]

FEWEST = 2  # seeds; with fewer there is no interval


def study_if_left(profile: Profile, *names: str) -> Profile:
    """The study, if the profile leaves one of some tables and figures to it (`Profile.left_to_study`) and stored
    results are used; else the profile itself."""
    return PROFILES["study"] if set(names) & set(profile.left_to_study) and not environment.recompute() else profile


def with_stored_seeds(profile: Profile, *names: str) -> Profile:
    """The size at which some tables and figures are shown together.

    The study is returned with the seeds for which all their trials are stored, also for a profile that leaves one of
    them to it (`study_if_left`). Where it has fewer than `FEWEST` such seeds so far, the quick profile stands in for
    it, since the trials of the study take hours. Any other profile is returned as it is, and so is every profile with
    `SAPNET_RECOMPUTE`, which trains anew what is stored.

    Args:
        names: tables and figures, as for `declared_trials`.

    Raises:
        ValueError: a name is unknown.
        Damaged: a stored table was damaged.
    """
    profile = study_if_left(profile, *names)
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
