"""Profiles: how large a run is. They differ in sizes, seeds and steps alone, never in code path."""

import os
from dataclasses import dataclass

__all__ = ["Profile", "PROFILES", "DATASETS", "get_profile", "jobs"]

DATASETS = ("mtl-aqa", "finediving")


@dataclass(frozen=True)
class Profile:
    """Sizes of one run.

    Attributes:
        name: the name given to `--profile`.
        train, test: videos per dataset and split; None takes the official sizes.
        seeds: seeds of the trials; each draws its own labeled samples, weights and batches.
        steps: optimizer steps of one trial.
        size: height and width of frames and crops, in pixels.
        resamples: bootstrap resamples behind one interval.
    """

    name: str
    train: int | None
    test: int | None
    seeds: tuple[int, ...]
    steps: int
    size: int = 112
    resamples: int = 1000


PROFILES = {
    "quick": Profile("quick", train=480, test=240, seeds=(0, 1, 2), steps=200),
    "paper": Profile("paper", train=None, test=None, seeds=(0, 1, 2, 3, 4), steps=4000),
}


def get_profile(name: str) -> Profile:
    """The profile of that name. Raises ValueError naming the known ones."""
    if name not in PROFILES:
        raise ValueError(f"profile {name!r} is unknown: choose one of {', '.join(PROFILES)}")
    return PROFILES[name]


def jobs() -> int:
    """Worker processes to use: `SAPNET_JOBS`, else one a processor core."""
    return max(1, int(os.environ.get("SAPNET_JOBS") or os.cpu_count() or 1))
