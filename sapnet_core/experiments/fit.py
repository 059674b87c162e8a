"""Training of a trial: which videos and scores its method may see, how both are scaled, and how it predicts."""

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import NamedTuple

import torch
from torch import Tensor

from sapnet_core.backbones.last_blocks import LastBlocks
from sapnet_core.backbones.registry import trainable_i3d
from sapnet_core.datasets.clips import default_sampling
from sapnet_core.datasets.label_details import label_details
from sapnet_core.datasets.label_split import label_split, visible_scores
from sapnet_core.datasets.records import PERFECT
from sapnet_core.experiments.profiles import DIVES
from sapnet_core.experiments.selection import choose_step, validation_part
from sapnet_core.experiments.trial import Trial
from sapnet_core.experiments.trial_data import TrialData
from sapnet_core.features.rotated import ROTATED
from sapnet_core.features.store import Features
from sapnet_core.methods import Fitted, TrainSet, VideoBatch, can_stack, get_method, get_stack
from sapnet_core.methods.settings import TRAINING
from sapnet_core.training.batches import batch_size
from sapnet_core.training.checkpoint import Checkpoint
from sapnet_core.training.trainable_backbone import TrainableBackbone, standardized, step_scale

__all__ = [
    "FittedTrial",
    "TrainingTask",
    "fit_selections",
    "fit_stack",
    "fit_trial",
    "label_count",
    "predict_all",
    "stack_key",
    "train_set",
    "training_steps",
    "training_task",
    "view_scale",
]

SNAPSHOTS = 20  # maximum number of snapshots of a training from which a step is chosen
RANKED = 8  # minimum number of videos for choosing a step by rank correlation


class FittedTrial(NamedTuple):
    """A trained trial.

    Attributes:
        fitted: the system, with the weights of the step that the trial selects.
        videos: the n scored videos as the system sees them.
        scored: indices of these videos in the trial's data (n,).
        predicted: their predicted scores (n,) in points.
    """

    fitted: Fitted
    videos: VideoBatch
    scored: Tensor
    predicted: Tensor


@dataclass(frozen=True)
class VideoRoles:
    """The roles of a trial's videos; indices refer to its data.

    Attributes:
        learn: (n,) indices of the training videos.
        labeled: (n,) bool, which of these keep their score.
        visible: (n,) bool, whose score the training sees: `labeled` without the videos that choose a step.
        choosing: (m,) indices of the videos on which a step is chosen.
        scored: (k,) indices of the videos on which the result is evaluated.
    """

    learn: Tensor
    labeled: Tensor
    visible: Tensor
    choosing: Tensor
    scored: Tensor


def video_roles(trial: Trial, data: TrialData) -> VideoRoles:
    """Assign its roles to each video of the trial.

    Raises:
        ValueError: too few videos are labeled to learn from some and choose a step on others.
    """
    learn, scored = _split(trial, data)
    labeled = label_split(data.score[learn], trial.share, trial.seed)
    if trial.select != "validation":
        return VideoRoles(learn, labeled, labeled, scored, scored)
    part = validation_part(data.score[learn], labeled, trial.seed)
    return VideoRoles(learn, labeled, labeled & ~part, learn[part], scored)


def _split(trial: Trial, data: TrialData) -> tuple[Tensor, Tensor]:
    """Indices of the training videos and of the scored videos."""
    train, test = torch.nonzero(data.train).flatten(), torch.nonzero(~data.train).flatten()
    if trial.part == "test":
        return train, test
    order = train[torch.randperm(len(train), generator=torch.Generator().manual_seed(trial.seed))]
    cut = len(train) // 4
    return order[cut:].sort().values, order[:cut].sort().values


def label_count(trial: Trial, data: TrialData) -> int:
    """Number of training videos that keep their score, to learn from or to choose a step on."""
    return int(video_roles(trial, data).labeled.sum())


