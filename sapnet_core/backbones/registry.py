"""The frozen backbones by name, each in its inference form, with the user's weights or those shipped in the package."""

from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import NamedTuple

import torch

from sapnet_core.backbones import c3d
from sapnet_core.backbones.frozen import FUSED, Clipwise
from sapnet_core.backbones.i3d import I3D, fast_dtype, load_i3d, load_shipped
from sapnet_core.backbones.kinetics_weights import load_kinetics
from sapnet_core.runtime import environment
from sapnet_core.runtime.fingerprint import cached_file_digest, code_digest, fingerprint

__all__ = ["BACKBONES", "backbone_digest", "load_backbone", "number_format", "trainable_i3d"]

WEIGHTS = Path(__file__).parent.parent / "weights"


def _i3d(path: Path | None, device: str, numbers: torch.dtype) -> Clipwise:
    return load_kinetics(path).to(device).folded(numbers) if path else load_shipped(device, numbers)


def _c3d(path: Path | None, device: str, numbers: torch.dtype) -> Clipwise:
    return c3d.FrozenC3D(c3d.load_c3d(path or c3d.SHIPPED).to(device), numbers)


def _swin(path: Path | None, device: str, numbers: torch.dtype) -> Clipwise:
    from sapnet_core.backbones import video_swin  # torchvision's models take a second to import

    return video_swin.FrozenSwin(video_swin.load_swin(path or video_swin.SHIPPED).to(device), numbers)


class Backbone(NamedTuple):
    """One frozen backbone.

    Attributes:
        given: function that returns the path of the user's weights, or None if the user gave none.
        shipped: file name of the weights in the package.
        build: function of a weights file (None: the one in the package), a device and a dtype that returns the
            inference form.
        modules: modules whose source code determines the features, for `backbone_digest`.
    """

    given: Callable[[], Path | None]
    shipped: str
    build: Callable[[Path | None, str, torch.dtype], Clipwise]
    modules: tuple[str, ...]


BACKBONES = {
    "i3d": Backbone(environment.i3d, "i3d_sim.safetensors", _i3d, ("backbones.i3d", "backbones.kinetics_weights")),
    "c3d": Backbone(environment.c3d, "c3d_sim.safetensors", _c3d, ("backbones.c3d",)),
    "swin": Backbone(environment.swin, "swin_sim.safetensors", _swin, ("backbones.video_swin",)),
}


def number_format(device: str) -> torch.dtype:
    """The number format in which backbones compute features on a device: that of `SAPNET_NUMBERS`, or the device's own.

    Raises:
        ValueError: `SAPNET_NUMBERS` names no format, or one in which the device does not compute.
    """
    own, asked = fast_dtype(device), environment.numbers()
    if asked == "bfloat16" and own != torch.bfloat16:
        raise ValueError(f"SAPNET_NUMBERS=bfloat16: {device} does not compute in it: unset it, or choose float32")
    return getattr(torch, asked) if asked else own


def format_name(device: str = "cpu") -> str:
    """The `number_format` of a device as results name it: "float32" or "bfloat16"."""
    return str(number_format(device)).removeprefix("torch.")


def _known(name: str) -> Backbone:
    if name not in BACKBONES:
        raise ValueError(f"backbone {name!r} is unknown: choose one of {', '.join(BACKBONES)}")
    return BACKBONES[name]


def backbone_digest(name: str, device: str | None = "cpu") -> str:
    """Digest of everything that a backbone's features depend on. The network is not built.

    It covers weights and source code, and how `device` computes: in which `number_format`, and whether
    convolutions are fused. With `device` None it names the backbone alone, and is the same on every machine.

    Raises:
        ValueError: the name is unknown.
    """
    one = _known(name)
    weights = one.given() or WEIGHTS / one.shipped
    code = code_digest(*one.modules, within=("backbones",), joined=("backbones.registry",))
    computed = (str(number_format(device)), FUSED and torch.device(device).type == "cpu") if device else ()
    return fingerprint(cached_file_digest(weights), *computed, code)


def load_backbone(name: str, device: str = "cpu", numbers: torch.dtype | None = None) -> Clipwise:
    """The backbone of that name, with the user's weights if given; cached per process, weights file, device and dtype.

    `numbers` is the dtype in which it computes; None takes the `number_format`.

    Raises:
        ValueError: the name is unknown.
    """
    return _load(name, _known(name).given(), device, numbers or number_format(device))


def trainable_i3d(device: str = "cpu") -> I3D:
    """A fresh I3D in its trainable form, float32, with the weights that `load_backbone("i3d")` uses."""
    path = environment.i3d()
    return (load_kinetics(path) if path else load_i3d()).to(device)


@cache
def _load(name: str, path: Path | None, device: str, numbers: torch.dtype) -> Clipwise:
    return BACKBONES[name].build(path, device, numbers)
