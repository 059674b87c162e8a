"""Pseudo-labels: unlabeled videos learn the scores of their labeled neighbors, as distributions of adapted width.

Source: Hou et al., "Semi-supervised Adaptive Label Distribution Learning for Facial Age Estimation", AAAI 2017, which
the paper cites in this row ([22]); known here from its abstract and from a published description of its steps.

    L = 1/N_l sum_l KL(d(y_l) || p_l) + w 1/N_u sum_u KL(d(y~_u) || p_u),    p = softmax(f(x))
    d_c(y) ~ exp(-(c - y)^2 / (2 sigma_y^2)),    y~_u = mean score of the K nearest labeled videos
    distance(u, l) = ||x_u - x_l||^2 + alpha KL(p_u || p_l)

After a warm-up on the labeled videos, training goes in rounds. Each round starts with new pseudo-scores y~_u. Then
every bin y gets a new width: the sigma_y that minimizes the sum of KL(d(y) || p) over the trusted videos of this bin.
A video is trusted if its prediction is off its score or pseudo-score by at most the mean absolute error.
Published: sigma_y = 3 years at first, K = 10, alpha = 1e-3, prediction is the largest bin.
Deviations: f has the layers of I3D+MLP instead of one linear map, is trained with Adam in batches that have as many
unlabeled as labeled videos (w = 1), and has 101 bins, of which 5 are about the share of the range that 3 years are of
the ages; the best width is taken from a grid (`WIDTHS`) instead of by an interior-point method, and a bin without a
trusted video keeps its width; the predicted score is by default the mean of p, as in `methods.usdl`.
"""

from collections.abc import Mapping

import torch
from torch import Tensor

from sapnet_core.methods.base import Training
from sapnet_core.methods.building_blocks import Batches, layers, reseed, views
from sapnet_core.methods.settings import TRAINING, options
from sapnet_core.methods.train_set import TrainSet
from sapnet_core.methods.usdl import divergence, normal_bins, read_bins
from sapnet_core.methods.video_batch import VideoBatch

__all__ = ["SETTINGS", "WIDTHS", "adapted_widths", "pseudo_scores", "training"]

SETTINGS = {
    "weight": 1.0,
    "sigma": 5.0,
    "bins": 101,
    "neighbors": 10,
    "alpha": 1e-3,
    "adaptive": True,
    "warmup": 0.4,
    "rounds": 4,
    "read": "mean",
    "ordered": False,
    **{name: value for name, value in TRAINING.items() if name != "unit_targets"},
}
WIDTHS = tuple(0.5 * 1.2**i for i in range(22))  # in bins: 0.5 … 23


def pseudo_scores(x: Tensor, logits: Tensor, y: Tensor, neighbors: int, alpha: float) -> Tensor:
    """Scores of all videos: their own where labeled, else the mean score of the nearest labeled videos.

    Args:
        x: features (N, D).
        logits: of the predicted distributions p (N, C).
        y: scores (N,), NaN where unlabeled.
        neighbors: K, limited to the number of labeled videos.
        alpha: weight of KL(p_u || p_l) in the distance, beside the squared distance of the features.

    Returns:
        scores (N,), all finite.
    """
    known, hidden = torch.nonzero(~y.isnan()).flatten(), y.isnan()
    p, log_p = logits.softmax(-1), logits.log_softmax(-1)
    entropy = (p * log_p).sum(-1, keepdim=True)
    far = torch.cdist(x, x[known]).square() + alpha * (entropy - p @ log_p[known].T)  # (N, N_l)
    near = far.topk(min(neighbors, len(known)), dim=1, largest=False).indices
    return torch.where(hidden, y[known][near].mean(1), y)


def adapted_widths(scores: Tensor, logits: Tensor, trusted: Tensor, centers: Tensor, widths: Tensor) -> Tensor:
    """The width of each bin that minimizes the sum of KL(d(y) || p) over its trusted videos.

    Args:
        scores: scores or pseudo-scores (N,), which tell the bin of each video.
        logits: of the predicted distributions p (N, C).
        trusted: (N,) bool.
        centers: evenly spaced centers of the bins (C,).
        widths: present widths (C,), in the unit of the centers, kept where a bin has no trusted video.

    Returns:
        widths (C,) in the unit of the centers.
    """
    gap = centers[1] - centers[0]
    grid = gap * torch.tensor(WIDTHS, device=centers.device)
    rows = torch.nonzero(trusted).flatten()
    bins = ((scores[rows] - centers[0]) / gap).round().long().clamp(0, len(centers) - 1)
    costs = [divergence(normal_bins(scores[rows], centers, width), logits[rows]) for width in grid]
    totals = torch.zeros(len(grid), len(centers), device=centers.device).index_add(1, bins, torch.stack(costs))
    found = torch.zeros_like(widths, dtype=torch.bool).index_fill(0, bins, True)
    return torch.where(found, grid[totals.argmin(0)], widths)


def training(train: TrainSet, settings: Mapping, generator: torch.Generator) -> Training:
    """Settings: `weight` (w, 0: labeled videos alone), `sigma` (first width in bins), `bins`, `neighbors` (K), `alpha`,
    `adaptive` (False: all widths stay `sigma`), `warmup` (share of the steps), `rounds`, `read`, `ordered` (E18), and
    the training settings without `unit_targets`."""
    o = options("pseudo-labels", settings, SETTINGS)
    o.unit_targets = False
    reseed(generator)
    x = views(train.frame, o.ordered)
    net = layers(x.shape[1], 256, 128, o.bins).to(x.device)
    draw = Batches(train, o, generator)
    top = max(1.0, float(train.y[train.labeled].max()))  # bins reach from 0 to 1, or to the best score if higher
    centers = torch.linspace(0, top, o.bins, device=x.device)
    gap = top / (o.bins - 1)
    start = int(o.warmup * o.steps)
    renew = max(1, (o.steps - start) // o.rounds)
    scores = draw.y.clone()
    widths = torch.full_like(centers, o.sigma * gap)

    def renewed() -> None:
        """Renew pseudo-scores and widths from the present predictions."""
        with torch.no_grad():
            logits = net(x)
            scores[:] = pseudo_scores(x, logits, draw.y, o.neighbors, o.alpha)
            if o.adaptive:
                error = (read_bins(logits, centers, o.read) - scores).abs()
                widths[:] = adapted_widths(scores, logits, error <= error.mean(), centers, widths)

    def distance(rows: Tensor) -> Tensor:
        y = scores[rows]
        bins = (y / gap).round().long().clamp(0, o.bins - 1)
        return divergence(normal_bins(y, centers, widths[bins].unsqueeze(1)), net(x[rows])).mean()

    def loss(step: int) -> dict[str, Tensor]:
        pseudo = o.weight and step >= start
        if pseudo and (step - start) % renew == 0:
            renewed()
        terms = {"L_kl": distance(draw.labeled())}
        terms["L_all"] = terms["L_kl"]
        if pseudo:
            terms["L_pseudo"] = distance(draw.unlabeled())
            terms["L_all"] = terms["L_all"] + o.weight * terms["L_pseudo"]
        return terms

    def score(videos: VideoBatch) -> Tensor:
        return read_bins(net(views(videos.frame, o.ordered)), centers, o.read)

    return Training(net, loss, score, o.steps, o.lr, draw.samplers, {"scores": scores, "widths": widths})
