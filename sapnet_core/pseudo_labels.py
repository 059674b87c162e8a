"""Pseudo-labels of subactions without any annotation: k-means, then Algorithm 1 (Eq. 3).

A video's frames are clustered into M latent states; a greedy subset selection keeps the K states which represent the
frames best; every frame takes its nearest kept state; kept states are numbered by time, so label 0 comes first.

All of it needs only distances between frames and weighted means of frames, hence the Gram matrix X Xᵀ once: neither
k-means nor the selection touches the C channels again. Nothing here carries a gradient, and nothing is random.
"""

from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import Tensor

__all__ = ["kmeans", "select_states", "greedy_states", "pseudo_labels", "gram_pseudo_labels", "dataset_pseudo_labels",
           "present"]  # fmt: skip

Distances = Callable[[Tensor], Tensor]  # each center's weights of the frames (B, M, T) -> squared distances, the same


def kmeans(x: Tensor, M: int, iterations: int = 10) -> tuple[Tensor, Tensor]:
    """Lloyd's k-means, every video of the batch on its own.

    It starts from M equal windows of time (deterministic), runs a fixed number of iterations and moves the center of
    a cluster which lost all its frames to the frame that lies farthest from its own center.

    Args:
        x: features (B, T, C).
        M: clusters, at most T.
        iterations: Lloyd steps.

    Returns:
        Centers (B, M, C), and the nearest center of each frame (B, T), int64. Ties go to the lowest index.

    Raises:
        ValueError: M exceeds the number of frames.
    """
    middle = x.mean(1, keepdim=True)  # distances do not change when the origin moves, rounding errors shrink
    weights, squared = _lloyd(_gram_distances(_gram(x - middle)), _windows(x.shape[:2], M, x), M, iterations)
    return weights @ x, squared.min(1).indices  # (B, M, T) @ (B, T, C) -> (B, M, C)


def select_states(x: Tensor, centers: Tensor, K: int) -> Tensor:
    """Algorithm 1: K of M states, chosen greedily to minimize Z of Eq. 3, the mean distance to the nearest one.

    Args:
        x: features (B, T, C).
        centers: latent states (B, M, C).
        K: states to keep, at most M.

    Returns:
        Indices (B, K) in the order of choice. Ties go to the lowest index; sums are taken in float64.
    """
    middle = x.mean(1, keepdim=True)
    x, centers = x - middle, centers - middle
    squared = x.square().sum(2).unsqueeze(1) - 2 * centers @ x.transpose(1, 2) + centers.square().sum(2, keepdim=True)
    return greedy_states(squared.clamp(min=0).double().sqrt(), K)


def pseudo_labels(x: Tensor, M: int, K: int, iterations: int = 10) -> Tensor:
    """Subaction label of every frame, from each video alone (E6, cluster scope "video").

    Args:
        x: features (B, T, C) that are clustered and selected from, F̂ or F (E4).
        M: latent states of k-means.
        K: states kept, K <= M <= T.
        iterations: Lloyd steps.

    Returns:
        Labels (B, T), int64 in 0 … K-1, numbered by the mean time of their frames. A video whose frames chose fewer
        than K states uses the lowest numbers; `present` tells which.
    """
    return gram_pseudo_labels(_gram(x - x.mean(1, keepdim=True)), M, K, iterations)


@torch.no_grad()
def gram_pseudo_labels(gram: Tensor, M: int, K: int, iterations: int = 10) -> Tensor:
    """As `pseudo_labels`, from the inner products of the frames (B, T, T) alone."""
    _, squared = _lloyd(_gram_distances(gram), _windows(gram.shape[:2], M, gram), M, iterations)
    return _labels(squared.double().sqrt(), K)


@torch.no_grad()
def dataset_pseudo_labels(x: Tensor, M: int, K: int, iterations: int = 10) -> Tensor:
    """Labels which mean the same in all videos: one k-means over all frames of the set (cluster scope "dataset").

    States are selected once over all frames and numbered by the mean normalized time of their frames. As the videos
    share a length, a frame's index is its time.

    Args:
        x: features (N, T, C) of a whole set.
        M, K, iterations: as in `pseudo_labels`.

    Returns:
        Labels (N, T), int64 in 0 … K-1.
    """
    videos, frames, channels = x.shape
    flat = x.reshape(1, videos * frames, channels)  # (1, N·T, C)
    flat = flat - flat.mean(1, keepdim=True)

    def distances(weights: Tensor) -> Tensor:
        centers = weights @ flat  # (1, M, N·T) @ (1, N·T, C) -> (1, M, C)
        cross = centers @ flat.transpose(1, 2)  # (1, M, N·T)
        return (flat.square().sum(2).unsqueeze(1) - 2 * cross + centers.square().sum(2, keepdim=True)).clamp(min=0)

    start = _windows((1, frames), M, x).repeat(1, videos)  # (1, N·T): windows of time, over all videos
    _, squared = _lloyd(distances, start, M, iterations)
    time = torch.arange(frames, device=x.device).repeat(videos)
    return _labels(squared.double().sqrt(), K, time).reshape(videos, frames)


