"""What PyTorch computes with: its threads within a block (with another number of them sums come out in another order),
and the device that a command line names."""

from argparse import ArgumentTypeError
from collections.abc import Iterator
from contextlib import contextmanager

import torch

from sapnet_core.runtime.values import whole

__all__ = ["torch_threads", "usable_device"]


@contextmanager
def torch_threads(count: int | None) -> Iterator[None]:
    """`count` threads of this process within, as many as before behind; None leaves them as they are.

    Raises:
        ValueError: a count that is no whole number from 1 on.
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
    """`name`, if this machine has that device: a `type` for `argparse`.

    Raises:
        ArgumentTypeError: it has not, there is no such device, or nothing here computes on its kind.
    """
    try:
        if torch.device(name).type not in ("cpu", "cuda"):
            raise ArgumentTypeError(f"nothing here computes on {name!r}: choose cpu or cuda")
        torch.empty(1, device=name)
    except (RuntimeError, AssertionError) as error:  # a build without CUDA asserts
        raise ArgumentTypeError(f"no device {name!r} here, choose cpu: {str(error).partition('. ')[0]}") from None
    return name
