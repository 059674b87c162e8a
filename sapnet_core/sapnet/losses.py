"""The loss terms of SAP-Net, one small function each (Eqs. 2, 6, 10, 11; L_gc of Eq. 8 is in `group_contrast`), and
`sapnet_losses`, which computes all of them from one output of the network.

Source: Gedamu et al., "Self-supervised subaction Parsing Network for Semi-supervised Action Quality Assessment".
A term over an empty batch is 0. Scores are on the target scale.
"""

import math

import torch
import torch.nn.functional as F
from torch import Tensor

from sapnet_core.runtime.values import choice, number, whole
from sapnet_core.sapnet.group_contrast import group_contrast
from sapnet_core.sapnet.settings import Output, SAPNetSettings

__all__ = [
    "l_reg",
    "l_un",
    "l_ubc",
    "l_grade",
    "l_all",
    "grade_edges",
    "grade_confidence",
    "agreement_confidence",
    "sapnet_losses",
]


def l_reg(score: Tensor, target: Tensor, look: bool = True) -> Tensor:
    """Regression loss L_reg = 1/N_l Σ_i (ȳ_i - y_i)² over labeled videos (Eq. 10); scores and targets (N,).

    `look` checks that all targets are finite, so that no hidden score (NaN) enters unnoticed. Stacked runs
    (`stacking.fit_stacked`) must turn it off, because `torch.vmap` cannot branch on values; there a hidden score makes
    the loss NaN, which stops the training.

    Raises:
        ValueError: scores and targets differ in shape, or a target is not finite.
    """
    if score.shape != target.shape:
        raise ValueError(f"{len(score)} scores and {len(target)} targets: give one target per labeled clip")
    if look and not torch.isfinite(target).all():
        raise ValueError("a target of L_reg is not finite: only labeled samples may enter x_l and y_l")
    return (score - target).square().sum() / max(len(target), 1)


def l_un(student: Tensor, teacher: Tensor, confidence: Tensor, tau: float = 0.7) -> Tensor:
    """Consistency loss: the student's score should match the teacher's where the teacher is confident (Eq. 2 as E2).

    L_un = 1/N_u Σ_i 1[conf_i >= τ] (R(F̄_u,i) - sg(R(F̄_a,i)))², where sg stops the gradient. The mean is over all N_u
    videos, confident or not. No gradient reaches the teacher's score or the confidence.

    Args:
        student, teacher: scores (N_u,) of the whole frames and of the actor crops.
        confidence: the teacher's confidence (N_u,), in [0, 1].
        tau: the threshold τ.

    Raises:
        ValueError: tau is NaN.
    """
    if math.isnan(tau):
        raise ValueError("tau = nan is not a threshold: give a number in [0, 1]")
    sure = (confidence.detach() >= tau).to(student.dtype)
    return (sure * (student - teacher.detach()).square()).sum() / max(len(student), 1)


def l_ubc(logits: Tensor, labels: Tensor, reduction: str = "mean") -> Tensor:
    """Binary cross-entropy of the parsed subactions against the pseudo-labels (Eq. 6 as E8).

    L_ubc = -Σ_t Σ_k [p_k(t) log a_k(t) + (1 - p_k(t)) log(1 - a_k(t))], with a = sigmoid(logits).

    Args:
        logits: (B, T, K).
        labels: pseudo-labels (B, T), int64.
        reduction: "mean" over frames, states and videos; "sum" over frames and states as printed, mean over videos.

    Raises:
        ValueError: the reduction is unknown.
    """
    choice("reduction", reduction, ("mean", "sum"))
    target = F.one_hot(labels, logits.shape[2]).to(logits.dtype)
    total = F.binary_cross_entropy_with_logits(logits, target, reduction="sum")
    return total / max(logits.numel() if reduction == "mean" else len(logits), 1)


def l_grade(grade_logits: Tensor, target: Tensor, edges: Tensor) -> Tensor:
    """Cross-entropy of the grade head on labeled videos (E3): logits (N, G), target scores (N,), inner edges (G-1,)."""
    grades = (target.unsqueeze(1) > edges).sum(1)  # same as torch.bucketize, which stacked runs cannot use
    return F.cross_entropy(grade_logits, grades, reduction="sum") / max(len(target), 1)


