"""Trials: the description of one training run, and the data it learns from.

A `Trial` is immutable; its hash covers its fields and everything that determines its data.
`sapnet_core.experiments.fit` trains it, and `sapnet_core.experiments.results` stores its result on disk.
"""

import inspect
import textwrap
from collections.abc import Callable, Iterable
from dataclasses import asdict, dataclass, field, replace
from functools import lru_cache
from pathlib import Path

import torch

from sapnet_core.backbones.registry import BACKBONES
from sapnet_core.datasets.clips import CLIP_SAMPLINGS, default_sampling
from sapnet_core.datasets.records import Record
from sapnet_core.experiments.profiles import DATASETS
from sapnet_core.experiments.selection import SELECT
from sapnet_core.features.extraction import FeatureRequest
from sapnet_core.features.sequences import is_sequence, sequence_digest, sequence_features
from sapnet_core.features.source import SOURCES, drawn_digest, records_digest, source_records
from sapnet_core.features.store import Features, features_digest, prepare_features, video_features
from sapnet_core.features.video_source import BOXES, DiskSource, TwinSource
from sapnet_core.methods import METHODS, extra_views, trains_backbone
from sapnet_core.methods.settings import check_settings
from sapnet_core.runtime import environment
from sapnet_core.runtime.disk import in_runs
from sapnet_core.runtime.environment import finefs_split
from sapnet_core.runtime.fingerprint import code_digest, fingerprint, syntax
from sapnet_core.runtime.values import choice, number, text, whole

__all__ = [
    "Trial",
    "TrialData",
    "group_data",
    "prepare_trials",
    "trial_data",
    "trial_hash",
    "trial_video_source",
    "trial_records",
]

FORMAT = 6  # raise it when a code change alters results, even by rounding: all trials are then run again
TEACHERS = ("actor", "photometric", "frame")
TRAINS = (
    "backbones.last_blocks",
    "datasets.label_details",
    "datasets.label_split",
    "experiments.fit",
    "experiments.selection",
)
# whether the backbone learns too -> what is stored of a video: with "last blocks", Mixed_5b and Mixed_5c of I3D learn
STAGE_OF = {"frozen": "features", "last blocks": "maps", "all": "pixels"}
MOST = 2**63 - 1  # largest seed that PyTorch accepts


