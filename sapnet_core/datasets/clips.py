"""The frames of a video that a network reads, and the position in the video of each of its feature steps.

Protocols: FineDiving takes 96 frames evenly spaced over the dive; MTL-AQA takes the last 103 frames before the end of
the dive (the paper says "103 clips", erratum E12). The paper allows three ways of sampling clips (E1):
"9x16", nine overlapping clips of 16 frames; "10x16", ten such clips, for which 103 frames suffice; "dense", one fully
convolutional pass. I3D halves the time axis three times, so one feature step covers 8 frames: two steps per clip, or
one step for every 8 frames.

Routines last minutes. They are read as segments whose starts are evenly spaced over the video ("segments"). A segment
has 16 frames with a fixed stride between them, and gives one feature step. The paper does not specify this protocol;
published work on Rhythmic Gymnastics takes 26 clips (ACTION-NET) or 68 clips (GDLT).
"""

import torch
from torch import Tensor

from sapnet_core.datasets.records import Record

__all__ = [
    "CLIP_SAMPLINGS",
    "SAMPLED",
    "SEGMENTS",
    "default_sampling",
    "sample_frames",
    "clip_starts",
    "steps_per_clip",
    "step_positions",
]

CLIP_SAMPLINGS = ("9x16", "10x16", "dense", "segments")
CLIP = 16  # frames in a clip
STEP = 8  # frames in a feature step
SEGMENTS = {"rg": (26, 5), "finefs": (32, 6)}  # number of segments, and stride in frames within one
SAMPLED = {"finediving": 96, "mtl-aqa": 103, "folder": 96, **{name: n * CLIP for name, (n, _) in SEGMENTS.items()}}


def default_sampling(dataset: str) -> str:
    """The clip sampling of a dataset's protocol, one of `CLIP_SAMPLINGS`. Raises ValueError if it is unknown."""
    if dataset not in SAMPLED:
        raise ValueError(f"dataset {dataset!r} is unknown: choose one of {', '.join(SAMPLED)}")
    return "segments" if dataset in SEGMENTS else "10x16" if dataset == "mtl-aqa" else "9x16"


def sample_frames(record: Record) -> Tensor:
    """Numbers of the frames to read, (T,) int64, counted from `record.start`.

    FineDiving and own videos: 96 frames evenly spaced over [0, frames), including the first and the last (with repeats
    where the video is shorter). MTL-AQA: the last 103 frames before the end; numbers may be negative, since the source
    video begins before the dive. Rhythmic Gymnastics and FineFS: the frames of all segments, one segment after another;
    in a short video the stride shrinks and segments overlap.
    """
    count = SAMPLED[record.dataset]
    if record.dataset in SEGMENTS:
        segments, stride = SEGMENTS[record.dataset]
        stride = max(1, min(stride, (record.frames - 1) // (CLIP - 1)))
        free = max(record.frames - 1 - stride * (CLIP - 1), 0)  # latest start of the last segment
        starts = torch.arange(segments) * free // (segments - 1)
        return (starts[:, None] + stride * torch.arange(CLIP)).flatten().clamp(max=record.frames - 1)
    if record.dataset == "mtl-aqa":
        return torch.arange(record.frames - count, record.frames)
    # the frame nearest to i (frames - 1) / (count - 1), in integer arithmetic, which is the same on every machine
    return (torch.arange(count) * (record.frames - 1) * 2 + count - 1) // (2 * (count - 1))


def clip_starts(clip_sampling: str, frames: int) -> Tensor:
    """First frame of each clip, (clips,) int64.

    "9x16": 0, 10, ... 80. "10x16": the same and `frames - 17`, which is frame 86 of 103 in the cited protocol (its
    clip ends before the last frame). "dense": 0, since all frames are one clip. "segments": 0, 16, 32, ...

    Args:
        clip_sampling: one of `CLIP_SAMPLINGS`.
        frames: number of sampled frames.

    Raises:
        ValueError: the clip sampling is unknown or needs more frames.
    """
    if clip_sampling not in CLIP_SAMPLINGS:
        raise ValueError(f"clip sampling {clip_sampling!r} is unknown: choose one of {', '.join(CLIP_SAMPLINGS)}")
    if clip_sampling == "dense":
        return torch.zeros(1, dtype=torch.int64)
    if clip_sampling == "segments":
        if frames < CLIP or frames % CLIP:
            raise ValueError(
                f"clip sampling 'segments' needs a multiple of {CLIP} frames, not {frames}: see sample_frames"
            )
        return torch.arange(0, frames, CLIP)
    starts = torch.arange(9) * 10
    if clip_sampling == "10x16":
        starts = torch.cat([starts, torch.tensor([frames - CLIP - 1])])
    if frames < 80 + CLIP or starts[-1] < 80:
        raise ValueError(
            f"clip sampling {clip_sampling!r} needs more frames than {frames}: sample 96 (9x16) or 103 (10x16)"
        )
    return starts


def steps_per_clip(clip_sampling: str) -> int:
    """Number of feature steps per clip: 2, or 1 for "segments", which are averaged, and for "dense"."""
    return 2 if clip_sampling in ("9x16", "10x16") else 1


def step_positions(clip_sampling: str, frames: int) -> Tensor:
    """Center of the frames that each feature step covers, (S,) float32, 0 at the first sampled frame and 1 at the last.

    Positions are in the order of the features, clip by clip. Clips overlap, so in "10x16" the first step of the last
    clip lies before the second step of the clip before it: sort the positions before interpolating.
    """
    starts = clip_starts(clip_sampling, frames)
    if clip_sampling == "dense":
        centers = torch.arange(0, frames, STEP) + (STEP - 1) / 2
    elif clip_sampling == "segments":
        centers = starts + (CLIP - 1) / 2
    else:
        within = torch.tensor([0.0, STEP]) + (STEP - 1) / 2
        centers = (starts[:, None] + within).flatten()  # (clips, 2) -> (S,)
    return (centers / (frames - 1)).clamp(0, 1).float()
