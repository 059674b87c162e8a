"""What each table and figure declares: its columns, the trials behind every cell, and the floors.

`python -m sapnet_core trials --profile quick --tables I II` runs the declared trials without Jupyter. A trial that
several of them declare is one trial, run once.
"""

from collections.abc import Sequence
from dataclasses import fields, replace

import pandas as pd
import torch

from sapnet_core.datasets.clips import default_reading
from sapnet_core.experiments.metrics import fisher_mean, spearman
from sapnet_core.experiments.names import KNOWN
from sapnet_core.experiments.profiles import Profile, get_profile
from sapnet_core.experiments.run import run_trials
from sapnet_core.experiments.selection import SELECT
from sapnet_core.experiments.systems import BACKBONE_OF, CONTROLS, OURS, REFINED, REMOVED, SEARCHED, SYSTEMS, get_system
from sapnet_core.experiments.trial import Trial, trial_data, trial_records
from sapnet_core.features.source import known_datasets, source_kind
from sapnet_core.features.video_source import BOXES
from sapnet_core.runtime import environment
from sapnet_core.runtime.devices import usable_device
from sapnet_core.runtime.executors import reach_cluster
from sapnet_core.runtime.progress import trial_bars
from sapnet_core.runtime.values import choice
from sapnet_core.sapnet.settings import SAPNetSettings
from sapnet_core.simulator import sport_of

__all__ = [
    "TABLES",
    "CLASS_TABLES",
    "FIGURES",
    "COMPARISONS",
    "NOT_HERE",
    "COMPARED",
    "TARGET",
    "EPOCHS",
    "DECISIONS",
    "TAUS",
    "STATES",
    "CENTERS",
    "TEACHERS",
    "SHARES",
    "check_data",
    "column_name",
    "declare",
    "table_trials",
    "class_trials",
    "figure_trials",
    "comparison_trials",
    "declared_trials",
    "with_average",
    "floors",
    "run_tables",
]

# What is regressed: execution, that is score / difficulty; predictions are multiplied by the known difficulty degree.
# The paper says so of MTL-AQA and is silent on FineDiving, where the same is done; `target="score"` is the alternative.
TARGET = {"mtl-aqa": "execution", "finediving": "execution", "rg": "score", "finefs": "score", "folder": "score"}

# Epochs of the paper's classes. A class gets its share of the profile's steps: steps x epochs / mean epochs of its set.
EPOCHS = {
    "rg": {"Ball": 300, "Clubs": 400, "Hoop": 500, "Ribbon": 300},
    "finefs": {"SP": 400, "FS": 500},
}

# Figs. 7, 9, 10: what is swept.
TAUS = tuple(round(0.1 * i, 1) for i in range(1, 10))
STATES = (1, 2, 3, 4, 5, 6)  # K
CENTERS = (4, 6, 8, 12, 16)  # M, with K = 3
TEACHERS = {"actor region": "actor", "photometric augmentation": "photometric", "whole frame": "frame"}

# Decisions of the errata that are switches: erratum, what is changed -> fields of the trial, overrides of the method.
DECISIONS: dict[tuple[str, str], tuple[dict, dict]] = {
    ("E1", "decoder = psnet"): ({}, {"decoder": "psnet"}),
    ("E1", "nine clips"): ({"reading": "9x16"}, {}),
    ("E1", "dense reading"): ({"reading": "dense"}, {}),
    ("E2", "tau = 0: every teacher is trusted"): ({}, {"tau": 0.0}),
    ("E3", "confidence = agreement"): ({}, {"confidence": "agreement"}),
    ("E3", "grades = 3"): ({}, {"grades": 3}),
    ("E3", "L_grade shapes the features"): ({}, {"grade_shapes_features": True}),
    ("E4", "clusters of F, not of F̂"): ({}, {"attention_in_pseudo_labels": False}),
    ("E5", "M = 4"): ({}, {"M": 4}),
    ("E5", "M = 16"): ({}, {"M": 16}),
    ("E6", "clusters over the batch"): ({}, {"cluster_scope": "dataset"}),
    ("E7", "L_ubc on labeled clips too"): ({}, {"parse_labeled": True}),
    ("E8", "L_ubc summed as printed"): ({}, {"ubc_reduction": "sum"}),
    ("E9", "groups named by pseudo-labels"): ({}, {"group_by": "pseudo"}),
    ("E10", "gradient into the teacher's groups"): ({}, {"detach_teacher_groups": False}),
    ("E10", "iota = 0.1"): ({}, {"iota": 0.1}),
    ("E17", "teacher without labels"): ({}, {"supervise_teacher": False}),
    ("E17", "no warm-up"): ({}, {"warmup": 0.0}),
    ("E17", "as printed: neither"): ({}, {"supervise_teacher": False, "warmup": 0.0}),
    ("units", "targets in [0, 1]"): ({}, {"unit_targets": False}),
}

