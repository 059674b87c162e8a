"""The label split: which training videos keep their score.

The paper draws its labeled samples uniformly along the score axis: the training videos are sorted by score and cut into
as many equal strata as labels are wanted, and one video of each stratum keeps its label.
"""

import torch
from torch import Tensor

from sapnet_core.datasets.records import Record

__all__ = ["label_split", "visible_scores"]


def label_split(scores: Tensor, share: float, seed: int) -> Tensor:
    """Draw the labeled videos of a training part.

    Args:
        scores: (N,) final scores; NaN for a video without score, which is never labeled.
        share: fraction of the videos with a score that are labeled, in (0, 1].
        seed: seed of the order of equal scores and of the draw within each stratum.

    Returns: (N,) bool, True for n = round(share * K) videos (at least one), K the number of videos with a score.

    Raises:
        ValueError: the share is outside (0, 1], or no video has a score.
    """
    if not 0 < share <= 1:
        raise ValueError(f"label share {share} is outside (0, 1]")
    scores = torch.as_tensor(scores)
    known = torch.nonzero(~scores.isnan()).flatten()
    if not len(known):
        raise ValueError(f"none of {len(scores)} training videos has a score: give scores to some")
    if len(known) < len(scores):
        labeled = torch.zeros(len(scores), dtype=torch.bool)
        labeled[known] = label_split(scores[known], share, seed)
        return labeled
    total = len(scores)
    count = max(1, round(share * total))
    generator = torch.Generator().manual_seed(seed)
    shuffled = torch.randperm(total, generator=generator)  # the order of equal scores is random, not that of a file
    order = shuffled[scores[shuffled].argsort(stable=True)]
    # stratum i holds the ranks [i N / n, (i + 1) N / n)
    edges = torch.arange(count + 1) * total // count
    width = edges.diff()
    drawn = edges[:-1] + (torch.rand(count, generator=generator, dtype=torch.float64) * width).long()
    labeled = torch.zeros(total, dtype=torch.bool)
    labeled[order[drawn]] = True
    return labeled


def visible_scores(records: list[Record], labeled: Tensor, name: str = "score") -> Tensor:
    """Scores of the labeled records, or their sub-scores called `name`, (N,) float32; NaN for all others.

    The NaN spread through any computation that uses a hidden score, so that such a leak shows at once.
    """
    scores = torch.tensor([record.sub_score(name) for record in records])
    return torch.where(labeled, scores, torch.nan)
