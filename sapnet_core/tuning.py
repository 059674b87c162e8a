"""How SAP-Net's free settings were chosen: candidates tried on validation parts of twins that no table uses.

The paper leaves capacity, batch sizes, warm-up and more unsaid. Each candidate is scored on a quarter of the training
videos of another seed's twins, kept out of training; no test video is involved. What was tried stands in
`methods/tuning.csv`; the chosen values are the defaults of `methods/sapnet.py`. Column `format` tells trials of
format 3, which scaled both views by the whole frames, from those of 4, which scale each view by itself: pseudo-labels
of crops had been seen to follow clip halves.

    python -m sapnet_core.tuning --only "SAP-Net (Ours)" "dropout = 0.5"
"""

import argparse
from pathlib import Path

import pandas as pd

from sapnet_core import profiles
from sapnet_core.experiments import CONTROLS, SYSTEMS, TABLES, TARGET
from sapnet_core.progress import progress_bar
from sapnet_core.results import results, run_trials
from sapnet_core.trials import FORMAT, Trial

__all__ = ["CANDIDATES", "TUNING", "tuning_trials"]

TUNING = Path(__file__).with_name("methods") / "tuning.csv"
TWIN_SEED = 1  # the tables use 0, the calibration 7
TRAIN = 640  # three quarters of them learn: as many as in the quick profile
STEPS = 300

# name -> what differs from the defaults; systems of the tables stand beside them for comparison
CANDIDATES: dict[str, tuple[str, dict]] = {
    **SYSTEMS,
    **CONTROLS,
    "I3D+MLP, unit_targets = True": ("mlp", {"unit_targets": True}),
    "I3D+MLP (clips in order), unit_targets = True": ("mlp-ordered", {"unit_targets": True}),
    "decoder_channels = C": ("sap-net", {"decoder_channels": None}),
    "decoder = psnet": ("sap-net", {"decoder": "psnet"}),
    "unit_targets = False": ("sap-net", {"unit_targets": False}),
    "L_reg alone, unit_targets = False": ("sap-net", {**CONTROLS["SAP-Net, L_reg alone"][1], "unit_targets": False}),
    "dropout = 0.5": ("sap-net", {"dropout": 0.5}),
    "grades = 3": ("sap-net", {"grades": 3}),
    "confidence = agreement": ("sap-net", {"confidence": "agreement"}),
    "tau = 0": ("sap-net", {"tau": 0.0}),
    "warmup = 0.1": ("sap-net", {"warmup": 0.1}),
    "lr = 3e-4": ("sap-net", {"lr": 3e-4}),
    "lambda_ubc = lambda_gc = 0.1": ("sap-net", {"lambda_ubc": 0.1, "lambda_gc": 0.1}),
    "no consistency": ("sap-net", {"lambda_un": 0.0}),
    "consistency alone": ("sap-net", {"lambda_ubc": 0.0, "lambda_gc": 0.0}),
    "teacher not supervised": ("sap-net", {"supervise_teacher": False}),
}


def tuning_trials(name: str, seeds: tuple[int, ...] = (0, 1, 2)) -> list[Trial]:
    """The trials behind one candidate: both datasets, the smallest share of labels and the next to largest."""
    method, overrides = CANDIDATES[name]
    return [
        Trial(dataset, "drawn", method, share, seed, TARGET[dataset], TRAIN, 8, STEPS,
              twin_seed=TWIN_SEED, part="validation", overrides=tuple(overrides.items()))
        for dataset, shares in TABLES.values() for share in (shares[0], shares[-2]) for seed in seeds
    ]  # fmt: skip


def main(arguments: list[str] | None = None) -> None:
    """Run the candidates and write the table; rows of candidates not asked for are kept."""
    parser = argparse.ArgumentParser(description="Score candidate settings on validation parts of other twins.")
    parser.add_argument("--only", nargs="+", default=list(CANDIDATES), choices=CANDIDATES)
    parser.add_argument("--jobs", type=int, default=profiles.jobs())
    args = parser.parse_args(arguments)
    run_trials([t for name in args.only for t in tuning_trials(name)], args.jobs,
               progress=progress_bar("trial"), videos=progress_bar)  # fmt: skip
    rows = []
    for name in args.only:
        for (dataset, share), group in results(tuning_trials(name)).groupby(["dataset", "share"], sort=False):
            rows.append({"setting": name, "dataset": dataset, "share": share, "seeds": len(group),
                         "rho_mean": round(group.rho.mean(), 4), "rho_sd": round(group.rho.std(), 4)})  # fmt: skip
    table = pd.DataFrame(rows).assign(format=FORMAT)
    if TUNING.exists():
        old = pd.read_csv(TUNING)
        table = pd.concat([old[~(old.setting.isin(args.only) & (old.format == FORMAT))], table])
    table["chosen"] = (table.setting == "SAP-Net (Ours)") & (table.format == FORMAT)
    table.to_csv(TUNING, index=False)
    own = table[table.format == FORMAT]
    print(own.pivot(index="setting", columns=["dataset", "share"], values="rho_mean").to_string())


if __name__ == "__main__":
    main()
