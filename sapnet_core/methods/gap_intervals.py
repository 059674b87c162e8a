"""Intervals of relative scores: a pair system first classifies the interval, then finds the place inside it.

Source: Yu et al., "Group-aware Contrastive Regression for Action Quality Assessment" (CoRe), ICCV 2021, Section 3.3:

    L = - log p_k + sum_k mean_{pairs in k} (o_k - t)^2,    Delta = left_k + o_k width_k  with k = argmax p

for a pair with the relative score Delta in interval k, at the place t = (Delta - left_k) / width_k in [0, 1]. The
edges divide the absolute differences of all pairs of labeled scores into parts of equal mass, where an edge is itself a
difference, the lower one of two between which it falls; the first is 0, the last is the largest score, and all are
mirrored to negative differences. This, and to which interval an edge belongs, is as in the public code.
"""

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

__all__ = ["GapIntervals"]


@dataclass(frozen=True)
class GapIntervals:
    """K intervals of relative scores between ascending `edges` (K + 1,), half of them below 0."""

    edges: Tensor

    @classmethod
    def between(cls, y: Tensor, pairs: Tensor, count: int) -> "GapIntervals":
        """`count` intervals, an even number, from the scores `y` (N,) of the `pairs` (P, 2).

        The outermost edges are -1 and 1, the range of scaled scores, or the largest difference if it is larger. Without
        any pair, no interval but the two outermost ones has a width.
        """
        gaps = (y[pairs[:, 0]] - y[pairs[:, 1]]).abs() if len(pairs) else y.new_zeros(1)
        shares = torch.linspace(0, 1, count // 2 + 1, device=y.device)[1:-1]
        half = torch.quantile(gaps, shares, interpolation="lower")
        half = torch.cat([half, gaps.max().clamp(min=1.0).unsqueeze(0)])
        return cls(torch.cat([-half.flip(0), half.new_zeros(1), half]))

    def locate(self, gap: Tensor) -> tuple[Tensor, Tensor]:
        """Interval and place of relative scores (B,): k (B,) int64 and t (B,), in [0, 1] inside the outermost edges.

        A score on an edge belongs to the interval further from 0; a score of 0, to the one above it.
        """
        inner = self.edges[1:-1]
        above, below = (torch.bucketize(gap, inner, right=right) for right in (True, False))
        k = torch.where(gap < 0, below, above)
        left, right = self.edges[k], self.edges[k + 1]
        return k, (gap - left) / (right - left).clamp(min=1e-6)

    def losses(self, log_p: Tensor, place: Tensor, gap: Tensor) -> dict[str, Tensor]:
        """Both terms of the loss, "L_class" and "L_place", for logarithmic probabilities (B, K), places (B, K) and
        true relative scores (B,)."""
        k, t = self.locate(gap)
        hit = F.one_hot(k, place.shape[1])
        each = (hit * (place - t.unsqueeze(1)) ** 2).sum(0) / hit.sum(0).clamp(min=1)
        return {"L_class": F.nll_loss(log_p, k), "L_place": each.sum()}

    def read(self, log_p: Tensor, place: Tensor) -> Tensor:
        """Relative scores (B,) at the predicted place in the most probable interval, from (B, K) each."""
        k = log_p.argmax(1)
        left, right = self.edges[k], self.edges[k + 1]
        return left + place.gather(1, k.unsqueeze(1)).squeeze(1) * (right - left)
