"""Every system of the tables behind one small interface.

A method is a function `fit(train, settings, generator) -> Fitted`. It sees a `TrainSet` and nothing else: the features
of both views for all training videos, and the scores of the labeled ones. It is registered by name in `METHODS`.

A fourth parameter `keep` is optional: a method that has it, and hands it on to `training.fit_steps`, lets another step
than the last be chosen, and goes on where it was killed.
"""

from collections.abc import Callable
from dataclasses import dataclass, field

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


def _methods() -> dict[str, tuple[Fit, Stack]]:
    from sapnet_core.methods import mlp, sapnet

    return {
        "mlp": (mlp.fit_mean, mlp.stack_mean),
        "mlp-ordered": (mlp.fit_ordered, mlp.stack_ordered),
        "sap-net": (sapnet.fit, sapnet.fit_stack),
    }


METHODS: dict[str, Fit] = {}
STACKS: dict[str, Stack] = {}  # of the methods whose runs can be trained side by side, as one program


def get_method(name: str) -> Fit:
    """The `fit` of a registered method. Raises ValueError naming the known ones."""
    if not METHODS:
        for known, (fit, stack) in _methods().items():
            METHODS[known], STACKS[known] = fit, stack
    if name not in METHODS:
        raise ValueError(f"method {name!r} is unknown: choose one of {', '.join(METHODS)}")
    return METHODS[name]


def get_stack(name: str) -> Stack | None:
    """The method's `fit` for several runs at once, None where it has none. Raises ValueError as `get_method`."""
    get_method(name)
    return STACKS.get(name)
