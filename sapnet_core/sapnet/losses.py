"""The loss terms of SAP-Net, one small function each (Eqs. 2, 6, 10, 11; L_gc of Eq. 8 stands in `contrast`), and
`sapnet_losses`, which puts them together for what the network gave.

Source: Gedamu et al., "Self-supervised subaction Parsing Network for Semi-supervised Action Quality Assessment".
A term over an empty batch is 0. Scores have the unit of the targets, about [0, 1].
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
    """L_reg = 1/N_l Σ_i (ȳ_i - y_i)² over labeled clips (Eq. 10). Scores and targets (N,).

    Raises ValueError if they differ in shape, or if a target is not finite: no hidden score (NaN) enters unseen.
    Stacked runs (`stacking.fit_stacked`) cannot `look`: there a hidden score makes the loss NaN, which stops training.
    """
    if score.shape != target.shape:
        raise ValueError(f"{len(score)} scores and {len(target)} targets: give one target per labeled clip")
    if look and not torch.isfinite(target).all():
        raise ValueError("a target of L_reg is not finite: only labeled samples may enter x_l and y_l")
    return (score - target).square().sum() / max(len(target), 1)


def l_un(student: Tensor, teacher: Tensor, confidence: Tensor, tau: float = 0.7) -> Tensor:
    """Consistency: the student follows the teacher where the teacher is sure (Eq. 2 as E2).

    L_un = 1/N_u Σ_i 1[conf_i >= τ] (R(F̄_u,i) - sg(R(F̄_a,i)))². The mean is over all N_u, confident or not. No gradient
    reaches the teacher's score or the confidence.

    Args:
        student, teacher: scores (N_u,) of the whole frames and of the actor crops.
        confidence: (N_u,) in [0, 1].
        tau: the threshold τ.
    """
    if math.isnan(tau):
        raise ValueError("tau = nan is no threshold: give a number in [0, 1]")
    sure = (confidence.detach() >= tau).to(student.dtype)
    return (sure * (student - teacher.detach()).square()).sum() / max(len(student), 1)


def l_ubc(logits: Tensor, labels: Tensor, reduction: str = "mean") -> Tensor:
    """Binary cross-entropy of the parsed subactions against the pseudo-labels (Eq. 6 as E8).

    L_ubc = -Σ_t p_k(t) log a_k(t) + (1 - p_k(t)) log(1 - a_k(t)), with a = sigmoid(logits).

    Args:
        logits: (B, T, K).
        labels: pseudo-labels (B, T), int64.
        reduction: "mean" over frames, states and videos; "sum" over frames and states as printed, mean over videos.
    """
    choice("reduction", reduction, ("mean", "sum"))
    target = F.one_hot(labels, logits.shape[2]).to(logits.dtype)
    total = F.binary_cross_entropy_with_logits(logits, target, reduction="sum")
    return total / max(logits.numel() if reduction == "mean" else len(logits), 1)


def l_grade(grade_logits: Tensor, target: Tensor, edges: Tensor) -> Tensor:
    """Cross-entropy of the grade head on labeled clips (E3). Logits (N, G), target scores (N,), edges (G-1,)."""
    grades = (target.unsqueeze(1) > edges).sum(1)  # as torch.bucketize, which cannot be stacked over runs
    return F.cross_entropy(grade_logits, grades, reduction="sum") / max(len(target), 1)


def l_all(reg: Tensor, ubc: Tensor, un: Tensor, gc: Tensor, lambdas: tuple[float, float, float] = (1, 1, 1)) -> Tensor:
    """L_all = L_reg + λ₁ L_ubc + λ₂ L_un + λ₃ L_gc (Eq. 11)."""
    first, second, third = lambdas
    return reg + first * ubc + second * un + third * gc


def grade_edges(scores: Tensor, grades: int) -> Tensor:
    """Inner edges (G-1,) of equal-mass bins of the labeled scores (N,) (E3). Raises ValueError for `grades` < 1."""
    whole("grades", grades)
    return torch.quantile(scores, torch.arange(1, grades, device=scores.device, dtype=scores.dtype) / grades)


def grade_confidence(grade_logits: Tensor) -> Tensor:
    """Largest softmax probability of the teacher's grades: (N, G) -> (N,) (E3, `confidence = "grade"`)."""
    return grade_logits.softmax(1).amax(1)


def agreement_confidence(student: Tensor, teacher: Tensor, sigma: float = 0.1) -> Tensor:
    """exp(-|R(F̄_a) - R(F̄_u)| / σ): (N,), (N,) -> (N,) (E3, `confidence = "agreement"`)."""
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
    """All terms of Eq. 11. Only labeled scores can enter: there is no argument for any other.

    Args:
        settings: of the network which made the output.
        output: of `SAPNet.forward`.
        y_l: targets (B_l,) of the labeled clips, about [0, 1].
        edges: inner edges (G-1,) of the grades, from `grade_edges` of all labeled scores.
        consistency_on: False during the supervised warm-up, which leaves L_un out (E17).
        look: as in `l_reg`.

    Returns:
        L_reg, L_ubc, L_un, L_gc, L_grade (0 where a term is off) and L_all, the sum to minimize: Eq. 11, to which the
        grade head's own L_grade is added where confidence is "grade" and λ₂ is not 0. Two diagnostics without
        gradient: "confidence", its mean over the teacher's videos, and "sure", the share which passes τ.
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
