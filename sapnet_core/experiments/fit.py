"""Training a trial: what its method may see, how features and targets are scaled, and what it predicts."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import NamedTuple

import torch
from torch import Tensor

from sapnet_core.datasets.label_details import label_details
from sapnet_core.datasets.label_split import label_split, visible_scores
from sapnet_core.datasets.records import PERFECT
from sapnet_core.experiments.profiles import DIVES
from sapnet_core.experiments.selection import choose_step, validation_part
from sapnet_core.experiments.trial import Trial, TrialData
from sapnet_core.features.store import Features
from sapnet_core.methods import Fitted, TrainSet, can_stack, get_method, get_stack
from sapnet_core.training.checkpoint import Checkpoint

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
    "training_task",
    "view_scale",
]

SNAPSHOTS = 20  # of a training, where a step is to be chosen
RANKED = 8  # videos from which on rank correlation tells steps apart


class FittedTrial(NamedTuple):
    """A trained trial.

    Attributes:
        fitted: the system, with the weights of the step that the trial selects.
        features: of the scored videos, whole frames, standardized (n, S, C).
        scored: indices of these videos (n,).
        predicted: their predicted scores (n,) in points.
    """

    fitted: Fitted
    features: Tensor
    scored: Tensor
    predicted: Tensor


@dataclass(frozen=True)
class VideoRoles:
    """What the videos of a trial are for; indices are those of its data.

    Attributes:
        learn: (n,) indices of the videos to learn from.
        labeled: (n,) bool, which of these keep their score.
        visible: (n,) bool, whose score the training sees: `labeled` without those that choose a step.
        choosing: (m,) indices of the videos that choose a step.
        scored: (k,) indices of the videos that the result is about.
    """

    learn: Tensor
    labeled: Tensor
    visible: Tensor
    choosing: Tensor
    scored: Tensor


def video_roles(trial: Trial, data: TrialData) -> VideoRoles:
    """What each video of the trial is for.

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
    """Indices of the videos to learn from and of the videos to score."""
    train, test = torch.nonzero(data.train).flatten(), torch.nonzero(~data.train).flatten()
    if trial.part == "test":
        return train, test
    order = train[torch.randperm(len(train), generator=torch.Generator().manual_seed(trial.seed))]
    cut = len(train) // 4
    return order[cut:].sort().values, order[:cut].sort().values


def label_count(trial: Trial, data: TrialData) -> int:
    """How many training videos keep their score, be it to learn from or to choose a step."""
    return int(video_roles(trial, data).labeled.sum())


class _Scaled(NamedTuple):
    """Features and targets of a trial, scaled by what its training may see."""

    train: TrainSet
    frame: Tensor  # (N, S, C) whole-frame features of all videos
    points: Tensor  # (N,) what a scaled target of 1 is worth in points


def train_set(trial: Trial, data: TrialData, learn: Tensor, labeled: Tensor) -> TrainSet:
    """What the trial's method may see.

    Args:
        learn: (n,) indices of the videos to learn from.
        labeled: (n,) bool; the scores of the others are not read but to be hidden.
    """
    return _scaled(trial, data, learn, labeled).train


def _scaled(trial: Trial, data: TrialData, learn: Tensor, labeled: Tensor) -> _Scaled:
    frame, actor = _standardized(data.features, tuple(learn.tolist()))
    records = [data.records[i] for i in learn]
    visible = visible_scores(records, labeled, trial.mark)
    points = _target_scale(trial, data, visible)
    y = (visible / points[learn]).float()
    details = label_details(records, labeled)
    return _Scaled(TrainSet(frame[learn], actor[learn], data.features.positions, y, **details), frame, points)


@lru_cache(maxsize=1)  # most trials in a row learn from the same videos
def _standardized(features: Features, learn: tuple[int, ...]) -> tuple[Tensor, Tensor]:
    """Both views (N, S, C), each channel centered and scaled over the videos `learn` (no labels).

    Views are scaled apart, and so are the two steps of a 16-frame clip (`period`): their zero-padded borders differ,
    and without this clusters of frames would tell first halves from second halves instead of subactions.
    """
    scaled = []
    for name in ("frame", "actor"):
        mean, std = view_scale(features, torch.tensor(learn), name)
        x = features.views[name].unflatten(1, (-1, features.period))  # (N, S/2, 2, C)
        scaled.append(((x - mean) / std).flatten(1, 2))
    return tuple(scaled)


def view_scale(features: Features, learn: Tensor, view: str) -> tuple[Tensor, Tensor]:
    """Mean and deviation (period, C) by which a view's steps are standardized: those of the videos `learn` (n,)."""
    x = features.views[view][learn].unflatten(1, (-1, features.period))  # (n, S/2, 2, C)
    return x.mean((0, 1)), x.std((0, 1)) + 1e-4


def _target_scale(trial: Trial, data: TrialData, visible: Tensor) -> Tensor:
    """What a scaled target of 1 is worth in points, (N,): three perfect judges times difficulty; 100 for the score of a
    dive; elsewhere the largest of the visible scores, NaN where hidden."""
    if trial.target == "execution":
        return PERFECT * data.difficulty
    most = 100.0 if trial.dataset in DIVES else max(float(visible.nan_to_num(0).abs().max()), 1e-6)
    return torch.full_like(data.score, most)


