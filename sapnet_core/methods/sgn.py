"""SGN: a teacher reads the video with the words of its description, and a student learns to read it without words.

Source: Du et al., "Learning Semantics-Guided Representations for Scoring Figure Skating", IEEE Transactions on
Multimedia 2023. There is no public code.

    v = encoder(X),    H(u) = FFN(u' + A v),    A = softmax(u' . v / sqrt(D)),    u' = u attending to itself
    teacher: u = the words,    student: u = K learned queries
    Delta = sum_k p_k (left_k + o_k width_k),    (log p, o) = tree([h_e, h_q, y_e]),    h = mean of H
    L = L_score^T + L_score^S + L_attn + L_cons + L_c-score
    L_score = (Delta - (y_q - y_e))^2,    L_c-score = (Delta^T - Delta^S)^2
    L_attn = MSE of A^S and of A^T, max-pooled to K rows,    L_cons = InfoNCE of h^S and h^T in the batch

q is a video, e an exemplar and y_q = mean_e (y_e + Delta^S): the student alone predicts. `regression_tree` and
`gap_intervals` are CoRe's, and `exemplars` chooses e. Each pair is learned in both orders.
Published: I3D or Video Swin features, D = 128, four heads, K = 4, words of the commentary encoded by BERT, all weights
1, Adam at 1e-3 without weight decay, ten exemplars. It learns from labeled videos only, uses the difficulty, or the
action, of every video, and sees words in training alone.
Deviations: the description of a dive is its number, as five words: the values of position, armstand, direction, half
somersaults and half twists, each with a learned embedding (`TrainSet.attributes`). A set without dive numbers has no
words, and the student learns alone. L_score is printed with |y_q - y_e|, which cannot tell who is better; the sign is
kept here. That the tree gives Delta as its mean over the leaves, and the temperature 0.1 of L_cons, are readings. The
tree has D units, where CoRe's has 256. Five words do not divide into four rows, so the windows of the max-pool overlap:
each row is the larger of two words that follow each other. The exemplars of a prediction are the nearest ones instead
of random ones. The backbone is frozen, and the training settings are those of all methods.
"""

import math
from collections.abc import Mapping
from types import SimpleNamespace

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from sapnet_core.datasets.label_details import ATTRIBUTES
from sapnet_core.methods.base import Training
from sapnet_core.methods.building_blocks import Batches, clips, layers, reseed
from sapnet_core.methods.exemplars import Exemplars
from sapnet_core.methods.gap_intervals import GapIntervals
from sapnet_core.methods.regression_tree import RegressionTree
from sapnet_core.methods.settings import OWN_UNITS, options
from sapnet_core.methods.train_set import TrainSet
from sapnet_core.methods.video_batch import VideoBatch
from sapnet_core.sapnet.losses import l_reg

__all__ = ["SETTINGS", "training", "SGN", "Reader", "align"]

SETTINGS = {
    "exemplars": 10,
    "match": "difficulty",
    "queries": 4,
    "width": 128,
    "dropout": 0.1,
    "text": True,
    "weight": 1.0,
    **OWN_UNITS,
}
HEADS, LEVELS, TEMPERATURE = 4, 4, 0.1


def attention_layer(width: int, dropout: float) -> nn.TransformerEncoderLayer:
    """A layer of self-attention with its feed-forward network: (B, T, D) -> (B, T, D)."""
    return nn.TransformerEncoderLayer(width, math.gcd(HEADS, width), 2 * width, dropout, batch_first=True)


def align(student: Tensor, teacher: Tensor) -> Tensor:
    """InfoNCE of features (B, D) of student and teacher: each should be nearest to that of the same video."""
    alike = F.normalize(student, dim=1) @ F.normalize(teacher, dim=1).T / TEMPERATURE
    return F.cross_entropy(alike, torch.arange(len(alike), device=alike.device))


class Reader(nn.Module):
    """Words or queries (B, U, D) read a video (B, T, D): features (B, U, D), and attention over time (B, U, T)."""

    def __init__(self, width: int, dropout: float):
        super().__init__()
        self.among = attention_layer(width, dropout)
        self.query, self.key, self.value = (nn.Linear(width, width) for _ in range(3))
        self.forward_layers = layers(width, 2 * width, width, dropout=dropout)
        self.norms = nn.ModuleList(nn.LayerNorm(width) for _ in range(2))

    def forward(self, u: Tensor, v: Tensor) -> tuple[Tensor, Tensor]:
        u = self.among(u)
        alike = self.query(u) @ self.key(v).transpose(1, 2) / math.sqrt(u.shape[2])
        attention = torch.softmax(alike, 2)
        u = self.norms[0](u + attention @ self.value(v))
        return self.norms[1](u + self.forward_layers(u)), attention


