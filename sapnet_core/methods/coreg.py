"""COREG: co-training of two nearest-neighbor regressors with unlabeled videos.

Source: Zhou and Li, "Semi-Supervised Regression with Co-Training", IJCAI 2005. Each regressor h_j measures distance by
its own Minkowski order. It labels for the other the video of a pool that improves h_j's fit to its neighborhood most:

    delta_u = sum_{i in Omega_u} (y_i - h(x_i))^2 - (y_i - h'(x_i))^2 > 0,    u* = argmax_u delta_u

Omega_u are the k labeled neighbors of u, and h' is h with (x_u, h(x_u)) added. The output is the mean of both.
Published: k = 3, orders 2 and 5, pool of 100, 100 iterations. x is the time average of the clip features.
There is no network and no optimizer step. A run that was stopped therefore starts anew, without a checkpoint to resume
from, and the scored step cannot be chosen: a trial with another `select` than "last" is refused.
The only deviation is computational: h' is not refitted for each video u of the pool. Where u is nearer than the k-th
neighbor of a video, u replaces that neighbor, which gives the same delta_u.
"""

from collections.abc import Mapping

import torch
from torch import Tensor

from sapnet_core.methods.base import Fitted
from sapnet_core.methods.settings import options
from sapnet_core.methods.train_set import TrainSet
from sapnet_core.methods.video_batch import VideoBatch

__all__ = ["SETTINGS", "fit"]

SETTINGS = {"k": 3, "pool": 100, "iterations": 100, "orders": (2.0, 5.0), "co_training": True}


class _Neighbors:
    """One k-nearest-neighbor regressor: the indices of the videos in its training set (`known`), and their scores."""

    def __init__(self, distances: Tensor, order: float, known: Tensor, y: Tensor, k: int):
        self.distances, self.order, self.known, self.y, self.k = distances, order, known, y, min(k, len(known))

    def add(self, index: Tensor, score: Tensor) -> None:
        self.known, self.y = torch.cat([self.known, index]), torch.cat([self.y, score])

    def predict(self, distances: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """From distances to the known videos (n, known): scores (n,), neighbors (n, k) as positions in `known`, and
        their distances (n, k)."""
        far, near = distances.topk(self.k, largest=False)
        return self.y[near].mean(1), near, far

    def gains(self, pool: Tensor) -> tuple[Tensor, Tensor]:
        """The gain delta_u and the prediction h(x_u) of each video of the pool, (P,) each."""
        guess, near, far = self.predict(self.distances[pool][:, self.known])
        own, mine, reach = self.predict(self.distances[self.known][:, self.known])  # h at the known videos
        last = self.y[mine.gather(1, reach.argmax(1, keepdim=True))].squeeze(1)  # score of the k-th neighbor
        # h'(x_i): where u is nearer to i than its k-th neighbor, u replaces that neighbor
        enters = far < reach.amax(1)[near]  # (P, k)
        after = own[near] + enters * (guess.unsqueeze(1) - last[near]) / self.k
        y = self.y[near]
        return ((y - own[near]) ** 2 - (y - after) ** 2).sum(1), guess


def fit(train: TrainSet, settings: Mapping, generator: torch.Generator) -> Fitted:
    """Settings: `k`, `pool` (its size), `iterations`, `orders` (two Minkowski orders), `co_training` (False: the mean
    of two plain kNN regressors)."""
    o = options("coreg", settings, SETTINGS)
    x, labeled = train.frame.mean(1), train.labeled
    y = train.y[labeled]
    both = [_Neighbors(torch.cdist(x, x, p=float(p)), float(p), labeled, y, o.k) for p in o.orders]
    rest = torch.nonzero(train.y.isnan()).flatten()
    rest = rest[torch.randperm(len(rest), generator=generator).to(rest.device)]
    for _ in range(o.iterations if o.co_training else 0):
        found = []
        for h in both:
            pool = rest[: o.pool]  # a removed video is replaced by the next one in the shuffled order
            if not len(pool):
                break
            gain, guess = h.gains(pool)
            best = gain.argmax()
            if gain[best] > 0:
                found.append((h, pool[best : best + 1], guess[best : best + 1]))
                rest = rest[rest != pool[best]]
        for h, index, score in found:
            both[h is both[0]].add(index, score)  # add it to the other regressor
        if not found:
            break

    def predict(videos: VideoBatch) -> Tensor:
        mean = videos.frame.mean(1)
        return sum(h.predict(torch.cdist(mean, x[h.known], p=h.order))[0] for h in both) / 2

    added = sum(len(h.known) - len(labeled) for h in both)
    return Fitted(predict, [{"step": 0, "added": float(added)}])
