"""Winograd convolution over time, for CPUs: minimal filtering with fewer multiplications (Lavin & Gray, CVPR 2016).

Computed directly, m successive outputs of a filter with r taps take m r products; n = m + r - 1 are enough. Taps and
inputs are taken as coefficients of polynomials: their values at n points are multiplied pointwise, and the outputs are
interpolated,

    y = A ((G w) * (B x)),        y_i = sum_k w_k x_{i+k},  i < m, k < r.

Here a "product" is a 2D convolution over height and width, and B and A act on whole frames by one small matrix product.
With m = 4, the 12 convolutions behind four outputs of a 3x3x3 kernel become 6, and the 28 of the first layer 13.

It is here because the alternatives were slower where it is used: for a clip of 16 frames of 112 pixels through I3D of
full width in float32, on two cores with AVX-512, direct convolution took 1.13 times as long, OpenVINO 2026.4 1.12 times
and `torch.compile` with frozen weights 1.18 times. In bfloat16, or at a quarter of the width, they are about equal.
"""

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from sapnet_core.backbones.frozen import FUSED
from sapnet_core.backbones.max_pool import same_padding

__all__ = ["ConvOverTime", "minimal_filter"]

OUTPUTS = 4  # m, outputs per tile: a larger m saves little more and loses precision
TILES = 2  # tiles of m outputs computed together, as many as a CPU's cache holds
# Interpolation points of small, distinct magnitude keep A, B and G small: float32 then loses half a digit. An n-th
# point, infinity, is added to these.
POINTS = (0.0, 1.0, -1.0, 0.5, -2.0, 2.0)
ONE = POINTS.index(1.0)  # A's column for the point 1 is all ones: a bias added to its product reaches every output


