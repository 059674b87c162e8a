"""Scores that stored trials predict for failed dives of other twins, from the table `FAILED_DIVES`.

The test part of the twins of the tables may hold no dive that is judged 0. Which failed dives are scored in its place,
and by which rule they are judged, is in `study/plan.md`; `recipes.look_at_failed_dives` writes the table.
"""

from collections.abc import Sequence
from pathlib import Path

import pandas as pd

from sapnet_core.experiments.result_files import result_name
from sapnet_core.experiments.trial import Trial

__all__ = ["COLUMNS", "FAILED_DIVES", "failed_dive_scores"]

FAILED_DIVES = Path(__file__).with_name("failed_dives.csv")
# system, share and seed of a trial; twin seed, key and difficulty of a dive; its predicted score in points; the largest
# difference, in points, between the test part's predictions of the repeated training and the stored ones; and the
# trial's name, which holds its hash
COLUMNS = ("system", "share", "seed", "twin_seed", "key", "difficulty", "predicted", "apart", "trial")
DIVE = ["twin_seed", "key", "difficulty"]  # a key occurs in every set of twins


def failed_dive_scores(trials: Sequence[Trial]) -> pd.DataFrame | None:
    """Predicted scores of the failed dives by the trials of one cell of a table.

    Args:
        trials: one trial per seed.

    Returns:
        A data frame with one row a trial, in their order, and one column a dive (twin seed, key, difficulty), in
        points. All these dives are judged 0. None if a trial has not scored them all, such as one of another profile or
        on other data.

    Raises:
        ValueError: the table was damaged.
    """
    if not FAILED_DIVES.exists():
        return None
    table = pd.read_csv(FAILED_DIVES, dtype={"key": str})
    if tuple(table.columns) != COLUMNS or table.duplicated(["trial", *DIVE]).any():
        raise ValueError(f"{FAILED_DIVES}: was damaged or edited: restore it with git checkout")
    scores = table.pivot(index="trial", columns=DIVE, values="predicted").reindex([*map(result_name, trials)])
    return None if scores.empty or scores.isna().any(axis=None) else scores
