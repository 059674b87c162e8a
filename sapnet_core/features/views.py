"""The views of a video, inputs of student and teacher: whole frames, actor crops, and augmented or rotated frames.

The view "boxes" is no picture: it says where the actor is among the cells of I3D's last maps of the whole frames.
"""

import torch
from torch import Tensor

from sapnet_core.datasets.records import Record
from sapnet_core.detection.crops import crop_track, resize_boxes, square_track
from sapnet_core.features.photometric import photometric
from sapnet_core.features.rotated import ROTATED, rotated
from sapnet_core.features.video_source import SampledVideo, seen_by_student
from sapnet_core.runtime.seeds import seed_of

__all__ = ["OTHER_VIEWS", "VIEWS", "boxes_in_cells", "crop_size", "view_of"]

VIEWS = ("frame", "actor")  # inputs of student and teacher
# "photometric" is an alternative input of the teacher; only a few methods use rotated frames or boxes. Boxes are stored
# at the stage "pixels".
OTHER_VIEWS = ("photometric", *ROTATED, "boxes")
CELL = 32  # pixels of a frame in a cell of I3D's last maps, in height and in width


def crop_size(size: int) -> int:
    """Side of the actor crop for frames of side `size`, in pixels: about the resolution that the frame has there."""
    return size * 4 // 7


def boxes_in_cells(boxes: Tensor, height: int, width: int) -> Tensor:
    """Boxes (T, 4) xyxy in frames of `height` x `width` pixels, in cells of I3D's last maps of these frames.

    Cell j covers [j, j + 1]. The last cell of a row or column holds the pixels that are left, here stretched to a
    whole cell, and a box ends where the frame does.
    """
    cells = torch.tensor([width, height, width, height], device=boxes.device) / CELL
    x, whole = torch.minimum((boxes.float() / CELL).clamp(min=0), cells), cells.floor()
    return torch.where(x > whole, whole + (x - whole) / (cells - whole), x)


def view_of(clip: SampledVideo, record: Record, view: str, size: int) -> Tensor:
    """One view (T, 3, h, w) uint8 of a record's frames, or the `boxes_in_cells` (T, 4) float32; `size` is the shorter
    side of whole frames, in pixels."""
    if view == "frame":
        return seen_by_student(clip, size)
    if view == "photometric":
        return photometric(seen_by_student(clip, size), seed_of(record.dataset, f"{record.key}/photometric", 0))
    if view in ROTATED:
        return rotated(seen_by_student(clip, size), view)
    if view == "boxes":
        height, width = (round(n * size / min(clip.video.shape[2:])) for n in clip.video.shape[2:])
        boxes = resize_boxes(clip.boxes.float(), tuple(clip.video.shape[2:]), (height, width))
        return boxes_in_cells(boxes, height, width)
    return crop_track(clip.video, square_track(clip.boxes), crop_size(size))
