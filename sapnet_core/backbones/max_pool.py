"""Max-pools over (time, height, width) with TensorFlow's SAME padding: what lies outside of the maps never wins.

Two forms, the same numbers. "torch" is what PyTorch has: channels-last on a CPU, where a 3x3x3 pool of stride 1 goes
axis by axis, which is faster. On CUDA its 3-D pool knows no channels-last and reaches an eighth of the memory's speed
(measured on an H100); "triton" is one kernel that reads and writes such maps where they lie (`triton_pool`). It is
asked for by name: Triton is not everywhere, and `benchmarks.max_pools` has yet to show on a GPU what it gains.
"""

from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import Tensor

__all__ = ["POOLS", "pool_form", "same_padding", "max_pool", "max_pool_same", "max_of_neighbors", "max_pool_fused"]

Triple = tuple[int, int, int]  # over (time, height, width)
NEIGHBORS = ((3, 3, 3), (1, 1, 1))  # kernel and stride of the pool inside an Inception block
CELLS, CHANNELS = 32, 64  # what one program of the kernel makes, at most: 64 channels of 16 bits fill a cache line
FUSED_DTYPES = (torch.float16, torch.bfloat16, torch.float32)  # float32 holds each of them


def same_padding(size: int, kernel: int, stride: int) -> tuple[int, int]:
    """Zeros (front, back) that TensorFlow's SAME puts around an axis: its output has ceil(size / stride) entries."""
    total = max((-(-size // stride) - 1) * stride + kernel - size, 0)
    return total // 2, total - total // 2


def max_pool_same(x: Tensor, kernel: Triple, stride: Triple) -> Tensor:
    """Max-pool (B, C, T, H, W) with SAME padding: `padding` for the front, `ceil_mode` for what lacks at the back."""
    front = [same_padding(n, k, s)[0] for n, k, s in zip(x.shape[2:], kernel, stride, strict=True)]
    return F.max_pool3d(x, kernel, stride, front, ceil_mode=True)


def max_of_neighbors(x: Tensor) -> Tensor:
    """3x3x3 max-pool of stride 1, one axis after the other: three pairs of maxima in place of 26. Without gradients."""
    first, second = torch.empty_like(x), torch.empty_like(x)  # two are enough: memory is slow when it is new
    for axis, y in ((2, first), (3, second), (4, first)):
        inner = x.shape[axis] - 1
        torch.maximum(x.narrow(axis, 0, inner), x.narrow(axis, 1, inner), out=y.narrow(axis, 0, inner))
        y.select(axis, inner).copy_(x.select(axis, inner))
        torch.maximum(y.narrow(axis, 1, inner), x.narrow(axis, 0, inner), out=y.narrow(axis, 1, inner))
        x = y
    return x


def max_pool(x: Tensor, kernel: Triple, stride: Triple) -> Tensor:
    """The form "torch": `max_pool_same`, or `max_of_neighbors` for its kernel. Without gradients."""
    return max_of_neighbors(x) if (kernel, stride) == NEIGHBORS else max_pool_same(x, kernel, stride)


def _kernel(device: torch.device):
    """The kernel, where it can run."""
    try:
        from sapnet_core.backbones import triton_pool
    except ImportError as error:  # macOS, Windows, builds of PyTorch for CPUs
        message = "pools in Triton need the package triton, which is not installed here: choose pools='torch'"
        raise ImportError(message) from error
    if device.type != "cuda" and not triton_pool.interpreted:
        raise ValueError(f"pools in Triton run on a GPU, not on {device.type}: choose pools='torch'")
    return triton_pool.pool_kernel


def max_pool_fused(x: Tensor, kernel: Triple, stride: Triple) -> Tensor:
    """The form "triton": max-pool (B, C, T, H, W) with SAME padding in one pass; the result is channels-last in memory.

    Equals `max_pool_same` exactly, NaN included; of 0 and -0 either may win. Maps that are not channels-last are copied
    first. No gradients.

    Args:
        x: float16, bfloat16 or float32, on a GPU (or anywhere under `TRITON_INTERPRET=1`, which is set before import).
        kernel, stride: any, at least 1.

    Raises:
        ImportError: Triton is not installed.
        ValueError: another dtype or device, gradients are asked for, or one frame of maps has 2^31 values or more.
    """
    kernel_of_triton = _kernel(x.device)
    b, c, *sizes = x.shape
    if x.dtype not in FUSED_DTYPES or (x.requires_grad and torch.is_grad_enabled()) or c * sizes[1] * sizes[2] >= 2**31:
        raise ValueError(f"no pool in Triton for {x.dtype} {tuple(x.shape)}, requires_grad={x.requires_grad}")
    x = x.contiguous(memory_format=torch.channels_last_3d)
    axes = list(zip(sizes, kernel, stride, strict=True))
    made, fronts = [-(-n // s) for n, _, s in axes], [same_padding(*axis)[0] for axis in axes]
    out = torch.empty((b, c, *made), dtype=x.dtype, device=x.device, memory_format=torch.channels_last_3d)
    channels = min(CHANNELS, 1 << (c - 1).bit_length())  # a power of two
    programs = b * made[0] * -(-made[1] * made[2] // CELLS) * -(-c // channels)
    with torch.cuda.device_of(x):  # Triton launches on the current device
        kernel_of_triton[(programs,)](x, out, *sizes, *made, *fronts, c, *kernel, *stride, CELLS, channels)
    return out


POOLS: dict[str, Callable[[Tensor, Triple, Triple], Tensor]] = {"torch": max_pool, "triton": max_pool_fused}


def pool_form(pools: str, device: torch.device) -> Callable[[Tensor, Triple, Triple], Tensor]:
    """The pool of that name: (x, kernel, stride) -> maps, x being (B, C, T, H, W).

    Raises:
        ValueError: no key of `POOLS`, or one that does not run on that device.
        ImportError: Triton is asked for and not installed.
    """
    if pools not in POOLS:
        raise ValueError(f"pools {pools!r} are unknown: choose one of {', '.join(POOLS)}")
    if pools == "triton":
        _kernel(device)
    return POOLS[pools]
