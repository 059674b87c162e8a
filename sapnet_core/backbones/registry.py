"""The frozen backbones by name, each in its inference form, with the user's weights or with those in the package."""

from collections.abc import Callable
from functools import cache
from pathlib import Path

import torch

from sapnet_core.backbones import c3d
from sapnet_core.backbones.frozen import Clipwise
from sapnet_core.backbones.i3d import fast_dtype, load_shipped
from sapnet_core.backbones.kinetics_weights import load_kinetics
from sapnet_core.runtime import environment

__all__ = ["BACKBONES", "NUMBERS", "load_backbone"]

NUMBERS = (torch.bfloat16, torch.float32)  # number formats that `fast_dtype` chooses from, by CPU or GPU


def _i3d(path: Path | None, device: str, numbers: torch.dtype) -> Clipwise:
    return load_kinetics(path).to(device).folded(numbers) if path else load_shipped(device, numbers)


def _c3d(path: Path | None, device: str, numbers: torch.dtype) -> Clipwise:
    return c3d.FrozenC3D(c3d.load_c3d(path or c3d.SHIPPED).to(device), numbers)


def _swin(path: Path | None, device: str, numbers: torch.dtype) -> Clipwise:
    from sapnet_core.backbones import video_swin  # torchvision's models take a second to import

    return video_swin.FrozenSwin(video_swin.load_swin(path or video_swin.SHIPPED).to(device), numbers)


# name -> (path of the user's weights or None, function that loads the inference form from that path; None means the
# weights in the package)
BACKBONES: dict[str, tuple[Callable[[], Path | None], Callable[[Path | None, str, torch.dtype], Clipwise]]] = {
    "i3d": (environment.i3d, _i3d),
    "c3d": (environment.c3d, _c3d),
    "swin": (environment.swin, _swin),
}


def load_backbone(name: str, device: str = "cpu", numbers: torch.dtype | None = None) -> Clipwise:
    """The backbone of that name, from the user's file where one is given; cached per process and number format.

    `numbers` is one of `NUMBERS`; None takes `fast_dtype`.

    Raises:
        ValueError: the name is unknown.
    """
    if name not in BACKBONES:
        raise ValueError(f"backbone {name!r} is unknown: choose one of {', '.join(BACKBONES)}")
    return _load(name, BACKBONES[name][0](), device, numbers or fast_dtype(device))


@cache
def _load(name: str, path: Path | None, device: str, numbers: torch.dtype) -> Clipwise:
    return BACKBONES[name][1](path, device, numbers)
