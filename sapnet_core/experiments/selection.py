"""Which step of a training is scored: the last, or the best of its snapshots.

The best is found on videos whose scores training does not see: a part of the labeled videos, or, as the field's habit
has it, the test videos themselves. Their scores stay on this side of `fit`.
"""

from dataclasses import replace

import torch
from torch import Tensor

from sapnet_core.datasets.label_split import label_split
from sapnet_core.experiments.metrics import spearman
from sapnet_core.methods import Fitted

__all__ = ["SELECT", "validation_part", "choose_step"]

SELECT = ("last", "validation", "test-best")


def validation_part(score: Tensor, labeled: Tensor, seed: int) -> Tensor:
    """A quarter of the labeled videos, at least 2, drawn evenly along the score axis, to choose a step on.

    Args:
        score: (N,) of the training videos; those of unlabeled ones are not read.
        labeled: (N,) bool.
        seed: draws one video of each stratum.

    Returns: (N,) bool, a part of `labeled`.

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


def choose_step(fitted: Fitted, x: Tensor, points: Tensor, score: Tensor, ranked: bool) -> Fitted:
    """The trained system with the weights of the step that is best on some videos; of equal steps, the first.

    Args:
        fitted: with snapshots of its weights.
        x: (n, S, C) whole-frame features of the videos to choose on.
        points: (n,) what a scaled target of 1 is worth.
        score: (n,) in points.
        ranked: best is the highest Spearman's rho; else, for few videos that many steps rank alike, the lowest squared
            error.
    """

    def quality(weights: dict[str, Tensor]) -> float:
        fitted.network.load_state_dict(weights)
        predicted = fitted.predict(x).cpu() * points
        return float(spearman(predicted, score) if ranked else -((predicted - score) ** 2).mean())

    step, weights = max(fitted.snapshots, key=lambda snapshot: quality(snapshot[1]))
    fitted.network.load_state_dict(weights)
    return replace(fitted, step=step, snapshots=())
