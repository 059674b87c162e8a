"""TSA: segment a dive into its stages, then compare it stage by stage with exemplars whose scores are known.

Source: Xu et al., "FineDiving", CVPR 2022, and its public code.

    L = BCE(a_k(t), transition k at t) + (y_e + R(q, e) - y_q)^2 + (y_q + R(e, q) - y_e)^2

for a query q and an exemplar e. PSNet turns the clips into features and two transition activations a_k of 96 frames;
each has its maximum taken in one of two equal windows. The three stages are resampled to five steps each. Per stage,
the steps of the first video attend to those of the second in three blocks, x <- x + attention(x, e),
x <- x + MLP(x), both on layer-normalized inputs, with eight heads and a fourfold MLP. R, the relative score, is an MLP
(256, 64, 1) on each step, averaged over the 15 steps. The score of q is the mean over the exemplars,
y = mean_e (y_e + R(q, e)). Stages begin at the annotated transitions in the first quarter of training, and at the
predicted ones afterwards and in prediction, also those of the exemplars.
Published: clip features of 1024 channels, which the max-pools of PSNet halve four times, to 64; ten exemplars of the
same dive number; Adam at 1e-3, batches of 8, 200 epochs. It learns from labeled videos only, and needs their annotated
transitions, so it rejects a dataset without them. It uses the dive number of every video.
Deviations: the max-pools halve the channels as often as `width` allows, which is twice for 256 channels. The features
are averages over space, so a step attends to five steps of the exemplar, not to the cells of their feature maps. The
exemplars of a prediction are the nearest videos of the same dive number, where the published ones are drawn among them;
where a number has too few labeled videos, the nearest of other numbers fill up (`exemplars`). The output of the
attention has no bias, where that of the public code has one.
"""

from collections.abc import Mapping
from math import gcd

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from sapnet_core.methods.base import Training
from sapnet_core.methods.building_blocks import Batches, clips, layers, reseed
from sapnet_core.methods.exemplars import Exemplars
from sapnet_core.methods.settings import LABELED, options
from sapnet_core.methods.train_set import TrainSet
from sapnet_core.methods.video_batch import VideoBatch
from sapnet_core.sapnet.losses import l_reg
from sapnet_core.sapnet.parsing import key_frames

__all__ = ["SETTINGS", "training", "PSNet", "CrossAttention", "TSA", "stages"]

SETTINGS = {"exemplars": 10, "width": 64, "attend": True, "procedure": True, **LABELED}
FRAMES, STEPS = 96, 5  # of the video, and of each of its three stages
TRUE_TRANSITIONS = 0.25  # share of the training in which stages begin at the annotated transitions
BLOCKS, HEADS = 3, 8


def stages(x: Tensor, at: Tensor) -> Tensor:
    """Cut frames (B, T, D) into three stages and resample each linearly, from its first frame to its last.

    `at` (B, 2) are the first frames of the second and the third stage, as whole numbers in ascending order. They move
    just so far that no stage is empty. Returns (B, 3, 5, D).
    """
    frames = x.shape[1]
    second = at[:, :1].clamp(1, frames - 2)
    third = at[:, 1:].clamp(max=frames - 1).maximum(second + 1)
    edges = torch.cat([torch.zeros_like(second), second, third, torch.full_like(third, frames)], 1)  # (B, 4)
    share = torch.linspace(0, 1, STEPS, device=x.device)
    place = edges[:, :-1, None] + share * (edges.diff(dim=1).unsqueeze(2) - 1)  # (B, 3, 5)
    weight = (1 - (place.flatten(1).unsqueeze(2) - torch.arange(frames, device=x.device)).abs()).clamp(min=0)
    return (weight @ x).unflatten(1, (3, STEPS))  # (B, 15, T) @ (B, T, D)


