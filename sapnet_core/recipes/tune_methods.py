"""Tune the free settings of SAP-Net and of the compared systems, on validation parts of twins that no table uses.

The paper leaves capacity, batch sizes, warm-up and more unspecified. Each candidate is scored on a quarter of the
training videos, kept out of training, of twins with a seed of their own; no test video is involved. All results are in
`methods/tuning.csv`; the chosen values are the defaults of `methods/sapnet.py`. The column `format` is the trials'
format: 3 scales both views by the statistics of whole frames, which made pseudo-labels of crops follow clip halves; 4
scales each view by its own; 5 takes the same sums in another order, so that rows of format 4 remain valid.

    python -m sapnet_core.recipes.tune_methods --only "SAP-Net (Ours)" "dropout = 0.5"

Every compared system gets the same budget on validation parts of the same twins: its defaults and five seeded draws
from its search space. The candidate with the best mean over the cells goes into `systems.RIVALS`.

    python -m sapnet_core.recipes.tune_methods --search VAT COREG
"""

import sys
from pathlib import Path

import pandas as pd

from sapnet_core.experiments.results import results
from sapnet_core.experiments.run import run_trials
from sapnet_core.experiments.systems import BACKBONE_OF
from sapnet_core.experiments.tables import TABLES, TARGET
from sapnet_core.experiments.trial import FORMAT, Trial
from sapnet_core.recipes import command_lines
from sapnet_core.recipes.tuning_space import CANDIDATES, SPACES, search_candidates
from sapnet_core.runtime import environment
from sapnet_core.runtime.arguments import check_environment, unwritable
from sapnet_core.runtime.command_line import one_line_errors
from sapnet_core.runtime.executors import reach_cluster
from sapnet_core.runtime.progress import trial_bars

__all__ = ["TUNING", "best_of", "tuning_trials"]

TUNING = Path(__file__).parent.parent / "methods" / "tuning.csv"
VALID = (4, FORMAT)  # formats of trials whose results agree up to rounding
TWIN_SEED = 1  # the tables use 0, the calibration 7
TRAIN = 640  # training videos; three quarters are trained on, as many as in the quick profile
STEPS = 300
# The cells on which compared systems are searched: training videos, of which three quarters are trained on, and label
# shares. They have as many labels as the quick profile's columns of 10 % and 40 % (MTL-AQA) and of 10 % and 20 %
# (FineDiving). TSA needs phase transitions, which FineDiving alone annotates.
SEARCH = {"mtl-aqa": (640, (0.1, 0.4)), "finediving": (320, (0.2, 0.4))}
SEARCH_STEPS = 200


def best_of(system: str, table: pd.DataFrame) -> str:
    """The candidate of a system with the highest mean over all cells, in a table such as `TUNING` holds."""
    tried = table[table.setting.isin(search_candidates(system)) & table.format.isin(VALID)]
    return tried.groupby("setting", sort=False).rho_mean.mean().idxmax()


def tuning_trials(name: str, seeds: tuple[int, ...] = (0, 1, 2)) -> list[Trial]:
    """The trials of one candidate: both diving datasets, at the smallest and the second-largest label share.

    Candidates of a search have the cells of `SEARCH` on MTL-AQA (TSA: on FineDiving), one seed, and the quick
    profile's steps.

    Raises:
        ValueError: the candidate is unknown.
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
    """Command line: run candidates and write their rows of the table; the rows of other candidates are kept."""
    args = command_lines.tune_methods().parse_args(arguments)
    check_environment()
    reach_cluster()
    if fault := unwritable(TUNING.parent):
        raise ValueError(f"{TUNING} cannot be written: {fault}")
    args.only = [name for s in args.search for name in search_candidates(s)] if args.search else args.only
    with trial_bars() as bars:
        trials = [trial for name in args.only for trial in tuning_trials(name)]
        run_trials(trials, args.jobs or environment.jobs(), **bars)
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
