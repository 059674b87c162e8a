"""Which trials need the frames of videos, and so cannot run where a dataset has features or pose tracks alone."""

from sapnet_core.experiments.trial import Trial
from sapnet_core.methods import extra_views

__all__ = ["NO_FRAMES", "why_frames"]

NO_FRAMES = {"features": "published features", "joints": "pose tracks"}  # sources without any frame


def why_frames(trial: Trial) -> str:
    """Why a trial needs frames that its source does not have, in one line; "" where it has them, or needs none.

    Maps and pixels for a backbone that learns too are refused by the trial itself (`Trial.backbone_training`).
    """
    if trial.source not in NO_FRAMES:
        return ""
    reason = ""
    if extra_views(trial.method):
        reason = f"{trial.method} learns from turned frames"
    elif trial.teacher == "photometric":
        reason = "the photometric view is made from frames"
    elif trial.boxes != "true":
        reason = f"boxes={trial.boxes!r}: the actor's region is cut from frames"
    elif trial.backbone != "i3d":
        reason = f"this row is of another backbone ({trial.backbone}), which sees frames"
    elif trial.source == "features" and trial.clip_sampling:
        reason = f"clip_sampling={trial.clip_sampling!r} chooses frames"
    return reason and f"{trial.dataset}: {reason}, and there are {NO_FRAMES[trial.source]} alone: add the videos"
