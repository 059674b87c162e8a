"""What several of the compared systems share: layers, views of a video, random numbers and batches."""

from types import SimpleNamespace

import torch
from torch import Tensor, nn

from sapnet_core.methods.train_set import TrainSet
from sapnet_core.training.batches import BatchSampler

__all__ = ["reseed", "layers", "clips", "views", "Batches"]


def reseed(generator: torch.Generator) -> None:
    """Seed torch's global random numbers (weights, dropout) with a number that is drawn from `generator`."""
    torch.manual_seed(int(torch.randint(2**31, (), generator=generator)))


def layers(*widths: int, dropout: float = 0.0) -> nn.Sequential:
    """Linear layers of these widths with ReLU (and dropout) between them; none behind the last."""
    made: list[nn.Module] = []
    for a, b in zip(widths[:-1], widths[1:], strict=True):
        made += [nn.Linear(a, b), nn.ReLU(), *([nn.Dropout(dropout)] if dropout else [])]
    return nn.Sequential(*made[: -2 if dropout else -1])


def clips(x: Tensor) -> Tensor:
    """(B, S, C) -> (B, S/2, C): the two steps of a 16-frame clip averaged; odd S is left as it is."""
    return x if x.shape[1] % 2 else x.unflatten(1, (-1, 2)).mean(2)


def views(x: Tensor, ordered: bool) -> Tensor:
    """What an MLP sees of a video (E18): its clips in order, (B, S/2 * C), or their mean, (B, C)."""
    return clips(x).flatten(1) if ordered else x.mean(1)


class Batches:
    """Labeled and unlabeled batches of indices, and the targets. The labeled ones are the same whether or not a method
    looks at unlabeled videos.

    Attributes:
        samplers: both streams of batches, for `Training`.
        y: (N,) targets; NaN where unlabeled.
        shift, scale: lead from the unit of the targets back to that of `TrainSet.y`.
    """

    def __init__(self, train: TrainSet, o: SimpleNamespace, generator: torch.Generator):
        self._device = train.y.device
        self._labeled = BatchSampler(train.labeled.cpu(), o.batch, generator)
        other = torch.Generator().manual_seed(int(torch.randint(2**31, (), generator=generator)))
        self._unlabeled = BatchSampler(train.unlabeled.cpu(), o.batch_unlabeled, other)
        self.samplers = (self._labeled, self._unlabeled)
        self.y, self.shift, self.scale = train.unit_targets(o.unit_targets)

    def labeled(self) -> Tensor:
        """Indices of the next labeled videos."""
        return next(self._labeled).to(self._device)

    def unlabeled(self) -> Tensor:
        """Indices of the next unlabeled videos."""
        return next(self._unlabeled).to(self._device)
