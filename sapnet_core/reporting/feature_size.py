"""How much disk the features of the study take: computed from their shapes, not measured."""

from collections.abc import Iterable
from typing import NamedTuple

from sapnet_core.datasets.clips import SAMPLED, default_sampling, step_positions
from sapnet_core.datasets.records import OFFICIAL_SIZES
from sapnet_core.experiments.cell_views import cell_views
from sapnet_core.experiments.trial import Trial
from sapnet_core.features.rotated import ROTATED
from sapnet_core.features.views import VIEWS

__all__ = ["CHANNELS", "FeatureSet", "feature_megabytes", "feature_sets"]

CHANNELS = {"i3d": 256, "c3d": 64, "swin": 192}  # channels of the backbones in the package
BYTES = 4  # bytes of a float32
MAPS = 4 * 4 * 208 / 2  # float32 numbers that a step of I3D's stored maps takes: cells x channels in bfloat16


class FeatureSet(NamedTuple):
    """The features of one view of a dataset's videos by one backbone, which are computed and stored once.

    Attributes:
        backbone, view: the network and what it sees; "maps" are those of the whole frames before Mixed_5b.
        clip_sampling: a name in `datasets.clips.CLIP_SAMPLINGS`.
        boxes: the source of the actor's boxes; the features of every view are stored apart for each.
    """

    backbone: str
    view: str
    clip_sampling: str
    boxes: str


def feature_sets(trials: Iterable[Trial]) -> dict[str, set[FeatureSet]]:
    """The feature sets that some trials learn from, by dataset."""
    found: dict[str, set[FeatureSet]] = {}
    for trial in trials:
        views = {*VIEWS} if trial.backbone == "i3d" else {VIEWS[0]}  # the other backbones see whole frames
        views |= {"photometric"} if trial.teacher == "photometric" else set()
        views |= {*ROTATED} if trial.method == "s4l" else set()
        views |= {"maps"} if cell_views(trial) else set()
        sampling = trial.clip_sampling or default_sampling(trial.dataset)
        needed = (FeatureSet(trial.backbone, view, sampling, trial.boxes) for view in views)
        found.setdefault(trial.dataset, set()).update(needed)
    return found


def feature_megabytes(dataset: str, needed: Iterable[FeatureSet]) -> float:
    """Megabytes on disk of a dataset's features at its official size, for the feature sets `needed`."""
    frames = SAMPLED[dataset]
    values = sum(
        len(step_positions(one.clip_sampling, frames)) * (MAPS if one.view == "maps" else CHANNELS[one.backbone])
        for one in needed
    )
    return sum(OFFICIAL_SIZES[dataset]) * values * BYTES / 1e6
