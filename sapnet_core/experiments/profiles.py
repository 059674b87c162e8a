"""Profiles set the size of a run. They differ only in their sizes, seeds, steps and resamples, never in code path."""

from dataclasses import dataclass

__all__ = ["Profile", "PROFILES", "DATASETS", "DIVES", "ROUTINES", "get_profile"]

DIVES = ("mtl-aqa", "finediving")
ROUTINES = ("rg", "finefs")
DATASETS = (*DIVES, *ROUTINES)


@dataclass(frozen=True)
class Profile:
    """The size of a run.

    Attributes:
        name: the name given to `--profile`.
        dives, routines: numbers of training and test videos of a dataset of dives, and of one of routines; None takes
            the official size.
        seeds: seeds of the trials; each draws its own labeled samples, weights and batches.
        steps: minimum of optimizer steps of one trial.
        epochs: passes over the labeled videos, from which more steps may follow (`Trial.epochs`).
        size: height and width of frames and crops, in pixels.
        resamples: number of bootstrap resamples for an interval.
    """

    name: str
    dives: tuple[int | None, int | None]
    routines: tuple[int | None, int | None]
    seeds: tuple[int, ...]
    steps: int
    epochs: float = 40.0
    size: int = 112
    resamples: int = 1000

    def sizes(self, dataset: str) -> tuple[int | None, int | None]:
        """Numbers of training and test videos of a dataset; None takes all, as for a folder of own videos."""
        return self.dives if dataset in DIVES else self.routines if dataset in ROUTINES else (None, None)


PROFILES = {
    # The smallest size at which every trial is defined: 5 % of 80 videos are the 4 labels that a validation part needs.
    "smoke": Profile(
        "smoke", dives=(80, 16), routines=(20, 12), seeds=(0, 1), steps=12, epochs=0, size=48, resamples=50
    ),
    "quick": Profile("quick", dives=(480, 240), routines=(80, 60), seeds=(0, 1, 2), steps=400),
    "paper": Profile("paper", dives=(None, None), routines=(None, None), seeds=(0, 1, 2, 3, 4), steps=1000),
}


def get_profile(name: str) -> Profile:
    """The profile of that name. Raises ValueError, which lists the known ones, if there is none."""
    if name not in PROFILES:
        raise ValueError(f"profile {name!r} is unknown: choose one of {', '.join(PROFILES)}")
    return PROFILES[name]
