"""TSA: segment a dive into its stages, then compare it stage by stage with exemplars whose scores are known.

Source: Xu et al., "FineDiving", CVPR 2022.

    L = BCE(a_k(t), transition k at t) + (y_e + R(q, e) - y_q)^2 + (y_q + R(e, q) - y_e)^2

for a query q and an exemplar e. a_k are two transition activations over time, each with its maximum taken in one of two
equal windows; each of the three stages is resampled to five steps; per stage, the steps of the first video attend to
those of the second, softmax(Q K^T / sqrt(D)) V; R predicts the relative score. The score of q is the mean over the
exemplars, y = mean_e (y_e + R(q, e)).
Published: ten exemplars of the same dive number. It learns from labeled videos only, and needs their annotated
transitions, so it rejects a dataset without them. Deviations: any labeled video can be an exemplar, because methods
receive no dive numbers here; one attention layer; transitions lie at feature steps.
"""

from collections.abc import Mapping

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from sapnet_core.methods.base import Training
from sapnet_core.methods.building_blocks import Batches, layers, reseed
from sapnet_core.methods.settings import LABELED, options
from sapnet_core.methods.train_set import TrainSet
from sapnet_core.sapnet.losses import l_reg
from sapnet_core.sapnet.parsing import key_frames

__all__ = ["SETTINGS", "training", "stages"]

SETTINGS = {"exemplars": 10, "width": 64, "attend": True, "procedure": True, **LABELED}
STEPS = 5  # of each of three stages


def stages(x: Tensor, at: Tensor) -> Tensor:
    """Cut S steps (B, S, D) into three stages at two transitions (B, 2), given in steps, and resample each stage
    linearly: (B, 3, 5, D)."""
    last = x.shape[1] - 1
    edges = torch.cat([torch.zeros_like(at[:, :1]), at, torch.full_like(at[:, :1], last)], 1)  # (B, 4)
    share = (torch.arange(STEPS, device=x.device) + 0.5) / STEPS
    place = edges[:, :-1, None] + share * edges.diff(dim=1).unsqueeze(2)  # (B, 3, 5)
    weight = (1 - (place.flatten(1).unsqueeze(2) - torch.arange(last + 1, device=x.device)).abs()).clamp(min=0)
    return (weight @ x).unflatten(1, (3, STEPS))  # (B, 15, S) @ (B, S, D)


class _TSA(nn.Module):
    def __init__(self, channels: int, width: int):
        super().__init__()
        self.embed = nn.Linear(channels, width)
        self.parser = layers(3 * width, width, 2)  # its input is a step and its two neighbors
        self.query, self.key, self.value = (nn.Linear(width, width) for _ in range(3))
        self.relative = layers(2 * width, width, 1)

    def transitions(self, z: Tensor) -> Tensor:
        """Logits of both transitions at every step: embedded steps (B, S, D) -> (B, S, 2)."""
        padded = F.pad(z, (0, 0, 1, 1))
        return self.parser(torch.cat([padded[:, :-2], z, padded[:, 2:]], 2))

    def forward(self, q: Tensor, e: Tensor, attend: bool) -> Tensor:
        """Relative score R(q, e), the query's score minus the exemplar's: stages (B, 3, 5, D) each -> (B,)."""
        weights = torch.softmax(self.query(q) @ self.key(e).transpose(-1, -2) / q.shape[-1] ** 0.5, -1)
        heard = weights @ self.value(e) if attend else torch.zeros_like(q)
        return self.relative(torch.cat([q, heard], -1)).mean((1, 2, 3))


def training(train: TrainSet, settings: Mapping, generator: torch.Generator) -> Training:
    """Settings: `exemplars` (their number), `width`, `attend` (False: the exemplar's features are ignored), `procedure`
    (False: three equal stages), and the training settings.

    Raises:
        ValueError: the dataset has no transitions, or a labeled video lacks them.
    """
    o = options("tsa", settings, SETTINGS)
    o.batch_unlabeled = 1
    labeled, last = train.labeled, train.frame.shape[1] - 1
    if train.transitions is None or train.transitions[labeled].isnan().any():
        raise ValueError("tsa learns from annotated transitions, which this set does not give for every labeled video")
    order = train.positions.argsort()
    x = train.frame[:, order]
    near = (train.transitions[labeled].unsqueeze(2) - train.positions[order]).abs().argmin(2)  # (N_l, 2) steps
    at = torch.zeros(len(x), 2, device=x.device).index_copy(0, labeled, near.float())
    equal = torch.tensor([last / 3, 2 * last / 3], device=x.device)
    reseed(generator)
    net = _TSA(x.shape[2], o.width).to(x.device)
    draw = Batches(train, o, generator)

    def cut(z: Tensor, at: Tensor) -> Tensor:
        return stages(z, at if o.procedure else equal.expand(len(z), 2))

    def loss(step: int) -> dict[str, Tensor]:
        i = torch.cat([draw.labeled(), draw.labeled()])
        e = i.roll(len(i) // 2)  # each video is both a query and an exemplar
        z = net.embed(x[i])
        logits = net.transitions(z)
        target = F.one_hot(at[i].long(), last + 1).transpose(1, 2).to(logits)  # (2 B, S, 2)
        q = cut(z, at[i])
        score = draw.y[e] + net(q, q.roll(len(i) // 2, 0), o.attend)
        terms = {"L_reg": 2 * l_reg(score, draw.y[i])}
        terms["L_parse"] = F.binary_cross_entropy_with_logits(logits, target)
        return {**terms, "L_all": terms["L_reg"] + terms["L_parse"]}

    def score(frame: Tensor) -> Tensor:
        z, few = net.embed(frame[:, order]), labeled[spread]
        q, r = cut(z, key_frames(net.transitions(z)).float()), cut(net.embed(x[few]), at[few])
        each = [draw.y[k] + net(q, r[j : j + 1].expand_as(q), o.attend) for j, k in enumerate(few)]
        return torch.stack(each).mean(0) * draw.scale + draw.shift

    # exemplars, spread evenly over the ranks of the labeled scores
    ranks = torch.linspace(0, len(labeled) - 1, min(o.exemplars, len(labeled))).round().long()
    spread = train.y[labeled].argsort()[ranks.to(x.device)]
    return Training(net, loss, score, o.steps, o.lr, draw.samplers)
