"""Feature extraction: videos are simulated or read, turned into the views of the branches, and run through backbones.

All missing shards are distributed over worker processes, the most expensive first (on a GPU, one process computes while
threads load the next videos). A video that several requests need is simulated or read once for all of them.
"""

from collections import deque
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor, as_completed
from concurrent.futures.process import BrokenProcessPool
from dataclasses import dataclass
from itertools import islice
from pathlib import Path

import torch
from torch import Tensor

from sapnet_core.backbones import registry
from sapnet_core.backbones.frozen import Clipwise
from sapnet_core.datasets.clips import SAMPLED, default_sampling
from sapnet_core.datasets.records import Record
from sapnet_core.features.video_source import DiskSource, SampledVideo, TwinSource
from sapnet_core.features.views import OTHER_VIEWS, VIEWS, view_of
from sapnet_core.runtime.devices import torch_threads
from sapnet_core.runtime.sealed import write_sealed
from sapnet_core.runtime.values import choice
from sapnet_core.runtime.workers import LOST, WorkerPool

__all__ = ["STAGES", "VideoSource", "Job", "LABELS", "FeatureRequest", "TRUTH", "compute_all"]

BATCH = 16  # videos per batch on a GPU
LABELS = 96  # frames to which subaction labels are resampled
TRUTH = ("subactions", "factors")
# what is stored of a view: the backbone's features; the maps from which I3D's last two blocks go on; or the pixels
STAGES = ("features", "maps", "pixels")
VideoSource = TwinSource | DiskSource


@dataclass(frozen=True)
class FeatureRequest:
    """A request for features of videos; its fields are arguments of `store.video_features`.

    Raises:
        ValueError: there are no records, or records of several datasets; a key occurs twice; or a view or the stage is
            unknown.
    """

    records: tuple[Record, ...]
    video_source: VideoSource
    clip_sampling: str | None = None
    views: tuple[str, ...] = VIEWS
    backbone: str = "i3d"
    stage: str = "features"

    def __post_init__(self):
        datasets, keys = {r.dataset for r in self.records}, {r.key for r in self.records}
        if len(datasets) != 1 or len(keys) != len(self.records):
            many = f"{len(self.records)} records of {sorted(datasets)}"
            raise ValueError(f"{many}: give records of one dataset, each key once")
        if not self.views or not set(self.views) <= {*VIEWS, *OTHER_VIEWS}:
            raise ValueError(f"views {self.views}: choose among {', '.join((*VIEWS, *OTHER_VIEWS))}")
        choice("stage", self.stage, STAGES)
        object.__setattr__(self, "clip_sampling", self.clip_sampling or default_sampling(self.records[0].dataset))


@dataclass(frozen=True)
class Job:
    """One shard file to read or to compute, and the request for its features. Jobs with equal `videos` need the same
    videos."""

    path: Path
    of: FeatureRequest
    device: str
    videos: str


def compute_all(missing: list[Job], jobs: int) -> Iterator[list[Job]]:
    """Compute shards, grouped by the videos that they need, and yield each group when its files are written.

    Args:
        missing: shards, all for one device.
        jobs: number of processes on a CPU; on a GPU, number of threads that load videos for this process.

    Raises:
        RuntimeError: a process was killed.
    """
    todo = _grouped(missing)
    cpu = not todo or torch.device(todo[0][0].device).type == "cpu"
    if jobs > 1 and len(todo) > 1 and cpu:
        try:
            with WorkerPool(min(jobs, len(todo)), 1) as pool:
                for future in as_completed([pool.submit(_compute, group) for group in todo]):
                    yield future.result()
        except BrokenProcessPool as error:
            raise RuntimeError(f"a worker process that computed features was killed: {LOST}") from error
        return
    with torch_threads(1):  # as in a worker: the same bits for any number of jobs
        yield from map(_compute, todo) if cpu else _compute_ahead(todo, jobs, 2 * BATCH)


