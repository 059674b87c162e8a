"""The one trainer: every method is trained here, alone or several runs side by side.

A method describes its training (`Training`); the trainer runs it: Adam, a curve of every loss term, random numbers that
belong to the run alone, a checkpoint that a killed run resumes from, and snapshots from which a step can be chosen.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field

import torch
from torch import Tensor, nn

from sapnet_core.methods.train_set import TrainSet
from sapnet_core.training.batches import BatchSampler
from sapnet_core.training.checkpoint import Checkpoint, Snapshot
from sapnet_core.training.loop import Terms, fit_steps
from sapnet_core.training.stacking import fit_stacked
from sapnet_core.training.state import TrainingState

__all__ = ["Fitted", "Method", "Stackable", "Training", "train", "train_stack"]


@dataclass(frozen=True)
class Fitted:
    """A trained system.

    Attributes:
        predict: maps (N, S, C) whole-frame features to (N,) scaled scores, with the weights that `network` has when it
            is called.
        curves: the loss terms of every tenth step.
        network: what was trained; None for a closed form.
        step: after how many steps the weights were taken, where a step was chosen.
        snapshots: weights of earlier steps, where they were asked for.
    """

    predict: Callable[[Tensor], Tensor]
    curves: list[dict[str, float]] = field(default_factory=list)
    network: nn.Module | None = None
    step: int | None = None
    snapshots: Sequence[Snapshot] = ()


def _unchanged(weights: dict[str, Tensor], inputs: tuple) -> tuple:
    return inputs


@dataclass(frozen=True)
class Stackable:
    """A loss in parts, so that several runs can be trained side by side, as one program.

    Attributes:
        batch: draws the inputs of one run's next step, each a tensor or None.
        terms: from the step, the network and these inputs to the loss terms; operations that `torch.vmap` knows.
        complete: from the weights of all runs (name -> (R, ...)) and their stacked inputs to the inputs of `terms`.
    """

    batch: Callable[[], tuple]
    terms: Callable[..., Terms]
    complete: Callable[[dict[str, Tensor], tuple], tuple] = _unchanged


@dataclass(frozen=True)
class Training:
    """What a method asks the trainer to do.

    Attributes:
        network: its parameters learn.
        loss: from the step (0, 1, ...) to named loss terms; "L_all" is minimized, all are recorded.
        score: from whole-frame features (B, S, C) to scores (B,) in the unit of `TrainSet.y`, by the network.
        steps, lr: optimizer steps and learning rate.
        samplers: the streams of batches that `loss` draws from. Whatever else it draws comes from the method's
            `generator` or from torch's global random numbers.
        memory: tensors that `loss` changes in place, by name, such as pseudo-labels.
        stack: the same loss in parts, where runs can be trained side by side.
    """

    network: nn.Module
    loss: Callable[[int], Terms]
    score: Callable[[Tensor], Tensor]
    steps: int
    lr: float
    samplers: Sequence[BatchSampler] = ()
    memory: Mapping[str, Tensor] = field(default_factory=dict)
    stack: Stackable | None = None

    def fitted(self, curves: list[dict[str, float]], snapshots: Sequence[Snapshot]) -> Fitted:
        """The trained system."""

        @torch.no_grad()
        def predict(frame: Tensor) -> Tensor:
            self.network.eval()
            return self.score(frame)

        return Fitted(predict, curves, self.network.eval(), snapshots=snapshots)


Method = Callable[[TrainSet, Mapping, torch.Generator], Training | Fitted]


def train(
    method: Method,
    train_set: TrainSet,
    settings: Mapping,
    generator: torch.Generator,
    checkpoint: Checkpoint | None = None,
) -> Fitted:
    """Train one run of a method.

    Args:
        train_set: all that it learns from.
        settings: those that differ from its defaults.
        generator: gives all its random numbers; torch's global ones start at the same seed, and are the caller's again
            afterwards.
        checkpoint: a fresh one; None leaves nothing behind.

    Raises:
        ValueError: a setting cannot be used, or the method needs what the training set lacks.
        TypeError: the method returned something else than a `Training` or a `Fitted`.
    """
    checkpoint = checkpoint or Checkpoint()
    with _own_random_numbers(generator, train_set.y.device):
        made = method(train_set, settings, generator)
        if isinstance(made, Fitted):  # a closed form: there are no steps
            return made
        if not isinstance(made, Training):
            raise TypeError(f"a method returned {type(made).__name__}: return a Training, or a Fitted in closed form")
        weights = made.network.state_dict(keep_vars=True)
        state = TrainingState(weights, made.memory, (generator, *made.samplers))
        curves = fit_steps(
            made.network.parameters(), made.loss, made.steps, made.lr, checkpoint=checkpoint, state=state
        )
    return made.fitted(curves, checkpoint.snapshots)


def train_stack(
    method: Method,
    train_sets: Sequence[TrainSet],
    settings: Mapping,
    generators: Sequence[torch.Generator],
    checkpoint: Checkpoint | None = None,
) -> list[Fitted]:
    """Train several runs of a method side by side, as one program: equal to `train` up to rounding.

    Args:
        train_sets, generators: one of each run, with equal sizes of batches.
        settings, checkpoint: of all runs.

    Raises:
        ValueError: with these settings runs cannot be stacked.
    """
    checkpoint = checkpoint or Checkpoint()
    with _own_random_numbers(generators[0], train_sets[0].y.device):
        runs = [method(own, settings, generator) for own, generator in zip(train_sets, generators, strict=True)]
        first = runs[0]
        if not isinstance(first, Training) or first.stack is None:
            raise ValueError(f"runs with the settings {dict(settings)} cannot be stacked: train them one by one")

        def batch(weights: dict[str, Tensor], step: int) -> tuple:
            parts = zip(*(run.stack.batch() for run in runs), strict=True)
            stacked = tuple(None if part[0] is None else torch.stack(part) for part in parts)
            return first.stack.complete(weights, stacked)

        curves = fit_stacked(
            [run.network for run in runs],
            first.stack.terms,
            batch,
            first.steps,
            first.lr,
            checkpoint=checkpoint,
            draws=[*generators, *(sampler for run in runs for sampler in run.samplers)],
        )
    return [
        run.fitted(curve, checkpoint.run_snapshots(i)) for i, (run, curve) in enumerate(zip(runs, curves, strict=True))
    ]


@contextmanager
def _own_random_numbers(generator: torch.Generator, device: torch.device) -> Iterator[None]:
    """Torch's global random numbers start at the generator's seed, and go on afterwards as if nothing was drawn."""
    with torch.random.fork_rng([device] if device.type == "cuda" else []):
        torch.manual_seed(generator.initial_seed())
        yield
