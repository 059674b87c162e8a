"""The data that a trial learns from and is tested on: records, and features of their videos."""

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field, replace
from functools import cached_property, lru_cache, partial
from math import isnan
from pathlib import Path

import torch

from sapnet_core.backbones.registry import number_format
from sapnet_core.datasets.clips import SAMPLED, default_sampling
from sapnet_core.datasets.folds import held_out
from sapnet_core.datasets.pose_tracks import pose_records
from sapnet_core.datasets.records import Record
from sapnet_core.experiments.cell_views import CELL_VIEWS, boxes_by_step, cell_requests, cell_views, last_maps
from sapnet_core.experiments.fold_trial import FoldTrial
from sapnet_core.experiments.trial import STAGE_OF, Trial
from sapnet_core.experiments.without_videos import why_frames
from sapnet_core.features.dumped import dumped_features
from sapnet_core.features.extraction import FeatureRequest
from sapnet_core.features.sequences import is_sequence, sequence_features
from sapnet_core.features.source import SOURCE_NAMES, records_digest, source_records
from sapnet_core.features.store import Features, prepare_features, video_features
from sapnet_core.features.video_source import DiskSource, TwinSource
from sapnet_core.methods import extra_views
from sapnet_core.runtime import environment
from sapnet_core.runtime.disk import in_runs
from sapnet_core.runtime.environment import finefs_split
from sapnet_core.simulator.factors import twin_factors

__all__ = [
    "TrialData",
    "digested_records",
    "group_data",
    "prepare_trials",
    "sequence_root",
    "trial_data",
    "trial_records",
    "trial_video_source",
]


@dataclass(frozen=True)
class TrialData:
    """Records of one dataset in key order, with their features; the first axis of all tensors is the record.

    Features are read, or computed where they do not exist yet, when they are first asked for: scores, splits and
    factors of twins need no video.
    """

    trial: Trial
    records: tuple[Record, ...]
    read: Callable[[], Features]  # the features of these records
    score: torch.Tensor  # (N,) the trial's `sub_score`, in points
    difficulty: torch.Tensor  # (N,) degree of difficulty
    train: torch.Tensor  # (N,) bool, whether the record is in the training split

    @cached_property
    def features(self) -> Features:
        """Features of both views of all records."""
        return self.read()

    @cached_property
    def factors(self) -> torch.Tensor:
        """The simulator's quality factors (N, F); F = 0 for what is no twin."""
        if not self.trial.is_twin:
            return torch.empty(len(self.records), 0)
        return twin_factors(self.records, self.trial.twin_seed)


@dataclass(frozen=True)
class _RecordsOf:
    """What determines a trial's records; the fields are those of `Trial`."""

    dataset: str
    source: str
    train: int | None
    test: int | None
    twin_seed: int


@dataclass(frozen=True)
class _Seen:
    """What determines the features of given records. Fields that are not described here are those of `Trial`.

    Attributes:
        video_source: where frames and boxes come from.
        extra: views that only the method needs.
        stage: a name in `extraction.STAGES`.
    """

    video_source: TwinSource | DiskSource
    teacher: str
    extra: tuple[str, ...]
    clip_sampling: str
    backbone: str
    stage: str


@lru_cache(maxsize=8)
def _read_records(asked: _RecordsOf, data: Path | None, folder: Path, *rules):
    records = source_records(asked.dataset, asked.train, asked.test, asked.twin_seed, data, folder)
    left_out = {}
    if asked.source == "joints":
        records, left_out = pose_records(data, records)
    return tuple(records), records_digest(list(records)), left_out


def digested_records(
    dataset: str, source: str, train: int | None, test: int | None, twin_seed: int
) -> tuple[tuple[Record, ...], str]:
    """Records of a dataset and their digest."""
    return _found_records(_RecordsOf(dataset, source, train, test, twin_seed))[:2]


def _found_records(asked: _RecordsOf) -> tuple[tuple[Record, ...], str, dict[str, str]]:
    """Records of a dataset, their digest, and the keys of the dives without a pose track, each with the reason."""
    rules = environment.skip_bad(), finefs_split()  # part of the cache key: a notebook may change these variables
    folder = environment.runs() / "annotations"
    with in_runs():
        return _read_records(asked, _data_root(asked.source), folder, *rules)


def _data_root(source: str) -> Path | None:
    data = None if source == "drawn" else environment.data_root()
    if source != "drawn" and data is None:
        raise FileNotFoundError(
            f"this trial needs {SOURCE_NAMES[source]}: set SAPNET_DATA to the folder of the dataset"
        )
    return data


def sequence_root(trial: Trial) -> Path:
    """The folder to which the paths of a trial's sequences are relative.

    Raises:
        FileNotFoundError: `SAPNET_DATA` is not set.
    """
    return _data_root(trial.source)


