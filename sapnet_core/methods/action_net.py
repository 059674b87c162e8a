"""Action-Net: context-aware attention over time, in one stream for motion and one for postures.

Source: Zeng et al., "Hybrid Dynamic-static Context-aware Attention Network", ACM MM 2020.

    U = relu(relu(X W_a) W_b),    H = relu(A relu(A U W_1) W_2),    A = Q^-1/2 E Q^-1/2,  E_ij = exp(-|i - j|)
    alpha = softmax_t(g([U, H])),    z = sum_t alpha_t [u_t, h_t],    score = sigmoid(MLP([z_dynamic, z_static]))
    L = MSE

Q is the diagonal matrix of the row sums of E. W_a halves the channels and W_b gives the width D; the MLP has 128 hidden
units with a dropout of 0.5.
Published: D = 256, 26 clips of 1024-d I3D features, and 2048-d ResNet features of 80 evenly spaced images of the actor,
cropped; SGD at 0.01 and five times that for the MLP, batches of 32, score / 25 as the target. It learns from labeled
videos only. Deviations: *both* streams see whole frames, through one backbone, and none sees crops of the actor. The
dynamic stream takes the 16-frame clips. The static stream takes `postures` evenly spaced steps of eight frames, the
shortest spans that the features have, so it still sees some motion and the actor's surroundings. D = 128 for features
of 256 channels; Adam at one rate; batches of 16. The sigmoid spans the `score_range` of GDLT.
"""

from collections.abc import Mapping

import torch
from torch import Tensor, nn

from sapnet_core.methods.base import Training
from sapnet_core.methods.building_blocks import Batches, clips, layers, reseed
from sapnet_core.methods.gdlt import score_range
from sapnet_core.methods.settings import OWN_UNITS, options
from sapnet_core.methods.train_set import TrainSet
from sapnet_core.methods.video_batch import VideoBatch
from sapnet_core.sapnet.losses import l_reg

__all__ = ["SETTINGS", "training", "ContextAttention", "postures", "time_graph"]

SETTINGS = {"width": 128, "postures": 80, "static": True, "context": True, "dropout": 0.5, **OWN_UNITS}


def postures(x: Tensor, count: int) -> Tensor:
    """The middle steps of `count` equal parts of the video: (B, S, C) -> (B, count, C), or all S if there are fewer."""
    count = min(count, x.shape[1])
    middle = (torch.arange(count, device=x.device) * 2 + 1) * x.shape[1] // (2 * count)
    return x[:, middle]


def time_graph(steps: int, device: torch.device) -> Tensor:
    """Normalized adjacency Q^-1/2 E Q^-1/2 of the steps of a video, (T, T), with E_ij = exp(-|i - j|)."""
    place = torch.arange(steps, device=device, dtype=torch.get_default_dtype())
    e = torch.exp(-(place[:, None] - place).abs())
    norm = e.sum(1).rsqrt()
    return norm[:, None] * e * norm


class ContextAttention(nn.Module):
    """One stream: (B, T, C) -> (B, 2 D), with D = `width`.

    Without `context`, the embeddings are averaged with equal weights and without the graph.
    """

    def __init__(self, channels: int, width: int, context: bool):
        super().__init__()
        self.context = context
        self.embed = layers(channels, channels // 2, width)
        self.graph = nn.ModuleList(nn.Linear(width, width) for _ in range(2))
        self.weigh = layers(2 * width, max(1, width // 2), 1)

    def forward(self, x: Tensor) -> Tensor:
        u = torch.relu(self.embed(x))
        if not self.context:
            return torch.cat([u, u], 2).mean(1)
        a, h = time_graph(x.shape[1], x.device), u
        for layer in self.graph:
            h = torch.relu(layer(a @ h))
        both = torch.cat([u, h], 2)
        return (torch.softmax(self.weigh(both), 1) * both).sum(1)


def training(train: TrainSet, settings: Mapping, generator: torch.Generator) -> Training:
    """Settings: `width`, `postures`, `static` (False: dynamic stream only), `context`, `dropout`, and the training
    settings without `unit_targets`."""
    o = options("action-net", settings, SETTINGS)
    o.batch_unlabeled, o.unit_targets = 1, False
    shift, scale = score_range(train)
    reseed(generator)
    streams, order = 1 + bool(o.static), train.positions.argsort()
    net = nn.ModuleDict(
        {
            "streams": nn.ModuleList(ContextAttention(train.channels, o.width, o.context) for _ in range(streams)),
            "score": layers(2 * o.width * streams, 128, 1, dropout=o.dropout),
        }
    ).to(train.y.device)
    draw = Batches(train, o, generator)
    y = (draw.y - shift) / scale

    def within_range(x: Tensor) -> Tensor:
        seen = (clips(x), postures(x[:, order], o.postures))
        z = [stream(part) for stream, part in zip(net["streams"], seen, strict=False)]
        return torch.sigmoid(net["score"](torch.cat(z, 1))).squeeze(1)

    def loss(step: int) -> dict[str, Tensor]:
        i = draw.labeled()
        return {"L_all": l_reg(within_range(train.frame[i]), y[i])}

    def score(videos: VideoBatch) -> Tensor:
        return within_range(videos.frame) * scale + shift

    return Training(net, loss, score, o.steps, o.lr, draw.samplers)
