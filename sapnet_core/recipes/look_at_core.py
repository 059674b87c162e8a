"""Ask why CoRe lies below ridge regression and I3D+MLP with all labels: change one thing at a time, on other twins.

CoRe is trained with one thing changed and scored on validation parts of the twins of `tune_methods`, with all labels of
MTL-AQA; no test video and no twin of a table is involved. What is changed:

- The exemplars of a prediction, which the source draws, where `exemplars` takes the nearest.
- The length of training: 200 passes over the labels, as published, instead of 40.
- The number of exemplars that vote.

Ridge regression and the searched I3D+MLP are scored on the same videos. All results are in `methods/looked_at.csv`, one
row for each candidate, with its difference to CoRe as it is in the tables; `reporting.looked_at` reads it.

    python -m sapnet_core recipe look_at_core --only "exemplars = 5"
"""

from argparse import Namespace
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path
from unittest import mock

import pandas as pd
import torch
from torch import Tensor

from sapnet_core.experiments.fit import TrainingTask, fit_trial, training_task
from sapnet_core.experiments.metrics import spearman
from sapnet_core.experiments.statistics import RHO_DIFFERENCE, evidence_of
from sapnet_core.experiments.systems import RIDGE, get_system
from sapnet_core.experiments.trial import Trial
from sapnet_core.experiments.trial_data import prepare_trials, trial_data
from sapnet_core.experiments.trial_hash import FORMAT
from sapnet_core.methods import VideoBatch, contrastive_regression
from sapnet_core.methods.base import train
from sapnet_core.methods.exemplars import Exemplars, nearest_first
from sapnet_core.recipes.tune_methods import validation_trial
from sapnet_core.runtime import environment
from sapnet_core.runtime.arguments import check_environment, unwritable
from sapnet_core.runtime.files import write_text
from sapnet_core.runtime.progress import trial_bars, waiting

__all__ = ["CANDIDATES", "CONTROLS", "LOOKED_AT", "SYSTEM", "TABLES", "Candidate", "rho_of", "row_of"]

LOOKED_AT = Path(__file__).parent.parent / "methods" / "looked_at.csv"
SYSTEM, DATASET, SHARE, SEEDS = "CoRe", "mtl-aqa", 1.0, (0, 1, 2)
TABLES = "as in the tables"
CONTROLS = (RIDGE, "I3D+MLP (searched)")  # both are scored as they are in the tables


class DrawnExemplars(Exemplars):
    """A prediction draws its exemplars among those of the same difficulty, filled up from the nearest difficulty."""

    def nearest(self, videos: VideoBatch, count: int) -> Tensor:
        gap, far = self._distances(videos)
        drawn = torch.rand(far.shape, generator=torch.Generator().manual_seed(0)).to(far)
        return self.rows[nearest_first(gap, drawn)[:, :count]]


@dataclass(frozen=True)
class Candidate:
    """CoRe with something changed.

    Attributes:
        exemplars: the class that chooses the exemplars of a prediction.
        settings: settings that differ from the defaults.
        longer: how many times as many passes over the labels.
    """

    exemplars: type[Exemplars] = Exemplars
    settings: Mapping[str, object] = field(default_factory=dict)
    longer: int = 1


# name -> candidate
CANDIDATES: dict[str, Candidate] = {
    TABLES: Candidate(),
    "exemplars drawn as in the source": Candidate(DrawnExemplars),
    "5 times as many passes, as in the source": Candidate(longer=5),
    **{f"exemplars = {n}": Candidate(settings={"exemplars": n}) for n in (1, 5, 20, 50)},
}


def _trial(system: str, seed: int, longer: int = 1) -> Trial:
    return validation_trial(system, *get_system(system), DATASET, SHARE, seed, longer)


def _described(candidate: Candidate, task: TrainingTask):
    """The candidate's description of its training."""
    settings = {**task.settings, **candidate.settings}
    with mock.patch.object(contrastive_regression, "Exemplars", candidate.exemplars):
        return contrastive_regression.training(task.train, settings, task.generator())


@lru_cache
def _weights(longer: int, seed: int) -> dict[str, Tensor]:
    """Weights that a candidate learns: the exemplars of a prediction leave the training as it is."""
    trial = _trial(SYSTEM, seed, longer)
    task = training_task(trial, trial_data(trial))
    fitted = train(lambda *_: _described(Candidate(), task), task.train, task.settings, task.generator())
    return fitted.network.state_dict()


def rho_of(name: str, seed: int) -> float:
    """Spearman's rho of a candidate, or of a control, on the validation part of one seed."""
    if name in CONTROLS:
        trial = _trial(name, seed)
        data = trial_data(trial)
        found = fit_trial(trial, data)
        return float(spearman(found.predicted, data.score[found.scored]))
    candidate = CANDIDATES[name]
    trial = _trial(SYSTEM, seed, candidate.longer)
    task = training_task(trial, trial_data(trial))
    described = _described(candidate, task)
    described.network.load_state_dict(_weights(candidate.longer, seed))
    scored = task.roles.scored
    return float(spearman(task.predict(described.fitted([], ()), scored), task.score[scored]))


def row_of(name: str, rho: list[float], tables: list[float]) -> dict[str, object]:
    """A row of the table, from rho of each seed and that of CoRe as it is in the tables."""
    gain = evidence_of([own - one for own, one in zip(rho, tables, strict=True)], limit=RHO_DIFFERENCE)
    return {
        "system": name if name in CONTROLS else SYSTEM,
        "candidate": TABLES if name in CONTROLS else name,
        "dataset": DATASET,
        "share": SHARE,
        "seeds": len(rho),
        "rho_mean": round(sum(rho) / len(rho), 4),
        "difference": round(gain.value, 4),
        "low": round(gain.low, 4),
        "high": round(gain.high, 4),
        "rho_by_seed": " ".join(f"{value:.4f}" for value in rho),
        "format": FORMAT,
    }


def main(asked: Namespace) -> None:
    """Train candidates, and write their rows of the table; the rows of other candidates are kept."""
    check_environment()
    if fault := unwritable(LOOKED_AT.parent):
        raise ValueError(f"{LOOKED_AT} cannot be written: {fault}")
    trials = [_trial(SYSTEM, seed) for seed in SEEDS]
    with trial_bars() as bars:
        prepare_trials(trials, asked.jobs or environment.jobs(), progress=bars["videos"])
    known = {}
    if LOOKED_AT.exists():
        old = pd.read_csv(LOOKED_AT)
        old = old[old["format"] == FORMAT]
        names = old["system"].where(old["system"].isin(CONTROLS), old["candidate"])
        known = {name: [*map(float, rho.split())] for name, rho in zip(names, old["rho_by_seed"], strict=True)}
    for name in dict.fromkeys([TABLES, *asked.only]):
        if name in asked.only or name not in known:
            with waiting(f"training {name!r} with {len(SEEDS)} seeds") as say:
                known[name] = [round(rho_of(name, seed), 4) for seed in SEEDS]  # as stored, so that all follows
                say(f"{name}: {sum(known[name]) / len(SEEDS):.4f}")
        every = [one for one in (*CANDIDATES, *CONTROLS) if one in known]
        table = pd.DataFrame([row_of(one, known[one], known[TABLES]) for one in every])
        write_text(LOOKED_AT, table.to_csv(index=False))