@dataclass(frozen=True)
class Trial:
    """Description of one training run.

    Attributes:
        dataset: "mtl-aqa", "finediving", "rg", "finefs" or "folder".
        source: "drawn" (twins of annotations drawn by the simulator), "official" (twins of the annotation files in the
            folder `SAPNET_DATA`) or "videos" (the videos in that folder).
        method: a name in `sapnet_core.methods`.
        share: labeled share of the training videos, in (0, 1]; 1 is the supervised column.
        seed: seed of labeled samples, weights and batches; equal seeds share labeled samples across methods.
        target: "execution" (learn score / difficulty, multiply the prediction by difficulty), "score", or the name of a
            record's sub-score, such as "tes".
        train, test: numbers of videos in each split, None for the official sizes.
        steps: number of optimizer steps; with `epochs`, their minimum.
        epochs: passes over the labeled videos, 0 to take `steps` alone. One rule for all methods: more labels mean more
            steps, so that a trial with all labels is trained as thoroughly as one with few.
        size: height and width of frames in pixels.
        twin_seed: seed of the drawn annotations and of the rendered twins.
        part: "test", or "validation", which holds out a quarter of the training videos and scores these (for tuning).
        group: the class that is learned and scored alone, such as "Ball"; "" for all.
        boxes: source of the actor's boxes: "true" (the simulator), "detected", or "whole" (no crop); see
            `features.video_source`.
        teacher: the teacher's view: the "actor" crop, the whole "frame", or "photometric", whole frames with changed
            colors, light and sharpness.
        clip_sampling: a name in `datasets.clips.CLIP_SAMPLINGS` (E1); "" is the dataset's protocol.
        select: the step whose weights are scored: "last"; "validation", the best step on a quarter of the labeled
            videos, which L_reg then does not see; or "test-best", the best step on the scored videos themselves. The
            last is common in the field but biased: it reports the maximum of many evaluations on the test scores.
        overrides: settings of the method that differ from its defaults, as sorted pairs of name and value.
        backbone: the network whose features are learned from, a name in `backbones.registry.BACKBONES`.
        backbone_training: "frozen": the backbone's features are fixed; "last blocks": I3D's Mixed_5b and Mixed_5c learn
            too, from cached maps of the blocks before; "all": all of I3D learns, from pixels.

    Raises:
        ValueError: a field or a setting of the method has a value that cannot be used.
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
    clip_sampling: str = ""
    select: str = "last"
    overrides: tuple[tuple[str, object], ...] = ()
    backbone: str = "i3d"
    backbone_training: str = "frozen"
    epochs: float = 0.0

    def __post_init__(self):
        number("share", self.share, 0, 1, "least")
        number("epochs", self.epochs, 0)
        for name in ("share", "epochs"):  # 1 and 1.0 are one trial, and have one hash
            object.__setattr__(self, name, float(getattr(self, name)))
        for name, known in (
            ("dataset", (*DATASETS, "folder")),
            ("source", SOURCES),
            ("part", ("test", "validation")),
            ("boxes", BOXES),
            ("teacher", TEACHERS),
            ("clip_sampling", ("", *CLIP_SAMPLINGS)),
            ("select", SELECT),
            ("backbone", tuple(BACKBONES)),
            ("backbone_training", tuple(STAGE_OF)),
        ):
            choice(name, getattr(self, name), tuple(known))
        for name, least in (("seed", 0), ("twin_seed", 0), ("steps", 1), ("size", 2), ("train", 1), ("test", 1)):
            if name not in ("train", "test") or getattr(self, name) is not None:
                whole(name, getattr(self, name), least, MOST)
        text("target", self.target), text("group", self.group)
        object.__setattr__(self, "overrides", tuple(sorted(_pairs(self.overrides), key=lambda pair: pair[0])))
        check_settings(self.method, dict(self.overrides))
        if self.backbone_training != "frozen":
            self._check_trained()

    def _check_trained(self) -> None:
        """Refuse a trial that cannot train its backbone. Raises ValueError."""
        asked = f"backbone_training={self.backbone_training!r}"
        if self.backbone != "i3d" or self.dataset == "folder":
            raise ValueError(f"{asked}: only I3D on videos can be trained, not {self.backbone!r} on {self.dataset!r}")
        if not trains_backbone(self.method):
            known = ", ".join(name for name in METHODS if trains_backbone(name))
            raise ValueError(f"{asked}: {self.method} learns from fixed features: choose one of {known}")
        if self.teacher == "photometric":
            raise ValueError(f"{asked}: the teacher's view must be 'actor' or 'frame', not {self.teacher!r}")

    @property
    def sub_score(self) -> str:
        """The record's sub-score that serves as the true score: "score", also if the target is execution."""
        return "score" if self.target == "execution" else self.target


def _pairs(overrides: object) -> list[tuple[str, object]]:
    every = list(overrides) if isinstance(overrides, (tuple, list)) else [None]
    pairs = [tuple(pair) for pair in every if isinstance(pair, (tuple, list)) and len(pair) == 2]
    if len(pairs) < len(every) or len({str(name) for name, _ in pairs}) < len(pairs):
        wanted = "give pairs of a setting's name and its value, each name once"
        raise ValueError(f"overrides={overrides!r} are not settings: {wanted}")
    return [(str(name), value) for name, value in pairs]


@dataclass(frozen=True)
class TrialData:
    """Records of one dataset in key order, with their features; the first axis of all tensors is the record."""

    records: tuple[Record, ...]
    features: Features
    score: torch.Tensor  # (N,) the trial's `sub_score`, in points
    difficulty: torch.Tensor  # (N,) degree of difficulty
    train: torch.Tensor  # (N,) bool, whether the record is in the training split


@lru_cache(maxsize=8)
def _read_records(dataset, train, test, twin_seed, data: Path | None, folder: Path, *rules):
    records = tuple(source_records(dataset, train, test, twin_seed, data, folder))
    return records, records_digest(list(records))


