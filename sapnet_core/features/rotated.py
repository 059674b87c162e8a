"""Rotation of whole frames: the views from which S4L learns to tell how far a video was turned."""

from torch import Tensor

__all__ = ["ROTATED", "rotated"]

ROTATED = {"rotated90": 1, "rotated180": 2, "rotated270": 3}  # view -> number of quarter turns


def rotated(video: Tensor, view: str) -> Tensor:
    """Turn all frames of a video (T, 3, H, W) counterclockwise by the angle of a view in `ROTATED`.

    The result is (T, 3, W, H) for 90 and 270 degrees; every pixel keeps its value.
    """
    return video.rot90(ROTATED[view], (2, 3)).contiguous()
