"""TAP: learned queries find the parts of an action in temporal order, and pairs of videos are compared part by part.

Source: Bai et al., "Action Quality Assessment with Temporal Parsing Transformer", ECCV 2022 (also called TPT), and its
public code.

    a_k = softmax_t(key_t . query_k / (d tau)),    part_k = decoder(sum_t a_kt value_t),    k = 1..K
    z = mean_k MLP([part_k of e, part_k of q]),    (log p, o) = (log softmax(f(z)), sigmoid(g(z)))
    L = L_pair + sum over layers of mean over videos of (L_rank + 0.05 L_sparse),    c_k = sum_t t a_kt,  t = 1..T
    L_rank = sum_k [c_k - c_{k+1} + m]_+ + [1 - c_1 + m]_+ + [c_K - T + m]_+,    L_sparse = mean_k sum_t |t - c_k| a_kt

q is a video and e an exemplar. The decoder has two layers of attention over time, residual and feed-forward, each with
layer normalization; in the first, the queries then attend to each other. L_pair, the 16 intervals of relative scores
and how they give a score are those of CoRe (`gap_intervals`), without its tree, and `exemplars` chooses e. Each pair is
learned in both orders, whose L_pair are added up.
Published: 20 clips of eight frames with 1024 channels, K = 5, d = 512, as many units in feed-forward layers, heads of
128 units, eight heads among queries, tau learned from 0.07, dropout 0.1, m = 3.2 clips, ten exemplars of the same
difficulty, filled up from the nearest difficulty; Adam at 1e-3 for the heads and 1e-4 for the rest, batches of 24, 250
epochs. It learns from labeled videos only, and uses the difficulty, or the action, of every video.
Deviations: the backbone is frozen; d = C/2 as published is 128 for C = 256 and stays 128 for other C unless `width`
says otherwise; m is the same share of T, 0.16; the exemplars of a prediction are the nearest ones instead of random
ones; training settings are those of all methods, with one learning rate. A published batch holds three pairs on each
GPU, so the loss of the place is the mean over groups of three pairs (`place_loss`); in a larger batch it would weigh
more.
"""

import math
from collections.abc import Mapping

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from sapnet_core.methods.base import Training
from sapnet_core.methods.building_blocks import Batches, layers, reseed
from sapnet_core.methods.exemplars import Exemplars
from sapnet_core.methods.gap_intervals import GapIntervals
from sapnet_core.methods.place_loss import place_loss
from sapnet_core.methods.settings import OWN_UNITS, options
from sapnet_core.methods.train_set import TrainSet
from sapnet_core.methods.video_batch import VideoBatch

__all__ = ["SETTINGS", "training", "TAP", "PartDecoder", "order_losses"]

SETTINGS = {
    "exemplars": 10,
    "match": "difficulty",
    "queries": 5,
    "width": 128,
    "dropout": 0.1,
    "ranking": 1.0,
    "sparsity": 0.05,
    "margin": 0.16,
    **OWN_UNITS,
}
INTERVALS = 16
PAIRS = 3  # of a published batch on each GPU
TEMPERATURE = 0.07


def order_losses(attention: Tensor, margin: float) -> tuple[Tensor, Tensor]:
    """L_rank and L_sparse of attention over time (B, K, T), each averaged over the B videos, with `margin` in steps."""
    t = torch.arange(1, attention.shape[2] + 1, device=attention.device, dtype=attention.dtype)
    center = attention @ t  # (B, K)
    ends = t[:1].expand(len(center), 1), t[-1:].expand(len(center), 1)
    places = torch.cat([ends[0], center, ends[1]], 1)
    rank = torch.relu(places[:, :-1] - places[:, 1:] + margin).sum(1).mean()
    return rank, ((t - center.unsqueeze(2)).abs() * attention).sum(2).mean()


class DecoderLayer(nn.Module):
    """A layer of the decoder: steps (B, T, C) and queries (B, K, D) -> queries (B, K, D), and attention (B, K, T)."""

    def __init__(self, channels: int, width: int, dropout: float, among: bool):
        super().__init__()
        self.temperature = nn.Parameter(torch.tensor(TEMPERATURE))
        self.key, self.value = nn.Linear(channels, width), nn.Linear(channels, width)
        self.query = nn.Linear(width, width)
        self.forward_layers = layers(width, width, width, dropout=dropout)
        self.among = nn.MultiheadAttention(width, math.gcd(8, width), dropout, batch_first=True) if among else None
        self.norms = nn.ModuleList(nn.LayerNorm(width) for _ in range(3 if among else 2))
        self.drop = nn.Dropout(dropout)

    def forward(self, x: Tensor, z: Tensor, embedded: Tensor) -> tuple[Tensor, Tensor]:
        alike = self.query(z + embedded) @ self.key(x).transpose(1, 2)
        attention = torch.softmax(alike / (z.shape[2] * self.temperature), 2)
        z = self.norms[0](z + self.drop(attention @ self.value(x)))
        z = self.norms[1](z + self.drop(self.forward_layers(z)))
        if self.among is not None:
            q = z + embedded
            z = self.norms[2](z + self.drop(self.among(q, q, z, need_weights=False)[0]))
        return z, attention


