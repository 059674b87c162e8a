"""Choose the measure of the teacher's confidence (E3), on unlabeled training videos of twins that no table uses.

SAP-Net is trained as in the study, once with each measure, since the grade head learns only where it is asked. A
measure is good if the videos of which the teacher is surer are those whose score it tells better: the rank correlation
of confidence with the teacher's absolute error must be negative. Scores of unlabeled videos are read here, to judge the
measures, and nowhere in the training. The results are in `sapnet/confidence.csv`.

    python -m sapnet_core recipe choose_confidence
"""

from argparse import Namespace
from pathlib import Path

import pandas as pd
import torch

from sapnet_core.experiments.declare import TARGET
from sapnet_core.experiments.fit import training_task
from sapnet_core.experiments.metrics import spearman
from sapnet_core.experiments.profiles import PROFILES
from sapnet_core.experiments.systems import TUNED
from sapnet_core.experiments.trial import Trial
from sapnet_core.experiments.trial_data import prepare_trials, trial_data
from sapnet_core.recipes.tune_methods import TWIN_SEED
from sapnet_core.runtime import environment
from sapnet_core.runtime.arguments import check_environment, unwritable
from sapnet_core.runtime.devices import torch_threads
from sapnet_core.runtime.executors import reach_cluster, run_tasks
from sapnet_core.runtime.progress import trial_bars
from sapnet_core.sapnet.losses import agreement_confidence, grade_confidence

__all__ = ["CONFIDENCE", "confidence_row", "confidence_trials"]

CONFIDENCE = Path(__file__).parent.parent / "sapnet" / "confidence.csv"
CELLS = {"mtl-aqa": (0.1, 0.4), "finediving": (0.05, 0.2)}
SEEDS = (0, 1, 2, 3, 4)
SURE = 0.2  # share of the videos that count as the surest


def confidence_trials() -> list[Trial]:
    """The trials of SAP-Net, at official sizes: both measures at two label shares of both diving datasets, with five
    seeds each."""
    rule = PROFILES["study"]
    return [
        Trial(
            dataset,
            "drawn",
            "sap-net",
            share,
            seed,
            TARGET[dataset],
            *rule.sizes(dataset),
            rule.steps,
            twin_seed=TWIN_SEED,
            epochs=rule.epochs,
            overrides=(*TUNED.items(), ("confidence", measure)),
        )
        for dataset, shares in CELLS.items()
        for share in shares
        for measure in ("agreement", "grade")
        for seed in SEEDS
    ]


def confidence_row(trial: Trial) -> dict:
    """Train a trial of SAP-Net, and judge its measure of confidence on its unlabeled training videos.

    Returns:
        The trial's dataset, share, seed and measure of confidence; rho_error, the rank correlation of confidence with
        the teacher's absolute error; surest_error, the mean error of the surest fifth over the mean error of all;
        share_sure, the share of the videos whose confidence reaches τ; and passed_in_training, the mean share of a
        batch that reached τ in the three thirds of the training, from the first to the last.
    """
    with torch_threads(1), torch.no_grad():
        task = training_task(trial, trial_data(trial))
        with torch.enable_grad():
            fitted = task.fit()
        train, network = task.train, fitted.network
        settings, unlabeled = network.settings, train.y.isnan()
        true = (task.score / task.points)[task.roles.learn][unlabeled]
        _, shift, scale = train.unit_targets(True)
        student, teacher = (network.branch(view[unlabeled], train.positions) for view in (train.frame, train.actor))
        error = (teacher.score * scale + shift - true).abs()
        if settings.confidence == "grade":
            confidence = grade_confidence(teacher.grade_logits)
        else:
            confidence = agreement_confidence(student.score, teacher.score, settings.agreement_sigma)
    surest = confidence.argsort(descending=True)[: max(int(SURE * len(confidence)), 1)]
    passed = torch.tensor([row["share_confident"] for row in fitted.curves]).tensor_split(3)
    return {
        "dataset": trial.dataset,
        "share": trial.share,
        "seed": trial.seed,
        "confidence": settings.confidence,
        "rho_error": round(float(spearman(confidence, error)), 4),
        "surest_error": round(float(error[surest].mean() / error.mean()), 4),
        "share_sure": round(float((confidence >= settings.tau).float().mean()), 4),
        "passed_in_training": " ".join(f"{float(part.mean()):.3f}" for part in passed),
    }


def main(asked: Namespace) -> None:
    """Train, judge and write the table."""
    check_environment()
    reach_cluster()
    if fault := unwritable(CONFIDENCE.parent):
        raise ValueError(f"{CONFIDENCE} cannot be written: {fault}")
    trials, jobs, rows = confidence_trials(), asked.jobs or environment.jobs(), {}
    with trial_bars() as bars:
        prepare_trials(trials, jobs, progress=bars["videos"])
        bars["progress"](0, len(trials))
        for index, _, found in run_tasks(confidence_row, [(trial,) for trial in trials], jobs):
            rows[index] = found
            bars["progress"](len(rows), len(trials))
    table = pd.DataFrame([rows[index] for index in sorted(rows)])
    table.to_csv(CONFIDENCE, index=False)
    print(table.groupby(["dataset", "share", "confidence"]).mean(numeric_only=True).drop(columns="seed").to_string())
