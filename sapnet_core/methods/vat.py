"""VAT: the score should not change under the worst small perturbation of a video's features.

Source: Miyato et al., "Virtual Adversarial Training", TPAMI 2019. On the layers of I3D+MLP:

    L = 1/N_l sum_i (f(x_i) - y_i)^2 + a 1/N sum_i D(f(x_i), f(x_i + r_i)),    r = eps g / ||g||,
    g = grad_d D(f(x), f(x + xi d)),  d a random direction, one power iteration

Published: D = KL, one iteration, a = 1; eps and xi depend on the task. The second term covers labeled and unlabeled
videos.
Deviations: the output is a number, so D is the squared difference. eps and xi are given as shares of the mean norm
||x|| of the training videos; the published xi = 1e-6 would be lost to rounding in single precision. g is divided by its
norm as printed; the public code adds 1e-8 to the norm, which counts where g is small.
"""

from collections.abc import Mapping

import torch
import torch.nn.functional as F

from sapnet_core.methods.base import Training
from sapnet_core.methods.building_blocks import Batches, layers, reseed, views
from sapnet_core.methods.settings import TRAINING, options
from sapnet_core.methods.train_set import TrainSet
from sapnet_core.methods.video_batch import VideoBatch
from sapnet_core.sapnet.losses import l_reg

__all__ = ["SETTINGS", "training", "adversary"]

SETTINGS = {"weight": 1.0, "eps": 0.3, "xi": 0.05, "iterations": 1, "ordered": False, **TRAINING}


def adversary(net, x: torch.Tensor, eps: float, xi: float, iterations: int = 1) -> torch.Tensor:
    """Perturbations r (B, D) of norm `eps` that change the score of each x (B, D) most, by power iteration.

    `xi` is the norm of the finite difference.
    """
    d = F.normalize(torch.randn_like(x), dim=1)
    with torch.no_grad():
        clean = net(x)
    for _ in range(iterations):
        d.requires_grad_()
        change = (clean - net(x + xi * d)).square().sum()  # D, summed over the batch
        (gradient,) = torch.autograd.grad(change, d)
        d = F.normalize(gradient, dim=1, eps=1e-30).detach()
    return eps * d


def training(train: TrainSet, settings: Mapping, generator: torch.Generator) -> Training:
    """Settings: `weight` (a, 0: I3D+MLP), `eps`, `xi`, `iterations`, `ordered` (E18), and the training settings."""
    o = options("vat", settings, SETTINGS)
    reseed(generator)
    x = views(train.frame, o.ordered)
    length = float(x.norm(dim=1).mean())
    net = layers(x.shape[1], 256, 128, 1).append(torch.nn.Flatten(0)).to(x.device)
    draw = Batches(train, o, generator)

    def loss(step: int) -> dict[str, torch.Tensor]:
        i = draw.labeled()
        terms = {"L_reg": l_reg(net(x[i]), draw.y[i])}
        terms["L_all"] = terms["L_reg"]
        if o.weight:
            every = torch.cat([x[i], x[draw.unlabeled()]])
            r = adversary(net, every, o.eps * length, o.xi * length, o.iterations)
            terms["L_vat"] = (net(every).detach() - net(every + r)).square().mean()
            terms["L_all"] = terms["L_all"] + o.weight * terms["L_vat"]
        return terms

    def score(videos: VideoBatch) -> torch.Tensor:
        return net(views(videos.frame, o.ordered)) * draw.scale + draw.shift

    return Training(net, loss, score, o.steps, o.lr, draw.samplers)
