"""Where the frames of a record come from: its simulated twin, or the video on disk.

Both sources give a `SampledVideo`: the sampled frames of a video, the actor's box in each, and subaction labels where
they are known. Crops and features are computed from it in the same way for every source.
"""

from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path
from typing import NamedTuple

import torch
from torch import Tensor

from sapnet_core.datasets.clips import SEGMENTS, sample_frames
from sapnet_core.datasets.disk_layout import checked_path, probe_record, read_record
from sapnet_core.datasets.records import Record
from sapnet_core.datasets.video import VideoError
from sapnet_core.detection.crops import resize_video
from sapnet_core.runtime import environment
from sapnet_core.runtime.fingerprint import code_digest, fingerprint
from sapnet_core.simulator import simulate, sport_name
from sapnet_core.simulator.settings import SimSettings, settings_for

__all__ = ["BOXES", "SampledVideo", "DiskSource", "TwinSource", "seen_by_student", "simulator_digest"]

BOXES = ("true", "detected", "whole")
EVERY = 4  # every fourth frame is searched for people; boxes between are interpolated
SIDE = 256  # pixels of the shorter side at which videos on disk are decoded; crops are taken from these frames
# modules whose code determines the frames of twins (SHARED) and of videos on disk (SHARED and DECODED)
SHARED = ("datasets.clips", "datasets.dive_numbers", "detection.crops", "runtime.seeds")
DECODED = ("datasets.disk_layout", "datasets.video", "datasets.decoding", "features.video_source")


class SampledVideo(NamedTuple):
    """The sampled frames of one video: `video` (T, 3, H, W) uint8, the actor's `boxes` (T, 4) xyxy in its pixels,
    `subactions` (T,) int64 and the simulator's quality `factors` (F,), F = 0 for videos from disk."""

    video: Tensor
    boxes: Tensor
    subactions: Tensor
    factors: Tensor


def simulator_digest(dataset: str) -> str:
    """Hash of the program that turns a dataset's records into frames and crops, for the cache key of features.

    Raises:
        ValueError: the dataset has no twins.
    """
    modules = ("simulator", "simulator.render", f"simulator.{sport_name(dataset)}")
    return code_digest(*modules, *SHARED, within=("simulator",))


def _detector_digest() -> str:
    from sapnet_core.detection.detector import detector_digest

    return detector_digest(environment.detector())


@cache
def _detector(device: str):
    from sapnet_core.detection.detector import load_detector

    return load_detector(environment.detector() or "shipped", device=device)


def _whole(video: Tensor) -> Tensor:
    """Boxes (T, 4) that cover the whole frames of (T, 3, H, W)."""
    height, width = video.shape[2:]
    return torch.tensor([0.0, 0, width, height]).expand(len(video), 4)


def _boxes(video: Tensor, kind: str, device: str) -> Tensor:
    from sapnet_core.detection.tracking import actor_boxes

    return actor_boxes(video, _detector(device), every=EVERY)[0] if kind == "detected" else _whole(video)


@dataclass(frozen=True)
class TwinSource:
    """Simulated twins as the source of frames.

    Attributes:
        seed: seed of the twins (a trial has its own).
        size: height and width of the frames, in pixels.
        settings: settings of the simulator; the dataset's calibrated ones if None.
        boxes: "true" (from the simulator), "detected", or "whole" (the whole frame, no crop).
    """

    seed: int = 0
    size: int = 112
    settings: SimSettings | None = None
    boxes: str = "true"
    skip = False

    def digest(self, dataset: str) -> list:
        """Everything but the records that frames and boxes of a dataset depend on, for the cache key of features."""
        settings = (self.settings or settings_for(dataset)).digest()
        found = [_detector_digest(), EVERY] if self.boxes == "detected" else []
        return ["twin", self.seed, self.size, settings, self.boxes, simulator_digest(dataset), *found]

    def stamp(self, record: Record) -> str:
        """State of the record's files on disk: empty, since a twin has none."""
        return ""

    def load(self, record: Record, device: str = "cpu") -> SampledVideo:
        """The twin of a record."""
        twin = simulate(record, seed=self.seed, size=self.size, settings=self.settings, device=device)
        boxes = twin.boxes if self.boxes == "true" else _boxes(twin.video, self.boxes, device)
        return SampledVideo(twin.video, boxes, twin.subactions, twin.factors)


@dataclass(frozen=True)
class DiskSource:
    """Videos on disk as the source of frames, in a dataset's official layout or in the user's own folder.

    Attributes:
        root: the folder that holds the dataset's folder, or, for own videos, to which paths of records are relative.
        size: the shorter side of a network's input frames, in pixels; their aspect ratio is kept.
        boxes: "detected" or "whole".
        skip: leave out a video that cannot be read, instead of raising.
    """

    root: Path
    size: int = 112
    boxes: str = "detected"
    skip: bool = False

    def digest(self, dataset: str) -> list:
        """Everything but records and files that frames and boxes depend on, for the cache key of features."""
        found = _detector_digest() if self.boxes == "detected" else ""
        return ["disk", self.size, self.boxes, found, code_digest(*DECODED, *SHARED)]

    def stamp(self, record: Record) -> str:
        """Identifies the current state of a record's file or frame folder on disk; "" where it cannot be read."""
        try:
            return _stamp(checked_path(self.root, record))
        except (VideoError, OSError):
            return ""

    def load(self, record: Record, device: str = "cpu") -> SampledVideo:
        """The sampled frames of a record's video, decoded at `SIDE` pixels or less on the shorter side.

        Raises:
            VideoError: the file is missing, damaged, outside of the data folder, or has fewer frames than the record
                states.
        """
        offsets = sample_frames(record)
        if record.dataset in SEGMENTS:  # their annotations give seconds; the video gives the frame rate
            info = probe_record(self.root, record)
            pace = info.rate / record.rate
            routine = replace(record, end=record.start + max(round(info.frames / pace), 1))
            offsets = (sample_frames(routine) * pace).round().long().clamp(max=info.frames - 1)
        read = offsets.clamp(min=-record.start)  # frames before the start of the video repeat its first frame
        video = read_record(self.root, record, read, size=SIDE)
        boxes = _boxes(video, self.boxes, device)
        subactions = torch.searchsorted(torch.tensor(record.transitions, dtype=torch.int64), offsets, right=True)
        return SampledVideo(video.to(device), boxes, subactions, torch.empty(0))


@cache
def _stamp(path: Path) -> str:
    """Hash of names, sizes and modification times of a file, or of the files in a folder."""
    files = sorted(path.iterdir()) if path.is_dir() else [path]
    states = [file.stat() if file.exists() else file.lstat() for file in files]  # lstat for a dangling link
    stats = [(file.name, state.st_size, state.st_mtime_ns) for file, state in zip(files, states, strict=True)]
    return fingerprint(stats)


def seen_by_student(clip: SampledVideo, size: int) -> Tensor:
    """The whole frames (T, 3, h, w) uint8 with the shorter side at `size` pixels; the aspect ratio is kept."""
    height, width = clip.video.shape[2:]
    if min(height, width) == size:
        return clip.video
    factor = size / min(height, width)
    return resize_video(clip.video, (round(height * factor), round(width * factor)))
