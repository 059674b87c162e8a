"""Declarations of all tables and figures: their columns, and the trials behind every cell.

`python -m sapnet_core trials --profile quick --tables I II` runs the declared trials without Jupyter. A trial that
several tables or figures declare is run only once.
"""

from collections.abc import Sequence
from functools import lru_cache

import pandas as pd

from sapnet_core.experiments.decisions import decision_trials
from sapnet_core.experiments.declare import EPOCHS, declare
from sapnet_core.experiments.metrics import fisher_mean
from sapnet_core.experiments.names import KNOWN
from sapnet_core.experiments.profiles import Profile, few_seeds, get_profile
from sapnet_core.experiments.run import run_trials
from sapnet_core.experiments.selection import SELECT
from sapnet_core.experiments.systems import (
    CONTROLS,
    OURS,
    REFINED,
    REMOVED,
    RIDGE,
    SEARCHED,
    SYSTEMS,
    TRAINED,
)
from sapnet_core.experiments.trial import Trial
from sapnet_core.experiments.trial_data import trial_records
from sapnet_core.experiments.without_videos import NO_FRAMES, why_frames
from sapnet_core.features.source import known_datasets, source_kind
from sapnet_core.features.video_source import BOXES
from sapnet_core.runtime import environment
from sapnet_core.runtime.devices import usable_device
from sapnet_core.runtime.executors import reach_cluster
from sapnet_core.runtime.progress import trial_bars

__all__ = [
    "TABLES",
    "CLASS_TABLES",
    "FIGURES",
    "COMPARISONS",
    "COMPARED",
    "TAUS",
    "STATES",
    "CENTERS",
    "TEACHERS",
    "SHARES",
    "check_data",
    "column_name",
    "table_trials",
    "class_trials",
    "figure_trials",
    "comparison_trials",
    "declared_trials",
    "with_average",
    "run_tables",
]

# The values swept in Figs. 7, 9 and 10.
TAUS = tuple(round(0.1 * i, 1) for i in range(1, 10))
STATES = (1, 2, 3, 4, 5, 6)  # K
CENTERS = (4, 6, 8, 12, 16)  # M, with K = 3
TEACHERS = {"actor region": "actor", "photometric augmentation": "photometric", "whole frame": "frame"}

# The default rows of Tables VI and VII.
COMPARED = (RIDGE, "I3D+MLP", "I3D+MLP (clips in order)", "SAP-Net (Ours)")

# Tables whose columns are label shares: dataset, label shares.
TABLES = {
    "I": ("mtl-aqa", (0.1, 0.2, 0.3, 0.4, 1.0)),
    "II": ("finediving", (0.05, 0.1, 0.15, 0.2, 1.0)),
}

# Tables whose columns are classes: dataset, label share, {column: (group, target)}.
CLASS_TABLES = {
    "VI": ("rg", 0.4, {name: (name, "score") for name in EPOCHS["rg"]}),
    "VII": (
        "finefs",
        0.5,
        {f"{group} {name.upper()}": (group, name) for group in EPOCHS["finefs"] for name in ("pcs", "tes")},
    ),
}


def column_name(share: float) -> str:
    """The paper's column name for a label share, such as "10%"; "supervised" for 1."""
    return "supervised" if share == 1 else f"{share:.0%}"


def table_trials(table: str, profile: Profile) -> dict[tuple[str, str, int], Trial]:
    """Trials of Table I or II: (system, column, seed) -> Trial. Raises ValueError for another table."""
    if table not in TABLES:
        raise ValueError(f"table {table!r} has no trials here: choose one of {', '.join(TABLES)}")
    dataset, shares = TABLES[table]
    return {
        (system, column_name(share), seed): declare(dataset, system, share, seed, profile)
        for system in (*SYSTEMS, *CONTROLS)
        for share in shares
        for seed in profile.seeds
    }


def class_trials(
    table: str, profile: Profile, systems: tuple[str, ...] = COMPARED
) -> dict[tuple[str, str, int], Trial]:
    """Trials of Table VI or VII, whose columns are trained separately: (system, column, seed) -> Trial.

    Raises ValueError for another table.
    """
    if table not in CLASS_TABLES:
        raise ValueError(f"table {table!r} has no classes: choose one of {', '.join(CLASS_TABLES)}")
    dataset, share, columns = CLASS_TABLES[table]
    return _runnable(
        {
            (system, column, seed): declare(dataset, system, share, seed, profile, group, target)
            for system in systems
            for column, (group, target) in columns.items()
            for seed in profile.seeds
        }
    )


def _runnable(trials: dict[tuple, Trial]) -> dict[tuple, Trial]:
    """The trials without those that need frames where there are only features (`without_videos`)."""
    return {key: trial for key, trial in trials.items() if not why_frames(trial)}


