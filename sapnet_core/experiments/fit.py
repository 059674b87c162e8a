"""Training a trial: what its method may see, how features and targets are scaled, and what it predicts."""

from collections.abc import Callable, Iterator, Sequence
from functools import lru_cache
from inspect import signature
from pathlib import Path

import torch

from sapnet_core.datasets.label_details import label_details
from sapnet_core.datasets.label_split import label_split, visible_scores
from sapnet_core.datasets.records import PERFECT
from sapnet_core.experiments.profiles import DIVES
from sapnet_core.experiments.selection import choose_step, validation_part
from sapnet_core.experiments.trial import Trial, TrialData
from sapnet_core.features.store import Features
from sapnet_core.methods import Fitted, TrainSet, get_method, get_stack
from sapnet_core.training.checkpoint import LOOKS, Keep

__all__ = [
    "FittedTrial",
    "label_count",
    "train_set",
    "view_scale",
    "fit_trial",
    "fit_looks",
    "fit_stack",
    "stack_key",
    "predict_all",
]

# fitted, features of the scored videos (n, S, C), their indices (n,), predicted scores (n,) in points
FittedTrial = tuple[Fitted, torch.Tensor, torch.Tensor, torch.Tensor]


def _split(trial: Trial, data: TrialData) -> tuple[torch.Tensor, torch.Tensor]:
    """Indices of the videos to learn from and of the videos to score."""
    train, test = torch.nonzero(data.train).flatten(), torch.nonzero(~data.train).flatten()
    if trial.part == "test":
        return train, test
    order = train[torch.randperm(len(train), generator=torch.Generator().manual_seed(trial.seed))]
    cut = len(train) // 4
    return order[cut:].sort().values, order[:cut].sort().values


def _labels(trial: Trial, data: TrialData) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """Videos to learn from (n,); which of their scores training sees, (n,) bool; the videos that choose a step (m,)."""
    learn, scored = _split(trial, data)
    labeled = label_split(data.score[learn], trial.share, trial.seed)
    if trial.select != "validation":
        return learn, labeled, scored
    part = validation_part(data.score[learn], labeled, trial.seed)
    return learn, labeled & ~part, learn[part]


def label_count(trial: Trial, data: TrialData) -> int:
    """How many training videos keep their score, be it to learn from or to choose a step."""
    return int(label_split(data.score[_split(trial, data)[0]], trial.share, trial.seed).sum())


def train_set(trial: Trial, data: TrialData, learn: torch.Tensor, labeled: torch.Tensor) -> TrainSet:
    """What the trial's method may see.

    Args:
        learn: (n,) indices of the videos to learn from.
        labeled: (n,) bool; the scores of the others are not read but to be hidden.
    """
    return _prepared(trial, data, learn, labeled)[0]


def _prepared(
    trial: Trial, data: TrialData, learn: torch.Tensor, labeled: torch.Tensor
) -> tuple[TrainSet, torch.Tensor, torch.Tensor]:
    """The training set; whole-frame features of all videos (N, S, C), scaled like its own; and what a scaled target of
    1 is worth for each of them, in points (N,)."""
    frame, actor = _standardized(data.features, tuple(learn.tolist()))
    visible = visible_scores([data.records[i] for i in learn], labeled, trial.mark)
    unit = _unit(trial, data, visible)
    details = label_details([data.records[i] for i in learn], labeled)
    train = TrainSet(frame[learn], actor[learn], data.features.positions, (visible / unit[learn]).float(), **details)
    return train, frame, unit


@lru_cache(maxsize=1)  # most trials in a row learn from the same videos
def _standardized(features: Features, learn: tuple[int, ...]) -> tuple[torch.Tensor, torch.Tensor]:
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


def view_scale(features: Features, learn: torch.Tensor, view: str) -> tuple[torch.Tensor, torch.Tensor]:
    """Mean and deviation (period, C) by which a view's steps are standardized: those of the videos `learn` (n,)."""
    x = features.views[view][learn].unflatten(1, (-1, features.period))  # (n, S/2, 2, C)
    return x.mean((0, 1)), x.std((0, 1)) + 1e-4


def _unit(trial: Trial, data: TrialData, visible: torch.Tensor) -> torch.Tensor:
    """What a scaled target of 1 is worth in points, (N,): three perfect judges times difficulty; 100 for the score of a
    dive; elsewhere the largest of the visible scores, NaN where hidden."""
    if trial.target == "execution":
        return PERFECT * data.difficulty
    most = 100.0 if trial.dataset in DIVES else max(float(visible.nan_to_num(0).abs().max()), 1e-6)
    return torch.full_like(data.score, most)


def _task(trial: Trial, data: TrialData, device: str) -> tuple[tuple, torch.Tensor, torch.Tensor]:
    """What `fit` takes (training set, settings, generator); whole-frame features of all videos (N, S, C); points of a
    scaled target of 1 (N,)."""
    train, frame, unit = _prepared(trial, data, *_labels(trial, data)[:2])
    settings = {"steps": trial.steps, **dict(trial.overrides)}
    return (train.to(device), settings, torch.Generator().manual_seed(trial.seed)), frame, unit


def _trained(trial: Trial, data: TrialData, device: str, file: Path | None = None) -> tuple:
    """The trained system, what was kept on its way, features of all videos and points of a target of 1, as `_task`."""
    task, frame, unit = _task(trial, data, device)
    return *_train(get_method(trial.method), trial, task, device, file), frame, unit


