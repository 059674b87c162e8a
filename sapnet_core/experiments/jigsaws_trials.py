"""The trials of JIGSAWS: surgical tasks as kinematics, scored by experts, with a supertrial or a surgeon left out."""

from collections.abc import Sequence

import pandas as pd

from sapnet_core.datasets.folds import fold_names
from sapnet_core.experiments.cross_validation import cross_validated, fold_trials, out_of_fold
from sapnet_core.experiments.declare import declare
from sapnet_core.experiments.fold_trial import FoldTrial
from sapnet_core.experiments.profiles import Profile
from sapnet_core.experiments.trial_data import trial_records
from sapnet_core.experiments.ui_prmd_trials import ROWS

__all__ = ["PUBLISHED", "surgeon_table", "surgeon_trials"]

# Spearman's rho that others report in the abstracts of their papers: (source, its signal, lowest, highest); schemes and
# averages differ between them
PUBLISHED = (
    ("Zia and Essa, IJCARS 13, 2018: holistic features", "kinematics", None, 0.61),
    ("Liu et al., CVPR 2021: unified multi-path framework", "video", None, 0.80),
    ("Anastasiou et al., RA-L 8, 2023: Contra-Sformer", "video", 0.65, 0.89),
    ("Quarez et al., 2024: ReCAP (arXiv 2407.05180)", "kinematics", 0.83, 0.88),
)


def surgeon_trials(profile: Profile, by: str = "fold", rows: Sequence[str] = tuple(ROWS)) -> dict[tuple, FoldTrial]:
    """Trials of JIGSAWS with all labels: (row, task, seed, fold) -> trial. Each task is learned by itself.

    Args:
        profile: gives the seeds and the length of the training.
        by: "fold" leaves a supertrial out (the i-th trial of every surgeon), "subject" a surgeon.
        rows: keys of `ui_prmd_trials.ROWS`.

    Raises:
        ValueError: the folder of the data does not hold JIGSAWS, or a name does not exist.
    """
    first = declare("jigsaws", ROWS[rows[0]][0], 1.0, profile.seeds[0], profile)
    records = trial_records(first)
    trials: dict[tuple, FoldTrial] = {}
    for task in sorted({record.group for record in records}):
        folds = fold_names([record for record in records if record.group == task], by, count=0)
        whole = {
            (row, task, seed): declare("jigsaws", ROWS[row][0], 1.0, seed, profile, group=task, teacher=ROWS[row][1])
            for row in rows
            for seed in profile.seeds
        }
        trials |= fold_trials(whole, folds)
    return trials


def surgeon_table(trials: dict[tuple, FoldTrial]) -> pd.DataFrame:
    """Results of trials from `surgeon_trials` that were run, for each system ("row") and task: rho_fisher, the Fisher-z
    mean over the folds, and rho_pooled, over all trials of the task, both as means over the seeds."""
    found = cross_validated(out_of_fold(trials))
    found[["row", "task", "seed"]] = pd.DataFrame(found["cell"].tolist(), index=found.index)
    return found.groupby(["row", "task"], sort=False)[["rho_fisher", "rho_pooled"]].mean().reset_index()
