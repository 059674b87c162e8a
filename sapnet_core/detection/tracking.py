"""From detections in every few frames to one box of the actor in every frame.

Detections are linked into tracks by an optimal assignment from one searched frame to the next. The actor is chosen by
how its track moves and how the camera follows it, and its boxes are interpolated between detections.
`crops.square_track` and `crops.crop_track` take over from there.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from statistics import median

import torch
from scipy.optimize import linear_sum_assignment
from torch import Tensor
from torchvision.ops import box_iou

from sapnet_core.detection.detector import Detector, looked_at

__all__ = ["Track", "actor_boxes", "actor_score", "choose_actor", "fill_boxes", "link_detections", "track_scores"]

REACH = 1.2  # largest movement of a person between searched frames, in units of the box's longer side
PATIENCE = 6  # consecutive searched frames that a person may be missed before the track ends
REST = 0.05  # measured change of shape of a person who stands still: detections jitter
# NEAR and MISSED were chosen on twins that the detector was trained on, with three or more bystanders
NEAR = 15.0  # rate at which a detection loses weight with its distance from the center of the frame
MISSED = 0.25  # fraction of a typical frame's weight below which the actor counts as missed


@dataclass
class Track:
    """One person: `at`, ascending indices into the list of searched frames; `boxes`, each (4,); `scores`."""

    at: list[int] = field(default_factory=list)
    boxes: list[Tensor] = field(default_factory=list)
    scores: list[float] = field(default_factory=list)

    def add(self, at: int, box: Tensor, score: float) -> None:
        """Append a detection."""
        self.at.append(at)
        self.boxes.append(box)
        self.scores.append(score)

    def ahead(self, at: int) -> Tensor:
        """Predicted box (4,): the last one, extrapolated at its last velocity by at most two searched frames."""
        last = self.boxes[-1]
        if len(self.at) < 2:
            return last
        step = _center(last) - _center(self.boxes[-2])
        speed = step / (self.at[-1] - self.at[-2])
        return last + (speed * min(at - self.at[-1], 2)).repeat(2)


def _center(boxes: Tensor) -> Tensor:
    return (boxes[..., :2] + boxes[..., 2:]) / 2


def _side(boxes: Tensor) -> Tensor:
    return (boxes[..., 2:] - boxes[..., :2]).amax(-1).clamp(min=1e-3)


def link_detections(found: Sequence[tuple[Tensor, Tensor]]) -> list[Track]:
    """Link detections per searched frame, (boxes (n, 4), scores (n,)), to tracks; each detection is in exactly one.

    The cost between a track's predicted box and a detection is d + |log s| + (1 - IoU) / 2: d the distance of the
    centers in units of the mean of the longer sides, s the ratio of those sides. Tracks and detections are paired at
    the least total cost (Hungarian method). A pair may cost at most 1/2 + `REACH`, plus `REACH` / 2 for each searched
    frame in which the person was missed; other detections begin new tracks.
    """
    tracks: list[Track] = []
    for at, (boxes, scores) in enumerate(found):
        open_tracks = [track for track in tracks if at - track.at[-1] <= PATIENCE]
        taken = set()
        if open_tracks and len(boxes):
            ahead = torch.stack([track.ahead(at) for track in open_tracks])  # (K, 4)
            side, other = _side(ahead)[:, None], _side(boxes)[None]
            away = (_center(ahead)[:, None] - _center(boxes)[None]).norm(dim=-1) / ((side + other) / 2)
            cost = away + (side / other).log().abs() + (1 - box_iou(ahead, boxes)) / 2  # (K, n)
            missed = torch.tensor([at - track.at[-1] - 1 for track in open_tracks])
            limit = 0.5 + REACH * (1 + missed[:, None] / 2)
            pairs = linear_sum_assignment(torch.where(cost <= limit, cost, 1e3).numpy())
            for row, column in zip(*(side.tolist() for side in pairs), strict=True):
                if cost[row, column] <= limit[row, 0]:
                    open_tracks[row].add(at, boxes[column], float(scores[column]))
                    taken.add(column)
        for column in range(len(boxes)):
            if column not in taken:
                tracks.append(Track([at], [boxes[column]], [float(scores[column])]))
    return tracks


def actor_score(track: Track, searched: int, size: tuple[int, int]) -> float:
    """How much a track looks like the actor's, in a video of `searched` frames of `size` (height, width).

    duration x motion x size x closeness, each above 0:
    - duration: sum of the detections' scores over the number of searched frames. The camera films the actor.
    - motion: mean change of the box's shape, |d log w| + |d log h| between detections, plus 0.05. A camera that follows
      the actor moves everyone else through the frame, so that shapes, unlike positions, show who moves.
    - size: square root of the median area over that of the frame. The camera is near the actor.
    - closeness: exp(-4 d^2), d the median distance of its center from the frame's center, in sides of the frame.
    """
    boxes = torch.stack(track.boxes)  # (n, 4)
    picture = boxes.new_tensor([size[1], size[0]])
    sides = (boxes[:, 2:] - boxes[:, :2]).clamp(min=1e-3)
    duration = sum(track.scores) / searched
    motion = REST + (float(sides.log().diff(dim=0).abs().sum(1).mean()) if len(boxes) > 1 else 0.0)
    area = float((sides.prod(1).median() / picture.prod()).sqrt())
    away = float(((_center(boxes) / picture) - 0.5).norm(dim=1).median())
    return duration * motion * area * math.exp(-4 * away**2)


def choose_actor(tracks: Sequence[Track], searched: int, size: tuple[int, int]) -> Track | None:
    """The actor, as one track through `searched` frames of `size` (height, width); None where there is no detection.

    Among a frame's detections the actor's has the largest sqrt(S) p exp(-15 d^2): S the `actor_score` of its track, p
    its own score, d its distance from the frame's center in sides of the frame. S decides where the camera lags behind
    the actor; d decides where two people cross and their tracks are swapped. Where the best value is below a quarter of
    the median over frames, the actor counts as missed, and no other person takes its place.
    """
    picture = torch.tensor([size[1], size[0]])
    best: dict[int, tuple[float, Tensor, float]] = {}
    for track in tracks:
        usual = math.sqrt(actor_score(track, searched, size))
        away = (_center(torch.stack(track.boxes)) / picture - 0.5).norm(dim=1).tolist()
        for at, box, score, d in zip(track.at, track.boxes, track.scores, away, strict=True):
            weight = usual * score * math.exp(-NEAR * d**2)
            if weight > best.get(at, (0.0,))[0]:
                best[at] = weight, box, score
    if not best:
        return None
    least = MISSED * median(weight for weight, _, _ in best.values())
    actor = Track()
    for at, (weight, box, score) in sorted(best.items()):
        if weight >= least:
            actor.add(at, box, score)
    return actor


def fill_boxes(track: Track | None, searched: Tensor, frames: int, size: tuple[int, int]) -> tuple[Tensor, Tensor]:
    """Boxes (T, 4) of every frame, interpolated from a track's detections, and `lost` (T,) bool.

    Boxes are interpolated linearly between detections and constant before the first and after the last. A frame is lost
    where a neighboring searched frame has no detection of the track. Without a track all frames are lost, and the box
    is the whole frame.
    """
    if track is None:
        whole = torch.tensor([0.0, 0.0, size[1], size[0]])
        return whole.repeat(frames, 1), torch.ones(frames, dtype=torch.bool)
    t = torch.arange(frames)
    known = searched[track.at]  # (n,) frames with a detection
    after = torch.searchsorted(known, t)  # first detection at or after each frame
    right, left = after.clamp(max=len(known) - 1), (after - 1).clamp(min=0)
    # the frame's own detection where it has one, else the last one before it
    left = torch.where(known[right] <= t, right, left)
    span = (known[right] - known[left]).clamp(min=1)
    share = ((t - known[left]) / span).clamp(0, 1)[:, None]
    stacked = torch.stack(track.boxes).float()
    boxes = torch.lerp(stacked[left], stacked[right], share)
    seen = torch.zeros(len(searched), dtype=torch.bool)
    seen[track.at] = True
    right = torch.searchsorted(searched, t)  # the searched frames on both sides of each frame
    left = torch.where(searched[right] == t, right, right - 1)
    return boxes, ~(seen[left] & seen[right])


def actor_boxes(frames: Tensor, detector: Detector, every: int = 4) -> tuple[Tensor, Tensor]:
    """The actor's box in every frame of a video (T, 3, H, W) uint8: boxes (T, 4) xyxy, and `lost` (T,) bool.

    Every `every`-th frame is searched. Lost frames have a box too, see `fill_boxes`.
    """
    size = (frames.shape[-2], frames.shape[-1])
    searched = looked_at(len(frames), every)
    tracks = link_detections(detector.detect(frames, every))
    return fill_boxes(choose_actor(tracks, len(searched), size), searched, len(frames), size)


def track_scores(boxes: Tensor, lost: Tensor, truth: Tensor, shown: Tensor | None = None) -> dict[str, float]:
    """How well boxes (T, 4) follow the true ones (T, 4): {"IoU": mean, "found": fraction of frames with IoU of at least
    0.5, "lost": fraction of frames}, over the frames `shown` (T,) bool, all if None; NaN if there is none."""
    shown = torch.ones(len(boxes), dtype=torch.bool) if shown is None else shown
    boxes, truth, lost = boxes[shown], truth[shown], lost[shown]
    low, high = torch.maximum(boxes[:, :2], truth[:, :2]), torch.minimum(boxes[:, 2:], truth[:, 2:])
    shared = (high - low).clamp(min=0).prod(1)
    area = (boxes[:, 2:] - boxes[:, :2]).prod(1) + (truth[:, 2:] - truth[:, :2]).prod(1)
    iou = shared / (area - shared)
    values = {"IoU": iou, "found": (iou >= 0.5).float(), "lost": lost.float()}
    return {name: float(value.mean()) for name, value in values.items()}
