"""S4AQA: recovery of the feature of a masked segment, and adversarial alignment of unlabeled with labeled videos.

Source: Zhang et al., "Semi-Supervised Action Quality Assessment With Self-Supervised Segment Feature Recovery",
TCSVT 2022. There is no public code; this implementation follows the description.

    L = 1/N_l sum_i (R(e_i) - y_i)^2 + l1 1/N_u sum_u |D(e~_u) - v_{u,k}| + l2 BCE(A(e), labeled or not)

e is the embedding of a video's clips, e~ the embedding of an unlabeled video with clip k masked, v_{u,k} that clip's
feature, D a decoder of two layers with ReLU, A a discriminator behind a gradient reversal, whose strength grows as
2 / (1 + exp(-10 p)) - 1 with the share p of steps done. The losses are published, their weights are not.
D is not told k: the embedding must say which clip is missing as well as what it shows.
Deviations: the layers of the encoder are not described in public. It has to "exploit the temporal pattern" of the
segments, so here it is recurrent: a GRU in both directions over the clips, whose states are averaged over time. The
segments are the clips of the dataset's protocol; a masked clip is set to the mean of the training videos, which is
zero; l1 and l2 were searched in {0.1, 1}.
"""

import math
from collections.abc import Mapping

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from sapnet_core.methods.base import Training
from sapnet_core.methods.building_blocks import Batches, clips, layers, reseed
from sapnet_core.methods.settings import TRAINING, options
from sapnet_core.methods.train_set import TrainSet
from sapnet_core.methods.video_batch import VideoBatch
from sapnet_core.sapnet.losses import l_reg

__all__ = ["SETTINGS", "Encoder", "training", "reverse_gradient"]

SETTINGS = {"recovery": 1.0, "adversarial": 0.1, "width": 128, **TRAINING}


class Encoder(nn.Module):
    """Embedding of a video's clips in order: (B, T, C) -> (B, 2 * (width // 2)), the mean over time of the states of a
    GRU that runs in both directions."""

    def __init__(self, channels: int, width: int):
        super().__init__()
        self.states = nn.GRU(channels, max(width // 2, 1), batch_first=True, bidirectional=True)

    def forward(self, x: Tensor) -> Tensor:
        return self.states(x)[0].mean(1)


class _Reverse(torch.autograd.Function):
    @staticmethod
    def forward(ctx, x: Tensor, strength: float) -> Tensor:
        ctx.strength = strength
        return x.view_as(x)

    @staticmethod
    def backward(ctx, gradient: Tensor) -> tuple[Tensor, None]:
        return -ctx.strength * gradient, None


def reverse_gradient(x: Tensor, strength: float) -> Tensor:
    """Identity in the forward pass, for any shape; the backward pass multiplies the gradient by `-strength`."""
    return _Reverse.apply(x, strength)


def training(train: TrainSet, settings: Mapping, generator: torch.Generator) -> Training:
    """Settings: `recovery` (l1), `adversarial` (l2; both 0: the encoder on labeled videos alone), `width` (of the
    embedding), and the training settings."""
    o = options("s4aqa", settings, SETTINGS)
    reseed(generator)
    x = clips(train.frame)  # (N, T, C)
    _, parts, channels = x.shape
    encoder = Encoder(channels, o.width)
    width = 2 * encoder.states.hidden_size
    net = nn.ModuleDict(
        {
            "encoder": encoder,
            "score": nn.Linear(width, 1),
            "decoder": layers(width, 256, channels),
            "discriminator": layers(width, 64, 1),
        }
    ).to(x.device)
    draw = Batches(train, o, generator)

    def adversarial(e: Tensor, known: Tensor, step: int) -> Tensor:
        strength = 2 / (1 + math.exp(-10 * step / o.steps)) - 1
        guess = net["discriminator"](reverse_gradient(e, strength)).squeeze(1)
        return F.binary_cross_entropy_with_logits(guess, known)

    def loss(step: int) -> dict[str, Tensor]:
        i, u = draw.labeled(), draw.unlabeled()
        k = F.one_hot(torch.randint(parts, (len(u),)), parts).to(x)  # (B, T): one-hot index of the masked clip
        seen = x[u]
        masked = seen * (1 - k).unsqueeze(2)
        e, e_u, e_masked = net["encoder"](torch.cat([x[i], seen, masked])).split([len(i), len(u), len(u)])
        terms = {"L_reg": l_reg(net["score"](e).squeeze(1), draw.y[i])}
        terms["L_all"] = terms["L_reg"]
        if o.recovery:
            v = (seen * k.unsqueeze(2)).sum(1)
            terms["L_recovery"] = (net["decoder"](e_masked) - v).abs().mean()
            terms["L_all"] = terms["L_all"] + o.recovery * terms["L_recovery"]
        if o.adversarial:
            both = torch.cat([e, e_u])
            known = torch.arange(len(both), device=x.device) < len(i)
            terms["L_adv"] = adversarial(both, known.to(x), step)
            terms["L_all"] = terms["L_all"] + o.adversarial * terms["L_adv"]
        return terms

    def score(videos: VideoBatch) -> Tensor:
        return net["score"](net["encoder"](clips(videos.frame))).squeeze(1) * draw.scale + draw.shift

    return Training(net, loss, score, o.steps, o.lr, draw.samplers)
