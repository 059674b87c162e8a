"""Building blocks that several methods share: layers, inputs made of clip features, seeding and batches."""

from types import SimpleNamespace

import torch
from torch import Tensor, nn

from sapnet_core.methods.train_set import TrainSet
from sapnet_core.training.batches import BatchSampler

__all__ = ["reseed", "layers", "clips", "views", "Batches"]


def reseed(generator: torch.Generator) -> None:
    """Seed PyTorch's global RNG, which initializes weights and drives dropout, with a number drawn from `generator`."""
    torch.manual_seed(int(torch.randint(2**31, (), generator=generator)))


def layers(*widths: int, dropout: float = 0.0) -> nn.Sequential:
    """Linear layers of these widths, with ReLU (and dropout) between them and none after the last."""
    made: list[nn.Module] = []
    for a, b in zip(widths[:-1], widths[1:], strict=True):
        made += [nn.Linear(a, b), nn.ReLU(), *([nn.Dropout(dropout)] if dropout else [])]
    return nn.Sequential(*made[: -2 if dropout else -1])


def clips(x: Tensor) -> Tensor:
    """Average the two steps of each 16-frame clip: (B, S, C) -> (B, S/2, C). An odd S is returned unchanged."""
    return x if x.shape[1] % 2 else x.unflatten(1, (-1, 2)).mean(2)


def views(x: Tensor, ordered: bool) -> Tensor:
    """Input of an MLP (E18), from features (B, S, C): the clips in order, (B, S/2 * C), or their mean, (B, C)."""
    return clips(x).flatten(1) if ordered else x.mean(1)


class Batches:
    """Labeled and unlabeled batches of indices, and the targets.

    The unlabeled batches have their own generator, so the labeled batches do not depend on whether a method draws
    unlabeled ones.

    Attributes:
        samplers: both batch samplers, for `Training`.
        y: (N,) targets; NaN where unlabeled.
        shift, scale: `y * scale + shift` is on the scale of `TrainSet.y`.
    """

    def __init__(self, train: TrainSet, o: SimpleNamespace, generator: torch.Generator):
        self._device = train.y.device
        self._labeled = BatchSampler(train.labeled.cpu(), o.batch, generator)
        other = torch.Generator().manual_seed(int(torch.randint(2**31, (), generator=generator)))
        self._unlabeled = BatchSampler(train.unlabeled.cpu(), o.batch_unlabeled, other)
        self.samplers = (self._labeled, self._unlabeled)
        self.y, self.shift, self.scale = train.unit_targets(o.unit_targets)

    def labeled(self) -> Tensor:
        """Indices of the next batch of labeled videos."""
        return next(self._labeled).to(self._device)

    def unlabeled(self) -> Tensor:
        """Indices of the next batch of unlabeled videos."""
        return next(self._unlabeled).to(self._device)
