"""MUSDL: USDL for every judge of the panel, combined by the scoring rule of the sport.

Source: Tang et al., CVPR 2020, as USDL. Judge j gives a distribution q_j over 0, 0.5, ... 10 points:

    L = sum_j KL(p_j || q_j),    score = difficulty * sum of the three middle judges

Published: seven judges, 21 bins, three of seven count. It needs the judges' scores and learns execution, whose scaled
value is the sum of the middle three over 30; it rejects a dataset without judges' scores, or another target.
Deviations: seats change between events, so judges' scores are sorted and head j predicts the j-th lowest score of a
panel of seven. A smaller panel (FineDiving also gives 5 or 3 scores, all of which count) takes the middle seats of the
seven. The score is read from the distributions as in USDL.
"""

from collections.abc import Mapping

import torch
from torch import Tensor

from sapnet_core.methods.base import Training
from sapnet_core.methods.building_blocks import Batches, layers, reseed
from sapnet_core.methods.settings import OWN_UNITS, options
from sapnet_core.methods.train_set import TrainSet
from sapnet_core.methods.usdl import divergence, normal_bins, read_bins

__all__ = ["SETTINGS", "training", "panel_of_seven"]

SETTINGS = {"sigma": 1.0, "read": "mean", **OWN_UNITS}
SEATS, COUNTING, PERFECT = 7, 3, 30.0


def panel_of_seven(judges: Tensor) -> Tensor:
    """Sort panels of up to seven scores into seven seats: (N, J), NaN-padded -> (N, 7), NaN in unused outer seats."""
    size = (~judges.isnan()).sum(1, keepdim=True)
    rank = torch.arange(SEATS, device=judges.device) - (SEATS - size) // 2  # (N, 7): index in the sorted panel
    ordered = judges.nan_to_num(torch.inf).sort(1).values
    seat = ordered.gather(1, rank.clamp(0, judges.shape[1] - 1))
    return seat.masked_fill((rank < 0) | (rank >= size), torch.nan)


def training(train: TrainSet, settings: Mapping, generator: torch.Generator) -> Training:
    """Settings: `sigma` (in bins), `read` ("mean" or "mode", as in `read_bins`), and the training settings.

    Raises:
        ValueError: the dataset has no judges' scores or panels of more than seven, a labeled video lacks its scores, or
            the target is not execution.
    """
    o = options("musdl", settings, SETTINGS)
    o.batch_unlabeled, o.unit_targets = 1, False
    if train.judges is None or train.judges.shape[1] > SEATS:
        raise ValueError("musdl needs the scores of panels of up to seven judges, which this set does not give")
    judges, middle = panel_of_seven(train.judges), slice((SEATS - COUNTING) // 2, (SEATS + COUNTING) // 2)
    gap = (judges[train.labeled][:, middle].sum(1) / PERFECT - train.y[train.labeled]).abs()
    if gap.isnan().any() or gap.median() > 0.02:
        raise ValueError("musdl learns the execution that the judges' middle scores add up to: use target='execution'")
    reseed(generator)
    x = train.frame.mean(1)
    centers = torch.linspace(0, 10, 21, device=x.device)
    width = o.sigma * 0.5
    net = layers(x.shape[1], 256, 128, SEATS * len(centers)).append(torch.nn.Unflatten(1, (SEATS, -1)))
    net = net.to(x.device)
    draw = Batches(train, o, generator)

    def loss(step: int) -> dict[str, Tensor]:
        i = draw.labeled()
        kept = ~judges[i].isnan()  # (B, 7)
        each = divergence(normal_bins(judges[i].nan_to_num(0), centers, width), net(x[i]))
        return {"L_all": (each * kept).sum() / len(i)}

    def score(frame: Tensor) -> Tensor:
        return read_bins(net(frame.mean(1)), centers, o.read)[:, middle].sum(1) / PERFECT

    return Training(net, loss, score, o.steps, o.lr, draw.samplers)
