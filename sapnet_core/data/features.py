"""The feature store: both views of every twin through the backbone, once.

Records are cut into shards; a shard is one file, named by a hash of all that its numbers depend on: records, seed,
size, simulator (settings and source), reading, views, backbone weights. So a file is never recomputed while that holds,
and never read when it does not. A file is whole or absent, checked when read, and a second writer writes the same.
"""

import hashlib
import json
from collections.abc import Callable, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from dataclasses import dataclass
from functools import cache
from multiprocessing import get_context
from pathlib import Path

import torch
from torch import Tensor

from sapnet_core.actors import crop_track, square_track
from sapnet_core.backbone import FoldedI3D, load_shipped, state_digest
from sapnet_core.data.clips import default_reading, sample_frames, step_positions
from sapnet_core.data.records import Record
from sapnet_core.sim import Twin, simulate
from sapnet_core.sim.settings import SimSettings, settings_for
from sapnet_core.storage import read_tensors, write_tensors

__all__ = ["Features", "VIEWS", "crop_size", "features_digest", "simulator_digest", "twin_features"]

FORMAT = 2
SHARD = 32  # videos in a file
BATCH = 16  # videos at once on a GPU
LABELS = 96  # frames to which subaction labels are resampled
VIEWS = ("frame", "actor")
TRUTH = ("subactions", "factors")
# what of a record the video depends on: a new split or another file layout asks for no new video
SEEN = ("dataset", "key", "start", "end", "score", "difficulty", "action", "judges", "transitions", "subactions")


@dataclass(frozen=True)
class Features:
    """Features and ground truth of N videos, joined by key.

    Attributes:
        keys: records' keys, in the order asked for.
        views: "frame" (whole frame, the student's input) and "actor" (crop, the teacher's) -> (N, S, C) float32.
        positions: (S,) time of each step in [0, 1], see `step_positions`.
        subactions: (N, 96) int8, the simulator's subaction of each of 96 frames evenly over the sampled ones.
        factors: (N, F) float32, the simulator's quality factors.
    """

    keys: tuple[str, ...]
    views: dict[str, Tensor]
    positions: Tensor
    subactions: Tensor
    factors: Tensor


@dataclass(frozen=True)
class _Job:
    """One shard to read or to compute."""

    path: Path
    records: tuple[Record, ...]
    seed: int
    size: int
    settings: SimSettings
    reading: str
    views: tuple[str, ...]
    device: str


@cache
def simulator_digest() -> str:
    """Hash of the source that turns a record into frames and crops, so that its change asks for new videos."""
    package = Path(__file__).parent.parent
    names = ("settings", "quality", "dives", "figure", "kinematics", "scene", "render", "__init__")
    files = [package / "sim" / f"{name}.py" for name in names] + [package / "actors.py", package / "data" / "clips.py"]
    return hashlib.sha256(b"\0".join(file.read_bytes() for file in files)).hexdigest()[:16]


@cache
def _backbone(device: str) -> FoldedI3D:
    return load_shipped(device)


def features_digest(
    dataset: str, *, seed: int = 0, size: int = 112, settings: SimSettings | None = None, reading: str | None = None,
    views: Sequence[str] = VIEWS, device: str = "cpu",
) -> str:  # fmt: skip
    """Hash of all that a dataset's features depend on, its records apart (16 hex digits)."""
    settings = settings or settings_for(dataset)
    reading = reading or default_reading(dataset)
    parts = [FORMAT, dataset, seed, size, settings.digest(), reading, list(views), simulator_digest()]
    parts += [torch.device(device).type, _backbone(str(device)).digest]
    return hashlib.sha256(json.dumps(parts).encode()).hexdigest()[:16]


