"""Statistics of long sequences: a sequence (T, C) of any length T becomes S steps of one number of channels."""

import torch
from torch import Tensor

from sapnet_core.sapnet.parsing import interpolation_matrix

__all__ = ["STEPS", "moments", "with_length", "window_statistics"]

STEPS = 24  # number S of windows or moments of a sequence of any length


def window_statistics(x: Tensor, steps: int = STEPS) -> Tensor:
    """Means and standard deviations of (T, C) within `steps` windows of equal length: (steps, 2C) float32.

    Window s covers the rows from floor(s T / steps) to ceil((s + 1) T / steps), the latter excluded: every row lies in
    a window, and a sequence shorter than `steps` rows repeats rows. A window of one row has deviation 0.
    """
    frames, center = len(x), x.double().mean(0)
    ahead = (x.double() - center).cumsum(0)  # sums of centered values are exact enough in float64
    ahead2 = (x.double() - center).square().cumsum(0)
    zero = torch.zeros(1, x.shape[1], dtype=torch.float64)
    sums, squares = torch.cat([zero, ahead]), torch.cat([zero, ahead2])  # (T + 1, C)
    at = torch.arange(steps + 1)
    first, last = at[:-1] * frames // steps, -(-at[1:] * frames // steps)
    count = (last - first).unsqueeze(1)
    mean = (sums[last] - sums[first]) / count
    variance = (squares[last] - squares[first]) / count - mean.square()
    deviation = torch.where(count > 1, variance.clamp_min(0).sqrt(), 0.0)
    return torch.cat([mean + center, deviation], 1).float()


def moments(x: Tensor, steps: int = STEPS) -> Tensor:
    """(T, C) interpolated linearly at `steps` moments in the middles of windows of equal length: (steps, C).

    It reads only the rows near each moment, since a (steps, T) matrix may exceed x.
    """
    frames = len(x)
    if frames == 1:
        return x.expand(steps, -1).clone()
    center = (torch.arange(steps) + 0.5).double() * (frames / steps) - 0.5  # in frames
    near = (center.floor().long().unsqueeze(1) + torch.arange(-1, 3)).clamp(0, frames - 1).unique()
    return interpolation_matrix(torch.linspace(0, 1, frames)[near], steps, frames) @ x[near]


def with_length(x: Tensor, frames: int) -> Tensor:
    """(S, C) with one channel more, the natural logarithm of the sequence's length in rows, equal at all steps."""
    return torch.cat([x, torch.full((len(x), 1), float(frames)).log()], 1)