def figure_trials(figure: str, profile: Profile) -> dict[tuple, Trial]:
    """Trials of Table III or of a figure, a name in `FIGURES`: (condition ..., seed) -> Trial.

    The paper does not give the label share of Fig. 9; it is 15 % here, as in Fig. 7. Conditions that need frames are
    left out where there are only features. Raises ValueError for an unknown name.
    """
    if figure not in FIGURES:
        raise ValueError(f"figure {figure!r} has no trials here: choose one of {', '.join(FIGURES)}")
    return _runnable(FIGURES[figure](profile))


def _over_shares(dataset: str, rows: dict[str, dict], shares: tuple[float, ...]):
    """A function that gives (row, column, seed) -> Trial for a profile; `rows` holds arguments of `declare` by row."""

    def trials(profile: Profile) -> dict[tuple, Trial]:
        return {
            (row, column_name(share), seed): declare(dataset, share=share, seed=seed, profile=profile, **given)
            for row, given in rows.items()
            for share in shares
            for seed in profile.seeds
        }

    return trials


def _sweep(dataset: str, share: float, settings: dict[str, tuple]):
    """A function that gives (setting, value, seed) -> Trial of SAP-Net for a profile."""

    def trials(profile: Profile) -> dict[tuple, Trial]:
        return {
            (name, value, seed): declare(dataset, OURS, share, seed, profile, **{name: value})
            for name, values in settings.items()
            for value in values
            for seed in profile.seeds
        }

    return trials


def _boxes(profile: Profile) -> dict[tuple, Trial]:
    """The trials (boxes, seed) -> Trial, which show how the source of the actor's boxes affects SAP-Net.

    There are at most two seeds, and as many videos as `Profile.boxes` says.
    """
    size = profile.resized("finediving", *profile.boxes) if profile.boxes else profile
    return {
        (boxes, seed): declare("finediving", OURS, 0.4, seed, size, boxes=boxes)
        for boxes in BOXES
        for seed in profile.seeds[:2]
    }


def _selection(profile: Profile) -> dict[tuple, Trial]:
    """The trials (dataset, system, column, select, seed) -> Trial of at most five seeds, which compare rules for
    selecting the step."""
    return {
        (dataset, system, column_name(share), how, seed): declare(dataset, system, share, seed, profile, select=how)
        for dataset, shares in TABLES.values()
        for system in ("I3D+MLP", OURS)
        for share in (shares[0], shares[3])
        for how in SELECT
        for seed in few_seeds(profile).seeds
    }


def _trained(profile: Profile) -> dict[tuple, Trial]:
    """The trials (system, column, seed) -> Trial of Table I's rows with a trained backbone: at most five seeds, and
    none where the profile leaves these rows out, or where there are no videos to train from."""
    videos = source_kind("mtl-aqa", environment.data_root()) not in NO_FRAMES
    rows = {s: {"system": s} for s in TRAINED} if profile.complete and videos else {}
    return _over_shares("mtl-aqa", rows, (0.1, 0.4))(few_seeds(profile))


SHARES = TABLES["I"][1][:4]
FIGURES = {
    "III": _over_shares("mtl-aqa", {s: {"system": s} for s in ("I3D+MLP", *REFINED, OURS)}, SHARES),
    "fig05": _over_shares("finediving", {s: {"system": s} for s in SYSTEMS}, (0.2,)),
    "fig07": _sweep("finediving", 0.15, {"tau": TAUS}),
    "fig08": _over_shares("mtl-aqa", {s: {"system": s} for s in (OURS, *REMOVED)}, SHARES),
    "fig09": _sweep("finediving", 0.15, {"K": STATES, "M": CENTERS}),
    "fig10": _over_shares("mtl-aqa", {n: {"system": OURS, "teacher": t} for n, t in TEACHERS.items()}, SHARES),
    "fig12": _over_shares("finediving", {OURS: {"system": OURS}}, (0.05, 0.2)),
    "fig13": _over_shares("mtl-aqa", {OURS: {"system": OURS}}, (0.1, 0.2, 0.4)),
    "fig14": _over_shares("mtl-aqa", {OURS: {"system": OURS}}, (0.4,)),
    "decisions": decision_trials,
    "selection": _selection,
    "boxes": _boxes,
    "trained": _trained,
}


FLOOR_ROWS = (RIDGE, "I3D+MLP", "I3D+MLP (clips in order)", *SEARCHED)
SEMI = ("C3D-AVG-MTL", "COREG", "Pseudo-labels", "VAT", "S4L", "S4AQA")
LATER = ("TRS", "BASL")  # semi-supervised systems after the paper
RECENT = ("CoRe", "TSA-Net", "TAP", "PCLN", "DAE-CoRe", "HGCN", "FSPN", "SGN", "APT")  # supervised, since 2021

