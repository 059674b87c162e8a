"""Random inputs from a seed and functions in NumPy, by which tests compute a loss from its published formula.

The numbers that these tests keep show that formula and inputs are unchanged.
"""

import numpy as np
import torch
from torch import nn

__all__ = ["filled", "log_softmax", "numbers", "softmax", "tensors"]


def numbers(seed: int, *shape: int) -> np.ndarray:
    """Normal random numbers that are the same in every version of NumPy."""
    return np.random.RandomState(seed).standard_normal(shape)


def tensors(*arrays: np.ndarray) -> list[torch.Tensor]:
    return [torch.from_numpy(np.ascontiguousarray(array)) for array in arrays]


def filled(net: nn.Module, seed: int, scale: float = 0.2) -> tuple[nn.Module, dict[str, np.ndarray]]:
    """The network in double precision with such numbers as weights, and these by name."""
    values = {name: scale * numbers(seed + i, *p.shape) for i, (name, p) in enumerate(net.double().named_parameters())}
    with torch.no_grad():
        for name, parameter in net.named_parameters():
            parameter.copy_(torch.from_numpy(np.asarray(values[name])))
    return net.eval(), values


def softmax(x: np.ndarray) -> np.ndarray:
    """Over the last axis."""
    e = np.exp(x - x.max(-1, keepdims=True))
    return e / e.sum(-1, keepdims=True)


def log_softmax(x: np.ndarray) -> np.ndarray:
    return np.log(softmax(x))
