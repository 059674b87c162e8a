"""BASL: unlabeled videos at both ends of the scores are trusted first, and more of them as training goes on.

Source: Xu et al., "Active Tail-Anchoring: Boundary-Aware Selective Learning for Semi-Supervised Action Quality
Assessment", under review; known from its public code.

    L = 1/N_l sum_l (s_l - y_l)^2 + w_c L_cons + w_p mean_{anchors} (s_u - y~_u)^2
    L_cons = mean (s^strong - s^weak)^2 + 0.1 KL(softmax(f^weak) || softmax(f^strong))

s is the score of the features as they are, s^weak without a random 15 % of the clips, s^strong with noise of sd 0.05;
f are projections of the encoded video, of length 1, and nothing is learned by the weak side of L_cons. After every pass
over the unlabeled videos, the highest and the lowest tenth by the mean of the three scores are candidates, if the sd of
the three is at most 0.05. A video that was a candidate in three passes running is an anchor, and y~ is its score s.
There are three stages: without anchors; with the highest and lowest tenth; and with a share that grows by 0.05 at the
beginning of the stage and after 0.3, 0.6 and 0.9 of it, where the passes are counted anew.
Published: a transformer of three layers with two heads and 256 units behind a linear layer, layer normalization and
GELU, sines of time, a mean over time and an MLP of 128 units with a sigmoid; w_c = w_p = 1, Adam at 1e-4 with a weight
decay of 1e-4, dropout 0.3, batches of 16, stages of 10, 50 and 100 epochs, the backbone trained on short videos.
Deviations: the public code begins each stage from the weights, and reports those of the epoch, that are best on the
test videos; here no test score is seen, and the last step counts. The width is C/4 as published for 1024 channels; the
sigmoid spans the `score_range` of GDLT; stages have the same shares of the steps; a batch has labeled and unlabeled
videos as for all methods. The backbone is frozen, and training settings are those of all methods.
"""

from collections.abc import Mapping

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from sapnet_core.methods.base import Training
from sapnet_core.methods.building_blocks import Batches, clips, layers, reseed
from sapnet_core.methods.gdlt import score_range
from sapnet_core.methods.settings import TRAINING, options
from sapnet_core.methods.time_codes import time_codes
from sapnet_core.methods.train_set import TrainSet
from sapnet_core.methods.video_batch import VideoBatch
from sapnet_core.sapnet.losses import l_reg
from sapnet_core.training.batches import batch_size

__all__ = ["SETTINGS", "training", "BASL", "consistency", "candidates"]

SETTINGS = {
    "consistency": 1.0,
    "weight": 1.0,
    "boundary": 0.1,
    "agreement": 0.05,
    "mask": 0.15,
    "noise": 0.05,
    "width": 64,
    "dropout": 0.3,
    **{name: value for name, value in TRAINING.items() if name != "unit_targets"},
}
STAGES = (10 / 160, 60 / 160)  # shares of the training after which the second and the third stage begin
GROWTH = 0.05  # of the share of candidates, each time that it grows
RAISED = (0.0, 0.3, 0.6, 0.9)  # parts of the third stage after which it grows
RUNNING = 3  # passes in which an anchor was a candidate
LAYERS, HEADS = 3, 2


def consistency(weak: tuple[Tensor, Tensor], strong: tuple[Tensor, Tensor]) -> Tensor:
    """L_cons, from scores (B,) and projections (B, P) of both sides."""
    (s_w, f_w), (s_s, f_s) = (weak[0].detach(), weak[1].detach()), strong
    p = F.normalize(f_w, dim=1).softmax(1)
    log_q = F.normalize(f_s, dim=1).log_softmax(1)
    return (s_s - s_w).square().mean() + 0.1 * F.kl_div(log_q, p, reduction="batchmean")


def candidates(scores: Tensor, share: float, agreement: float) -> Tensor:
    """Which videos are at an end of the scores and surely so, (N,) bool.

    Args:
        scores: (N, 3) scores of each video, NaN where it was not seen.
        share: of the seen videos, at either end; at least one video.
        agreement: the largest sd (of a population) of a video's scores.
    """
    mean, seen = scores.mean(1), ~scores.isnan().any(1)
    rows = torch.nonzero(seen).flatten()
    order = rows[mean[rows].argsort(stable=True)]
    count = max(1, int(len(rows) * share))
    ends = torch.zeros_like(seen).index_fill(0, torch.cat([order[:count], order[-count:]]), True)
    return ends & (scores.std(1, correction=0) <= agreement)