class _Scaled(NamedTuple):
    """Features and targets of a trial, scaled by statistics of the data its training may see."""

    train: TrainSet
    videos: VideoBatch  # all N videos
    points: Tensor  # (N,) target scale: the points that a scaled target of 1 stands for


def train_set(trial: Trial, data: TrialData, learn: Tensor, labeled: Tensor) -> TrainSet:
    """The training set that the trial's method may see.

    Args:
        trial, data: the trial, and its data from `trial_data`.
        learn: (n,) indices of the training videos.
        labeled: (n,) bool, whose score is visible; all other scores are hidden.
    """
    return _scaled(trial, data, learn, labeled).train


def _scaled(trial: Trial, data: TrialData, learn: Tensor, labeled: Tensor, device: str = "cpu") -> _Scaled:
    backbone = trainable_backbone(trial, data, learn, device)
    if backbone is None:
        frame, actor = _standardized(data.features, tuple(learn.tolist()))
    else:
        frame, actor = data.features.views["frame"], data.features.views["actor"]
    records = [data.records[i] for i in learn]
    visible = visible_scores(records, labeled, trial.sub_score)
    points = _target_scale(trial, data, visible)
    y = (visible / points[learn]).float()
    known = _announced(data) | {name: data.features.views.get(name) for name in ("maps", "boxes")}
    own = TrainSet(
        frame[learn],
        actor[learn],
        data.features.positions,
        y,
        **label_details(records, labeled),
        **{name: x if x is None else x[learn] for name, x in known.items()},
        rotated=_rotated(data.features, learn),
        backbone=backbone,
    )
    # the photometric view exists for training videos alone
    return _Scaled(own, VideoBatch(frame, None if trial.teacher == "photometric" else actor, **known), points)


def _announced(data: TrialData) -> dict[str, Tensor | None]:
    """Difficulty and action of all videos, as in `VideoBatch`: both are announced before a video is judged.

    A dataset whose difficulties are all 1 has none, and an action without a name is unknown.
    """
    names = [record.action for record in data.records]
    codes = {name: code for code, name in enumerate(sorted(set(names) - {""}))}
    return {
        "difficulty": None if (data.difficulty == 1).all() else data.difficulty,
        "action": torch.tensor([codes.get(name, -1) for name in names]) if codes else None,
    }


def trainable_backbone(trial: Trial, data: TrialData, learn: Tensor, device: str = "cpu") -> TrainableBackbone | None:
    """A fresh backbone that the trial trains too, its features standardized over the videos `learn`; None if frozen."""
    if trial.backbone_training == "frozen":
        return None
    net, sampling = trainable_i3d(device), trial.clip_sampling or default_sampling(trial.dataset)
    whole = trial.backbone_training == "all"
    backbone = TrainableBackbone(net if whole else LastBlocks(net), sampling, checkpoint=whole, mixed=True).to(device)
    backbone.standardize({view: x[learn].to(device) for view, x in data.features.views.items()})
    return backbone


@lru_cache(maxsize=1)  # consecutive trials mostly learn from the same videos
def _standardized(features: Features, learn: tuple[int, ...]) -> tuple[Tensor, Tensor]:
    """Both views (N, S, C), each channel standardized with its mean and deviation over the videos `learn`.

    The views are scaled separately, and so are the two steps of a 16-frame clip (`period`), because their zero-padded
    borders differ: otherwise k-means would separate first from second halves of clips instead of subactions.
    """
    rows = torch.tensor(learn)
    return tuple(standardized(features.views[name], *view_scale(features, rows, name)) for name in ("frame", "actor"))


def _rotated(features: Features, learn: Tensor) -> Tensor | None:
    """The rotated views (n, 3, S, C) of the videos `learn` (n,), on the scale of the whole frames, so that a rotation
    stays visible; None where the trial's method does not learn from them."""
    if not set(ROTATED) <= set(features.views):
        return None
    scale = view_scale(features, learn, "frame")
    return torch.stack([standardized(features.views[view][learn], *scale) for view in ROTATED], 1)


