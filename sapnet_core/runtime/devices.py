"""PyTorch's number of threads within a block, and the device that a command line names.

The number of threads changes the order of summation, and with it the last bits of results.
"""

from collections.abc import Iterator
from contextlib import contextmanager

import torch

from sapnet_core.runtime.values import whole

__all__ = ["torch_threads", "usable_device"]


@contextmanager
def torch_threads(count: int | None) -> Iterator[None]:
    """Set PyTorch's number of threads within the block and restore it afterwards; None leaves it unchanged.

    Raises:
        ValueError: `count` is not a whole number of at least 1.
    """
    if count is not None:
        whole("threads", count)
    before = torch.get_num_threads()
    torch.set_num_threads(count or before)
    try:
        yield
    finally:
        torch.set_num_threads(before)


def usable_device(name: str) -> str:
    """Return `name` if this machine has that device.

    Raises:
        ValueError: the device is absent or unknown, or this package does not support its kind.
    """
    try:
        if torch.device(name).type not in ("cpu", "cuda"):
            raise ValueError(f"device {name!r} is not supported: choose cpu or cuda")
        torch.empty(1, device=name)
    except (RuntimeError, AssertionError) as error:  # builds without CUDA raise AssertionError
        raise ValueError(f"device {name!r} is not available ({str(error).partition('. ')[0]}): choose cpu") from None
    return name
