"""PCLN: scores of single videos that must agree with score differences of pairs, which a branch of its own predicts.

Source: Li et al., "Pairwise Contrastive Learning Network for Action Quality Assessment", ECCV 2022, and its code.

    F = pool(relu(drop(W_2 pool(relu(drop(W_1 X)))))),    S = sigmoid(MLP(F))
    D_pq = sigmoid(R(G_p G_q')),    G = relu(V F)
    L = mean over pairs of 1/2 [(S_p - s_p)^2 + (S_q - s_q)^2] + (D_pq - |s_p - s_q|)^2 + (D_pq - |S_p - S_q|)^2

X are features in the order of time, as columns. The pools halve the time, and dropout removes whole channels. R reads
the products as an image of 32 x 4 points with 512 channels: a 1x1 convolution to 32 channels, a 2x2 max-pool, one to 8
channels, a 2x2 max-pool, and layers of 64, 32, 8 and 1 units. Pairs are all p < q of a batch. A prediction is
S, without any other video.
Published: features of a ResNet-50 of 160 frames, W_1 and W_2 to 256 and 512 channels, V to 256, an MLP of 20480, 4096,
2048 and 1 units, dropout 0.3, Adam at 1e-4, halved every 90 of 200 epochs, batches of 64 on MTL-AQA. Its targets are
the sum of the three middle judges over 30, or the final score scaled to [0, 1]. It learns from labeled videos only,
and does not use the difficulty.
Deviations: features of the video's 18 or 20 steps, which leave 5 of the 40 columns, and so an MLP of 1024 and 512
hidden units; the sigmoid spans the `score_range` of GDLT; the training settings are those of all methods. The first
convolution of R is applied to G_p before the product, which gives the same image up to rounding and never forms its
512 channels. The paper's formulas are taken where the public code differs: its dropout removes whole steps, its G has
no ReLU, and its script for MTL-AQA compares D with the signed difference and has no last term of L.
"""

from collections.abc import Mapping

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from sapnet_core.methods.base import Training
from sapnet_core.methods.building_blocks import Batches, layers, reseed
from sapnet_core.methods.gdlt import score_range
from sapnet_core.methods.settings import OWN_UNITS, options
from sapnet_core.methods.train_set import TrainSet
from sapnet_core.methods.video_batch import VideoBatch
from sapnet_core.sapnet.losses import l_reg

__all__ = ["SETTINGS", "training", "PCLN"]

SETTINGS = {"weight": 1.0, "dropout": 0.3, **OWN_UNITS}
WIDTH, RELATIVE = 512, 256  # channels of F, and of G
IMAGE = (32, 4)  # points of the image of products, whose 512 channels make up the rest of RELATIVE x RELATIVE


class PCLN(nn.Module):
    """Network of PCLN, for videos of `steps` steps with `channels` channels."""

    def __init__(self, steps: int, channels: int, dropout: float):
        super().__init__()
        blocks: list[nn.Module] = []
        for a, b in ((channels, WIDTH // 2), (WIDTH // 2, WIDTH)):
            blocks += [nn.Conv1d(a, b, 1), nn.Dropout1d(dropout), nn.ReLU(), nn.MaxPool1d(2, ceil_mode=True)]
            steps = (steps + 1) // 2
        self.encoder = nn.Sequential(*blocks)
        self.assess = layers(WIDTH * steps, 1024, 512, 1)
        self.share = nn.Conv1d(WIDTH, RELATIVE, 1)
        self.first = nn.Linear(RELATIVE**2 // (IMAGE[0] * IMAGE[1]), 32)
        self.second = nn.Conv2d(32, 8, 1)
        self.compare = layers(64, 32, 8, 1)

    def encode(self, x: Tensor) -> Tensor:
        """Features of videos, (B, S, C) -> F (B, 512, about S/4)."""
        return self.encoder(x.transpose(1, 2))

    def score(self, f: Tensor) -> Tensor:
        """S, from F (B, 512, T): (B,) in (0, 1)."""
        return torch.sigmoid(self.assess(f.flatten(1))).squeeze(1)

    def difference(self, f: Tensor, p: Tensor, q: Tensor) -> Tensor:
        """D of the pairs of videos p and q (P,), from F (B, 512, T) of all: (P,) in (0, 1)."""
        shared = torch.relu(self.share(f))  # G, (B, 256, T)
        halves = RELATIVE // (IMAGE[0] * IMAGE[1])  # a row of the products holds this number of channels of the image
        weight = self.first.weight.unflatten(1, (RELATIVE, halves))
        left = torch.einsum("orh,brt->boht", weight, shared)[p]
        right = shared.unflatten(1, (halves, -1))[q]  # (P, halves, 128, T)
        image = torch.einsum("poht,phct->poc", left, right) + self.first.bias.unsqueeze(1)
        image = F.max_pool2d(image.unflatten(2, IMAGE), 2)
        image = F.max_pool2d(self.second(image), 2)
        return torch.sigmoid(self.compare(image.flatten(1))).squeeze(1)


def training(train: TrainSet, settings: Mapping, generator: torch.Generator) -> Training:
    """Settings: `weight` (of the terms with D, published 1; 0: no pairs), `dropout`, and the training settings without
    `unit_targets`."""
    o = options("pcln", settings, SETTINGS)
    o.batch_unlabeled, o.unit_targets = 1, False
    shift, scale = score_range(train)
    reseed(generator)
    x, order = train.frame, train.positions.argsort()
    net = PCLN(x.shape[1], x.shape[2], o.dropout).to(x.device)
    draw = Batches(train, o, generator)
    y = (draw.y - shift) / scale

    def loss(step: int) -> dict[str, Tensor]:
        i = draw.labeled()
        f = net.encode(x[i][:, order])
        guess = net.score(f)
        terms = {"L_reg": l_reg(guess, y[i])}
        terms["L_all"] = terms["L_reg"]
        if o.weight and len(i) > 1:
            p, q = torch.triu_indices(len(i), len(i), 1, device=x.device)
            apart = net.difference(f, p, q)
            terms["L_true"] = l_reg(apart, (y[i][p] - y[i][q]).abs())
            terms["L_agree"] = l_reg(apart, (guess[p] - guess[q]).abs())
            terms["L_all"] = terms["L_all"] + o.weight * (terms["L_true"] + terms["L_agree"])
        return terms

    def score(videos: VideoBatch) -> Tensor:
        return net.score(net.encode(videos.frame[:, order])) * scale + shift

    return Training(net, loss, score, o.steps, o.lr, draw.samplers)
