"""Pseudo-labels of subactions without any annotation: k-means, then Algorithm 1 (Eq. 3).

A video's frames are clustered into M latent states; a greedy subset selection keeps the K states that represent the
frames best; every frame takes its nearest kept state; kept states are numbered by time, so label 0 comes first.

All steps need only distances between frames and weighted means of frames. The Gram matrix X Xᵀ is therefore computed
once, and neither k-means nor the selection touches the C channels again. Where frames are interpolated from fewer
steps, the Gram matrix of the steps is enough. Labels carry no gradient, and nothing here is random.
"""

from functools import cache

import torch
import torch.nn.functional as F
from torch import Tensor

from sapnet_core.runtime.values import whole

__all__ = [
    "kmeans",
    "select_states",
    "greedy_states",
    "pseudo_labels",
    "gram_pseudo_labels",
    "dataset_pseudo_labels",
    "present",
]


def kmeans(x: Tensor, M: int, iterations: int = 10) -> tuple[Tensor, Tensor]:
    """Lloyd's k-means, every video of the batch on its own.

    It starts from M equal windows of time, so it is deterministic, and runs a fixed number of iterations. The center
    of a cluster that has lost all its frames moves to the frame that lies farthest from its own center.

    Args:
        x: features (B, T, C).
        M: number of clusters, at most T.
        iterations: number of Lloyd steps.

    Returns:
        Centers (B, M, C), and the nearest center of each frame (B, T), int64. Ties go to the lowest index.

    Raises:
        ValueError: M exceeds the number of frames, or a number is not a whole number in its range.
    """
    middle = x.mean(1, keepdim=True)  # centering leaves distances unchanged and reduces rounding errors
    shares, squared = _lloyd(_Gram(_gram(x - middle)), _windows(x.shape[:2], M, x), iterations)
    return shares @ x, squared.min(1).indices  # (B, M, T) @ (B, T, C) -> (B, M, C)


def select_states(x: Tensor, centers: Tensor, K: int) -> Tensor:
    """Algorithm 1: K of M states, chosen greedily to minimize Z of Eq. 3, frames' mean distance to the nearest one.

    Args:
        x: features (B, T, C).
        centers: latent states (B, M, C).
        K: number of states to keep, at most M.

    Returns:
        Indices (B, K) in the order of choice. Ties go to the lowest index; sums are taken in float64.

    Raises:
        ValueError: K is not a whole number in [1, M].
    """
    middle = x.mean(1, keepdim=True)
    x, centers = x - middle, centers - middle
    squared = x.square().sum(2).unsqueeze(1) - 2 * centers @ x.transpose(1, 2) + centers.square().sum(2, keepdim=True)
    return greedy_states(squared.clamp(min=0).double().sqrt(), K)


def pseudo_labels(x: Tensor, M: int, K: int, iterations: int = 10) -> Tensor:
    """Subaction label of every frame, from each video alone (E6, cluster scope "video").

    Args:
        x: features (B, T, C) for both clustering and selection, F̂ or F (E4).
        M: number of latent states of k-means.
        K: number of states to keep, K <= M <= T.
        iterations: number of Lloyd steps.

    Returns:
        Labels (B, T), int64 in 0 … K-1, numbered by the mean time of their frames. A video whose frames use fewer
        than K states has the lowest numbers; `present` tells which labels occur.

    Raises:
        ValueError: K <= M <= T does not hold, or a number is not a whole number in its range.
    """
    return gram_pseudo_labels(_gram(x - x.mean(1, keepdim=True)), M, K, iterations)


@torch.no_grad()
def gram_pseudo_labels(gram: Tensor, M: int, K: int, iterations: int = 10, mix: Tensor | None = None) -> Tensor:
    """Same as `pseudo_labels`, but from inner products alone.

    Args:
        gram: inner products of the frames (B, T, T); with `mix`, of the steps (B, S, S) the frames are mixed from.
        M, K, iterations: as in `pseudo_labels`.
        mix: the weight of each step in each frame (T, S), as from `parsing.interpolation_matrix`.
    """
    frames = gram.shape[1] if mix is None else len(mix)
    _, squared = _lloyd(_Gram(gram, mix), _windows((len(gram), frames), M, gram), iterations)
    return _labels(squared.double().sqrt(), K)


