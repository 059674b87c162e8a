"""The loss of the place inside an interval of relative scores, as it is in the small batches of the published systems.

    L_place = sum_k mean_{pairs in k} (o_k - t)^2

as in `gap_intervals`. A pair that is alone in its interval counts as much as all pairs of another one, so that in a
batch of a few pairs nearly each counts in full, and in one of many the sum grows to the number of intervals. A batch is
therefore divided into groups of the published number of pairs, and the loss is the mean over these.
"""

import torch
from torch import Tensor

from sapnet_core.methods.gap_intervals import GapIntervals

__all__ = ["place_loss"]


def place_loss(intervals: GapIntervals, place: Tensor, gap: Tensor, size: int, orders: int = 1) -> Tensor:
    """Mean of L_place over groups of `size` pairs, the last of which may be smaller.

    Args:
        intervals: K intervals.
        place: places (P, K) that are predicted in each of them.
        gap: true relative scores (P,).
        size: number of pairs in a group.
        orders: how many times the pairs are there: with 2, the second half are those of the first in the other order,
            and a group holds both orders of a pair.
    """
    k, t = intervals.locate(gap)
    off = place.gather(1, k.unsqueeze(1)).squeeze(1) - t
    pairs = len(gap) // orders
    group = torch.arange(pairs, device=gap.device).repeat(orders) // size
    cell = group * place.shape[1] + k  # an interval of a group
    return (off**2 / cell.bincount()[cell]).sum() / -(-pairs // size)
