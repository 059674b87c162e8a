"""TSA-Net: what the actor shows at one time attends to what he shows at all other times.

Source: Wang et al., "TSA-Net: Tube Self-Attention Network for Action Quality Assessment", ACM Multimedia 2021, and its
public code.

    y_i = sum_j softmax_j(x_i . x_j) g(x_j),    z_i = x_i + W y_i,    score = MLP(mean of all cells),    L = MSE

The tube is where a tracker sees the actor: x_i are the cells of a feature map inside it, over the whole video, and all
other cells stay as they are. g and W are linear, and W begins at zero. In the paper the weights are
theta(x_i) . phi(x_j) / |tube|; its public code has the softmax without theta and phi.
Published: I3D is cut in two after Mixed_4e, with maps of 14 x 14 cells; W has batch normalization; the second part of
I3D and an average over a video give 1024 channels, the MLP 256 and 128 units; Adam at 1e-4 with a weight decay of 1e-5,
batches of 4, 100 epochs, without the difficulty. It learns from labeled videos only.
Deviations: no feature maps are stored here, but averages over the whole frame and over the actor crop, of every step.
The tube is therefore the steps of the crops, one cell a step, and lies behind the last layer of I3D; the average of a
frame's cells is its own feature plus W y. The backbone is frozen, W has no batch normalization, the weights are
softmax_j(x_i . x_j / sqrt(C)), since standardized features are larger than those behind a ReLU, and the training
settings are those of all methods. The published tube comes from a tracker, here from the boxes of the trial.
"""

from collections.abc import Mapping

import torch
from torch import Tensor, nn

from sapnet_core.methods.actor_view import actor_view
from sapnet_core.methods.base import Training
from sapnet_core.methods.building_blocks import Batches, layers, reseed
from sapnet_core.methods.settings import LABELED, options
from sapnet_core.methods.train_set import TrainSet
from sapnet_core.methods.video_batch import VideoBatch
from sapnet_core.sapnet.losses import l_reg

__all__ = ["SETTINGS", "training", "TubeAttention"]

SETTINGS = {"attend": True, "tube": True, **LABELED}


class TubeAttention(nn.Module):
    """Cells of a tube (B, N, C) -> W y (B, N, C), which is added to them; `scale` multiplies the products of cells."""

    def __init__(self, channels: int, scale: float = 1.0):
        super().__init__()
        self.scale = scale
        self.value, self.out = nn.Linear(channels, channels), nn.Linear(channels, channels)
        nn.init.zeros_(self.out.weight)
        nn.init.zeros_(self.out.bias)

    def forward(self, x: Tensor) -> Tensor:
        weights = torch.softmax(self.scale * (x @ x.transpose(1, 2)), 2)  # (B, N, N)
        return self.out(weights @ self.value(x))


def training(train: TrainSet, settings: Mapping, generator: torch.Generator) -> Training:
    """Settings: `attend` (False: no attention, the mean of the frames alone), `tube` (False: steps of the whole frames
    attend to each other, as in a non-local network), and the training settings."""
    o = options("tsa-net", settings, SETTINGS)
    o.batch_unlabeled = 1
    reseed(generator)
    channels = train.channels
    net = nn.ModuleDict(
        {"tube": TubeAttention(channels, channels**-0.5), "head": layers(channels, 256, 128, 1)},
    ).to(train.frame.device)
    draw = Batches(train, o, generator)

    def assess(videos: VideoBatch) -> Tensor:
        """Scores (B,) on the target scale."""
        x = videos.frame
        if o.attend:
            x = x + net["tube"](actor_view("tsa-net", videos) if o.tube else x)
        return net["head"](x.mean(1)).squeeze(1)

    def loss(step: int) -> dict[str, Tensor]:
        i = draw.labeled()
        return {"L_all": l_reg(assess(train.videos[i]), draw.y[i])}

    def score(videos: VideoBatch) -> Tensor:
        return assess(videos) * draw.scale + draw.shift

    return Training(net, loss, score, o.steps, o.lr, draw.samplers)
