"""C3D-AVG-MTL: multi-task learning of the score and the kind of dive, from one average over clips.

Source: Parmar and Morris, "What and How Well You Performed?", CVPR 2019. Clip features are averaged over time; from
the average, one head predicts the score and the other heads classify the dive:

    L = (MSE + L1)(score) + w sum_a CE(attribute a)

Attributes are position, armstand, direction, somersaults and twists. The table row uses features of C3D
(`backbones/c3d.py`); the method itself accepts those of any backbone.
Published: fine-tuned C3D, consecutive clips of 16 frames, a layer fc6 of 4096 units after the average, scores divided
by 17, a caption GRU at weight 0.01, Adam at 1e-4.
Deviations: C3D is frozen, as is every backbone of the tables, and ends with conv5b averaged over space; clip sampling
follows the dataset's protocol; layers of 256 and 128 units replace fc6; the captioning task is left out, because there
are no captions; scores are standardized.
It learns from labeled videos only; in a dataset without attributes the score is the only task.
"""

from collections.abc import Mapping

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from sapnet_core.datasets.label_details import ATTRIBUTES
from sapnet_core.methods.base import Training
from sapnet_core.methods.building_blocks import Batches, layers, reseed
from sapnet_core.methods.settings import LABELED, options
from sapnet_core.methods.train_set import TrainSet
from sapnet_core.sapnet.losses import l_reg

__all__ = ["SETTINGS", "training"]

SETTINGS = {"weight": 1.0, "dropout": 0.0, **LABELED}


def training(train: TrainSet, settings: Mapping, generator: torch.Generator) -> Training:
    """Settings: `weight` (w, 0: the score is the only task), `dropout`, and the training settings."""
    o = options("avg-mtl", settings, SETTINGS)
    o.batch_unlabeled = 1
    tasks = list(ATTRIBUTES.values()) if train.attributes is not None and o.weight else []
    reseed(generator)
    x = train.frame.mean(1)
    trunk = layers(x.shape[1], 256, 128, dropout=o.dropout).append(nn.ReLU())
    net = nn.Sequential(trunk, nn.Linear(128, 1 + sum(tasks))).to(x.device)  # one layer holds all heads
    draw = Batches(train, o, generator)

    def loss(step: int) -> dict[str, Tensor]:
        i = draw.labeled()
        score, *what = net(x[i]).split([1, *tasks], 1)
        terms = {"L_reg": l_reg(score.squeeze(1), draw.y[i]), "L_1": (score.squeeze(1) - draw.y[i]).abs().mean()}
        terms["L_all"] = terms["L_reg"] + terms["L_1"]
        if tasks:  # -1 marks an unknown attribute
            each = [
                F.cross_entropy(q, train.attributes[i, a], ignore_index=-1, reduction="sum") for a, q in enumerate(what)
            ]
            terms["L_what"] = sum(each) / len(i)
            terms["L_all"] = terms["L_all"] + o.weight * terms["L_what"]
        return terms

    def score(frame: Tensor) -> Tensor:
        return net(frame.mean(1))[:, 0] * draw.scale + draw.shift

    return Training(net, loss, score, o.steps, o.lr, draw.samplers)
