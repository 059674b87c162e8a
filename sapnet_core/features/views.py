"""The views of a video, inputs of student and teacher: whole frames, actor crops, and augmented or rotated frames."""

from torch import Tensor

from sapnet_core.datasets.records import Record
from sapnet_core.detection.crops import crop_track, square_track
from sapnet_core.features.photometric import photometric
from sapnet_core.features.rotated import ROTATED, rotated
from sapnet_core.features.video_source import SampledVideo, seen_by_student
from sapnet_core.runtime.seeds import seed_of

__all__ = ["OTHER_VIEWS", "VIEWS", "crop_size", "view_of"]

VIEWS = ("frame", "actor")  # inputs of student and teacher
OTHER_VIEWS = ("photometric", *ROTATED)  # an alternative input of the teacher, and what only some methods learn from


def crop_size(size: int) -> int:
    """Side of the actor crop for frames of side `size`, in pixels: about the resolution that the frame has there."""
    return size * 4 // 7


def view_of(clip: SampledVideo, record: Record, view: str, size: int) -> Tensor:
    """One view (T, 3, h, w) uint8 of a record's frames; `size` is the shorter side of whole frames, in pixels."""
    if view == "frame":
        return seen_by_student(clip, size)
    if view == "photometric":
        return photometric(seen_by_student(clip, size), seed_of(record.dataset, f"{record.key}/photometric", 0))
    if view in ROTATED:
        return rotated(seen_by_student(clip, size), view)
    return crop_track(clip.video, square_track(clip.boxes), crop_size(size))
