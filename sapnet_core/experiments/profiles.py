"""Profiles: how large a run is. They differ in sizes, seeds and steps alone, never in code path."""

import os
from dataclasses import dataclass

from sapnet_core.runtime.cores import allowed_cores

__all__ = ["Profile", "PROFILES", "DATASETS", "DIVES", "ROUTINES", "SPLITS", "finefs_split", "get_profile", "jobs"]

DIVES = ("mtl-aqa", "finediving")
ROUTINES = ("rg", "finefs")
DATASETS = (*DIVES, *ROUTINES)
SPLITS = ("random", "ordered", "interleaved", "files")  # rules for FineFS, of which no split was published


@dataclass(frozen=True)
class Profile:
    """Sizes of one run.

    Attributes:
        name: the name given to `--profile`.
        dives, routines: training and test videos of a dataset of dives and of one of routines; None takes the official
            sizes.
        seeds: seeds of the trials; each draws its own labeled samples, weights and batches.
        steps: optimizer steps of one trial.
        size: height and width of frames and crops, in pixels.
        resamples: bootstrap resamples behind one interval.
    """

    name: str
    dives: tuple[int | None, int | None]
    routines: tuple[int | None, int | None]
    seeds: tuple[int, ...]
    steps: int
    size: int = 112
    resamples: int = 1000

    def sizes(self, dataset: str) -> tuple[int | None, int | None]:
        """Training and test videos of a dataset; a folder of own videos is taken as it is."""
        return self.dives if dataset in DIVES else self.routines if dataset in ROUTINES else (None, None)


PROFILES = {
    "quick": Profile("quick", dives=(480, 240), routines=(80, 60), seeds=(0, 1, 2), steps=200),
    "paper": Profile("paper", dives=(None, None), routines=(None, None), seeds=(0, 1, 2, 3, 4), steps=4000),
}


def get_profile(name: str) -> Profile:
    """The profile of that name. Raises ValueError naming the known ones."""
    if name not in PROFILES:
        raise ValueError(f"profile {name!r} is unknown: choose one of {', '.join(PROFILES)}")
    return PROFILES[name]


def jobs() -> int:
    """Worker processes to use: `SAPNET_JOBS`, else one for each core that may be used.

    Raises:
        ValueError: `SAPNET_JOBS` is no whole number, or none from 1 on.
    """
    asked = os.environ.get("SAPNET_JOBS")
    if not asked:
        return allowed_cores()
    if not (asked.isascii() and asked.isdecimal() and int(asked)):
        raise ValueError(f"SAPNET_JOBS={asked!r} is no whole number from 1 on: unset it, or give a number of processes")
    return int(asked)


def finefs_split() -> str:
    """The rule that splits FineFS (`SAPNET_SPLIT`), one of `SPLITS`. Raises ValueError naming them for another."""
    rule = os.environ.get("SAPNET_SPLIT") or "random"
    if rule not in SPLITS:
        raise ValueError(f"SAPNET_SPLIT={rule!r} is unknown: choose one of {', '.join(SPLITS)}")
    return rule
