"""The trainer of all methods, for one run or for several stacked runs.

A method describes its training (`Training`). The trainer runs it with Adam, records a curve of every loss term, gives
the run its own random numbers, writes a checkpoint that a killed run resumes from, and takes snapshots of the weights
from which a step can be chosen.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field

import torch
from torch import Tensor, nn

from sapnet_core.methods.train_set import TrainSet
from sapnet_core.methods.video_batch import VideoBatch
from sapnet_core.training.batches import BatchSampler
from sapnet_core.training.checkpoint import Checkpoint, Snapshot
from sapnet_core.training.loop import Terms, fit_steps
from sapnet_core.training.stacking import fit_stacked
from sapnet_core.training.state import TrainingState
from sapnet_core.training.trainable_backbone import TrainableBackbone

__all__ = ["Fitted", "Method", "Stackable", "Training", "train", "train_stack"]


@dataclass(frozen=True)
class Fitted:
    """A trained system.

    Attributes:
        predict: maps a batch of B videos to (B,) scaled scores, with the weights that `network` has at the time of the
            call.
        curves: the loss terms of every tenth step and of the last.
        network: the trained network; None for a closed form.
        step: number of optimizer steps behind the weights, where a step was chosen; else None.
        snapshots: weights at several steps, the last among them, if the checkpoint takes snapshots.
    """

    predict: Callable[[VideoBatch], Tensor]
    curves: list[dict[str, float]] = field(default_factory=list)
    network: nn.Module | None = None
    step: int | None = None
    snapshots: Sequence[Snapshot] = ()


def _unchanged(weights: dict[str, Tensor], inputs: tuple) -> tuple:
    return inputs


@dataclass(frozen=True)
class Stackable:
    """A loss split into parts, so that several runs can be stacked and trained as one program.

    Attributes:
        batch: draws the inputs of one run's next step, each a tensor or None.
        terms: maps the step, the network and these inputs to the loss terms; it may use only operations that
            `torch.vmap` supports.
        complete: maps the weights of all runs (name -> (R, ...)) and their stacked inputs to the inputs of `terms`.
    """

    batch: Callable[[], tuple]
    terms: Callable[..., Terms]
    complete: Callable[[dict[str, Tensor], tuple], tuple] = _unchanged


@dataclass(frozen=True)
class Training:
    """A method's description of its training, for the trainer.

    Attributes:
        network: the network whose parameters are trained.
        loss: maps the step (0, 1, ...) to named loss terms; "L_all" is minimized, all are recorded.
        score: maps a batch of B videos to scores (B,) on the scale of `TrainSet.y`, with the network.
        steps, lr: number of optimizer steps and learning rate.
        samplers: the batch samplers that `loss` draws from. Any other random number in `loss` must come from the
            method's `generator` or from PyTorch's global RNG, so that a checkpoint covers it.
        memory: tensors that `loss` changes in place, by name, such as pseudo-labels.
        stack: the same loss in parts, if runs can be stacked; else None.
        anneal: whether the learning rates fall to 0 over the steps, the rule of all methods here.
        backbone, lr_backbone: what is trained together with the network at a learning rate of its own; None if the
            backbone is frozen.
    """

    network: nn.Module
    loss: Callable[[int], Terms]
    score: Callable[[VideoBatch], Tensor]
    steps: int
    lr: float
    samplers: Sequence[BatchSampler] = ()
    memory: Mapping[str, Tensor] = field(default_factory=dict)
    stack: Stackable | None = None
    anneal: bool = True
    backbone: TrainableBackbone | None = None
    lr_backbone: float = 0.0

    @property
    def whole(self) -> nn.Module:
        """All that learns as one module: the network, or network and backbone."""
        if self.backbone is None:
            return self.network
        return nn.ModuleDict({"network": self.network, "backbone": self.backbone})

    def fitted(self, curves: list[dict[str, float]], snapshots: Sequence[Snapshot]) -> Fitted:
        """The trained system with its curve and snapshots, what was trained in evaluation mode."""
        whole = self.whole.eval()

        @torch.no_grad()
        def predict(videos: VideoBatch) -> Tensor:
            whole.eval()
            return self.score(videos)

        return Fitted(predict, curves, whole, snapshots=snapshots)


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
        method: a function as in `METHODS`.
        train_set: the data it learns from.
        settings: the settings that differ from the method's defaults.
        generator: source of the method's random numbers. PyTorch's global RNG is set to the generator's initial seed
            during the training, and restored afterwards.
        checkpoint: a fresh checkpoint; None writes no file and takes no snapshots.

    Raises:
        ValueError: a setting cannot be used, or the training set lacks annotations that the method needs.
        TypeError: the method returned neither a `Training` nor a `Fitted`.
        FloatingPointError: the loss is not finite.
    """
    checkpoint = checkpoint or Checkpoint()
    with _own_random_numbers(generator, train_set.y.device):
        made = method(train_set, settings, generator)
        if isinstance(made, Fitted):  # a closed form has no steps to train
            return made
        if not isinstance(made, Training):
            raise TypeError(f"a method returned {type(made).__name__}: return a Training, or a Fitted in closed form")
        weights = made.whole.state_dict(keep_vars=True)
        state = TrainingState(weights, made.memory, (generator, *made.samplers))
        slow = [] if made.backbone is None else [(made.backbone.parameters(), made.lr_backbone)]
        curves = fit_steps(
            made.network.parameters(),
            made.loss,
            made.steps,
            made.lr,
            checkpoint=checkpoint,
            state=state,
            others=slow,
            anneal=made.anneal,
        )
    return made.fitted(curves, checkpoint.snapshots)


def train_stack(
    method: Method,
    train_sets: Sequence[TrainSet],
    settings: Mapping,
    generators: Sequence[torch.Generator],
    checkpoint: Checkpoint | None = None,
) -> list[Fitted]:
    """Train several stacked runs of a method as one program; the results equal those of `train` up to rounding.

    Args:
        method: as in `train`.
        train_sets, generators: one per run; all runs must have the same batch sizes.
        settings, checkpoint: shared by all runs.

    Raises:
        ValueError: runs with these settings cannot be stacked.
        FloatingPointError: the loss of a run is not finite.
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
            anneal=first.anneal,
            draws=[*generators, *(sampler for run in runs for sampler in run.samplers)],
        )
    return [
        run.fitted(curve, checkpoint.run_snapshots(i)) for i, (run, curve) in enumerate(zip(runs, curves, strict=True))
    ]


@contextmanager
def _own_random_numbers(generator: torch.Generator, device: torch.device) -> Iterator[None]:
    """Seed PyTorch's global RNG with the generator's initial seed, and restore the caller's state afterwards."""
    with torch.random.fork_rng([device] if device.type == "cuda" else []):
        torch.manual_seed(generator.initial_seed())
        yield
