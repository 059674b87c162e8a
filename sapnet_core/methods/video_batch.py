"""The videos that a method predicts the scores of: their features, and what is known of a video before it is judged."""

from dataclasses import dataclass, fields

import torch
from torch import Tensor

__all__ = ["VideoBatch"]


@dataclass(frozen=True)
class VideoBatch:
    """Features and announced facts of some videos. It has no field for a score or a judge's score.

    Attributes:
        frame: (B, S, C) features of the whole frames in the order of time, standardized; where a backbone is trained,
            the inputs (B, ...) of its trained part, such as feature maps.
        actor: the same of the actor crops; None where the videos have no crops.
        difficulty: (B,) degrees of difficulty; None where the dataset has none.
        action: (B,) int64 codes of actions, equal for videos of the same action, such as one dive number, and -1 where
            the action of a video is unknown; None where the dataset names no actions.
        maps: (B, S', h, w, C) cells of the frozen backbone's last maps of the whole frames, S' in the order of time, as
            the backbone gives them and in its number format: their averages over cells are the features before
            standardization; None unless the method is among `methods.USES_MAPS` and the videos have maps.
        boxes: (B, S', F, 4) the actor's boxes xyxy in the F frames that a step of `maps` covers, in cells: cell (i, j)
            covers [j, j + 1] x [i, i + 1]; None where `maps` is None.

    Raises:
        ValueError: the fields do not describe the same number of videos.
    """

    frame: Tensor
    actor: Tensor | None = None
    difficulty: Tensor | None = None
    action: Tensor | None = None
    maps: Tensor | None = None
    boxes: Tensor | None = None

    def __post_init__(self):
        for name in ("actor", "difficulty", "action", "maps", "boxes"):
            x, facts = getattr(self, name), name in ("difficulty", "action")
            if x is not None and (len(x) != len(self.frame) or (facts and x.dim() != 1)):
                raise ValueError(
                    f"{name} of the shape {tuple(x.shape)} does not fit the features of {len(self.frame)} videos: "
                    f"give one row of {name} per video"
                )

    def __len__(self) -> int:
        """B, the number of videos."""
        return len(self.frame)

    def __getitem__(self, rows: Tensor | slice) -> "VideoBatch":
        """The videos `rows`: (b,) indices, a (B,) mask or a slice."""
        return self._each(lambda x: x[rows])

    def to(self, device: str | torch.device) -> "VideoBatch":
        """The same videos on another device."""
        return self._each(lambda x: x.to(device))

    def _each(self, change) -> "VideoBatch":
        parts = {part.name: getattr(self, part.name) for part in fields(self)}
        return VideoBatch(**{name: None if x is None else change(x) for name, x in parts.items()})
