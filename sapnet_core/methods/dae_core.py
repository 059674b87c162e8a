"""DAE-CoRe: by how much a score differs from that of an exemplar, as a normal distribution instead of a tree of leaves.

Source: Zhang et al., "Auto-Encoding Score Distribution Regression for Action Quality Assessment", Neural Computing and
Applications 2023, and its public code, which holds DAE without CoRe. Yu et al. (ICCV 2021) describe CoRe.

    (mu, log sigma^2) = MLP([x_e, x_q, y_e]),    L = alpha (Delta - mu)^2 / sigma^2 + beta log sigma^2
    y_q = mean_e (y_e + mu)

x are features averaged over time, q is the video, e an exemplar and Delta = y_q - y_e. `exemplars` chooses e. Each pair
is learned in both orders.
Published: DAE has 1024 channels, an MLP of 256 and 128 units, alpha = 0.6, beta = 0.4, Adam at 1e-4 with a weight decay
of 1e-5, batches of 8, 100 epochs; CoRe has pairs of the same difficulty and ten exemplars. It learns from labeled
videos only, and uses the difficulty, or the action, of every video.
Deviations: how DAE and CoRe are joined is not public; here DAE stands where CoRe has its tree. L is the likelihood by
which the abstract says that DAE learns. None of the three losses in public code is this one: the first has the squared
error in the denominator, alpha / (sigma^2 (Delta - mu)^2) + beta log sigma^2, and gives sigma no gradient; the second
divides it by sigma instead of sigma^2; the third, the one that trains, is the squared errors of mu and of a sample
z = mu + sigma eps, which pull sigma to 0. `likelihood = False` is the third. A prediction takes mu, where the public
code draws eps too. The backbone is frozen, sigma^2 has a floor (`likelihood`), the exemplars are the nearest ones, and
targets and training settings are those of all methods.
"""

from collections.abc import Mapping

import torch
from torch import Tensor

from sapnet_core.methods.base import Training
from sapnet_core.methods.building_blocks import Batches, layers, reseed
from sapnet_core.methods.exemplars import Exemplars
from sapnet_core.methods.likelihood import likelihood_loss, variance_of
from sapnet_core.methods.settings import LABELED, options
from sapnet_core.methods.train_set import TrainSet
from sapnet_core.methods.video_batch import VideoBatch
from sapnet_core.sapnet.losses import l_reg

__all__ = ["SETTINGS", "training", "sample_loss"]

SETTINGS = {"exemplars": 10, "match": "difficulty", "alpha": 0.6, "beta": 0.4, "likelihood": True, **LABELED}


def sample_loss(mean: Tensor, variance: Tensor, gap: Tensor, noise: Tensor) -> Tensor:
    """The loss that the public code trains with, averaged over B pairs: squared errors of mu and of mu + sigma eps,
    from mu, sigma^2, relative scores and eps, (B,) each."""
    return l_reg(mean + variance.sqrt() * noise, gap) + l_reg(mean, gap)


def training(train: TrainSet, settings: Mapping, generator: torch.Generator) -> Training:
    """Settings: `exemplars` (their number), `match` ("difficulty" or "action", what they share with the video), `alpha`
    and `beta` (weights of the likelihood), `likelihood` (False: the loss of the public code), and the training
    settings."""
    o = options("dae-core", settings, SETTINGS)
    o.batch_unlabeled = 1
    reseed(generator)
    x = train.frame.mean(1)
    net = layers(2 * x.shape[1] + 1, 256, 128, 2).to(x.device)
    draw = Batches(train, o, generator)
    exemplars = Exemplars(train, o.match, generator)

    def compare(q: Tensor, e: Tensor) -> tuple[Tensor, Tensor]:
        """mu and sigma^2 (P,) each, from features of videos (P, C) and (P,) rows of their exemplars."""
        mean, log_variance = net(torch.cat([x[e], q, draw.y[e].unsqueeze(1)], 1)).unbind(1)
        return mean, variance_of(log_variance)

    def loss(step: int) -> dict[str, Tensor]:
        i, e = exemplars.both_orders(draw.labeled())
        mean, variance = compare(x[i], e)
        gap = draw.y[i] - draw.y[e]
        if not o.likelihood:
            return {"L_all": sample_loss(mean, variance, gap, torch.randn_like(gap))}
        return {"L_all": likelihood_loss(mean, variance, gap, o.alpha, o.beta), "L_reg": l_reg(mean, gap).detach()}

    def score(videos: VideoBatch) -> Tensor:
        seen = videos.frame.mean(1)
        return exemplars.vote(videos, o.exemplars, lambda q, e: compare(seen[q], e)[0] * draw.scale)

    return Training(net, loss, score, o.steps, o.lr, draw.samplers)
