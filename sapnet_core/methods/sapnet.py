"""SAP-Net as a method of the tables: the network of `sapnet_core.sapnet`, trained on cached features of both views.

Source: the paper, Section III; Adam at 1e-3 without weight decay; all weights λ = 1. I3D+SSP and I3D+GCL are the same
with terms of Eq. 11 switched off. L_un starts after a warm-up of supervised steps (E17).
"""

from collections.abc import Mapping
from dataclasses import fields

import torch
from torch import Tensor

from sapnet_core.losses import grade_edges
from sapnet_core.methods import Fitted, TrainSet
from sapnet_core.sapnet import SAPNet, SAPNetSettings, sapnet_losses
from sapnet_core.training import batches, fit_steps

__all__ = ["fit"]

TRAINING = {"steps", "lr", "batch", "batch_unlabeled", "warmup", "unit_targets"}
# `steps` is the optimizer's, never the places of F̄


def fit(train: TrainSet, settings: Mapping, generator: torch.Generator) -> Fitted:
    """Train SAP-Net.

    Args:
        train: features of both views and the labeled scores.
        settings: any field of `SAPNetSettings` (`decoder_channels` is a quarter of C unless given), and `steps`,
            `lr` (1e-3), `batch` (labeled videos a step, 16), `batch_unlabeled` (16), `warmup` (share of the steps
            before L_un starts, 1/3), `unit_targets` (True: scores are shifted and scaled to mean 0 and sd 1 over the
            labeled videos, so that L_reg and L_un have the size of the other terms when all λ are 1; the paper gives
            no unit).
        generator: draws weights and batches.

    Raises:
        ValueError: a setting of that name does not exist.
    """
    known = {f.name for f in fields(SAPNetSettings)} - {"channels", "clips"} - TRAINING
    if unknown := set(settings) - known - TRAINING:
        raise ValueError(f"sap-net has no setting {', '.join(sorted(unknown))}: choose from {sorted(known | TRAINING)}")
    _, clips, channels = train.frame.shape
    chosen = {"decoder_channels": channels // 4, **{k: v for k, v in settings.items() if k in known}}
    s = SAPNetSettings(channels=channels, clips=clips, **chosen)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(int(torch.randint(2**31, (), generator=generator)))
        net = SAPNet(s).to(train.frame.device)
    labeled = batches(train.labeled.cpu(), settings.get("batch", 16), generator)
    unlabeled = batches(train.unlabeled.cpu(), settings.get("batch_unlabeled", 16), generator)
    y, shift, scale = train.unit_targets(settings.get("unit_targets", True))
    edges = grade_edges(y[train.labeled], s.grades)
    warmup = int(settings.get("warmup", 1 / 3) * settings["steps"])
    paired = bool(s.lambda_ubc or s.lambda_un or s.lambda_gc)  # without these terms no unlabeled video is looked at

    def loss(step: int) -> dict[str, Tensor]:
        l, u = next(labeled), next(unlabeled) if paired else None  # noqa: E741 - the paper's indices
        x_u, x_a = (train.frame[u], train.actor[u]) if paired else (None, None)
        output = net(train.frame[l], x_u, x_a, train.positions, train.actor[l])
        terms = sapnet_losses(s, output, y[l], edges, consistency_on=step >= warmup)
        return {**{k: v for k, v in terms.items() if k != "sure"}, "share_confident": terms["sure"]}

    curves = fit_steps(net.parameters(), loss, settings["steps"], settings.get("lr", 1e-3))
    return Fitted(lambda frame: net.predict(frame, train.positions) * scale + shift, curves, net)
