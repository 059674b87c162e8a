"""Sines and cosines that tell a transformer the place of each step in time.

Source: Vaswani et al., "Attention Is All You Need", NeurIPS 2017: code_{t,2i} = sin(t / 10000^{2i/D}) and
code_{t,2i+1} = cos(t / 10000^{2i/D}), for step t = 0, 1, ...
"""

import math
from functools import cache

import torch
from torch import Tensor

__all__ = ["time_codes"]


@cache
def time_codes(steps: int, width: int, device: torch.device) -> Tensor:
    """The codes (steps, width) on a device."""
    with torch.inference_mode(False):  # a tensor cached during inference must be usable in training, too
        t = torch.arange(steps, device=device).unsqueeze(1)
        rates = torch.exp(-math.log(1e4) * torch.arange(0, width, 2, device=device) / width)
        angles = t * rates
        return torch.stack([angles.sin(), angles.cos()], 2).flatten(1)[:, :width]
