"""Calibrate the difficulty of simulated dives, by the baseline alone.

One candidate is a `SimSettings`. It is judged by how close I3D+MLP comes to the paper's I3D+MLP, at the smallest label
share and with all labels, at the official sizes; no other method is trained here. The regression target and the number
of steps were part of the search and are stored with each candidate. The candidates are in
`simulator/calibration_search.csv`, the chosen values in `simulator/calibration.json`.

    python -m sapnet_core.recipes.calibrate_simulator finediving visibility=0.6 nuisance=1.5
"""

import csv
import sys
from dataclasses import asdict, replace
from pathlib import Path

import torch

from sapnet_core.experiments.fit import fit_trial
from sapnet_core.experiments.metrics import spearman
from sapnet_core.experiments.paper import paper_table
from sapnet_core.experiments.profiles import PROFILES
from sapnet_core.experiments.tables import TABLES, TARGET
from sapnet_core.experiments.trial import Trial, TrialData
from sapnet_core.features.source import source_records
from sapnet_core.features.store import twin_features
from sapnet_core.recipes import command_lines
from sapnet_core.runtime import environment
from sapnet_core.runtime.arguments import check_environment, unwritable
from sapnet_core.runtime.command_line import one_line_errors
from sapnet_core.runtime.progress import waiting
from sapnet_core.runtime.values import choice
from sapnet_core.simulator.settings import SimSettings, settings_for

__all__ = ["baseline_rho", "SEARCH"]

SEARCH = Path(__file__).parent.parent / "simulator" / "calibration_search.csv"
TABLE_OF = {dataset: name for name, (dataset, _) in TABLES.items()}  # the diving datasets, whose twins are calibrated
TWIN_SEED = 7  # differs from the twins of the tables (0) and those of tuning (1)


def baseline_rho(
    dataset: str,
    settings: SimSettings,
    train: int | None = None,
    test: int | None = None,
    seeds: tuple[int, ...] = (0, 1, 2),
    twin_seed: int = TWIN_SEED,
    jobs: int = 1,
) -> dict[float, float]:
    """Mean test rho of I3D+MLP on twins of drawn annotations, at the table's smallest share and with all labels.

    Args:
        train, test: numbers of videos; None for the official ones.
        seeds: seeds of the trials that are averaged.
        twin_seed: seed of the annotations and twins.
        jobs: worker processes that compute features.

    Returns:
        label share -> rho.

    Raises:
        ValueError: the dataset is not one of dives.
    """
    choice("dataset", dataset, tuple(TABLE_OF))
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
    column = {name: torch.tensor([getattr(r, name) for r in records]) for name in ("score", "difficulty")}
    data = TrialData(
        tuple(records),
        replace(features, views={"frame": frame, "actor": frame}),  # the baseline reads no crop
        **column,
        train=torch.tensor([r.split == "train" for r in records]),
    )
    shares = TABLES[TABLE_OF[dataset]][1]
    rho = {}
    for share in (shares[0], shares[-1]):
        found = []
        for seed in seeds:
            trial = Trial(dataset, "drawn", "mlp", share, seed, TARGET[dataset], train, test, PROFILES["paper"].steps)
            _, _, scored, predicted = fit_trial(trial, data)
            found.append(float(spearman(predicted, data.score[scored])))
        rho[share] = sum(found) / len(found)
    return rho


@one_line_errors
def main(arguments: list[str] | None = None) -> None:
    """Command line: measure one candidate and append it to the search file."""
    args = command_lines.calibrate_simulator().parse_args(arguments)
    change = dict(args.change)
    if len(change) < len(args.change):
        raise ValueError("a field is given twice: give each field once")
    twin_seed = TWIN_SEED if args.twin_seed is None else args.twin_seed
    check_environment()
    if fault := unwritable(SEARCH.parent):
        raise ValueError(f"{SEARCH} cannot be written: {fault}")
    settings, jobs = replace(settings_for(args.dataset), **change), args.jobs or environment.jobs()
    with waiting(f"measuring twins of {args.dataset}"):
        rho = baseline_rho(args.dataset, settings, args.train, args.test, twin_seed=twin_seed, jobs=jobs)
    paper = paper_table(TABLE_OF[args.dataset]).loc["I3D+MLP"]
    row = {
        "dataset": args.dataset,
        "train": args.train or "official",
        "test": args.test or "official",
        "twin_seed": twin_seed,
        "target": TARGET[args.dataset],
        "steps": PROFILES["paper"].steps,
        "seeds": 3,
        **asdict(settings),
        "rho_smallest": round(min(rho.items())[1], 4),
        "rho_all": round(rho[1.0], 4),
        "paper_smallest": paper.iloc[0],
        "paper_all": paper.iloc[-1],
    }
    new = not SEARCH.exists()
    with SEARCH.open("a", newline="") as file:
        writer = csv.DictWriter(file, list(row))
        if new:
            writer.writeheader()
        writer.writerow(row)
    print(row)


if __name__ == "__main__":
    sys.exit(main())
