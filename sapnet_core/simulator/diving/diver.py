"""The diver: quality factors, motion and scene of a dive, as `simulator.simulate` calls them."""

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
    """Draw the quality factors (F,) of a dive around the quality of its record."""
    return draw_factors(record.quality, settings, generator)


def shown_scores(record: Record, factors: Tensor) -> dict[str, float]:
    """Score that the simulated quality is worth, in points: 30 * mean(factors) * difficulty.

    The record's score differs from it by judge noise.
    """
    return {"score": PERFECT * float(judged_quality(factors)) * record.difficulty}


def draw_scene(settings: SimSettings, generator: torch.Generator, *, frames: int, motion: Motion) -> Scene:
    """Draw the pool around a dive of `frames` frames, with the board that the dive starts from."""
    return draw_pool(settings, generator, frames=frames, height=motion.board, springboard=motion.springboard)
