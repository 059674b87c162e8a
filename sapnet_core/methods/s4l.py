"""S4L: the layers that score labeled videos also tell by how far the frames of any video were rotated.

Source: Zhai et al., "S4L: Self-Supervised Semi-Supervised Learning", ICCV 2019, and its public code.

    L = 1/(4 N_l) sum_i sum_r (f(r(x_i)) - y_i)^2 + w/2 (L_rot(labeled) + L_rot(unlabeled))
    L_rot = 1/(4 N) sum_i sum_r CE(g(r(x_i)), r),    r turns whole frames by 0, 90, 180 or 270 degrees

Published: w = 1; all four rotations of every image are in a batch, the labeled ones learn their label in each, and a
batch has as many unlabeled as labeled images; prediction is from the image that was not rotated. Kept here.
Deviations: the backbone is frozen, so rotations are learned by the layers behind it, from features of rotated frames
that are computed once (`features.rotated`); f and g share the layers of I3D+MLP and end in one linear layer each; the
task is a regression; Adam replaces SGD at 0.03 with weight decay 1e-3.
"""

from collections.abc import Mapping

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from sapnet_core.methods.base import Training
from sapnet_core.methods.building_blocks import Batches, layers, reseed, views
from sapnet_core.methods.settings import TRAINING, options
from sapnet_core.methods.train_set import TrainSet
from sapnet_core.methods.video_batch import VideoBatch
from sapnet_core.sapnet.losses import l_reg

__all__ = ["SETTINGS", "training", "four_rotations"]

SETTINGS = {"weight": 1.0, "ordered": False, **TRAINING}


def four_rotations(train: TrainSet, ordered: bool) -> Tensor:
    """Inputs (N, 4, D) of all rotations of the training videos, 0 degrees first; D as in `building_blocks.views`.

    Raises:
        ValueError: the training set has no rotated views.
    """
    if train.rotated is None:
        raise ValueError(
            "s4l learns from rotated frames, and this training set has none: give videos instead of sequences, "
            "or TrainSet.rotated"
        )
    every = torch.cat([train.frame.unsqueeze(1), train.rotated], 1)  # (N, 4, S, C)
    return views(every.flatten(0, 1), ordered).unflatten(0, (-1, 4))


def training(train: TrainSet, settings: Mapping, generator: torch.Generator) -> Training:
    """Settings: `weight` (w, 0: scores of rotated labeled videos alone), `ordered` (E18), and the training settings."""
    o = options("s4l", settings, SETTINGS)
    reseed(generator)
    x = four_rotations(train, o.ordered)
    net = nn.ModuleDict(
        {"trunk": layers(x.shape[2], 256, 128), "score": nn.Linear(128, 1), "rotation": nn.Linear(128, 4)}
    ).to(x.device)
    draw = Batches(train, o, generator)

    def head(name: str, x: Tensor) -> Tensor:
        return net[name](torch.relu(net["trunk"](x)))

    def told(h: Tensor) -> Tensor:
        """L_rot of the logits (B, 4, 4) of all rotations."""
        return F.cross_entropy(h.flatten(0, 1), torch.arange(4, device=h.device).repeat(len(h)))

    def loss(step: int) -> dict[str, Tensor]:
        i = draw.labeled()
        guess, y = head("score", x[i]).flatten(), draw.y[i].repeat_interleave(4)
        terms = {"L_reg": l_reg(guess, y)}
        terms["L_all"] = terms["L_reg"]
        if o.weight:
            known, hidden = head("rotation", x[torch.cat([i, draw.unlabeled()])]).tensor_split([len(i)])
            terms["L_rot"] = (told(known) + told(hidden)) / 2
            terms["L_all"] = terms["L_all"] + o.weight * terms["L_rot"]
        return terms

    def score(videos: VideoBatch) -> Tensor:
        return head("score", views(videos.frame, o.ordered)).squeeze(1) * draw.scale + draw.shift

    return Training(net, loss, score, o.steps, o.lr, draw.samplers)
