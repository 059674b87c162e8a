"""The trials of UI-PRMD: real movements, few labels, and people who are tested without having been seen.

Each of the ten movements is a class that is learned by itself. People are left out in five folds of two. Eight people
with ten correct and ten incorrect repetitions each give 160 training repetitions, of which 8, 32 or all keep their
label; the others are unlabeled.
"""

from collections.abc import Sequence

import pandas as pd

from sapnet_core.datasets.folds import fold_names
from sapnet_core.datasets.ui_prmd import MOVEMENTS
from sapnet_core.experiments.cross_validation import cross_validated, fold_trials, out_of_fold
from sapnet_core.experiments.declare import declare
from sapnet_core.experiments.fold_trial import FoldTrial
from sapnet_core.experiments.profiles import Profile
from sapnet_core.experiments.systems import OURS, RIDGE
from sapnet_core.experiments.trial_data import trial_records

__all__ = ["LABELS", "ROWS", "people_table", "people_trials"]

LABELS = (8, 32, 160)  # labels of a movement
TRAINING = 160  # training repetitions of a movement in the published set: eight people, twenty repetitions
# name of the row -> system and the teacher's view: "frame" shows the teacher what the student sees
ROWS = {
    RIDGE: (RIDGE, "actor"),
    "I3D+MLP's head": ("I3D+MLP", "actor"),
    "I3D+MLP's head (windows in order)": ("I3D+MLP (clips in order)", "actor"),
    "SAP-Net, L_reg alone": ("SAP-Net, L_reg alone", "actor"),
    "SAP-Net, one view": (OURS, "frame"),
    "SAP-Net, two views": (OURS, "actor"),
}


def people_trials(
    profile: Profile,
    labels: Sequence[int] = LABELS,
    movements: Sequence[str] = tuple(MOVEMENTS),
    rows: Sequence[str] = tuple(ROWS),
) -> dict[tuple, FoldTrial]:
    """Trials of UI-PRMD: (row, labels, movement, seed, fold) -> trial.

    Args:
        profile: gives the seeds and the length of the training.
        labels: numbers of labeled repetitions of a movement.
        movements, rows: keys of `ui_prmd.MOVEMENTS` and of `ROWS`.

    Raises:
        ValueError: the folder of the data does not hold UI-PRMD, or a name or number does not exist.
    """
    if bad := [count for count in labels if not 0 < count <= TRAINING]:
        raise ValueError(f"labels={bad[0]}: a movement has {TRAINING} training repetitions, give 1 to {TRAINING}")
    whole = {
        (row, count, movement, seed): declare(
            "ui-prmd", ROWS[row][0], count / TRAINING, seed, profile, group=movement, teacher=ROWS[row][1]
        )
        for row in rows
        for count in labels
        for movement in movements
        for seed in profile.seeds
    }
    folds = fold_names(trial_records(next(iter(whole.values()))), "subject")
    return fold_trials(whole, folds)


def people_table(trials: dict[tuple, FoldTrial]) -> pd.DataFrame:
    """Results of trials from `people_trials` that were run, one row for each movement: row, labels, movement, and rho,
    the mean over folds and seeds."""
    found = cross_validated(out_of_fold(trials))
    found[["row", "labels", "movement", "seed"]] = pd.DataFrame(found["cell"].tolist(), index=found.index)
    by = ["row", "labels", "movement"]
    return found.groupby(by, sort=False)["rho_mean"].mean().rename("rho").reset_index()
