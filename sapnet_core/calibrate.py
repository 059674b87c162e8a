"""How hard the simulated dives are: the search, on the baseline alone.

One candidate is a `SimSettings`; its worth is how near I3D+MLP comes to the paper's I3D+MLP at the smallest label
share and with all labels, at the official sizes. No other method is trained here. What is regressed and for how many
steps was part of the search: both stand beside each candidate. The candidates tried and the values
chosen stand in `sim/calibration_search.csv` and `sim/calibration.json`.

    python -m sapnet_core.calibrate finediving visibility=0.6 nuisance=1.5
"""

import argparse
import csv
from dataclasses import asdict, replace
from pathlib import Path

import torch

from sapnet_core import paths, profiles
from sapnet_core.data.features import twin_features
from sapnet_core.data.source import source_records
from sapnet_core.experiments import TABLES, TARGET
from sapnet_core.fitting import fit_trial
from sapnet_core.metrics import spearman
from sapnet_core.paper import paper_table
from sapnet_core.profiles import PROFILES
from sapnet_core.sim.settings import SimSettings, settings_for
from sapnet_core.trials import Trial, TrialData

__all__ = ["baseline_rho", "SEARCH"]

SEARCH = Path(__file__).with_name("sim") / "calibration_search.csv"
TWIN_SEED = 7  # neither the twins of the tables (0) nor those SAP-Net is tuned on


def baseline_rho(
    dataset: str, settings: SimSettings, train: int | None = None, test: int | None = None,
    seeds: tuple[int, ...] = (0, 1, 2), twin_seed: int = TWIN_SEED, jobs: int = 1,
) -> dict[float, float]:  # fmt: skip
    """Mean test rho of I3D+MLP on twins of drawn annotations, at the table's smallest share and with all labels.

    Args:
        train, test: sizes; None for the official ones.
        seeds: trial seeds averaged over.

    Returns:
        label share -> rho.
    """
    records = source_records(dataset, train, test, twin_seed, None, paths.runs() / "annotations")
    features = twin_features(
        records, seed=twin_seed, settings=settings, views=("frame",), folder=paths.runs() / "calibration", jobs=jobs
    )
    frame = features.views["frame"]
    column = {name: torch.tensor([getattr(r, name) for r in records]) for name in ("score", "difficulty")}
    data = TrialData(
        tuple(records), replace(features, views={"frame": frame, "actor": frame}),  # the baseline reads no crop
        **column, train=torch.tensor([r.split == "train" for r in records]),
    )  # fmt: skip
    shares = TABLES[{"mtl-aqa": "I", "finediving": "II"}[dataset]][1]
    rho = {}
    for share in (shares[0], shares[-1]):
        found = []
        for seed in seeds:
            trial = Trial(dataset, "drawn", "mlp", share, seed, TARGET[dataset], train, test, PROFILES["paper"].steps)
            _, _, scored, predicted = fit_trial(trial, data)
            found.append(float(spearman(predicted, data.score[scored])))
        rho[share] = sum(found) / len(found)
    return rho


def main(arguments: list[str] | None = None) -> None:
    """Measure one candidate and append it to the search file."""
    parser = argparse.ArgumentParser(description="Measure I3D+MLP on twins of one difficulty.")
    parser.add_argument("dataset", choices=tuple(TARGET))
    parser.add_argument("change", nargs="*", help="field=value, on top of the values in calibration.json")
    parser.add_argument("--train", type=int)
    parser.add_argument("--test", type=int)
    parser.add_argument("--twin-seed", type=int, default=TWIN_SEED)
    parser.add_argument("--jobs", type=int, default=profiles.jobs())
    args = parser.parse_args(arguments)
    base = settings_for(args.dataset)
    change = {k: type(getattr(base, k))(float(v)) for k, v in (pair.split("=") for pair in args.change)}
    settings = replace(base, **change)
    rho = baseline_rho(args.dataset, settings, args.train, args.test, twin_seed=args.twin_seed, jobs=args.jobs)
    paper = paper_table({"mtl-aqa": "I", "finediving": "II"}[args.dataset]).loc["I3D+MLP"]
    row = {
        "dataset": args.dataset, "train": args.train or "official", "test": args.test or "official",
        "twin_seed": args.twin_seed, "target": TARGET[args.dataset], "steps": PROFILES["paper"].steps, "seeds": 3,
        **asdict(settings),
        "rho_smallest": round(min(rho.items())[1], 4), "rho_all": round(rho[1.0], 4),
        "paper_smallest": paper.iloc[0], "paper_all": paper.iloc[-1],
    }  # fmt: skip
    new = not SEARCH.exists()
    with SEARCH.open("a", newline="") as file:
        writer = csv.DictWriter(file, list(row))
        if new:
            writer.writeheader()
        writer.writerow(row)
    print(row)


if __name__ == "__main__":
    main()
