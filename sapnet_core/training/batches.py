"""Batches of indices in a seeded random order, with a state that can be saved and restored; and how large they are."""

from typing import Self

import torch
from torch import Tensor

__all__ = ["BatchSampler", "batch_size"]

SMALLEST, LARGEST, PER_PASS = 16, 64, 12  # labeled videos in a batch, and batches in a pass over them


def batch_size(asked: int, count: int) -> int:
    """Number of videos in a batch, of `count` videos: as many as `asked`, at most all.

    Where 0 is asked, the batch grows with the number of videos, so that a training with many labels takes about as many
    steps as one with few: it is the largest of 16, 32 and 64 with which a pass over all videos still has 12 batches,
    and 16 if none has. Fewer than 32 videos are one batch.
    """
    size = asked or (SMALLEST if count >= 2 * SMALLEST else count)
    while not asked and size < LARGEST and 2 * size * PER_PASS <= count:
        size *= 2
    return min(size, count)


class BatchSampler:
    """Endless iterator over batches of the given indices (n,); each epoch has a new seeded order.

    A batch has `batch_size(size, n)` indices. The last batch of an epoch is filled up from the next epoch, so that all
    batches have the same size.
    """

    def __init__(self, indices: Tensor, size: int, generator: torch.Generator):
        self._indices, self._generator = indices, generator
        self._size, self._left = batch_size(size, len(indices)), indices[:0]

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
