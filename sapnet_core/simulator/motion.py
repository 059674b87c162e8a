"""The motion of a twin: joints, apparatus and subactions, as every sport passes them to the renderer."""

import math
from dataclasses import dataclass
from typing import NamedTuple

from torch import Tensor

__all__ = ["Motion", "Props"]


class Props(NamedTuple):
    """Apparatus or costume as capsules: `ends` (T, Q, 2, 3) and `radii` (Q, 2) in meters, `colors` (Q, 3) in [0, 1].

    A ball is a capsule of length 0; a hoop or a ribbon is a chain of capsules.
    """

    ends: Tensor
    radii: Tensor
    colors: Tensor


@dataclass(frozen=True)
class Motion:
    """The motion of a performance in T sampled frames.

    Attributes:
        joints: (T, 16, 3) meters, order `figure.JOINTS`; x to the right of the image, y up from the floor or the water,
            z toward the camera.
        subactions: (T,) int64; phases in temporal order where a sport has them (a dive: from 0, the take-off, to the
            entry), else the number of the current element, 0 between elements.
        entry: fractional frame index at which a diver's lowest point meets the water; NaN for other sports.
        splash: 0 (none) to 1 (heavy).
        board: height of the board above the water, meters.
        springboard: True for a springboard, False for a platform.
        props: apparatus and costume.
        clock: (T,) time of each frame in units of 0.16 s, for the camera; None where frames are evenly spaced.
    """

    joints: Tensor
    subactions: Tensor
    entry: float = math.nan
    splash: float = 0.0
    board: float = 0.0
    springboard: bool = False
    props: Props | None = None
    clock: Tensor | None = None
