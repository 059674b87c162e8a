"""Data types of SAP-Net: `SAPNetSettings`, the results for one view (`Branch`), and the input of the losses (`Output`).

E1 … E19 number the errata: points where the paper is silent, ambiguous or wrong. Where an erratum leaves a choice in
the network or its losses, a field of `SAPNetSettings` makes it.
"""

import math
from dataclasses import dataclass
from typing import NamedTuple

from torch import Tensor

from sapnet_core.runtime.values import choice, number, switch, whole

__all__ = ["Branch", "Output", "SAPNetSettings"]

_CHOICES = {
    "decoder": ("temporal", "psnet"),
    "norm": ("auto", "batch", "group", "none"),
    "cluster_scope": ("video", "dataset"),
    "group_by": ("auto", "activation", "pseudo"),
    "cut_by": ("auto", "activation", "equal"),
    "confidence": ("grade", "agreement"),
    "ubc_reduction": ("mean", "sum"),
}
# minimum of each integer setting
_WHOLE = {
    "channels": 8,
    "clips": 1,
    "frames": 8,
    "M": 1,
    "K": 1,
    "steps": 1,
    "kmeans_iterations": 0,
    "grades": 1,
    "projection": 1,
}
# limits of each real setting: minimum, maximum, which of the two is excluded
_NUMBERS = {
    "agreement_sigma": (0, math.inf, "least"),
    "tau": (0, 1),
    "iota": (0, math.inf, "least"),
    "lambda_ubc": (),
    "lambda_un": (),
    "lambda_gc": (),
    "dropout": (0, 1, "most"),
}


