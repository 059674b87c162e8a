"""The likelihood of a score under a normal distribution whose mean and variance a network predicts.

    L = fit (y - mu)^2 / sigma^2 + spread log sigma^2

With fit = spread = 1/2 it is the negative logarithm of the density, without its constant. sigma^2 has a floor, because
a network that knows its few labels by heart could otherwise make L as small as it likes.
"""

from torch import Tensor

__all__ = ["likelihood_loss", "variance_of"]

FLOOR = 1e-3  # least variance, on targets whose variance is 1


def variance_of(log_variance: Tensor) -> Tensor:
    """sigma^2 of any shape, from the network's output for its logarithm."""
    return log_variance.exp() + FLOOR


def likelihood_loss(mean: Tensor, variance: Tensor, y: Tensor, fit: float = 0.5, spread: float = 0.5) -> Tensor:
    """L averaged over B videos or pairs, from mu, sigma^2 and the targets, (B,) each."""
    return (fit * (y - mean).square() / variance + spread * variance.log()).mean()
