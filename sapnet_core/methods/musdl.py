"""MUSDL: USDL for every judge of the panel, combined by the scoring rule of the sport.

Source: Tang et al., CVPR 2020, as USDL. Judge j gives a distribution q_j over 0, 0.5, ... 10 points:

    q_j = softmax(f_j(x)),    L = sum_j KL(p_j || q_j),    score = difficulty * sum of the three middle judges

Every judge has an MLP f_j of its own, with layers of 256, 128 and 21 units on the time average x. There are as many
as seats in the largest panel of the labeled videos.
Published: seven judges, 21 bins, three of seven count. It needs the judges' scores and learns execution, whose scaled
value is the sum of the middle three over 30; it rejects a dataset without judges' scores, or another target.
Deviations: seats change between events, so judges' scores are sorted and f_j predicts the j-th lowest score of a panel,
where the published f_j predicts the judge in seat j and the predictions are sorted. A smaller panel (FineDiving gives
7, 5 or 3 scores) takes the middle seats of the largest. The score is read from the distributions as in USDL, and the
divergence is summed over bins and averaged over videos, which scales the published loss. p_j has a standard deviation
of one bin, where the public code has five by default.
"""

from collections.abc import Mapping

import torch
from torch import Tensor, nn

from sapnet_core.methods.base import Training
from sapnet_core.methods.building_blocks import Batches, layers, reseed
from sapnet_core.methods.settings import OWN_UNITS, options
from sapnet_core.methods.train_set import TrainSet
from sapnet_core.methods.usdl import divergence, normal_bins, read_bins
from sapnet_core.methods.video_batch import VideoBatch

__all__ = ["SETTINGS", "training", "sorted_panels"]

SETTINGS = {"sigma": 1.0, "read": "mean", **OWN_UNITS}
COUNTING, PERFECT = 3, 30.0


def sorted_panels(judges: Tensor) -> Tensor:
    """Sort the scores of each panel into its middle seats: (N, J), NaN-padded -> (N, J), NaN in unused outer seats."""
    seats, size = judges.shape[1], (~judges.isnan()).sum(1, keepdim=True)
    rank = torch.arange(seats, device=judges.device) - (seats - size) // 2  # (N, J): index in the sorted panel
    ordered = judges.nan_to_num(torch.inf).sort(1).values
    seat = ordered.gather(1, rank.clamp(0, seats - 1))
    return seat.masked_fill((rank < 0) | (rank >= size), torch.nan)


class _Panel(nn.Module):
    """One MLP per judge: averaged features (B, C) -> logits (B, J, bins)."""

    def __init__(self, channels: int, judges: int, bins: int):
        super().__init__()
        self.judges = nn.ModuleList(layers(channels, 256, 128, bins) for _ in range(judges))

    def forward(self, x: Tensor) -> Tensor:
        return torch.stack([judge(x) for judge in self.judges], 1)


def training(train: TrainSet, settings: Mapping, generator: torch.Generator) -> Training:
    """Settings: `sigma` (in bins), `read` ("mean" or "mode", as in `read_bins`), and the training settings.

    Raises:
        ValueError: the dataset has no panels of at least three judges, a labeled video lacks its scores, or the target
            is not execution.
    """
    o = options("musdl", settings, SETTINGS)
    o.batch_unlabeled, o.unit_targets = 1, False
    if train.judges is None or train.judges.shape[1] < COUNTING:
        raise ValueError("musdl needs the scores of panels of three judges or more: choose a dataset that gives them")
    judges, seats = sorted_panels(train.judges), train.judges.shape[1]
    middle = slice((seats - COUNTING) // 2, (seats - COUNTING) // 2 + COUNTING)
    gap = (judges[train.labeled][:, middle].sum(1) / PERFECT - train.y[train.labeled]).abs()
    if gap.isnan().any() or gap.median() > 0.02:
        raise ValueError("musdl learns the execution that the judges' middle scores add up to: use target='execution'")
    reseed(generator)
    x = train.frame.mean(1)
    centers = torch.linspace(0, 10, 21, device=x.device)
    width = o.sigma * 0.5
    net = _Panel(x.shape[1], seats, len(centers)).to(x.device)
    draw = Batches(train, o, generator)

    def loss(step: int) -> dict[str, Tensor]:
        i = draw.labeled()
        kept = ~judges[i].isnan()  # (B, J)
        each = divergence(normal_bins(judges[i].nan_to_num(0), centers, width), net(x[i]))
        return {"L_all": (each * kept).sum() / len(i)}

    def score(videos: VideoBatch) -> Tensor:
        return read_bins(net(videos.frame.mean(1)), centers, o.read)[:, middle].sum(1) / PERFECT

    return Training(net, loss, score, o.steps, o.lr, draw.samplers)
