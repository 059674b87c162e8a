"""How SAP-Net's free settings were chosen: candidates tried on validation parts of twins that no table uses.

The paper leaves capacity, batch sizes, warm-up and more unsaid. Each candidate is scored on a quarter of the training
videos of another seed's twins, kept out of training; no test video is involved. What was tried stands in
`methods/tuning.csv`; the chosen values are the defaults of `methods/sapnet.py`. Column `format` tells trials of
format 3, which scaled both views by the whole frames, from those of 4, which scale each view by itself: pseudo-labels
of crops had been seen to follow clip halves. Format 5 takes the same sums in another order: rows of 4 hold for it.

    python -m sapnet_core.recipes.tune_methods --only "SAP-Net (Ours)" "dropout = 0.5"

Every compared system gets the same budget on the same validation parts: its defaults and five seeded draws from its
search space. The best mean over the cells is what `systems.RIVALS` holds.

    python -m sapnet_core.recipes.tune_methods --search VAT COREG
"""

import random
import sys
from itertools import product
from pathlib import Path

import pandas as pd

from sapnet_core.experiments.results import results, run_trials
from sapnet_core.experiments.systems import BACKBONE_OF, CONTROLS, RIVALS, SYSTEMS
from sapnet_core.experiments.tables import TABLES, TARGET
from sapnet_core.experiments.trial import FORMAT, Trial
from sapnet_core.runtime import environment
from sapnet_core.runtime.arguments import Parser, check_environment, count, unwritable
from sapnet_core.runtime.command_line import one_line_errors
from sapnet_core.runtime.executors import reach_cluster
from sapnet_core.runtime.progress import progress_bar

__all__ = ["BUDGET", "CANDIDATES", "SPACES", "TUNING", "best_of", "search_candidates", "tuning_trials"]

TUNING = Path(__file__).parent.parent / "methods" / "tuning.csv"
VALID = (4, FORMAT)  # formats of trials whose results agree up to rounding
TWIN_SEED = 1  # the tables use 0, the calibration 7
TRAIN = 640  # three quarters of them learn: as many as in the quick profile
STEPS = 300
# The search of the compared systems: training videos, three quarters of them learn, and shares of labels. As many
# labels as in the quick profile's smallest and larger columns; TSA needs transitions, which FineDiving alone has.
SEARCH = {"mtl-aqa": (640, (0.1, 0.4)), "finediving": (320, (0.2, 0.4))}
SEARCH_STEPS = 200

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

# system -> setting -> values to draw from
RATES = (3e-4, 1e-3, 3e-3)
SPACES: dict[str, dict[str, tuple]] = {
    "I3D+MLP": {"lr": RATES, "unit_targets": (False, True), "batch": (8, 16, 32)},
    "I3D+MLP (clips in order)": {"lr": RATES, "unit_targets": (False, True), "batch": (8, 16, 32)},
    "C3D-AVG-MTL": {"weight": (0.1, 0.3, 1.0), "dropout": (0.0, 0.3), "lr": RATES},
    "COREG": {"k": (3, 5, 9), "pool": (100, 400), "iterations": (30, 100, 200), "orders": ((2.0, 5.0), (1.0, 2.0))},
    "Pseudo-labels": {"tau": (0.5, 0.7, 0.95), "weight": (0.3, 1.0), "ordered": (False, True), "lr": RATES},
    "VAT": {"eps": (0.1, 0.3, 1.0), "weight": (0.3, 1.0, 3.0), "ordered": (False, True), "lr": RATES},
    "S4L": {"weight": (0.1, 0.3, 1.0), "lr": RATES},
    "S4AQA": {"recovery": (0.1, 1.0), "adversarial": (0.1, 1.0), "lr": RATES},
    "USDL": {"sigma": (2.0, 5.0, 10.0), "read": ("mean", "mode"), "lr": RATES},
    "MUSDL": {"sigma": (0.5, 1.0, 2.0), "read": ("mean", "mode"), "lr": RATES},
    "TSA": {"width": (32, 64, 128), "exemplars": (5, 10, 20), "lr": RATES},
    "SVR": {"kernel": ("linear", "rbf"), "C": (0.1, 1.0, 10.0), "epsilon": (0.05, 0.1, 0.3)},
    "Action-Net": {"width": (64, 128), "postures": (2, 4, 8), "lr": RATES},
    "GDLT": {"alpha": (0.1, 1.0), "dropout": (0.0, 0.3), "width": (64, 128), "lr": RATES},
    "VST+MLP": {"lr": RATES, "unit_targets": (False, True), "batch": (8, 16, 32)},
}
BUDGET = 6  # candidates a system


