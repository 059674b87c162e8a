"""I3D+MLP, the baseline of every table: a three-layer MLP on clip features, trained on the labeled videos only.

There are two variants (E18): features averaged over time, as in earlier work, and clips in order.
Source: the paper, Section IV-B; loss Eq. 10; Adam at 1e-3 without weight decay.
"""

from collections.abc import Mapping

import torch
from torch import Tensor, nn

from sapnet_core.methods.base import Stackable, Training
from sapnet_core.methods.building_blocks import layers, reseed, views
from sapnet_core.methods.settings import LABELED, LR_BACKBONE, options
from sapnet_core.methods.train_set import TrainSet
from sapnet_core.methods.video_batch import VideoBatch
from sapnet_core.sapnet.losses import l_reg
from sapnet_core.training.batches import BatchSampler

__all__ = ["SETTINGS", "can_stack", "mean_training", "ordered_training"]

SETTINGS = {**LABELED, **LR_BACKBONE}


def can_stack(settings: Mapping) -> bool:
    """Whether runs with these settings can be stacked: always."""
    return True


def mean_training(train: TrainSet, settings: Mapping, generator: torch.Generator) -> Training:
    """I3D+MLP: (B, S, C) -> mean over S -> 256 -> 128 -> 1. Settings: `steps`, `lr`, `batch`, `unit_targets`."""
    return _training(train, settings, generator, ordered=False)


def ordered_training(train: TrainSet, settings: Mapping, generator: torch.Generator) -> Training:
    """I3D+MLP (clips in order): (B, S, C) -> one vector per clip (its two steps averaged), concatenated -> MLP.

    It has the settings of `mean_training`.
    """
    return _training(train, settings, generator, ordered=True)


def _training(train: TrainSet, settings: Mapping, generator: torch.Generator, ordered: bool) -> Training:
    o = options("mlp", settings, SETTINGS)
    reseed(generator)
    device, fixed = train.frame.device, None if train.backbone else views(train.frame, ordered)
    inputs = views(torch.empty(1, len(train.positions), train.channels), ordered).shape[1]
    net = layers(inputs, 256, 128, 1).append(nn.Flatten(0)).to(device)
    y, shift, scale = train.unit_targets(o.unit_targets)
    draw = BatchSampler(train.labeled.cpu(), o.batch, generator)

    def batch() -> tuple[Tensor, Tensor]:
        i = next(draw).to(device)
        return views(train.features("frame", i), ordered) if fixed is None else fixed[i], y[i]

    def terms(step: int, net: nn.Module, x: Tensor, y: Tensor, look: bool = False) -> dict[str, Tensor]:
        return {"L_all": l_reg(net(x), y, look)}  # Eq. 10

    def loss(step: int) -> dict[str, Tensor]:
        return terms(step, net, *batch(), look=True)

    def score(videos: VideoBatch) -> Tensor:
        return net(views(train.encoded("frame", videos.frame), ordered)) * scale + shift

    slow = {"backbone": train.backbone, "lr_backbone": o.lr_backbone}
    return Training(net, loss, score, o.steps, o.lr, [draw], stack=Stackable(batch, terms), **slow)
