"""A backbone with gradient (Eq. 1), from pixels or from cached maps: it learns with the method behind it.

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

__all__ = ["TrainableBackbone", "standardized", "step_scale"]

AT_ONCE = 16  # videos per batch where no gradient is taken


def _clips(videos: Tensor, clip_sampling: str) -> Tensor:
    """Clips (B*clips, 3, L, H, W) in [-1, 1] of uint8 videos (B, T, 3, H, W)."""
    frames = videos.shape[1]
    starts = clip_starts(clip_sampling, frames).to(videos.device)
    length = frames if clip_sampling == "dense" else CLIP
    clips = videos[:, starts[:, None] + torch.arange(length, device=videos.device)]  # (B, clips, length, 3, H, W)
    return clips.flatten(0, 1).transpose(1, 2).float() * (2 / 255) - 1


def step_scale(steps: Tensor, period: int) -> tuple[Tensor, Tensor]:
    """Mean and deviation (period, C) of the steps (n, S, C) of some videos, for each of the `period` steps of a clip.

    The steps of a clip are scaled separately, because their zero-padded borders differ.
    """
    x = steps.unflatten(1, (-1, period))  # (n, S / period, period, C)
    return x.mean((0, 1)), x.std((0, 1)) + 1e-4


def standardized(steps: Tensor, mean: Tensor, deviation: Tensor) -> Tensor:
    """Steps (n, S, C), standardized by a scale from `step_scale`."""
    return ((steps.unflatten(1, (-1, len(mean))) - mean) / deviation).flatten(1, 2)


class TrainableBackbone(nn.Module):
    """E_θ with gradient: it maps the stored inputs of B videos to standardized features (B, S, C).

    Args:
        net: I3D, whose inputs are uint8 videos (B, T, 3, H, W), or `LastBlocks`, whose inputs are cached maps
            (B, clips, C', T', h, w) of the blocks before. BatchNorm uses its running statistics.
        clip_sampling: "9x16", "10x16", "dense" or "segments" (E1).
        scales: view -> mean and deviation of its features (`step_scale`), which standardize them; a view without an
            entry is not standardized. `standardize` sets them.
        checkpoint: recompute activations in the backward pass instead of storing them (`I3D.forward`).
        mixed: compute in bfloat16 where its gradients are correct (`training_dtype`); weights stay float32.

    Attributes:
        channels: C.
    """

    def __init__(
        self,
        net: I3D | LastBlocks,
        clip_sampling: str,
        scales: Mapping[str, tuple[Tensor, Tensor]] | None = None,
        checkpoint: bool = False,
        mixed: bool = False,
    ):
        super().__init__()
        self.net = net.freeze_norm() if isinstance(net, I3D) else net
        self.clip_sampling, self.channels, self.scales = clip_sampling, net.channels, dict(scales or {})
        self.checkpoint, self.mixed = checkpoint, mixed

    def forward(self, view: str, x: Tensor) -> Tensor:
        """Features (B, S, C) of one view. Where no gradient is taken, at most `AT_ONCE` videos are computed at once."""
        if not torch.is_grad_enabled() and len(x) > AT_ONCE:
            return torch.cat([self(view, part) for part in x.split(AT_ONCE)])
        clips = _clips(x, self.clip_sampling) if isinstance(self.net, I3D) else x.flatten(0, 1).float()
        mixed = self.mixed and training_dtype(clips.device) == torch.bfloat16
        with torch.autocast(clips.device.type, torch.bfloat16, enabled=mixed):
            maps = self.net(clips, self.checkpoint)
        steps = maps.float().mean((3, 4)).transpose(1, 2)  # (B*clips, T', C)
        if self.clip_sampling == "segments":
            steps = steps.mean(1, keepdim=True)  # a segment is one step
        steps = steps.reshape(len(x), -1, self.channels)
        return standardized(steps, *self.scales[view]) if view in self.scales else steps

    @torch.no_grad()
    def standardize(self, views: Mapping[str, Tensor]) -> None:
        """Set the scale of each view from the inputs of the videos that are learned from."""
        period = steps_per_clip(self.clip_sampling)
        self.scales = {}
        self.scales = {view: step_scale(self(view, x), period) for view, x in views.items()}
