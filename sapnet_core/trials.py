"""Trials: one training run as a value, the data it learns from, and its training.

A `Trial` is frozen; its hash is taken over its fields and over everything its data are made of. What became of trials
lies on disk: `sapnet_core.results`.
"""

import hashlib
import json
from collections.abc import Callable
from dataclasses import asdict, dataclass, field, replace
from functools import lru_cache
from inspect import signature
from pathlib import Path

import torch

from sapnet_core import paths
from sapnet_core.data.clips import READINGS, default_reading
from sapnet_core.data.details import label_details
from sapnet_core.data.features import BACKBONES, Features, features_digest, video_features
from sapnet_core.data.footage import BOXES, DiskFootage, TwinFootage
from sapnet_core.data.records import PERFECT, Record
from sapnet_core.data.sequences import is_sequence, sequence_digest, sequence_features
from sapnet_core.data.source import SOURCES, records_digest, source_records
from sapnet_core.data.split import label_split, visible_scores
from sapnet_core.keep import LOOKS, Keep
from sapnet_core.methods import Fitted, TrainSet, get_method, get_stack
from sapnet_core.profiles import DIVES, finefs_split
from sapnet_core.selection import SELECT, choose_step, validation_part

__all__ = ["Trial", "TrialData", "trial_data", "trial_hash", "trial_footage", "trial_records", "label_count",
           "train_set", "view_scale", "fit_trial", "fit_stack", "stack_key", "predict_all"]  # fmt: skip

FORMAT = 4  # raise when a change of code changes results by more than rounding: earlier trials are then run again
TEACHERS = ("actor", "photometric", "frame")


@dataclass(frozen=True)
class Trial:
    """One training run.

    Attributes:
        dataset: "mtl-aqa", "finediving", "rg", "finefs" or "folder".
        source: "drawn" (twins of annotations drawn by the simulator), "official" (twins of the annotation files below
            `SAPNET_DATA`) or "videos" (the videos below it).
        method: a name in `sapnet_core.methods`.
        share: labeled share of the training videos, in (0, 1]; 1 is the supervised column.
        seed: draws labeled samples, weights and batches; equal seeds share labeled samples across methods.
        target: "execution" (learn score / difficulty, multiply the prediction by difficulty), "score", or the name of a
            record's mark, as "tes".
        train, test: videos of each split, None for the official sizes.
        steps: optimizer steps.
        size: frame size in pixels.
        twin_seed: seed of the drawn annotations and of the rendered twins.
        part: "test", or "validation": a quarter of the training videos is kept out and scored instead (for tuning).
        group: the class that is learned and scored by itself, as "Ball"; "" for all.
        boxes: the actor's, "true" (the simulator's), "detected", or "whole" (no crop); see `data.footage`.
        teacher: what the teacher looks at: the "actor" crop, the whole "frame", or whole frames whose colors, light and
            sharpness were changed, "photometric".
        reading: how I3D walks over the frames, a name in `data.clips.READINGS` (E1); "" is the dataset's protocol.
        select: which step's weights are scored: the "last"; the best on a "validation" part of the labeled videos, a
            quarter of them that L_reg then does not see; or the best on the very videos that are scored, "test-best":
            the field's habit, and no honest result, since it reports the luckiest of many looks at the test scores.
        overrides: settings of the method that differ from its defaults, as sorted pairs.
        backbone: the network whose features are learned from, a name in `data.features.BACKBONES`.
    """

    dataset: str
    source: str
    method: str
    share: float
    seed: int
    target: str
    train: int | None
    test: int | None
    steps: int
    size: int = 112
    twin_seed: int = 0
    part: str = "test"
    group: str = ""
    boxes: str = "true"
    teacher: str = "actor"
    reading: str = ""
    select: str = "last"
    overrides: tuple[tuple[str, object], ...] = ()
    backbone: str = "i3d"

    def __post_init__(self):
        if not 0 < self.share <= 1:
            raise ValueError(f"share={self.share} must lie in (0, 1]")
        for name, known in (("source", SOURCES), ("part", ("test", "validation")), ("boxes", BOXES),
                            ("teacher", TEACHERS), ("reading", ("", *READINGS)), ("select", SELECT),
                            ("backbone", tuple(BACKBONES))):  # fmt: skip
            if getattr(self, name) not in known:
                raise ValueError(f"{name}={getattr(self, name)!r} is unknown: choose one of {', '.join(known)}")
        object.__setattr__(self, "overrides", tuple(sorted((str(k), v) for k, v in self.overrides)))