# Rows of Tables VI and VII that are here.
COMPARED = ("I3D+MLP", "I3D+MLP (clips in order)", "SAP-Net (Ours)")

TABLES = {
    "I": ("mtl-aqa", (0.1, 0.2, 0.3, 0.4, 1.0)),
    "II": ("finediving", (0.05, 0.1, 0.15, 0.2, 1.0)),
}

# Tables whose columns are classes: dataset, label share, column -> (group, target).
CLASS_TABLES = {
    "VI": ("rg", 0.4, {name: (name, "score") for name in EPOCHS["rg"]}),
    "VII": (
        "finefs",
        0.5,
        {f"{group} {mark.upper()}": (group, mark) for group in EPOCHS["finefs"] for mark in ("pcs", "tes")},
    ),
}


def column_name(share: float) -> str:
    """The paper's column of a label share: "10%", or "supervised" for 1."""
    return "supervised" if share == 1 else f"{share:.0%}"


def declare(
    dataset: str,
    system: str,
    share: float,
    seed: int,
    profile: Profile,
    group: str = "",
    target: str | None = None,
    boxes: str | None = None,
    teacher: str = "",
    reading: str = "",
    select: str = "last",
    backbone: str = "",
    **overrides,
) -> Trial:
    """The trial of one system at one label share, at the profile's size and the source that `SAPNET_DATA` gives.

    Without `backbone` it is the system's own (`BACKBONE_OF`), I3D for most. The teacher sees the actor; systems on
    another backbone have no teacher, so no crop is computed for them.
    Overrides that say what is the default anyway are left out: a sweep's middle is the trial of the tables.

    Raises:
        ValueError: no such system, dataset or group, or what `Trial` refuses.
    """
    method, own = get_system(system)
    choice("dataset", dataset, tuple(TARGET))
    if group and dataset != "folder":  # whose groups its table names
        choice("group", group, ("", *EPOCHS.get(dataset, ())))
    if method == "sap-net":
        default = {f.name: f.default for f in fields(SAPNetSettings)} | {"warmup": 1 / 3, "unit_targets": True}
        overrides = {name: value for name, value in overrides.items() if default.get(name, ...) != value}
    backbone = backbone or BACKBONE_OF.get(system, "i3d")
    teacher = teacher or ("frame" if system in BACKBONE_OF else "actor")
    reading = "" if reading == default_reading(dataset) else reading
    source, (train, test) = source_kind(dataset, environment.data_root()), profile.sizes(dataset)
    epochs = EPOCHS.get(dataset, {})
    pace = epochs[group] * len(epochs) / sum(epochs.values()) if group in epochs else 1.0
    return Trial(
        dataset=dataset,
        source=source,
        method=method,
        share=share,
        seed=seed,
        target=target or TARGET[dataset],
        train=train,
        test=test,
        steps=round(profile.steps * pace),
        size=profile.size,
        group=group,
        teacher=teacher,
        reading=reading,
        select=select,
        boxes=boxes or ("detected" if source == "videos" else "true"),
        overrides=tuple({**own, **overrides}.items()),
        backbone=backbone,
    )


def table_trials(table: str, profile: Profile) -> dict[tuple[str, str, int], Trial]:
    """Trials of Table I or II: (system, column, seed) -> Trial."""
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
    """Trials of Table VI or VII, whose classes are learned one by one: (system, column, seed) -> Trial."""
    if table not in CLASS_TABLES:
        raise ValueError(f"table {table!r} has no classes: choose one of {', '.join(CLASS_TABLES)}")
    dataset, share, columns = CLASS_TABLES[table]
    return {
        (system, column, seed): declare(dataset, system, share, seed, profile, group, target)
        for system in systems
        for column, (group, target) in columns.items()
        for seed in profile.seeds
    }


