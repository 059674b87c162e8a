"""Metrics of predicted scores: Spearman's rho (Eq. 12) and relative L2. Confidence intervals are in `intervals`,
comparisons and tests in `statistics`.

All metrics reduce the last axis and accept leading ones, so that thousands of bootstrap resamples take one call.
"""

import torch
from scipy.stats import rankdata
from torch import Tensor

__all__ = ["spearman", "relative_l2", "fisher_mean"]


def spearman(pred: Tensor, true: Tensor) -> Tensor:
    """Spearman's rank correlation (Eq. 12); equal values share their average rank.

    Args:
        pred, true: (..., N), broadcast against each other.

    Returns: (...) float64; 0 where either side is constant, so that rho is undefined (scipy gives NaN).

    Raises:
        ValueError: fewer than two values, or a NaN among them.
    """
    p, y = _ranks(pred), _ranks(true)
    p, y = p - p.mean(-1, keepdim=True), y - y.mean(-1, keepdim=True)
    # Eq. 12: rho = sum_i (p_i - p)(y_i - y) / sqrt(sum_i (p_i - p)^2 sum_i (y_i - y)^2), p and y being ranks
    spread = ((p**2).sum(-1) * (y**2).sum(-1)).sqrt()
    rho = (p * y).sum(-1) / spread.clamp_min(torch.finfo(spread.dtype).tiny)
    return torch.where(spread > 0, rho, 0.0).clamp(-1, 1)


def _ranks(values: Tensor) -> Tensor:
    values = torch.as_tensor(values).double()
    if values.shape[-1] < 2 or values.isnan().any():
        raise ValueError(f"ranks need two or more numbers and no NaN: got {tuple(values.shape)} with NaN or too few")
    return torch.from_numpy(rankdata(values.cpu().numpy(), axis=-1)).to(values.device)


def relative_l2(pred: Tensor, true: Tensor, low: float | None = None, high: float | None = None) -> Tensor:
    """Relative L2 distance R-l2 = mean(((y - y') / (y_max - y_min))^2), without the factor 100 of the printed tables.

    Args:
        pred, true: (..., N) in the same unit.
        low, high: y_min and y_max; by default those of `true`.

    Returns: (...) float64. Raises ValueError where the range is empty.
    """
    pred, true = torch.as_tensor(pred).double(), torch.as_tensor(true).double()
    low = true.amin(-1, keepdim=True) if low is None else torch.tensor(low, dtype=torch.float64)
    high = true.amax(-1, keepdim=True) if high is None else torch.tensor(high, dtype=torch.float64)
    if (high <= low).any():
        raise ValueError("relative L2 needs a range of true scores, but all are equal: give low and high")
    return (((true - pred) / (high - low)) ** 2).mean(-1)


def fisher_mean(rhos) -> float:
    """Fisher-z average of correlations, tanh(mean(atanh(rho))), as the paper averages classes (erratum E14)."""
    rhos = torch.as_tensor(rhos, dtype=torch.float64).clamp(-1 + 1e-12, 1 - 1e-12)
    return rhos.atanh().mean().tanh().item()
