"""What several of the compared systems share: their chance, their batches and the baseline's layers."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import SimpleNamespace

import torch
from torch import Tensor, nn

from sapnet_core.methods import Fitted, TrainSet
from sapnet_core.training.loop import batches, fit_steps

__all__ = ["own_chance", "layers", "clips", "views", "Batches", "train_network"]


@contextmanager
def own_chance(generator: torch.Generator) -> Iterator[None]:
    """Weights, dropout and all other draws inside come from this generator; the caller's chance is left as it was."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(int(torch.randint(2**31, (), generator=generator)))
        yield


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
    looks at unlabeled videos."""

    def __init__(self, train: TrainSet, o: SimpleNamespace, generator: torch.Generator):
        self.device = train.y.device
        self._labeled = batches(train.labeled.cpu(), o.batch, generator)
        other = torch.Generator().manual_seed(int(torch.randint(2**31, (), generator=generator)))
        self._unlabeled = batches(train.unlabeled.cpu(), o.batch_unlabeled, other)
        self.y, self.shift, self.scale = train.unit_targets(o.unit_targets)

    def labeled(self) -> Tensor:
        return next(self._labeled).to(self.device)

    def unlabeled(self) -> Tensor:
        return next(self._unlabeled).to(self.device)


def train_network(
    net: nn.Module,
    loss: Callable[[int], dict[str, Tensor]],
    score: Callable[[Tensor], Tensor],
    o: SimpleNamespace,
    shift: float | Tensor = 0.0,
    scale: float | Tensor = 1.0,
) -> Fitted:
    """Adam on `loss`; then `score` (whole-frame features (B, S, C) -> (B,)), led back to the unit of `TrainSet.y`."""
    curves = fit_steps(net.parameters(), loss, o.steps, o.lr)
    net.eval()

    @torch.no_grad()
    def predict(frame: Tensor) -> Tensor:
        return score(frame) * scale + shift

    return Fitted(predict, curves, net)