def grown(share: float, part: float) -> float:
    """The share of candidates at either end, after a part of the third stage between 0 and 1."""
    return min(share + GROWTH * sum(part >= begin for begin in RAISED), 0.5)


class BASL(nn.Module):
    """Network of BASL: clips (B, T, C) -> scores in (0, 1) (B,), and projections (B, D/2)."""

    def __init__(self, channels: int, width: int, dropout: float):
        super().__init__()
        self.enter = nn.Sequential(nn.Linear(channels, width), nn.LayerNorm(width), nn.GELU())
        self.drop = nn.Dropout(dropout)
        heads = HEADS if width % HEADS == 0 else 1
        layer = nn.TransformerEncoderLayer(width, heads, 4 * width, dropout, batch_first=True)
        self.encoder = nn.TransformerEncoder(layer, LAYERS, enable_nested_tensor=False)
        half = max(width // 2, 1)
        self.assess, self.project = layers(width, half, 1, dropout=dropout), layers(width, half, half)

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        z = self.enter(x)
        z = self.encoder(self.drop(z + time_codes(z.shape[1], z.shape[2], z.device))).mean(1)
        return torch.sigmoid(self.assess(z)).squeeze(1), self.project(z)


def training(train: TrainSet, settings: Mapping, generator: torch.Generator) -> Training:
    """Settings: `consistency` (w_c), `weight` (w_p; 0: no pseudo-labels), `boundary` (share of candidates at either
    end), `agreement` (largest sd of a candidate's scores), `mask` (share of clips that the weak side lacks), `noise`
    (sd of the strong side), `width`, `dropout`, and the training settings without `unit_targets`."""
    o = options("basl", settings, SETTINGS)
    o.unit_targets = False
    shift, scale = score_range(train)
    reseed(generator)
    x = clips(train.frame)
    net = BASL(x.shape[2], o.width, o.dropout).to(x.device)
    draw = Batches(train, o, generator)
    y = (draw.y - shift) / scale
    second, third = (int(share * o.steps) for share in STAGES)
    count = len(train.unlabeled)
    passes = count // batch_size(o.batch_unlabeled, count)  # steps of a pass over the unlabeled videos
    seen = torch.full((len(x), 3), torch.nan, device=x.device)
    running = torch.zeros(len(x), dtype=torch.int64, device=x.device)
    anchors = torch.full((len(x),), torch.nan, device=x.device)

    def choose(step: int) -> None:
        """Count the candidates of the last pass, and make those that have been long enough anchors."""
        share = o.boundary if step < third else grown(o.boundary, (step - third) / max(o.steps - third, 1))
        chosen = candidates(seen, share, o.agreement)
        running.copy_(torch.where(chosen, running + 1, 0))
        anchors.copy_(torch.where(running >= RUNNING, seen[:, 0], torch.nan))

    def disturbed(x: Tensor) -> tuple[Tensor, Tensor]:
        """The weak and the strong side of clips (B, T, C)."""
        missing = max(1, int(o.mask * x.shape[1]))
        gone = torch.rand(x.shape[:2], device=x.device).argsort(1)[:, :missing]
        kept = torch.ones(x.shape[:2], device=x.device).scatter(1, gone, 0.0)
        return x * kept.unsqueeze(2), x + o.noise * torch.randn_like(x)

    def loss(step: int) -> dict[str, Tensor]:
        i, u = draw.labeled(), draw.unlabeled()
        given = x[torch.cat([i, u])]
        plain, weak, strong = (net(part) for part in (given, *disturbed(given)))
        s = plain[0]
        terms = {"L_reg": l_reg(s[: len(i)], y[i]), "L_cons": consistency(weak, strong)}
        terms["L_all"] = terms["L_reg"] + o.consistency * terms["L_cons"]
        if not o.weight:
            return terms
        if step == third:
            running.zero_()
            anchors.fill_(torch.nan)
        if step >= second:
            trusted = ~anchors[u].isnan()
            off = (s[len(i) :] - anchors[u].nan_to_num()).square() * trusted
            terms["L_anchor"] = off.sum() / trusted.sum().clamp(min=1)
            terms["L_all"] = terms["L_all"] + o.weight * terms["L_anchor"]
        seen[u] = torch.stack([part[0].detach()[len(i) :] for part in (plain, weak, strong)], 1)
        if step >= second and (step + 1) % passes == 0:
            choose(step)
        return terms

    def score(videos: VideoBatch) -> Tensor:
        return net(clips(videos.frame))[0] * scale + shift

    held = {"seen": seen, "running": running, "anchors": anchors}
    return Training(net, loss, score, o.steps, o.lr, draw.samplers, held)