@dataclass(frozen=True)
class SAPNetSettings:
    """Settings of a SAP-Net. `dataclasses.asdict` gives values for JSON, `SAPNetSettings(**values)` reads them back.

    Attributes:
        channels, clips: C and S of the clip features (only the psnet decoder uses `clips`).
        frames: T, the number of frames that are parsed; a multiple of 8.
        M, K: number of latent states of k-means (E5), and of subactions kept.
        steps: number of steps to which each subaction is resampled in F̄.
        decoder, norm: decoder and normalization (E1); "auto" is "batch" for psnet (as in TSA), "group" for temporal.
        decoder_channels: width of the temporal decoder's first sub-block, a multiple of 8; None is C, as printed.
        attention_in_pseudo_labels, attention_in_parsing: whether clustering, and parsing, use F̂ instead of F (E4,
            Table III).
        attention_per_step: whether each step has attention weights of its own, or one set serves the whole video (E4).
        cluster_scope: k-means per "video", or over all videos given at once, "dataset" (E6).
        kmeans_iterations: number of Lloyd steps.
        group_by: labels of groups from the parser's "activation" (III-D), or from the "pseudo"-labels; "auto" takes
            the activation unless lambda_ubc is 0: an untrained parser gives one label to all, so that L_gc would be 0.
        cut_by: what cuts a video into subactions, the parser's "activation" (Eq. 5) or "equal" parts of its length;
            "auto" takes the activation unless lambda_ubc is 0: nothing then trains the parser, and its key frames would
            be random.
        parse_labeled: L_ubc on the labeled videos too; the paper names only the unlabeled, w in {u, a}.
        confidence: measure of the teacher's confidence (E3), the "agreement" of both views, or the probability of a
            "grade" head, which is nearer to the paper's words but does not tell good scores from bad ones.
        grades, agreement_sigma: number of grades G, and σ of the agreement on the target scale (E3).
        grade_shapes_features: whether the gradient of L_grade reaches the features.
        tau: threshold τ of the confidence (E2).
        iota, detach_teacher_groups: temperature ι of the group contrast, and whether the teacher's groups are constant
            targets (E10).
        supervise_teacher: whether labeled actor crops enter L_reg (E17).
        ubc_reduction: "mean", or "sum" over frames and states as printed in Eq. 6 (E8).
        lambda_ubc, lambda_un, lambda_gc: λ₁, λ₂, λ₃ of Eq. 11. A term of weight 0 is not computed.
        dropout, hidden: dropout rate and widths of the two hidden layers of R.
        projection: width of the projection head.

    Raises:
        ValueError: a value is outside its limits, or the values do not fit each other.
    """

    channels: int = 256
    clips: int = 18
    frames: int = 96
    M: int = 8
    K: int = 3
    steps: int = 5
    decoder: str = "temporal"
    norm: str = "auto"
    decoder_channels: int | None = None
    attention_in_pseudo_labels: bool = True
    attention_in_parsing: bool = True
    attention_per_step: bool = False
    cluster_scope: str = "video"
    kmeans_iterations: int = 10
    group_by: str = "auto"
    cut_by: str = "auto"
    parse_labeled: bool = False
    confidence: str = "agreement"
    grades: int = 5
    agreement_sigma: float = 0.5
    grade_shapes_features: bool = False
    tau: float = 0.7
    iota: float = 0.5
    detach_teacher_groups: bool = True
    supervise_teacher: bool = True
    ubc_reduction: str = "mean"
    lambda_ubc: float = 1.0
    lambda_un: float = 1.0
    lambda_gc: float = 1.0
    dropout: float = 0.0
    hidden: tuple[int, int] = (128, 64)
    projection: int = 64

    def __post_init__(self):
        for field, known in _CHOICES.items():
            choice(field, getattr(self, field), known)
        for field, least in _WHOLE.items():
            whole(field, getattr(self, field), least)
        for field, limits in _NUMBERS.items():
            number(field, getattr(self, field), *limits)
        for field, default in type(self).__dataclass_fields__.items():
            if isinstance(default.default, bool):
                switch(field, getattr(self, field))
        if self.decoder_channels is not None:
            whole("decoder_channels", self.decoder_channels, 8)
        for field in ("channels", "frames", "decoder_channels"):
            if (getattr(self, field) or 0) % 8:
                raise ValueError(f"{field} = {getattr(self, field)} must be a multiple of 8")
        if not self.K <= self.M <= self.frames:
            raise ValueError(f"needs 1 <= K <= M <= frames, got K = {self.K}, M = {self.M}, frames = {self.frames}")
        if not isinstance(self.hidden, (tuple, list)) or len(self.hidden) != 2:
            raise ValueError(f"hidden={self.hidden!r} is not a pair: give the widths of two layers, as (128, 64)")
        for width in self.hidden:
            whole("hidden", width)
        object.__setattr__(self, "hidden", tuple(self.hidden))  # JSON gives a list

    @property
    def cuts_evenly(self) -> bool:
        """Whether videos are cut into equal parts, instead of at the parser's key frames (`cut_by`)."""
        return self.cut_by == "equal" or (self.cut_by == "auto" and not self.lambda_ubc)

    @property
    def groups_by_labels(self) -> bool:
        """Whether pseudo-labels, instead of activations, label the groups of the contrast (`group_by`)."""
        by_labels = self.group_by == "pseudo" or (self.group_by == "auto" and not self.lambda_ubc)
        return bool(self.lambda_gc) and by_labels

    @property
    def needs_labels(self) -> bool:
        """Whether any term reads pseudo-labels."""
        return bool(self.lambda_ubc) or self.groups_by_labels


class Branch(NamedTuple):
    """Results of the network for one view of B videos."""

    refined: Tensor  # F̂ (B, S, C)
    logits: Tensor  # logits of the activations, (B, T, K)
    activations: Tensor  # a_k(t) in (0, 1), (B, T, K)                                                           (Eq. 4)
    times: Tensor  # t̄_k, frame indices (B, K)                                                                   (Eq. 5)
    sampling: Tensor  # weights that resample the decoder's frames to F̄, (B, K·steps, T)
    parsed: Tensor  # F̄ (B, K, steps, D)
    score: Tensor  # R(F̄) (B,)                                                                                   (Eq. 9)
    grade_logits: Tensor  # (B, G)


class Output(NamedTuple):
    """Input of the losses. A view that was not given is a branch of zero videos."""

    l: Branch  # noqa: E741 - the paper's index
    u: Branch
    a: Branch
    la: Branch
    labels: Tensor | None  # pseudo-labels of u, a (and l, la), stacked in this order, (B, T); None where none is needed
    h_u: Tensor  # projections (B_u, K, P)
    h_a: Tensor
    groups_u: Tensor  # labels of the projections (B_u, K)
    groups_a: Tensor
