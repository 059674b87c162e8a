"""What a SAP-Net is, and what passes through it: its settings, one view (`Branch`), what the losses need (`Output`).

E1 … E18 name the points where the paper is silent or ambiguous; each is a field of `SAPNetSettings`.
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
    "confidence": ("grade", "agreement"),
    "ubc_reduction": ("mean", "sum"),
}
# least whole numbers, and limits of numbers: least, most, which of them are excluded
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
    """What a SAP-Net is; JSON in and out by `dataclasses.asdict` and `SAPNetSettings(**values)`.

    Attributes:
        channels, clips: C and S of the clip features (clips matters to the psnet decoder alone).
        frames: T, the frames that are parsed; a multiple of 8.
        M, K: latent states of k-means (E5), and subactions kept.
        steps: length of each subaction in F̄.
        decoder, norm: E1; norm "auto" is "batch" for psnet (as in TSA), "group" for temporal.
        decoder_channels: of the temporal decoder's first sub-block, a multiple of 8; None is C, as printed.
        attention_in_pseudo_labels, attention_in_parsing: cluster, and parse, F̂ or F (E4, Table III).
        cluster_scope: k-means per "video", or over all videos given at once, "dataset" (E6).
        kmeans_iterations: Lloyd steps.
        group_by: labels of groups from the parser's "activation" (III-D), or from the "pseudo"-labels; "auto" takes
            the activation unless lambda_ubc is 0: a parser that never learns gives one label to all, and L_gc is 0.
        parse_labeled: L_ubc on the labeled clips too; the paper names only the unlabeled, w in {u, a}.
        confidence, grades, agreement_sigma, tau: when the teacher is trusted (E2, E3).
        grade_shapes_features: whether the gradient of L_grade passes the grade head.
        iota, detach_teacher_groups: group contrast (E10).
        supervise_teacher: labeled actor crops enter L_reg (E17).
        ubc_reduction: "mean", or "sum" over frames and states as printed in Eq. 6.
        lambda_ubc, lambda_un, lambda_gc: λ₁, λ₂, λ₃ of Eq. 11. A term of weight 0 is not computed.
        dropout, hidden, projection: widths of R (two hidden layers) and of the projection head.
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
    cluster_scope: str = "video"
    kmeans_iterations: int = 10
    group_by: str = "auto"
    parse_labeled: bool = False
    confidence: str = "grade"
    grades: int = 5
    agreement_sigma: float = 0.1
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
            raise ValueError(f"hidden={self.hidden!r} is no pair: give the widths of two layers, as (128, 64)")
        for width in self.hidden:
            whole("hidden", width)
        object.__setattr__(self, "hidden", tuple(self.hidden))  # JSON knows no tuples

    @property
    def groups_by_labels(self) -> bool:
        """Whether the groups of the contrast are named by pseudo-labels (`group_by`)."""
        by_labels = self.group_by == "pseudo" or (self.group_by == "auto" and not self.lambda_ubc)
        return bool(self.lambda_gc) and by_labels

    @property
    def needs_labels(self) -> bool:
        """Whether any term reads pseudo-labels."""
        return bool(self.lambda_ubc) or self.groups_by_labels


class Branch(NamedTuple):
    """One view through the network; B videos."""

    refined: Tensor  # F̂ (B, S, C)
    logits: Tensor  # of the activations, (B, T, K)
    activations: Tensor  # a_k(t) in (0, 1), (B, T, K)                                                           (Eq. 4)
    times: Tensor  # t̄_k, frame indices (B, K)                                                                   (Eq. 5)
    sampling: Tensor  # the weights that read F̄ from the decoder's frames, (B, K·steps, T)
    parsed: Tensor  # F̄ (B, K, steps, D)
    score: Tensor  # R(F̄) (B,)                                                                                   (Eq. 9)
    grade_logits: Tensor  # (B, G)


class Output(NamedTuple):
    """What the losses need. Views which were not given are branches of zero videos."""

    l: Branch  # noqa: E741 - the paper's index
    u: Branch
    a: Branch
    la: Branch
    labels: Tensor | None  # pseudo-labels of u, a (and l, la), stacked in this order, (B, T)
    h_u: Tensor  # projections (B_u, K, P)
    h_a: Tensor
    groups_u: Tensor  # labels of the projections (B_u, K)
    groups_a: Tensor