@torch.no_grad()
def dataset_pseudo_labels(x: Tensor, M: int, K: int, iterations: int = 10) -> Tensor:
    """Labels that mean the same in all videos: one k-means over all frames of a data set (cluster scope "dataset").

    States are selected once over all frames and numbered by the mean normalized time of their frames. Because all
    videos have T frames, a frame's index serves as its time.

    Args:
        x: features (N, T, C) of a whole data set.
        M, K, iterations: as in `pseudo_labels`.

    Returns:
        Labels (N, T), int64 in 0 … K-1.
    """
    videos, frames, channels = x.shape
    flat = x.reshape(1, videos * frames, channels)  # (1, N·T, C)
    start = _windows((1, frames), M, x).repeat(1, 1, videos)  # (1, M, N·T): windows of time, over all videos
    _, squared = _lloyd(_Vectors(flat - flat.mean(1, keepdim=True)), start, iterations)
    time = torch.arange(frames, device=x.device).repeat(videos)
    return _labels(squared.double().sqrt(), K, time).reshape(videos, frames)


def present(labels: Tensor, K: int) -> Tensor:
    """Which of the K labels occur in each video: (B, T) -> (B, K) bool."""
    return F.one_hot(labels, K).any(1)


def _gram(x: Tensor) -> Tensor:
    return x @ x.transpose(1, 2)  # (B, T, C) @ (B, C, T) -> (B, T, T)


def _windows(shape: tuple[int, int], M: int, like: Tensor) -> Tensor:
    """One-hot membership of T frames in M equal windows of time, (B, M, T) in the dtype and on the device of `like`."""
    batch, frames = shape
    whole("M", M)
    if M > frames:
        raise ValueError(f"k-means needs 1 <= M <= frames, got M = {M} and {frames} frames: lower M")
    return _equal_windows(frames, M, like.dtype, like.device).expand(batch, -1, -1)


@cache
def _equal_windows(frames: int, M: int, dtype: torch.dtype, device: torch.device) -> Tensor:
    with torch.inference_mode(False):  # a tensor cached during inference must be usable in training, too
        window = torch.arange(frames, device=device) * M // frames
        return (window == torch.arange(M, device=device).unsqueeze(1)).to(dtype)  # (M, T)


def _members(index: Tensor, M: int, like: Tensor) -> Tensor:
    """One-hot encoding of indices (B, T) in 0 … M-1, (B, M, T) in the dtype of `like`."""
    return (index.unsqueeze(1) == torch.arange(M, device=index.device).unsqueeze(1)).to(like.dtype)


class _Vectors:
    """Frames given as vectors (B, T, C). `distances` omits the term <x_t, x_t>, which is the same for every center."""

    def __init__(self, x: Tensor):
        self.x, self.own = x, x.square().sum(2).unsqueeze(1)  # (B, 1, T)

    def sums(self, members: Tensor) -> Tensor:
        return members @ self.x  # (B, M, T) @ (B, T, C) -> (B, M, C)

    def distances(self, centers: Tensor) -> Tensor:
        # ||x_t - s_m||² = <x_t, x_t> - 2 <x_t, s_m> + <s_m, s_m>
        norms = centers.square().sum(2, keepdim=True)  # (B, M, 1)
        return torch.add(norms, centers @ self.x.transpose(1, 2), alpha=-2)  # (B, M, T)


class _Gram:
    """Frames given by inner products: their own (B, T, T), or those of S steps (B, S, S) mixed by `mix` (T, S).

    The interface is that of `_Vectors`, but a center is represented by its weights on the frames (B, M, T) or, with
    `mix`, on the steps (B, M, S).
    """

    def __init__(self, gram: Tensor, mix: Tensor | None = None):
        self.gram, self.mix = gram, mix
        own = gram.diagonal(dim1=1, dim2=2) if mix is None else ((mix @ gram) * mix).sum(2)
        self.own = own.unsqueeze(1)  # (B, 1, T)

    def sums(self, members: Tensor) -> Tensor:
        return members if self.mix is None else members @ self.mix  # (B, M, T) @ (T, S)

    def distances(self, centers: Tensor) -> Tensor:
        cross = centers @ self.gram  # (B, M, S) @ (B, S, S)
        norms = (centers * cross).sum(2, keepdim=True)  # (B, M, 1)
        return torch.add(norms, cross if self.mix is None else cross @ self.mix.T, alpha=-2)  # (B, M, T)


