"""Self-supervised subaction parsing (Section III-C.2, Fig. 3): which frame belongs to which subaction.

The parts are the attention refinement F -> F̂, an up-sampling decoder from clip steps to frames, an MLP that gives K
probabilities per frame (Eq. 4), the key frame t̄_k of each subaction (Eq. 5), and the parsed features F̄, resampled to
a fixed length. Frame t of T lies at time t / (T - 1) of the video, as do the positions of the clip steps.
"""

from functools import cache, lru_cache

import torch
import torch.nn.functional as F
from torch import Tensor, nn

__all__ = [
    "AttentionRefinement",
    "TemporalDecoder",
    "PSNetDecoder",
    "SubactionParser",
    "doubling",
    "even_frames",
    "interpolation_matrix",
    "kept_matrix",
    "key_frames",
    "resampling_matrix",
]


def interpolation_matrix(positions: Tensor, steps: int, frames: int) -> Tensor:
    """Matrix that interpolates linearly from uneven times to the centers of equal parts of T frames (E1).

    Beyond the first and last time, the interpolation is constant.

    Args:
        positions: times (S,) in any order, 0 at the first frame and 1 at the last.
        steps: number of equal parts; if it equals `frames`, the parts are the frames themselves.
        frames: number of frames T.

    Returns:
        (steps, S); each row holds at most two nonzero weights, which sum to 1.
    """
    order = positions.argsort(stable=True)
    known = positions[order].contiguous()
    center = (torch.arange(steps, device=known.device, dtype=known.dtype) + 0.5) * (frames / steps) - 0.5  # in frames
    target = (center / (frames - 1)).clamp(known[0], known[-1])
    right = torch.searchsorted(known, target).clamp(1, len(known) - 1)
    left = right - 1
    share = ((target - known[left]) / (known[right] - known[left]).clamp(min=1e-6)).unsqueeze(1)  # (steps, 1)
    left, right = (F.one_hot(order[side], len(known)) for side in (left, right))  # (steps, S)
    return left * (1 - share) + right * share


@lru_cache(maxsize=8)  # tensors hash by identity, so only the same tensor object hits the cache
def kept_matrix(positions: Tensor, steps: int, frames: int) -> Tensor:
    """`interpolation_matrix` (steps, S) of `positions` (S,), cached per tensor: training needs it at every step."""
    with torch.inference_mode(False):  # a tensor cached during inference must be usable in training, too
        return interpolation_matrix(positions, steps, frames)


class AttentionRefinement(nn.Module):
    """Attention F̂ = F ⊗ σ(conv₁ₓ₁(GAP(F))): weights in (0, 1) per channel; (B, S, C) -> (B, S, C).

    GAP, the global average pooling, is over the whole video, so that a video has one weight per channel (E4). With
    `per_step` it is over space alone, as "F_w^t" can be read too: each step then has weights of its own.
    """

    def __init__(self, channels: int, per_step: bool = False):
        super().__init__()
        self.per_step = per_step
        self.conv = nn.Conv1d(channels, channels, 1)

    def weights(self, x: Tensor) -> Tensor:
        """Attention weights σ(conv₁ₓ₁(GAP(F))): (B, S, C) -> (B, 1, C), or (B, S, C) with `per_step`."""
        pooled = x if self.per_step else x.mean(1, keepdim=True)
        return torch.sigmoid(F.linear(pooled, self.conv.weight.squeeze(2), self.conv.bias))

    def forward(self, x: Tensor) -> Tensor:
        return x * self.weights(x)


def _norm(kind: str, channels: int) -> nn.Module:
    if kind == "batch":
        return nn.BatchNorm1d(channels)
    if kind == "group":  # at least 8 channels per group; normalizes each video alone, so any batch size works
        return nn.GroupNorm(max(g for g in (1, 2, 4, 8) if g == 1 or channels % (8 * g) == 0), channels)
    return nn.Identity()