def trial_video_source(trial: Trial) -> TwinSource | DiskSource:
    """The source of a trial's videos. Videos on disk have no true boxes, so for these "true" means "detected"."""
    if trial.source != "videos":
        return TwinSource(trial.twin_seed, trial.size, boxes=trial.boxes)
    boxes = "whole" if trial.boxes == "whole" else "detected"
    return DiskSource(_data_root(trial.source), trial.size, boxes, environment.skip_bad())


def trial_records(trial: Trial) -> tuple[Record, ...]:
    """Records of the trial's dataset, of all groups; reads no videos."""
    return digested_records(trial.dataset, trial.source, trial.train, trial.test, trial.twin_seed)[0]


@dataclass(frozen=True)
class _How:
    """Execution options that must not enter the cache key: every instance compares equal."""

    jobs: int = field(compare=False)
    progress: Callable[[int, int], None] | None = field(compare=False)


@lru_cache(maxsize=6)
def _data(
    asked: _RecordsOf, seen: _Seen, device: str, _numbers: torch.dtype, how: _How
) -> tuple[tuple[Record, ...], Features]:
    """Records and features. `views["actor"]` holds the teacher's view. A view computed only for the teacher, or only
    for the method (`seen.extra`), is NaN for test videos; `CELL_VIEWS` among these are there for all videos.

    `_numbers` is a part of the cache's key alone: the backbone asks `number_format` itself, and features of one format
    must not be returned for another.
    """
    records, _, left_out = _found_records(asked)
    if asked.source == "features":
        features = dumped_features(asked.dataset, _data_root(asked.source), records, environment.skip_bad())
        kept = set(features.keys)
        return tuple(r for r in records if r.key in kept), _one_view(features) if seen.teacher == "frame" else features
    if is_sequence(records):
        features = sequence_features(records, _data_root(asked.source), seen.clip_sampling or "windows")
        if seen.teacher == "photometric":
            raise ValueError("the photometric view needs videos, and these are sequences: choose another teacher")
        features = _one_view(features) if seen.teacher == "frame" else features
        return records, replace(features, skipped=left_out)

    def computed(one: FeatureRequest) -> Features:
        found = video_features(
            **vars(one), jobs=how.jobs, folder=environment.runs() / "features", device=device, progress=how.progress
        )
        if not _nine(asked.dataset, seen.clip_sampling):
            return found
        kept = {name: _first_nine(view, one.stage) for name, view in found.views.items()}
        return replace(found, views=kept, positions=found.positions[:18])

    first, *others = _requests(records, seen)
    features = computed(first)
    views = dict(features.views)
    for one in others:
        found = computed(one)
        if one.stage == "maps":
            views["maps"] = last_maps(found.views["frame"], device)
            continue
        if "boxes" in one.views:
            views["boxes"] = boxes_by_step(found.views["boxes"], seen.clip_sampling or default_sampling(asked.dataset))
            continue
        views |= {view: _spread(found, view, features.keys, views["frame"]) for view in one.views}
    kept_views = {"frame": views["frame"], "actor": views[seen.teacher], **{view: views[view] for view in seen.extra}}
    features = replace(features, views=kept_views)
    kept = set(features.keys)
    return tuple(r for r in records if r.key in kept), features


def _one_view(features: Features) -> Features:
    """The same with the student's view in place of the teacher's."""
    return replace(features, views=dict.fromkeys(features.views, features.views["frame"]))


def _spread(found: Features, view: str, keys: tuple[str, ...], like: torch.Tensor) -> torch.Tensor:
    """Spread a view of some videos over the rows of all videos `keys`: shape of `like` (N, S, C), NaN elsewhere."""
    place = {key: row for row, key in enumerate(keys)}
    rows = [place[key] for key in found.keys]
    return torch.full_like(like, torch.nan).index_copy(0, torch.tensor(rows), found.views[view])


def _sources(t: Trial) -> tuple[_RecordsOf, _Seen]:
    """Everything that determines a trial's records and features: trials with equal values share them.

    Raises:
        ValueError: the trial needs frames of videos, and there are only features.
    """
    if fault := why_frames(t):
        raise ValueError(fault)
    extra, stage = (*extra_views(t.method), *cell_views(t)), STAGE_OF[t.backbone_training]
    return (
        _RecordsOf(t.dataset, t.source, t.train, t.test, t.twin_seed),
        _Seen(trial_video_source(t), t.teacher, extra, t.clip_sampling, t.backbone, stage),
    )


def _nine(dataset: str, clip_sampling: str) -> bool:
    """Whether nine clips are requested of a dataset whose protocol has ten: the nine are the first of these."""
    return clip_sampling == "9x16" and dataset in SAMPLED and default_sampling(dataset) == "10x16"


def _first_nine(view: torch.Tensor, stage: str) -> torch.Tensor:
    """A view of ten clips without the last; of pixels, nine clips are taken later."""
    return view if stage == "pixels" else view[:, : 9 if stage == "maps" else 18]


