"""The first layer of I3D, 7x7x7 of stride 2 on 3 channels, as an equivalent convolution on space-to-depth pixels."""

import torch.nn.functional as F
from torch import Tensor

from sapnet_core.backbones.max_pool import same_padding

__all__ = ["fold_kernel", "fold_space", "pad_space"]


def pad_space(x: Tensor) -> Tensor:
    """SAME padding of (..., H, W) for the first layer, to even sizes: `fold_kernel` adds an eighth tap, which is 0."""
    pads = []
    for size in x.shape[:-3:-1]:  # F.pad counts from the last axis
        front, back = same_padding(size, 7, 2)
        pads += [front, back + (size + front + back) % 2]
    return F.pad(x, pads)


def fold_space(x: Tensor) -> Tensor:
    """Space to depth: 2x2 pixels of (B, T, H, W, 3) become channels, (B, 12, T, H/2, W/2), channels-last in memory.

    In space, the first layer is a 7x7 convolution of stride 2 on 3 channels, for which CPUs are slow. On folded pixels
    it is a 4x4 convolution of stride 1 on 12 channels with the same sums (`fold_kernel`), which a CPU computes three
    times as fast in bfloat16.
    """
    b, t, h, w, c = x.shape
    x = x.reshape(b, t, h // 2, 2, w // 2, 2 * c).transpose(3, 4).reshape(b, t, h // 2, w // 2, 4 * c)
    return x.movedim(-1, 1)  # (B, 2*2*3, T, H/2, W/2)


def fold_kernel(weight: Tensor) -> Tensor:
    """Turn the first layer's kernel (O, 3, 7, 7, 7) into the one (O, 12, 7, 4, 4) for the output of `fold_space`."""
    o, c, t = weight.shape[:3]
    w = F.pad(weight, (0, 1, 0, 1)).view(o, c, t, 4, 2, 4, 2)
    return w.permute(0, 4, 6, 1, 2, 3, 5).reshape(o, 4 * c, t, 4, 4)  # (O, 2*2*3, 7, 4, 4)
