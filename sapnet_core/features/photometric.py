"""Photometric augmentation of a video: the teacher's input of Fig. 10 that replaces the actor's crop."""

import torch
from torch import Tensor

__all__ = ["photometric"]

AT_ONCE = 8  # frames per chunk: their floats fit a CPU's cache


def photometric(video: Tensor, seed: int) -> Tensor:
    """Change colors, lighting and sharpness of a video (T, 3, H, W) uint8; the result has the same shape and type.

    Brightness, contrast and saturation are scaled by 0.6 … 1.4, hue is shifted by up to a tenth of the color circle,
    then a Gaussian with a standard deviation of 0.1 … 1 pixels blurs. The seed draws one change for all frames of a
    video, which preserves motion. The paper describes it only as "varying pixel-level distributions".
    """
    from torchvision.transforms.v2 import functional as change  # here, since the import takes a second

    light, contrast, colors, hue, blur = torch.rand(5, generator=torch.Generator().manual_seed(seed)).tolist()
    changed = []
    for frames in video.split(AT_ONCE):
        frames = change.adjust_contrast(change.adjust_brightness(frames, 0.6 + 0.8 * light), 0.6 + 0.8 * contrast)
        frames = change.adjust_hue(change.adjust_saturation(frames, 0.6 + 0.8 * colors), 0.2 * hue - 0.1)
        planes = frames.flatten(0, 1)[None]  # as one image of many channels, a CPU blurs it eight times as fast
        changed.append(change.gaussian_blur(planes, [5, 5], [0.1 + 0.9 * blur] * 2).view_as(frames))
    return torch.cat(changed)