class _FlatConv(nn.Conv1d):
    """Conv1d of kernel size 3, computed as one matrix product: a quarter faster than PyTorch's Conv1d on a CPU, and for
    stacked runs (`torch.vmap`) still one product instead of a grouped convolution."""

    def forward(self, x: Tensor) -> Tensor:
        taps = x.transpose(1, 2) @ self.weight.permute(1, 2, 0).flatten(1)  # (B, T, C) @ (C, 3*O) -> (B, T, 3*O)
        before, here, after = taps.chunk(3, 2)
        before, after = F.pad(before[:, :-1], (0, 0, 1, 0)), F.pad(after[:, 1:], (0, 0, 0, 1))
        return (before + (here + self.bias) + after).transpose(1, 2)  # (B, O, T)


@cache
def doubling(steps: int, device: torch.device) -> Tensor:
    """Matrix (T', 2T') of linear interpolation to twice as many steps; faster than interpolating the features."""
    with torch.inference_mode(False):  # a tensor cached during inference must be usable in training, too
        even = torch.eye(steps, device=device)[None]
        return F.interpolate(even, scale_factor=2, mode="linear", align_corners=False)[0]


class TemporalDecoder(nn.Module):
    """Up-sampling decoder along time, with the printed sizes (E1): (C, 12), (C/2, 24), (C/4, 48), (C/8, 96) at T = 96.

    Clip steps are interpolated to T/8 equal steps. Each sub-block convolves over time (k = 3), and all but the first
    halve the channels and double the time by linear interpolation. The convolution comes before the doubling, which
    halves the cost. `base` replaces C after the first convolution, for a narrower decoder. (B, S, C) -> (B, T, base/8).

    Given the attention weights (B, 1 or S, C), the decoder decodes F̂ instead of F. It applies weights of a whole video
    after the interpolation, which commutes with them and leaves fewer steps to multiply.
    """

    def __init__(self, channels: int, frames: int, norm: str = "group", base: int | None = None):
        super().__init__()
        base = base or channels
        self.frames, self.width = frames, base // 8
        widths = (channels, base, base // 2, base // 4, base // 8)
        self.convs = nn.ModuleList(_FlatConv(a, b, 3, padding=1) for a, b in zip(widths[:-1], widths[1:], strict=True))
        self.norms = nn.ModuleList(_norm(norm, b) for b in widths[1:])

    def forward(self, x: Tensor, positions: Tensor, weights: Tensor | None = None) -> Tensor:
        steps = kept_matrix(positions, self.frames // 8, self.frames).to(x)  # (T/8, S)
        if weights is None:
            x = steps @ x  # (B, S, C) -> (B, T/8, C)
        else:
            x = (steps @ x) * weights if weights.shape[1] == 1 else steps @ (x * weights)
        x = x.transpose(1, 2)  # (B, C, T/8)
        for block, (conv, norm) in enumerate(zip(self.convs, self.norms, strict=True)):
            x = torch.relu(norm(conv(x)))
            if block:
                x = x @ doubling(x.shape[2], x.device).to(x)  # (B, C', T') @ (T', 2T')
        return x.transpose(1, 2)  # (B, base/8, T) -> (B, T, base/8)


class PSNetDecoder(nn.Module):
    """Up-sampling decoder as in FineDiving's PSNet [13]: clip steps are the channels of 1-D convolutions (E1).

    The convolutions run along the C feature values. Four blocks widen time S -> T/8 -> T/4 -> T/2 -> T; each block but
    the first starts with a max-pool that halves the feature axis C -> C/2 -> C/4 -> C/8, then convolves twice (k = 3,
    norm, ReLU). As in PSNet, a channel is a clip of 16 frames: the two steps that I3D gives of a clip are averaged.
    (B, S, C) -> (B, T, C/8). Given the attention weights (B, 1 or S, C), it decodes F̂ instead of F.
    """

    def __init__(self, channels: int, frames: int, steps: int, norm: str = "batch"):
        super().__init__()
        self.width, self.per_clip = channels // 8, 1 if steps % 2 else 2
        times = (steps // self.per_clip, frames // 8, frames // 4, frames // 2, frames)
        blocks = []
        for block, (a, b) in enumerate(zip(times[:-1], times[1:], strict=True)):
            layers = [nn.MaxPool1d(2)] if block else []
            for inputs in (a, b):
                layers += [nn.Conv1d(inputs, b, 3, padding=1), _norm(norm, b), nn.ReLU()]
            blocks.append(nn.Sequential(*layers))
        self.blocks = nn.Sequential(*blocks)

    def forward(self, x: Tensor, positions: Tensor, weights: Tensor | None = None) -> Tensor:
        x = x if weights is None else x * weights
        return self.blocks(x if self.per_clip == 1 else x.unflatten(1, (-1, 2)).mean(2))  # (B, S, C) -> (B, S/2, C)


class SubactionParser(nn.Module):
    """Parser 𝔽_φ of Eq. 4: a decoder, then an MLP per frame; (B, S, C) -> features (B, T, D), logits (B, T, K).

    It decodes F, or F̂ where the weights (B, 1 or S, C) of `AttentionRefinement` are given. The MLP has three layers, as
    in FSPN by the same authors; the paper does not give their number. The sigmoid of the logits is the probability
    a_k(t); the parser returns logits because the cross-entropy is numerically stable on them.
    """

    def __init__(self, decoder: nn.Module, K: int):
        super().__init__()
        self.decoder = decoder
        hidden = [layer for _ in range(2) for layer in (nn.Linear(decoder.width, decoder.width), nn.ReLU())]
        self.mlp = nn.Sequential(*hidden, nn.Linear(decoder.width, K))

    def forward(self, x: Tensor, positions: Tensor, weights: Tensor | None = None) -> tuple[Tensor, Tensor]:
        features = self.decoder(x, positions, weights)
        return features, self.mlp(features)


@cache
def _outside(frames: int, K: int, device: torch.device) -> Tensor:
    """Whether frame t lies outside the k-th of K equal windows of time, (T, K) bool."""
    with torch.inference_mode(False):  # a tensor cached during inference must be usable in training, too
        window = torch.arange(frames, device=device) * K // frames  # (T,)
        return window[:, None] != torch.arange(K, device=device)


def key_frames(activations: Tensor) -> Tensor:
    """Key frames t̄_k: the most active frame of subaction k inside the k-th of K equal windows of time (Eq. 5).

    Args:
        activations: (B, T, K), probabilities or logits.

    Returns:
        Frame indices (B, K), int64, ascending in k; ties go to the earliest frame.
    """
    # t̄_k = argmax a_k(t) over T/K (k-1) <= t < T/K k                                                           (Eq. 5)
    return activations.masked_fill(_outside(*activations.shape[1:], activations.device), -torch.inf).max(1).indices


def even_frames(count: int, frames: int, K: int, device: torch.device) -> Tensor:
    """Key frames (count, K), int64, that cut each of `count` videos into K equal parts: the middle of each part."""
    middles = ((torch.arange(K, device=device) + 0.5) * frames / K).long()  # (K,)
    return middles.expand(count, K)


def resampling_matrix(times: Tensor, frames: int, steps: int) -> Tensor:
    """Weights that sample each subaction, in order, at `steps` evenly spaced places by linear interpolation.

    The paper does not say where a subaction ends. Here subaction k reaches from the midpoint between t̄_{k-1} and t̄_k
    to the midpoint between t̄_k and t̄_{k+1}; the first begins with the video, the last ends with it.

    Args:
        times: key frames t̄ (B, K), frame indices.
        frames: number of frames T.
        steps: number of places per subaction.

    Returns:
        (B, K·steps, T); its product with features (B, T, D) is F̄, which is differentiable in the features.
    """
    times = times.to(torch.get_default_dtype())
    middles = (times[:, 1:] + times[:, :-1]) / 2  # (B, K-1)
    first, last = torch.full_like(times[:, :1], -0.5), torch.full_like(times[:, :1], frames - 0.5)
    edges = torch.cat([first, middles, last], 1)  # (B, K+1)
    share = (torch.arange(steps, device=times.device) + 0.5) / steps  # centers of equal parts
    places = edges[:, :-1, None] + share * (edges[:, 1:] - edges[:, :-1]).unsqueeze(2)  # (B, K, steps)
    places = places.flatten(1).clamp(0, frames - 1).unsqueeze(2)  # (B, K·steps, 1)
    # linear interpolation as hat functions: a frame at distance d from the place has the weight max(0, 1 - d)
    return (1 - (places - torch.arange(frames, device=times.device)).abs()).clamp(min=0)
