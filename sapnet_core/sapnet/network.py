"""SAP-Net: the wiring of Fig. 2, from clip features of both views to everything the losses need.

Student and teacher share all weights. The student sees whole frames, labeled (x_l) and unlabeled (x_u); the teacher
sees actor crops, of the unlabeled (x_a) and, by E17, of the labeled (x_la). At test time the student serves alone.

Source: Gedamu et al., "Self-supervised subaction Parsing Network for Semi-supervised Action Quality Assessment". E1 …
E18 name the points where the paper is silent or ambiguous; each is a field of `SAPNetSettings`.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from sapnet_core.runtime.values import choice, number, switch, whole
from sapnet_core.sapnet.group_contrast import ProjectionHead, subaction_groups
from sapnet_core.sapnet.losses import sapnet_losses
from sapnet_core.sapnet.parsing import (
    AttentionRefinement,
    PSNetDecoder,
    SubactionParser,
    TemporalDecoder,
    kept_matrix,
    key_frames,
    resampling_matrix,
)
from sapnet_core.sapnet.pseudo_labels import dataset_pseudo_labels, gram_pseudo_labels
from sapnet_core.sapnet.regression import GradeHead, Regressor

__all__ = ["SAPNetSettings", "SAPNet", "Branch", "Output", "sapnet_losses"]

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


class SAPNet(nn.Module):
    """The network of Fig. 2 on clip features (B, S, C) whose steps lie at `positions` (S,) in [0, 1]."""

    def __init__(self, settings: SAPNetSettings):
        super().__init__()
        self.settings = s = settings
        if s.decoder == "temporal":
            norm = "group" if s.norm == "auto" else s.norm
            decoder = TemporalDecoder(s.channels, s.frames, norm, s.decoder_channels)
        else:
            decoder = PSNetDecoder(s.channels, s.frames, s.clips, "batch" if s.norm == "auto" else s.norm)
        self.attention = AttentionRefinement(s.channels)
        self.parser = SubactionParser(decoder, s.K)
        inputs = s.K * s.steps * decoder.width
        self.regressor = Regressor(inputs, s.hidden, s.dropout)
        self.grade_head = GradeHead(inputs, s.grades, detach=not s.grade_shapes_features)
        self.projection = ProjectionHead(decoder.width, s.projection, s.projection)

    def branch(self, x: Tensor, positions: Tensor) -> Branch:
        """One view, (B, S, C), through attention, parser and regressor."""
        s = self.settings
        weights = self.attention.weights(x)
        features, logits = self.parser(x, positions, weights if s.attention_in_parsing else None)
        times = key_frames(logits)
        sampling = resampling_matrix(times, s.frames, s.steps)
        parsed = (sampling @ features).unflatten(1, (s.K, s.steps))  # (B, K·steps, D) -> (B, K, steps, D)
        score, grade_logits = self.regressor(parsed), self.grade_head(parsed)
        return Branch(x * weights, logits, logits.sigmoid(), times, sampling, parsed, score, grade_logits)

    def forward(
        self,
        x_l: Tensor,
        x_u: Tensor | None,
        x_a: Tensor | None,
        positions: Tensor,
        x_la: Tensor | None = None,
        labels: Tensor | None = None,
    ) -> Output:
        """Fig. 2, from the two views to scores, activations, pseudo-labels and projections.

        Args:
            x_l, x_u: whole frames, labeled (B_l, S, C) and unlabeled (B_u, S, C).
            x_a: actor crops of the same unlabeled videos (B_u, S, C).
            positions: times of the steps (S,) in [0, 1].
            x_la: actor crops of the labeled videos (B_l, S, C); used when `supervise_teacher`.
            labels: pseudo-labels of u and a stacked (2·B_u, T) (of u, a, l, la if `parse_labeled`), where they were
                computed before; otherwise they are computed here.
        """
        s = self.settings
        if (x_u is None) != (x_a is None) or (x_u is not None and x_u.shape != x_a.shape):
            raise ValueError("x_u and x_a are two views of the same videos: give both in one shape, or neither")
        views = (x_u, x_a, x_l, x_la if s.supervise_teacher else None)
        sizes = [0 if view is None else len(view) for view in views]
        # student and teacher share all weights, so all views pass at once
        x = torch.cat([view for view in views if view is not None])
        every = self.branch(x, positions)
        u, a, l, la = (Branch(*part) for part in zip(*(field.split(sizes) for field in every), strict=True))  # noqa: E741
        # pseudo-labels P of the subactions, each view of each video by itself, without gradient
        both = sizes[0] + sizes[1]  # of the unlabeled videos
        parsed = len(x) if s.parse_labeled else both  # videos that the parser learns from
        if labels is None and parsed and s.needs_labels:
            labels = self._cluster((every.refined if s.attention_in_pseudo_labels else x)[:parsed], positions)
        # which subaction each parsed subaction is, and its projection, for the contrast of the two branches
        marks = every.activations[:both]
        if s.groups_by_labels and labels is not None:
            marks = F.one_hot(labels[:both], s.K).to(x)
        groups_u, groups_a = subaction_groups(marks, every.sampling[:both], s.K).split(sizes[:2])
        h_u, h_a = self.projection(every.parsed[:both]).split(sizes[:2])
        return Output(l, u, a, la, labels, h_u, h_a, groups_u, groups_a)

    @torch.no_grad()
    def predict(self, x: Tensor, positions: Tensor) -> Tensor:
        """Scores of whole frames by the student branch, in evaluation mode: (B, S, C) -> (B,)."""
        training = self.training
        score = self.eval().branch(x, positions).score
        self.train(training)
        return score

    @torch.no_grad()
    def pseudo_labels(self, x: Tensor, positions: Tensor) -> Tensor:
        """Pseudo-labels (B, T) of one view (B, S, C) under the current attention, to be given to `forward`.

        For the cluster scope "dataset" x must be the whole set.
        """
        return self._cluster(self.attention(x) if self.settings.attention_in_pseudo_labels else x, positions)

    @torch.no_grad()
    def stacked_labels(self, x: Tensor, positions: Tensor, refine: Callable[[Tensor], Tensor]) -> Tensor:
        """Pseudo-labels (R, B, T) of R runs' views (R, B, S, C), refined by each run's own attention."""
        x = refine(x) if self.settings.attention_in_pseudo_labels else x
        return self._cluster(x.flatten(0, 1), positions).unflatten(0, x.shape[:2])

    @torch.no_grad()
    def _cluster(self, x: Tensor, positions: Tensor) -> Tensor:
        s = self.settings
        to_frames = kept_matrix(positions, s.frames, s.frames).to(x)  # (T, S)                             (E1)
        if s.cluster_scope == "dataset":
            return dataset_pseudo_labels(to_frames @ x, s.M, s.K, s.kmeans_iterations)
        x = x - x.mean(1, keepdim=True)
        gram = x @ x.transpose(1, 2)  # (B, S, S)
        return gram_pseudo_labels(gram, s.M, s.K, s.kmeans_iterations, to_frames)