def view_scale(features: Features, learn: Tensor, view: str) -> tuple[Tensor, Tensor]:
    """Mean and standard deviation, each (period, C), of a view's steps over the videos `learn` (n,)."""
    return step_scale(features.views[view][learn], features.period)


def _target_scale(trial: Trial, data: TrialData, visible: Tensor) -> Tensor:
    """Target scale (N,), the points that a scaled target of 1 stands for.

    For execution, these are three perfect judges' scores times difficulty; for the score of a dive, 100; otherwise, the
    largest absolute value of the `visible` scores, where hidden scores are NaN.
    """
    if trial.target == "execution":
        return PERFECT * data.difficulty
    most = 100.0 if trial.dataset in DIVES else max(float(visible.nan_to_num(0).abs().max()), 1e-6)
    return torch.full_like(data.score, most)


@dataclass(frozen=True)
class TrainingTask:
    """A trial prepared for training: the inputs of the training, and of scoring its predictions.

    Attributes:
        trial: names the method, its settings and the seed.
        roles: which videos are learned from, labeled, choose a step, and are scored.
        train: features of both views, positions and visible targets of the training videos, on `device`.
        videos: all N videos as a trained system sees them, without scores, standardized in the same way as `train`.
        score: (N,) true scores in points; the training sees only those in `train`.
        points: (N,) target scale: the points that a scaled target of 1 stands for.
        device: the device of the training.
        file: the checkpoint's file, from which a killed training resumes; None writes none.
    """

    trial: Trial
    roles: VideoRoles
    train: TrainSet
    videos: VideoBatch
    score: Tensor
    points: Tensor
    device: str
    file: Path | None

    @property
    def steps(self) -> int:
        """Optimizer steps of the training: at least the trial's `steps`, and enough for its `epochs`."""
        return training_steps(self.trial, int(self.roles.visible.sum()))

    @property
    def settings(self) -> Mapping[str, object]:
        """Settings of the method: the trial's steps and overrides."""
        return {"steps": self.steps, **dict(self.trial.overrides)}

    def generator(self) -> torch.Generator:
        """A fresh random generator for the training, seeded with the trial's seed."""
        return torch.Generator().manual_seed(self.trial.seed)

    def checkpoint(self) -> Checkpoint:
        """A fresh checkpoint, with snapshots if a step is to be chosen."""
        return Checkpoint(self.file, SNAPSHOTS if self.trial.select != "last" else 0)

    def fit(self) -> Fitted:
        """Train the method; the result has the weights of the last step."""
        return get_method(self.trial.method)(self.train, self.settings, self.generator(), self.checkpoint())

    def selected(self, fitted: Fitted, select: str) -> Fitted:
        """The trained system with the weights of the step that `select`, a name in `selection.SELECT`, chooses.

        Raises:
            ValueError: the method is a closed form, which has no steps to choose from.
        """
        if select == "last":
            return fitted
        if not fitted.snapshots:
            raise ValueError(
                f"method {self.trial.method!r} takes no steps, so select={select!r} has none to choose from: "
                "give select='last'"
            )
        on = self.roles.choosing
        ranked = select == "test-best" or len(on) >= RANKED
        return choose_step(fitted, self.videos[on].to(self.device), self.points[on], self.score[on], ranked)

    def predict(self, fitted: Fitted, rows: Tensor) -> Tensor:
        """Predicted scores of the videos `rows` (n,), in points.

        All rows form one batch. Rounding in a matrix product may depend on the batch size, so reproducing the stored
        prediction of a video bit for bit requires the same rows.
        """
        return fitted.predict(self.videos[rows].to(self.device)).cpu() * self.points[rows]

    def result(self, fitted: Fitted, select: str) -> FittedTrial:
        """The trained system at its selected step, and its predictions for the scored videos."""
        chosen, scored = self.selected(fitted, select), self.roles.scored
        return FittedTrial(chosen, self.videos[scored].to(self.device), scored, self.predict(chosen, scored))


