"""The training set of a method: features, visible scores and annotations."""

from dataclasses import dataclass, fields

import torch
from torch import Tensor

from sapnet_core.methods.video_batch import VideoBatch
from sapnet_core.training.trainable_backbone import TrainableBackbone

__all__ = ["TrainSet"]


@dataclass(frozen=True)
class TrainSet:
    """All data that a method may learn from.

    Attributes:
        frame: (N, S, C) features of the whole frames (the student's input X_u and X_l), standardized; where a backbone
            is trained, the inputs (N, ...) of its trained part.
        actor: the same of the actor crops (the teacher's input X_a).
        positions: (S,) times of the steps in the video, in [0, 1].
        y: (N,) scaled scores, about [0, 1]; NaN where unlabeled.
        judges, transitions, attributes: annotations of the labeled videos from `datasets.label_details.label_details`,
            hidden for all other videos; None where the dataset has none.
        difficulty, action: (N,) of all videos as in `VideoBatch`, since both are known before a video is judged; None
            where the dataset has none.
        rotated: (N, 3, S, C) features of the whole frames turned by 90, 180 and 270 degrees, on the scale of `frame`;
            None unless the method is among `methods.EXTRA_VIEWS`.
        maps, boxes: (N, ...) of all videos as in `VideoBatch`; None unless the method is among `methods.USES_MAPS`.
        backbone: what turns inputs into features where it is trained with the method, else None.

    Raises:
        ValueError: the shapes do not fit each other, or no video has a score.
    """

    frame: Tensor
    actor: Tensor
    positions: Tensor
    y: Tensor
    judges: Tensor | None = None
    transitions: Tensor | None = None
    attributes: Tensor | None = None
    difficulty: Tensor | None = None
    action: Tensor | None = None
    rotated: Tensor | None = None
    maps: Tensor | None = None
    boxes: Tensor | None = None
    backbone: TrainableBackbone | None = None

    def __post_init__(self):
        frame, actor, videos = tuple(self.frame.shape), tuple(self.actor.shape), len(self.y)
        if self.backbone is not None:  # of each video and view the same number of frames or clips
            frame, actor = ((*shape[:1], len(self.positions), self.backbone.channels) for shape in (frame, actor))
        if len(frame) != 3 or frame != actor or frame[0] != videos or frame[1] != len(self.positions):
            raise ValueError(
                f"a training set of {videos} scores and {len(self.positions)} positions needs features "
                f"(videos, steps, channels) of both views, got {frame} and {actor}"
            )
        if self.rotated is not None and tuple(self.rotated.shape) != (videos, 3, *frame[1:]):
            raise ValueError(
                f"features of rotated frames have the shape {tuple(self.rotated.shape)}: give "
                f"{(videos, 3, *frame[1:])} (videos, rotations, steps, channels)"
            )
        if self.y.isnan().all():
            raise ValueError(f"none of {videos} training videos has a score: give scores to some")
        _ = self.videos  # checks the number of difficulties, actions, maps and boxes

    def to(self, device: str | torch.device) -> "TrainSet":
        """The same training set on another device."""
        parts = {part.name: getattr(self, part.name) for part in fields(self)}  # a module moves in place
        return TrainSet(**{name: x if x is None else x.to(device) for name, x in parts.items()})

    @property
    def videos(self) -> VideoBatch:
        """The training videos without their scores, as a trained system sees videos."""
        return VideoBatch(self.frame, self.actor, self.difficulty, self.action, self.maps, self.boxes)

    @property
    def channels(self) -> int:
        """C of the features."""
        return self.frame.shape[2] if self.backbone is None else self.backbone.channels

    def features(self, view: str, rows: Tensor) -> Tensor:
        """Features (n, S, C) of the videos `rows` (n,), with gradient into the backbone where it is trained.

        `view` is "frame" or "actor".
        """
        return self.encoded(view, getattr(self, view).index_select(0, rows))

    def encoded(self, view: str, x: Tensor) -> Tensor:
        """Features (n, S, C) of what is stored of some videos, as in `frame`, for training or prediction."""
        return x if self.backbone is None else self.backbone(view, x)

    @property
    def labeled(self) -> Tensor:
        """Indices of the labeled videos, (N_l,)."""
        return torch.nonzero(~torch.isnan(self.y)).flatten()

    @property
    def unlabeled(self) -> Tensor:
        """Indices of the videos without a score, (N_u,); if every video has one, the indices of all videos."""
        rest = torch.nonzero(torch.isnan(self.y)).flatten()
        return rest if len(rest) else torch.arange(len(self.y), device=self.y.device)

    def unit_targets(self, on: bool) -> tuple[Tensor, float | Tensor, float | Tensor]:
        """Targets (N,) with mean 0 and sd 1 over the labeled videos, and the shift and scale with which
        `targets * scale + shift` is `y`.

        With `on=False`, the targets are `y` itself, the shift is 0 and the scale 1.
        """
        known = self.y[self.labeled]
        if not on:
            return self.y, 0.0, 1.0
        spread = known.std(correction=min(1, len(known) - 1))  # a single label has a spread of 0
        shift, scale = known.mean(), spread.clamp(min=1e-3)
        return (self.y - shift) / scale, shift, scale