# fitted, features of the scored videos (n, S, C), their indices (n,), predicted scores (n,) in points
FittedTrial = tuple[Fitted, torch.Tensor, torch.Tensor, torch.Tensor]


@dataclass(frozen=True)
class TrialData:
    """Records of one dataset in key order with their features; tensors share the first axis."""

    records: tuple[Record, ...]
    features: Features
    score: torch.Tensor  # (N,)
    difficulty: torch.Tensor  # (N,)
    train: torch.Tensor  # (N,) bool


@lru_cache(maxsize=8)
def _read_records(dataset, train, test, twin_seed, data: Path | None, folder: Path, *rules) -> tuple[Record, ...]:
    return tuple(source_records(dataset, train, test, twin_seed, data, folder))


def _records(dataset: str, source: str, train: int | None, test: int | None, twin_seed: int) -> tuple[Record, ...]:
    rules = paths.skip_bad(), finefs_split()  # read from the environment, which a live kernel may change
    folder = paths.runs() / "annotations"
    return _read_records(dataset, train, test, twin_seed, _data_root(source), folder, *rules)


def _data_root(source: str) -> Path | None:
    data = None if source == "drawn" else paths.data_root()
    if source != "drawn" and data is None:
        raise FileNotFoundError(f"this trial needs {SOURCES[source]}: set SAPNET_DATA to the folder of the dataset")
    return data


def trial_footage(trial: Trial) -> TwinFootage | DiskFootage:
    """Where a trial's videos come from; videos on disk have no true boxes, so theirs are detected."""
    if trial.source != "videos":
        return TwinFootage(trial.twin_seed, trial.size, boxes=trial.boxes)
    boxes = "whole" if trial.boxes == "whole" else "detected"
    return DiskFootage(_data_root(trial.source), trial.size, boxes, paths.skip_bad())


def trial_records(trial: Trial) -> tuple[Record, ...]:
    """Records of the trial's dataset, of all groups; no video is touched."""
    return _records(trial.dataset, trial.source, trial.train, trial.test, trial.twin_seed)


@dataclass(frozen=True)
class _How:
    """How features are computed, which is no part of what they are: all of these are equal."""

    jobs: int = field(compare=False)
    progress: Callable[[int, int], None] | None = field(compare=False)


@lru_cache(maxsize=6)
def _data(
    dataset, source, train, test, twin_seed, footage, teacher, reading, backbone, device, how: _How
) -> tuple[tuple[Record, ...], Features]:
    """Records and features; `views["actor"]` holds what the teacher sees."""
    records = _records(dataset, source, train, test, twin_seed)
    if is_sequence(records):
        return records, sequence_features(records, footage.root)

    # the nine clips are the first nine of ten
    nine = reading == "9x16" and default_reading(dataset) == "10x16"

    def computed(*views: str) -> Features:
        found = video_features(records, footage, reading=None if nine else reading or None, views=views, jobs=how.jobs,
                               folder=paths.runs() / "features", device=device, backbone=backbone,
                               progress=how.progress)  # fmt: skip
        kept = {name: view[:, :18] for name, view in found.views.items()}
        return replace(found, views=kept, positions=found.positions[:18]) if nine else found

    # I3D's crops are there for other trials anyway
    features = computed("frame", "actor") if backbone == "i3d" or teacher != "frame" else computed("frame")
    if teacher != "actor":
        other = features if teacher == "frame" else computed(teacher)
        features = replace(features, views={"frame": features.views["frame"], "actor": other.views[teacher]})
    kept = set(features.keys)
    return tuple(r for r in records if r.key in kept), features


def trial_data(
    trial: Trial, jobs: int = 1, device: str = "cpu", progress: Callable[[int, int], None] | None = None
) -> TrialData:
    """Records and features of a trial's dataset and group; features are computed once and then read.

    `jobs` and `progress` are those of `video_features`.

    Raises:
        ValueError: the dataset has no such group, or its records no such target.
    """
    t = trial
    records, features = _data(t.dataset, t.source, t.train, t.test, t.twin_seed, trial_footage(t), t.teacher,
                              t.reading, t.backbone, device, _How(jobs, progress))  # fmt: skip
    if t.group:
        index = torch.tensor([i for i, r in enumerate(records) if r.group == t.group])
        if not len(index):
            groups = ", ".join(sorted({r.group for r in records}))
            raise ValueError(f"{t.dataset} has no group {t.group!r}: choose one of {groups}")
        records = tuple(records[i] for i in index)
        part = {name: getattr(features, name)[index] for name in ("subactions", "factors")}
        views = {name: view[index] for name, view in features.views.items()}
        features = replace(features, keys=tuple(r.key for r in records), views=views, **part)
    return TrialData(
        records, features, torch.tensor([r.mark(_mark(t)) for r in records]),
        torch.tensor([r.difficulty for r in records]), torch.tensor([r.split == "train" for r in records]),
    )  # fmt: skip


