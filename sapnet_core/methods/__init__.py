"""Every system of the tables behind one small interface.

A method is a function `fit(train, settings, generator) -> Fitted`. It sees a `TrainSet` and nothing else: the features
of both views for all training videos, and the scores of the labeled ones. It is registered by name in `METHODS`.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

import torch
from torch import Tensor

__all__ = ["TrainSet", "Fitted", "METHODS", "get_method"]


@dataclass(frozen=True)
class TrainSet:
    """All that a method may learn from.

    Attributes:
        frame: (N, S, C) features of the whole frames (the student's input X_u and X_l), standardized.
        actor: (N, S, C) features of the actor crops (the teacher's input X_a), standardized.
        positions: (S,) where in the video each step lies, in [0, 1].
        y: (N,) scaled scores, about [0, 1]; NaN where unlabeled.
    """

    frame: Tensor
    actor: Tensor
    positions: Tensor
    y: Tensor

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
        shift, scale = (known.mean(), known.std().clamp(min=1e-3)) if on else (0.0, 1.0)
        return (self.y - shift) / scale, shift, scale


@dataclass(frozen=True)
class Fitted:
    """A trained system: `predict` maps (N, S, C) whole-frame features to (N,) scaled scores."""

    predict: Callable[[Tensor], Tensor]
    curves: list[dict[str, float]] = field(default_factory=list)
    network: torch.nn.Module | None = None


Fit = Callable[[TrainSet, Mapping, torch.Generator], Fitted]


def _methods() -> dict[str, Fit]:
    from sapnet_core.methods import mlp, sapnet

    return {"mlp": mlp.fit_mean, "mlp-ordered": mlp.fit_ordered, "sap-net": sapnet.fit}


METHODS: dict[str, Fit] = {}


def get_method(name: str) -> Fit:
    """The `fit` of a registered method. Raises ValueError naming the known ones."""
    if not METHODS:
        METHODS.update(_methods())
    if name not in METHODS:
        raise ValueError(f"method {name!r} is unknown: choose one of {', '.join(METHODS)}")
    return METHODS[name]
