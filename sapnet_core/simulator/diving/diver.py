"""The diver: what judges look at, how a record is performed, and the pool around it."""

import torch
from torch import Tensor

from sapnet_core.datasets.records import PERFECT, Record
from sapnet_core.simulator.diving.kinematics import dive_motion as perform
from sapnet_core.simulator.diving.scene import Scene
from sapnet_core.simulator.diving.scene import draw_scene as draw_pool
from sapnet_core.simulator.motion import Motion
from sapnet_core.simulator.quality import FACTORS, draw_factors, judged_quality
from sapnet_core.simulator.settings import SimSettings

__all__ = ["FACTORS", "draw_scene", "perform", "quality_factors", "shown_scores"]


def quality_factors(record: Record, settings: SimSettings, generator: torch.Generator) -> Tensor:
    """The factors of a dive, (F,), around its record's quality."""
    return draw_factors(record.quality, settings, generator)


def shown_scores(record: Record, factors: Tensor) -> dict[str, float]:
    """Points that the shown quality is worth; what the record's score differs by is the judges' noise."""
    return {"score": PERFECT * float(judged_quality(factors)) * record.difficulty}


def draw_scene(settings: SimSettings, generator: torch.Generator, *, frames: int, motion: Motion) -> Scene:
    """The pool around a dive from the board it is made from."""
    return draw_pool(settings, generator, frames=frames, height=motion.board, springboard=motion.springboard)