def _requests(records: tuple[Record, ...], seen: _Seen) -> list[FeatureRequest]:
    """The feature requests of a trial: first the student's view, then, if it differs, the teacher's, then the method's.

    The first request includes the actor crops: with I3D always, because other trials need them anyway, and otherwise
    unless the teacher sees whole frames. A separate teacher's view and the method's own views (`seen.extra`) are
    requested only for the training videos, because only the student is tested; maps and boxes (`CELL_VIEWS`) of all.
    """
    clip_sampling = None if _nine(records[0].dataset, seen.clip_sampling) else seen.clip_sampling or None
    first = ("frame", "actor") if seen.backbone == "i3d" or seen.teacher != "frame" else ("frame",)
    passes = [FeatureRequest(records, seen.video_source, clip_sampling, first, seen.backbone, seen.stage)]
    learn = tuple(record for record in records if record.split == "train")
    cells = set(CELL_VIEWS) <= set(seen.extra)
    for views in (() if seen.teacher in first else (seen.teacher,), () if cells else seen.extra):
        if views:
            passes.append(FeatureRequest(learn, seen.video_source, clip_sampling, views, seen.backbone))
    return passes + (cell_requests(records, seen.video_source, clip_sampling) if cells else [])


def prepare_trials(
    trials: Iterable[Trial], jobs: int = 1, device: str = "cpu", progress: Callable[[int, int], None] | None = None
) -> None:
    """Compute all features that the trials need and that do not exist yet; `trial_data` then only reads them.

    `jobs`, `device` and `progress` are those of `prepare_features`.
    """
    passes = {}
    for asked, seen in dict.fromkeys(map(_sources, trials)):
        records = _found_records(asked)[0]
        if asked.source == "features":  # read now, so that an error in them is reported before any training
            dumped_features(asked.dataset, _data_root(asked.source), records, environment.skip_bad())
        elif not is_sequence(records):
            passes |= dict.fromkeys(_requests(records, seen))
    with in_runs():
        prepare_features(
            list(passes), jobs=jobs, folder=environment.runs() / "features", device=device, progress=progress
        )


def trial_data(
    trial: Trial, jobs: int = 1, device: str = "cpu", progress: Callable[[int, int], None] | None = None
) -> TrialData:
    """Records and features of a trial's dataset and group; features are computed if they do not exist yet.

    `jobs`, `device` and `progress` are those of `video_features`.

    Raises:
        ValueError: the dataset has no such group, or its records have no such target; or the trial needs frames of
            videos, and there are only features.
        FileNotFoundError: the trial needs the user's data, and `SAPNET_DATA` is not set.
    """
    (asked, seen), how = _sources(trial), _How(jobs, progress)

    def read() -> tuple[tuple[Record, ...], Features]:
        with in_runs():
            return _data(asked, seen, device, number_format(device), how)

    if trial.source in ("videos", "features"):  # which records there are depends on which of these can be read
        records, features = read()
        return group_data(trial, records, lambda: features)
    return group_data(trial, trial_records(trial), lambda: read()[1])


def group_data(trial: Trial, records: tuple[Record, ...], read: Callable[[], Features]) -> TrialData:
    """The part of a dataset that belongs to the trial's group and fold, with its scores; `read` gives the features of
    all records of the dataset.

    A test record without a value of the trial's target is left out; the published datasets have none.

    Raises:
        ValueError: the dataset has no such group or fold, or its records have no such target.
    """
    t = trial
    if t.group and not any(record.group == t.group for record in records):
        groups = ", ".join(sorted({r.group for r in records}))
        raise ValueError(f"{t.dataset} has no group {t.group!r}: choose one of {groups}")
    in_test = [_is_tested(t, record) for record in records]
    if isinstance(t, FoldTrial) and not any(in_test):
        raise ValueError(f"{t.dataset} has no {t.by} {', '.join(t.tested)}: choose among those of its records")
    kept = [
        i
        for i, record in enumerate(records)
        if (not t.group or record.group == t.group) and not (in_test[i] and isnan(record.sub_score(t.sub_score)))
    ]
    if len(kept) < len(records):
        records, in_test = tuple(records[i] for i in kept), [in_test[i] for i in kept]
        read = partial(_features_of, read, tuple(kept))
    return TrialData(
        t,
        records,
        read,
        torch.tensor([r.sub_score(t.sub_score) for r in records]),
        torch.tensor([r.difficulty for r in records]),
        ~torch.tensor(in_test, dtype=torch.bool),
    )


def _features_of(read: Callable[[], Features], rows: tuple[int, ...]) -> Features:
    """The features of some rows of a dataset."""
    features, index = read(), torch.tensor(rows, dtype=torch.int64)
    part = {name: getattr(features, name)[index] for name in ("subactions", "factors")}
    views = {name: view[index] for name, view in features.views.items()}
    return replace(features, keys=tuple(features.keys[i] for i in rows), views=views, **part)


def _is_tested(trial: Trial, record: Record) -> bool:
    if isinstance(trial, FoldTrial):
        return held_out(record, trial.by, trial.tested)
    return record.split != "train"
