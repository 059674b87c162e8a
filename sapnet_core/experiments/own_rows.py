"""Rows of one's own: the row of a method of one's own in any table, and which rows run on own data."""

from collections.abc import Collection

import pandas as pd
import torch

from sapnet_core.experiments.declare import declare
from sapnet_core.experiments.fit import training_task
from sapnet_core.experiments.names import KNOWN
from sapnet_core.experiments.profiles import Profile
from sapnet_core.experiments.results import results
from sapnet_core.experiments.run import Progress, run_trials
from sapnet_core.experiments.systems import BACKBONE_OF, OURS, TRAINED, get_system
from sapnet_core.experiments.tables import declared_trials, with_average
from sapnet_core.experiments.trial import Trial
from sapnet_core.experiments.trial_data import TrialData
from sapnet_core.methods import extra_views, get_description

__all__ = ["own_row", "own_trials", "why_not", "why_not_row"]

# tables and figures that do not, and that do, have a row of SAP-Net in each column
WITH_ROWS = tuple(
    n for n in KNOWN if n not in ("fig07", "fig09", "fig10", "decisions", "selection", "boxes", "trained")
)


def own_trials(
    table: str, system: str, profile: Profile, columns: Collection[str] = ()
) -> dict[tuple[str, str, int], Trial]:
    """Trials of one more row of a table or figure: (system, column, seed) -> Trial.

    They have the videos, labeled samples, targets and length of training of SAP-Net's row there.

    Args:
        table: a table or figure that has a row of SAP-Net, such as "I", "IV", "VI" or "fig06".
        system: a row's name: a method of one's own (`methods.own_method`), or a row of another table.
        profile: the size of the trials.
        columns: the columns to fill; all where none is given.

    Raises:
        ValueError: there is no such table, row or column.
    """
    known = declared_trials(table, profile)
    ours = {key[1:]: trial for key, trial in known.items() if key[0] == OURS and len(key) == 3}
    if not ours:
        raise ValueError(f"table or figure {table!r} has no rows of systems: choose one of {', '.join(WITH_ROWS)}")
    known = dict.fromkeys(column for column, _ in ours)
    if unknown := [column for column in columns if column not in known]:
        raise ValueError(f"table {table} has no column {unknown[0]!r}: choose among {', '.join(known)}")
    return {
        (system, column, seed): declare(t.dataset, system, t.share, seed, profile, t.group, _target(system, t))
        for (column, seed), t in ours.items()
        if column in (columns or known)
    }


def _target(system: str, ours: Trial) -> str | None:
    """The target of a class of routines, which the table's column names; of a dive, the system's own."""
    return ours.target if ours.group else None


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


def why_not_row(system: str, sequences: bool) -> str:
    """Why a row of the tables does not run on own data, "" if it may: what can be said before a trial is declared.

    Args:
        system: a row's name, as in `systems.EVERY`.
        sequences: whether the data are sequences instead of videos.
    """
    method, _ = get_system(system)
    if system in TRAINED:
        return "its backbone learns too, which own data have no cached maps for"
    if sequences and extra_views(method):
        return f"{method} learns from turned frames, which a sequence does not have"
    if not sequences and (system in BACKBONE_OF or extra_views(method)):
        return "it needs features of its own from every video: declare its trial in Python to have them computed"
    return ""


def why_not(trial: Trial, data: TrialData) -> str:
    """Why the method of a trial cannot learn from its data, in the method's own words; "" if it can.

    The method prepares its training, or is fitted if it is a closed form, on the training videos of the trial. It takes
    no step, and no test score is read.
    """
    task = training_task(trial, data)
    try:
        with torch.random.fork_rng(devices=[]):  # a method may seed PyTorch's random numbers
            get_description(trial.method)(task.train, task.settings, task.generator())
    except ValueError as error:
        return str(error)
    return ""
