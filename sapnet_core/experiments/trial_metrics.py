"""The metrics that are stored with a trial's result; apart from the files of results, since they enter its hash."""

import torch

from sapnet_core.experiments.intervals import bootstrap_interval
from sapnet_core.experiments.metrics import relative_l2, spearman

__all__ = ["score_metrics"]


def score_metrics(predicted: torch.Tensor, true: torch.Tensor, interval: bool = True) -> dict[str, float]:
    """The metrics of a trial's predictions (N,) of true scores (N,), both float64 and in points.

    Returns: rho, Spearman's; rho_low and rho_high, the ends of its 95 % bootstrap interval over the videos, if
        `interval`; r_l2, R-ℓ2 times 100; and n, the number of videos.
    """
    ends = bootstrap_interval(predicted, true, resamples=1000, seed=0) if interval else ()
    return {
        "rho": float(spearman(predicted, true)),
        **dict(zip(("rho_low", "rho_high"), ends, strict=False)),
        "r_l2": 100 * float(relative_l2(predicted, true)),
        "n": len(true),
    }
