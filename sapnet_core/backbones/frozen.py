"""Feature extraction from uint8 videos, clip by clip: the part that all frozen backbones share.

Clip sampling (`datasets.clips`) decides which frames form a clip; a network turns clips into feature maps. Whatever the
network's strides, its maps are averaged over space and over every 8 frames, so that all backbones give feature steps at
the same times (`step_positions`).
"""

from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import Tensor

from sapnet_core.datasets.clips import CLIP, STEP, clip_starts

__all__ = ["FUSED", "SCALINGS", "Clipwise", "conv_relu"]

FUSED = hasattr(torch.ops.mkldnn, "_convolution_pointwise")  # whether this build of PyTorch has oneDNN
# pixel scaling: a value 0 … 255 becomes (value - mean) / standard deviation, for each of R, G, B
SCALINGS = {
    "symmetric": ((127.5, 127.5, 127.5), (127.5, 127.5, 127.5)),
    "imagenet": ((123.675, 116.28, 103.53), (58.395, 57.12, 57.375)),
    "sports-1m": ((101.41, 97.66, 90.25), (1.0, 1.0, 1.0)),
}


class Clipwise:
    """A frozen backbone as the feature store uses it: features of videos, without gradients.

    A subclass implements `maps`, or `steps` where it has a faster way. Results are bit-identical from call to call on
    one machine and dtype; on a CPU, where each video is a batch of its own, they do not depend on how videos are
    grouped.

    Args:
        device, dtype: device and number format of the computation.
        channels: C of the features.
        scaling: a key of `SCALINGS`.

    Raises:
        ValueError: the scaling is unknown.
    """

    at_once = 1  # clips per batch on a CPU
    at_once_on_gpu = 144  # clips of all videos together, per batch on a GPU

    def __init__(self, device: torch.device, channels: int, dtype: torch.dtype, scaling: str):
        if scaling not in SCALINGS:
            raise ValueError(f"scaling {scaling!r} is unknown: choose one of {', '.join(SCALINGS)}")
        self.device, self.channels, self.dtype, self.scaling = device, channels, dtype, scaling

    def maps(self, clips: Tensor) -> Tensor:
        """Compute the network's maps (n, C, L', H', W') of scaled clips (n, 3, L, H, W), channels last in memory."""
        raise NotImplementedError(f"{type(self).__name__} has no `maps`")

    @torch.inference_mode()
    def features(self, videos: Tensor, clip_sampling: str) -> Tensor:
        """Features (B, S, C) float32 of uint8 videos (B, T, 3, H, W), averaged over space (network step 2, E1).

        `clip_sampling` is one of `datasets.clips.CLIP_SAMPLINGS`. S counts two steps per clip, in order of the clips,
        or is T / 8 rounded up for "dense".

        Raises:
            ValueError: the videos are not uint8, have another shape, or have too few frames for this clip sampling.
        """
        return self.of_clips(self.steps, videos, clip_sampling).flatten(1, 2)  # (B, clips, S', C) -> (B, S, C)

    def of_clips(self, compute: Callable[[Tensor, Tensor, int], Tensor], videos: Tensor, clip_sampling: str) -> Tensor:
        """Apply `compute` to the clips of videos; on a CPU it gets the videos one by one.

        Args:
            compute: a function with the arguments of `steps` (videos, starts, length), whose result (B, ...) has one
                entry a video.
            videos: uint8 (B, T, 3, H, W).
            clip_sampling: one of `datasets.clips.CLIP_SAMPLINGS`.

        Returns:
            (B, ...): the results of `compute`, in the order of the videos.

        Raises:
            ValueError: as `features`.
        """
        if videos.dtype != torch.uint8 or videos.ndim != 5 or videos.shape[2] != 3:
            raise ValueError(f"videos are {videos.dtype} {tuple(videos.shape)}: give uint8 (B, T, 3, H, W)")
        if self.device.type == "cpu" and len(videos) > 1:
            return torch.cat([self.of_clips(compute, video[None], clip_sampling) for video in videos])
        frames = videos.shape[1]
        starts = clip_starts(clip_sampling, frames).to(self.device)
        return compute(videos, starts, frames if clip_sampling == "dense" else CLIP)

    def steps(self, videos: Tensor, starts: Tensor, length: int) -> Tensor:
        """Feature steps (B, clips, S', C) of the clips of `length` frames that begin at `starts` (clips,); S' is
        length / 8, rounded up."""
        x = self.pixels(videos)
        index = starts[:, None] + torch.arange(length, device=self.device)  # (clips, length)
        found, group = [], self.at_once if self.device.type == "cpu" else self.at_once_on_gpu // len(videos)
        for some in index.split(max(group, 1)):
            clips = x[:, some].flatten(0, 1).movedim(-1, 1)  # (B*some, 3, length, H, W)
            means = self.maps(clips).float().mean((3, 4))  # (B*some, C, L')
            steps = F.adaptive_avg_pool1d(means, -(-length // STEP))
            found.append(steps.transpose(1, 2).unflatten(0, (len(videos), -1)))
        return torch.cat(found, 1)

    def pixels(self, videos: Tensor) -> Tensor:
        """Scaled pixels (B, T, H, W, 3) of uint8 videos (B, T, 3, H, W)."""
        b, t, _, h, w = videos.shape
        x = torch.empty(b, t, h, w, 3, device=self.device, dtype=self.dtype)
        for color, plane in enumerate(self.scaled(videos).unbind(2)):
            x[..., color] = plane
        return x

    def scaled(self, videos: Tensor) -> Tensor:
        """Scaled pixels of uint8 videos, both (B, T, 3, H, W)."""
        x = videos.to(self.device, non_blocking=True).to(self.dtype)
        for color, (mean, deviation) in enumerate(zip(*SCALINGS[self.scaling], strict=True)):
            x[:, :, color].mul_(1 / deviation).sub_(mean / deviation)
        return x


def conv_relu(x: Tensor, weight: Tensor, bias: Tensor, stride: tuple[int, ...], padding: tuple[int, ...]) -> Tensor:
    """Convolution of (n, C, T, H, W) with bias and ReLU, in one fused pass on a CPU with oneDNN."""
    if x.shape[2] == 1 and weight.shape[2] == 3 and padding[0] == 1:
        # The first and the last tap meet zeros alone; they are left out, since oneDNN 3.x reads memory beyond the maps
        # for some numbers of channels where it computes bfloat16 with AMX.
        weight, padding = weight[:, :, 1:2], (0, *padding[1:])
    if FUSED and x.device.type == "cpu":  # F.conv3d has a slow path for a single clip, which this avoids
        return torch.ops.mkldnn._convolution_pointwise(x, weight, bias, padding, stride, (1, 1, 1), 1, "relu", [], "")
    return F.conv3d(x, weight, bias, stride, padding).relu_()
