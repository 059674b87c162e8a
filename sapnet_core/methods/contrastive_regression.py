"""CoRe: a regression tree predicts by how much the score of a video differs from those of exemplars.

Source: Yu et al., "Group-aware Contrastive Regression for Action Quality Assessment", ICCV 2021, and its public code.

    (log p, o) = tree([x_e, x_q, y_e]),    y_q = mean_e (y_e + Delta),    Delta = left_k + o_k width_k,  k = argmax p

    L = mean over pairs of - log p_k + (o_k - t)^2,    t the place of y_q - y_e in its interval k

x are features averaged over time, q is the video and e an exemplar. `gap_intervals` gives the intervals,
`regression_tree` the tree, and `exemplars` the choice of e. Each pair is learned in both orders.
Published: 1024 channels, a tree of 16 leaves and 256 units, y_e divided by its largest value, of 30 on MTL-AQA; one
random exemplar of the same difficulty in training and ten in prediction, on FineDiving of the same dive number
(`match = "action"`); intervals from all pairs of the same difficulty; Adam at 1e-3 and 1e-4 for the backbone, batches
of 2, 200 epochs. It learns from labeled videos only, and uses the difficulty, or the action, of every video.
The public code averages (o_k - t)^2 within each interval and adds up the intervals; on MTL-AQA its batches hold one
pair, for which this is the mean over pairs, as here with more pairs in a batch.
Deviations: the backbone is frozen; the exemplars of a prediction are the nearest ones instead of random ones, and
other difficulties fill up where one has too few labeled videos; with fewer pairs of the same difficulty than intervals
on one side of 0, the intervals come from all pairs; training settings are those of all methods.
"""

from collections.abc import Mapping

import torch
import torch.nn.functional as F
from torch import Tensor

from sapnet_core.methods.base import Training
from sapnet_core.methods.building_blocks import Batches, reseed
from sapnet_core.methods.exemplars import Exemplars
from sapnet_core.methods.gap_intervals import GapIntervals
from sapnet_core.methods.regression_tree import RegressionTree
from sapnet_core.methods.settings import OWN_UNITS, options
from sapnet_core.methods.train_set import TrainSet
from sapnet_core.methods.video_batch import VideoBatch

__all__ = ["SETTINGS", "training"]

SETTINGS = {"exemplars": 10, "match": "difficulty", "levels": 4, "width": 256, **OWN_UNITS}


def training(train: TrainSet, settings: Mapping, generator: torch.Generator) -> Training:
    """Settings: `exemplars` (their number), `match` ("difficulty" or "action", what they share with the video),
    `levels` (of the tree, which has 2^levels leaves; 1: it tells higher from lower scores alone), `width` (its units),
    and the training settings without `unit_targets`."""
    o = options("core", settings, SETTINGS)
    o.batch_unlabeled, o.unit_targets = 1, False
    reseed(generator)
    x, leaves = train.frame.mean(1), 2**o.levels
    net = RegressionTree(2 * x.shape[1] + 1, o.width, o.levels).to(x.device)
    draw = Batches(train, o, generator)
    exemplars = Exemplars(train, o.match, generator)
    intervals = GapIntervals.between(draw.y, exemplars.pairs(leaves // 2), leaves)

    def compare(q: Tensor, e: Tensor) -> tuple[Tensor, Tensor]:
        """The tree's outputs for features of videos (P, C) and their exemplars, (P,) rows of the training set."""
        return net(torch.cat([x[e], q, draw.y[e].unsqueeze(1)], 1))

    def loss(step: int) -> dict[str, Tensor]:
        i, e = exemplars.both_orders(draw.labeled())
        log_p, place = compare(x[i], e)
        k, t = intervals.locate(draw.y[i] - draw.y[e])
        off = place.gather(1, k.unsqueeze(1)).squeeze(1) - t
        terms = {"L_class": F.nll_loss(log_p, k), "L_place": (off**2).mean()}
        return {**terms, "L_all": terms["L_class"] + terms["L_place"]}

    def score(videos: VideoBatch) -> Tensor:
        seen = videos.frame.mean(1)
        return exemplars.vote(videos, o.exemplars, lambda q, e: intervals.read(*compare(seen[q], e)))

    return Training(net, loss, score, o.steps, o.lr, draw.samplers)
