"""The trials of UI-PRMD: real movements, few labels, and people who are tested without having been seen.

Each of the ten movements is a class that is learned by itself. People are left out in five folds of two. Eight people
with ten correct and ten incorrect repetitions each give 160 training repetitions, of which 8, 32 or all keep their
label; the others are unlabeled. The repository stores their results (`recipes.measure_people`), and `stored_people`
finds them where the data are absent.
"""

from collections import Counter
from collections.abc import Sequence

import pandas as pd

from sapnet_core.datasets.folds import fold_names
from sapnet_core.datasets.ui_prmd import MOVEMENTS
from sapnet_core.experiments.cross_validation import cross_validated, fold_trials, out_of_fold
from sapnet_core.experiments.declare import declare
from sapnet_core.experiments.fold_trial import FoldTrial
from sapnet_core.experiments.profiles import Profile
from sapnet_core.experiments.stored import is_stored, stored_trials
from sapnet_core.experiments.systems import OURS, RIDGE, get_system
from sapnet_core.experiments.trial_data import trial_records

__all__ = ["LABELS", "ROWS", "people_table", "people_trials", "stored_people"]

LABELS = (8, 32, 160)  # labels of a movement
TRAINING = 160  # training repetitions of a movement in the published set: eight people, twenty repetitions
# name of the row -> system and the teacher's view: "frame" shows the teacher what the student sees
ROWS = {
    RIDGE: (RIDGE, "actor"),
    "I3D+MLP's head": ("I3D+MLP", "actor"),
    "I3D+MLP's head (windows in order)": ("I3D+MLP (clips in order)", "actor"),
    "SAP-Net, L_reg alone": ("SAP-Net, L_reg alone", "actor"),
    "I3D+SSP": ("I3D+SSP", "actor"),
    "I3D+GCL": ("I3D+GCL", "actor"),
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


def stored_people(
    profile: Profile, labels: Sequence[int] = LABELS, movements: Sequence[str] = tuple(MOVEMENTS)
) -> dict[tuple, FoldTrial]:
    """The trials of `people_trials` whose results are stored: (row, labels, movement, seed, fold) -> trial.

    It needs no data. Results that other code made than the present one are left out. At each number of labels all rows
    are compared on the same people and movements: only those cells (movement, seed) are kept that have every fold in as
    many rows as any cell with this number of labels.

    Raises:
        Damaged: a stored table was damaged.
    """
    found, kinds = {}, {}
    for row, (system, teacher) in ROWS.items():
        method, own = get_system(system)
        kinds[method, tuple(sorted(own.items())), teacher] = row
    for trial in stored_trials("measured"):
        row = kinds.get((trial.method, trial.overrides, trial.teacher))
        count = round(trial.share * TRAINING)
        asked = trial.dataset == "ui-prmd" and count in labels and trial.group in movements
        same = (trial.steps, trial.epochs) == (profile.steps, profile.epochs) and trial.seed in profile.seeds
        if row and asked and same and is_stored(trial):
            found[row, count, trial.group, trial.seed, "+".join(trial.tested)] = trial
    folds = Counter(key[:4] for key in found)
    whole = {key for key, count in folds.items() if count == max(folds.values())}
    shared = Counter(key[1:] for key in whole)  # (labels, movement, seed) -> number of rows that have it
    most = {count: max(n for cell, n in shared.items() if cell[0] == count) for count, *_ in shared}
    found = {key: found[key] for key in found if key[:4] in whole and shared[key[1:4]] == most[key[1]]}
    rows = list(ROWS)
    return dict(sorted(found.items(), key=lambda item: (rows.index(item[0][0]), *item[0][1:])))


def people_table(trials: dict[tuple, FoldTrial]) -> pd.DataFrame:
    """Results of trials from `people_trials` that were run, one row for each movement: row, labels, movement, and rho,
    the mean over folds and seeds."""
    found = cross_validated(out_of_fold(trials))
    found[["row", "labels", "movement", "seed"]] = pd.DataFrame(found["cell"].tolist(), index=found.index)
    by = ["row", "labels", "movement"]
    return found.groupby(by, sort=False)["rho_mean"].mean().rename("rho").reset_index()
