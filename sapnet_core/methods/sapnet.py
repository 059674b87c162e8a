"""SAP-Net as a method of the tables: the network of `sapnet_core.sapnet.network`, trained on cached features of both
views.

Source: the paper, Section III; Adam at 1e-3 without weight decay; all weights λ = 1. I3D+SSP and I3D+GCL are the same
with terms of Eq. 11 switched off. L_un starts after a warm-up of supervised steps (E17).
"""

from collections.abc import Mapping, Sequence
from dataclasses import fields
from functools import partial
from types import SimpleNamespace

import torch
from torch import Tensor
from torch.func import functional_call

from sapnet_core.methods import Fitted, TrainSet
from sapnet_core.methods.settings import TRAINING, options
from sapnet_core.sapnet.losses import grade_edges, sapnet_losses
from sapnet_core.sapnet.network import SAPNet
from sapnet_core.sapnet.settings import SAPNetSettings
from sapnet_core.training.checkpoint import Keep
from sapnet_core.training.loop import batches, fit_stacked, fit_steps

__all__ = ["check", "fit", "fit_stack"]

SETTINGS = {**TRAINING, "warmup": 1 / 3}  # of the training; `steps` are the optimizer's, not F̄'s
NETWORK = {f.name for f in fields(SAPNetSettings)} - {"channels", "clips", "steps"}


def check(settings: Mapping, channels: int = 256, clips: int = 18) -> tuple[SAPNetSettings, SimpleNamespace]:
    """Settings of the network and of its training, for features of so many channels and clips.

    Raises:
        ValueError: a setting does not exist, or its value cannot be used.
    """
    if unknown := sorted(set(settings) - NETWORK - set(SETTINGS) - {"steps"}):
        known = ", ".join(sorted({*NETWORK, *SETTINGS, "steps"}))
        raise ValueError(f"sap-net has no setting {', '.join(unknown)}: choose from {known}")
    network = {name: value for name, value in settings.items() if name in NETWORK}
    training = {name: value for name, value in settings.items() if name not in NETWORK}
    chosen = {"decoder_channels": channels // 4, **network}
    return SAPNetSettings(channels=channels, clips=clips, **chosen), options("sap-net", training, SETTINGS)


def fit(train: TrainSet, settings: Mapping, generator: torch.Generator, keep: Keep | None = None) -> Fitted:
    """Train SAP-Net.

    Args:
        train: features of both views and the labeled scores.
        settings: any field of `SAPNetSettings` (`decoder_channels` is a quarter of C unless given), and `steps`,
            `lr` (1e-3), `batch` (labeled videos a step, 16), `batch_unlabeled` (16), `warmup` (share of the steps
            before L_un starts, 1/3), `unit_targets` (True: scores are shifted and scaled to mean 0 and sd 1 over the
            labeled videos, so that L_reg and L_un have the size of the other terms when all λ are 1; the paper gives
            no unit).
        generator: draws weights and batches.
        keep: keeps weights of earlier steps, and goes on after a kill.

    Raises:
        ValueError: a setting of that name does not exist, or its value cannot be used.
    """
    run = _Run(train, settings, generator)

    def loss(step: int) -> dict[str, Tensor]:
        x_l, x_u, x_a, x_la, y = run.batch()
        return run.terms(step, run.net, x_l, x_u, x_a, x_la, y, run.edges)

    kept = {"keep": keep, "state": run.net.state_dict, "replay": run.batch}
    return run.fitted(fit_steps(run.net.parameters(), loss, run.o.steps, run.o.lr, **kept))


def fit_stack(
    trains: Sequence[TrainSet], settings: Mapping, generators: Sequence[torch.Generator], keep: Keep | None = None
) -> list[Fitted]:
    """`fit` of several training sets with the same settings and sizes of batches, as one program.

    Raises:
        ValueError: batch normalization, dropout or the cluster scope "dataset": train these one by one.
    """
    runs = [_Run(train, settings, generator) for train, generator in zip(trains, generators, strict=True)]
    first = runs[0]
    s, positions = first.settings, first.positions
    if s.decoder != "temporal" or s.norm == "batch" or s.dropout or s.cluster_scope == "dataset":
        raise ValueError("batch normalization, dropout and the cluster scope 'dataset' cannot be stacked")

    def batch(weights: dict[str, Tensor], step: int) -> tuple:
        parts = zip(*(run.batch() for run in runs), strict=True)
        x_l, x_u, x_a, x_la, y = (None if part[0] is None else torch.stack(part) for part in parts)
        labels = None
        if s.needs_labels:
            views = (
                x_u,
                x_a,
                *((x_l,) if s.parse_labeled else ()),
                *((x_la,) if s.parse_labeled and s.supervise_teacher else ()),
            )
            own = {name.removeprefix("attention."): v for name, v in weights.items() if name.startswith("attention.")}
            refine = torch.vmap(lambda w, x: functional_call(first.net.attention, w, (x,)))
            labels = first.net.stacked_labels(torch.cat(views, 1), positions, lambda x: refine(own, x))
        return x_l, x_u, x_a, x_la, y, torch.stack([run.edges for run in runs]), labels

    networks, terms = [run.net for run in runs], partial(first.terms, look=False)
    curves = fit_stacked(
        networks, terms, batch, first.o.steps, first.o.lr, keep=keep, replay=lambda: [run.batch() for run in runs]
    )
    return [run.fitted(curve) for run, curve in zip(runs, curves, strict=True)]


class _Run:
    """One training run: its network, its batches and its loss."""

    def __init__(self, train: TrainSet, settings: Mapping, generator: torch.Generator):
        _, clips, channels = train.frame.shape
        self.settings, self.o = s, o = check(settings, channels, clips)
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(int(torch.randint(2**31, (), generator=generator)))
            self.net = SAPNet(s).to(train.frame.device)
        self.train, self.positions = train, train.positions
        self.labeled = batches(train.labeled.cpu(), o.batch, generator)
        self.unlabeled = batches(train.unlabeled.cpu(), o.batch_unlabeled, generator)
        self.y, self.shift, self.scale = train.unit_targets(o.unit_targets)
        self.edges = grade_edges(self.y[train.labeled], s.grades)
        self.warmup = int(o.warmup * o.steps)
        # without these terms no unlabeled video is looked at
        self.paired = bool(s.lambda_ubc or s.lambda_un or s.lambda_gc)

    def batch(self) -> tuple[Tensor | None, ...]:
        """x_l, x_u, x_a, x_la and the targets of the next step."""
        l, u = next(self.labeled), next(self.unlabeled) if self.paired else None  # noqa: E741 - the paper's indices
        frame, actor = self.train.frame, self.train.actor
        x_u, x_a = (frame.index_select(0, u), actor.index_select(0, u)) if self.paired else (None, None)
        return frame.index_select(0, l), x_u, x_a, actor.index_select(0, l), self.y[l]

    def terms(self, step: int, net, x_l, x_u, x_a, x_la, y, edges, labels=None, look=True) -> dict[str, Tensor]:
        output = net(x_l, x_u, x_a, self.positions, x_la, labels)
        terms = sapnet_losses(self.settings, output, y, edges, step >= self.warmup, look)
        return {**{k: v for k, v in terms.items() if k != "sure"}, "share_confident": terms["sure"]}

    def fitted(self, curves: list[dict[str, float]]) -> Fitted:
        def predict(frame: Tensor) -> Tensor:
            return self.net.predict(frame, self.positions) * self.scale + self.shift

        return Fitted(predict, curves, self.net)
