"""TRS: a teacher and a reference network give unlabeled videos scores, and a memory keeps the surest of each.

Source: Yun et al., "Semi-Supervised Teacher-Reference-Student Architecture for Action Quality Assessment", ECCV 2024.
Its public code holds parts of the networks and the settings, but neither the loss nor the training; known here from
these, from the abstract and from the figure of the architecture.

    student, teacher  (s, sigma) = mixer(x)
    reference         (Delta, sigma) = MLP(norm(x + attention(x, x_r, x_r))),    score y_r + Delta
    memories          of each network and unlabeled video, the score with the least sigma so far
    L = L_ref + 1/N_l sum_l NLL(y_l; s_l, sigma_l) + w 1/N_u sum_u (s_u - y~_u)^2

x are the clips of a video in order and x_r those of a labeled video r. A burn-in trains student and reference on
labeled videos alone. Then the teacher begins as a copy of the student and becomes the moving average of its weights.
Teacher and reference see an unlabeled video as it is, the student sees it disturbed. y~ is the mean of the two scores
in memory, weighted by 1 / sigma^2. The student predicts, without any other video.
Published: a mixer of eight layers, with 512 units among ten clips and 2048 among 1024 channels, two outputs of each
network, Adam at 2e-4 with a weight decay of 1e-5, batches of 4, 150 epochs; 0.825 and 0.901 on MTL-AQA with 10 and 40 %
of the labels.
Deviations: these are readings: the second output is log sigma^2 of a normal distribution, learned by its likelihood
(NLL, and L_ref of labeled pairs in both orders); how the memories are joined; the share of the burn-in; the rate of the
moving average; w = 1; and r, which is any labeled video. The units are the same shares of the channels, and two layers
instead of eight mix a quarter of the channels, because a step with eight takes 0.4 s on a core. The student's
disturbance is noise on the features, where the source changes pictures. The backbone is frozen, and targets and
training settings are those of all methods.
"""

import math
from collections.abc import Mapping

import torch
from torch import Tensor, nn
from torch.func import functional_call

from sapnet_core.methods.base import Training
from sapnet_core.methods.building_blocks import Batches, clips, layers, reseed
from sapnet_core.methods.likelihood import likelihood_loss, variance_of
from sapnet_core.methods.settings import TRAINING, options
from sapnet_core.methods.train_set import TrainSet
from sapnet_core.methods.video_batch import VideoBatch

__all__ = ["SETTINGS", "training", "Mixer", "Reference", "keep_surest"]

SETTINGS = {
    "weight": 1.0,
    "depth": 2,
    "noise": 0.1,
    "warmup": 0.3,
    "decay": 0.99,
    "remember": True,
    **TRAINING,
}
HEADS = 8


def keep_surest(memory: Tensor, rows: Tensor, score: Tensor, variance: Tensor) -> None:
    """Replace in place what the memory (N, 2) of scores and variances holds of the videos `rows` (B,), where the new
    variance is smaller; scores and variances (B,). A memory begins with infinite variances."""
    new = torch.stack([score, variance], 1)
    held = memory[rows]
    memory[rows] = torch.where((variance < held[:, 1]).unsqueeze(1), new, held)


