"""Trials: one training run as a value, and the data it learns from.

A `Trial` is frozen; its hash is taken over its fields and over everything its data are made of.
`sapnet_core.experiments.fit` trains it; what became of trials lies on disk: `sapnet_core.experiments.results`.
"""

import inspect
import textwrap
from collections.abc import Callable, Iterable
from dataclasses import asdict, dataclass, field, replace
from functools import lru_cache
from pathlib import Path

import torch

from sapnet_core.backbones.registry import BACKBONES
from sapnet_core.datasets.clips import READINGS, default_reading
from sapnet_core.datasets.records import Record
from sapnet_core.experiments.profiles import DATASETS
from sapnet_core.experiments.selection import SELECT
from sapnet_core.features.extraction import FeatureRequest
from sapnet_core.features.sequences import is_sequence, sequence_digest, sequence_features
from sapnet_core.features.source import SOURCES, drawn_digest, records_digest, source_records
from sapnet_core.features.store import Features, features_digest, prepare_features, video_features
from sapnet_core.features.video_source import BOXES, DiskSource, TwinSource
from sapnet_core.methods import METHODS
from sapnet_core.methods.settings import check_settings
from sapnet_core.runtime import environment
from sapnet_core.runtime.disk import in_runs
from sapnet_core.runtime.environment import finefs_split
from sapnet_core.runtime.fingerprint import code_digest, fingerprint, syntax
from sapnet_core.runtime.values import choice, number, text, whole

__all__ = ["Trial", "TrialData", "prepare_trials", "trial_data", "trial_hash", "trial_video_source", "trial_records"]

FORMAT = 5  # raise when a change of code changes results, be it by rounding: earlier trials are then run again
TEACHERS = ("actor", "photometric", "frame")
TRAINS = ("datasets.label_details", "datasets.label_split", "experiments.fit", "experiments.selection")
MOST = 2**63 - 1  # what a seed of torch can be


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
        boxes: the actor's, "true" (the simulator's), "detected", or "whole" (no crop); see `features.video_source`.
        teacher: what the teacher looks at: the "actor" crop, the whole "frame", or whole frames whose colors, light and
            sharpness were changed, "photometric".
        reading: how I3D walks over the frames, a name in `datasets.clips.READINGS` (E1); "" is the dataset's protocol.
        select: which step's weights are scored: the "last"; the best on a "validation" part of the labeled videos, a
            quarter of them that L_reg then does not see; or the best on the very videos that are scored, "test-best":
            the field's habit, and no honest result, since it reports the luckiest of many looks at the test scores.
        overrides: settings of the method that differ from its defaults, as sorted pairs.
        backbone: the network whose features are learned from, a name in `backbones.registry.BACKBONES`.
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
        number("share", self.share, 0, 1, "least")
        for name, known in (
            ("dataset", (*DATASETS, "folder")),
            ("source", SOURCES),
            ("part", ("test", "validation")),
            ("boxes", BOXES),
            ("teacher", TEACHERS),
            ("reading", ("", *READINGS)),
            ("select", SELECT),
            ("backbone", tuple(BACKBONES)),
        ):
            choice(name, getattr(self, name), tuple(known))
        for name, least in (("seed", 0), ("twin_seed", 0), ("steps", 1), ("size", 2), ("train", 1), ("test", 1)):
            if name not in ("train", "test") or getattr(self, name) is not None:
                whole(name, getattr(self, name), least, MOST)
        text("target", self.target), text("group", self.group)
        object.__setattr__(self, "overrides", tuple(sorted(_pairs(self.overrides), key=lambda pair: pair[0])))
        check_settings(self.method, dict(self.overrides))

    @property
    def mark(self) -> str:
        """The record's mark that is known of labeled videos and scored against: "score", also where execution is
        learned."""
        return "score" if self.target == "execution" else self.target


def _pairs(overrides: object) -> list[tuple[str, object]]:
    every = list(overrides) if isinstance(overrides, (tuple, list)) else [None]
    pairs = [tuple(pair) for pair in every if isinstance(pair, (tuple, list)) and len(pair) == 2]
    if len(pairs) < len(every) or len({str(name) for name, _ in pairs}) < len(pairs):
        wanted = "give pairs of a setting's name, each once, and its value"
        raise ValueError(f"overrides={overrides!r} are no settings: {wanted}")
    return [(str(name), value) for name, value in pairs]