def _nearest(distance: Tensor) -> Tensor:
    """One-hot assignment of each frame to its nearest center, ties to the lowest index: (B, M, T) -> (B, M, T)."""
    if distance.device.type == "cpu":  # eight times as fast as taking indices; valid only if no distances tie
        members = torch.eq(distance, distance.amin(1, keepdim=True), out=torch.empty_like(distance))
        if members.sum() == len(distance) * distance.shape[2]:
            return members
    return _members(distance.min(1).indices, distance.shape[1], distance)


@torch.no_grad()
def _lloyd(frames: _Vectors | _Gram, members: Tensor, iterations: int) -> tuple[Tensor, Tensor]:
    """Lloyd's algorithm from initial memberships (B, M, T), none of them empty.

    Returns the centers, in the representation of `frames`, and the squared distances (B, M, T).
    """
    whole("iterations", iterations, 0)
    M, T = members.shape[1:]
    # stop at convergence on a CPU, where reading values costs nothing; a GPU would have to synchronize
    early_exit = members.device.type == "cpu"
    centers = distance = None
    for _ in range(iterations + 1):
        count = members.sum(2, keepdim=True)  # (B, M, 1)
        empty = count == 0
        filled = early_exit and not empty.any()
        if distance is not None and not filled:
            # restart the j-th empty cluster at the frame that is j-th farthest from its center
            nearest = (frames.own + distance).amin(1)  # (B, T)
            farthest = nearest.sort(dim=1, descending=True, stable=True).indices[:, :M]  # (B, M)
            seed = farthest.gather(1, (empty.squeeze(2).cumsum(1) - 1).clamp(min=0))
            members = torch.where(empty, F.one_hot(seed, T).to(members.dtype), members)
        before, centers = centers, frames.sums(members) / count.clamp(min=1)
        if filled and before is not None and torch.equal(before, centers):
            break  # converged
        distance = frames.distances(centers)
        members = _nearest(distance)
    return centers, (frames.own + distance).clamp(min=0)


def greedy_states(distance: Tensor, K: int) -> Tensor:
    """Algorithm 1, as in `select_states`, on float64 distances between states and frames: (B, M, T) -> (B, K).

    Raises ValueError where K is not a whole number in [1, M].
    """
    states = distance.shape[1]
    whole("K", K)
    if K > states:
        raise ValueError(f"the selection needs 1 <= K <= M, got K = {K} and M = {states}: lower K or raise M")
    joint, chosen = distance, []
    for _ in range(K):
        # Z(Γ ∪ {z}) = 1/T Σ_t min(min_{i in Γ} ||F̂_t - s_i||, ||F̂_t - s_z||)                                  (Eq. 3)
        cost = joint.mean(2)  # (B, M)
        for earlier in chosen:
            cost.scatter_(1, earlier, torch.inf)
        best = cost.argmin(1, keepdim=True)  # (B, 1)
        chosen.append(best)
        joint = torch.minimum(distance, _pick(joint, best))  # distance to the nearest state in Γ ∪ {z}, for every z
    return torch.cat(chosen, 1)  # (B, K)


def _pick(distance: Tensor, states: Tensor) -> Tensor:
    """The distances to the states with these indices: (B, M, T), (B, K) -> (B, K, T)."""
    return distance.gather(1, states.unsqueeze(2).expand(-1, -1, distance.shape[2]))


def _labels(distance: Tensor, K: int, time: Tensor | None = None) -> Tensor:
    """Label each frame with its nearest selected state, states numbered by mean time: (B, M, T) -> (B, T)."""
    assign = _pick(distance, greedy_states(distance, K)).min(1).indices  # (B, T)
    members = _members(assign, K, distance)  # (B, K, T)
    time = torch.arange(assign.shape[1], device=assign.device) if time is None else time
    when = (members * time).sum(2) / members.sum(2)  # (B, K); nan where a state has no frame
    rank = when.nan_to_num(nan=torch.inf).argsort(dim=1, stable=True).argsort(dim=1)  # empty states come last
    return rank.gather(1, assign)
