"""From an actor's boxes to the teacher's input: a smooth square track, and the video cropped along it.

Coordinates are continuous pixels: (0, 0) is the upper left corner of the frame, and pixel (i, j) covers [j, j + 1] x
[i, i + 1], with its center at +0.5. A resize by a factor r therefore multiplies every box and point by r.
"""

import torch
import torch.nn.functional as F
from torch import Tensor

__all__ = ["square_track", "crop_track", "points_to_crop", "points_from_crop", "resize_video", "resize_boxes"]


def square_track(boxes: Tensor, enlarge: float = 1.3, smooth: float = 3.0, least: float = 0.5) -> Tensor:
    """A smooth track of squares around boxes (T, 4) xyxy; the squares may extend beyond the frame.

    The side is the box's longer side, its maximum within `smooth` frames, times `enlarge`, and at least `least`
    times the longest side in the video, so that a tucked diver keeps its scale. A Gaussian with a standard deviation of
    `smooth` frames smooths the side, one of half that width the center, since a diver falls fast; 0 turns both off.
    """
    boxes = boxes.float()
    frames = len(boxes)
    centre = (boxes[:, :2] + boxes[:, 2:]) / 2  # (T, 2)
    side = (boxes[:, 2:] - boxes[:, :2]).amax(1)  # (T,)
    side = torch.maximum(side, least * side.max())
    if smooth > 0:
        t = torch.arange(frames, device=boxes.device)
        apart = (t[:, None] - t[None]).float()  # (T, T)
        side = torch.where(apart.abs() <= smooth, side, torch.zeros(())).amax(1)
        wide, narrow = (torch.softmax(-0.5 * (apart / sd).square(), 1) for sd in (smooth, smooth / 2))
        side, centre = wide @ side, narrow @ centre
    half = enlarge * side[:, None] / 2
    return torch.cat([centre - half, centre + half], 1)


def crop_track(video: Tensor, boxes: Tensor, size: int) -> Tensor:
    """Crop a video (T, 3, H, W) uint8 along boxes (T, 4) xyxy to (T, 3, size, size) uint8, bilinear.

    Pixel i of the crop lies at x1 + (i + 1/2) (x2 - x1) / size. Beyond the frame its border pixels are repeated. Raises
    ValueError where the numbers of frames and boxes differ.
    """
    if len(video) != len(boxes):
        raise ValueError(f"{len(video)} frames but {len(boxes)} boxes: a track has one box per frame")
    frames, _, height, width = video.shape
    boxes = boxes.to(device=video.device, dtype=torch.float32)
    share = (torch.arange(size, device=video.device) + 0.5) / size
    reach = boxes.new_tensor([width, height])
    low, run = boxes[:, :2] * (2 / reach) - 1, (boxes[:, 2:] - boxes[:, :2]) * (2 / reach)  # for grid_sample: [-1, 1]
    axes = low[..., None] + run[..., None] * share  # (T, 2, size)
    grid = boxes.new_empty(frames, size, size, 2)
    grid[..., 0], grid[..., 1] = axes[:, 0, None, :], axes[:, 1, :, None]
    crops = video.new_empty(frames, 3, size, size)
    few = 24 if video.device.type == "cpu" else frames  # frames per call: faster where they fit the CPU's cache
    for part, at, out in zip(video.split(few), grid.split(few), crops.split(few), strict=True):
        crop = F.grid_sample(part.float(), at, mode="bilinear", padding_mode="border", align_corners=False)
        out.copy_(crop.add_(0.5))  # values lie in 0.5 .. 255.5; conversion to uint8 truncates, which rounds them
    return crops


def points_to_crop(points: Tensor, boxes: Tensor, size: int) -> Tensor:
    """Map points (T, J, 2) from frame coordinates to those of the crops that `crop_track` takes along boxes (T, 4)."""
    return (points - boxes[:, None, :2]) * (size / (boxes[:, 2:] - boxes[:, :2]))[:, None]


def points_from_crop(points: Tensor, boxes: Tensor, size: int) -> Tensor:
    """Map points (T, J, 2) from crop coordinates to those of the frames: the inverse of `points_to_crop`."""
    return points * ((boxes[:, 2:] - boxes[:, :2]) / size)[:, None] + boxes[:, None, :2]


def resize_video(video: Tensor, size: int | tuple[int, int]) -> Tensor:
    """Resize a video (T, 3, H, W) uint8 to `size` (height, width), bilinear and antialiased, uint8 again."""
    size = (size, size) if isinstance(size, int) else tuple(size)
    resized = F.interpolate(video.float(), size=size, mode="bilinear", align_corners=False, antialias=True)
    return resized.add_(0.5).clamp_(0, 255).to(torch.uint8)


def resize_boxes(boxes: Tensor, source: tuple[int, int], target: tuple[int, int]) -> Tensor:
    """Scale boxes (..., 4) xyxy with a resize of the frame from `source` to `target`, each (height, width)."""
    factor = boxes.new_tensor([target[1] / source[1], target[0] / source[0]])
    return boxes * factor.repeat(2)