def twin_features(
    records: Sequence[Record], *, seed: int = 0, size: int = 112, settings: SimSettings | None = None,
    reading: str | None = None, views: Sequence[str] = VIEWS, folder: Path, jobs: int = 2, device: str = "cpu",
    progress: Callable[[int, int], None] | None = None,
) -> Features:  # fmt: skip
    """Features of the records' twins: read from `folder` where they lie there, else computed and kept.

    Args:
        records: of one dataset, keys all different.
        seed: of the twins (not of a trial).
        size: height and width of the frames, in pixels; crops have `crop_size(size)`.
        settings: of the simulator; the dataset's calibrated ones if None.
        reading: "9x16", "10x16" or "dense"; the dataset's protocol if None.
        views: any of "frame" and "actor"; each video is rendered once for all of them.
        jobs: worker processes on a CPU; the result is the same for any number. A GPU is used in this process.
        progress: called with (videos done, videos in all) after each shard.

    Raises:
        ValueError: no records, several datasets, a key twice, or an unknown view.
    """
    datasets, keys = {r.dataset for r in records}, [r.key for r in records]
    if len(datasets) != 1 or len(set(keys)) != len(keys):
        raise ValueError(f"{len(records)} records of {sorted(datasets)}: give records of one dataset, each key once")
    if not views or not set(views) <= set(VIEWS):
        raise ValueError(f"views {tuple(views)}: choose among {', '.join(VIEWS)}")
    (dataset,) = datasets
    device = str(device)
    settings, reading = settings or settings_for(dataset), reading or default_reading(dataset)
    same = dict(seed=seed, size=size, settings=settings, reading=reading, views=tuple(views), device=device)
    common = features_digest(dataset, **same)
    ordered = sorted(records, key=lambda record: record.key)
    shards = [tuple(ordered[i : i + SHARD]) for i in range(0, len(ordered), SHARD)]
    todo = [
        _Job(Path(folder) / dataset / f"{_shard_name(common, shard)}.safetensors", shard, **same) for shard in shards
    ]
    found = {job.path: tensors for job in todo if (tensors := _read(job)) is not None}
    done = sum(len(job.records) for job in todo if job.path in found)
    for job in _compute_all([job for job in todo if job.path not in found], jobs):
        found[job.path] = _read(job)
        if found[job.path] is None:
            raise OSError(f"{job.path}: written, but not read back whole: check the disk, then run again")
        done += len(job.records)
        if progress:
            progress(done, len(ordered))

    place = {record.key: i for i, record in enumerate(ordered)}
    order = torch.tensor([place[key] for key in keys])
    joined = {name: torch.cat([found[job.path][name] for job in todo])[order] for name in (*views, *TRUTH)}
    positions = step_positions(reading, len(sample_frames(ordered[0])))
    return Features(tuple(keys), {v: joined[v] for v in views}, positions, joined["subactions"], joined["factors"])


def _shard_name(common: str, records: tuple[Record, ...]) -> str:
    seen = [[getattr(record, name) for name in SEEN] for record in records]
    return hashlib.sha256(json.dumps([common, seen]).encode()).hexdigest()[:24]


def _read(job: _Job) -> dict[str, Tensor] | None:
    """The shard's tensors, or None where the file is absent, torn, or not what its name says."""
    try:
        tensors, metadata = read_tensors(job.path)
    except (FileNotFoundError, ValueError):
        return None
    whole = metadata.get("keys") == [r.key for r in job.records] and metadata.get("digest") == state_digest(tensors)
    return tensors if whole else None


def _compute_all(todo: list[_Job], jobs: int):
    """Compute shards and yield each when its file is written."""
    if jobs > 1 and len(todo) > 1 and torch.device(todo[0].device).type == "cpu":
        with ProcessPoolExecutor(min(jobs, len(todo)), get_context("spawn"), torch.set_num_threads, (1,)) as pool:
            for future in as_completed(pool.submit(_compute, job) for job in todo):
                yield future.result()
        return
    threads = torch.get_num_threads()
    torch.set_num_threads(1)  # as in a worker: the same bits for any number of jobs
    try:
        for job in todo:
            yield _compute(job)
    finally:
        torch.set_num_threads(threads)


def crop_size(size: int) -> int:
    """Edge of the actor crop beside frames of that edge, in pixels: about the detail that the frame has, no more."""
    return size * 4 // 7


def _view(twin: Twin, view: str, size: int) -> Tensor:
    return twin.video if view == "frame" else crop_track(twin.video, square_track(twin.boxes), crop_size(size))


def _compute(job: _Job) -> _Job:
    """Render a shard's videos, take features of every view, and write the file."""
    net = _backbone(job.device)
    out: dict[str, list[Tensor]] = {name: [] for name in (*job.views, *TRUTH)}
    batch = BATCH if net.device.type == "cuda" else 1
    for first in range(0, len(job.records), batch):
        twins = [
            simulate(record, seed=job.seed, size=job.size, settings=job.settings, device=job.device)
            for record in job.records[first : first + batch]
        ]
        for view in job.views:
            videos = torch.stack([_view(twin, view, job.size) for twin in twins])  # (B, T, 3, H, W)
            out[view].append(net.features(videos, job.reading).cpu())  # (B, S, C)
        labels = torch.stack([t.subactions for t in twins]).cpu()  # (B, T)
        index = torch.linspace(0, labels.shape[1] - 1, LABELS).round().long()
        out["subactions"].append(labels[:, index].to(torch.int8))
        out["factors"].append(torch.stack([t.factors for t in twins]).float().cpu())
    tensors = {name: torch.cat(parts) for name, parts in out.items()}
    write_tensors(job.path, tensors, {"keys": [r.key for r in job.records], "digest": state_digest(tensors)})
    return job