class SGN(nn.Module):
    """Network of SGN: the visual encoder, a reader each for teacher and student, and the tree that compares videos."""

    def __init__(self, channels: int, o: SimpleNamespace, text: bool):
        super().__init__()
        self.project = layers(channels, o.width, o.width)
        self.encoder = attention_layer(o.width, o.dropout)
        self.queries = nn.Parameter(torch.randn(o.queries, o.width))
        self.student = Reader(o.width, o.dropout)
        self.tree = RegressionTree(2 * o.width + 1, o.width, LEVELS)
        if text:  # an index of 0 stands for a part of the number that is not known
            self.words = nn.ModuleList(nn.Embedding(count + 1, o.width) for count in ATTRIBUTES.values())
            self.teacher = Reader(o.width, o.dropout)

    def watch(self, x: Tensor) -> Tensor:
        """Clips (B, T, C) -> v (B, T, D)."""
        return self.encoder(self.project(x))

    def describe(self, v: Tensor, attributes: Tensor) -> tuple[Tensor, Tensor]:
        """H and A of the teacher, from v (B, T, D) and the parts of dive numbers (B, 5): (B, 5, D) and (B, 5, T)."""
        words = torch.stack([words(attributes[:, k] + 1) for k, words in enumerate(self.words)], 1)
        return self.teacher(words, v)

    def read(self, v: Tensor) -> tuple[Tensor, Tensor]:
        """H and A of the student, from v (B, T, D): (B, K, D) and (B, K, T)."""
        return self.student(self.queries.expand(len(v), -1, -1), v)


def training(train: TrainSet, settings: Mapping, generator: torch.Generator) -> Training:
    """Settings: `exemplars` (their number), `match` ("difficulty" or "action", what they share with the video),
    `queries` (K), `width` (D), `dropout`, `text` (False: the student alone), `weight` (of L_attn, L_cons and L_c-score,
    published 1), and the training settings without `unit_targets`."""
    o = options("sgn", settings, SETTINGS)
    o.batch_unlabeled, o.unit_targets = 1, False
    words = train.attributes if o.text else None
    reseed(generator)
    x = clips(train.frame)
    net = SGN(x.shape[2], o, words is not None).to(x.device)
    draw = Batches(train, o, generator)
    exemplars, leaves = Exemplars(train, o.match, generator), 2**LEVELS
    edges = GapIntervals.between(draw.y, exemplars.pairs(leaves // 2), leaves).edges

    def relative(q: Tensor, e: Tensor, y: Tensor) -> Tensor:
        """Delta (P,) from features of videos and exemplars, (P, D) each, and the exemplars' scores (P,)."""
        log_p, place = net.tree(torch.cat([e, q, y.unsqueeze(1)], 1))
        return (log_p.exp() * (edges[:-1] + place * edges.diff())).sum(1)

    def loss(step: int) -> dict[str, Tensor]:
        i, e = exemplars.both_orders(draw.labeled())
        half = len(i) // 2
        gap, v = draw.y[i] - draw.y[e], net.watch(x[i])
        read, attention = net.read(v)
        h = read.mean(1)
        told = relative(h, h.roll(half, 0), draw.y[e])
        terms = {"L_score": l_reg(told, gap)}
        terms["L_all"] = terms["L_score"]
        if words is not None:
            described, of_words = net.describe(v, words[i])
            h_t = described.mean(1)
            told_t = relative(h_t, h_t.roll(half, 0), draw.y[e])
            pooled = F.adaptive_max_pool1d(of_words.transpose(1, 2), o.queries).transpose(1, 2)  # (2 B, K, T)
            terms["L_score_teacher"] = l_reg(told_t, gap)
            terms["L_attn"] = (attention - pooled).square().mean()
            terms["L_cons"] = align(h, h_t)
            terms["L_c-score"] = (told - told_t).square().mean()
            joint = terms["L_attn"] + terms["L_cons"] + terms["L_c-score"]
            terms["L_all"] = terms["L_all"] + terms["L_score_teacher"] + o.weight * joint
        return terms

    def score(videos: VideoBatch) -> Tensor:
        seen, known = (net.read(net.watch(part))[0].mean(1) for part in (clips(videos.frame), x[exemplars.rows]))

        def told(q: Tensor, e: Tensor) -> Tensor:
            return relative(seen[q], known[exemplars.place(e)], draw.y[e])

        return exemplars.vote(videos, o.exemplars, told)

    return Training(net, loss, score, o.steps, o.lr, draw.samplers)