class PSNet(nn.Module):
    """Procedure segmentation: clips (B, S, C) -> features of frames (B, 96, D), logits of transitions (B, 96, 2).

    Time is the channel axis of convolutions along the features, S -> 12 -> 24 -> 48 -> 96 -> 96. Each of the last four
    blocks begins with a max-pool that halves the features, unless fewer than `width` would be left; D is the rest.
    """

    def __init__(self, count: int, channels: int, width: int):
        super().__init__()
        made: list[nn.Module] = []
        times = (count, FRAMES // 8, FRAMES // 4, FRAMES // 2, FRAMES, FRAMES)
        for block, (a, b) in enumerate(zip(times[:-1], times[1:], strict=True)):
            if block and channels // 2 >= width:
                channels //= 2
                made.append(nn.MaxPool1d(2))
            for inputs in (a, b):
                made += [nn.Conv1d(inputs, b, 3, padding=1), nn.BatchNorm1d(b), nn.ReLU()]
        self.width = channels
        self.frames = nn.Sequential(*made)
        self.transitions = layers(channels, 128, 64, 2)

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        z = self.frames(x)
        return z, self.transitions(z)


class CrossAttention(nn.Module):
    """A block of procedure-aware cross-attention: queries (B, S, D) and an exemplar's steps (B, S', D) -> (B, S, D).

    It has eight heads, or the largest number of heads that divides both eight and D.
    """

    def __init__(self, width: int):
        super().__init__()
        self.norms = nn.ModuleList(nn.LayerNorm(width) for _ in range(3))
        self.attention = nn.MultiheadAttention(width, gcd(HEADS, width), bias=False, batch_first=True)
        self.mlp = nn.Sequential(nn.Linear(width, 4 * width), nn.GELU(), nn.Linear(4 * width, width))

    def forward(self, q: Tensor, e: Tensor) -> Tensor:
        e = self.norms[1](e)
        q = q + self.attention(self.norms[0](q), e, e, need_weights=False)[0]
        return q + self.mlp(self.norms[2](q))


class TSA(nn.Module):
    """Network of TSA: PSNet, the attention blocks and the regressor of relative scores."""

    def __init__(self, count: int, channels: int, width: int):
        super().__init__()
        self.psnet = PSNet(count, channels, width)
        self.blocks = nn.ModuleList(CrossAttention(self.psnet.width) for _ in range(BLOCKS))
        self.regressor = layers(self.psnet.width, 256, 64, 1)

    def relative(self, q: Tensor, e: Tensor) -> Tensor:
        """Relative score R(q, e), the query's score minus the exemplar's: stages (B, 3, 5, D) each -> (B,)."""
        z, e = q.flatten(0, 1), e.flatten(0, 1)  # (3 B, 5, D): a stage attends to the same stage alone
        for block in self.blocks:
            z = block(z, e)
        return self.regressor(z).unflatten(0, (-1, 3)).mean((1, 2, 3))

    def vote(self, q: Tensor, e: Tensor, y: Tensor) -> Tensor:
        """Mean over M exemplars of y_e + R(q, e): stages (B, 3, 5, D) and (B, M, 3, 5, D), scores (B, M) -> (B,)."""
        return torch.stack([y[:, m] + self.relative(q, e[:, m]) for m in range(y.shape[1])]).mean(0)


def training(train: TrainSet, settings: Mapping, generator: torch.Generator) -> Training:
    """Settings: `exemplars` (their number), `width` (the least number of features of a frame), `attend` (False: a video
    attends to itself, not to its exemplar), `procedure` (False: three equal stages), and the training settings.

    Raises:
        ValueError: the dataset has no transitions, or a labeled video lacks them.
    """
    o = options("tsa", settings, SETTINGS)
    o.batch_unlabeled = 1
    labeled = train.labeled
    if train.transitions is None or train.transitions[labeled].isnan().any():
        raise ValueError("tsa learns from annotated transitions, which this set does not give for every labeled video")
    x = clips(train.frame)
    true = torch.zeros(len(x), 2, dtype=torch.int64, device=x.device)
    true[labeled] = (train.transitions[labeled] * (FRAMES - 1)).round().long()
    equal = torch.tensor([FRAMES // 3, 2 * FRAMES // 3], device=x.device)
    reseed(generator)
    net = TSA(x.shape[1], x.shape[2], o.width).to(x.device)
    draw = Batches(train, o, generator)
    exemplars = Exemplars(train, "action", generator)

    def cut(z: Tensor, at: Tensor) -> Tensor:
        return stages(z, at if o.procedure else equal.expand(len(z), 2))

    def loss(step: int) -> dict[str, Tensor]:
        i, e = exemplars.both_orders(draw.labeled())  # each video is both a query and an exemplar
        z, logits = net.psnet(x[i])
        q = cut(z, true[i] if step < TRUE_TRANSITIONS * o.steps else key_frames(logits))
        paired = q.roll(len(i) // 2, 0) if o.attend else q
        terms = {"L_reg": 2 * l_reg(draw.y[e] + net.relative(q, paired), draw.y[i])}
        target = F.one_hot(true[i], FRAMES).transpose(1, 2).to(logits)  # (2 B, 96, 2)
        terms["L_parse"] = F.binary_cross_entropy_with_logits(logits, target)
        return {**terms, "L_all": terms["L_reg"] + terms["L_parse"]}

    def score(videos: VideoBatch) -> Tensor:
        few = exemplars.nearest(videos, o.exemplars)  # (B, M), rows of the training set
        q, e = (cut(z, key_frames(logits)) for z, logits in map(net.psnet, (clips(videos.frame), x[exemplars.rows])))
        paired = e[exemplars.place(few)] if o.attend else q.unsqueeze(1).expand(-1, few.shape[1], -1, -1, -1)
        return net.vote(q, paired, draw.y[few]) * draw.scale + draw.shift

    return Training(net, loss, score, o.steps, o.lr, draw.samplers)
