"""The feature store: backbone features of every view of every video, computed once and kept on disk.

Records are split into shards, one file each. The name of a file is its cache key, a hash of everything on which its
values depend: records, the video source (seed, size and simulator of twins; files on disk), clip sampling, views, and
backbone weights. A file is therefore reused as long as these are the same, and only then. Writes are atomic, and
concurrent writers write the same content. Each file is verified when it is read: a damaged one is reported on standard
error and computed again, by `features.extraction`.
"""

import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass, field, replace
from pathlib import Path

import torch
from torch import Tensor

from sapnet_core.backbones import registry
from sapnet_core.datasets.clips import SAMPLED, default_sampling, step_positions, steps_per_clip
from sapnet_core.datasets.records import Record
from sapnet_core.features import extraction
from sapnet_core.features.extraction import TRUTH, FeatureRequest, Job, VideoSource
from sapnet_core.features.video_source import TwinSource
from sapnet_core.features.views import VIEWS
from sapnet_core.runtime.disk import discard, must_be_writable, tidy
from sapnet_core.runtime.fingerprint import code_digest, fingerprint
from sapnet_core.runtime.progress import relayed
from sapnet_core.runtime.sealed import Damaged, Unsealed, read_sealed
from sapnet_core.simulator.settings import SimSettings

__all__ = ["Features", "features_digest", "prepare_features", "twin_features", "video_features"]

FORMAT = 3  # version of the shard files, part of the cache key
SHARD = 32  # videos per file
# modules that turn frames into features, and those that bring frames to them and put stored features together
COMPUTES = ("features.extraction", "features.photometric", "features.rotated", "features.views")
READS = ("features.store", "features.video_source")
# the fields of a record on which its features depend, and so part of the cache key; event and split have no influence,
# and the file at the record's path is identified by the `stamp` of the video source
SEEN = (
    "dataset",
    "key",
    "start",
    "end",
    "score",
    "difficulty",
    "action",
    "judges",
    "transitions",
    "subactions",
    "group",
    "sub_scores",
    "elements",
    "rate",
)


@dataclass(frozen=True, eq=False)  # compared by identity, so that they are hashable
class Features:
    """Features and ground truth of N videos, joined by key.

    Attributes:
        keys: keys of the records that could be read, in the order of the request.
        views: maps each requested view, "frame" (whole frame, the student's input), "actor" (crop, the teacher's),
            "photometric" (whole frame in other colors and lighting) or one of `rotated.ROTATED` (whole frame, turned),
            to (N, S, C) float32; at another stage to maps (N, clips, C', T', h, w) or uint8 pixels (N, T, 3, H, W).
        positions: (S,) time of each step in [0, 1], see `step_positions`.
        subactions: (N, 96) int8, the subaction at 96 evenly spaced times over the sampled frames.
        factors: (N, F) float32, the simulator's quality factors; F = 0 for videos from disk.
        period: feature steps per clip, 2 or 1.
        skipped: maps the key of each video that was left out to the reason.
    """

    keys: tuple[str, ...]
    views: dict[str, Tensor]
    positions: Tensor
    subactions: Tensor
    factors: Tensor
    period: int = 2
    skipped: dict[str, str] = field(default_factory=dict)


def features_digest(
    dataset: str,
    video_source: VideoSource,
    *,
    clip_sampling: str | None = None,
    views: Sequence[str] = VIEWS,
    device: str | None = "cpu",
    backbone: str = "i3d",
    stage: str = "features",
) -> str:
    """Hash of everything but records and files that a dataset's features depend on (16 hex digits).

    It covers the kind of `device` and the number format in which that computes here. With `device` None it names the
    features alone, whichever processor computes them, and is the same on every machine.
    """
    return fingerprint(
        FORMAT,
        dataset,
        video_source.digest(dataset),
        clip_sampling or default_sampling(dataset),
        list(views),
        stage,
        device and torch.device(device).type,
        registry.backbone_digest(backbone, device),
        code_digest(*COMPUTES, joined=READS),
    )


def twin_features(
    records: Sequence[Record], *, seed: int = 0, size: int = 112, settings: SimSettings | None = None, **rest
) -> Features:
    """Features of the records' twins: `video_features` on `TwinSource(seed, size, settings)`."""
    return video_features(records, TwinSource(seed, size, settings), **rest)


