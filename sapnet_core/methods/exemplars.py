"""Exemplars: the labeled videos that a pair system compares a video with.

A pair system (CoRe and those that follow it) predicts by how much the score of a video differs from that of an
exemplar. CoRe draws exemplars of the same degree of difficulty (MTL-AQA) or of the same dive number (FineDiving), and
TPT fills up with those of the nearest difficulty where there are too few. Here, with few labels, most difficulties and
dive numbers have no more than two labeled videos, so this order decides everywhere:

    first the videos of the same difficulty or action, then those of the nearest difficulty or of other actions,
    and among equals those with the nearest time-averaged features

Training draws one partner at random among the videos of the same difficulty or action, or takes the first in this order
if there is none. A prediction takes the first M in this order, where the published systems draw M at random, so that it
is the same every time. Features alone decide if a dataset has no difficulties or actions. Only labeled videos of the
training set are exemplars.
"""

from collections.abc import Callable

import torch
from torch import Tensor

from sapnet_core.methods.train_set import TrainSet
from sapnet_core.methods.video_batch import VideoBatch

__all__ = ["Exemplars", "nearest_first", "partner_weights"]


def nearest_first(gap: Tensor, far: Tensor) -> Tensor:
    """Order of candidates (B, N) by `gap` (B, N) and, where this is equal, by `far` (B, N), both ascending: (B, N)."""
    near = far.argsort(dim=1, stable=True)
    return near.gather(1, gap.gather(1, near).argsort(dim=1, stable=True))


def partner_weights(gap: Tensor, far: Tensor) -> Tensor:
    """Weights with which each of N videos draws its partner in training, (N, N), from `gap` and `far` as above.

    All other videos with a gap of 0 weigh 1; without any, the first of the others in `nearest_first` does. A single
    video is its own partner.
    """
    itself = torch.eye(len(gap), dtype=torch.bool, device=gap.device)
    like = (gap == 0) & ~itself
    first = nearest_first(gap.float().masked_fill(itself, torch.inf), far)[:, :1]
    alone = torch.zeros_like(like).scatter(1, first, True) & ~like.any(1, keepdim=True)
    return (like | alone).float()


class Exemplars:
    """The labeled videos of a training set as exemplars.

    Args:
        train: the training set.
        match: what an exemplar should have in common with the video: "difficulty" or "action", as in `VideoBatch`.
        generator: draws the partners of a training.
    """

    def __init__(self, train: TrainSet, match: str, generator: torch.Generator):
        self.rows, self._match, self._generator = train.labeled, match, generator
        self._videos = train.videos[self.rows]
        self._y = train.y
        self._mean = self._videos.frame.mean(1)
        self._gap = self._distances(self._videos)
        self._weights = partner_weights(*self._gap).cpu()
        self._place = torch.full((len(train.y),), -1).index_copy(0, self.rows.cpu(), torch.arange(len(self.rows)))

    def _distances(self, videos: VideoBatch) -> tuple[Tensor, Tensor]:
        """From each video of a batch to each exemplar: the gap in difficulty or action, and the distance of
        time-averaged features, (B, N_l) each."""
        far = torch.cdist(videos.frame.mean(1), self._mean)
        theirs, ours = (getattr(part, self._match) for part in (videos, self._videos))
        if theirs is None or ours is None:
            return torch.zeros_like(far), far
        if self._match == "action":
            return ((theirs[:, None] != ours) | (theirs[:, None] < 0)).to(far), far
        return (theirs[:, None] - ours).abs().round(decimals=3), far  # rounding makes equal steps of difficulty equal

    def pairs(self, least: int) -> Tensor:
        """All pairs i < j of exemplars of the same difficulty or action, (P, 2) rows of the training set; all pairs of
        exemplars if there are fewer than `least` such pairs."""
        one, other = torch.triu_indices(len(self.rows), len(self.rows), 1, device=self.rows.device)
        same = self._gap[0][one, other] == 0
        keep = same if same.sum() >= least else torch.ones_like(same)
        return torch.stack([self.rows[one[keep]], self.rows[other[keep]]], 1)

    def partners(self, rows: Tensor) -> Tensor:
        """Draw a partner for each of the labeled videos `rows` (B,) of the training set: rows of it, (B,)."""
        drawn = torch.multinomial(self._weights[self._place[rows.cpu()]], 1, generator=self._generator)
        return self.rows[drawn.squeeze(1).to(self.rows.device)]

    def both_orders(self, rows: Tensor) -> tuple[Tensor, Tensor]:
        """Pairs of the labeled videos `rows` (B,) of the training set and of a partner each, in both orders: the videos
        that are compared and their exemplars, (2 B,) rows each."""
        compared = torch.cat([rows, self.partners(rows)])
        return compared, compared.roll(len(rows))

    def place(self, labeled: Tensor) -> Tensor:
        """Where the labeled videos (P,), rows of the training set, stand among all exemplars, `self.rows`: (P,)."""
        return torch.searchsorted(self.rows, labeled)

    def nearest(self, videos: VideoBatch, count: int) -> Tensor:
        """The first `count` exemplars of each video of a batch, or all if there are fewer: rows of the training set,
        (B, M)."""
        return self.rows[nearest_first(*self._distances(videos))[:, :count]]

    def vote(self, videos: VideoBatch, count: int, relative: Callable[[Tensor, Tensor], Tensor]) -> Tensor:
        """Predict each video as the mean over its M exemplars of y_e plus the relative score.

        Args:
            videos: a batch of B videos.
            count: M, or more than there are exemplars to take all.
            relative: maps P videos of the batch, as (P,) indices, and as many exemplars, as (P,) rows of the training
                set, to the relative scores (P,) of these pairs, the video's minus the exemplar's.

        Returns: (B,) scores on the scale of `TrainSet.y`.
        """
        few = self.nearest(videos, count)
        which = torch.arange(len(videos), device=few.device).repeat_interleave(few.shape[1])
        return (self._y[few] + relative(which, few.flatten()).view_as(few)).mean(1)
