"""Simulated twins: for every record a video in which an articulated figure performs it, with its ground truth."""

from dataclasses import dataclass

import torch
from torch import Tensor

from sapnet_core.data.clips import sample_frames
from sapnet_core.data.records import Record
from sapnet_core.sim.kinematics import dive_motion
from sapnet_core.sim.quality import draw_factors, seed_of
from sapnet_core.sim.render import render_frames
from sapnet_core.sim.scene import draw_scene
from sapnet_core.sim.settings import SimSettings, settings_for

__all__ = ["Twin", "simulate"]

FRAME_RATE = 25.0  # of the source videos, 1/s


@dataclass(frozen=True)
class Twin:
    """A simulated dive and its truth: `video` (T, 3, H, W) uint8; `boxes` (T, 4) of the actor, xyxy, and `joints`
    (T, 16, 2), both in continuous pixels; `subactions` (T,); quality `factors` (F,); frame of `entry` (fractional)."""

    video: Tensor
    boxes: Tensor
    joints: Tensor
    subactions: Tensor
    factors: Tensor
    entry: float


def simulate(
    record: Record,
    *,
    seed: int = 0,
    size: int = 112,
    settings: SimSettings | None = None,
    offsets: Tensor | None = None,
    device="cpu",
) -> Twin:
    """Render the twin of a record: the same (dataset, key, seed, settings, size) gives the same twin on a device.

    Quality, athlete and scene are drawn from three generators, so a record that differs in its score alone differs
    neither in scene nor in athlete. `settings` default to those of the dataset, `offsets` (T,) to the dataset's sampled
    frames, counted from the record's start.
    """
    settings = settings_for(record.dataset) if settings is None else settings
    offsets = sample_frames(record) if offsets is None else offsets
    judged, moved, placed = (
        torch.Generator().manual_seed(seed_of(record.dataset, f"{record.key}/{part}", seed))
        for part in ("quality", "motion", "scene")
    )
    factors = draw_factors(record.quality, settings, judged)
    motion = dive_motion(record, offsets, factors, settings, moved)
    scene = draw_scene(settings, placed, frames=len(offsets), height=motion.board, springboard=motion.springboard)
    dt = float(offsets[-1] - offsets[0]) / max(len(offsets) - 1, 1) / FRAME_RATE
    video, boxes, joints = render_frames(motion, scene, size, device, dt=dt)
    return Twin(video, boxes, joints, motion.subactions, factors, motion.entry)
