"""Single videos: their features without those of the whole dataset, and a dataset without one of them."""

from collections.abc import Sequence
from dataclasses import replace

import torch

from sapnet_core.datasets.records import Record
from sapnet_core.experiments.trial import Trial
from sapnet_core.experiments.trial_data import TrialData, trial_video_source
from sapnet_core.features.dumped import dumped_features
from sapnet_core.features.store import Features, video_features
from sapnet_core.runtime import environment
from sapnet_core.runtime.disk import in_runs

__all__ = ["record_features", "without_key"]


def record_features(trial: Trial, records: Sequence[Record], device: str = "cpu") -> Features:
    """Features of some records, made in the same way as those of all videos of a trial (`trial_data`).

    Args:
        trial: names the source of the videos, the clip sampling and the backbone.
        records: records of the trial's dataset with distinct keys; a twin need not be among the trial's own records.

    Returns:
        The views "frame" and "actor", one row a record.

    Raises:
        ValueError: there are no records, or the trial's videos are pose tracks.
        VideoError: a video on disk cannot be read.
        AnnotationError: the published features lack a record.
        FileNotFoundError: the trial needs the user's data, and `SAPNET_DATA` is not set.
    """
    if trial.source == "joints":
        raise ValueError(f"{trial.dataset}: there are pose tracks and no videos: read `trial_data(trial).features`")
    if trial.source == "features":
        root = environment.data_root()
        if root is None:
            raise FileNotFoundError("this trial needs published features: set SAPNET_DATA to the folder of the dataset")
        return dumped_features(trial.dataset, root, records)
    with in_runs():
        return video_features(
            records,
            trial_video_source(trial),
            clip_sampling=trial.clip_sampling or None,
            backbone=trial.backbone,
            folder=environment.runs() / "features",
            jobs=1,
            device=device,
        )


def without_key(data: TrialData, key: str) -> TrialData:
    """The data of a trial without the record of a key, if there is one; features are read when they are asked for.

    Twins with one key share their scene and their athlete, also where their records differ: a network that is shown a
    twin of another set must not have learned from one with its key.
    """
    rows = [i for i, record in enumerate(data.records) if record.key != key]
    kept = torch.tensor(rows, dtype=torch.int64)

    def read() -> Features:
        features = data.features
        views = {name: view[kept] for name, view in features.views.items()}
        part = {name: getattr(features, name)[kept] for name in ("subactions", "factors")}
        return replace(features, keys=tuple(features.keys[i] for i in rows), views=views, **part)

    columns = {name: getattr(data, name)[kept] for name in ("score", "difficulty", "train")}
    return replace(data, records=tuple(data.records[i] for i in rows), read=read, **columns)
