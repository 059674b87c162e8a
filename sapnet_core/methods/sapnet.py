"""SAP-Net as a method of the tables: the network of `sapnet_core.sapnet.network`, trained on cached features of both
views.

Source: the paper, Section III; Adam at 1e-3 without weight decay; all weights λ = 1. I3D+SSP and I3D+GCL are this
method with terms of Eq. 11 switched off. L_un starts after a warm-up (E17).
"""

from collections.abc import Mapping
from dataclasses import fields
from types import SimpleNamespace

import torch
from torch import Tensor
from torch.func import functional_call

from sapnet_core.methods.base import Stackable, Training
from sapnet_core.methods.building_blocks import reseed
from sapnet_core.methods.settings import LR_BACKBONE, TRAINING, options
from sapnet_core.methods.train_set import TrainSet
from sapnet_core.methods.video_batch import VideoBatch
from sapnet_core.sapnet.losses import grade_edges, sapnet_losses
from sapnet_core.sapnet.network import SAPNet
from sapnet_core.sapnet.settings import SAPNetSettings
from sapnet_core.training.batches import BatchSampler

__all__ = ["SETTINGS", "can_stack", "check", "training"]

SETTINGS = {
    **TRAINING,
    **LR_BACKBONE,
    "warmup": 1 / 3,
    "anneal": True,
}  # of the training; here `steps` means optimizer steps, not the steps of F̄
NETWORK = {f.name for f in fields(SAPNetSettings)} - {"channels", "clips", "steps"}


def check(settings: Mapping, channels: int = 256, clips: int = 18) -> tuple[SAPNetSettings, SimpleNamespace]:
    """Check settings, and split them into those of the network and those of its training.

    Args:
        settings: those that differ from the defaults.
        channels, clips: C and S of the features (N, S, C).

    Raises:
        ValueError: a setting does not exist, or its value cannot be used.
    """
    if unknown := sorted(set(settings) - NETWORK - set(SETTINGS) - {"steps"}):
        known = ", ".join(sorted({*NETWORK, *SETTINGS, "steps"}))
        raise ValueError(f"sap-net has no setting {', '.join(unknown)}: choose from {known}")
    network = {name: value for name, value in settings.items() if name in NETWORK}
    training = {name: value for name, value in settings.items() if name not in NETWORK}
    return SAPNetSettings(channels=channels, clips=clips, **network), options("sap-net", training, SETTINGS)


def can_stack(settings: Mapping) -> bool:
    """Whether runs with these settings can be stacked.

    They cannot with batch normalization (which has buffers), with dropout, with clusters over a whole data set, or with
    the psnet decoder.
    """
    s, _ = check(settings)
    return s.decoder == "temporal" and s.norm != "batch" and not s.dropout and s.cluster_scope != "dataset"


def training(train: TrainSet, settings: Mapping, generator: torch.Generator) -> Training:
    """The training of SAP-Net.

    Args:
        train: features of both views and the labeled scores.
        settings: any field of `SAPNetSettings` except `channels`, `clips` and `steps`, and the training settings
            `steps` (optimizer steps), `lr` (1e-3), `batch` (labeled videos per step, by their number),
            `batch_unlabeled` (16), `warmup` (share of the steps before L_un starts, 1/3), `anneal` (True: the learning
            rate falls to 0 over the steps; the paper names no schedule) and `unit_targets` (True: targets have mean 0
            and sd 1 over the labeled videos, so that L_reg and L_un have the magnitude of the other terms when all λ
            are 1; the paper gives no target scale).
        generator: draws weights and batches.

    Raises:
        ValueError: a setting does not exist, or its value cannot be used.
    """
    s, o = check(settings, train.channels, len(train.positions))
    with torch.random.fork_rng(devices=[]):  # drawing weights must not advance the RNG that dropout uses in training
        reseed(generator)
        net = SAPNet(s).to(train.frame.device)
    labeled = BatchSampler(train.labeled.cpu(), o.batch, generator)
    unlabeled = BatchSampler(train.unlabeled.cpu(), o.batch_unlabeled, generator)
    targets, shift, scale = train.unit_targets(o.unit_targets)
    edges = grade_edges(targets[train.labeled], s.grades)
    warmup = int(o.warmup * o.steps)
    paired = s.lambda_ubc or s.lambda_un or s.lambda_gc  # without these terms no unlabeled video is needed

    def batch() -> tuple[Tensor | None, ...]:
        """Draw the next batch: x_l, x_u, x_a, x_la, the targets and the edges of the grades."""
        l, u = next(labeled), next(unlabeled) if paired else None  # noqa: E741 - the paper's indices
        x_u, x_a = (train.features("frame", u), train.features("actor", u)) if paired else (None, None)
        return train.features("frame", l), x_u, x_a, train.features("actor", l), targets[l], edges

    def terms(step: int, net, x_l, x_u, x_a, x_la, y, edges, labels=None, look: bool = False) -> dict[str, Tensor]:
        output = net(x_l, x_u, x_a, train.positions, x_la, labels)
        found = sapnet_losses(s, output, y, edges, step >= warmup, look)
        return {**{k: v for k, v in found.items() if k != "sure"}, "share_confident": found["sure"]}

    def with_labels(weights: dict[str, Tensor], inputs: tuple) -> tuple:
        """Append the pseudo-labels of all runs to their inputs, each (R, ...)."""
        if not s.needs_labels:
            return inputs
        x_l, x_u, x_a, x_la, _, _ = inputs
        views = [x_u, x_a]
        if s.parse_labeled:
            views += [x_l, x_la] if s.supervise_teacher else [x_l]
        own = {name.removeprefix("attention."): v for name, v in weights.items() if name.startswith("attention.")}
        refine = torch.vmap(lambda w, x: functional_call(net.attention, w, (x,)))
        return *inputs, net.stacked_labels(torch.cat(views, 1), train.positions, lambda x: refine(own, x))

    def loss(step: int) -> dict[str, Tensor]:
        return terms(step, net, *batch(), look=True)

    def score(videos: VideoBatch) -> Tensor:
        return net.predict(train.encoded("frame", videos.frame), train.positions) * scale + shift

    stack = Stackable(batch, terms, with_labels) if can_stack(settings) else None
    slow = {"backbone": train.backbone, "lr_backbone": o.lr_backbone}
    return Training(net, loss, score, o.steps, o.lr, [labeled, unlabeled], stack=stack, anneal=o.anneal, **slow)