def _compute_ahead(todo: list[list[Job]], jobs: int, ahead: int) -> Iterator[list[Job]]:
    """`_compute` each group in turn, while threads load ahead; at most `ahead` loaded videos wait in memory."""
    with ThreadPoolExecutor(jobs) as pool:

        def loaded() -> Iterator[SampledVideo | str]:
            waiting = deque()
            for first, *_ in todo:
                for record in first.of.records:
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


def _grouped(jobs: list[Job]) -> list[list[Job]]:
    """Group jobs that need the same videos; the groups with the most computation come first."""
    groups: dict[str, list[Job]] = {}
    for job in jobs:
        groups.setdefault(job.videos, []).append(job)

    def cost(group: list[Job]) -> int:
        records = group[0].of.records
        return SAMPLED[records[0].dataset] * len(records) * sum(len(job.of.views) for job in group)

    return sorted(groups.values(), key=cost, reverse=True)


def _load(job: Job, record: Record) -> SampledVideo | str:
    """The sampled video of a record, or the reason why it cannot be read, where unreadable videos are skipped."""
    try:
        return job.of.video_source.load(record, job.device)
    except (OSError, ValueError) as error:
        if not job.of.video_source.skip:
            raise
        return str(error)


def _stored(net: Clipwise, videos: list[Tensor], one: FeatureRequest) -> Tensor:
    """What is stored of videos (T, 3, H, W), as one batch where all have the same shape: features (B, S, C), maps
    (B, clips, C', T', h, w) or pixels (B, T, 3, H, W), by the request's stage."""
    if len({video.shape for video in videos}) > 1:
        return torch.cat([_stored(net, [video], one) for video in videos])
    batch = torch.stack(videos)
    if one.stage == "pixels":
        return batch.cpu()
    if one.stage == "maps":
        return net.trunk_maps(batch, one.clip_sampling).cpu()
    steps = net.features(batch, one.clip_sampling).cpu()
    return steps.unflatten(1, (-1, 2)).mean(2) if one.clip_sampling == "segments" else steps  # one step per segment


def _compute(group: list[Job], loaded: Iterator[SampledVideo | str] | None = None) -> list[Job]:
    """Load the videos of a group (or take them from `loaded`), compute the features of every job, write its shard."""
    first, bad, truth = group[0], {}, {name: [] for name in TRUTH}
    nets = [registry.load_backbone(job.of.backbone, job.device) for job in group]
    loaded = loaded or (_load(first, record) for record in first.of.records)
    out: list[dict[str, list[Tensor]]] = [{view: [] for view in job.of.views} for job in group]
    batch, wanted = BATCH if nets[0].device.type == "cuda" else 1, {view for job in group for view in job.of.views}
    for start in range(0, len(first.of.records), batch):
        some = first.of.records[start : start + batch]
        given = dict(zip([record.key for record in some], islice(loaded, len(some)), strict=True))
        bad |= {key: clip for key, clip in given.items() if isinstance(clip, str)}
        clips = [clip for clip in given.values() if not isinstance(clip, str)]
        if not clips:
            continue
        kept = [record for record in some if record.key not in bad]
        for view in (*VIEWS, *OTHER_VIEWS):
            if view not in wanted:
                continue
            videos = [view_of(*one, view, first.of.video_source.size) for one in zip(clips, kept, strict=True)]
            for job, net, own in zip(group, nets, out, strict=True):
                if view in own:
                    own[view].append(_stored(net, videos, job.of))
        labels = torch.stack([clip.subactions for clip in clips]).cpu()  # (B, T)
        index = torch.linspace(0, labels.shape[1] - 1, LABELS).round().long()
        truth["subactions"].append(labels[:, index].to(torch.int8))
        truth["factors"].append(torch.stack([clip.factors for clip in clips]).float().cpu())
    keys = [r.key for r in first.of.records if r.key not in bad]
    for job, own in zip(group, out, strict=True):
        tensors = {name: torch.cat(parts) for name, parts in (own | truth).items() if parts}
        write_sealed(job.path, tensors, {"keys": keys, "skipped": bad})
    return group