def video_features(
    records: Sequence[Record],
    video_source: VideoSource,
    *,
    clip_sampling: str | None = None,
    views: Sequence[str] = VIEWS,
    folder: Path,
    jobs: int = 2,
    device: str = "cpu",
    backbone: str = "i3d",
    stage: str = "features",
    progress: Callable[[int, int], None] | None = None,
) -> Features:
    """Features of the records' videos: read from `folder` where they are there, else computed and stored.

    Args:
        records: records of one dataset with distinct keys.
        video_source: where frames and boxes come from. Crops have `crop_size(video_source.size)` pixels.
        clip_sampling: clip sampling, "9x16", "10x16", "dense" or "segments"; the dataset's protocol if None.
        views: any of `VIEWS` and `OTHER_VIEWS`; each video is simulated or read once for all of them.
        jobs: worker processes on a CPU; the result is the same for any number. A GPU is used by this process, while
            `jobs` threads decode or simulate the next videos.
        backbone: a name in `BACKBONES`.
        stage: a name in `extraction.STAGES`: what is stored of each view; "maps" needs I3D.
        progress: called with (videos done, videos in total) at the start and after each shard, where any is missing.

    Raises:
        ValueError: there are no records, or records of several datasets; a key occurs twice; a view, the backbone or
            the stage is unknown; or none of the videos can be read.
        VideoError: a video on disk cannot be read, and `video_source.skip` is off.
        OSError: `folder` cannot be written, or a file in it cannot be read; one line says which, and what to do.
        RuntimeError: a worker process was killed.
    """
    one = FeatureRequest(tuple(records), video_source, clip_sampling, tuple(views), backbone, stage)
    found = {job.path: shard for job, shard in _shards([one], folder, jobs, str(device), progress)}
    whole, dataset = [found[path] for path in sorted(found)], records[0].dataset
    place = {key: i for i, key in enumerate(key for _, good, _ in whole for key in good)}
    skipped = {key: reason for _, _, bad in whole for key, reason in bad.items()}
    if not place:
        raise ValueError(f"no video of {dataset} can be read: {next(iter(skipped.values()))}")
    kept = [r.key for r in records if r.key in place]
    order = torch.tensor([place[key] for key in kept])
    joined = {
        name: torch.cat([tensors[name] for tensors, *_ in whole if tensors])[order] for name in (*one.views, *TRUTH)
    }
    return Features(
        tuple(kept),
        {v: joined[v] for v in views},
        step_positions(one.clip_sampling, SAMPLED[dataset]),
        joined["subactions"],
        joined["factors"],
        steps_per_clip(one.clip_sampling),
        skipped,
    )


def prepare_features(
    passes: Sequence[FeatureRequest],
    *,
    folder: Path,
    jobs: int = 2,
    device: str = "cpu",
    progress: Callable[[int, int], None] | None = None,
) -> None:
    """Compute the missing features of several requests, so that `video_features` only reads afterwards.

    Arguments and errors are those of `video_features`; `progress` counts a video once per request.
    """
    for _ in _shards(passes, folder, jobs, str(device), progress):
        pass


def _shards(
    passes: Sequence[FeatureRequest], folder: Path, jobs: int, device: str, progress: Callable[[int, int], None] | None
) -> Iterator[tuple[Job, tuple]]:
    """Yield every shard of the requests with its content (see `_read`) as soon as it is available."""
    progress = relayed("features", "videos", progress)
    every = {job.path: job for one in passes for job in _cut(one, Path(folder), device)}.values()
    missing, done, of = [], 0, sum(len(job.of.records) for job in every)
    unsealed = 0
    for job in every:
        try:
            shard = _read(job)
        except Damaged as error:
            unsealed += (old := isinstance(error, Unsealed))
            if not old:
                print(f"{error}: it is computed again", file=sys.stderr, flush=True)
            discard(job.path)
            shard = None
        if shard is None:
            missing.append(job)
        else:
            done += len(job.of.records)
            yield job, shard
    if unsealed:
        print(
            f"{folder}: {unsealed} files of earlier versions have no seal: computed again", file=sys.stderr, flush=True
        )
    for place in {job.path.parent for job in missing}:
        must_be_writable(place)
        tidy(place)
    if progress and missing:
        progress(done, of)
    with closing(extraction.compute_all(missing, jobs)) as groups:
        for group in groups:
            for job in group:
                done += len(job.of.records)
                yield job, _read_back(job)
            if progress:
                progress(done, of)


def _cut(one: FeatureRequest, folder: Path, device: str) -> list[Job]:
    dataset = one.records[0].dataset
    common = features_digest(
        dataset,
        one.video_source,
        clip_sampling=one.clip_sampling,
        views=one.views,
        device=device,
        backbone=one.backbone,
        stage=one.stage,
    )
    ordered = sorted(one.records, key=lambda record: record.key)
    jobs = []
    for first in range(0, len(ordered), SHARD):
        part = replace(one, records=tuple(ordered[first : first + SHARD]))
        seen = [[getattr(record, name) for name in SEEN] + [one.video_source.stamp(record)] for record in part.records]
        name, videos = (fingerprint(what, repr(seen), digits=24) for what in (common, repr(one.video_source)))
        jobs.append(Job(folder / dataset / f"{name}.safetensors", part, device, videos))
    return jobs


def _read(job: Job) -> tuple[dict[str, Tensor], list[str], dict[str, str]] | None:
    """The shard's tensors, the keys of their rows, and key -> reason of videos left out. None where the file is absent,
    or leaves videos out although `video_source.skip` is off. Raises as `read_sealed`."""
    try:
        tensors, metadata = read_sealed(job.path)
    except FileNotFoundError:
        return None
    left_out = metadata["skipped"] and not job.of.video_source.skip
    return None if left_out else (tensors, metadata["keys"], metadata["skipped"])


def _read_back(job: Job) -> tuple[dict[str, Tensor], list[str], dict[str, str]]:
    """The content of a shard that was just written. Raises OSError where it cannot be read back."""
    try:
        if shard := _read(job):
            return shard
    except Damaged:
        pass
    raise OSError(f"{job.path}: was written, but cannot be read back completely: check the disk, then run again")
