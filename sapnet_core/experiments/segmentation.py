"""Quality of a segmentation into subactions: temporal IoU and boundary error against annotated transitions.

A segmentation of a video of F frames into K subactions is given by its K - 1 *bounds* in ascending order; subaction k
is the half-open span [bound k-1, bound k), the first begins at 0 and the last ends at F. An annotated transition at
frame s, the first frame of the next subaction, is the bound s. The parser and k-means work on T sampled frames instead:
there a bound is the number of sampled frames before it, and `source_bounds` converts it to the source video.

Only videos with exactly K annotated subactions can be compared in order; `transition_bounds` selects them and tells
which they are, so that their share can be reported. Everything here is for evaluation; no method learns from it.
"""

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor

from sapnet_core.datasets.records import Record

__all__ = [
    "temporal_iou",
    "tiou_accuracy",
    "boundary_error",
    "best_partition",
    "bounds_of_labels",
    "bounds_of_activations",
    "bounds_of_key_frames",
    "source_bounds",
    "transition_bounds",
    "mean_positions",
]


def temporal_iou(start_a: Tensor, end_a: Tensor, start_b: Tensor, end_b: Tensor) -> Tensor:
    """Intersection over union of half-open spans [start, end).

    Args:
        start_a, end_a, start_b, end_b: tensors of any shapes that can be broadcast against each other, such as (B, K).

    Returns:
        float64 in [0, 1], of the broadcast shape; 0 where both spans are empty.
    """
    start_a, end_a, start_b, end_b = (torch.as_tensor(x).double() for x in (start_a, end_a, start_b, end_b))
    shared = (torch.minimum(end_a, end_b) - torch.maximum(start_a, start_b)).clamp(min=0)
    union = (end_a - start_a) + (end_b - start_b) - shared
    return shared / union.clamp(min=torch.finfo(union.dtype).tiny)


def _same(pred_bounds: Tensor, true_bounds: Tensor) -> tuple[Tensor, Tensor]:
    pred, true = torch.as_tensor(pred_bounds).double(), torch.as_tensor(true_bounds).double()
    if pred.dim() != 2 or pred.shape != true.shape:
        raise ValueError(f"bounds have shapes {tuple(pred.shape)} and {tuple(true.shape)}: give both as (B, K-1)")
    return pred, true


def tiou_accuracy(pred_bounds: Tensor, true_bounds: Tensor, frames: Tensor | float, threshold: float) -> Tensor:
    """Share of a video's true subactions whose predicted counterpart in order has a temporal IoU ≥ threshold.

    The mean over videos is the share over all subactions, because every video has K.

    FineDiving's TSA (Xu et al., CVPR 2022) reports the same kind of metric, AIoU@0.5 and AIoU@0.75, with one
    difference: its code takes *one* span per dive, from the first transition to the last (the flight), and counts the
    dives whose span reaches the threshold. It therefore also covers dives with more than three subactions, and is
    easier: a take-off of few frames, whose IoU halves with an error of few frames, is not counted. TSA also learns from
    annotated transitions. That variant is `temporal_iou(pred[:, 0], pred[:, -1], first, last) >= threshold`.

    Args:
        pred_bounds, true_bounds: (B, K-1), ascending.
        frames: length F of the videos in the unit of the bounds, (B,) or one for all.
        threshold: in (0, 1].

    Returns:
        (B,) float64 in [0, 1].

    Raises:
        ValueError: shapes differ.
    """
    pred, true = _same(pred_bounds, true_bounds)
    last = torch.as_tensor(frames, device=pred.device).double().expand(len(pred)).unsqueeze(1)  # (B, 1)
    (a, b), (c, d) = (
        (torch.cat([torch.zeros_like(last), x], 1), torch.cat([x, last], 1))  # starts and ends (B, K)
        for x in (pred, true)
    )
    return (temporal_iou(a, b, c, d) >= threshold).double().mean(1)


def boundary_error(pred_bounds: Tensor, true_bounds: Tensor) -> Tensor:
    """Mean absolute distance of a video's bounds from the true ones: (B, K-1) each -> (B,) float64, in their unit.

    It is 0 for K = 1, where there are no bounds. Raises ValueError where shapes differ.
    """
    pred, true = _same(pred_bounds, true_bounds)
    return (pred - true).abs().sum(1) / max(1, pred.shape[1])


def best_partition(value: Tensor) -> Tensor:
    """Cut T frames into K ordered segments, none empty, so that the sum of all frames' values is largest.

    With C_k(b) the value of the first b frames under state k, the sum is Σ_k [C_k(b_k) - C_{k+1}(b_k)] plus a constant:
    the bounds contribute independently, and only their order couples them. The maximum is found by dynamic programming
    over k, for all videos and places at once.

    Args:
        value: (B, T, K), the value of assigning frame t to segment k.

    Returns:
        Bounds (B, K-1), int64, 1 <= b_1 < b_2 < ... < T. Among equal sums, the one with the earliest last bound is
        taken, then with the earliest last but one, and so on.

    Raises:
        ValueError: not three axes, a NaN, or fewer frames than segments.
    """
    if value.dim() != 3 or not 1 <= value.shape[2] <= value.shape[1]:
        raise ValueError(f"values have shape {tuple(value.shape)}: give (B, T, K) with 1 <= K <= T")
    if value.isnan().any():
        raise ValueError("values hold NaN: a partition needs a number for every frame and segment")
    frames, K = value.shape[1:]
    total = F.pad(value.double().cumsum(1), (0, 0, 1, 0))  # C_k(b), (B, T+1, K)
    gain = total[..., :-1] - total[..., 1:]  # contribution of each bound, (B, T+1, K-1)
    place = torch.arange(frames + 1, device=value.device)
    sums = []  # for each k, the best sum of the bounds up to k with bound k at b: K-1 tensors (B, T+1)
    for k in range(K - 1):
        before = 0.0
        if k:
            before = F.pad(sums[-1].cummax(1).values[:, :-1], (1, 0), value=-torch.inf)  # previous bound at most b-1
        allowed = (place > k) & (place < frames - (K - 2 - k))  # at least one frame per segment on either side
        sums.append((gain[..., k] + before).masked_fill(~allowed, -torch.inf))
    bounds, following = [], torch.full_like(total[:, 0, 0], frames, dtype=torch.int64)
    for best in reversed(sums):
        following = best.masked_fill(place >= following.unsqueeze(1), -torch.inf).argmax(1)
        bounds.insert(0, following)
    return torch.stack(bounds, 1) if bounds else following.new_zeros(len(value), 0)


