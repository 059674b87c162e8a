"""I3D+MLP, the baseline of every table: a three-layer MLP on clip features, trained on the labeled videos alone.

Two readings stand side by side (E18): features averaged over time, as the lineage does it, and clips in order.
Source: the paper, Section IV-B; loss Eq. 10; Adam at 1e-3 without weight decay.
"""

from collections.abc import Mapping

import torch
from torch import Tensor, nn

from sapnet_core.losses import l_reg
from sapnet_core.methods import Fitted, TrainSet
from sapnet_core.training import batches, fit_steps

__all__ = ["fit_mean", "fit_ordered"]


def fit_mean(train: TrainSet, settings: Mapping, generator: torch.Generator) -> Fitted:
    """I3D+MLP: (B, S, C) -> mean over S -> 256 -> 128 -> 1. Settings: `steps`, `lr`, `batch`, `unit_targets`."""
    return _fit(train, settings, generator, lambda x: x.mean(1))


def fit_ordered(train: TrainSet, settings: Mapping, generator: torch.Generator) -> Fitted:
    """I3D+MLP (clips in order): (B, S, C) -> one vector a clip (pairs of steps averaged), concatenated -> MLP."""
    return _fit(train, settings, generator, lambda x: _clips(x).flatten(1))


def _clips(x: Tensor) -> Tensor:
    """(B, S, C) -> (B, S/2, C): the two steps of a 16-frame clip averaged; odd S is left as it is."""
    return x if x.shape[1] % 2 else x.unflatten(1, (-1, 2)).mean(2)


def _fit(train: TrainSet, settings: Mapping, generator: torch.Generator, pool) -> Fitted:
    x = pool(train.frame)
    width = x.shape[1]
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(int(torch.randint(2**31, (), generator=generator)))
        mlp = nn.Sequential(
            nn.Linear(width, 256), nn.ReLU(), nn.Linear(256, 128), nn.ReLU(), nn.Linear(128, 1), nn.Flatten(0)
        ).to(x.device)
    y, shift, scale = train.unit_targets(settings.get("unit_targets", False))
    draw = batches(train.labeled.cpu(), settings.get("batch", 16), generator)

    def loss(step: int) -> dict[str, Tensor]:
        index = next(draw).to(x.device)
        return {"L_all": l_reg(mlp(x[index]), y[index])}  # Eq. 10

    curves = fit_steps(mlp.parameters(), loss, settings["steps"], settings.get("lr", 1e-3))
    mlp.eval()

    @torch.no_grad()
    def predict(frame: Tensor) -> Tensor:
        return mlp(pool(frame)) * scale + shift

    return Fitted(predict, curves, mlp)
