"""Tune the free settings of SAP-Net and of the compared systems, on validation parts of twins that no table uses.

The papers leave learning rates, widths and more unspecified for features such as these. Every system gets the same
budget: its defaults and five other, seeded draws from its search space (`tuning_space`), trained by the rule of the
quick profile. A candidate is scored on a quarter of the training videos, kept out of training, of twins with a seed of
their own; no test video is involved. The candidate with the best mean over the cells goes into `experiments.systems`,
for SAP-Net into the defaults of `methods/sapnet.py`. All results are in `methods/tuning.csv`; the column `format` is
the trials' format.

    python -m sapnet_core recipe tune_methods --search VAT COREG
    python -m sapnet_core recipe tune_methods --missing
"""

from argparse import Namespace
from collections.abc import Mapping
from pathlib import Path

import pandas as pd

from sapnet_core.experiments.declare import TARGET
from sapnet_core.experiments.profiles import get_profile
from sapnet_core.experiments.results import results
from sapnet_core.experiments.run import run_trials
from sapnet_core.experiments.systems import BACKBONE_OF, TARGET_OF
from sapnet_core.experiments.trial import Trial
from sapnet_core.experiments.trial_hash import FORMAT
from sapnet_core.recipes.tuning_space import CANDIDATES, SPACES, search_candidates
from sapnet_core.runtime import environment
from sapnet_core.runtime.arguments import check_environment, unwritable
from sapnet_core.runtime.executors import reach_cluster
from sapnet_core.runtime.files import write_text
from sapnet_core.runtime.progress import trial_bars

__all__ = ["TUNING", "best_of", "tuning_trials", "validation_trial"]

TUNING = Path(__file__).parent.parent / "methods" / "tuning.csv"
TWIN_SEED = 1  # the tables use 0, the calibration 7
SEEDS = (0, 1)
# The cells on which systems are searched: training videos, of which three quarters are trained on, and label shares.
# They have about as many labels as the quick profile's columns of 10 % and 40 % (MTL-AQA) and of 10 % and 20 %
# (FineDiving). TSA needs phase transitions, which FineDiving alone annotates.
CELLS = {"mtl-aqa": (640, (0.1, 0.4)), "finediving": (320, (0.2, 0.4))}


def best_of(system: str, table: pd.DataFrame) -> str:
    """The candidate of a system with the highest mean over all cells, in a table such as `TUNING` holds; the defaults
    if none of its candidates has been tried."""
    candidates = search_candidates(system)
    tried = table[table.setting.isin(candidates) & (table.format == FORMAT)]
    if not len(tried):
        return next(iter(candidates))
    return tried.groupby("setting", sort=False).rho_mean.mean().idxmax()


def tuning_trials(name: str) -> list[Trial]:
    """The trials of one candidate, on the cells of `CELLS` for MTL-AQA (TSA: for FineDiving).

    Raises:
        ValueError: the candidate is unknown.
    """
    if name not in CANDIDATES:
        raise ValueError(f"candidate {name!r} is unknown: choose one of {', '.join(CANDIDATES)}")
    method, settings = CANDIDATES[name]
    dataset = "finediving" if method == "tsa" else "mtl-aqa"
    cells = [(share, seed) for share in CELLS[dataset][1] for seed in SEEDS]
    return [validation_trial(name.partition(": ")[0], method, settings, dataset, *cell) for cell in cells]


def validation_trial(
    system: str, method: str, settings: Mapping[str, object], dataset: str, share: float, seed: int, longer: int = 1
) -> Trial:
    """A trial that is scored on the validation part of the twins of the search and trained by the rule of the quick
    profile, with `longer` times as many passes over the labels."""
    rule = get_profile("quick")
    return Trial(
        dataset,
        "drawn",
        method,
        share,
        seed,
        TARGET_OF.get(system, TARGET[dataset]),
        CELLS[dataset][0],
        8,
        rule.steps,
        twin_seed=TWIN_SEED,
        part="validation",
        epochs=longer * rule.epochs,
        overrides=tuple(settings.items()),
        **({"backbone": BACKBONE_OF[system], "teacher": "frame"} if system in BACKBONE_OF else {}),
    )


def kept_rows() -> pd.DataFrame:
    """The rows of `TUNING` that hold for the present candidates and the present trials' format."""
    table = pd.read_csv(TUNING) if TUNING.exists() else pd.DataFrame({"setting": [], "format": []})
    return table[table.setting.isin(CANDIDATES) & (table.format == FORMAT)]


def main(asked: Namespace) -> None:
    """Run candidates and write their rows of the table; the rows of other candidates are kept, unless the search no
    longer has them."""
    check_environment()
    reach_cluster()
    if fault := unwritable(TUNING.parent):
        raise ValueError(f"{TUNING} cannot be written: {fault}")
    names = [name for s in asked.search for name in search_candidates(s)] if asked.search else asked.only
    old = kept_rows()
    if asked.missing:
        names = [name for name in names if name not in set(old.setting)]
    if not names:
        print(f"{TUNING.name} holds all of these candidates")
        return
    with trial_bars() as bars:
        trials = [trial for name in names for trial in tuning_trials(name)]
        run_trials(trials, asked.jobs or environment.jobs(), **bars)
    rows = []
    for name in names:
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
    table = pd.concat([old[~old.setting.isin(names)], pd.DataFrame(rows).assign(format=FORMAT)])
    tried = {name.partition(": ")[0] for name in table.setting}
    table["chosen"] = table.setting.isin([best_of(system, table) for system in SPACES if system in tried])
    write_text(TUNING, table.to_csv(index=False))
    print(table.pivot(index="setting", columns=["dataset", "share"], values="rho_mean").to_string())
