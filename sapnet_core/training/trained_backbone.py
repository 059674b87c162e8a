"""A backbone that is trained with the method behind it (Eq. 1), from pixels or from cached maps.

The paper trains E_θ at a tenth of the network's learning rate (1e-4 beside 1e-3); both views pass the same E_θ.
Features are standardized by fixed numbers, those of the untrained backbone, so that training starts where a frozen
backbone's does.
"""

from collections.abc import Mapping

import torch
from torch import Tensor, nn

from sapnet_core.backbones.i3d import I3D, training_dtype
from sapnet_core.backbones.last_blocks import LastBlocks
from sapnet_core.datasets.clips import CLIP, clip_starts, steps_per_clip

__all__ = ["TrainedBackbone", "clips_of", "steps_of"]

AT_ONCE = 16  # videos per batch where no gradient is taken


def clips_of(videos: Tensor, clip_sampling: str) -> Tensor:
    """Clips (B*clips, 3, L, H, W) in [-1, 1] of uint8 videos (B, T, 3, H, W)."""
    frames = videos.shape[1]
    starts = clip_starts(clip_sampling, frames).to(videos.device)
    length = frames if clip_sampling == "dense" else CLIP
    clips = videos[:, starts[:, None] + torch.arange(length, device=videos.device)]  # (B, clips, length, 3, H, W)
    return clips.flatten(0, 1).transpose(1, 2).float() * (2 / 255) - 1


def steps_of(maps: Tensor, videos: int, clip_sampling: str, mean: Tensor, std: Tensor) -> Tensor:
    """Standardized feature steps (B, S, C) of the clips' maps (B*clips, C, T', h, w) of B videos."""
    steps = maps.float().mean((3, 4)).transpose(1, 2)  # (B*clips, T', C)
    if clip_sampling == "segments":
        steps = steps.mean(1, keepdim=True)  # a segment is one step
    standard = (steps.unflatten(1, (-1, steps_per_clip(clip_sampling))) - mean) / std
    return standard.reshape(videos, -1, maps.shape[1])


class TrainedBackbone(nn.Module):
    """E_θ with gradient: the stored inputs of some videos to standardized features (B, S, C).

    Args:
        net: I3D, whose inputs are uint8 videos (B, T, 3, H, W), or `LastBlocks`, whose inputs are cached maps
            (B, clips, C', T', h, w) of the blocks before. BatchNorm uses its running statistics.
        clip_sampling: "9x16", "10x16", "dense" or "segments" (E1).
        checkpoint: recompute activations in the backward pass instead of storing them (`I3D.forward`).
        mixed: compute in bfloat16 where its gradients are correct (`training_dtype`); weights stay float32.

    Attributes:
        channels: C.
        mean, std: for each view, the numbers (steps per clip, C) that standardize its features; 0 and 1 until
            `standardize` is called.
    """

    def __init__(self, net: I3D | LastBlocks, clip_sampling: str, checkpoint: bool = False, mixed: bool = False):
        super().__init__()
        self.net = net.freeze_norm() if isinstance(net, I3D) else net
        self.clip_sampling, self.channels = clip_sampling, net.channels
        self.checkpoint, self.mixed = checkpoint, mixed
        self.mean: dict[str, Tensor] = {}
        self.std: dict[str, Tensor] = {}

    def forward(self, view: str, x: Tensor) -> Tensor:
        """Features (B, S, C) of one view. Without gradient, videos are taken `AT_ONCE`."""
        if not torch.is_grad_enabled() and len(x) > AT_ONCE:
            return torch.cat([self(view, part) for part in x.split(AT_ONCE)])
        clips = clips_of(x, self.clip_sampling) if isinstance(self.net, I3D) else x.flatten(0, 1).float()
        mixed = self.mixed and training_dtype(clips.device) == torch.bfloat16
        with torch.autocast(clips.device.type, torch.bfloat16, enabled=mixed):
            maps = self.net(clips, self.checkpoint)
        one, zero = maps.new_ones(()), maps.new_zeros(())
        return steps_of(maps, len(x), self.clip_sampling, self.mean.get(view, zero), self.std.get(view, one))

    @torch.no_grad()
    def standardize(self, views: Mapping[str, Tensor]) -> None:
        """Set `mean` and `std` of each view from the inputs of the videos that are learned from."""
        for view, x in views.items():
            steps = self(view, x).unflatten(1, (-1, steps_per_clip(self.clip_sampling)))  # (n, clips, period, C)
            self.mean[view], self.std[view] = steps.mean((0, 1)), steps.std((0, 1)) + 1e-4
