"""Calibrate the difficulty of simulated videos, by the baseline alone.

One candidate is a `SimSettings`. It is judged by how close I3D+MLP comes to the paper's numbers at the official sizes,
trained as in the study; no other method is trained here. What the official annotations say of judges (`judge_noise`) is
set first and is not searched; `part_spread` and `factor_spread` must leave the largest rho of a single quality factor
with the score at most 0.75. The candidates are in `simulator/calibration_search.csv`, the chosen values in
`simulator/calibration.json`.

    python -m sapnet_core recipe calibrate_simulator finediving visibility=0.6 nuisance=1.5
"""

from argparse import Namespace
from collections.abc import Sequence
from dataclasses import asdict, replace
from pathlib import Path

import numpy as np
import pandas as pd
import torch
from torch import Tensor

from sapnet_core.datasets.records import Record
from sapnet_core.experiments.fit import fit_trial
from sapnet_core.experiments.metrics import fisher_mean, spearman
from sapnet_core.experiments.paper import paper_table
from sapnet_core.experiments.profiles import PROFILES
from sapnet_core.experiments.results import results
from sapnet_core.experiments.stored import is_stored
from sapnet_core.experiments.tables import CLASS_TABLES, declared_trials
from sapnet_core.experiments.trial import Trial
from sapnet_core.experiments.trial_data import group_data
from sapnet_core.features.source import source_records
from sapnet_core.features.store import twin_features
from sapnet_core.runtime import environment
from sapnet_core.runtime.arguments import check_environment, unwritable
from sapnet_core.runtime.devices import torch_threads
from sapnet_core.runtime.files import write_bytes
from sapnet_core.runtime.progress import waiting
from sapnet_core.runtime.values import choice
from sapnet_core.simulator.settings import SimSettings, settings_for

__all__ = ["AIM", "SEARCH", "baseline_rho", "chosen_rows", "largest_factor_rho", "paper_rho", "stored_rho"]

SEARCH = Path(__file__).parent.parent / "simulator" / "calibration_search.csv"
TWIN_SEED = 7  # differs from the twins of the tables (0) and those of tuning (1)
# dataset -> table and row of the paper that I3D+MLP is to reach; in Table VI, which has no I3D+MLP, SVR is nearest
AIM = {
    "mtl-aqa": ("I", "I3D+MLP"),
    "finediving": ("II", "I3D+MLP"),
    "rg": ("VI", "SVR"),
    "finefs": ("VII", "I3D+MLP"),
}
CELLS = {"mtl-aqa": ("10%", "supervised"), "finediving": ("5%", "supervised")}  # of the tables without classes


def paper_rho(dataset: str) -> dict[str, float]:
    """The paper's numbers that the twins of a dataset are calibrated to: column -> rho; of classes, the Fisher-z mean.

    Raises:
        ValueError: there is no such dataset.
    """
    choice("dataset", dataset, tuple(AIM))
    table, row = AIM[dataset]
    printed = paper_table(table).loc[row]
    if table in CLASS_TABLES:
        return {"all classes": fisher_mean([printed[column] for column in CLASS_TABLES[table][2]])}
    return {column: float(printed[column]) for column in CELLS[dataset]}


def _trials(dataset: str, sizes: tuple[int | None, int | None], seeds: tuple[int, ...]) -> dict[str, list[Trial]]:
    """Trials of I3D+MLP whose rho is averaged: column -> trials."""
    profile, (table, _) = PROFILES["study"], AIM[dataset]
    profile = replace(profile, seeds=seeds).resized(dataset, *sizes)
    every = declared_trials(table, profile)
    trials = {key: replace(trial, source="drawn", boxes="true") for key, trial in every.items() if key[0] == "I3D+MLP"}
    names = CELLS.get(dataset, ("all classes",))
    return {name: [t for (_, column, _), t in trials.items() if name in (column, "all classes")] for name in names}