@dataclass(frozen=True)
class TrialData:
    """Records of one dataset in key order with their features; tensors share the first axis."""

    records: tuple[Record, ...]
    features: Features
    score: torch.Tensor  # (N,)
    difficulty: torch.Tensor  # (N,)
    train: torch.Tensor  # (N,) bool


@lru_cache(maxsize=8)
def _read_records(dataset, train, test, twin_seed, data: Path | None, folder: Path, *rules):
    records = tuple(source_records(dataset, train, test, twin_seed, data, folder))
    return records, records_digest(list(records))


def _digested_records(
    dataset: str, source: str, train: int | None, test: int | None, twin_seed: int
) -> tuple[tuple[Record, ...], str]:
    """Records and their digest."""
    rules = environment.skip_bad(), finefs_split()  # read from the environment, which a live kernel may change
    folder = environment.runs() / "annotations"
    with in_runs():
        return _read_records(dataset, train, test, twin_seed, _data_root(source), folder, *rules)


def _data_root(source: str) -> Path | None:
    data = None if source == "drawn" else environment.data_root()
    if source != "drawn" and data is None:
        raise FileNotFoundError(f"this trial needs {SOURCES[source]}: set SAPNET_DATA to the folder of the dataset")
    return data


def trial_video_source(trial: Trial) -> TwinSource | DiskSource:
    """Where a trial's videos come from; videos on disk have no true boxes, so theirs are detected."""
    if trial.source != "videos":
        return TwinSource(trial.twin_seed, trial.size, boxes=trial.boxes)
    boxes = "whole" if trial.boxes == "whole" else "detected"
    return DiskSource(_data_root(trial.source), trial.size, boxes, environment.skip_bad())


def trial_records(trial: Trial) -> tuple[Record, ...]:
    """Records of the trial's dataset, of all groups; no video is touched."""
    return _digested_records(trial.dataset, trial.source, trial.train, trial.test, trial.twin_seed)[0]


@dataclass(frozen=True)
class _How:
    """How features are computed, which is no part of what they are: all of these are equal."""

    jobs: int = field(compare=False)
    progress: Callable[[int, int], None] | None = field(compare=False)


@lru_cache(maxsize=6)
def _data(
    dataset, source, train, test, twin_seed, video_source, teacher, reading, backbone, device, how: _How
) -> tuple[tuple[Record, ...], Features]:
    """Records and features; `views["actor"]` holds what the teacher sees, NaN for test videos where only teachers look
    at that."""
    records, _ = _digested_records(dataset, source, train, test, twin_seed)
    if is_sequence(records):
        return records, sequence_features(records, video_source.root)

    def computed(one: FeatureRequest) -> Features:
        found = video_features(
            **vars(one), jobs=how.jobs, folder=environment.runs() / "features", device=device, progress=how.progress
        )
        if not _nine(dataset, reading):
            return found
        kept = {name: view[:, :18] for name, view in found.views.items()}
        return replace(found, views=kept, positions=found.positions[:18])

    first, *other = _requests(records, video_source, teacher, reading, backbone)
    features = computed(first)
    if teacher != "actor":
        frame = features.views["frame"]
        seen = _spread(computed(other[0]), teacher, features.keys, frame) if other else features.views[teacher]
        features = replace(features, views={"frame": frame, "actor": seen})
    kept = set(features.keys)
    return tuple(r for r in records if r.key in kept), features


def _spread(found: Features, view: str, keys: tuple[str, ...], like: torch.Tensor) -> torch.Tensor:
    """A view of some videos in the rows of all, which are NaN elsewhere, as `like` (N, S, C)."""
    place = {key: row for row, key in enumerate(keys)}
    rows = [place[key] for key in found.keys]
    return torch.full_like(like, torch.nan).index_copy(0, torch.tensor(rows), found.views[view])


