"""A trial whose test part is a fold: other records than those of the dataset's split are left out and tested."""

from dataclasses import asdict, dataclass

from sapnet_core.datasets.folds import BY, Fold
from sapnet_core.experiments.trial import Trial
from sapnet_core.runtime.values import choice

__all__ = ["FoldTrial", "fold_trial"]


@dataclass(frozen=True)
class FoldTrial(Trial):
    """A trial that tests one fold and learns from all other records of its group.

    Records of the fold without a score take no part: they may show a person whom the trial leaves out.

    Attributes:
        by: which field of a record makes folds, "fold" or "subject".
        tested: the values of that field that are tested.

    Raises:
        ValueError: nothing is tested, or a field of the trial cannot be used.
    """

    by: str = "fold"
    tested: tuple[str, ...] = ()

    def __post_init__(self):
        super().__post_init__()
        choice("by", self.by, BY)
        object.__setattr__(self, "tested", tuple(self.tested))
        if not self.tested or not all(isinstance(name, str) for name in self.tested):
            raise ValueError(f"tested={self.tested!r} names no {self.by}: give a tuple of names")


def fold_trial(trial: Trial, fold: Fold) -> FoldTrial:
    """The same trial with a fold as its test part."""
    fields = asdict(trial) | {"overrides": trial.overrides, "by": fold.by, "tested": fold.tested}
    return FoldTrial(**fields)
