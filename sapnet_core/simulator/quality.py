"""Quality factors, the aspects that judges look at: their mean is the quality of a performance, up to judge noise.

A performance has parts, such as take-off, flight and entry of a dive, which succeed partly independently: a dive can
have a good flight and a bad entry. So no single factor tells the score, and a method gains from looking at every part.
"""

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor

from sapnet_core.simulator.settings import SimSettings

__all__ = ["FACTORS", "PARTS", "draw_factors", "judged_quality"]

PARTS = {  # part of a dive -> the quality factors that belong to it
    "take-off": ("height", "distance"),
    "flight": ("line", "tightness", "legs", "rotation"),
    "entry": ("entry", "splash"),
}
FACTORS = ("height", "line", "tightness", "legs", "rotation", "entry", "splash", "distance")
PART_OF = tuple(next(i for i, names in enumerate(PARTS.values()) if factor in names) for factor in FACTORS)


def draw_factors(
    quality: float, settings: SimSettings, generator: torch.Generator, part_of: Sequence[int] = PART_OF
) -> Tensor:
    """Draw the factors of a performance, (F,) float32 in [0, 1], 1 being perfect.

    Their mean is exactly `quality` plus judge noise, kept within [0, 1]. Around it each part deviates with sd
    `part_spread`, and each factor within its part with sd `factor_spread`; deviations sum to zero, and what would leave
    [0, 1] is made up for by the other factors. The random draws do not depend on the quality.

    Args:
        part_of: (F,) number of the part that each factor belongs to, from 0; a dive's by default.

    Raises:
        ValueError: `quality` outside [0, 1].
    """
    if not 0.0 <= quality <= 1.0:
        raise ValueError(f"quality={quality!r}: give the execution score over its maximum, from 0 to 1")
    count, parts = len(part_of), max(part_of) + 1
    normal = torch.randn(1 + count + parts, generator=generator, device=generator.device).cpu().double().numpy()
    own, shared = normal[1 : 1 + count], normal[1 + count :][list(part_of)]
    deviation = settings.part_spread * shared + settings.factor_spread * own
    mean = float(np.clip(quality + settings.judge_noise * normal[0], 0.0, 1.0))
    return torch.from_numpy(_bounded(deviation - deviation.mean(), mean)).float()


def _bounded(deviation: np.ndarray, mean: float) -> np.ndarray:
    """Values clip(deviation + shift, 0, 1) (F,) with the shift at which their mean is `mean`."""
    # the mean is piecewise linear in the shift, with corners where a value reaches 0 or 1
    corners = np.sort(np.concatenate([-deviation, 1 - deviation]))
    means = np.clip(deviation + corners[:, None], 0, 1).mean(1)
    return np.clip(deviation + np.interp(mean, means, corners), 0, 1)


def judged_quality(factors: Tensor) -> Tensor:
    """The simulator's true quality: mean of the factors (..., F) -> (...,). Scores differ from it by judge noise."""
    return factors.mean(-1)
