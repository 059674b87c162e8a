"""Selection of the step of a training whose weights are scored: the last, or the best of its snapshots.

The best is chosen on videos whose scores the training does not see: a part of the labeled videos ("validation"), or, as
is common in the field, the test videos themselves ("test-best").
"""

from dataclasses import replace

import torch
from torch import Tensor

from sapnet_core.datasets.label_split import label_split
from sapnet_core.experiments.metrics import spearman
from sapnet_core.methods import Fitted, VideoBatch

__all__ = ["SELECT", "validation_part", "choose_step"]

SELECT = ("last", "validation", "test-best")


def validation_part(score: Tensor, labeled: Tensor, seed: int) -> Tensor:
    """The labeled videos to choose a step on: a quarter of them, at least 2, drawn evenly along the score axis.

    Args:
        score: (N,) scores of the training videos; those of unlabeled videos are not read.
        labeled: (N,) bool, which videos are labeled.
        seed: seed of the draw, one video from each stratum of scores.

    Returns: (N,) bool, a subset of `labeled`.

    Raises:
        ValueError: fewer than 2 labeled videos would be left to learn from.
    """
    known = torch.nonzero(labeled).flatten()
    count = max(2, round(len(known) / 4))
    if len(known) - count < 2:
        raise ValueError(f"select='validation' needs 4 labeled videos, and {len(known)} are: raise the share")
    part = torch.zeros_like(labeled)
    part[known[label_split(score[known], count / len(known), seed)]] = True
    return part


def choose_step(fitted: Fitted, videos: VideoBatch, points: Tensor, score: Tensor, ranked: bool) -> Fitted:
    """The trained system with the weights of the snapshot that is best on the given videos; ties go to the first.

    Args:
        fitted: trained system with snapshots of its weights.
        videos: the n videos to choose on.
        points: (n,) target scale: the points that a scaled target of 1 stands for.
        score: (n,) true scores in points.
        ranked: True chooses the highest Spearman's rho. False chooses the lowest mean squared error, for few videos,
            which many steps rank alike.
    """

    def quality(weights: dict[str, Tensor]) -> float:
        fitted.network.load_state_dict(weights)
        predicted = fitted.predict(videos).cpu() * points
        return float(spearman(predicted, score) if ranked else -((predicted - score) ** 2).mean())

    step, weights = max(fitted.snapshots, key=lambda snapshot: quality(snapshot[1]))
    fitted.network.load_state_dict(weights)
    return replace(fitted, step=step, snapshots=())
