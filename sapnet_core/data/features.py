"""The feature store: the views of every video through a backbone, once.

Records are cut into shards; a shard is one file, named by a hash of all that its numbers depend on: records, footage
(seed, size and simulator of twins; files on disk), reading, views, backbone weights. So a file is never recomputed
while that holds, and never read when it does not. A file is whole or absent, checked when read, and a second writer
writes the same. What several passes want of one video is taken when it is made or read, once.
"""

import hashlib
import json
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor, ThreadPoolExecutor, as_completed
from dataclasses import dataclass, field
from functools import cache
from itertools import islice
from multiprocessing import get_context
from pathlib import Path

import torch
from torch import Tensor

from sapnet_core import c3d, paths
from sapnet_core.actors import crop_track, square_track
from sapnet_core.backbone import load_shipped, state_digest
from sapnet_core.clipwise import Clipwise
from sapnet_core.data.augment import photometric
from sapnet_core.data.clips import SAMPLED, default_reading, step_positions, steps_per_clip
from sapnet_core.data.footage import Clip, DiskFootage, TwinFootage, seen_by_student
from sapnet_core.data.records import Record
from sapnet_core.kinetics import load_kinetics
from sapnet_core.sim.quality import seed_of
from sapnet_core.sim.settings import SimSettings
from sapnet_core.storage import read_tensors, write_tensors
from sapnet_core.threads import torch_threads

__all__ = ["BACKBONES", "Features", "Pass", "VIEWS", "crop_size", "features_digest", "prepare_features",
           "twin_features", "video_features"]  # fmt: skip

FORMAT = 3
SHARD = 32  # videos in a file
BATCH = 16  # videos at once on a GPU
LABELS = 96  # frames to which subaction labels are resampled
VIEWS = ("frame", "actor")  # what student and teacher see
OTHER_VIEWS = ("photometric",)
TRUTH = ("subactions", "factors")
# what of a record the video depends on: a new split or another file layout asks for no new video
SEEN = ("dataset", "key", "start", "end", "score", "difficulty", "action", "judges", "transitions", "subactions",
        "group", "marks", "elements", "rate")  # fmt: skip
Footage = TwinFootage | DiskFootage


