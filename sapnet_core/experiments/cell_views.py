"""The cells of I3D's last maps and the actor's boxes among them, for methods that look at maps (`VideoBatch.maps`).

Stored are the maps before Mixed_5b, as for a backbone whose last blocks learn, and the boxes of every frame. The frozen
last blocks are applied when these are read, and their maps are kept in memory alone.
"""

import torch
from torch import Tensor

from sapnet_core.backbones.i3d import LAST
from sapnet_core.backbones.registry import load_backbone
from sapnet_core.datasets.clips import CLIP, STEP, clip_starts
from sapnet_core.datasets.records import Record
from sapnet_core.experiments.profiles import DATASETS
from sapnet_core.experiments.trial import Trial
from sapnet_core.experiments.without_videos import NO_FRAMES
from sapnet_core.features.extraction import FeatureRequest, VideoSource
from sapnet_core.methods import uses_maps

__all__ = ["CELL_VIEWS", "boxes_by_step", "cell_requests", "cell_views", "last_maps"]

CELL_VIEWS = ("maps", "boxes")
AT_ONCE = 16  # videos to which the last blocks are applied at once


def cell_views(trial: Trial) -> tuple[str, ...]:
    """`CELL_VIEWS` where the trial's method looks at maps and its videos have some, else none.

    Own videos may differ in shape, and then their maps do too: they have none, like published features.
    """
    has_maps = trial.backbone == "i3d" and trial.dataset in DATASETS and trial.source not in NO_FRAMES
    return CELL_VIEWS if has_maps and uses_maps(trial.method) else ()


def cell_requests(
    records: tuple[Record, ...], video_source: VideoSource, clip_sampling: str | None
) -> list[FeatureRequest]:
    """The requests for the maps and the boxes of all videos, in the order of `CELL_VIEWS`."""
    seen = (("frame",), "maps"), (("boxes",), "pixels")
    return [FeatureRequest(records, video_source, clip_sampling, views, stage=stage) for views, stage in seen]


@torch.no_grad()
def last_maps(stored: Tensor, device: str = "cpu") -> Tensor:
    """Maps of Mixed_5c (N, S', h, w, C) from maps before Mixed_5b (N, clips, C', T', h, w), in their number format.

    Their averages over cells are the backbone's features.
    """
    net, found = load_backbone("i3d", device), []
    for some in stored.split(AT_ONCE):
        x = some.flatten(0, 1).to(net.device, net.dtype, memory_format=torch.channels_last_3d)
        for name in LAST:
            x = net.mixed(x, name)
        found.append(x.movedim(1, -1).unflatten(0, (len(some), -1)).flatten(1, 2).cpu())  # (n, clips * T', h, w, C)
    return torch.cat(found)


def boxes_by_step(boxes: Tensor, clip_sampling: str) -> Tensor:
    """Boxes (N, S', F, 4) of the F frames of each step of the maps, from the boxes (N, T, 4) of all frames."""
    frames = boxes.shape[1]
    length = -(-frames // STEP) * STEP if clip_sampling == "dense" else CLIP
    index = clip_starts(clip_sampling, frames)[:, None] + torch.arange(length)  # (clips, length)
    return boxes[:, index.clamp(max=frames - 1).reshape(-1, STEP)]
