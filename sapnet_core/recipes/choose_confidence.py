"""Choose the measure of the teacher's confidence (E3), on unlabeled training videos of twins that no table uses.

SAP-Net is trained as in the study, once with each measure, since the grade head learns only where it is asked. A
measure is good if the videos of which the teacher is surer are those whose score it tells better: the rank correlation
of confidence with the teacher's absolute error must be negative. Scores of unlabeled videos are read here, to judge the
measures, and nowhere in the training. The choice was made on both diving datasets. The chosen measure is then looked at
on one class of Rhythmic Gymnastics and on one of FineFS, as far as the table has rows of them.

The results are in `sapnet/confidence.csv`; rows that are there are kept, so that a run that was stopped goes on. To
measure one anew, remove it.

    python -m sapnet_core recipe choose_confidence
"""

from argparse import Namespace
from dataclasses import replace
from pathlib import Path

import pandas as pd
import torch

from sapnet_core.experiments.declare import declare
from sapnet_core.experiments.fit import training_task
from sapnet_core.experiments.metrics import spearman
from sapnet_core.experiments.profiles import PROFILES
from sapnet_core.experiments.systems import OURS
from sapnet_core.experiments.trial import Trial
from sapnet_core.experiments.trial_data import prepare_trials, trial_data
from sapnet_core.recipes.tune_methods import TWIN_SEED
from sapnet_core.runtime import environment
from sapnet_core.runtime.arguments import check_environment, unwritable
from sapnet_core.runtime.devices import torch_threads
from sapnet_core.runtime.executors import reach_cluster, run_tasks
from sapnet_core.runtime.files import write_text
from sapnet_core.runtime.progress import trial_bars
from sapnet_core.sapnet.losses import agreement_confidence, grade_confidence

__all__ = ["CONFIDENCE", "confidence_row", "confidence_trials"]

CONFIDENCE = Path(__file__).parent.parent / "sapnet" / "confidence.csv"
MEASURES = ("agreement", "grade")  # the chosen one first
# dataset, class, label shares, measures
CELLS = (
    ("mtl-aqa", "", (0.1, 0.4), MEASURES),
    ("finediving", "", (0.05, 0.2), MEASURES),
    ("rg", "Ball", (0.4,), MEASURES[:1]),
    ("finefs", "FS", (0.5,), MEASURES[:1]),
)
TARGET = {"finefs": "tes"}  # what is predicted, where Table VII has several marks: the technical score
KEY = ["dataset", "group", "share", "seed", "confidence"]  # of a row of the table
SEEDS = (0, 1, 2, 3, 4)
SURE = 0.2  # share of the videos that count as the surest


def confidence_trials() -> dict[tuple, Trial]:
    """The trials of SAP-Net, at official sizes: every cell of `CELLS` with five seeds, by the `KEY` of its row."""
    trials = {}
    for dataset, group, shares, measures in CELLS:
        for share in shares:
            for measure in measures:
                for seed in SEEDS:
                    one = declare(dataset, OURS, share, seed, PROFILES["study"], group, TARGET.get(dataset))
                    trials[dataset, group, share, seed, measure] = replace(
                        one,
                        source="drawn",
                        boxes="true",
                        twin_seed=TWIN_SEED,
                        overrides=(*one.overrides, ("confidence", measure)),
                    )
    return trials


def confidence_row(trial: Trial) -> dict:
    """Train a trial of SAP-Net, and judge its measure of confidence on its unlabeled training videos.

    Returns:
        The trial's dataset, class, share, seed and measure of confidence; rho_error, the rank correlation of confidence
        with the teacher's absolute error; surest_error, the mean error of the surest fifth over the mean error of all;
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
        "group": trial.group,
        "share": trial.share,
        "seed": trial.seed,
        "confidence": settings.confidence,
        "rho_error": round(float(spearman(confidence, error)), 4),
        "surest_error": round(float(error[surest].mean() / error.mean()), 4),
        "share_sure": round(float((confidence >= settings.tau).float().mean()), 4),
        "passed_in_training": " ".join(f"{float(part.mean()):.3f}" for part in passed),
    }


def main(asked: Namespace) -> None:
    """Train and judge what the table lacks, and write the table after each trial."""
    check_environment()
    reach_cluster()
    if fault := unwritable(CONFIDENCE.parent):
        raise ValueError(f"{CONFIDENCE} cannot be written: {fault}")
    trials, jobs = confidence_trials(), asked.jobs or environment.jobs()
    table = pd.read_csv(CONFIDENCE, keep_default_na=False) if CONFIDENCE.exists() else pd.DataFrame(columns=KEY)
    rows = {tuple(row[name] for name in KEY): row for row in table.to_dict("records")}
    for dataset in dict.fromkeys(key[0] for key in trials):  # features of one dataset at a time
        missing = [trial for key, trial in trials.items() if key[0] == dataset and key not in rows]
        with trial_bars() as bars:
            prepare_trials(missing, jobs, progress=bars["videos"])
            bars["progress"](0, len(missing))
            for done, (_, _, found) in enumerate(run_tasks(confidence_row, [(one,) for one in missing], jobs), 1):
                rows[tuple(found[name] for name in KEY)] = found
                write_text(CONFIDENCE, pd.DataFrame([rows[key] for key in trials if key in rows]).to_csv(index=False))
                bars["progress"](done, len(missing))
    table = pd.DataFrame([*rows.values()])
    print(table.groupby(["dataset", "group", "share", "confidence"]).mean(numeric_only=True).drop(columns="seed"))