def baseline_rho(
    dataset: str,
    settings: SimSettings,
    train: int | None = None,
    test: int | None = None,
    seeds: tuple[int, ...] = (0, 1, 2),
    twin_seed: int = TWIN_SEED,
    jobs: int = 1,
) -> tuple[dict[str, float], float]:
    """Test rho of I3D+MLP on twins of drawn annotations, and how much a single factor tells of the score.

    Args:
        train, test: numbers of videos; None for the official ones.
        seeds: seeds of the trials that are averaged.
        twin_seed: seed of the annotations and twins.
        jobs: worker processes that compute features.

    Returns:
        column -> rho, the columns being those of `paper_rho`, averaged by Fisher's z over seeds and classes; and the
        largest rho of one quality factor with the score.

    Raises:
        ValueError: there is no such dataset.
    """
    choice("dataset", dataset, tuple(AIM))
    records = source_records(dataset, train, test, twin_seed, None, environment.runs() / "annotations")
    features = twin_features(
        records,
        seed=twin_seed,
        settings=settings,
        views=("frame",),
        folder=environment.runs() / "calibration",
        jobs=jobs,
    )
    frame = features.views["frame"]
    features = replace(features, views={"frame": frame, "actor": frame})  # the baseline reads no crop
    rho = {}
    for column, trials in _trials(dataset, (train, test), seeds).items():
        found = []
        for trial in trials:
            data = group_data(trial, tuple(records), lambda: features)
            with torch_threads(1):
                _, _, scored, predicted = fit_trial(trial, data)
            found.append(float(spearman(predicted, data.score[scored])))
        rho[column] = fisher_mean(found)
    return rho, largest_factor_rho(records, features.factors)


def stored_rho(dataset: str) -> dict[str, list[float]]:
    """Test rho of I3D+MLP on the twins of the tables, which are other ones than those of the calibration.

    Returns:
        column -> rho of each seed of the study that is stored, the columns being those of `paper_rho`; of classes, the
        Fisher-z mean, for the seeds of which every class is stored.

    Raises:
        ValueError: there is no such dataset.
    """
    choice("dataset", dataset, tuple(AIM))
    found: dict[str, list[float]] = {}
    for column, trials in _trials(dataset, (None, None), PROFILES["study"].seeds).items():
        by_seed: dict[int, list[Trial]] = {}
        for trial in trials:
            by_seed.setdefault(trial.seed, []).append(trial)
        stored = [own for own in by_seed.values() if all(map(is_stored, own))]
        found[column] = [fisher_mean(results(own)["rho"].tolist()) for own in stored]
    return found


def largest_factor_rho(records: Sequence[Record], factors: Tensor) -> float:
    """The largest rank correlation of one quality factor (N, F) with the score; where the records have classes, the
    largest within any of them."""
    score = torch.tensor([r.score for r in records])
    groups = torch.tensor([sorted({r.group for r in records}).index(r.group) for r in records])
    found = []
    for group in groups.unique():
        own = groups == group
        found += [abs(float(spearman(factor, score[own]))) for factor in factors[own].T]
    return max(found)


def chosen_rows() -> pd.DataFrame:
    """Rows of the stored search that hold the settings in use."""
    search = pd.read_csv(SEARCH)
    used = pd.DataFrame([asdict(settings_for(name)) for name in search["dataset"]])
    return search[np.isclose(search[used.columns].astype(float), used.astype(float)).all(axis=1)]


def main(asked: Namespace) -> None:
    """Measure one candidate and append it to the search file."""
    change = dict(asked.change)
    if len(change) < len(asked.change):
        raise ValueError("a field is given twice: give each field once")
    twin_seed = TWIN_SEED if asked.twin_seed is None else asked.twin_seed
    check_environment()
    if fault := unwritable(SEARCH.parent):
        raise ValueError(f"{SEARCH} cannot be written: {fault}")
    settings, jobs = replace(settings_for(asked.dataset), **change), asked.jobs or environment.jobs()
    with waiting(f"measuring twins of {asked.dataset}"):
        rho, factor = baseline_rho(asked.dataset, settings, asked.train, asked.test, twin_seed=twin_seed, jobs=jobs)
    aim, few = paper_rho(asked.dataset), next(iter(rho))
    row = {
        "dataset": asked.dataset,
        "train": asked.train or "official",
        "test": asked.test or "official",
        "twin_seed": twin_seed,
        "seeds": 3,
        **asdict(settings),
        "rho_few": round(rho[few], 4),
        "rho_all": round(rho["supervised"], 4) if "supervised" in rho else "",
        "paper_few": round(aim[few], 4),
        "paper_all": aim.get("supervised", ""),
        "largest_factor": round(factor, 4),
    }
    old = SEARCH.read_bytes() if SEARCH.exists() else b""
    line = pd.DataFrame([row]).to_csv(index=False, header=not old, lineterminator="\r\n")  # as the lines before it end
    write_bytes(SEARCH, old + line.encode())
    print(row)
