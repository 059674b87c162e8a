"""HGCN: graphs refine clips to shots and gather shots into scenes, and each scene contributes a part of the score.

Source: Zhou et al., "Hierarchical Graph Convolutional Networks for Action Quality Assessment", TCSVT 2023, and its
public code.

    shots   s = relu(W_1 X A),        A_ij = (mean_c tanh(z_i - z_j)_c + [i = j]) [|i - j| < 2],    z = relu(W_0 X)
    graphs  G(s) = softmax_j([|i - j| < 3] + a q_i . k_j / sqrt(d) + M_ij),    h = relu(W_2 s G(s))
    scenes  v = relu(W_4 h T'),       T = S + b relu(W_3 s G'(s))
    score   y = sum over the scenes of (mu_m + sigma_m eps),    eps ~ N(0, 1),    L = MSE

X are the clips of a video in order, as columns. M (T, T), S (scenes, T), a and b are learned; they begin as the
identity, ones, 1 and 1. G and G' are two graphs of this kind. mu and log sigma^2 are linear in v. W_0, W_1, W_2 and W_4
act on groups of channels.
Published: 1024 channels, z, s, h, v and q of 256, 512, 256, 128 and 128, seven scenes, eight groups in the public
weights and four in the paper, Adam at 1e-4 with a weight decay of 1e-5, batches of 4, 200 epochs, and the final score
as the target. A graph on the scenes is described too and switched off in the public code, as here. It learns from
labeled videos only, and does not use the difficulty.
Deviations: the backbone is frozen; the widths are the same shares of the channels, but no less than for 256 channels,
and groups are as many as divide them; targets and training settings are those of all methods. A prediction is the sum
of mu, where the public code draws eps too. Published scores have a standard deviation of about 17 points and sigma
begins at about 1; here it begins at 1/17 of the standard deviation of the targets. For MTL-AQA the public code
multiplies y by the difficulty before it takes the squared error; here targets are divided by it. An option of the
public code, which every tenth epoch takes 0.4 times the squared error of mu, is not built.
"""

import math
from collections.abc import Mapping

import torch
from torch import Tensor, nn

from sapnet_core.methods.base import Training
from sapnet_core.methods.building_blocks import Batches, clips, reseed
from sapnet_core.methods.settings import LABELED, options
from sapnet_core.methods.train_set import TrainSet
from sapnet_core.methods.video_batch import VideoBatch
from sapnet_core.sapnet.losses import l_reg

__all__ = ["SETTINGS", "training", "HGCN", "ClipRefinement", "ShotGraph"]

SETTINGS = {"scenes": 7, "groups": 4, "refine": True, "gather": True, **LABELED}
SPREAD = 17.0  # standard deviation of the scores of MTL-AQA, in points


def near(count: int, reach: int) -> Tensor:
    """1 where two of `count` nodes in a row are less than `reach` apart, else 0: (count, count)."""
    place = torch.arange(count)
    return ((place[:, None] - place).abs() < reach).float()


def mix(inputs: int, outputs: int, groups: int, bias: bool = True) -> nn.Conv1d:
    """A linear map of the channels of every node, in as many of `groups` as divide the channels."""
    return nn.Conv1d(inputs, outputs, 1, groups=math.gcd(inputs, outputs, groups), bias=bias)


class ClipRefinement(nn.Module):
    """Clips (B, C, T) -> shots (B, 2 `width`, T), from clips and a state of each of `width` channels.

    Without `refine`, each clip becomes a shot without its neighbors.
    """

    def __init__(self, channels: int, width: int, count: int, groups: int, refine: bool):
        super().__init__()
        self.state = mix(channels, width, groups) if refine else None
        self.shots = mix(channels, 2 * width, groups)
        self.register_buffer("reach", near(count, 2), persistent=False)

    def forward(self, x: Tensor) -> Tensor:
        if self.state is not None:
            z = torch.relu(self.state(x))
            change = torch.tanh(z.unsqueeze(3) - z.unsqueeze(2)).mean(1)  # (B, T, T)
            x = x @ ((change + torch.eye(x.shape[2], device=x.device)) * self.reach)
        return torch.relu(self.shots(x))


class ShotGraph(nn.Module):
    """A graph convolution with a learned graph: nodes (B, C, T) -> (B, outputs, T)."""

    def __init__(self, channels: int, outputs: int, count: int, groups: int):
        super().__init__()
        self.query = mix(channels, channels // 4, groups, bias=False)
        self.key = mix(channels, channels // 4, groups, bias=False)
        self.fixed, self.strength = nn.Parameter(torch.eye(count)), nn.Parameter(torch.ones(()))
        self.out = mix(channels, outputs, groups)
        self.register_buffer("reach", near(count, 3), persistent=False)

    def forward(self, x: Tensor) -> Tensor:
        q, k = self.query(x), self.key(x)
        alike = q.transpose(1, 2) @ k / math.sqrt(q.shape[1])  # (B, T, T)
        graph = torch.softmax(self.reach + self.strength * alike + self.fixed, 2)
        return torch.relu(self.out(x @ graph))


class HGCN(nn.Module):
    """Network of HGCN: clips (B, T, C) -> mu and sigma of every scene, (B, scenes) each.

    Without `gather`, every shot counts as a scene.
    """

    def __init__(self, channels: int, count: int, scenes: int, groups: int, refine: bool = True, gather: bool = True):
        super().__init__()
        width = max(channels, 256) // 4
        self.refinement = ClipRefinement(channels, width, count, groups, refine)
        if gather:
            self.graph = ShotGraph(2 * width, width, count, groups)
            self.assign = ShotGraph(2 * width, scenes, count, 1)
            self.shares, self.strength = nn.Parameter(torch.ones(scenes, count)), nn.Parameter(torch.ones(()))
        else:
            self.graph = nn.Sequential(mix(2 * width, width, groups), nn.ReLU())
        self.gather = gather
        self.scene = mix(width, width // 2, groups)
        self.mean, self.log_variance = nn.Conv1d(width // 2, 1, 1), nn.Conv1d(width // 2, 1, 1)
        nn.init.constant_(self.log_variance.bias, -2 * math.log(SPREAD))

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        shots = self.refinement(x.transpose(1, 2))
        h = self.graph(shots)
        if self.gather:
            h = h @ (self.shares + self.strength * self.assign(shots)).transpose(1, 2)
        v = torch.relu(self.scene(h))
        return self.mean(v).squeeze(1), torch.exp(0.5 * self.log_variance(v)).squeeze(1)


def training(train: TrainSet, settings: Mapping, generator: torch.Generator) -> Training:
    """Settings: `scenes`, `groups` (of channels), `refine` (False: a shot sees one clip), `gather` (False: shots are
    scenes), and the training settings."""
    o = options("hgcn", settings, SETTINGS)
    o.batch_unlabeled = 1
    reseed(generator)
    x = clips(train.frame)
    net = HGCN(x.shape[2], x.shape[1], o.scenes, o.groups, o.refine, o.gather).to(x.device)
    draw = Batches(train, o, generator)

    def loss(step: int) -> dict[str, Tensor]:
        i = draw.labeled()
        mean, spread = net(x[i])
        return {"L_all": l_reg(o.scenes * (mean + spread * torch.randn_like(mean)).mean(1), draw.y[i])}

    def score(videos: VideoBatch) -> Tensor:
        return o.scenes * net(clips(videos.frame))[0].mean(1) * draw.scale + draw.shift

    return Training(net, loss, score, o.steps, o.lr, draw.samplers)
