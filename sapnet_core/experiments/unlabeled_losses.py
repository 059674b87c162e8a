"""The losses that semi-supervised systems have for videos without a score, at the beginning and the end of training."""

from collections.abc import Mapping

import numpy as np
import pandas as pd

from sapnet_core.experiments.results import curves
from sapnet_core.experiments.systems import OURS
from sapnet_core.experiments.trial import Trial

__all__ = ["UNLABELED_LOSSES", "unlabeled_losses"]

# System -> its losses on unlabeled videos, and the value of each for an untrained network (log of the number of
# classes), NaN if there is none.
UNLABELED_LOSSES: dict[str, dict[str, float]] = {
    "Pseudo-labels": {"L_pseudo": np.nan},
    "VAT": {"L_vat": np.nan},
    "S4L": {"L_rot": float(np.log(4))},
    "S4AQA": {"L_recovery": np.nan, "L_adv": float(np.log(2))},
    "TRS": {"L_un": np.nan},
    "BASL": {"L_cons": np.nan, "L_anchor": np.nan},
    OURS: {"L_ubc": float(np.log(2)), "L_gc": np.nan, "L_un": np.nan},
}


def unlabeled_losses(trials: Mapping[tuple[str, str, int], Trial], column: str) -> pd.DataFrame:
    """Read the second losses of one column from the stored curves.

    Args:
        trials: (system, column, seed) -> a trial that has a result; systems without a second loss are left out.
        column: the column.

    Returns:
        One row per system and loss, in the order of `UNLABELED_LOSSES`: system, "second loss", begins (its first value
        above 0, which comes after the warm-up where there is one), ends (its last one; both are means over the seeds,
        NaN where it stayed 0) and "knows nothing".
    """
    rows = []
    for system, losses in UNLABELED_LOSSES.items():
        trained = [curves(trial) for key, trial in trials.items() if key[:2] == (system, column)]
        for term, blind in losses.items() if trained else ():
            active = [curve[term][curve[term] > 0] for curve in trained if term in curve]
            begins, ends = (np.mean([part.iloc[i] for part in active if len(part)] or [np.nan]) for i in (0, -1))
            rows.append({"system": system, "second loss": term, "begins": begins, "ends": ends, "knows nothing": blind})
    return pd.DataFrame(rows, columns=["system", "second loss", "begins", "ends", "knows nothing"])