def _digested_records(
    dataset: str, source: str, train: int | None, test: int | None, twin_seed: int
) -> tuple[tuple[Record, ...], str]:
    """Records of a dataset and their digest."""
    rules = environment.skip_bad(), finefs_split()  # part of the cache key: a notebook may change these variables
    folder = environment.runs() / "annotations"
    with in_runs():
        return _read_records(dataset, train, test, twin_seed, _data_root(source), folder, *rules)


def _data_root(source: str) -> Path | None:
    data = None if source == "drawn" else environment.data_root()
    if source != "drawn" and data is None:
        raise FileNotFoundError(f"this trial needs {SOURCES[source]}: set SAPNET_DATA to the folder of the dataset")
    return data


def trial_video_source(trial: Trial) -> TwinSource | DiskSource:
    """The source of a trial's videos. Videos on disk have no true boxes, so for these "true" means "detected"."""
    if trial.source != "videos":
        return TwinSource(trial.twin_seed, trial.size, boxes=trial.boxes)
    boxes = "whole" if trial.boxes == "whole" else "detected"
    return DiskSource(_data_root(trial.source), trial.size, boxes, environment.skip_bad())


def trial_records(trial: Trial) -> tuple[Record, ...]:
    """Records of the trial's dataset, of all groups; reads no videos."""
    return _digested_records(trial.dataset, trial.source, trial.train, trial.test, trial.twin_seed)[0]


@dataclass(frozen=True)
class _How:
    """Execution options that must not enter the cache key: every instance compares equal."""

    jobs: int = field(compare=False)
    progress: Callable[[int, int], None] | None = field(compare=False)


@lru_cache(maxsize=6)
def _data(
    dataset,
    source,
    train,
    test,
    twin_seed,
    video_source,
    teacher,
    extra,
    clip_sampling,
    backbone,
    stage,
    device,
    how: _How,
) -> tuple[tuple[Record, ...], Features]:
    """Records and features. `views["actor"]` holds the teacher's view. A view computed only for the teacher, or only
    for the method (`extra`), is NaN for test videos."""
    records, _ = _digested_records(dataset, source, train, test, twin_seed)
    if is_sequence(records):
        return records, sequence_features(records, video_source.root)

    def computed(one: FeatureRequest) -> Features:
        found = video_features(
            **vars(one), jobs=how.jobs, folder=environment.runs() / "features", device=device, progress=how.progress
        )
        if not _nine(dataset, clip_sampling):
            return found
        kept = {name: _first_nine(view, stage) for name, view in found.views.items()}
        return replace(found, views=kept, positions=found.positions[:18])

    first, *others = _requests(records, video_source, teacher, extra, clip_sampling, backbone, stage)
    features = computed(first)
    views = dict(features.views)
    for one in others:
        found = computed(one)
        views |= {view: _spread(found, view, features.keys, views["frame"]) for view in one.views}
    kept_views = {"frame": views["frame"], "actor": views[teacher], **{view: views[view] for view in extra}}
    features = replace(features, views=kept_views)
    kept = set(features.keys)
    return tuple(r for r in records if r.key in kept), features


def _spread(found: Features, view: str, keys: tuple[str, ...], like: torch.Tensor) -> torch.Tensor:
    """Spread a view of some videos over the rows of all videos `keys`: shape of `like` (N, S, C), NaN elsewhere."""
    place = {key: row for row, key in enumerate(keys)}
    rows = [place[key] for key in found.keys]
    return torch.full_like(like, torch.nan).index_copy(0, torch.tensor(rows), found.views[view])


def _sources(t: Trial) -> tuple:
    """Everything that determines a trial's records and features: trials with equal values share them."""
    made_of = t.dataset, t.source, t.train, t.test, t.twin_seed
    seen = t.teacher, extra_views(t.method)
    return *made_of, trial_video_source(t), *seen, t.clip_sampling, t.backbone, STAGE_OF[t.backbone_training]


def _nine(dataset: str, clip_sampling: str) -> bool:
    """Whether nine clips are requested of a dataset whose protocol has ten: the nine are the first of these."""
    return clip_sampling == "9x16" and default_sampling(dataset) == "10x16"


def _first_nine(view: torch.Tensor, stage: str) -> torch.Tensor:
    """A view of ten clips without the last; of pixels, nine clips are taken later."""
    return view if stage == "pixels" else view[:, : 9 if stage == "maps" else 18]


