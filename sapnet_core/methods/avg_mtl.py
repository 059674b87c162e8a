"""C3D-AVG-MTL: multi-task learning of the score and the kind of dive, from one average over clips.

Source: Parmar and Morris, "What and How Well You Performed?", CVPR 2019, and its public code. Clip features are
averaged over time and pass one layer, fc6; from it, one linear head predicts the score and one per attribute
classifies the dive:

    L = (MSE + L1)(score / s) + w sum_a CE(attribute a)

Attributes are position, armstand, direction, somersaults and twists. The table row uses features of C3D
(`backbones/c3d.py`); the method itself accepts those of any backbone.
Published: fine-tuned C3D, consecutive clips of 16 frames, fc6 of 4096 units with ReLU on the 8192 values of pool5,
final scores with difficulty over s = 17, their standard deviation on MTL-AQA, 3, 2, 4, 10 and 8 classes, w = 1,
a caption GRU at weight 0.01, Adam at 1e-4 in batches of 3.
Here s is the standard deviation of the labeled scores, so that the method fits any dataset; as published, the scores
are not centered. Whether they contain the difficulty is the trial's `target`.
Deviations: C3D is frozen, as is every backbone of the tables, and ends with conv5b averaged over space, which are the
inputs of fc6; clip sampling follows the dataset's protocol; the heads have a class for every part of a valid dive
number; the captioning task is left out, because there are no captions; the training settings are those of all methods.
It learns from labeled videos only; in a dataset without attributes the score is the only task.
"""

from collections.abc import Mapping

import torch
import torch.nn.functional as F
from torch import Tensor

from sapnet_core.datasets.label_details import ATTRIBUTES
from sapnet_core.methods.base import Training
from sapnet_core.methods.building_blocks import Batches, layers, reseed
from sapnet_core.methods.settings import OWN_UNITS, options
from sapnet_core.methods.train_set import TrainSet
from sapnet_core.methods.video_batch import VideoBatch
from sapnet_core.sapnet.losses import l_reg

__all__ = ["SETTINGS", "training"]

SETTINGS = {"weight": 1.0, "width": 4096, "dropout": 0.0, **OWN_UNITS}


def training(train: TrainSet, settings: Mapping, generator: torch.Generator) -> Training:
    """Settings: `weight` (w, 0: the score is the only task), `width` (units of fc6), `dropout` (after fc6, published
    without), and the training settings without `unit_targets`."""
    o = options("avg-mtl", settings, SETTINGS)
    o.batch_unlabeled, o.unit_targets = 1, False
    tasks = list(ATTRIBUTES.values()) if train.attributes is not None and o.weight else []
    reseed(generator)
    x = train.frame.mean(1)
    net = layers(x.shape[1], o.width, 1 + sum(tasks), dropout=o.dropout).to(x.device)  # one layer holds all heads
    draw = Batches(train, o, generator)
    spread = train.unit_targets(True)[2]  # s

    def loss(step: int) -> dict[str, Tensor]:
        i = draw.labeled()
        found, *what = net(x[i]).split([1, *tasks], 1)
        guess, y = found.squeeze(1), draw.y[i] / spread
        terms = {"L_reg": l_reg(guess, y), "L_1": (guess - y).abs().mean()}
        terms["L_all"] = terms["L_reg"] + terms["L_1"]
        if tasks:  # -1 marks an unknown attribute
            each = [
                F.cross_entropy(q, train.attributes[i, a], ignore_index=-1, reduction="sum") for a, q in enumerate(what)
            ]
            terms["L_what"] = sum(each) / len(i)
            terms["L_all"] = terms["L_all"] + o.weight * terms["L_what"]
        return terms

    def score(videos: VideoBatch) -> Tensor:
        return net(videos.frame.mean(1))[:, 0] * spread

    return Training(net, loss, score, o.steps, o.lr, draw.samplers)
