"""Choose how long every system trains, by the two simplest systems, on validation parts of twins that no table uses.

I3D+MLP and the network of SAP-Net with L_reg alone are trained for several numbers of steps, at label shares from 10 %
to all, in batches of several sizes, and with a constant and a falling learning rate. Every training is scored on a
quarter of the training videos, kept out of training. What was chosen (`Profile.epochs`, `training.batches.batch_size`
and the falling rate) holds for all systems. The results are in `experiments/training_length.csv`.

    python -m sapnet_core recipe choose_training_length
"""

from argparse import Namespace
from itertools import product
from pathlib import Path

import pandas as pd

from sapnet_core.experiments.declare import TARGET
from sapnet_core.experiments.results import results
from sapnet_core.experiments.run import run_trials
from sapnet_core.experiments.systems import CONTROLS, SYSTEMS
from sapnet_core.experiments.trial import Trial
from sapnet_core.recipes.tune_methods import TWIN_SEED
from sapnet_core.runtime import environment
from sapnet_core.runtime.arguments import check_environment, unwritable
from sapnet_core.runtime.executors import reach_cluster
from sapnet_core.runtime.files import write_text
from sapnet_core.runtime.progress import trial_bars

__all__ = ["LENGTHS", "length_trials"]

LENGTHS = Path(__file__).parent.parent / "experiments" / "training_length.csv"
DATASET = "mtl-aqa"
SHARES = (0.1, 0.4, 1.0)
STEPS = (250, 500, 1000, 2000)
BATCHES = (16, 32, 64)
SEEDS = (0, 1, 2, 3, 4)
ALONE = "SAP-Net, L_reg alone"


def length_trials() -> dict[tuple[str, float, int, int, bool, int], Trial]:
    """The trials: (system, share, batch, steps, whether the rate falls, seed) -> Trial.

    Larger batches are tried with all labels alone, and a constant rate with L_reg alone.
    """
    trials = {}
    for system, share, batch, steps, anneal, seed in product(
        ("I3D+MLP", ALONE), SHARES, BATCHES, STEPS, (True, False), SEEDS
    ):
        if (batch > BATCHES[0] and share < 1) or (not anneal and (system != ALONE or batch > BATCHES[0])):
            continue
        method, own = {**SYSTEMS, **CONTROLS}[system]
        overrides = {**own, "batch": batch, **({} if anneal else {"anneal": False})}
        trials[system, share, batch, steps, anneal, seed] = Trial(
            DATASET,
            "drawn",
            method,
            share,
            seed,
            TARGET[DATASET],
            None,
            None,
            steps,
            twin_seed=TWIN_SEED,
            part="validation",
            overrides=tuple(overrides.items()),
        )
    return trials


def main(asked: Namespace) -> None:
    """Run the trials that have no result yet, and write the table."""
    check_environment()
    reach_cluster()
    if fault := unwritable(LENGTHS.parent):
        raise ValueError(f"{LENGTHS} cannot be written: {fault}")
    trials = length_trials()
    with trial_bars() as bars:
        run_trials(trials.values(), asked.jobs or environment.jobs(), **bars)
    names = ["system", "share", "batch", "steps", "anneal", "seed"]
    found = pd.DataFrame([*trials], columns=names).assign(rho=results([*trials.values()]).rho.to_numpy())
    table = found.groupby(names[:-1], sort=False).rho.agg(rho_mean="mean", rho_sd="std").round(4).reset_index()
    write_text(LENGTHS, table.to_csv(index=False))
    print(table.to_string(index=False))
