"""Which loss terms of a SAP-Net training acted: a term that is exactly 0 at every step taught the network nothing."""

from dataclasses import fields

from sapnet_core.experiments.profiles import MEASURED
from sapnet_core.experiments.results import curves
from sapnet_core.experiments.trial import Trial
from sapnet_core.experiments.trial_data import sequence_root, trial_records
from sapnet_core.features.dumped import has_teacher_view
from sapnet_core.features.sequences import is_sequence, two_views
from sapnet_core.methods.sapnet import SETTINGS
from sapnet_core.sapnet.settings import SAPNetSettings

__all__ = ["idle_terms", "one_view"]

WEIGHTS = {"L_ubc": "lambda_ubc", "L_gc": "lambda_gc", "L_un": "lambda_un"}
# source of a trial -> how the teacher gets a view of its own
OWN_VIEW = {"features": "a folder features/actor with features of crops", "": "path_teacher, channels_teacher"}


def one_view(trial: Trial) -> bool:
    """Whether teacher and student of a trial see the same, so that the distance of their scores is 0 (Eq. 2)."""
    if trial.teacher == "frame" or trial.dataset in MEASURED:  # these name the teacher's columns themselves
        return trial.teacher == "frame"
    if trial.source == "features":
        return not has_teacher_view(trial.dataset, sequence_root(trial))
    records = trial_records(trial)
    return not two_views(records) if is_sequence(records) else trial.teacher == "actor" and trial.boxes == "whole"


def idle_terms(trial: Trial) -> dict[str, str]:
    """The loss terms of a trial that was run that have a weight above 0 but were exactly 0 at every recorded step after
    the warm-up, each with the reason; {} for other methods than SAP-Net.

    Raises:
        FileNotFoundError: the trial was not run.
        ValueError: its result is damaged.
    """
    if trial.method != "sap-net":
        return {}
    own = {f.name: f.default for f in fields(SAPNetSettings)} | SETTINGS | dict(trial.overrides)
    curve, found = curves(trial), {}
    after = curve["step"] >= int(own["warmup"] * (curve["step"].iloc[-1] + 1))
    remedy = OWN_VIEW.get(trial.source, OWN_VIEW[""])
    reasons = {
        "L_un": f"teacher and student see one view: give the teacher a view of its own ({remedy})"
        if one_view(trial)
        else "no video is without a visible score, or both views give one score",
        "L_gc": "no batch held two subactions that are labeled as one group",
        "L_ubc": "no step had pseudo-labels to compare with",
    }
    for term, weight in WEIGHTS.items():
        if own[weight] and term in curve and not curve.loc[after, term].any():
            found[term] = reasons[term]
    return found