def present(labels: Tensor, K: int) -> Tensor:
    """Which of the K labels any frame of each video carries: (B, T) -> (B, K) bool."""
    return F.one_hot(labels, K).any(1)


def _gram(x: Tensor) -> Tensor:
    return x @ x.transpose(1, 2)  # (B, T, C) @ (B, C, T) -> (B, T, T)


def _windows(shape: tuple[int, int], M: int, like: Tensor) -> Tensor:
    """The window of time, 0 … M-1, that each of T frames lies in: (B, T) int64."""
    batch, frames = shape
    if not 1 <= M <= frames:
        raise ValueError(f"k-means needs 1 <= M <= frames, got M = {M} and {frames} frames: lower M")
    return (torch.arange(frames, device=like.device) * M // frames).expand(batch, frames)


def _gram_distances(gram: Tensor) -> Distances:
    own = gram.diagonal(dim1=1, dim2=2).unsqueeze(1)  # (B, 1, T)

    def distances(weights: Tensor) -> Tensor:
        cross = weights @ gram  # (B, M, T) @ (B, T, T) -> (B, M, T)
        centers = (weights * cross).sum(2, keepdim=True)  # (B, M, 1)
        # ||x_t - s_m||² = <x_t, x_t> - 2 <x_t, s_m> + <s_m, s_m>
        return (own - 2 * cross + centers).clamp(min=0)

    return distances


@torch.no_grad()
def _lloyd(distances: Distances, assign: Tensor, M: int, iterations: int) -> tuple[Tensor, Tensor]:
    """From a first assignment (B, T) to center weights and squared distances, both (B, M, T)."""
    state = torch.arange(M, device=assign.device).unsqueeze(1)  # (M, 1)
    hurry = assign.device.type == "cpu"  # where it costs nothing to look at the numbers, needless work is left out
    weights = squared = None
    for _ in range(iterations + 1):
        members = (assign.unsqueeze(1) == state).float()  # (B, M, T)
        count = members.sum(2, keepdim=True)  # (B, M, 1)
        weights = members / count.clamp(min=1)
        empty = count.squeeze(2) == 0  # (B, M)
        whole = hurry and not empty.any()
        if squared is not None and not whole:
            # the j-th empty cluster starts again at the j-th farthest frame
            farthest = squared.amin(1).sort(dim=1, descending=True, stable=True).indices[:, :M]  # (B, M)
            seed = farthest.gather(1, (empty.cumsum(1) - 1).clamp(min=0))
            weights = torch.where(empty.unsqueeze(2), F.one_hot(seed, assign.shape[1]).float(), weights)
        squared, before = distances(weights), assign
        assign = squared.min(1).indices  # the lowest index among equals
        if whole and torch.equal(assign, before):
            break  # nothing moves from here on
    return weights, squared


def greedy_states(distance: Tensor, K: int) -> Tensor:
    """Algorithm 1 on the distances (B, M, T), float64, of each frame to each state: as `select_states`."""
    states = distance.shape[1]
    if not 1 <= K <= states:
        raise ValueError(f"the selection needs 1 <= K <= M, got K = {K} and M = {states}: lower K or raise M")
    joint, chosen = distance, []
    for _ in range(K):
        # Z(Γ ∪ {z}) = 1/T Σ_t min(min_{i in Γ} ||F̂_t - s_i||, ||F̂_t - s_z||)                                  (Eq. 3)
        cost = joint.mean(2)  # (B, M)
        for earlier in chosen:
            cost.scatter_(1, earlier, torch.inf)
        best = cost.argmin(1, keepdim=True)  # (B, 1)
        chosen.append(best)
        joint = torch.minimum(distance, _pick(joint, best))  # no farther than to the nearest chosen state
    return torch.cat(chosen, 1)  # (B, K)


def _pick(distance: Tensor, states: Tensor) -> Tensor:
    """Distances to some states: (B, M, T), (B, K) -> (B, K, T)."""
    return distance.gather(1, states.unsqueeze(2).expand(-1, -1, distance.shape[2]))


def _labels(distance: Tensor, K: int, time: Tensor | None = None) -> Tensor:
    """Each frame to its nearest selected state, states numbered by mean time: (B, M, T) -> (B, T)."""
    assign = _pick(distance, greedy_states(distance, K)).min(1).indices  # (B, T)
    members = F.one_hot(assign, K).transpose(1, 2).to(distance.dtype)  # (B, K, T)
    time = torch.arange(assign.shape[1], device=assign.device) if time is None else time
    when = (members * time).sum(2) / members.sum(2)  # (B, K); nan where no frame chose the state
    rank = when.nan_to_num(nan=torch.inf).argsort(dim=1, stable=True).argsort(dim=1)  # empty states come last
    return rank.gather(1, assign)
