"""Batches of indices in a seeded random order, with a state that can be saved and restored."""

from typing import Self

import torch
from torch import Tensor

__all__ = ["BatchSampler"]


class BatchSampler:
    """Endless iterator over batches of `size` of the given indices (n,); each epoch has a new seeded order.

    The last batch of an epoch is filled up from the next epoch, so that all batches have the same size. If there are
    fewer than `size` indices, every batch holds all of them.
    """

    def __init__(self, indices: Tensor, size: int, generator: torch.Generator):
        self._indices, self._generator = indices, generator
        self._size, self._left = min(size, len(indices)), indices[:0]

    def __iter__(self) -> Self:
        return self

    def __next__(self) -> Tensor:
        """The next batch of indices, (size,) or (n,) if n is smaller."""
        while len(self._left) < self._size:
            order = torch.randperm(len(self._indices), generator=self._generator)
            self._left = torch.cat([self._left, self._indices[order]])
        batch, self._left = self._left[: self._size], self._left[self._size :]
        return batch

    def state_dict(self) -> dict[str, Tensor]:
        """The remaining indices of the epoch, and the state of the generator."""
        return {"left": self._left, "generator": self._generator.get_state()}

    def load_state_dict(self, state: dict[str, Tensor]) -> None:
        """Continue from where `state_dict` was taken."""
        self._left = state["left"].to(self._indices.device)
        self._generator.set_state(state["generator"])