def minimal_filter(m: int, r: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """A (m, n), G (n, r) and B (n, n) in float64, for m outputs of r taps, n = m + r - 1 at most 7.

    A and G hold powers of the points; B is solved from the condition that y is exact for every input and filter.
    """
    n = m + r - 1
    points = np.array(POINTS[: n - 1])
    apart = points[:, None] - points + np.eye(n - 1)
    A = np.hstack([points ** np.arange(m)[:, None], np.eye(m)[:, -1:]])
    G = np.vstack([points[:, None] ** np.arange(r) / apart.prod(1)[:, None], np.eye(r)[-1:]])
    wanted = (np.arange(m)[:, None, None] + np.arange(r)[:, None] == np.arange(n)).reshape(m * r, n).astype(float)
    B = np.linalg.lstsq((A[:, None] * G.T).reshape(m * r, n), wanted, rcond=None)[0]
    return A, G, B


class ConvOverTime:
    """A 3D convolution with bias and ReLU, SAME-padded in time, by Winograd's algorithm over time. No gradients.

    Equals the direct convolution up to rounding: within 3e-6 of the largest output in float32, within 1e-2 in bfloat16
    (where the direct one is within 3e-3). With a stride s in time, frames and taps split into s phases of stride 1,
    whose products at each point are summed. Zero padding in time costs no computation.

    Args:
        weight: (O, C, k, kh, kw) with k at most 4 times the stride.
        bias: (O,).
        dtype: number format of the computation.
        stride: over time, height and width.
        padding: over height and width.
    """

    def __init__(self, weight: Tensor, bias: Tensor, dtype: torch.dtype, stride: int = 1, padding: int = 0):
        self.bias, self.stride, self.padding, self.kernel = bias.to(dtype), stride, padding, weight.shape[2:]
        self.fused = FUSED and weight.device.type == "cpu"
        self.inputs, self.kernels = [], []
        for phase in range(stride):
            taps = weight[:, :, phase::stride].double()
            A, G, B = (torch.from_numpy(matrix).to(taps) for matrix in minimal_filter(OUTPUTS, taps.shape[2]))
            kernels = torch.einsum("nr,ocrhw->nochw", G, taps).to(dtype)
            self.kernels.append([kernel.contiguous(memory_format=torch.channels_last) for kernel in kernels])
            tiles = [F.pad(B, (tile * OUTPUTS, (TILES - 1 - tile) * OUTPUTS)) for tile in range(TILES)]
            self.inputs.append(torch.stack(tiles, 1).to(dtype))  # (n, tiles, inputs of all tiles)
            # phase 0 has the most taps; the other phases use its first points and infinity, so that its output
            # transform serves all phases
            if phase == 0:
                # (outputs of all tiles, n, tiles)
                self.outputs = torch.einsum("mn,st->smnt", A, torch.eye(TILES).to(A)).flatten(0, 1).to(dtype)

    def __call__(self, x: Tensor) -> Tensor:
        """Maps (b, C, T, H, W), channels last in memory, to (b, O, T / stride rounded up, H', W')."""
        x, y = x.movedim(1, -1), None
        length = -(-x.shape[1] // self.stride)
        for start in range(0, length, len(self.outputs)):
            count = min(len(self.outputs), length - start)
            weights = self.outputs[:count, :, : -(-count // OUTPUTS)].flatten(1)
            products = self._products(x, start, -(-count // OUTPUTS))  # (n, tiles * b, H', W', O)
            y = products.new_empty(len(x), length, *products.shape[2:]) if y is None else y
            products = products.view(weights.shape[1], len(x), -1)
            for video, maps in enumerate(y[:, start : start + count].flatten(2)):
                torch.mm(weights, products[:, video], out=maps).relu_()
        return y.movedim(-1, 1)

    def _products(self, x: Tensor, start: int, tiles: int) -> Tensor:
        """Products (n, tiles * b, H', W', O), summed over the phases, for `tiles` tiles of outputs from `start` on."""
        sizes = [(x.shape[i + 1] + 2 * self.padding - self.kernel[i]) // self.stride + 1 for i in (1, 2)]
        products = x.new_zeros(self.outputs.shape[1], tiles * len(x), *sizes, len(self.bias))
        for phase, kernels in enumerate(self.kernels):
            values, at = self._values(x, phase, start, tiles), [*range(len(kernels) - 1), -1]
            for value, kernel, j in zip(values, kernels, at, strict=True):
                self._add_conv(products[j].movedim(-1, 1), value, kernel, self.bias if (phase, j) == (0, ONE) else None)
        return products

    def _values(self, x: Tensor, phase: int, start: int, tiles: int) -> Tensor:
        """Values (n, tiles * b, C, H, W) of a phase's input polynomial at its n points: B times the phase's frames."""
        skipped, offset = divmod(phase - same_padding(x.shape[1], self.kernel[0], self.stride)[0], self.stride)
        frames, inputs = x[:, offset :: self.stride].flatten(2), self.inputs[phase]  # (b, frames of this phase, H*W*C)
        # numbers of this phase's frames that these tiles need; frames outside the clip are zero padding and are skipped
        first = start + skipped
        last = first + inputs.shape[2] - (TILES - tiles) * OUTPUTS
        used = slice(max(first, 0), min(last, frames.shape[1]))
        weights = inputs[:, :tiles, used.start - first : used.stop - first].flatten(0, 1)
        values = x.new_empty(len(weights), len(x), frames.shape[2])
        for video, some in enumerate(frames[:, used]):
            torch.mm(weights, some, out=values[:, video])
        return values.view(len(inputs), -1, *x.shape[2:]).movedim(-1, 2)

    def _add_conv(self, maps: Tensor, x: Tensor, kernel: Tensor, bias: Tensor | None) -> None:
        """Add the 2D convolution of `x` with `kernel`, and the bias if given, to `maps` in place."""
        form = (self.padding,) * 2, (self.stride,) * 2, (1, 1)
        if self.fused:
            torch.ops.mkldnn._convolution_pointwise_.binary(maps, x, kernel, bias, *form, 1, "add", 1.0, None, [], None)
        else:
            maps += F.conv2d(x, kernel, bias, form[1], form[0])
