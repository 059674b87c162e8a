"""I3D+MLP, the baseline of every table: a three-layer MLP on clip features, trained on the labeled videos alone.

Two readings stand side by side (E18): features averaged over time, as the lineage does it, and clips in order.
Source: the paper, Section IV-B; loss Eq. 10; Adam at 1e-3 without weight decay.
"""

from collections.abc import Callable, Mapping, Sequence

import torch
from torch import Tensor, nn

from sapnet_core.methods import Fitted, TrainSet
from sapnet_core.methods.settings import LABELED, options
from sapnet_core.sapnet.losses import l_reg
from sapnet_core.training.checkpoint import Keep
from sapnet_core.training.loop import batches, fit_stacked, fit_steps

__all__ = ["SETTINGS", "fit_mean", "fit_ordered", "stack_mean", "stack_ordered"]

Pool = Callable[[Tensor], Tensor]  # features (B, S, C) -> one vector a video
SETTINGS = {**LABELED, "unit_targets": False}


def fit_mean(train: TrainSet, settings: Mapping, generator: torch.Generator, keep: Keep | None = None) -> Fitted:
    """I3D+MLP: (B, S, C) -> mean over S -> 256 -> 128 -> 1. Settings: `steps`, `lr`, `batch`, `unit_targets`."""
    return _fit(train, settings, generator, keep, pool=_mean)


def fit_ordered(train: TrainSet, settings: Mapping, generator: torch.Generator, keep: Keep | None = None) -> Fitted:
    """I3D+MLP (clips in order): (B, S, C) -> one vector a clip (pairs of steps averaged), concatenated -> MLP."""
    return _fit(train, settings, generator, keep, pool=_clips)


def stack_mean(
    trains: Sequence[TrainSet], settings: Mapping, generators: Sequence[torch.Generator], keep: Keep | None = None
) -> list[Fitted]:
    """`fit_mean` of several training sets with equal sizes of batches, as one program."""
    return _stack(trains, settings, generators, keep, pool=_mean)


def stack_ordered(
    trains: Sequence[TrainSet], settings: Mapping, generators: Sequence[torch.Generator], keep: Keep | None = None
) -> list[Fitted]:
    """`fit_ordered` of several training sets with equal sizes of batches, as one program."""
    return _stack(trains, settings, generators, keep, pool=_clips)


def _mean(x: Tensor) -> Tensor:
    return x.mean(1)


def _clips(x: Tensor) -> Tensor:
    """(B, S, C) -> (B, S/2 * C): the two steps of a 16-frame clip averaged; odd S is left as it is."""
    return (x if x.shape[1] % 2 else x.unflatten(1, (-1, 2)).mean(2)).flatten(1)


class _Run:
    """One training run: its network and its batches."""

    def __init__(self, train: TrainSet, settings: Mapping, generator: torch.Generator, pool: Pool):
        self.pool, self.x, self.o = pool, pool(train.frame), options("mlp", settings, SETTINGS)
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(int(torch.randint(2**31, (), generator=generator)))
            self.net = nn.Sequential(
                nn.Linear(self.x.shape[1], 256),
                nn.ReLU(),
                nn.Linear(256, 128),
                nn.ReLU(),
                nn.Linear(128, 1),
                nn.Flatten(0),
            ).to(self.x.device)
        self.y, self.shift, self.scale = train.unit_targets(self.o.unit_targets)
        self.draw = batches(train.labeled.cpu(), self.o.batch, generator)

    def batch(self) -> tuple[Tensor, Tensor]:
        index = next(self.draw).to(self.x.device)
        return self.x[index], self.y[index]

    def fitted(self, curves: list[dict[str, float]]) -> Fitted:
        @torch.no_grad()
        def predict(frame: Tensor) -> Tensor:
            return self.net.eval()(self.pool(frame)) * self.scale + self.shift

        return Fitted(predict, curves, self.net)


def _fit(train: TrainSet, settings: Mapping, generator: torch.Generator, keep: Keep | None, pool: Pool) -> Fitted:
    run = _Run(train, settings, generator, pool)

    def loss(step: int) -> dict[str, Tensor]:
        x, y = run.batch()
        return {"L_all": l_reg(run.net(x), y)}  # Eq. 10

    kept = {"keep": keep, "state": run.net.state_dict, "replay": run.batch}
    return run.fitted(fit_steps(run.net.parameters(), loss, run.o.steps, run.o.lr, **kept))


def _stack(trains, settings: Mapping, generators, keep: Keep | None, pool: Pool) -> list[Fitted]:
    runs = [_Run(train, settings, generator, pool) for train, generator in zip(trains, generators, strict=True)]
    curves = fit_stacked(
        [run.net for run in runs],
        lambda step, net, x, y: {"L_all": l_reg(net(x), y, look=False)},
        lambda weights, step: tuple(torch.stack(part) for part in zip(*(run.batch() for run in runs), strict=True)),
        runs[0].o.steps,
        runs[0].o.lr,
        keep=keep,
        replay=lambda: [run.batch() for run in runs],
    )
    return [run.fitted(curve) for run, curve in zip(runs, curves, strict=True)]