def _requests(
    records: tuple[Record, ...],
    video_source,
    teacher: str,
    extra: tuple[str, ...],
    clip_sampling: str,
    backbone: str,
    stage: str,
) -> list[FeatureRequest]:
    """The feature requests of a trial: first the student's view, then, if it differs, the teacher's, then the method's.

    The first request includes the actor crops: with I3D always, because other trials need them anyway, and otherwise
    unless the teacher sees whole frames. A separate teacher's view and the method's own views (`extra`) are requested
    only for the training videos, because only the student is tested.
    """
    clip_sampling = None if _nine(records[0].dataset, clip_sampling) else clip_sampling or None
    first = ("frame", "actor") if backbone == "i3d" or teacher != "frame" else ("frame",)
    passes = [FeatureRequest(records, video_source, clip_sampling, first, backbone, stage)]
    learn = tuple(record for record in records if record.split == "train")
    for views in (() if teacher in first else (teacher,), extra):
        if views:
            passes.append(FeatureRequest(learn, video_source, clip_sampling, views, backbone))
    return passes


def prepare_trials(
    trials: Iterable[Trial], jobs: int = 1, device: str = "cpu", progress: Callable[[int, int], None] | None = None
) -> None:
    """Compute all features that the trials need and that do not exist yet; `trial_data` then only reads them.

    `jobs`, `device` and `progress` are those of `prepare_features`.
    """
    passes = {}
    for source in dict.fromkeys(map(_sources, trials)):
        records, _ = _digested_records(*source[:5])
        if not is_sequence(records):
            passes |= dict.fromkeys(_requests(records, *source[5:]))
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
        ValueError: the dataset has no such group, or its records have no such target.
        FileNotFoundError: the trial needs the user's data, and `SAPNET_DATA` is not set.
    """
    with in_runs():
        records, features = _data(*_sources(trial), device, _How(jobs, progress))
    return group_data(trial, records, features)


def group_data(trial: Trial, records: tuple[Record, ...], features: Features) -> TrialData:
    """The part of a dataset's records and features that belongs to the trial's group, with its scores.

    Raises:
        ValueError: the dataset has no such group, or its records have no such target.
    """
    t = trial
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
        torch.tensor([r.sub_score(t.sub_score) for r in records]),
        torch.tensor([r.difficulty for r in records]),
        torch.tensor([r.split == "train" for r in records]),
    )


def trial_hash(trial: Trial) -> str:
    """Digest, in 16 hexadecimal digits, of what a trial is: its fields, records, videos, backbone, and the code that
    trains it.

    It is the same on every machine: neither the processor nor the number format in which the features are computed
    enters it, although both change the last digits of a result, which names them (`results.run_facts`). Computing the
    hash draws no annotations, renders no videos, loads no backbone and writes nothing.
    """
    t = trial
    if t.source == "drawn":
        made_of = [drawn_digest(t.dataset, t.train, t.test, t.twin_seed), _features_digest(t)]
    else:
        records, digest = _digested_records(t.dataset, t.source, t.train, t.test, t.twin_seed)
        video_source = trial_video_source(t)
        if is_sequence(records):
            made_of = [digest, sequence_digest(records, video_source.root)]
        else:
            made_of = [digest, _features_digest(t)]
            made_of += [[video_source.stamp(r) for r in records], video_source.skip]
    return fingerprint(FORMAT, asdict(t), made_of, _training_digest(t.method))


def _features_digest(t: Trial) -> str:
    return features_digest(
        t.dataset,
        trial_video_source(t),
        clip_sampling=t.clip_sampling or None,
        device=None,
        backbone=t.backbone,
        stage=STAGE_OF[t.backbone_training],
    )


def _training_digest(method: str) -> str:
    """Digest of the code that draws the labels, trains and predicts.

    For a method that is registered as a function, such as one defined in a notebook, it covers the function's source.
    """
    entry = METHODS[method]
    own = f"methods.{entry.partition(':')[0]}" if isinstance(entry, str) else "methods.base"
    code = code_digest(*TRAINS, own, within=("methods", "sapnet", "training"), without=("methods",))
    return fingerprint(code, "" if isinstance(entry, str) else syntax(textwrap.dedent(inspect.getsource(entry))))
