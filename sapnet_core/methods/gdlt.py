"""GDLT: a transformer with one learned query per grade, which measures how strongly a video shows that grade.

Source: Xu et al., "Likert Scoring with Grade Decoupling for Long-term Action Assessment", CVPR 2022.

    e_i = Decoder(query_i, Encoder(P(X))),  i = 1..G,    s_i = u_i e_i + b_i
    score = sum_i w_i sigmoid(s_i) / sum_i sigmoid(s_i),    w = 0, 1/(G-1), ..., 1
    L = MSE + alpha [m + max_+ d(e, e+) - min_- d(e, e-)]_+,    d = 1 - cosine

The triplet loss pulls embeddings of the same grade together and pushes those of different grades apart, for the hardest
pairs of the batch. P is two convolutions of kernel size 1, C -> C/2 -> D, each with batch normalization. Encoder and
decoder end in layer normalization, their feed-forward layers are three times as wide as D, and attention has one head.
Published: C = 1024, D = 256, G = 4, one encoder and two decoder layers, alpha = 1, m = 1, dropout 0.3, SGD at 0.01 with
a cosine schedule, batches of 32. It learns from labeled videos only. Deviations: D = C/4 as published is 64 for C = 256
and stays 64 for other C unless `width` says otherwise; Adam at 1e-3; batches as all systems have them. The weights 0
and 1 correspond to the ends of `score_range`, the published ones to 0 and 25 points.
"""

from collections.abc import Mapping

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from sapnet_core.methods.base import Training
from sapnet_core.methods.building_blocks import Batches, clips, reseed
from sapnet_core.methods.settings import OWN_UNITS, options
from sapnet_core.methods.train_set import TrainSet
from sapnet_core.methods.video_batch import VideoBatch
from sapnet_core.sapnet.losses import l_reg

__all__ = ["SETTINGS", "training", "LikertTransformer", "grade_triplet", "score_range"]

SETTINGS = {"alpha": 1.0, "margin": 1.0, "grades": 4, "width": 64, "dropout": 0.3, **OWN_UNITS}


class LikertTransformer(nn.Module):
    """Transformer of GDLT: clips (B, T, C) -> scores (B,) in (0, 1), and embeddings of the grades (B, G, D)."""

    def __init__(self, channels: int, width: int, grades: int, dropout: float):
        super().__init__()
        make = {"d_model": width, "nhead": 1, "dim_feedforward": 3 * width, "dropout": dropout, "batch_first": True}
        self.project = nn.Sequential(
            nn.Conv1d(channels, channels // 2, 1),
            nn.BatchNorm1d(channels // 2),
            nn.ReLU(),
            nn.Conv1d(channels // 2, width, 1),
            nn.BatchNorm1d(width),
        )
        encoder, decoder = nn.TransformerEncoderLayer(**make), nn.TransformerDecoderLayer(**make)
        self.encoder = nn.TransformerEncoder(encoder, 1, nn.LayerNorm(width), enable_nested_tensor=False)
        self.decoder = nn.TransformerDecoder(decoder, 2, nn.LayerNorm(width))
        for weight in (*self.encoder.parameters(), *self.decoder.parameters()):
            if weight.dim() > 1:  # as published; both decoder layers begin as copies of one
                nn.init.xavier_uniform_(weight)
        self.queries = nn.Parameter(torch.randn(grades, width))
        self.respond = nn.Linear(width, grades)  # row i is the response layer of grade i

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        memory = self.encoder(self.project(x.transpose(1, 2)).transpose(1, 2))
        e = self.decoder(self.queries.expand(len(x), -1, -1), memory)
        share = torch.sigmoid((e * self.respond.weight).sum(2) + self.respond.bias)  # (B, G)
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


def score_range(train: TrainSet) -> tuple[float, float]:
    """Least score and size of the range that a bounded output can reach: that of the labeled scores, extended by a
    tenth on either side; of the size 1.2 if all of these are equal."""
    known = train.y[train.labeled]
    spread = float(known.max() - known.min()) or 1.0
    return float(known.min()) - 0.1 * spread, 1.2 * spread


def training(train: TrainSet, settings: Mapping, generator: torch.Generator) -> Training:
    """Settings: `alpha` (0: no triplet loss), `margin`, `grades`, `width`, `dropout`, and the training settings."""
    o = options("gdlt", settings, SETTINGS)
    o.batch_unlabeled, o.unit_targets = 1, False
    shift, scale = score_range(train)
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

    def score(videos: VideoBatch) -> Tensor:
        return net(clips(videos.frame))[0] * scale + shift

    return Training(net, loss, score, o.steps, o.lr, draw.samplers)