def _train(fit: Callable, trial: Trial, task: tuple, device: str, file: Path | None) -> tuple:
    """What `fit`, a method's or a stack's, makes of its task, and what was kept on the way.

    Numbers that no generator of ours draws, as dropout's, are the trial's own too, and no one else's are used up.
    """
    keep = Keep(LOOKS if trial.select != "last" else 0, file)
    takes_keep = "keep" in signature(fit).parameters
    if keep.looks and not takes_keep:
        raise ValueError(
            f"method {trial.method!r} keeps no weights on its way, and select={trial.select!r} has nothing"
            " to choose from: give its `fit` a parameter `keep`, as in methods/mlp.py"
        )
    with torch.random.fork_rng([device] if torch.device(device).type == "cuda" else []):
        torch.manual_seed(trial.seed)
        return fit(*task, **({"keep": keep} if takes_keep else {})), keep


def _chosen(trial: Trial, data: TrialData, fitted: Fitted, keep: Keep, frame, unit, device: str) -> Fitted:
    """The trained system with the weights that `trial.select` asks for."""
    if trial.select == "last":
        return fitted
    on = _labels(trial, data)[2]
    ranked = trial.select == "test-best" or len(on) >= 8
    return choose_step(fitted, keep, frame[on].to(device), unit[on], data.score[on], ranked)


def fit_trial(trial: Trial, data: TrialData, device: str = "cpu", file: Path | None = None) -> FittedTrial:
    """Train a trial on its data (`trial_data(trial)`) without reading or writing a result.

    Args:
        file: where the training leaves what it needs to go on after a kill (`Keep`), and where it looks for that.

    Returns:
        (fitted, features of the scored videos (n, S, C), their indices (n,), predicted scores (n,) in points).
    """
    return next(fit_looks([trial], data, device, file))


def fit_looks(
    trials: Sequence[Trial], data: TrialData, device: str = "cpu", file: Path | None = None
) -> Iterator[FittedTrial]:
    """`fit_trial` of trials that differ in `select` alone, "last" first: one training, scored after each one's step.

    All share the network: use each before the next is asked for.
    """
    fitted, keep, frame, unit = _trained(trials[-1], data, device, file)
    for trial in trials:
        yield _scored(trial, data, _chosen(trial, data, fitted, keep, frame, unit, device), frame, unit, device)


def _scored(trial: Trial, data: TrialData, fitted: Fitted, frame, unit, device: str) -> FittedTrial:
    scored = _split(trial, data)[1]
    return fitted, frame[scored].to(device), scored, _points(fitted, frame, unit, scored, device)


def _points(fitted: Fitted, frame: torch.Tensor, unit: torch.Tensor, rows: torch.Tensor, device: str) -> torch.Tensor:
    """Predicted scores of the videos `rows` (n,), in points.

    Each set of videos is one batch: a matrix product may round a row otherwise in a batch of another size, so whoever
    wants the stored prediction of a test video again has to pass the same set.
    """
    return fitted.predict(frame[rows].to(device)).cpu() * unit[rows]


def stack_key(trial: Trial, data: TrialData) -> tuple | None:
    """What trials must share to be trained side by side: method, settings and shapes. None where they cannot be."""
    if get_stack(trial.method) is None:
        return None
    learn, seen, _ = _labels(trial, data)
    labeled, learn = int(seen.sum()), len(learn)
    most = dict(trial.overrides).get("batch", 16), dict(trial.overrides).get("batch_unlabeled", 16)
    batches = min(most[0], labeled), min(most[1], (learn - labeled) or learn)
    positions = tuple(data.features.positions.tolist())
    looks = trial.select != "last"
    return trial.method, trial.overrides, trial.steps, looks, batches, data.features.views["frame"].shape[2], positions


def fit_stack(
    trials: list[Trial], data: list[TrialData], device: str = "cpu", file: Path | None = None
) -> list[FittedTrial]:
    """`fit_trial` of trials with one `stack_key`, as one program: equal up to rounding, much faster on a GPU."""
    tasks, frames, units = zip(*(_task(t, d, device) for t, d in zip(trials, data, strict=True)), strict=True)
    trains, settings, generators = zip(*tasks, strict=True)
    fitted, keep = _train(get_stack(trials[0].method), trials[0], (trains, settings[0], generators), device, file)
    runs = zip(trials, data, fitted, map(keep.of_run, range(len(trials))), frames, units, strict=True)
    chosen = [_chosen(*run, device) for run in runs]
    return [_scored(*each, device) for each in zip(trials, data, chosen, frames, units, strict=True)]


def predict_all(trial: Trial, data: TrialData, device: str = "cpu") -> torch.Tensor:
    """Train a trial on its data and predict every video of them, training videos without score too: (N,) points.

    Those of the scored videos are bit for bit what `fit_trial` predicts.
    """
    fitted, keep, frame, unit = _trained(trial, data, device)
    fitted = _chosen(trial, data, fitted, keep, frame, unit, device)
    scored = torch.zeros(len(unit), dtype=torch.bool)
    scored[_split(trial, data)[1]] = True
    points = torch.empty(len(unit))
    for part in (scored, ~scored):
        rows = torch.nonzero(part).flatten()
        points[rows] = _points(fitted, frame, unit, rows, device)
    return points
