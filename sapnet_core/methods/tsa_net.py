"""TSA-Net: cells of feature maps in which the actor is seen attend to each other, over the whole video.

Source: Wang et al., "TSA-Net: Tube Self-Attention Network for Action Quality Assessment", ACM Multimedia 2021, and its
public code.

    y_i = sum_j softmax_j(x_i . x_j) g(x_j),    z_i = x_i + W y_i,    score = MLP(mean of all cells),    L = MSE

The tube holds the cells x_i of feature maps that the boxes of a tracker cover by half or more in any of the frames of a
time step; i and j run over the tube, over the whole video, and all other cells stay as they are. g and W are linear,
and W begins at zero. In the paper the weights are theta(x_i) . phi(x_j) / |tube|; its public code has the softmax
without theta and phi.
Published: I3D is cut in two after Mixed_4e, with maps of 14 x 14 cells and 4 frames a step; W has batch normalization;
the second part of I3D and an average over a video give 1024 channels, the MLP 256 and 128 units; Adam at 1e-4 with a
weight decay of 1e-5, batches of 4, 100 epochs, without the difficulty. It learns from labeled videos only.
Deviations: the attention is moved from the middle of I3D behind its last block, Mixed_5c, whose maps follow from cached
ones: 4 x 4 cells at 112 pixels and 8 frames a step, averaged right after it. As these cells are large beside an
actor, the one that holds the middle of his box belongs to the tube, too. Cells are standardized as their averages are;
the backbone is frozen, W has no batch normalization, products of cells are divided by sqrt(C) times the mean square of
a channel, and the training settings are those of all methods. The published tube comes from a tracker, here from the
boxes of the trial. Videos without maps (published features, sequences, other backbones) have the steps of the
actor crops as their tube, one cell a step, whose W y is added to the steps of the whole frames.
"""

from collections.abc import Mapping

import torch
from torch import Tensor, nn
from torch.nn.utils.rnn import pad_sequence

from sapnet_core.methods.actor_view import actor_view
from sapnet_core.methods.base import Training
from sapnet_core.methods.building_blocks import Batches, layers, reseed
from sapnet_core.methods.settings import LABELED, options
from sapnet_core.methods.train_set import TrainSet
from sapnet_core.methods.video_batch import VideoBatch
from sapnet_core.sapnet.losses import l_reg

__all__ = ["SETTINGS", "training", "TubeAttention", "tube_cells"]

SETTINGS = {"attend": True, "tube": True, **LABELED}
COVERED = 0.5  # share of a cell that a box covers where the cell belongs to the tube
AT_ONCE = 64  # videos whose cells are held in float32 at once


def tube_cells(boxes: Tensor, height: int, width: int) -> Tensor:
    """Which of height x width cells belong to the tube, (B, S, h, w) bool, from boxes (B, S, F, 4) as in `VideoBatch`:
    in any of the F frames, the box covers half of the cell or has its middle in it."""
    inside, held = [], []
    for low, high, cells in ((boxes[..., 1], boxes[..., 3], height), (boxes[..., 0], boxes[..., 2], width)):
        edge, middle = torch.arange(cells, device=boxes.device), ((low + high) / 2).floor().clamp(0, cells - 1)
        overlap = torch.minimum(high[..., None], edge + 1) - torch.maximum(low[..., None], edge)
        inside.append(overlap.clamp(min=0))  # (B, S, F, cells)
        held.append(middle[..., None] == edge)
    covered = inside[0][..., :, None] * inside[1][..., None, :] >= COVERED  # (B, S, F, h, w)
    return (covered | (held[0][..., :, None] & held[1][..., None, :])).any(2)


class TubeAttention(nn.Module):
    """Cells (B, N, C) and which of them belong to the tube, (B, N) -> W y (B, N, C), 0 outside the tube, which is added
    to them; `scale` multiplies the products of cells."""

    def __init__(self, channels: int, scale: float = 1.0):
        super().__init__()
        self.scale = scale
        self.value, self.out = nn.Linear(channels, channels), nn.Linear(channels, channels)
        nn.init.zeros_(self.out.weight)
        nn.init.zeros_(self.out.bias)

    def forward(self, x: Tensor, tube: Tensor) -> Tensor:
        inside = pad_sequence([cells[own] for cells, own in zip(x, tube, strict=True)], batch_first=True)  # (B, n, C)
        known = torch.arange(inside.shape[1], device=x.device) < tube.sum(1, keepdim=True)  # (B, n)
        products = self.scale * (inside @ inside.transpose(1, 2))  # (B, n, n)
        weights = torch.softmax(products.masked_fill(~known[:, None], torch.finfo(x.dtype).min), 2)
        changes = self.out(weights @ self.value(inside))  # (B, n, C)
        return torch.zeros_like(x).masked_scatter(tube[..., None], changes[known])


def training(train: TrainSet, settings: Mapping, generator: torch.Generator) -> Training:
    """Settings: `attend` (False: no attention, the mean of the frames alone), `tube` (False: all cells of the whole
    frames attend to each other, as in a non-local network), and the training settings."""
    o = options("tsa-net", settings, SETTINGS)
    o.batch_unlabeled = 1
    reseed(generator)
    mean, deviation = 0.0, 1.0  # `frame` and `actor` are standardized
    if train.maps is not None:
        steps = train.maps[train.labeled].mean((2, 3), dtype=torch.float32)  # (n, S, C)
        mean, deviation = steps.mean((0, 1)), steps.std((0, 1)) + 1e-4

    def cells(videos: VideoBatch) -> tuple[Tensor, Tensor]:
        """Cells (B, N, C) that may attend to each other, and which of them do, (B, N)."""
        if videos.maps is None:
            x = actor_view("tsa-net", videos) if o.tube else videos.frame
            return x, torch.ones(x.shape[:2], dtype=torch.bool, device=x.device)
        x = (videos.maps.float() - mean) / deviation  # (B, S, h, w, C)
        tube = tube_cells(videos.boxes, *x.shape[2:4])
        return x.flatten(1, 3), (tube if o.tube else torch.ones_like(tube)).flatten(1)

    parts = train.labeled.split(AT_ONCE)
    square = sum(cells(train.videos[i])[0].square().mean((1, 2)).sum() for i in parts) / len(train.labeled)
    channels = train.channels
    attention = TubeAttention(channels, channels**-0.5 / max(float(square), 1e-6))
    net = nn.ModuleDict({"tube": attention, "head": layers(channels, 256, 128, 1)}).to(train.frame.device)
    draw = Batches(train, o, generator)

    def assess(videos: VideoBatch) -> Tensor:
        """Scores (B,) on the target scale."""
        x, tube = cells(videos)
        seen = (videos.frame if videos.maps is None else x).mean(1)  # (B, C)
        if o.attend:
            seen = seen + net["tube"](x, tube).mean(1)
        return net["head"](seen).squeeze(1)

    def loss(step: int) -> dict[str, Tensor]:
        i = draw.labeled()
        return {"L_all": l_reg(assess(train.videos[i]), draw.y[i])}

    def score(videos: VideoBatch) -> Tensor:
        rows = torch.arange(len(videos)).split(AT_ONCE)
        return torch.cat([assess(videos[i.to(videos.frame.device)]) for i in rows]) * draw.scale + draw.shift

    return Training(net, loss, score, o.steps, o.lr, draw.samplers)
