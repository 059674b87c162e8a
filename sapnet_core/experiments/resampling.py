"""Resample test videos: the metric of every prediction on many draws of them, fast enough for every pair of systems.

A resample is given by how often it holds each video. Ranks then follow from sums of these counts along the sorted
values, which are sorted once for all resamples.
"""

import zlib
from dataclasses import dataclass
from functools import cache

import torch
from torch import Tensor

__all__ = ["METRICS", "Cell", "resampled"]


@dataclass(frozen=True)
class Cell:
    """Predictions of one system under one condition.

    Attributes:
        predicted: (S, N), a row a seed.
        true: (N,).
        videos: names the test set; cells of one name share their resamples.
    """

    predicted: Tensor
    true: Tensor
    videos: str


def _mid_ranks(values: Tensor, counts: Tensor) -> Tensor:
    """Average ranks (..., R, N) of values (..., N) in resamples that hold them `counts` (R, N) times.

    No resample is sorted: the values are, once, and counts are summed up along their order.
    """
    order = values.argsort(-1)
    held = counts[:, order].movedim(0, -2) if values.ndim > 1 else counts[:, order]  # (..., R, N)
    upto = held.cumsum(-1)
    in_order = values.gather(-1, order)
    last = torch.searchsorted(in_order.contiguous(), in_order.contiguous(), right=True) - 1  # equal values rank alike
    first = torch.searchsorted(in_order.contiguous(), in_order.contiguous())
    upper = upto.gather(-1, last.unsqueeze(-2).expand_as(upto))
    below = (upto - held).gather(-1, first.unsqueeze(-2).expand_as(upto))
    ranks = torch.empty_like(upto)
    return ranks.scatter_(-1, order.unsqueeze(-2).expand_as(upto), (below + upper + 1) / 2)


def _moments(p: Tensor, y: Tensor, counts: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Covariance and both variances of p and y (..., R, N), weighted by counts (R, N)."""
    n = counts.sum(-1, keepdim=True)
    p, y = (x - (counts * x).sum(-1, keepdim=True) / n for x in (p, y))
    return tuple((counts * product).sum(-1) / n[:, 0] for product in (p * y, p * p, y * y))


def _rho(predicted: Tensor, true: Tensor, counts: Tensor) -> Tensor:
    """Spearman's rho (Eq. 12) of every resample; 0 where a side is constant."""
    both, p, y = _moments(_mid_ranks(predicted, counts), _mid_ranks(true, counts), counts)
    spread = (p * y).sqrt()
    return torch.where(spread > 1e-9, both / spread.clamp_min(1e-9), 0.0)


def _closeness(predicted: Tensor, true: Tensor, counts: Tensor) -> Tensor:
    """-100 R-l2: minus the mean squared distance to the truth, over the squared range of all true scores."""
    off = ((predicted - true) / (true.max() - true.min())) ** 2
    return -100 * off @ counts.T / counts.sum(-1)


def _spread(predicted: Tensor, true: Tensor, counts: Tensor) -> Tensor:
    """sd of predicted over sd of true scores."""
    _, p, y = _moments(predicted.unsqueeze(-2), true.unsqueeze(-2), counts)
    return (p / y.clamp_min(1e-12)).sqrt()


METRICS = {"rho": _rho, "closeness": _closeness, "spread": _spread}  # higher is better in each


@cache
def _counts(videos: str, n: int, resamples: int) -> Tensor:
    """How often each of n videos is in each resample, (R + 1, N); row 0 is the test set itself."""
    generator = torch.Generator().manual_seed(zlib.crc32(videos.encode()))
    drawn = torch.randint(n, (resamples, n), generator=generator)
    counts = torch.zeros(resamples, n, dtype=torch.float64).scatter_add_(1, drawn, torch.ones_like(drawn).double())
    return torch.cat([torch.ones(1, n, dtype=torch.float64), counts])


def resampled(cell: Cell, metric: str = "rho", resamples: int = 1000) -> Tensor:
    """The metric of each seed, (S, 1 + R): on the test videos, then on R resamples of them.

    Raises:
        ValueError: a prediction or a true score is NaN.
    """
    predicted, true = cell.predicted.double(), cell.true.double()
    if predicted.isnan().any() or true.isnan().any():
        raise ValueError(f"{cell.videos}: predictions and scores must be numbers, some are NaN")
    return METRICS[metric](predicted, true, _counts(cell.videos, len(true), resamples))
