"""What student and teacher see of a video: whole frames, the actor's crop, whole frames in other colors and light."""

from torch import Tensor

from sapnet_core.datasets.records import Record
from sapnet_core.detection.crops import crop_track, square_track
from sapnet_core.features.footage import Clip, seen_by_student
from sapnet_core.features.photometric import photometric
from sapnet_core.simulator.quality import seed_of

__all__ = ["OTHER_VIEWS", "VIEWS", "crop_size", "view_of"]

VIEWS = ("frame", "actor")  # what student and teacher see
OTHER_VIEWS = ("photometric",)  # what the teacher may see instead


def crop_size(size: int) -> int:
    """Edge of the actor crop beside frames of that edge, in pixels: about the detail that the frame has, no more."""
    return size * 4 // 7


def view_of(clip: Clip, record: Record, view: str, size: int) -> Tensor:
    """A record's frames (T, 3, h, w) uint8 as a branch sees them; `size` is the shorter side of whole frames."""
    if view == "frame":
        return seen_by_student(clip, size)
    if view == "photometric":
        return photometric(seen_by_student(clip, size), seed_of(record.dataset, f"{record.key}/photometric", 0))
    return crop_track(clip.video, square_track(clip.boxes), crop_size(size))