def search_candidates(system: str) -> dict[str, tuple[str, dict]]:
    """The defaults and `BUDGET` - 1 different draws from the system's space: name -> (method, settings).

    Raises:
        ValueError: nothing is searched for this system; the message names those of the search.
    """
    if system not in SPACES:
        raise ValueError(f"system {system!r} is not searched: choose one of {', '.join(SPACES)}")
    method, space = {**SYSTEMS, **CONTROLS, **RIVALS}[system][0], SPACES[system]
    grid = [dict(zip(space, values, strict=True)) for values in product(*space.values())]
    drawn = [{}, *random.Random(system).sample(grid, BUDGET - 1)]
    return {f"{system}: " + (", ".join(f"{k} = {v}" for k, v in s.items()) or "defaults"): (method, s) for s in drawn}


for _system in SPACES:
    CANDIDATES |= search_candidates(_system)


def best_of(system: str, table: pd.DataFrame) -> str:
    """The system's candidate of the highest mean over all cells of a table such as `TUNING` holds."""
    tried = table[table.setting.isin(search_candidates(system)) & table.format.isin(VALID)]
    return tried.groupby("setting", sort=False).rho_mean.mean().idxmax()


def tuning_trials(name: str, seeds: tuple[int, ...] = (0, 1, 2)) -> list[Trial]:
    """The trials behind one candidate: both datasets, the smallest share of labels and the next to largest.

    Candidates of a search have the cells of `SEARCH` on MTL-AQA (TSA: on FineDiving), one seed, and the quick
    profile's steps.
    """
    if name not in CANDIDATES:
        raise ValueError(f"candidate {name!r} is unknown: choose one of {', '.join(CANDIDATES)}")
    method, overrides = CANDIDATES[name]
    cells = {dataset: (TRAIN, (shares[0], shares[-2])) for dataset, shares in TABLES.values()}
    steps, system = STEPS, name.partition(": ")[0]
    own = {"backbone": BACKBONE_OF[system], "teacher": "frame"} if system in BACKBONE_OF else {}
    if ": " in name:
        dataset = "finediving" if method == "tsa" else "mtl-aqa"
        cells, seeds, steps = {dataset: SEARCH[dataset]}, seeds[:1], SEARCH_STEPS
    return [
        Trial(
            dataset,
            "drawn",
            method,
            share,
            seed,
            TARGET[dataset],
            train,
            8,
            steps,
            twin_seed=TWIN_SEED,
            part="validation",
            overrides=tuple(overrides.items()),
            **own,
        )
        for dataset, (train, shares) in cells.items()
        for share in shares
        for seed in seeds
    ]


@one_line_errors
def main(arguments: list[str] | None = None) -> None:
    """Run the candidates and write the table; rows of candidates not asked for are kept."""
    parser = Parser(
        "python -m sapnet_core.recipes.tune_methods",
        description="Score candidate settings on validation parts of other twins.",
    )
    parser.add_argument("--only", nargs="+", default=list(CANDIDATES), choices=CANDIDATES)
    parser.add_argument("--search", nargs="+", choices=SPACES, help="all candidates of these compared systems")
    parser.add_argument("--jobs", type=count, help="worker processes (default: one a core)")
    args = parser.parse_args(arguments)
    check_environment()
    reach_cluster()
    if fault := unwritable(TUNING.parent):
        parser.error(f"{TUNING} cannot be written: {fault}")
    args.only = [name for s in args.search for name in search_candidates(s)] if args.search else args.only
    run_trials(
        [t for name in args.only for t in tuning_trials(name)],
        args.jobs or environment.jobs(),
        progress=progress_bar("trial"),
        videos=progress_bar("video"),
    )
    rows = []
    for name in args.only:
        for (dataset, share), group in results(tuning_trials(name)).groupby(["dataset", "share"], sort=False):
            rows.append(
                {
                    "setting": name,
                    "dataset": dataset,
                    "share": share,
                    "seeds": len(group),
                    "rho_mean": round(group.rho.mean(), 4),
                    "rho_sd": round(group.rho.std(), 4),
                }
            )
    table = pd.DataFrame(rows).assign(format=FORMAT)
    if TUNING.exists():
        old = pd.read_csv(TUNING)
        table = pd.concat([old[~(old.setting.isin(args.only) & old.format.isin(VALID))], table])
    tried = {name.partition(": ")[0] for name in table.setting if name in CANDIDATES and ": " in name}
    chosen = {"SAP-Net (Ours)", *(best_of(system, table) for system in SPACES if system in tried)}
    table["chosen"] = table.setting.isin(chosen) & table.format.isin(VALID)
    table.to_csv(TUNING, index=False)
    own = table[table.format.isin(VALID)]
    print(own.pivot(index="setting", columns=["dataset", "share"], values="rho_mean").to_string())


if __name__ == "__main__":
    sys.exit(main())
