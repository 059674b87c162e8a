"""Simulated twins: for every record a rendered video of an articulated figure that performs it, with ground truth."""

from dataclasses import dataclass, field
from importlib import import_module

import torch
from torch import Tensor

from sapnet_core.datasets.clips import sample_frames
from sapnet_core.datasets.records import Record
from sapnet_core.runtime.seeds import seed_of
from sapnet_core.simulator.render import render_frames
from sapnet_core.simulator.settings import SimSettings, settings_for

__all__ = ["SPORTS", "Twin", "simulate", "sport_name", "sport_of"]

SPORTS = {
    "mtl-aqa": "diving.diver",
    "finediving": "diving.diver",
    "pretrain": "diving.diver",
    "rg": "gymnastics.gymnast",
    "finefs": "skating.skater",
}


@dataclass(frozen=True)
class Twin:
    """A simulated performance and its ground truth.

    Attributes:
        video: (T, 3, H, W) uint8.
        boxes: (T, 4) boxes of the actor, xyxy in continuous pixels.
        joints: (T, 16, 2) in continuous pixels, order `figure.JOINTS`.
        subactions: (T,) int64, as in `Motion`.
        factors: (F,) quality factors in [0, 1].
        entry: fractional frame index of a dive's entry into the water; NaN for other sports.
        people: (T, B, 4) boxes of bystanders, NaN where they are out of view.
    """

    video: Tensor
    boxes: Tensor
    joints: Tensor
    subactions: Tensor
    factors: Tensor
    entry: float
    people: Tensor = field(default_factory=lambda: torch.empty(0, 0, 4))


def sport_name(dataset: str) -> str:
    """Name of the simulator's module that performs a dataset's records, such as "diving.diver".

    Raises:
        ValueError: the dataset has no twins; the message names those that have.
    """
    if dataset not in SPORTS:
        raise ValueError(f"dataset {dataset!r} has no twins: choose one of {', '.join(SPORTS)}")
    return SPORTS[dataset]


def sport_of(dataset: str):
    """The module that simulates a dataset's records: `diver`, `gymnast` or `skater`. Raises ValueError as `sport_name`
    does."""
    return import_module(f"sapnet_core.simulator.{sport_name(dataset)}")


def simulate(
    record: Record,
    *,
    seed: int = 0,
    size: int = 112,
    settings: SimSettings | None = None,
    offsets: Tensor | None = None,
    device="cpu",
) -> Twin:
    """Render the twin of a record. Equal arguments give an equal twin on the same device.

    Quality, athlete and scene are drawn from three separate generators, so that records that differ only in their score
    have the same athlete and scene.

    Args:
        record: a record of a dataset in `SPORTS`.
        seed: seed of the twin, hashed with the record's dataset and key.
        size: height and width of the video in pixels.
        settings: settings of the simulator; those of the dataset if None.
        offsets: (T,) frames to render, counted from the record's start; the dataset's sampled frames if None.
        device: device that renders.

    Raises:
        ValueError: the dataset has no twins, or the record or the offsets cannot be simulated.
    """
    sport = sport_of(record.dataset)
    settings = settings_for(record.dataset) if settings is None else settings
    offsets = sample_frames(record) if offsets is None else offsets
    judged, moved, placed = (
        torch.Generator().manual_seed(seed_of(record.dataset, f"{record.key}/{part}", seed))
        for part in ("quality", "motion", "scene")
    )
    factors = sport.quality_factors(record, settings, judged)
    motion = sport.perform(record, offsets, factors, settings, moved)
    scene = sport.draw_scene(settings, placed, frames=len(offsets), motion=motion)
    dt = float(offsets[-1] - offsets[0]) / max(len(offsets) - 1, 1) / record.rate
    film = render_frames(motion, scene, size, device, dt=dt)
    return Twin(film.video, film.boxes, film.joints, motion.subactions, factors, motion.entry, film.people)