@dataclass(frozen=True)
class TrainingTask:
    """A trial made ready: all that its training needs, and all that its predictions are read with.

    Attributes:
        trial: names the method, its settings and the seed.
        roles: which videos are learned from, labeled, choose a step, and are scored.
        train: features of both views, positions and visible targets of the videos to learn from, on `device`.
        frame: (N, S, C) whole-frame features of all videos, standardized as those of `train`.
        score: (N,) true scores in points; training sees those of `train` alone.
        points: (N,) what a scaled target of 1 is worth in points.
        device: where the training computes.
        file: where the training leaves what it needs to resume after a kill; None leaves nothing.
    """

    trial: Trial
    roles: VideoRoles
    train: TrainSet
    frame: Tensor
    score: Tensor
    points: Tensor
    device: str
    file: Path | None

    @property
    def settings(self) -> Mapping[str, object]:
        """Settings of the method."""
        return {"steps": self.trial.steps, **dict(self.trial.overrides)}

    def generator(self) -> torch.Generator:
        """A fresh source of the training's random numbers."""
        return torch.Generator().manual_seed(self.trial.seed)

    def checkpoint(self) -> Checkpoint:
        """A fresh checkpoint, with snapshots where a step is to be chosen."""
        return Checkpoint(self.file, SNAPSHOTS if self.trial.select != "last" else 0)

    def fit(self) -> Fitted:
        """The trained system, with the weights of its last step."""
        return get_method(self.trial.method)(self.train, self.settings, self.generator(), self.checkpoint())

    def selected(self, fitted: Fitted, select: str) -> Fitted:
        """The trained system with the weights that a name in `selection.SELECT` asks for.

        Raises:
            ValueError: the method is a closed form, without steps to choose from.
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
        return choose_step(fitted, self.frame[on].to(self.device), self.points[on], self.score[on], ranked)

    def predict(self, fitted: Fitted, rows: Tensor) -> Tensor:
        """Predicted scores of the videos `rows` (n,), in points.

        Each set of videos is one batch: a matrix product may round a row otherwise in a batch of another size, so
        whoever wants the stored prediction of a test video again has to pass the same set.
        """
        return fitted.predict(self.frame[rows].to(self.device)).cpu() * self.points[rows]

    def result(self, fitted: Fitted, select: str) -> FittedTrial:
        """The trained system at its selected step, and what it predicts of the scored videos."""
        chosen, scored = self.selected(fitted, select), self.roles.scored
        return FittedTrial(chosen, self.frame[scored].to(self.device), scored, self.predict(chosen, scored))


def training_task(trial: Trial, data: TrialData, device: str = "cpu", file: Path | None = None) -> TrainingTask:
    """A trial and its data (`trial_data(trial)`), made ready for training.

    Raises:
        ValueError: too few videos are labeled.
    """
    roles = video_roles(trial, data)
    scaled = _scaled(trial, data, roles.learn, roles.visible)
    return TrainingTask(
        trial, roles, scaled.train.to(device), scaled.frame, data.score, scaled.points, device=device, file=file
    )


def fit_trial(trial: Trial, data: TrialData, device: str = "cpu", file: Path | None = None) -> FittedTrial:
    """Train a trial on its data (`trial_data(trial)`) without reading or writing a result.

    Args:
        file: where the training leaves what it needs to resume after a kill, and where it looks for that.

    Raises:
        ValueError: the trial's settings cannot be used, too few videos are labeled, or a step is to be chosen of a
            closed form.
    """
    return next(fit_selections([trial], data, device, file))


def fit_selections(
    trials: Sequence[Trial], data: TrialData, device: str = "cpu", file: Path | None = None
) -> Iterator[FittedTrial]:
    """`fit_trial` of trials that differ in `select` alone, "last" first: one training, scored after each one's step.

    All share the network: use each before the next is asked for.
    """
    task = training_task(trials[-1], data, device, file)
    fitted = task.fit()
    for trial in trials:
        yield task.result(fitted, trial.select)


def predict_all(trial: Trial, data: TrialData, device: str = "cpu") -> Tensor:
    """Train a trial on its data and predict every video of them, training videos without score too: (N,) points.

    Those of the scored videos are bit for bit what `fit_trial` predicts.
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
    """What trials must share to be trained side by side: method, settings and shapes. None where they cannot be."""
    settings = dict(trial.overrides)
    if not can_stack(trial.method, settings):
        return None
    roles = video_roles(trial, data)
    labeled, learn = int(roles.visible.sum()), len(roles.learn)
    most = settings.get("batch", 16), settings.get("batch_unlabeled", 16)
    batches = min(most[0], labeled), min(most[1], (learn - labeled) or learn)
    positions = tuple(data.features.positions.tolist())
    snapshots = trial.select != "last"
    channels = data.features.views["frame"].shape[2]
    return trial.method, trial.overrides, trial.steps, snapshots, batches, channels, positions


def fit_stack(
    trials: Sequence[Trial], data: Sequence[TrialData], device: str = "cpu", file: Path | None = None
) -> list[FittedTrial]:
    """`fit_trial` of trials with one `stack_key`, as one program: equal up to rounding, much faster on a GPU."""
    tasks = [training_task(trial, own, device, file) for trial, own in zip(trials, data, strict=True)]
    fit, first = get_stack(tasks[0].trial.method), tasks[0]
    fitted = fit([task.train for task in tasks], first.settings, [t.generator() for t in tasks], first.checkpoint())
    return [task.result(own, task.trial.select) for task, own in zip(tasks, fitted, strict=True)]
