"""How long trials will take, from what stored trials took."""

from collections.abc import Sequence

from sapnet_core.datasets.records import OFFICIAL_SIZES
from sapnet_core.experiments.declare import EPOCHS
from sapnet_core.experiments.fit import training_steps
from sapnet_core.experiments.stored import stored_seconds, stored_trials
from sapnet_core.experiments.trial import Trial
from sapnet_core.methods.settings import TRAINING
from sapnet_core.training.batches import batch_size

__all__ = ["BACKBONE", "expected_seconds"]

BACKBONE = 20  # times as long as a step on frozen features: measured on one core at the official size of MTL-AQA


def expected_seconds(trials: Sequence[Trial]) -> list[float]:
    """How long each trial is expected to take, from its optimizer steps and the videos in each.

    The rate is that of the stored trials of its dataset and method; where there are none, of its method; else of all.
    It is 0 where nothing is stored.
    """
    kinds: dict[tuple[str, ...], list[float]] = {}
    for trial, seconds in zip(stored_trials(), stored_seconds().values(), strict=True):
        for kind in _kinds(trial):
            took = kinds.setdefault(kind, [0.0, 0.0])
            took[0] += seconds
            took[1] += _video_steps(trial)
    rates = {kind: seconds / work for kind, (seconds, work) in kinds.items()}
    return [next((rates[k] for k in _kinds(t) if k in rates), 0.0) * _video_steps(t) for t in trials]


def _kinds(trial: Trial) -> list[tuple[str, ...]]:
    """The kinds of trials that tell how long a trial takes, the nearest first."""
    return [(trial.dataset, trial.method, trial.backbone_training), (trial.method, trial.backbone_training), ()]


def _video_steps(trial: Trial) -> float:
    """How many videos the training sees: its optimizer steps times the labeled and unlabeled videos of one step.

    A class of routines counts as an equal part of its dataset, and a step that trains the backbone, too, `BACKBONE`
    times.
    """
    train = trial.train or OFFICIAL_SIZES.get(trial.dataset, (1000, 0))[0]
    labeled = max(1, round(trial.share * train / (len(EPOCHS.get(trial.dataset, ())) if trial.group else 1)))
    videos = batch_size(dict(trial.overrides).get("batch", 0), labeled) + TRAINING["batch_unlabeled"]
    return training_steps(trial, labeled) * videos * (1 if trial.backbone_training == "frozen" else BACKBONE)