class PartDecoder(nn.Module):
    """Steps (B, T, C) -> parts (B, K, D), and attention over time of both layers, a list of two (B, K, T)."""

    def __init__(self, channels: int, width: int, queries: int, dropout: float):
        super().__init__()
        self.queries = nn.Parameter(torch.empty(queries, width))
        self.layers = nn.ModuleList(DecoderLayer(channels, width, dropout, among) for among in (True, False))
        for weight in self.parameters():
            if weight.dim() > 1:
                nn.init.xavier_uniform_(weight)

    def forward(self, x: Tensor) -> tuple[Tensor, list[Tensor]]:
        embedded, seen = self.queries.expand(len(x), -1, -1), []
        z = torch.zeros_like(embedded)
        for layer in self.layers:
            z, attention = layer(x, z, embedded)
            seen.append(attention)
        return z, seen


class TAP(nn.Module):
    """Network of TAP: the decoder of parts, and what compares the parts of two videos."""

    def __init__(self, channels: int, width: int, queries: int, dropout: float):
        super().__init__()
        self.decoder = PartDecoder(channels, width, queries, dropout)
        self.pair = layers(2 * width, width, width, dropout=dropout)
        self.interval, self.place = (layers(width, 128, INTERVALS) for _ in range(2))

    def compare(self, q: Tensor, e: Tensor) -> tuple[Tensor, Tensor]:
        """Parts of videos and of their exemplars, (P, K, D) each -> logarithmic probabilities of the intervals and
        places in them, (P, 16) each, of the video's score minus the exemplar's."""
        z = self.pair(torch.cat([e, q], 2)).mean(1)
        return self.interval(z).log_softmax(1), torch.sigmoid(self.place(z))


def training(train: TrainSet, settings: Mapping, generator: torch.Generator) -> Training:
    """Settings: `exemplars` (their number), `match` ("difficulty" or "action", what they share with the video),
    `queries` (K), `width` (d), `dropout`, `ranking` and `sparsity` (weights of L_rank and L_sparse, published 1 and
    0.05), `margin` (m / T), and the training settings without `unit_targets`."""
    o = options("tap", settings, SETTINGS)
    o.batch_unlabeled, o.unit_targets = 1, False
    reseed(generator)
    order = train.positions.argsort()
    x = train.frame[:, order]
    net = TAP(x.shape[2], o.width, o.queries, o.dropout).to(x.device)
    draw = Batches(train, o, generator)
    exemplars = Exemplars(train, o.match, generator)
    intervals = GapIntervals.between(draw.y, exemplars.pairs(INTERVALS // 2), INTERVALS)

    def loss(step: int) -> dict[str, Tensor]:
        i, e = exemplars.both_orders(draw.labeled())
        parts, attention = net.decoder(x[i])
        (log_p, place), gap = net.compare(parts, parts.roll(len(i) // 2, 0)), draw.y[i] - draw.y[e]
        orders = zip(place.chunk(2), gap.chunk(2), strict=True)
        terms = {
            "L_class": 2 * F.nll_loss(log_p, intervals.locate(gap)[0]),  # both orders are added up
            "L_place": sum(place_loss(intervals, *order, PAIRS) for order in orders),
        }
        each = [order_losses(seen, o.margin * x.shape[1]) for seen in attention]
        terms["L_rank"], terms["L_sparse"] = (sum(term) for term in zip(*each, strict=True))
        pair = terms["L_class"] + terms["L_place"]
        return {**terms, "L_all": pair + o.ranking * terms["L_rank"] + o.sparsity * terms["L_sparse"]}

    def score(videos: VideoBatch) -> Tensor:
        parts, known = (net.decoder(seen)[0] for seen in (videos.frame[:, order], x[exemplars.rows]))

        def relative(q: Tensor, e: Tensor) -> Tensor:
            return intervals.read(*net.compare(parts[q], known[exemplars.place(e)]))

        return exemplars.vote(videos, o.exemplars, relative)

    return Training(net, loss, score, o.steps, o.lr, draw.samplers)
