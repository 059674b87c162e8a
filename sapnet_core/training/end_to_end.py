"""SAP-Net from pixels: the backbone in front of the network, trained with it (Eq. 1), for those who have a GPU.

The paper fine-tunes I3D at 1e-4 beside SAP-Net at 1e-3; both views pass the same E_θ. Cached features are the other
path, and the one that tables use.
"""

import torch
from torch import Tensor, nn

from sapnet_core.backbones.i3d import I3D, training_dtype
from sapnet_core.datasets.clips import CLIP, clip_starts, step_positions, steps_per_clip
from sapnet_core.sapnet.network import SAPNet
from sapnet_core.sapnet.settings import Output

__all__ = ["EndToEnd"]


class EndToEnd(nn.Module):
    """E_θ and SAP-Net in one module; videos are uint8 (B, T, 3, H, W), of any size per view.

    Args:
        backbone: I3D; its BatchNorm statistics stay as they are (`I3D.freeze_norm`).
        network: SAP-Net whose `channels` are the backbone's.
        reading: "9x16", "10x16" or "dense" (E1), or "segments", whose two steps are averaged.
        mean, std: (2, C) by which first and second steps of a clip are standardized, (1, C) where a clip is one step or
            time is one clip, or scalars.
        mixed: the backbone computes in bfloat16 where that is safe (autocast, and `i3d.training_dtype`); weights
            and the network stay float32.
        checkpoint: the backbone's activations are computed again in the backward pass rather than kept.
    """

    def __init__(
        self,
        backbone: I3D,
        network: SAPNet,
        reading: str,
        mean: Tensor | float = 0.0,
        std: Tensor | float = 1.0,
        mixed: bool = False,
        checkpoint: bool = False,
    ):
        super().__init__()
        if network.settings.channels != backbone.channels:
            raise ValueError(f"the network takes {network.settings.channels} channels, I3D gives {backbone.channels}")
        self.backbone, self.network, self.reading = backbone.freeze_norm(), network, reading
        self.mixed, self.checkpoint = mixed, checkpoint
        self.register_buffer("mean", torch.as_tensor(mean))
        self.register_buffer("std", torch.as_tensor(std))

    def features(self, videos: Tensor) -> Tensor:
        """F = E_θ(X), with gradient (Eq. 1): (B, T, 3, H, W) uint8 -> (B, S, C)."""
        frames = videos.shape[1]
        starts = clip_starts(self.reading, frames).to(videos.device)
        length = frames if self.reading == "dense" else CLIP
        clips = videos[:, starts[:, None] + torch.arange(length, device=videos.device)]  # (B, clips, length, 3, H, W)
        x = clips.flatten(0, 1).transpose(1, 2).float() * (2 / 255) - 1  # (B*clips, 3, length, H, W)
        mixed = self.mixed and training_dtype(x.device) == torch.bfloat16
        with torch.autocast(x.device.type, torch.bfloat16, enabled=mixed):
            maps = self.backbone(x, self.checkpoint)
        steps = maps.float().mean((3, 4)).transpose(1, 2)  # (B*clips, C, T', h, w) -> (B*clips, T', C)
        if self.reading == "segments":
            steps = steps.mean(1, keepdim=True)  # a segment is one step
        standard = (steps.unflatten(1, (-1, steps_per_clip(self.reading))) - self.mean) / self.std
        return standard.reshape(len(videos), -1, self.backbone.channels)  # (B, S, C)

    def forward(self, x_l: Tensor, x_u: Tensor | None, x_a: Tensor | None, x_la: Tensor | None = None) -> Output:
        """`SAPNet.forward` on videos: labeled and unlabeled whole frames, unlabeled and labeled crops."""
        f_l, f_u, f_a, f_la = (None if x is None else self.features(x) for x in (x_l, x_u, x_a, x_la))
        positions = step_positions(self.reading, x_l.shape[1]).to(x_l.device)
        return self.network(f_l, f_u, f_a, positions, f_la)

    def parameter_groups(self, lr: float = 1e-3, lr_backbone: float = 1e-4) -> list[dict]:
        """For Adam (take `fused=True`): the network at `lr`, the backbone at `lr_backbone` (the paper's settings)."""
        parts = ((self.network, lr), (self.backbone, lr_backbone))
        return [{"params": part.parameters(), "lr": rate} for part, rate in parts]