def training_steps(trial: Trial, labeled: int) -> int:
    """Optimizer steps of a trial that learns from this number of labeled videos."""
    batch = batch_size(dict(trial.overrides).get("batch", 0), labeled)
    return max(trial.steps, math.ceil(trial.epochs * labeled / batch))


def training_task(trial: Trial, data: TrialData, device: str = "cpu", file: Path | None = None) -> TrainingTask:
    """Prepare a trial and its data (`trial_data(trial)`) for training; `device` and `file` as in `TrainingTask`.

    Raises:
        ValueError: too few videos are labeled.
    """
    roles = video_roles(trial, data)
    scaled = _scaled(trial, data, roles.learn, roles.visible, device)
    return TrainingTask(
        trial, roles, scaled.train.to(device), scaled.videos, data.score, scaled.points, device=device, file=file
    )


def fit_trial(trial: Trial, data: TrialData, device: str = "cpu", file: Path | None = None) -> FittedTrial:
    """Train a trial on its data (`trial_data(trial)`) without reading or writing a result.

    Args:
        trial, data: the trial and its data.
        device: the device of the training.
        file: the checkpoint's file, from which a killed training resumes; None writes none.

    Raises:
        ValueError: the trial's settings cannot be used, too few videos are labeled, or the method is a closed form,
            which has no steps to choose from.
    """
    return next(fit_selections([trial], data, device, file))


def fit_selections(
    trials: Sequence[Trial], data: TrialData, device: str = "cpu", file: Path | None = None
) -> Iterator[FittedTrial]:
    """`fit_trial` for trials that share one training: they differ only in `select`, "last" before "test-best".

    The results are yielded in the order of the trials. All share one network, whose weights change with each result, so
    use a result before asking for the next one.
    """
    task = training_task(trials[-1], data, device, file)
    fitted = task.fit()
    for trial in trials:
        yield task.result(fitted, trial.select)


def predict_all(trial: Trial, data: TrialData, device: str = "cpu") -> Tensor:
    """Train a trial on its data and predict the scores of all its videos, unlabeled training videos too: (N,) points.

    Predictions for the scored videos equal those of `fit_trial` bit for bit.
    """
    task = training_task(trial, data, device)
    fitted = task.selected(task.fit(), trial.select)
    scored = torch.zeros(len(task.score), dtype=torch.bool)
    scored[task.roles.scored] = True
    points = torch.empty(len(task.score))
    for part in (scored, ~scored):
        rows = torch.nonzero(part).flatten()
        points[rows] = task.predict(fitted, rows)
    return points


def stack_key(trial: Trial, data: TrialData) -> tuple | None:
    """Key that trials must share to be stacked: method, settings and shapes. None if a trial cannot be stacked."""
    settings = dict(trial.overrides)
    if trial.backbone_training != "frozen" or not can_stack(trial.method, settings):
        return None
    roles = video_roles(trial, data)
    labeled, learn = int(roles.visible.sum()), len(roles.learn)
    unlabeled = settings.get("batch_unlabeled", TRAINING["batch_unlabeled"])
    batches = batch_size(settings.get("batch", 0), labeled), batch_size(unlabeled, (learn - labeled) or learn)
    positions = tuple(data.features.positions.tolist())
    snapshots = trial.select != "last"
    channels = data.features.views["frame"].shape[2]
    return trial.method, trial.overrides, training_steps(trial, labeled), snapshots, batches, channels, positions


def fit_stack(
    trials: Sequence[Trial], data: Sequence[TrialData], device: str = "cpu", file: Path | None = None
) -> list[FittedTrial]:
    """`fit_trial` for trials that share one `stack_key`, as one program: much faster on a GPU, equal up to rounding."""
    tasks = [training_task(trial, own, device, file) for trial, own in zip(trials, data, strict=True)]
    fit, first = get_stack(tasks[0].trial.method), tasks[0]
    fitted = fit([task.train for task in tasks], first.settings, [t.generator() for t in tasks], first.checkpoint())
    return [task.result(own, task.trial.select) for task, own in zip(tasks, fitted, strict=True)]
