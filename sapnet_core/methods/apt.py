"""APT, after its title: learned queries parse a video into the steps of the action, and each step adds to the score.

Source: Fang, Zhou and Li, "End-to-end action quality assessment with action parsing transformer", VCIP 2023. There is
no public code, and no text of it was to be had: this system follows the title, and the sentence that the SAP-Net paper
gives it, by which it takes the holistic feature apart into finer features of single steps.

    step_k = decoder(query_k, encoder(X)),  k = 1..K,    score = sum_k r_k(step_k),    L = MSE

The encoder is a transformer layer over the clips, with sines of their time added. The decoder is that of
`methods.tap`: two layers in which the queries attend over time, without its order losses. r_k is an MLP of two layers
with the step's own last layer.
Published: not known but for its results. It learns from labeled videos only, and does not use the difficulty.
Deviations: all of it is a reading. K = 3 because a dive is taught in three phases, take-off, flight and entry; widths
are those of TAP, and the training settings those of all methods.
"""

import math
from collections.abc import Mapping

import torch
from torch import Tensor, nn

from sapnet_core.methods.base import Training
from sapnet_core.methods.building_blocks import Batches, clips, reseed
from sapnet_core.methods.settings import LABELED, options
from sapnet_core.methods.tap import PartDecoder
from sapnet_core.methods.time_codes import time_codes
from sapnet_core.methods.train_set import TrainSet
from sapnet_core.methods.video_batch import VideoBatch
from sapnet_core.sapnet.losses import l_reg

__all__ = ["SETTINGS", "training", "ActionParser"]

SETTINGS = {"queries": 3, "width": 128, "dropout": 0.1, "parse": True, **LABELED}
HEADS = 4


class ActionParser(nn.Module):
    """Clips (B, T, C) -> what each of K steps adds to the score, (B, K).

    Without `parse`, each step is the mean over the clips.
    """

    def __init__(self, channels: int, width: int, queries: int, dropout: float, parse: bool):
        super().__init__()
        self.project = nn.Linear(channels, width)
        self.encoder = nn.TransformerEncoderLayer(width, math.gcd(HEADS, width), 2 * width, dropout, batch_first=True)
        self.decoder = PartDecoder(width, width, queries, dropout) if parse else None
        self.hidden = nn.Sequential(nn.Linear(width, width), nn.ReLU(), nn.Dropout(dropout))
        self.worth = nn.Linear(width, queries)  # row k is the last layer of step k

    def forward(self, x: Tensor) -> Tensor:
        z = self.project(x)
        z = self.encoder(z + time_codes(z.shape[1], z.shape[2], z.device))
        if self.decoder is None:
            steps = z.mean(1, keepdim=True).expand(-1, len(self.worth.weight), -1)
        else:
            steps, _ = self.decoder(z)
        return (self.hidden(steps) * self.worth.weight).sum(2) + self.worth.bias


def training(train: TrainSet, settings: Mapping, generator: torch.Generator) -> Training:
    """Settings: `queries` (K), `width`, `dropout`, `parse` (False: no queries, the mean over the clips), and the
    training settings."""
    o = options("apt", settings, SETTINGS)
    o.batch_unlabeled = 1
    reseed(generator)
    x = clips(train.frame)
    net = ActionParser(x.shape[2], o.width, o.queries, o.dropout, o.parse).to(x.device)
    draw = Batches(train, o, generator)

    def loss(step: int) -> dict[str, Tensor]:
        i = draw.labeled()
        return {"L_all": l_reg(net(x[i]).sum(1), draw.y[i])}

    def score(videos: VideoBatch) -> Tensor:
        return net(clips(videos.frame)).sum(1) * draw.scale + draw.shift

    return Training(net, loss, score, o.steps, o.lr, draw.samplers)