# Tables IV to VII: table -> (rows of the semi-supervised columns, rows of the column "supervised").
COMPARISONS: dict[str, tuple[tuple[str, ...], tuple[str, ...]]] = {
    "IV": ((*FLOOR_ROWS, *SEMI, *LATER, OURS), (*FLOOR_ROWS, "USDL", "MUSDL", *RECENT, OURS)),
    "V": (
        (*FLOOR_ROWS, "USDL", "MUSDL", "TSA", OURS),
        (*FLOOR_ROWS, "USDL", "MUSDL", "CoRe", "TSA", "APT", "FSPN", OURS),
    ),
    "VI": ((*FLOOR_ROWS, "COREG", "SVR", "Action-Net", *SEMI[2:], *LATER, OURS), ()),
    "VII": ((*FLOOR_ROWS, "VST+MLP", "Action-Net", "GDLT", OURS), ()),
}
COMPARISON_SHARES = {"IV": (0.1, 0.4), "V": (0.1, 0.2)}

NEEDS = {"musdl": "judges", "tsa": "transitions"}  # method -> field of a record that it requires


def _possible(trial: Trial) -> bool:
    """Whether every training record has the annotations that the trial's method requires."""
    name = NEEDS.get(trial.method)
    return name is None or all(getattr(r, name) for r in trial_records(trial) if r.split == "train")


def comparison_trials(table: str, profile: Profile) -> dict[tuple[str, str, int], Trial]:
    """Trials of Tables IV to VII with every system: (system, column, seed) -> Trial.

    A system that needs annotations the dataset does not have is left out, or frames where there are only features; and
    S4L in Table VI unless the profile is `complete`. Raises ValueError for another table.
    """
    if table not in COMPARISONS:
        raise ValueError(f"table {table!r} compares no systems: choose one of {', '.join(COMPARISONS)}")
    semi, supervised = COMPARISONS[table]
    if table in CLASS_TABLES:
        return class_trials(table, profile, tuple(s for s in semi if profile.complete or s != "S4L"))
    dataset = {"IV": "mtl-aqa", "V": "finediving"}[table]
    trials = {}
    for shares, rows in ((COMPARISON_SHARES[table], semi), ((1.0,), supervised)):
        trials |= _over_shares(dataset, {s: {"system": s} for s in rows}, shares)(profile)
    return _runnable({key: trial for key, trial in trials.items() if _possible(trial)})


FIGURES |= {
    "IV": lambda profile: comparison_trials("IV", profile),
    "V": lambda profile: comparison_trials("V", profile),
    "fig06": _over_shares("mtl-aqa", {s: {"system": s} for s in COMPARISONS["IV"][0] if s not in SEARCHED}, SHARES),
}


def declared_trials(name: str, profile: Profile) -> dict[tuple, Trial]:
    """Trials of any table or figure by its name: "I", "VI", "III", "fig07", "decisions", ...

    Raises:
        ValueError: there is no such table or figure; the message lists the known ones.
    """
    if name not in KNOWN:
        raise ValueError(f"table or figure {name!r} declares no trials: choose one of {', '.join(KNOWN)}")
    # without a folder of data, nothing outside the program determines them
    return _declared(name, profile) if environment.data_root() else dict(_declared_once(name, profile))


def _declared(name: str, profile: Profile) -> dict[tuple, Trial]:
    if name in TABLES:
        return table_trials(name, profile)
    return comparison_trials(name, profile) if name in CLASS_TABLES else figure_trials(name, profile)


_declared_once = lru_cache(maxsize=256)(_declared)  # a ledger asks for each table dozens of times


def with_average(runs: pd.DataFrame, column: str = "Avg") -> pd.DataFrame:
    """Add to results by class (system, column, seed, rho) one row per system and seed with the Fisher-z mean (E14)."""
    mean = runs.groupby(["system", "seed"], sort=False)["rho"].agg(lambda x: fisher_mean([*x])).reset_index()
    return pd.concat([runs, mean.assign(column=column)], ignore_index=True)


def check_data() -> None:
    """Check the folder that `SAPNET_DATA` names, if any, before any work.

    Raises:
        ValueError: it holds no dataset, or the user's own videos, for which there are no tables.
    """
    data = environment.data_root()
    if data and "folder" in known_datasets(data):
        raise ValueError(
            f"SAPNET_DATA={str(data)!r} holds own videos, for which there are no tables: unset it, or run "
            f"./runall.sh --data {data}"
        )


def run_tables(profile: str, names: Sequence[str], jobs: int, device: str) -> None:
    """Run the declared trials of tables and figures, in `jobs` processes; progress goes to standard error.

    Args:
        profile: name of the profile.
        names: tables and figures, as for `declared_trials`.
        jobs, device: as in `run_trials`.

    Raises:
        ValueError: a name is unknown, this machine has no such device, or `check_data` rejects the folder of the data.
    """
    usable_device(device)
    check_data()
    reach_cluster()
    with trial_bars() as bars:
        trials = [trial for name in names for trial in declared_trials(name, get_profile(profile)).values()]
        run_trials(trials, jobs, device, **bars)
    print(f"{len(set(trials))} trials are in {environment.runs() / 'trials'}")
