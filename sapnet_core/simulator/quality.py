"""Quality factors, the aspects that judges assess: their mean is the quality of a performance, up to judge noise."""

import torch
from torch import Tensor

from sapnet_core.simulator.settings import SimSettings

__all__ = ["FACTORS", "draw_factors", "judged_quality"]

FACTORS = ("height", "line", "tightness", "legs", "rotation", "entry", "splash", "distance")


def draw_factors(
    quality: float, settings: SimSettings, generator: torch.Generator, count: int = len(FACTORS)
) -> Tensor:
    """Draw the factors of a dive, or `count` factors of another sport, (F,) float32 in [0, 1], 1 being perfect.

    Before clipping to [0, 1], their mean is `quality` plus judge noise, and each deviates from that mean with sd
    `factor_spread`; the deviations sum to zero, so that a single factor reveals only part of the score. The random
    draws do not depend on the quality.

    Raises:
        ValueError: `quality` is outside [0, 1].
    """
    if not 0.0 <= quality <= 1.0:
        raise ValueError(f"quality={quality!r}: give the execution score over its maximum, from 0 to 1")
    normal = torch.randn(count + 1, generator=generator, device=generator.device).cpu()
    deviation = normal[1:] - normal[1:].mean()
    deviation = deviation * (count / (count - 1)) ** 0.5  # subtracting the mean multiplied the sd by sqrt(1 - 1/F)
    # f_i = clip(q + judge noise + spread_i), sum_i spread_i = 0
    return (quality + settings.judge_noise * normal[0] + settings.factor_spread * deviation).clamp(0, 1)


def judged_quality(factors: Tensor) -> Tensor:
    """The simulator's true quality: mean of the factors (..., F) -> (...,). Scores differ from it by judge noise."""
    return factors.mean(-1)