@dataclass(frozen=True)
class Features:
    """Features and ground truth of N videos, joined by key.

    Attributes:
        keys: records' keys, in the order asked for; of those that could be read.
        views: "frame" (whole frame, the student's input), "actor" (crop, the teacher's) and "photometric" (whole frame
            in other colors and light) -> (N, S, C) float32, those that were asked for.
        positions: (S,) time of each step in [0, 1], see `step_positions`.
        subactions: (N, 96) int8, the subaction of each of 96 frames evenly over the sampled ones.
        factors: (N, F) float32, the simulator's quality factors; F = 0 for videos from disk.
        period: steps that stand for one clip: 2, where the halves of a clip differ, or 1.
        skipped: key -> why the video was left out.
    """

    keys: tuple[str, ...]
    views: dict[str, Tensor]
    positions: Tensor
    subactions: Tensor
    factors: Tensor
    period: int = 2
    skipped: dict[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Pass:
    """What is taken of videos; fields as the arguments of `video_features`.

    Raises:
        ValueError: no records, several datasets, a key twice, or an unknown view.
    """

    records: tuple[Record, ...]
    footage: Footage
    reading: str | None = None
    views: tuple[str, ...] = VIEWS
    backbone: str = "i3d"

    def __post_init__(self):
        datasets, keys = {r.dataset for r in self.records}, {r.key for r in self.records}
        if len(datasets) != 1 or len(keys) != len(self.records):
            many = f"{len(self.records)} records of {sorted(datasets)}"
            raise ValueError(f"{many}: give records of one dataset, each key once")
        if not self.views or not set(self.views) <= {*VIEWS, *OTHER_VIEWS}:
            raise ValueError(f"views {self.views}: choose among {', '.join((*VIEWS, *OTHER_VIEWS))}")
        object.__setattr__(self, "reading", self.reading or default_reading(self.records[0].dataset))


@dataclass(frozen=True)
class _Job:
    """One shard of a pass, to read or to compute. Jobs of equal `videos` want the same videos."""

    path: Path
    records: tuple[Record, ...]
    of: Pass
    device: str
    videos: str


def _i3d(path: Path | None, device: str) -> Clipwise:
    return load_kinetics(path).to(device).folded() if path else load_shipped(device)


def _c3d(path: Path | None, device: str) -> Clipwise:
    return c3d.FrozenC3D(c3d.load_c3d(path or c3d.SHIPPED).to(device))


def _swin(path: Path | None, device: str) -> Clipwise:
    from sapnet_core import video_swin  # torchvision's models take a second to import

    return video_swin.FrozenSwin(video_swin.load_swin(path or video_swin.SHIPPED).to(device))


# name -> the file that the user gives, and what makes a backbone ready for features of that file or, of None, of the
# one in the package
BACKBONES: dict[str, tuple[Callable[[], Path | None], Callable[[Path | None, str], Clipwise]]] = {
    "i3d": (paths.i3d, _i3d),
    "c3d": (paths.c3d, _c3d),
    "swin": (paths.swin, _swin),
}


def _backbone(device: str, name: str = "i3d") -> Clipwise:
    if name not in BACKBONES:
        raise ValueError(f"backbone {name!r} is unknown: choose one of {', '.join(BACKBONES)}")
    return _load_backbone(name, BACKBONES[name][0](), device)


@cache
def _load_backbone(name: str, path: Path | None, device: str) -> Clipwise:
    return BACKBONES[name][1](path, device)


def features_digest(
    dataset: str, footage: Footage, *, reading: str | None = None, views: Sequence[str] = VIEWS, device: str = "cpu",
    backbone: str = "i3d",
) -> str:  # fmt: skip
    """Hash of all that a dataset's features depend on, its records and their files apart (16 hex digits)."""
    parts = [FORMAT, dataset, *footage.digest(dataset, device), reading or default_reading(dataset), list(views)]
    parts += [torch.device(device).type, _backbone(str(device), backbone).digest]
    return hashlib.sha256(json.dumps(parts).encode()).hexdigest()[:16]


def twin_features(
    records: Sequence[Record], *, seed: int = 0, size: int = 112, settings: SimSettings | None = None, **rest
) -> Features:
    """Features of the records' twins: `video_features` on `TwinFootage(seed, size, settings)`."""
    return video_features(records, TwinFootage(seed, size, settings), **rest)


def video_features(
    records: Sequence[Record], footage: Footage, *, reading: str | None = None, views: Sequence[str] = VIEWS,
    folder: Path, jobs: int = 2, device: str = "cpu", backbone: str = "i3d",
    progress: Callable[[int, int], None] | None = None,
) -> Features:  # fmt: skip
    """Features of the records' videos: read from `folder` where they lie there, else computed and kept.

    Args:
        records: of one dataset, keys all different.
        footage: where frames and boxes come from. Crops have `crop_size(footage.size)`.
        reading: "9x16", "10x16", "dense" or "segments"; the dataset's protocol if None.
        views: any of `VIEWS` and `OTHER_VIEWS`; each video is made or read once for all of them.
        jobs: worker processes on a CPU; the result is the same for any number. A GPU is used in this process, while
            `jobs` threads decode or simulate the next videos.
        backbone: a name in `BACKBONES`.
        progress: called with (videos done, videos in all) at the start and after each shard, where any is missing.

    Raises:
        ValueError: no records, several datasets, a key twice, or an unknown view or backbone.
        VideoError: a video on disk cannot be read and `footage.skip` is off, or none can.
    """
    one = Pass(tuple(records), footage, reading, tuple(views), backbone)
    found = {job.path: shard for job, shard in _shards([one], folder, jobs, str(device), progress)}
    whole, dataset = [found[path] for path in sorted(found)], records[0].dataset
    place = {key: i for i, key in enumerate(key for _, good, _ in whole for key in good)}
    skipped = {key: reason for _, _, bad in whole for key, reason in bad.items()}
    if not place:
        raise ValueError(f"no video of {dataset} can be read: {next(iter(skipped.values()))}")
    kept = [r.key for r in records if r.key in place]
    order = torch.tensor([place[key] for key in kept])
    joined = {name: torch.cat([tensors[name] for tensors, *_ in whole if tensors])[order]
              for name in (*one.views, *TRUTH)}  # fmt: skip
    return Features(
        tuple(kept), {v: joined[v] for v in views}, step_positions(one.reading, SAMPLED[dataset]), joined["subactions"],
        joined["factors"], steps_per_clip(one.reading), skipped,
    )  # fmt: skip


def prepare_features(
    passes: Sequence[Pass], *, folder: Path, jobs: int = 2, device: str = "cpu",
    progress: Callable[[int, int], None] | None = None,
) -> None:  # fmt: skip
    """Compute what is missing of several passes, so that `video_features` then only reads.

    All of it is shared out at once among the workers, the longest shards first; a video that several passes want is
    made or read once for all of them. Arguments and errors as of `video_features`; a video counts once in each pass.
    """
    for _ in _shards(passes, folder, jobs, str(device), progress):
        pass


def _shards(
    passes: Sequence[Pass], folder: Path, jobs: int, device: str, progress: Callable[[int, int], None] | None
) -> Iterator[tuple[_Job, tuple]]:
    """Every shard of the passes, as `_read` gives it, when it is there."""
    every = {job.path: job for one in passes for job in _cut(one, Path(folder), device)}.values()
    missing, done, of = [], 0, sum(len(job.records) for job in every)
    for job in every:
        if (shard := _read(job)) is None:
            missing.append(job)
        else:
            done += len(job.records)
            yield job, shard
    if progress and missing:
        progress(done, of)
    for group in _compute_all(_grouped(missing), jobs):
        for job in group:
            if (shard := _read(job)) is None:
                raise OSError(f"{job.path}: written, but not read back whole: check the disk, then run again")
            done += len(job.records)
            yield job, shard
        if progress:
            progress(done, of)


def _cut(one: Pass, folder: Path, device: str) -> list[_Job]:
    dataset = one.records[0].dataset
    common = features_digest(dataset, one.footage, reading=one.reading, views=one.views, device=device,
                             backbone=one.backbone)  # fmt: skip
    ordered = sorted(one.records, key=lambda record: record.key)
    jobs = []
    for first in range(0, len(ordered), SHARD):
        shard = tuple(ordered[first : first + SHARD])
        seen = [[getattr(record, name) for name in SEEN] + [one.footage.stamp(record)] for record in shard]
        name, videos = (_hash([what, seen]) for what in (common, repr(one.footage)))
        jobs.append(_Job(folder / dataset / f"{name}.safetensors", shard, one, device, videos))
    return jobs


def _hash(parts: list) -> str:
    return hashlib.sha256(json.dumps(parts, default=repr).encode()).hexdigest()[:24]


def _grouped(jobs: list[_Job]) -> list[list[_Job]]:
    """Jobs that want the same videos together; the groups that take longest first."""
    groups: dict[str, list[_Job]] = {}
    for job in jobs:
        groups.setdefault(job.videos, []).append(job)

    def cost(group: list[_Job]) -> int:
        return SAMPLED[group[0].records[0].dataset] * len(group[0].records) * sum(len(job.of.views) for job in group)

    return sorted(groups.values(), key=cost, reverse=True)


def _read(job: _Job) -> tuple[dict[str, Tensor], list[str], dict[str, str]] | None:
    """The shard's tensors, the keys of their rows and the reasons of those left out; None where the file is absent,
    torn, or not what its name says, or leaves videos out and that is not asked for."""
    try:
        tensors, metadata = read_tensors(job.path)
    except (FileNotFoundError, ValueError):
        return None
    keys, bad = metadata.get("keys", []), metadata.get("skipped", {})
    asked = [r.key for r in job.records]
    whole = keys == [key for key in asked if key not in bad] and set(bad) <= set(asked)
    if not whole or (bad and not job.of.footage.skip) or metadata.get("digest") != state_digest(tensors):
        return None
    return tensors, keys, bad


def _compute_all(todo: list[list[_Job]], jobs: int) -> Iterator[list[_Job]]:
    """Compute groups of shards and yield each when its files are written."""
    cpu = not todo or torch.device(todo[0][0].device).type == "cpu"
    if jobs > 1 and len(todo) > 1 and cpu:
        with ProcessPoolExecutor(min(jobs, len(todo)), get_context("spawn"), torch.set_num_threads, (1,)) as pool:
            for future in as_completed(pool.submit(_compute, group) for group in todo):
                yield future.result()
        return
    with torch_threads(1):  # as in a worker: the same bits for any number of jobs
        yield from map(_compute, todo) if cpu else _compute_ahead(todo, jobs, 2 * BATCH)


def _compute_ahead(todo: list[list[_Job]], jobs: int, ahead: int) -> Iterator[list[_Job]]:
    """As `_compute` one by one, while threads load the next `ahead` videos: so many, and no more, wait in memory."""
    with ThreadPoolExecutor(jobs) as pool:

        def loaded() -> Iterator[Clip | str]:
            waiting = deque()
            for first, *_ in todo:
                for record in first.records:
                    waiting.append(pool.submit(_load, first, record))
                    if len(waiting) > ahead:
                        yield waiting.popleft().result()
            while waiting:
                yield waiting.popleft().result()

        clips = loaded()
        try:
            for group in todo:
                yield _compute(group, clips)
        finally:
            pool.shutdown(cancel_futures=True)


def crop_size(size: int) -> int:
    """Edge of the actor crop beside frames of that edge, in pixels: about the detail that the frame has, no more."""
    return size * 4 // 7


def _views(clip: Clip, record: Record, view: str, size: int) -> Tensor:
    if view == "frame":
        return seen_by_student(clip, size)
    if view == "photometric":
        return photometric(seen_by_student(clip, size), seed_of(record.dataset, f"{record.key}/photometric", 0))
    return crop_track(clip.video, square_track(clip.boxes), crop_size(size))


def _load(job: _Job, record: Record) -> Clip | str:
    """The clip of a record, or why it cannot be read, where that does not stop the run."""
    try:
        return job.of.footage.load(record, job.device)
    except (OSError, ValueError) as error:
        if not job.of.footage.skip:
            raise
        return str(error)


def _features(net: Clipwise, videos: list[Tensor], reading: str) -> Tensor:
    """Features (B, S, C) of videos (T, 3, H, W); those of one shape go together."""
    if len({video.shape for video in videos}) > 1:
        return torch.cat([_features(net, [video], reading) for video in videos])
    steps = net.features(torch.stack(videos), reading).cpu()
    return steps.unflatten(1, (-1, 2)).mean(2) if reading == "segments" else steps  # a segment is one step


def _compute(group: list[_Job], loaded: Iterator[Clip | str] | None = None) -> list[_Job]:
    """Make or read the videos of a group (or take them from `loaded`), take what every job wants, write its file."""
    first, bad, truth = group[0], {}, {name: [] for name in TRUTH}
    nets = [_backbone(job.device, job.of.backbone) for job in group]
    loaded = loaded or (_load(first, record) for record in first.records)
    out: list[dict[str, list[Tensor]]] = [{view: [] for view in job.of.views} for job in group]
    batch, wanted = BATCH if nets[0].device.type == "cuda" else 1, {view for job in group for view in job.of.views}
    for start in range(0, len(first.records), batch):
        some = first.records[start : start + batch]
        given = dict(zip([record.key for record in some], islice(loaded, len(some)), strict=True))
        bad |= {key: clip for key, clip in given.items() if isinstance(clip, str)}
        clips = [clip for clip in given.values() if not isinstance(clip, str)]
        if not clips:
            continue
        kept = [record for record in some if record.key not in bad]
        for view in (*VIEWS, *OTHER_VIEWS):
            if view not in wanted:
                continue
            videos = [_views(*one, view, first.of.footage.size) for one in zip(clips, kept, strict=True)]
            for job, net, own in zip(group, nets, out, strict=True):
                if view in own:
                    own[view].append(_features(net, videos, job.of.reading))
        labels = torch.stack([clip.subactions for clip in clips]).cpu()  # (B, T)
        index = torch.linspace(0, labels.shape[1] - 1, LABELS).round().long()
        truth["subactions"].append(labels[:, index].to(torch.int8))
        truth["factors"].append(torch.stack([clip.factors for clip in clips]).float().cpu())
    keys = [r.key for r in first.records if r.key not in bad]
    for job, own in zip(group, out, strict=True):
        tensors = {name: torch.cat(parts) for name, parts in (own | truth).items() if parts}
        write_tensors(job.path, tensors, {"keys": keys, "skipped": bad, "digest": state_digest(tensors)})
    return group