def _sources(t: Trial) -> tuple:
    """What a trial's records and features are made of: trials that agree in this share them."""
    return t.dataset, t.source, t.train, t.test, t.twin_seed, trial_video_source(t), t.teacher, t.reading, t.backbone


def _nine(dataset: str, reading: str) -> bool:
    """Whether nine clips are asked for and ten are kept: the nine are the first of them."""
    return reading == "9x16" and default_reading(dataset) == "10x16"


def _requests(
    records: tuple[Record, ...], video_source, teacher: str, reading: str, backbone: str
) -> list[FeatureRequest]:
    """What is taken of the videos: the student's view, with the crops on I3D, where other trials want them anyway; and
    what else the teacher looks at, of the training videos alone, since the student is tested."""
    reading = None if _nine(records[0].dataset, reading) else reading or None
    first = ("frame", "actor") if backbone == "i3d" or teacher != "frame" else ("frame",)
    passes = [FeatureRequest(records, video_source, reading, first, backbone)]
    if teacher not in first:
        learn = tuple(record for record in records if record.split == "train")
        passes.append(FeatureRequest(learn, video_source, reading, (teacher,), backbone))
    return passes


def prepare_trials(
    trials: Iterable[Trial], jobs: int = 1, device: str = "cpu", progress: Callable[[int, int], None] | None = None
) -> None:
    """Compute the features that trials need and that are not there, all at once; `trial_data` then only reads them."""
    passes = {}
    for *made_of, video_source, teacher, reading, backbone in dict.fromkeys(map(_sources, trials)):
        records, _ = _digested_records(*made_of)
        if not is_sequence(records):
            passes |= dict.fromkeys(_requests(records, video_source, teacher, reading, backbone))
    with in_runs():
        prepare_features(
            list(passes), jobs=jobs, folder=environment.runs() / "features", device=device, progress=progress
        )


def trial_data(
    trial: Trial, jobs: int = 1, device: str = "cpu", progress: Callable[[int, int], None] | None = None
) -> TrialData:
    """Records and features of a trial's dataset and group; features are computed once and then read.

    `jobs` and `progress` are those of `video_features`.

    Raises:
        ValueError: the dataset has no such group, or its records no such target.
    """
    t = trial
    with in_runs():
        records, features = _data(*_sources(t), device, _How(jobs, progress))
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
        records,
        features,
        torch.tensor([r.mark(t.mark) for r in records]),
        torch.tensor([r.difficulty for r in records]),
        torch.tensor([r.split == "train" for r in records]),
    )


def trial_hash(trial: Trial, numbers: torch.dtype | None = None) -> str:
    """16 hex digits over all that a trial's result depends on: its fields, records, videos, backbone, and the program
    that trains it. Nothing is drawn, loaded or written for it.

    `numbers` is the number format of the features, one of `backbones.registry.NUMBERS`; None is this machine's own.
    """
    t = trial
    if t.source == "drawn":
        made_of = [drawn_digest(t.dataset, t.train, t.test, t.twin_seed), _features_digest(t, numbers)]
    else:
        records, digest = _digested_records(t.dataset, t.source, t.train, t.test, t.twin_seed)
        video_source = trial_video_source(t)
        if is_sequence(records):
            made_of = [digest, sequence_digest(records, video_source.root)]
        else:
            made_of = [digest, _features_digest(t, numbers)]
            made_of += [[video_source.stamp(r) for r in records], video_source.skip]
    return fingerprint(FORMAT, asdict(t), made_of, _training_digest(t.method))


def _features_digest(t: Trial, numbers: torch.dtype | None) -> str:
    return features_digest(
        t.dataset, trial_video_source(t), reading=t.reading or None, backbone=t.backbone, numbers=numbers
    )


def _training_digest(method: str) -> str:
    """Hash of the program that draws the labels, trains and predicts. Of a method that is given as a function, as in a
    notebook, its own text counts."""
    entry = METHODS[method]
    own = f"methods.{entry.partition(':')[0]}" if isinstance(entry, str) else "methods.base"
    code = code_digest(*TRAINS, own, within=("methods", "sapnet", "training"), without=("methods",))
    return fingerprint(code, "" if isinstance(entry, str) else syntax(textwrap.dedent(inspect.getsource(entry))))
