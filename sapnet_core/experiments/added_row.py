"""One more row of a table or figure: the trials and results of a system that the table does not have, such as a method
of one's own."""

from collections.abc import Collection

import pandas as pd

from sapnet_core.experiments.declare import declare
from sapnet_core.experiments.names import KNOWN
from sapnet_core.experiments.profiles import Profile
from sapnet_core.experiments.results import results
from sapnet_core.experiments.run import Progress, run_trials
from sapnet_core.experiments.systems import OURS
from sapnet_core.experiments.tables import declared_trials, with_average
from sapnet_core.experiments.trial import Trial

__all__ = ["own_row", "own_trials"]


def own_trials(
    table: str, system: str, profile: Profile, columns: Collection[str] = ()
) -> dict[tuple[str, str, int], Trial]:
    """Trials of one more row of a table or figure: (system, column, seed) -> Trial.

    They have the videos, labeled samples and length of training of SAP-Net's row there, and the target of its class of
    routines; on dives, the system's own target.

    Args:
        table: a table or figure that has a row of SAP-Net, such as "I", "IV", "VI" or "fig06".
        system: a row's name: a method of one's own (`methods.own_method`), or a row of another table.
        profile: the size of the trials.
        columns: the columns to fill; all where none is given.

    Raises:
        ValueError: there is no such table, row or column.
    """
    ours = _ours(table, profile)
    if not ours:
        with_rows = ", ".join(name for name in KNOWN if _ours(name, profile))
        raise ValueError(f"table or figure {table!r} has no rows of systems: choose one of {with_rows}")
    known = dict.fromkeys(column for column, _ in ours)
    if unknown := [column for column in columns if column not in known]:
        raise ValueError(f"table {table} has no column {unknown[0]!r}: choose among {', '.join(known)}")
    return {
        (system, column, seed): declare(
            t.dataset, system, t.share, seed, profile, t.group, t.target if t.group else None
        )
        for (column, seed), t in ours.items()
        if column in (columns or known)
    }


def _ours(table: str, profile: Profile) -> dict[tuple[str, int], Trial]:
    """Trials of SAP-Net's row: (column, seed) -> Trial; none where a table or figure has other rows than systems."""
    trials = declared_trials(table, profile)
    return {key[1:]: trial for key, trial in trials.items() if key[0] == OURS and len(key) == 3}


def own_row(
    table: str,
    system: str,
    profile: Profile,
    columns: Collection[str] = (),
    jobs: int = 1,
    device: str = "cpu",
    progress: Progress | None = None,
    videos: Progress | None = None,
) -> pd.DataFrame:
    """The results of one more row of a table or figure, trained first where they are missing.

    They can be put below the results of the other rows, for `reporting.tables.comparison_table`.

    Args:
        table, system, profile, columns: as for `own_trials`.
        jobs, device, progress, videos: as for `run_trials`; with several jobs, worker processes train.

    Returns:
        One row per trial: system, column and seed, and all that `results` gives. Table VI has its column "Avg", too.

    Raises:
        ValueError: there is no such table, row or column, or the method refuses its settings.
        RuntimeError: the method failed; one line says where.
    """
    trials = own_trials(table, system, profile, columns)
    run_trials(trials.values(), jobs, device, progress=progress, videos=videos)
    runs = results(list(trials.values()))
    runs[["system", "column", "seed"]] = pd.DataFrame(list(trials), index=runs.index)
    return with_average(runs) if table == "VI" and not columns else runs
