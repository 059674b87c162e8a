"""The second look of the study (`study/plan.md`): further seeds for claims that the first look leaves undecided."""

from dataclasses import replace

from sapnet_core.experiments.profiles import Profile

__all__ = ["MORE", "with_second_look"]

MORE = tuple(range(10, 20))  # the seeds that are added


def with_second_look(profile: Profile) -> Profile:
    """The profile with the seeds of both looks; another profile than the study has one look only, and is returned as it
    is."""
    return replace(profile, seeds=(*profile.seeds, *MORE)) if profile.complete else profile
