"""Cross-validation: trials by fold and seed, and what the literature prints of their results.

A seed draws the label split of every fold once, so that all systems learn from the same labels of a fold. Three numbers
are usual, and they differ: the mean of rho over folds; its Fisher-z mean, tanh(mean(atanh(rho))); and the pooled
out-of-fold rho, over all predictions together, each made by the fold that had not seen its record. The pooled one
compares predictions of different networks with each other.
"""

from collections.abc import Mapping, Sequence

import pandas as pd
import torch

from sapnet_core.datasets.folds import Fold
from sapnet_core.experiments.fold_trial import FoldTrial, fold_trial
from sapnet_core.experiments.metrics import fisher_mean, relative_l2, spearman
from sapnet_core.experiments.results import predictions
from sapnet_core.experiments.trial import Trial

__all__ = ["cross_validated", "fold_trials", "out_of_fold"]


def fold_trials(trials: Mapping[tuple, Trial], folds: Sequence[Fold]) -> dict[tuple, FoldTrial]:
    """Every trial on every fold: (*key, name of the fold) -> trial.

    Args:
        trials: key, a tuple such as (system, seed), -> the trial without folds.
        folds: from `datasets.folds.fold_names`.
    """
    return {(*key, fold.name): fold_trial(trial, fold) for key, trial in trials.items() for fold in folds}


def out_of_fold(trials: Mapping[tuple, FoldTrial]) -> pd.DataFrame:
    """The predictions of trials that were run, one row for each record tested.

    Columns: those of `results.predictions`; cell, the trial's key without its last entry; and fold, that last entry.
    """
    parts = []
    for (*cell, fold), trial in trials.items():
        found = predictions(trial)
        parts.append(found.assign(cell=[tuple(cell)] * len(found), fold=fold))
    return pd.concat(parts, ignore_index=True)


def cross_validated(predicted: pd.DataFrame) -> pd.DataFrame:
    """Metrics over folds, one row for each cell of the predictions that `out_of_fold` gives.

    Columns: cell; folds, their number; n, the records tested; rho_mean and rho_fisher, the mean and the Fisher-z mean
    of rho over folds; rho_low and rho_high, the lowest and the highest fold; rho_pooled and r_l2, over all records. A
    fold of fewer than two records has no rho and counts in the pooled ones alone.

    Raises:
        ValueError: a record was tested twice in a cell, so that the pooled metrics would count it twice.
    """
    rows = []
    for cell, of in predicted.groupby("cell", sort=False):
        if of["key"].duplicated().any():
            raise ValueError(f"{cell}: record {of['key'][of['key'].duplicated()].iloc[0]!r} was tested in two folds")
        rhos = torch.tensor([_rho(part) for _, part in of.groupby("fold", sort=False) if len(part) > 1])
        guess, true = (torch.tensor(of[name].to_numpy()) for name in ("predicted", "score"))
        rows.append(
            {
                "cell": cell,
                "folds": of["fold"].nunique(),
                "n": len(of),
                "rho_mean": float(rhos.mean()),
                "rho_fisher": fisher_mean(rhos),
                "rho_low": float(rhos.min()),
                "rho_high": float(rhos.max()),
                "rho_pooled": float(spearman(guess, true)),
                "r_l2": 100 * float(relative_l2(guess, true)),
            }
        )
    return pd.DataFrame(rows)


def _rho(part: pd.DataFrame) -> float:
    return float(spearman(torch.tensor(part["predicted"].to_numpy()), torch.tensor(part["score"].to_numpy())))
