"""Which frames of a video a network sees, and when in the video each of its feature steps lies.

Protocols: FineDiving takes 96 frames evenly over the dive; MTL-AQA takes the last 103 before its end (the paper says
"103 clips", erratum E12). Three readings of how I3D walks over them (E1): "9x16", nine overlapping clips of 16 frames;
"10x16", ten, as 103 frames allow; "dense", one fully convolutional pass. I3D halves time three times, so a feature step
stands for 8 frames: two steps a clip, or one for every 8 frames.

Routines last minutes. They are read as a sequence of segments that starts evenly over the video ("segments"): 16 frames
each, some frames apart, and one feature step a segment. The paper is silent here; published readings of Rhythmic
Gymnastics take 26 (ACTION-NET) or 68 clips (GDLT).
"""

import torch
from torch import Tensor

from sapnet_core.datasets.records import Record

__all__ = [
    "READINGS",
    "SAMPLED",
    "SEGMENTS",
    "default_reading",
    "sample_frames",
    "clip_starts",
    "steps_per_clip",
    "step_positions",
]

READINGS = ("9x16", "10x16", "dense", "segments")
CLIP = 16  # frames in a clip
STEP = 8  # frames in a feature step
SEGMENTS = {"rg": (26, 5), "finefs": (32, 6)}  # how many segments, and frames from one of their frames to the next
SAMPLED = {"finediving": 96, "mtl-aqa": 103, "folder": 96, **{name: n * CLIP for name, (n, _) in SEGMENTS.items()}}


def default_reading(dataset: str) -> str:
    """The reading of a dataset's protocol. Raises ValueError for an unknown dataset."""
    if dataset not in SAMPLED:
        raise ValueError(f"dataset {dataset!r} is unknown: choose one of {', '.join(SAMPLED)}")
    return "segments" if dataset in SEGMENTS else "10x16" if dataset == "mtl-aqa" else "9x16"


def sample_frames(record: Record) -> Tensor:
    """Frames to read, (T,) int64, counted from `record.start`.

    FineDiving and own videos: 96 evenly over [0, frames), first and last included (repeated where a video is shorter).
    MTL-AQA: the last 103 before the end; they may be negative, since the source video goes on before the dive. Rhythmic
    Gymnastics and FineFS: segments of 16 frames one after another; where a video is too short they close up.
    """
    count = SAMPLED[record.dataset]
    if record.dataset in SEGMENTS:
        segments, stride = SEGMENTS[record.dataset]
        stride = max(1, min(stride, (record.frames - 1) // (CLIP - 1)))
        free = max(record.frames - 1 - stride * (CLIP - 1), 0)  # where the last segment may start at most
        starts = torch.arange(segments) * free // (segments - 1)
        return (starts[:, None] + stride * torch.arange(CLIP)).flatten().clamp(max=record.frames - 1)
    if record.dataset == "mtl-aqa":
        return torch.arange(record.frames - count, record.frames)
    # the nearest frame to i (frames - 1) / (count - 1), in whole numbers so that every machine picks the same
    return (torch.arange(count) * (record.frames - 1) * 2 + count - 1) // (2 * (count - 1))


def clip_starts(reading: str, frames: int) -> Tensor:
    """First frames of the clips, (clips,) int64.

    "9x16": 0, 10, ... 80. "10x16": the same and one at `frames - 17`, which is 86 of 103 in the cited protocol (the
    last frame is left out). "dense": 0 alone, the whole is one clip. "segments": 0, 16, 32, ...

    Raises:
        ValueError: unknown reading, or too few frames for it.
    """
    if reading not in READINGS:
        raise ValueError(f"reading {reading!r} is unknown: choose one of {', '.join(READINGS)}")
    if reading == "dense":
        return torch.zeros(1, dtype=torch.int64)
    if reading == "segments":
        if frames < CLIP or frames % CLIP:
            raise ValueError(f"reading 'segments' needs a multiple of {CLIP} frames, not {frames}: see sample_frames")
        return torch.arange(0, frames, CLIP)
    starts = torch.arange(9) * 10
    if reading == "10x16":
        starts = torch.cat([starts, torch.tensor([frames - CLIP - 1])])
    if frames < 80 + CLIP or starts[-1] < 80:
        raise ValueError(f"reading {reading!r} needs more frames than {frames}: sample 96 (9x16) or 103 (10x16)")
    return starts


def steps_per_clip(reading: str) -> int:
    """Feature steps that stand for one clip: 2, or 1 where segments are averaged or time is one clip ("dense")."""
    return 2 if reading in ("9x16", "10x16") else 1


def step_positions(reading: str, frames: int) -> Tensor:
    """Center of the 8 frames behind each feature step, (S,) float32, 0 at the first sampled frame and 1 at the last.

    In the order of the features: clip by clip, two steps each. Clips overlap, so in "10x16" the first step of the last
    clip lies before the second step of the clip before it: sort before interpolating.
    """
    starts = clip_starts(reading, frames)
    if reading == "dense":
        centers = torch.arange(0, frames, STEP) + (STEP - 1) / 2
    elif reading == "segments":
        centers = starts + (CLIP - 1) / 2
    else:
        within = torch.tensor([0.0, STEP]) + (STEP - 1) / 2
        centers = (starts[:, None] + within).flatten()  # (clips, 2) -> (S,)
    return (centers / (frames - 1)).clamp(0, 1).float()