def figure_trials(figure: str, profile: Profile) -> dict[tuple, Trial]:
    """Trials of Table III or of a figure: (what is varied ..., seed) -> Trial; see `FIGURES` for the names.

    The paper leaves the label share of Fig. 9 open: 15 %, as in Fig. 7.
    """
    if figure not in FIGURES:
        raise ValueError(f"figure {figure!r} has no trials here: choose one of {', '.join(FIGURES)}")
    return FIGURES[figure](profile)


def _over_shares(dataset: str, rows: dict[str, dict], shares: tuple[float, ...]):
    """(row, column, seed) -> Trial; a row says what `declare` takes."""

    def trials(profile: Profile) -> dict[tuple, Trial]:
        return {
            (row, column_name(share), seed): declare(dataset, share=share, seed=seed, profile=profile, **given)
            for row, given in rows.items()
            for share in shares
            for seed in profile.seeds
        }

    return trials


def _sweep(dataset: str, share: float, settings: dict[str, tuple]):
    """(setting, value, seed) -> Trial of SAP-Net."""

    def trials(profile: Profile) -> dict[tuple, Trial]:
        return {
            (name, value, seed): declare(dataset, OURS, share, seed, profile, **{name: value})
            for name, values in settings.items()
            for value in values
            for seed in profile.seeds
        }

    return trials


def _decisions(profile: Profile) -> dict[tuple, Trial]:
    """(erratum, alternative, seed) -> Trial; the decision itself is ("", "as decided", seed)."""
    rows = {("", "as decided"): ({}, {}), **DECISIONS}
    return {
        (*row, seed): declare("mtl-aqa", OURS, 0.1, seed, profile, **given, **overrides)
        for row, (given, overrides) in rows.items()
        for seed in profile.seeds
    }


def _boxes(profile: Profile) -> dict[tuple, Trial]:
    """(boxes, seed) -> Trial: what found boxes do to the teacher; on few videos in the quick profile."""
    trials = {
        (boxes, seed): declare("finediving", OURS, 0.4, seed, profile, boxes=boxes)
        for boxes in BOXES
        for seed in profile.seeds[:2]
    }
    few = {"train": 80, "test": 56, "steps": 50} if profile.name == "quick" else {}
    return {key: replace(trial, **few) for key, trial in trials.items()}


def _selection(profile: Profile) -> dict[tuple, Trial]:
    """(dataset, system, column, select, seed) -> Trial."""
    return {
        (dataset, system, column_name(share), how, seed): declare(dataset, system, share, seed, profile, select=how)
        for dataset, shares in TABLES.values()
        for system in ("I3D+MLP", OURS)
        for share in (shares[0], shares[3])
        for how in SELECT
        for seed in profile.seeds
    }


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
    "decisions": _decisions,
    "selection": _selection,
    "boxes": _boxes,
}


FLOOR_ROWS = ("I3D+MLP", "I3D+MLP (clips in order)", *SEARCHED)
SEMI = ("C3D-AVG-MTL", "COREG", "Pseudo-labels", "VAT", "S4L", "S4AQA")

# Tables IV to VII: table -> (rows of the semi-supervised columns, rows of the column "supervised").
COMPARISONS: dict[str, tuple[tuple[str, ...], tuple[str, ...]]] = {
    "IV": ((*FLOOR_ROWS, *SEMI, OURS), (*FLOOR_ROWS, "USDL", "MUSDL", OURS)),
    "V": ((*FLOOR_ROWS, "USDL", "MUSDL", "TSA", OURS), (*FLOOR_ROWS, "USDL", "MUSDL", "TSA", OURS)),
    "VI": ((*FLOOR_ROWS, "COREG", "SVR", "Action-Net", *SEMI[2:], OURS), ()),
    "VII": ((*FLOOR_ROWS, "VST+MLP", "Action-Net", "GDLT", OURS), ()),
}
COMPARISON_SHARES = {"IV": (0.1, 0.4), "V": (0.1, 0.2)}
NOT_HERE = dict.fromkeys(  # rows that print the paper's number alone, and why
    ("CoRe", "TSA-Net", "TAP", "PCLN", "DAE-CoRe", "HGCN", "FSPN", "SGN", "APT"), "not implemented here"
)


NEEDS = {"musdl": "judges", "tsa": "transitions"}  # what of a record a method cannot do without


def _possible(trial: Trial) -> bool:
    """Whether every training record has what the trial's method learns from."""
    name = NEEDS.get(trial.method)
    return name is None or all(getattr(r, name) for r in trial_records(trial) if r.split == "train")


