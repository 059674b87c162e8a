"""GDLT: a transformer with one learned query per grade, which measures how strongly a video shows that grade.

Source: Xu et al., "Likert Scoring with Grade Decoupling for Long-term Action Assessment", CVPR 2022.

    e_i = Decoder(query_i, Encoder(X)),  i = 1..G,    s_i = MLP(e_i)
    score = sum_i w_i sigmoid(s_i) / sum_i sigmoid(s_i),    w = 0, 1/(G-1), ..., 1
    L = MSE + alpha [m + max_+ d(e, e+) - min_- d(e, e-)]_+,    d = 1 - cosine

The triplet loss pulls embeddings of the same grade together and pushes those of different grades apart, for the hardest
pairs of the batch.
Published: G = 4, one encoder and two decoder layers of width 256, alpha = 1, m = 1, dropout 0.3, SGD at 0.01.
It learns from labeled videos only. Deviations: width 64 for features of 256 channels, Adam, and a different score
range: the weights 0 and 1 correspond to the ends of the range of labeled scores, extended by a tenth on either side;
the published range is 0 to 25 points.
"""

from collections.abc import Mapping

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from sapnet_core.methods.base import Training
from sapnet_core.methods.building_blocks import Batches, clips, layers, reseed
from sapnet_core.methods.settings import OWN_UNITS, options
from sapnet_core.methods.train_set import TrainSet
from sapnet_core.sapnet.losses import l_reg

__all__ = ["SETTINGS", "training", "LikertTransformer", "grade_triplet"]

SETTINGS = {"alpha": 1.0, "margin": 1.0, "grades": 4, "width": 64, "dropout": 0.3, **OWN_UNITS}


class LikertTransformer(nn.Module):
    """Transformer of GDLT: clips (B, T, C) -> scores (B,) in (0, 1), and embeddings of the grades (B, G, D)."""

    def __init__(self, channels: int, width: int, grades: int, dropout: float):
        super().__init__()
        make = {"d_model": width, "nhead": 1, "dim_feedforward": 2 * width, "dropout": dropout, "batch_first": True}
        self.reduce = layers(channels, 2 * width, width)
        self.encoder = nn.TransformerEncoderLayer(**make)
        self.decoder = nn.ModuleList(nn.TransformerDecoderLayer(**make) for _ in range(2))
        self.queries = nn.Parameter(torch.randn(grades, width))
        self.respond = nn.Linear(width, 1)

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        memory = self.encoder(self.reduce(x))
        e = self.queries.expand(len(x), -1, -1)
        for layer in self.decoder:
            e = layer(e, memory)
        share = torch.sigmoid(self.respond(e)).squeeze(2)  # (B, G)
        weights = torch.linspace(0, 1, e.shape[1], device=x.device)
        return (share @ weights) / share.sum(1), e


def grade_triplet(e: Tensor, margin: float) -> Tensor:
    """Triplet loss of a batch of grade embeddings (B, G, D), in cosine distance, over the hardest pairs.

    Each embedding should be closer to all of its own grade than to any of another grade, by the margin.
    """
    unit = F.normalize(e, dim=2).flatten(0, 1)  # (B G, D)
    grade = torch.arange(e.shape[1], device=e.device).repeat(len(e))
    same = grade[:, None] == grade
    far = 1 - unit @ unit.T
    hardest = far.masked_fill(~same, -torch.inf).amax(1), far.masked_fill(same, torch.inf).amin(1)
    return torch.relu(margin + hardest[0] - hardest[1]).mean()


def training(train: TrainSet, settings: Mapping, generator: torch.Generator) -> Training:
    """Settings: `alpha` (0: no triplet loss), `margin`, `grades`, `width`, `dropout`, and the training settings."""
    o = options("gdlt", settings, SETTINGS)
    o.batch_unlabeled, o.unit_targets = 1, False
    known = train.y[train.labeled]
    spread = float(known.max() - known.min()) or 1.0
    shift, scale = float(known.min()) - 0.1 * spread, 1.2 * spread
    reseed(generator)
    x = clips(train.frame)
    net = LikertTransformer(x.shape[2], o.width, o.grades, o.dropout).to(x.device)
    draw = Batches(train, o, generator)
    y = (draw.y - shift) / scale

    def loss(step: int) -> dict[str, Tensor]:
        i = draw.labeled()
        score, e = net(x[i])
        terms = {"L_reg": l_reg(score, y[i])}
        terms["L_all"] = terms["L_reg"]
        if o.alpha:
            terms["L_triplet"] = grade_triplet(e, o.margin)
            terms["L_all"] = terms["L_all"] + o.alpha * terms["L_triplet"]
        return terms

    def score(frame: Tensor) -> Tensor:
        return net(clips(frame))[0] * scale + shift

    return Training(net, loss, score, o.steps, o.lr, draw.samplers)
