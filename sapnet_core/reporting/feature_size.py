"""How much disk the features of the study take: computed from their shapes, not measured."""

from collections.abc import Iterable

from sapnet_core.datasets.clips import SAMPLED, default_sampling, step_positions
from sapnet_core.datasets.records import OFFICIAL_SIZES
from sapnet_core.experiments.trial import Trial
from sapnet_core.features.rotated import ROTATED
from sapnet_core.features.views import VIEWS

__all__ = ["CHANNELS", "feature_megabytes", "passes"]

CHANNELS = {"i3d": 256, "c3d": 64, "swin": 192}  # of the networks in the package
BYTES = 4  # of a float32


def passes(trials: Iterable[Trial]) -> dict[str, set[tuple[str, str]]]:
    """The features that some trials learn from: dataset -> (backbone, view)."""
    found: dict[str, set[tuple[str, str]]] = {}
    for trial in trials:
        views = {*VIEWS} if trial.backbone == "i3d" else {VIEWS[0]}  # the other backbones see whole frames
        views |= {"photometric"} if trial.teacher == "photometric" else set()
        views |= {*ROTATED} if trial.method == "s4l" else set()
        found.setdefault(trial.dataset, set()).update((trial.backbone, view) for view in views)
    return found


def feature_megabytes(dataset: str, needed: Iterable[tuple[str, str]]) -> float:
    """Megabytes on disk of a dataset's features at its official size, for the passes in `passes`."""
    steps = len(step_positions(default_sampling(dataset), SAMPLED[dataset]))
    values = sum(steps * CHANNELS[backbone] for backbone, _ in needed)
    return sum(OFFICIAL_SIZES[dataset]) * values * BYTES / 1e6
