"""Max pooling: each implementation equals PyTorch's pool of explicitly padded maps."""

import pytest
import torch
import torch.nn.functional as F

from sapnet_core.backbones.i3d import POOL_BEFORE
from sapnet_core.backbones.max_pool import NEIGHBORS, max_of_neighbors, max_pool, max_pool_same, same_padding


def padded_pool(x: torch.Tensor, kernel, stride) -> torch.Tensor:
    """PyTorch's max pool after explicit padding by minus infinity."""
    pads = [n for axis in list(zip(x.shape[2:], kernel, stride, strict=True))[::-1] for n in same_padding(*axis)]
    return F.max_pool3d(F.pad(x, pads, value=-torch.inf), kernel, stride)


@pytest.mark.parametrize(
    "size,kernel,stride,pads",
    [
        (112, 7, 2, (2, 3)),
        (113, 7, 2, (3, 3)),
        (56, 3, 2, (0, 1)),
        (57, 3, 2, (1, 1)),
        (7, 2, 2, (0, 1)),
        (4, 2, 2, (0, 0)),
    ],
)
def test_same_padding_puts_the_odd_zero_at_the_back(size, kernel, stride, pads):
    assert same_padding(size, kernel, stride) == pads


@pytest.mark.parametrize("size", [(5, 8, 9), (1, 7, 2), (6, 1, 5)])
@pytest.mark.parametrize("kernel,stride", list(POOL_BEFORE.values())[1:])
def test_pooling_ignores_what_is_padded(size, kernel, stride):
    x = torch.randn(2, 3, *size, generator=torch.Generator().manual_seed(0))
    assert torch.equal(max_pool_same(x, kernel, stride), padded_pool(x, kernel, stride))


def test_maximum_of_neighbors_is_the_pool():
    x = torch.randn(2, 5, 3, 4, 6, generator=torch.Generator().manual_seed(2))
    assert torch.equal(max_of_neighbors(x), F.max_pool3d(x, 3, 1, 1))
    assert torch.equal(max_of_neighbors(x[:, :, :1]), F.max_pool3d(x[:, :, :1], 3, 1, 1))
    assert torch.equal(max_pool(x, *NEIGHBORS), F.max_pool3d(x, 3, 1, 1))


@pytest.mark.parametrize("kernel,stride", [*POOL_BEFORE.values(), NEIGHBORS])
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_the_faster_way_gives_the_same_numbers_where_zeros_would_win(kernel, stride, dtype):
    x = torch.randn(1, 70, 2, 13, 11, generator=torch.Generator().manual_seed(0)) - 300  # all values are below 0
    x = x.to(dtype).contiguous(memory_format=torch.channels_last_3d)
    assert torch.equal(max_pool(x, kernel, stride), padded_pool(x.float(), kernel, stride).to(dtype))
