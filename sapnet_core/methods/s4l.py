"""S4L: the layers that score labeled videos also classify how the clips of any video were rearranged.

Source: Zhai et al., "S4L: Self-Supervised Semi-Supervised Learning", ICCV 2019.

    L = 1/N_l sum_i (f(x_i) - y_i)^2 + w mean CE(g(r(x)), r)     over labeled and unlabeled videos

Published: r are the four rotations of an image, w = 1, and a batch has as many unlabeled as labeled samples.
Deviations: features cannot be rotated. Instead, r rearranges the clips of a video: original order, reversed, halves
swapped, or both. Like the rotations, these form a group of four, and telling them apart requires knowing how the action
proceeds. An average over time would hide the order, so the layers see the clips in order, and the baseline to beat is
`I3D+MLP (clips in order)` (E18). Each video of a batch gets one random arrangement instead of all four: the expected
loss is the same at a quarter of the cost.
"""

from collections.abc import Mapping

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from sapnet_core.methods.base import Training
from sapnet_core.methods.building_blocks import Batches, clips, layers, reseed
from sapnet_core.methods.settings import TRAINING, options
from sapnet_core.methods.train_set import TrainSet
from sapnet_core.sapnet.losses import l_reg

__all__ = ["SETTINGS", "training", "rearranged"]

SETTINGS = {"weight": 1.0, **TRAINING}


def rearranged(x: Tensor, which: Tensor) -> Tensor:
    """Rearrange the clips of videos (B, T, C) by `which` (B,): 0 original, 1 reversed, 2 halves swapped, 3 both."""
    place = torch.arange(x.shape[1], device=x.device)
    swapped = place.roll(len(place) // 2)
    order = torch.stack([place, place.flip(0), swapped, swapped.flip(0)])[which]  # (B, T)
    return x.gather(1, order.unsqueeze(2).expand_as(x))


def training(train: TrainSet, settings: Mapping, generator: torch.Generator) -> Training:
    """Settings: `weight` (w, 0: I3D+MLP on clips in order), and the training settings."""
    o = options("s4l", settings, SETTINGS)
    reseed(generator)
    x = clips(train.frame)  # (N, T, C)
    net = nn.ModuleDict(
        {"trunk": layers(x[0].numel(), 256, 128), "score": nn.Linear(128, 1), "order": nn.Linear(128, 4)}
    ).to(x.device)
    draw = Batches(train, o, generator)

    def head(name: str, x: Tensor) -> Tensor:
        return net[name](torch.relu(net["trunk"](x.flatten(1))))

    def loss(step: int) -> dict[str, Tensor]:
        i = draw.labeled()
        terms = {"L_reg": l_reg(head("score", x[i]).squeeze(1), draw.y[i])}
        terms["L_all"] = terms["L_reg"]
        if o.weight:
            every = x[torch.cat([i, draw.unlabeled()])]
            which = torch.randint(4, (len(every),)).to(x.device)
            terms["L_order"] = F.cross_entropy(head("order", rearranged(every, which)), which)
            terms["L_all"] = terms["L_all"] + o.weight * terms["L_order"]
        return terms

    def score(frame: Tensor) -> Tensor:
        return head("score", clips(frame)).squeeze(1) * draw.scale + draw.shift

    return Training(net, loss, score, o.steps, o.lr, draw.samplers)