def _mark(trial: Trial) -> str:
    return "score" if trial.target == "execution" else trial.target


def trial_hash(trial: Trial) -> str:
    """16 hex digits over the trial's fields, its records, its videos and its backbone's weights.

    The first of the backbones is not named: trials on I3D have the hashes they had when there was no other.
    """
    t = trial
    records, footage = _records(t.dataset, t.source, t.train, t.test, t.twin_seed), trial_footage(t)
    if is_sequence(records):
        made_of = sequence_digest(records, footage.root)
    else:
        made_of = features_digest(t.dataset, footage, reading=t.reading or None, backbone=t.backbone)
        made_of += "".join(footage.stamp(r) for r in records) + str(footage.skip)
    own = {name: value for name, value in asdict(t).items() if (name, value) != ("backbone", "i3d")}
    parts = [FORMAT, own, records_digest(list(records)), made_of]
    return hashlib.sha256(json.dumps(parts, sort_keys=True).encode()).hexdigest()[:16]


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
    frame, actor = _standardized(data, learn)
    visible = visible_scores([data.records[i] for i in learn], labeled, _mark(trial))
    unit = _unit(trial, data, visible)
    details = label_details([data.records[i] for i in learn], labeled)
    train = TrainSet(frame[learn], actor[learn], data.features.positions, (visible / unit[learn]).float(), **details)
    return train, frame, unit


def _standardized(data: TrialData, learn: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """Both views, each channel centered and scaled over the training videos (no labels).

    Views are scaled apart, and so are the two steps of a 16-frame clip (`period`): their zero-padded borders differ,
    and without this clusters of frames would tell first halves from second halves instead of subactions.
    """
    scaled = []
    for name in ("frame", "actor"):
        mean, std = view_scale(data, learn, name)
        x = data.features.views[name].unflatten(1, (-1, data.features.period))  # (N, S/2, 2, C)
        scaled.append(((x - mean) / std).flatten(1, 2))
    return tuple(scaled)


def view_scale(data: TrialData, learn: torch.Tensor, view: str) -> tuple[torch.Tensor, torch.Tensor]:
    """Mean and deviation (period, C) by which a view's steps are standardized: those of the videos `learn` (n,)."""
    x = data.features.views[view][learn].unflatten(1, (-1, data.features.period))  # (n, S/2, 2, C)
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


def _fit(
    trial: Trial, data: TrialData, device: str, file: Path | None = None
) -> tuple[Fitted, torch.Tensor, torch.Tensor]:
    task, frame, unit = _task(trial, data, device)
    fitted, keep = _train(get_method(trial.method), trial, task, device, file)
    return _chosen(trial, data, fitted, keep, frame, unit, device), frame, unit


def _train(fit: Callable, trial: Trial, task: tuple, device: str, file: Path | None) -> tuple:
    """What `fit`, a method's or a stack's, makes of its task, and what was kept on the way.

    Numbers that no generator of ours draws, as dropout's, are the trial's own too, and no one else's are used up.
    """
    keep = Keep(LOOKS if trial.select != "last" else 0, file)
    takes_keep = "keep" in signature(fit).parameters
    if keep.looks and not takes_keep:
        raise ValueError(f"method {trial.method!r} keeps no weights on its way, and select={trial.select!r} has nothing"
                         " to choose from: give its `fit` a parameter `keep`, as in methods/mlp.py")  # fmt: skip
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
    return _scored(trial, data, *_fit(trial, data, device, file), device)


def _scored(trial: Trial, data: TrialData, fitted: Fitted, frame, unit, device: str) -> FittedTrial:
    scored = _split(trial, data)[1]
    frame = frame[scored].to(device)
    return fitted, frame, scored, fitted.predict(frame).cpu() * unit[scored]


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
    """Train a trial on its data and predict every video of them, training videos without score too: (N,) points."""
    fitted, frame, unit = _fit(trial, data, device)
    return fitted.predict(frame.to(device)).cpu() * unit
