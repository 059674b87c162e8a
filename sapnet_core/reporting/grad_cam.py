"""Grad-CAM through I3D and SAP-Net: where the network looks, and how much of that lies on the actor (Fig. 11).

A map has one value per cell of an I3D layer. The receptive field of a cell is not centered on the cell's own part of
the picture: SAME padding puts more zeros behind than in front, so every stride of 2 shifts the centers half a step to
the right, down and later in time. At Mixed_4f the shift is 7.5 of 16 pixels; `cell_centers` accounts for it.

Source: Selvaraju et al., Grad-CAM (ICCV 2017), the paper's [66]; captum computes it.
"""

from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from sapnet_core.backbones.i3d import MIXED, POOL_BEFORE, STEM, same_padding
from sapnet_core.detection.crops import points_to_crop
from sapnet_core.sapnet.parsing import interpolation_matrix

__all__ = ["cell_centers", "grad_cam", "heat_on_pixels", "share_inside", "heat_from_crop"]


def cell_centers(layer: str, size: int, axis: int) -> Tensor:
    """Centers of the receptive fields of an I3D layer's cells along one axis, (n,), as indices of frames or pixels.

    Args:
        layer: a layer of I3D, such as "Mixed_4f".
        size: frames, rows or columns of the clip.
        axis: 0 for time, 1 for rows, 2 for columns.

    Raises:
        ValueError: I3D has no such layer.
    """
    names = [STEM, "Conv3d_2b_1x1", "Conv3d_2c_3x3", *MIXED]
    if layer not in names:
        raise ValueError(f"I3D has no layer {layer!r}: choose one of {', '.join(names)}")
    strided = {STEM: ((7, 7, 7), (2, 2, 2)), **POOL_BEFORE}
    first, step = 0.0, 1  # center of cell 0, and distance between neighboring cells
    for name in names[: names.index(layer) + 1]:
        if name in strided:
            kernel, stride = (part[axis] for part in strided[name])
            front, _ = same_padding(size, kernel, stride)
            first, step, size = first + step * ((kernel - 1) / 2 - front), step * stride, -(-size // stride)
    return first + step * torch.arange(size)


def grad_cam(score: Callable[[Tensor], Tensor], layer: nn.Module, videos: Tensor) -> Tensor:
    """Signed Grad-CAM of a score, (N, T', h, w): positive where a cell raises the score, negative where it lowers it.

    For every clip that passes the layer, with one map A_c per channel:

        w_c = mean over (t, i, j) of d score / d A_c[t, i, j],      map = sum over c of w_c A_c

    `map.relu()` is the heat map of the score, `(-map).relu()` that of its negative. Since a regressor has no target
    class, both show where it looks.

    Args:
        score: maps videos to (B,) scores, differentiably; calls the layer once, with N clips.
        layer: a layer of the network, with output (N, C, T', h, w).
        videos: the input of `score`, float.
    """
    from captum.attr import LayerGradCam

    return LayerGradCam(score, layer).attribute(videos, relu_attributions=False)[:, 0].detach()


def heat_on_pixels(heat: Tensor, layer: str, frames: int, height: int, width: int) -> Tensor:
    """Interpolate maps (N, T', h, w) of a layer to the pixels of its clips, (N, frames, height, width).

    The values are linear between the centers of the receptive fields, and constant beyond the outermost.

    Raises:
        ValueError: the layer has another number of cells on a clip of this size.
    """
    for axis, size in enumerate((frames, height, width)):
        centers, cells = cell_centers(layer, size, axis), heat.shape[axis + 1]
        if len(centers) != cells:
            raise ValueError(f"{layer} has {len(centers)} cells over {size} along axis {axis}, but the map has {cells}")
        weights = interpolation_matrix(centers / (size - 1), size, size) if len(centers) > 1 else torch.ones(size, 1)
        heat = torch.tensordot(heat, weights.to(heat), ([axis + 1], [1])).movedim(-1, axis + 1)
    return heat


def share_inside(heat: Tensor, boxes: Tensor) -> Tensor:
    """Share of the heat (..., T, H, W) at pixels whose center lies in the frame's box (T, 4) xyxy, (...,).

    NaN where there is no heat at all. For uniform heat it is the boxes' share of the area, which is the chance level.
    """
    rows, columns = (torch.arange(size, device=heat.device) + 0.5 for size in heat.shape[-2:])
    x1, y1, x2, y2 = boxes.to(heat).T[..., None]  # each (T, 1)
    inside = ((rows >= y1) & (rows < y2))[:, :, None] & ((columns >= x1) & (columns < x2))[:, None, :]
    return (heat * inside).sum((-3, -2, -1)) / heat.sum((-3, -2, -1))


def heat_from_crop(heat: Tensor, track: Tensor, height: int, width: int) -> Tensor:
    """Map the heat of crops (T, s, s) back to the frames (T, height, width) from which they were cut along the track
    (T, 4).

    The heat is 0 outside the crop. This is the inverse of `crops.crop_track`, up to resampling.
    """
    side = heat.shape[-1]
    y, x = torch.meshgrid(torch.arange(height) + 0.5, torch.arange(width) + 0.5, indexing="ij")
    points = torch.stack([x, y], -1).flatten(0, 1).expand(len(heat), -1, 2).to(heat)  # (T, H W, 2)
    there = points_to_crop(points, track, side).unflatten(1, (height, width))  # (T, H, W, 2) in the crop's pixels
    sampled = F.grid_sample(heat[:, None], 2 * there / side - 1, padding_mode="border", align_corners=False)[:, 0]
    return sampled * ((there >= 0) & (there < side)).all(-1)