def l_all(reg: Tensor, ubc: Tensor, un: Tensor, gc: Tensor, lambdas: tuple[float, float, float] = (1, 1, 1)) -> Tensor:
    """Total loss L_all = L_reg + λ₁ L_ubc + λ₂ L_un + λ₃ L_gc (Eq. 11)."""
    first, second, third = lambdas
    return reg + first * ubc + second * un + third * gc


def grade_edges(scores: Tensor, grades: int) -> Tensor:
    """Inner edges (G-1,) of G equal-mass bins of the labeled scores (N,) (E3). Raises ValueError for `grades` < 1."""
    whole("grades", grades)
    return torch.quantile(scores, torch.arange(1, grades, device=scores.device, dtype=scores.dtype) / grades)


def grade_confidence(grade_logits: Tensor) -> Tensor:
    """Confidence as the largest softmax probability of the teacher's grades: (N, G) -> (N,) (E3, "grade")."""
    return grade_logits.softmax(1).amax(1)


def agreement_confidence(student: Tensor, teacher: Tensor, sigma: float = 0.5) -> Tensor:
    """Confidence exp(-|R(F̄_a) - R(F̄_u)| / σ), without gradient: scores (N,), (N,) -> (N,) (E3, "agreement").

    Raises ValueError where σ is not a positive number.
    """
    number("sigma", sigma, 0, math.inf, "least")
    return torch.exp(-(teacher - student).abs() / sigma).detach()


def sapnet_losses(
    settings: SAPNetSettings,
    output: Output,
    y_l: Tensor,
    edges: Tensor,
    consistency_on: bool = True,
    look: bool = True,
) -> dict[str, Tensor]:
    """All loss terms of Eq. 11. Only labeled scores can enter, because no argument carries any others.

    Args:
        settings: settings of the network that produced the output.
        output: result of `SAPNet.forward`.
        y_l: targets (B_l,) of the labeled videos, on the target scale.
        edges: inner edges (G-1,) of the grades, from `grade_edges` of all labeled scores.
        consistency_on: False during the supervised warm-up, which leaves L_un out (E17).
        look: whether to check that all targets are finite, as in `l_reg`.

    Returns:
        L_reg, L_ubc, L_un, L_gc, L_grade (0 where a term is off) and L_all, the sum to minimize: Eq. 11, plus the grade
        head's own L_grade where the confidence is "grade" and λ₂ is not 0. Two diagnostics carry no gradient:
        "confidence", the teacher's mean confidence, and "sure", the share of the teacher's videos that reach τ.

    Raises:
        ValueError: a target is not finite, or the number of targets differs from that of the scores.
    """
    s, (l, u, a, la) = settings, output[:4]  # noqa: E741
    zero = y_l.new_zeros(())
    supervised = [(b.score, b.grade_logits) for b in (l, la) if len(b.score)]
    scores, grades = (torch.cat(part) for part in zip(*supervised, strict=True))
    targets = y_l.repeat(len(supervised))
    terms = {"L_reg": l_reg(scores, targets, look), "L_ubc": zero, "L_un": zero, "L_gc": zero, "L_grade": zero}
    if s.lambda_ubc and output.labels is not None:
        logits = torch.cat([b.logits for b in ((u, a, l, la) if s.parse_labeled else (u, a))])
        terms["L_ubc"] = l_ubc(logits, output.labels, s.ubc_reduction)
    if s.confidence == "grade":
        confidence = grade_confidence(a.grade_logits.detach())
    else:
        confidence = agreement_confidence(u.score, a.score, s.agreement_sigma)
    if s.lambda_un and consistency_on:
        terms["L_un"] = l_un(u.score, a.score, confidence, s.tau)
    if s.lambda_un and s.confidence == "grade":
        terms["L_grade"] = l_grade(grades, targets, edges)
    if s.lambda_gc:
        terms["L_gc"] = group_contrast(
            output.h_u, output.groups_u, output.h_a, output.groups_a, s.K, s.iota, s.detach_teacher_groups
        )
    lambdas = (s.lambda_ubc, s.lambda_un, s.lambda_gc)
    total = l_all(terms["L_reg"], terms["L_ubc"], terms["L_un"], terms["L_gc"], lambdas) + terms["L_grade"]
    count = max(len(confidence), 1)
    return terms | {"L_all": total, "confidence": confidence.sum() / count, "sure": (confidence >= s.tau).sum() / count}
