"""Every system of the tables behind one small interface.

A method is a function `fit(train, settings, generator) -> Fitted`. It sees a `TrainSet` and nothing else: the features
of both views for all training videos, and the scores of the labeled ones. A new method is one file and one line in
`METHODS`: the module below this folder and the function in it, or the function itself. The module names its settings
and their defaults in `SETTINGS`, so that a wrong one is refused before any work.

A fourth parameter `keep` is optional: a method that has it, and hands it on to `loop.fit_steps`, lets another step
than the last be chosen, and goes on where it was killed.
"""

from collections.abc import Callable
from dataclasses import dataclass, field, fields
from importlib import import_module

import torch
from torch import Tensor

__all__ = ["TrainSet", "Fitted", "METHODS", "STACKS", "get_method", "get_stack"]


@dataclass(frozen=True)
class TrainSet:
    """All that a method may learn from.

    Attributes:
        frame: (N, S, C) features of the whole frames (the student's input X_u and X_l), standardized.
        actor: (N, S, C) features of the actor crops (the teacher's input X_a), standardized.
        positions: (S,) where in the video each step lies, in [0, 1].
        y: (N,) scaled scores, about [0, 1]; NaN where unlabeled.
        judges, transitions, attributes: what `datasets.label_details.label_details` gives of the labeled videos, hidden
            for all others; None where the set has none.
    """

    frame: Tensor
    actor: Tensor
    positions: Tensor
    y: Tensor
    judges: Tensor | None = None
    transitions: Tensor | None = None
    attributes: Tensor | None = None

    def __post_init__(self):
        frame, actor, videos = tuple(self.frame.shape), tuple(self.actor.shape), len(self.y)
        if len(frame) != 3 or frame != actor or frame[0] != videos or frame[1] != len(self.positions):
            raise ValueError(
                f"a training set of {videos} scores and {len(self.positions)} positions needs features "
                f"(videos, steps, channels) of both views, got {frame} and {actor}"
            )
        if self.y.isnan().all():
            raise ValueError(f"none of {videos} training videos has a score: give scores to some")

    def to(self, device: str | torch.device) -> "TrainSet":
        """The same on another device."""
        parts = {part.name: getattr(self, part.name) for part in fields(self)}
        return TrainSet(**{name: x if x is None else x.to(device) for name, x in parts.items()})

    @property
    def labeled(self) -> Tensor:
        """Indices of the labeled videos, (N_l,)."""
        return torch.nonzero(~torch.isnan(self.y)).flatten()

    @property
    def unlabeled(self) -> Tensor:
        """Indices of the videos without a score, (N_u,); with every score given, all of them (labels unused)."""
        rest = torch.nonzero(torch.isnan(self.y)).flatten()
        return rest if len(rest) else torch.arange(len(self.y), device=self.y.device)

    def unit_targets(self, on: bool) -> tuple[Tensor, float | Tensor, float | Tensor]:
        """Targets (N,) with mean 0 and sd 1 over the labeled videos, and the shift and scale that lead back to `y`.

        Off, the targets are `y` itself, the shift 0 and the scale 1.
        """
        known = self.y[self.labeled]
        if not on:
            return self.y, 0.0, 1.0
        spread = known.std(correction=min(1, len(known) - 1))  # one label has none
        shift, scale = known.mean(), spread.clamp(min=1e-3)
        return (self.y - shift) / scale, shift, scale


@dataclass(frozen=True)
class Fitted:
    """A trained system: `predict` maps (N, S, C) whole-frame features to (N,) scaled scores.

    `predict` reads the weights that `network` has when it is called;
    `step` says after how many steps these weights were taken, where a step was chosen.
    """

    predict: Callable[[Tensor], Tensor]
    curves: list[dict[str, float]] = field(default_factory=list)
    network: torch.nn.Module | None = None
    step: int | None = None


Fit = Callable[..., Fitted]  # (TrainSet, Mapping, torch.Generator[, keep=Keep])
Stack = Callable[..., list[Fitted]]  # the same of sequences; one Keep for all


# name -> "module:function" below this folder, or the function
METHODS: dict[str, Fit | str] = {
    "mlp": "mlp:fit_mean",
    "mlp-ordered": "mlp:fit_ordered",
    "sap-net": "sapnet:fit",
    "coreg": "coreg:fit",
    "pseudo-labels": "pseudo:fit",
    "vat": "vat:fit",
    "s4l": "s4l:fit",
    "s4aqa": "s4aqa:fit",
    "avg-mtl": "avg_mtl:fit",
    "usdl": "usdl:fit",
    "musdl": "musdl:fit",
    "tsa": "tsa:fit",
    "svr": "svr:fit",
    "action-net": "action_net:fit",
    "gdlt": "gdlt:fit",
}
# of the methods whose runs can be trained side by side, as one program
STACKS: dict[str, Stack | str] = {
    "mlp": "mlp:stack_mean",
    "mlp-ordered": "mlp:stack_ordered",
    "sap-net": "sapnet:fit_stack",
}


def _found(entry: Callable | str) -> Callable:
    if not isinstance(entry, str):
        return entry
    module, _, function = entry.partition(":")
    return getattr(import_module(f"{__name__}.{module}"), function)


def get_method(name: str) -> Fit:
    """The `fit` of a registered method. Raises ValueError naming the known ones."""
    if not isinstance(name, str) or name not in METHODS:
        raise ValueError(f"method {name!r} is unknown: choose one of {', '.join(METHODS)}")
    return _found(METHODS[name])


def get_stack(name: str) -> Stack | None:
    """The method's `fit` for several runs at once, None where it has none. Raises ValueError as `get_method`."""
    get_method(name)
    return _found(STACKS[name]) if name in STACKS else None
