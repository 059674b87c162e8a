"""What moves in a twin: joints, what they handle, and what they are doing. Every sport hands this to the renderer."""

import math
from dataclasses import dataclass
from typing import NamedTuple

from torch import Tensor

__all__ = ["Motion", "Props"]


class Props(NamedTuple):
    """What is handled, as capsules: `ends` (T, Q, 2, 3) in meters, `radii` (Q, 2) in meters, `colors` (Q, 3) in [0, 1].

    A ball is a capsule without length, a hoop or a ribbon a chain of them.
    """

    ends: Tensor
    radii: Tensor
    colors: Tensor


@dataclass(frozen=True)
class Motion:
    """A performance as it moves.

    Attributes:
        joints: (T, 16, 3) meters, order `figure.JOINTS`; x to the right of the picture, y up from the floor or the
            water, z to the camera.
        subactions: (T,) int64, numbered in the order of time where a sport has phases (a dive: 0 take-off, the largest
            number the entry), else the number of the current element, 0 between elements.
        entry: where a diver's lowest point meets the water, a fractional index into the T frames; NaN elsewhere.
        splash: 0 none to 1 heavy.
        board: height of the board above the water, meters.
        springboard: whether it is one; otherwise a platform.
        props: what is handled.
        clock: (T,) time of each frame in units of 0.16 s, for the camera; None where the frames follow evenly.
    """

    joints: Tensor
    subactions: Tensor
    entry: float = math.nan
    splash: float = 0.0
    board: float = 0.0
    springboard: bool = False
    props: Props | None = None
    clock: Tensor | None = None
