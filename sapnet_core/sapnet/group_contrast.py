"""Group contrastive learning (Section III-D, Eqs. 7 and 8, read as E9 and E10; after TCL, CVPR 2021).

Subactions of a mini-batch that carry the same label are averaged into one vector per label and branch. A label's
group in one branch should lie near its group in the other, and far from all groups of other labels.
"""

import math

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from sapnet_core.runtime.values import number, whole

__all__ = ["ProjectionHead", "subaction_groups", "group_means", "group_contrast"]


class ProjectionHead(nn.Module):
    """Projection head h_φ: three linear layers per step of F̄, averaged over steps; (B, K, steps, D) -> (B, K, P)."""

    def __init__(self, features: int, hidden: int, out: int):
        super().__init__()
        self.layers = nn.Sequential(
            nn.Linear(features, hidden), nn.ReLU(), nn.Linear(hidden, hidden), nn.ReLU(), nn.Linear(hidden, out)
        )

    def forward(self, parsed: Tensor) -> Tensor:
        return self.layers(parsed).mean(2)


def subaction_groups(activations: Tensor, sampling: Tensor, K: int) -> Tensor:
    """The label of each parsed subaction: the class whose activation, averaged over the subaction's steps, is largest.

    Args:
        activations: a_k(t) of Eq. 4 (B, T, K), or one-hot pseudo-labels of that shape.
        sampling: the resampling weights (B, K·steps, T) that produced F̄, from `resampling_matrix`.
        K: number of subactions.

    Returns:
        (B, K), int64; two subactions of one video may carry the same label.

    Raises:
        ValueError: K is not a whole number of at least 1.
    """
    whole("K", K)
    sampled = (sampling @ activations).unflatten(1, (K, -1))  # (B, K·steps, K) -> (B, K, steps, K)
    return sampled.mean(2).argmax(2)


def group_means(h: Tensor, groups: Tensor, K: int) -> tuple[Tensor, Tensor]:
    """Group vectors G^p: the mean projection of the subactions labeled p (Eq. 7, with T_B read as their number: E9).

    Args:
        h: projections (B, K, P).
        groups: their labels (B, K).

    Returns:
        Group vectors (K, P), zero for an empty group, and the number of members of each group (K,).
    """
    members = F.one_hot(groups.flatten(), K).to(h)  # (B·K, K)
    count = members.sum(0)  # (K,)
    # G^p = Σ_i 1[p = label_i] h_i / Σ_i 1[p = label_i]                                                    (Eq. 7, E9)
    return members.T @ h.flatten(0, 1) / count.clamp(min=1).unsqueeze(1), count  # (K, B·K) @ (B·K, P) -> (K, P)


def group_contrast(
    h_u: Tensor, groups_u: Tensor, h_a: Tensor, groups_a: Tensor, K: int, iota: float = 0.5, detach_teacher: bool = True
) -> Tensor:
    """L_gc (Eq. 8 as E10): InfoNCE between the groups of the student (u) and of the teacher (a).

    Every group of a label present in both branches is an anchor. Its positive is the same label in the other branch,
    its negatives are the other common labels in both branches. One common label alone, or none, gives exactly 0.

    Args:
        h_u, h_a: projections (B, K, P) of the two branches.
        groups_u, groups_a: their labels (B, K).
        iota: temperature ι.
        detach_teacher: treat the teacher's groups as constant targets without gradient.

    Returns:
        The loss, averaged over the anchors.

    Raises:
        ValueError: iota is not a positive number.
    """
    number("iota", iota, 0, math.inf, "least")
    mean_u, count_u = group_means(h_u, groups_u, K)
    mean_a, count_a = group_means(h_a, groups_a, K)
    if detach_teacher:
        mean_a = mean_a.detach()
    z = F.normalize(torch.cat([mean_u, mean_a]), dim=1)  # (2K, P)
    similarity = z @ z.T / iota  # cosine / ι, (2K, 2K)
    valid = ((count_u > 0) & (count_a > 0)).repeat(2)  # (2K,)
    itself = torch.eye(2 * K, dtype=torch.bool, device=z.device)
    others = similarity.masked_fill(itself | ~valid, torch.finfo(z.dtype).min / 2)
    positive = torch.cat([similarity.diagonal(K), similarity.diagonal(-K)])  # same label, other branch: (2K,)
    # L_gc = -log( exp(cos(G_u^p, G_a^p)/ι) / (exp(cos(G_u^p, G_a^p)/ι) + Σ_{q≠p, w} exp(cos(G_u^p, G_w^q)/ι)) ) (Eq. 8)
    loss = torch.where(valid, others.logsumexp(1) - positive, 0)
    return loss.sum() / valid.sum().clamp(min=1)
