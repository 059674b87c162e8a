"""Action-Net: context-aware attention over time, in one stream for motion and one for postures.

Source: Zeng et al., "Hybrid Dynamic-static Context-aware Attention Network", ACM MM 2020.

    U = relu(X W),  H = relu(A relu(A U W_1) W_2),  A_ij ~ exp(-|i - j|) (rows sum to 1)
    alpha = softmax_t(g([U, H])),    z = sum_t alpha_t [u_t, h_t],    score = MLP([z_dynamic, z_static]),    MSE

Published: 1024-d I3D clips and 2048-d ResNet images of 80 sampled instants, SGD at 0.01, score / 25 through a sigmoid.
It learns from labeled videos only. Deviations: one backbone serves both streams. The *dynamic* stream takes the clips
in order. The *static* stream takes the clips farthest from the video's mean (`postures`) as an unordered set, whose A
is exp(-distance of features) in place of distance in time. The optimizer is Adam, the output linear on standardized
scores.
"""

from collections.abc import Mapping

import torch
from torch import Tensor, nn

from sapnet_core.methods.base import Training
from sapnet_core.methods.building_blocks import Batches, clips, layers, reseed
from sapnet_core.methods.settings import LABELED, options
from sapnet_core.methods.train_set import TrainSet
from sapnet_core.sapnet.losses import l_reg

__all__ = ["SETTINGS", "training", "ContextAttention", "postures"]

SETTINGS = {"width": 128, "postures": 4, "static": True, "context": True, **LABELED}


def postures(x: Tensor, count: int) -> Tensor:
    """The `count` clips farthest from the video's mean: (B, T, C) -> (B, count, C), or all T if there are fewer."""
    far = (x - x.mean(1, keepdim=True)).norm(dim=2).topk(min(count, x.shape[1]), dim=1).indices
    return x.gather(1, far.unsqueeze(2).expand(-1, -1, x.shape[2]))


class ContextAttention(nn.Module):
    """One stream: (B, T, C) -> (B, 2 D), with D = `width`.

    `in_time` takes the distance in A over time, otherwise over features. Without `context`, the embeddings are averaged
    with equal weights and without the graph.
    """

    def __init__(self, channels: int, width: int, in_time: bool, context: bool):
        super().__init__()
        self.in_time, self.context = in_time, context
        self.embed = nn.Linear(channels, width)
        self.graph = nn.ModuleList(nn.Linear(width, width) for _ in range(2))
        self.weigh = layers(2 * width, width, 1)

    def forward(self, x: Tensor) -> Tensor:
        u = torch.relu(self.embed(x))
        if not self.context:
            return torch.cat([u, u], 2).mean(1)
        if self.in_time:
            place = torch.arange(x.shape[1], device=x.device, dtype=x.dtype)
            far = (place[:, None] - place).abs()
        else:
            far = torch.cdist(x, x)
            far = far / far.mean((1, 2), keepdim=True).clamp(min=1e-6)
        a = torch.softmax(-far, -1)  # exp(-distance), rows normalized
        h = u
        for step in self.graph:
            h = torch.relu(a @ step(h))
        both = torch.cat([u, h], 2)
        return (torch.softmax(self.weigh(both), 1) * both).sum(1)


def training(train: TrainSet, settings: Mapping, generator: torch.Generator) -> Training:
    """Settings: `width`, `postures`, `static` (False: dynamic stream only), `context`, and the training settings."""
    o = options("action-net", settings, SETTINGS)
    o.batch_unlabeled = 1
    reseed(generator)
    x = clips(train.frame)
    streams = 1 + bool(o.static)
    net = nn.ModuleDict(
        {
            "streams": nn.ModuleList(
                ContextAttention(x.shape[2], o.width, in_time, o.context) for in_time in (True, False)[:streams]
            ),
            "score": layers(2 * o.width * streams, 128, 1),
        }
    ).to(x.device)
    draw = Batches(train, o, generator)

    def standardized(x: Tensor) -> Tensor:
        seen = (x, postures(x, o.postures))
        z = [stream(part) for stream, part in zip(net["streams"], seen, strict=False)]
        return net["score"](torch.cat(z, 1)).squeeze(1)

    def loss(step: int) -> dict[str, Tensor]:
        i = draw.labeled()
        return {"L_all": l_reg(standardized(x[i]), draw.y[i])}

    def score(frame: Tensor) -> Tensor:
        return standardized(clips(frame)) * draw.scale + draw.shift

    return Training(net, loss, score, o.steps, o.lr, draw.samplers)
