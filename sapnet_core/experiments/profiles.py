"""Profiles set the size of a run. They differ only in their sizes, seeds, steps and resamples, never in code path."""

from dataclasses import dataclass, replace

__all__ = [
    "Profile",
    "PROFILES",
    "DATASETS",
    "MEASURED",
    "DIVES",
    "ROUTINES",
    "SECOND_LOOK",
    "few_seeds",
    "get_profile",
    "live_profile",
    "with_second_look",
]

DIVES = ("mtl-aqa", "finediving")
ROUTINES = ("rg", "finefs")
DATASETS = (*DIVES, *ROUTINES)
SECOND_LOOK = tuple(range(10, 20))  # seeds that the second look of the study adds (`study/plan.md`)
MEASURED = ("ui-prmd", "jigsaws")  # data of real people, which no simulator draws


@dataclass(frozen=True)
class Profile:
    """The size of a run.

    Attributes:
        name: the name given to `--profile`.
        seeds: seeds of the trials; each draws its own labeled samples, weights and batches.
        steps: minimum of optimizer steps of one trial.
        epochs: passes over the labeled videos, from which more steps may follow (`Trial.epochs`).
        size: height and width of frames and crops, in pixels.
        resamples: number of bootstrap resamples for an interval.
        complete: whether the rows are there that cost most of the time: those of Table I with a trained backbone, S4L
            in Table VI (three turned views of long videos), and dense clip sampling among the decisions.
        mtl_aqa, finediving, rg, finefs: numbers of training and test videos; None takes the official number.
        boxes: numbers of FineDiving's training and test videos where sources of the actor's boxes are compared, since
            a detector must search every frame there; None takes those of `finediving`.
        example: number of videos in the folder that stands in for own videos where none is given.
        left_to_study: tables and figures (`names.KNOWN`) for which the stored results of the study are shown, since
            training them, too, would take longer than a run at this profile is meant to.
    """

    name: str
    seeds: tuple[int, ...]
    steps: int
    epochs: float = 40.0
    size: int = 112
    resamples: int = 1000
    complete: bool = False
    mtl_aqa: tuple[int | None, int | None] = (None, None)
    finediving: tuple[int | None, int | None] = (None, None)
    rg: tuple[int | None, int | None] = (None, None)
    finefs: tuple[int | None, int | None] = (None, None)
    boxes: tuple[int, int] | None = None
    example: int = 72
    left_to_study: tuple[str, ...] = ()

    def sizes(self, dataset: str) -> tuple[int | None, int | None]:
        """Numbers of training and test videos of a dataset; None takes all, as for a folder of own videos."""
        return getattr(self, _field(dataset)) if dataset in DATASETS else (None, None)

    def resized(self, dataset: str, train: int | None, test: int | None) -> "Profile":
        """This profile with other numbers of training and test videos of one dataset."""
        return replace(self, **{_field(dataset): (train, test)})


def _field(dataset: str) -> str:
    return dataset.replace("-", "_")


PROFILES = {
    # The smallest size at which every trial is defined: 5 % of 80 videos are the 4 labels that a validation part needs.
    "smoke": Profile(
        "smoke",
        seeds=(0, 1),
        steps=12,
        epochs=0,
        size=48,
        resamples=50,
        mtl_aqa=(80, 16),
        finediving=(80, 16),
        rg=(20, 8),
        finefs=(12, 8),
        boxes=(24, 12),
        example=24,
    ),
    # The smallest label share of every table is at least 25 labels, of a class too, and a class has 40 test videos; but
    # the free programs of FineFS, the rarer ones in the published annotations, have 19 labels and 30 test videos. It
    # trains Tables I to III, which take the method apart, and the figures that rest on their trials.
    "quick": Profile(
        "quick",
        seeds=(0, 1),
        steps=150,
        mtl_aqa=(256, 160),
        finediving=(500, 120),
        rg=(256, 160),
        finefs=(100, 80),
        boxes=(80, 56),
        left_to_study=(
            *("IV", "V", "VI", "VII", "fig06", "fig07", "fig08", "fig09", "fig10"),
            *("decisions", "selection", "boxes"),
        ),
    ),
    "study": Profile("study", seeds=tuple(range(10)), steps=500, complete=True),
}


def get_profile(name: str) -> Profile:
    """The profile of that name. Raises ValueError, which lists the known ones, if there is none."""
    if name not in PROFILES:
        raise ValueError(f"profile {name!r} is unknown: choose one of {', '.join(PROFILES)}")
    return PROFILES[name]


def live_profile(profile: Profile) -> Profile:
    """The size of what a notebook trains or renders itself, beside the trials of this profile: the study stores scores
    but neither features nor weights, and its videos take minutes to hours, so that the quick profile stands in."""
    return PROFILES["quick"] if profile.complete else profile


def few_seeds(profile: Profile) -> Profile:
    """The profile with at most its first five seeds, for trials that decide no claim of the paper or take long."""
    return replace(profile, seeds=profile.seeds[:5])


def with_second_look(profile: Profile) -> Profile:
    """The profile with the seeds of both looks; another profile than the study has one look only, and is returned as it
    is."""
    return replace(profile, seeds=(*profile.seeds, *SECOND_LOOK)) if profile.complete else profile
