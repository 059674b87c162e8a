"""SAP-Net end to end: the backbone E_θ (Eq. 1) is trained together with the network; this needs a GPU in practice.

The paper fine-tunes I3D with learning rate 1e-4 and trains SAP-Net with 1e-3; both views pass through the same E_θ. The
tables do not use this module: they train on cached features of a frozen backbone.
"""

import torch
from torch import Tensor, nn

from sapnet_core.backbones.i3d import I3D, training_dtype
from sapnet_core.datasets.clips import step_positions
from sapnet_core.sapnet.network import SAPNet
from sapnet_core.sapnet.settings import Output
from sapnet_core.training.trained_backbone import clips_of, steps_of

__all__ = ["EndToEnd"]


class EndToEnd(nn.Module):
    """E_θ and SAP-Net in one module. Videos are uint8 (B, T, 3, H, W); views may differ in H and W.

    Args:
        backbone: I3D; its BatchNorm statistics are frozen (`I3D.freeze_norm`).
        network: a SAP-Net with as many `channels` as the backbone.
        clip_sampling: "9x16", "10x16" or "dense" (E1), or "segments", where the two steps of a clip are averaged.
        mean, std: mean and standard deviation of the features, to standardize them: (2, C) for the first and second
            step of a clip, (1, C) for "segments" and "dense", or scalars.
        mixed: compute the backbone in bfloat16 where that is safe (autocast, and `i3d.training_dtype`); weights and
            the network stay float32.
        checkpoint: recompute the backbone's activations in the backward pass to save memory.

    Raises:
        ValueError: network and backbone differ in their channels.
    """

    def __init__(
        self,
        backbone: I3D,
        network: SAPNet,
        clip_sampling: str,
        mean: Tensor | float = 0.0,
        std: Tensor | float = 1.0,
        mixed: bool = False,
        checkpoint: bool = False,
    ):
        super().__init__()
        if network.settings.channels != backbone.channels:
            raise ValueError(f"the network takes {network.settings.channels} channels, I3D gives {backbone.channels}")
        self.backbone, self.network, self.clip_sampling = backbone.freeze_norm(), network, clip_sampling
        self.mixed, self.checkpoint = mixed, checkpoint
        self.register_buffer("mean", torch.as_tensor(mean))
        self.register_buffer("std", torch.as_tensor(std))

    def features(self, videos: Tensor) -> Tensor:
        """Standardized features F = E_θ(X), with gradient (Eq. 1): (B, T, 3, H, W) uint8 -> (B, S, C)."""
        mixed = self.mixed and training_dtype(videos.device) == torch.bfloat16
        with torch.autocast(videos.device.type, torch.bfloat16, enabled=mixed):
            maps = self.backbone(clips_of(videos, self.clip_sampling), self.checkpoint)
        return steps_of(maps, len(videos), self.clip_sampling, self.mean, self.std)

    def forward(self, x_l: Tensor, x_u: Tensor | None, x_a: Tensor | None, x_la: Tensor | None = None) -> Output:
        """`SAPNet.forward` on videos: labeled and unlabeled whole frames, unlabeled and labeled actor crops."""
        f_l, f_u, f_a, f_la = (None if x is None else self.features(x) for x in (x_l, x_u, x_a, x_la))
        positions = step_positions(self.clip_sampling, x_l.shape[1]).to(x_l.device)
        return self.network(f_l, f_u, f_a, positions, f_la)

    def parameter_groups(self, lr: float = 1e-3, lr_backbone: float = 1e-4) -> list[dict]:
        """Parameter groups for Adam (preferably fused): the network at `lr`, the backbone at `lr_backbone`.

        The defaults are the paper's learning rates.
        """
        parts = ((self.network, lr), (self.backbone, lr_backbone))
        return [{"params": part.parameters(), "lr": rate} for part, rate in parts]