def bounds_of_labels(labels: Tensor, K: int) -> Tensor:
    """The ordered segmentation that agrees with most frame labels.

    If the labels of a video change exactly K - 1 times, in order, the bounds are these changes. If a label recurs or is
    missing, the bounds are those with which most frames keep their label; every segment holds at least one frame.

    Args:
        labels: (B, T), int64 in 0 … K-1, numbered by time.
        K: number of segments, at most T.

    Returns:
        Bounds (B, K-1), int64, in sampled frames; ties as in `best_partition`.

    Raises:
        ValueError: labels outside 0 … K-1, a wrong shape, or K > T.
    """
    if labels.dim() != 2 or labels.is_floating_point():
        raise ValueError(f"labels are {labels.dtype} {tuple(labels.shape)}: give whole numbers (B, T)")
    if labels.numel() and not (0 <= int(labels.min()) and int(labels.max()) < K):
        raise ValueError(f"labels range from {int(labels.min())} to {int(labels.max())}: with K = {K} give 0 … {K - 1}")
    return best_partition(F.one_hot(labels.long(), K))


def bounds_of_activations(activations: Tensor) -> Tensor:
    """The ordered segmentation that is most probable under a parser's activations a_k(t).

    Eq. 6 treats states as independent, so a frame in state k has the log-probability
    log a_k + Σ_{j≠k} log(1 - a_j) = log a_k - log(1 - a_k) + a term that is the same for all k: logits are summed.

    Args:
        activations: probabilities (B, T, K), K <= T.

    Returns:
        Bounds (B, K-1), int64, in sampled frames; ties as in `best_partition`.

    Raises:
        ValueError: a value outside [0, 1], or a wrong shape.
    """
    a = activations.double()
    if not ((a >= 0) & (a <= 1)).all():
        raise ValueError("activations are outside of [0, 1]: give probabilities, the sigmoid of the logits")
    return best_partition(a.logit(eps=1e-9))


def bounds_of_key_frames(times: Tensor) -> Tensor:
    """Bounds as the network places them (`resampling_matrix`), midway between key frames t̄_k: (B, K) -> (B, K-1)."""
    times = times.double()
    return (times[:, 1:] + times[:, :-1]) / 2 + 0.5  # frame t covers the span from t to t + 1


def source_bounds(bounds: Tensor, steps: int, frames: Tensor) -> Tensor:
    """Convert bounds among T sampled frames to positions in the source video.

    Sampled frame t shows source frame t (F - 1) / (T - 1); a bound after b sampled frames lies midway between the
    centers of the frames before and after it.

    Args:
        bounds: (B, K-1) in sampled frames.
        steps: number of sampled frames T, at least 2.
        frames: number of source frames F of each video, (B,).

    Returns:
        (B, K-1) float64 in [0, F].
    """
    frames = torch.as_tensor(frames).double().unsqueeze(1)  # (B, 1)
    places = (bounds.double() - 0.5) * (frames - 1) / (steps - 1) + 0.5
    return torch.minimum(places.clamp(min=0), frames)


def transition_bounds(records: Sequence[Record], K: int) -> tuple[Tensor, Tensor, Tensor]:
    """Annotated bounds of the records with exactly K subactions.

    Returns:
        (kept (N,) bool, bounds (n, K-1) float64, frames (n,) float64); the latter two are for the n kept records, in
        order.

    Raises:
        ValueError: transitions of a kept record do not ascend inside its video.
    """
    kept = torch.tensor([bool(r.transitions) and len(r.transitions) == K - 1 for r in records], dtype=torch.bool)
    some = [r for r, keep in zip(records, kept.tolist(), strict=True) if keep]
    for r in some:
        edges = (0, *r.transitions, r.frames)
        if any(a > b for a, b in zip(edges[:-1], edges[1:], strict=True)):
            raise ValueError(f"{r.dataset} record {r.key}: transitions {r.transitions} do not ascend in 0 … {r.frames}")
    bounds = torch.tensor([r.transitions for r in some], dtype=torch.float64).reshape(len(some), K - 1)
    return kept, bounds, torch.tensor([r.frames for r in some], dtype=torch.float64)


def mean_positions(bounds: Tensor, frames: Tensor) -> Tensor:
    """Mean relative bounds of a set of videos, (N, K-1) and (N,) -> (K-1,) in [0, 1], as a constant baseline.

    Multiplied by a video's length, they give a segmentation that ignores the video's content, but uses annotated
    transitions, which unsupervised methods do not have.
    """
    return (bounds.double() / frames.double().unsqueeze(1)).mean(0)
