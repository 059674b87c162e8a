"""USDL: learns a distribution of the score instead of a single value.

Source: Tang et al., "Uncertainty-aware Score Distribution Learning for Action Quality Assessment", CVPR 2020.

    L = KL(p || q) = sum_c p_c log(p_c / q_c),    p_c ~ exp(-(c - y)^2 / (2 sigma^2)),    q = softmax(f(x))

Published: 101 bins, layers 1024-256-128-101 on the time average, sigma = 5 bins, Adam at 1e-4, 100 epochs. It learns
from labeled videos only.
Deviations: the predicted score is by default the mean of q instead of its largest bin, whose ties cost rank correlation
(`read = "mode"` is as published); hidden layers of 256 and 128 units, as in the other methods; the KL divergence is
summed over bins and averaged over videos, where the public code averages over both, which only scales it.
"""

from collections.abc import Mapping

import torch
from torch import Tensor

from sapnet_core.methods.base import Training
from sapnet_core.methods.building_blocks import Batches, layers, reseed
from sapnet_core.methods.settings import OWN_UNITS, options
from sapnet_core.methods.train_set import TrainSet
from sapnet_core.methods.video_batch import VideoBatch

__all__ = ["SETTINGS", "training", "normal_bins", "divergence", "read_bins"]

SETTINGS = {"sigma": 5.0, "bins": 101, "read": "mean", **OWN_UNITS}


def normal_bins(y: Tensor, centers: Tensor, sigma: float) -> Tensor:
    """Normal densities around scores (...) at the bin centers (C,), normalized to sum 1: (..., C). NaN stays NaN."""
    return torch.softmax(-0.5 * ((centers - y.unsqueeze(-1)) / sigma) ** 2, -1)


def divergence(target: Tensor, logits: Tensor) -> Tensor:
    """KL(p || q), summed over bins, of target distributions p and logits of q: (..., C), (..., C) -> (...)."""
    return (target * (target.clamp(min=1e-30).log() - logits.log_softmax(-1))).sum(-1)


def read_bins(logits: Tensor, centers: Tensor, read: str) -> Tensor:
    """The predicted score: the "mean" or the "mode" of q, from logits (..., C) -> (...), in the unit of the centers.

    Raises ValueError for any other `read`.
    """
    if read not in ("mean", "mode"):
        raise ValueError(f"read = {read!r} is unknown: choose mean or mode")
    return logits.softmax(-1) @ centers if read == "mean" else centers[logits.argmax(-1)]


def training(train: TrainSet, settings: Mapping, generator: torch.Generator) -> Training:
    """Settings: `sigma` (in bins), `bins`, `read`, and the training settings without `unit_targets`."""
    o = options("usdl", settings, SETTINGS)
    o.batch_unlabeled, o.unit_targets = 1, False
    reseed(generator)
    x = train.frame.mean(1)
    net = layers(x.shape[1], 256, 128, o.bins).to(x.device)
    draw = Batches(train, o, generator)
    top = max(1.0, float(train.y[train.labeled].max()))  # bins reach from 0 to 1, or to the best score if higher
    centers = torch.linspace(0, top, o.bins, device=x.device)
    width = o.sigma * top / (o.bins - 1)

    def loss(step: int) -> dict[str, Tensor]:
        i = draw.labeled()
        target = normal_bins(draw.y[i], centers, width)
        return {"L_all": divergence(target, net(x[i])).mean()}

    def score(videos: VideoBatch) -> Tensor:
        return read_bins(net(videos.frame.mean(1)), centers, o.read)

    return Training(net, loss, score, o.steps, o.lr, draw.samplers)