class MixerLayer(nn.Module):
    """A layer that mixes the clips of each channel, then the channels of each clip: (B, T, C) -> (B, T, C)."""

    def __init__(self, count: int, channels: int):
        super().__init__()
        self.norms = nn.ModuleList(nn.LayerNorm(channels) for _ in range(2))
        self.clips = nn.Sequential(nn.Linear(count, channels // 2), nn.GELU(), nn.Linear(channels // 2, count))
        self.channels = nn.Sequential(nn.Linear(channels, 2 * channels), nn.GELU(), nn.Linear(2 * channels, channels))

    def forward(self, x: Tensor) -> Tensor:
        x = x + self.clips(self.norms[0](x).transpose(1, 2)).transpose(1, 2)
        return x + self.channels(self.norms[1](x))


class Mixer(nn.Module):
    """The network of student and teacher: clips (B, T, C) -> scores and variances (B,) each."""

    def __init__(self, count: int, channels: int, depth: int):
        super().__init__()
        self.mix = nn.Sequential(*(MixerLayer(count, channels) for _ in range(depth)), nn.LayerNorm(channels))
        self.out = nn.Linear(channels, 2)

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        mean, log_variance = self.out(self.mix(x).mean(1)).unbind(1)
        return mean, variance_of(log_variance)


class Reference(nn.Module):
    """The reference network: clips of videos and of labeled ones (B, T, C) each -> relative scores, the video's minus
    the labeled one's, and variances (B,) each."""

    def __init__(self, channels: int):
        super().__init__()
        self.attention = nn.MultiheadAttention(channels, math.gcd(HEADS, channels), batch_first=True)
        self.norm = nn.LayerNorm(channels)
        self.out = layers(channels, 256, 128, 2)

    def forward(self, x: Tensor, known: Tensor) -> tuple[Tensor, Tensor]:
        x = self.norm(x + self.attention(x, known, known, need_weights=False)[0])
        mean, log_variance = self.out(x.mean(1)).unbind(1)
        return mean, variance_of(log_variance)


def training(train: TrainSet, settings: Mapping, generator: torch.Generator) -> Training:
    """Settings: `weight` (w; 0: labeled videos alone), `depth` (layers of the mixer), `noise` (sd of what disturbs the
    student's features), `warmup` (share of the burn-in), `decay` (of the moving average), `remember` (False: the
    present scores instead of the surest ones), and the training settings."""
    o = options("trs", settings, SETTINGS)
    reseed(generator)
    x, labeled = clips(train.frame), train.labeled
    student, reference = Mixer(x.shape[1], x.shape[2], o.depth), Reference(x.shape[2])
    net = nn.ModuleDict({"student": student, "reference": reference}).to(x.device)
    draw = Batches(train, o, generator)
    start = int(o.warmup * o.steps)
    teacher = {name: p.detach().clone() for name, p in student.named_parameters()}
    memory = {who: x.new_tensor([0.0, torch.inf]).repeat(len(x), 1) for who in ("teacher", "reference")}

    def partners(count: int) -> Tensor:
        return labeled[torch.randint(len(labeled), (count,), generator=generator).to(labeled.device)]

    def follow(decay: float) -> None:
        """Move the teacher's weights toward the student's."""
        for name, p in student.named_parameters():
            teacher[name].mul_(decay).add_(p.detach(), alpha=1 - decay)

    @torch.no_grad()
    def pseudo_scores(u: Tensor) -> Tensor:
        r = partners(len(u))
        gap, variance = reference(x[u], x[r])
        found = {"teacher": functional_call(student, teacher, (x[u],)), "reference": (draw.y[r] + gap, variance)}
        for who, (score, spread) in found.items():
            if not o.remember:
                memory[who][u] = torch.inf
            keep_surest(memory[who], u, score, spread)
        both = torch.stack([memory[who][u] for who in found])  # (2, B, 2)
        sure = 1 / both[..., 1]
        return (sure * both[..., 0]).sum(0) / sure.sum(0)

    def loss(step: int) -> dict[str, Tensor]:
        i = draw.labeled()
        e = partners(len(i))
        ahead, back = reference(x[i], x[e]), reference(x[e], x[i])
        gap = draw.y[i] - draw.y[e]
        terms = {
            "L_reg": likelihood_loss(*student(x[i]), draw.y[i]),
            "L_ref": likelihood_loss(*ahead, gap) + likelihood_loss(*back, -gap),
        }
        terms["L_all"] = terms["L_reg"] + terms["L_ref"]
        if o.weight and step >= start:
            follow(o.decay if step > start else 0.0)
            u = draw.unlabeled()
            target, seen = pseudo_scores(u), x[u] + o.noise * torch.randn_like(x[u])
            terms["L_un"] = (student(seen)[0] - target).square().mean()
            terms["L_all"] = terms["L_all"] + o.weight * terms["L_un"]
        return terms

    def score(videos: VideoBatch) -> Tensor:
        return student(clips(videos.frame))[0] * draw.scale + draw.shift

    held = {f"teacher.{name}": weight for name, weight in teacher.items()} | memory
    return Training(net, loss, score, o.steps, o.lr, draw.samplers, held)
