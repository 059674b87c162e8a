"""Pseudo-labels: the network's own confident predictions for unlabeled videos become targets.

Source: Lee, "Pseudo-Label", ICML workshop 2013; the paper cites Hou et al., AAAI 2017, for the same idea. On the
layers of I3D+MLP:

    L = 1/N_l sum_i (f(x_i) - y_i)^2 + w(t) lambda 1/N_u sum_u 1[conf_u >= tau] (f(x_u) - y^_u)^2

Targets y^_u are computed after a supervised warm-up and renewed in rounds, as in Hou et al. They are constant within a
round, because a regressor's current output as its own target gives no gradient. w(t) grows linearly to 1 from the end
of the warm-up to the last step.
Published: tau = 0.95, warm-up 40 % of the steps, lambda = 1.
Deviation: a regressor has no class probability. As for SAP-Net (E3), an additional grade head classifies the score
into equal-mass bins, and its largest probability is the confidence.
"""

from collections.abc import Mapping

import torch
from torch import nn

from sapnet_core.methods.base import Training
from sapnet_core.methods.building_blocks import Batches, layers, reseed, views
from sapnet_core.methods.settings import TRAINING, options
from sapnet_core.methods.train_set import TrainSet
from sapnet_core.sapnet.losses import grade_confidence, grade_edges, l_grade, l_reg, l_un

__all__ = ["SETTINGS", "training"]

SETTINGS = {"weight": 1.0, "tau": 0.7, "warmup": 0.4, "rounds": 4, "grades": 5, "ordered": False, **TRAINING}


def training(train: TrainSet, settings: Mapping, generator: torch.Generator) -> Training:
    """Settings: `weight` (lambda, 0: I3D+MLP), `tau`, `warmup` (share of the steps), `rounds`, `grades`, `ordered`
    (E18), and the training settings."""
    o = options("pseudo-labels", settings, SETTINGS)
    reseed(generator)
    x = views(train.frame, o.ordered)
    net = nn.ModuleDict(
        {"trunk": layers(x.shape[1], 256, 128), "score": nn.Linear(128, 1), "grade": nn.Linear(128, o.grades)}
    ).to(x.device)
    draw = Batches(train, o, generator)
    edges = grade_edges(draw.y[train.labeled], o.grades)
    start = int(o.warmup * o.steps)
    renew = max(1, (o.steps - start) // max(o.rounds, 1))
    targets = torch.full_like(draw.y, torch.nan)
    sure = torch.zeros_like(draw.y)

    def heads(x: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        h = torch.relu(net["trunk"](x))
        return net["score"](h).squeeze(1), net["grade"](h.detach())

    def loss(step: int) -> dict[str, torch.Tensor]:
        i = draw.labeled()
        score, grade = heads(x[i])
        terms = {"L_reg": l_reg(score, draw.y[i]), "L_grade": l_grade(grade, draw.y[i], edges)}
        terms["L_all"] = terms["L_reg"] + terms["L_grade"]
        if o.weight and step >= start:
            if (step - start) % renew == 0:
                with torch.no_grad():
                    targets[:], grade = heads(x)
                    sure[:] = grade_confidence(grade)
            u = draw.unlabeled()
            grown = (step - start + 1) / (o.steps - start)  # w(t)
            terms["L_pseudo"] = l_un(heads(x[u])[0], targets[u], sure[u], o.tau)
            terms["share_confident"] = (sure[u] >= o.tau).float().mean()
            terms["L_all"] = terms["L_all"] + o.weight * grown * terms["L_pseudo"]
        return terms

    def score(frame: torch.Tensor) -> torch.Tensor:
        return heads(views(frame, o.ordered))[0] * draw.scale + draw.shift

    return Training(net, loss, score, o.steps, o.lr, draw.samplers, {"targets": targets, "sure": sure})