def comparison_trials(table: str, profile: Profile) -> dict[tuple[str, str, int], Trial]:
    """Trials of Tables IV to VII with every system that is here: (system, column, seed) -> Trial.

    A system that needs what the set's annotation does not give is left out.
    """
    if table not in COMPARISONS:
        raise ValueError(f"table {table!r} compares no systems: choose one of {', '.join(COMPARISONS)}")
    semi, supervised = COMPARISONS[table]
    if table in CLASS_TABLES:
        return class_trials(table, profile, semi)
    dataset = {"IV": "mtl-aqa", "V": "finediving"}[table]
    trials = {}
    for shares, rows in ((COMPARISON_SHARES[table], semi), ((1.0,), supervised)):
        trials |= _over_shares(dataset, {s: {"system": s} for s in rows}, shares)(profile)
    return {key: trial for key, trial in trials.items() if _possible(trial)}


FIGURES |= {
    "IV": lambda profile: comparison_trials("IV", profile),
    "V": lambda profile: comparison_trials("V", profile),
    "fig06": _over_shares("mtl-aqa", {s: {"system": s} for s in COMPARISONS["IV"][0] if s not in SEARCHED}, SHARES),
}


def declared_trials(name: str, profile: Profile) -> dict[tuple, Trial]:
    """Trials of a table or figure by its name, of whichever kind: "I", "VI", "III", "fig07", "decisions", ...

    Raises:
        ValueError: no such table or figure; the message names the known ones.
    """
    if name not in KNOWN:
        raise ValueError(f"table or figure {name!r} declares no trials: choose one of {', '.join(KNOWN)}")
    if name in TABLES:
        return table_trials(name, profile)
    return comparison_trials(name, profile) if name in CLASS_TABLES else figure_trials(name, profile)


def with_average(runs: pd.DataFrame, column: str = "Avg") -> pd.DataFrame:
    """Results of classes (system, column, seed, rho) with one row more a system and seed: the Fisher-z mean (E14)."""
    mean = runs.groupby(["system", "seed"], sort=False)["rho"].agg(lambda x: fisher_mean([*x])).reset_index()
    return pd.concat([runs, mean.assign(column=column)], ignore_index=True)


def floors(trial: Trial) -> pd.DataFrame:
    """What is reached without looking at a video, and what judge noise leaves reachable, on a trial's test part.

    Rows: "mean" (one constant execution or score); "difficulty alone" (prediction = difficulty degree), where degrees
    differ; and, on twins, "ceiling: true quality" (the points that the shown factors are worth, without the judges'
    noise). Columns: system, rho.
    """
    data = trial_data(trial)
    test = ~data.train
    score, difficulty = data.score[test], data.difficulty[test]
    guess = {"mean": torch.ones_like(score)}
    if len(difficulty.unique()) > 1:
        guess["difficulty alone"] = difficulty
    if trial.source != "videos":
        mark, sport = "score" if trial.target == "execution" else trial.target, sport_of(trial.dataset)
        shown = [sport.shown_scores(r, f)[mark] for r, f in zip(data.records, data.features.factors, strict=True)]
        guess["ceiling: true quality"] = torch.tensor(shown)[test]
    return pd.DataFrame([{"system": k, "rho": round(float(spearman(v, score)), 4)} for k, v in guess.items()])


def check_data() -> None:
    """Look into the user's folder, where one is named, before any work.

    Raises:
        ValueError: it holds no dataset, or own videos, of which no table is made.
    """
    data = environment.data_root()
    if data and "folder" in known_datasets(data):
        raise ValueError(
            f"SAPNET_DATA={str(data)!r} holds own videos, of which no table is made: unset it, or run "
            f"./runall.sh --data {data}"
        )


def run_tables(profile: str, names: Sequence[str], jobs: int, device: str) -> None:
    """Run the declared trials of tables and figures, in `jobs` processes; progress goes to standard error.

    Raises:
        ValueError: this machine has no such device, or `check_data` refuses the user's folder.
    """
    usable_device(device)
    check_data()
    reach_cluster()
    with trial_bars() as bars:
        trials = [trial for name in names for trial in declared_trials(name, get_profile(profile)).values()]
        run_trials(trials, jobs, device, **bars)
    print(f"{len(set(trials))} trials are in {environment.runs() / 'trials'}")
