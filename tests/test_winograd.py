"""Winograd's minimal filters equal plain sums, and layers of them equal the direct convolution."""

import numpy as np
import pytest
import torch
import torch.nn.functional as F

from sapnet_core.backbones.max_pool import same_padding
from sapnet_core.backbones.winograd import ConvOverTime, minimal_filter


@pytest.mark.parametrize("m, r", [(1, 1), (2, 3), (3, 2), (4, 3), (4, 4)])
def test_a_minimal_filter_is_the_filter(m, r):
    A, G, B = minimal_filter(m, r)
    draw = np.random.default_rng(0)
    w, x = draw.standard_normal(r), draw.standard_normal(m + r - 1)
    assert A.shape == (m, m + r - 1) and G.shape == (m + r - 1, r) and B.shape == (m + r - 1, m + r - 1)
    assert np.allclose(A @ ((G @ w) * (B @ x)), np.correlate(x, w, "valid"), atol=1e-12)


def layer(stride, dtype=torch.float64, channels=3, seed=0):
    """(Direct layer, its Winograd form): 3x3x3 of stride 1, or 7x7x7 of stride 2, which pads time alone."""
    draw, kernel = torch.Generator().manual_seed(seed), 3 if stride == 1 else 7
    weight = torch.randn(5, channels, kernel, kernel, kernel, generator=draw, dtype=torch.float64) / kernel**2
    bias, padding = torch.randn(5, generator=draw, dtype=torch.float64), int(stride == 1)

    def direct(x):
        x = F.pad(x.double(), (0, 0, 0, 0, *same_padding(x.shape[2], kernel, stride)))
        return F.conv3d(x, weight, bias, stride, (0, padding, padding)).relu()

    return direct, ConvOverTime(weight, bias, dtype, stride, padding)


def maps(frames, dtype=torch.float64, videos=2):
    x = torch.randn(videos, 3, frames, 15, 14, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    return x.to(dtype).contiguous(memory_format=torch.channels_last_3d)


@torch.inference_mode()
@pytest.mark.parametrize("frames", [*range(1, 19), 48, 103])
@pytest.mark.parametrize("stride", [1, 2])
def test_fewer_products_are_the_same_convolution(stride, frames):
    direct, fewer = layer(stride)
    fewer.fused = False  # oneDNN does not support float64
    x = maps(frames)
    assert fewer(x).shape == direct(x).shape and torch.allclose(fewer(x), direct(x), atol=1e-11)


@torch.inference_mode()
@pytest.mark.parametrize("frames", [1, 5, 16, 17])
@pytest.mark.parametrize("stride", [1, 2])
def test_float32_loses_less_than_a_digit(stride, frames):
    direct, fewer = layer(stride, torch.float32)
    x = maps(frames, torch.float32)
    y = fewer(x)
    assert y.is_contiguous(memory_format=torch.channels_last_3d) and y.dtype == torch.float32
    assert (y - direct(x)).abs().max() < 5e-6 * direct(x).max()


def test_it_takes_fewer_products(monkeypatch):
    counted = []
    monkeypatch.setattr(ConvOverTime, "_add_conv", lambda self, maps, x, kernel, bias: counted.append(len(x)))
    for stride, frames, expected in ((1, 8, 6 * 2), (2, 16, (7 + 6) * 2), (1, 4, 6), (1, 5, 6 * 2)):
        counted.clear()
        layer(stride, torch.float32)[1](maps(frames, torch.float32, 1))
        assert sum(counted) == expected  # 2D convolutions; direct layers need 3 * 8, 7 * 8, 3 * 4, 3 * 5
