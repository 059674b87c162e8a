"""Photometric augmentation of a video: what Fig. 10 of the paper gives the teacher in place of the actor's crop."""

import torch
from torch import Tensor

__all__ = ["photometric"]

AT_ONCE = 8  # frames: their floats stay in a processor's cache


def photometric(video: Tensor, seed: int) -> Tensor:
    """Other colors, light and sharpness, the same scene: (T, 3, H, W) uint8, the same out.

    Brightness, contrast and saturation are scaled by 0.6 … 1.4, hue is shifted by up to a tenth of the circle, then a
    Gaussian of sd 0.1 … 1 pixels blurs. All frames of a video change alike, as the seed draws it, so that motion stays
    what it is. The paper says of it "varying pixel-level distributions" and no more.
    """
    from torchvision.transforms.v2 import functional as change  # takes a second to import, and few processes need it

    light, contrast, colors, hue, blur = torch.rand(5, generator=torch.Generator().manual_seed(seed)).tolist()
    changed = []
    for frames in video.split(AT_ONCE):
        frames = change.adjust_contrast(change.adjust_brightness(frames, 0.6 + 0.8 * light), 0.6 + 0.8 * contrast)
        frames = change.adjust_hue(change.adjust_saturation(frames, 0.6 + 0.8 * colors), 0.2 * hue - 0.1)
        planes = frames.flatten(0, 1)[None]  # one picture of many channels: a CPU blurs it eight times as fast
        changed.append(change.gaussian_blur(planes, [5, 5], [0.1 + 0.9 * blur] * 2).view_as(frames))
    return torch.cat(changed)
