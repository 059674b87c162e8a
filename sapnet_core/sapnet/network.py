"""The SAP-Net network of Fig. 2, from clip features of both views to the inputs of the losses.

Student and teacher share all weights. The student sees whole frames, labeled (x_l) and unlabeled (x_u). The teacher
sees actor crops of the unlabeled videos (x_a) and, under E17, of the labeled ones (x_la). At test time only the student
branch is used.

Source: Gedamu et al., "Self-supervised subaction Parsing Network for Semi-supervised Action Quality Assessment".
"""

from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from sapnet_core.sapnet.group_contrast import ProjectionHead, subaction_groups
from sapnet_core.sapnet.parsing import (
    AttentionRefinement,
    PSNetDecoder,
    SubactionParser,
    TemporalDecoder,
    even_frames,
    kept_matrix,
    key_frames,
    resampling_matrix,
)
from sapnet_core.sapnet.pseudo_labels import dataset_pseudo_labels, gram_pseudo_labels
from sapnet_core.sapnet.regression import GradeHead, Regressor
from sapnet_core.sapnet.settings import Branch, Output, SAPNetSettings

__all__ = ["SAPNet"]


class SAPNet(nn.Module):
    """The network of Fig. 2 on clip features (B, S, C); `positions` (S,) in [0, 1] give the times of the S steps."""

    def __init__(self, settings: SAPNetSettings):
        super().__init__()
        self.settings = s = settings
        if s.decoder == "temporal":
            norm = "group" if s.norm == "auto" else s.norm
            decoder = TemporalDecoder(s.channels, s.frames, norm, s.decoder_channels)
        else:
            decoder = PSNetDecoder(s.channels, s.frames, s.clips, "batch" if s.norm == "auto" else s.norm)
        self.attention = AttentionRefinement(s.channels, s.attention_per_step)
        self.parser = SubactionParser(decoder, s.K)
        inputs = s.K * s.steps * decoder.width
        self.regressor = Regressor(inputs, s.hidden, s.dropout)
        self.grade_head = GradeHead(inputs, s.grades, detach=not s.grade_shapes_features)
        self.projection = ProjectionHead(decoder.width, s.projection, s.projection)

    def branch(self, x: Tensor, positions: Tensor) -> Branch:
        """Pass one view (B, S, C) through attention, parser, regressor and grade head."""
        s = self.settings
        weights = self.attention.weights(x)
        features, logits = self.parser(x, positions, weights if s.attention_in_parsing else None)
        times = even_frames(*logits.shape, logits.device) if s.cuts_evenly else key_frames(logits)
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
        """Compute scores, activations, pseudo-labels and projections of both views, as in Fig. 2.

        Args:
            x_l, x_u: features of whole frames, labeled (B_l, S, C) and unlabeled (B_u, S, C).
            x_a: features of the actor crops of the same unlabeled videos (B_u, S, C).
            positions: times of the steps (S,) in [0, 1].
            x_la: features of the actor crops of the labeled videos (B_l, S, C); used only with `supervise_teacher`.
            labels: precomputed pseudo-labels of u and a, stacked (2·B_u, T), or of u, a, l and la with `parse_labeled`;
                None computes them here.

        Raises:
            ValueError: x_u and x_a differ in shape, or one of them is given without the other.
        """
        # student and teacher share all weights: every view passes through the same attention, parser and regressor
        x, sizes = self._stacked(x_u, x_a, x_l, x_la)
        views = self.branch(x, positions)
        u, a, l, la = (Branch(*part) for part in zip(*(field.split(sizes) for field in views), strict=True))  # noqa: E741
        # pseudo-labels of the subactions, from k-means and Algorithm 1, without gradient
        labels = self._labels(x, views, sizes, positions) if labels is None else labels
        # inputs of the group contrast: projection and group label of each parsed subaction, in both branches
        unlabeled = sizes[0] + sizes[1]
        h_u, h_a = self.projection(views.parsed[:unlabeled]).split(sizes[:2])
        groups_u, groups_a = self._groups(views, labels, unlabeled).split(sizes[:2])
        return Output(l, u, a, la, labels, h_u, h_a, groups_u, groups_a)

    def _stacked(
        self, x_u: Tensor | None, x_a: Tensor | None, x_l: Tensor, x_la: Tensor | None
    ) -> tuple[Tensor, list[int]]:
        """The given views, concatenated in this order (B, S, C), and the number of videos in each (0 if not given)."""
        if (x_u is None) != (x_a is None) or (x_u is not None and x_u.shape != x_a.shape):
            raise ValueError("x_u and x_a are two views of the same videos: give both in one shape, or neither")
        views = (x_u, x_a, x_l, x_la if self.settings.supervise_teacher else None)
        sizes = [0 if view is None else len(view) for view in views]
        return torch.cat([view for view in views if view is not None]), sizes

    def _labels(self, x: Tensor, views: Branch, sizes: list[int], positions: Tensor) -> Tensor | None:
        """Pseudo-labels (B, T) of the views that the parser learns from; None where no term reads them."""
        s = self.settings
        learned = len(x) if s.parse_labeled else sizes[0] + sizes[1]
        if not (learned and s.needs_labels):
            return None
        return self._cluster((views.refined if s.attention_in_pseudo_labels else x)[:learned], positions)

    def _groups(self, views: Branch, labels: Tensor | None, unlabeled: int) -> Tensor:
        """Group label of each parsed subaction of the first `unlabeled` stacked views, (unlabeled, K)."""
        s = self.settings
        marks = views.activations[:unlabeled]
        if s.groups_by_labels and labels is not None:
            marks = F.one_hot(labels[:unlabeled], s.K).to(marks)
        return subaction_groups(marks, views.sampling[:unlabeled], s.K)

    @torch.no_grad()
    def predict(self, x: Tensor, positions: Tensor) -> Tensor:
        """Scores of whole frames from the student branch in evaluation mode, on the target scale: (B, S, C) -> (B,)."""
        training = self.training
        score = self.eval().branch(x, positions).score
        self.train(training)
        return score

    @torch.no_grad()
    def pseudo_labels(self, x: Tensor, positions: Tensor) -> Tensor:
        """Pseudo-labels (B, T) of one view (B, S, C) under the current attention, for the `labels` of `forward`.

        With the cluster scope "dataset", x must hold the whole data set.
        """
        return self._cluster(self.attention(x) if self.settings.attention_in_pseudo_labels else x, positions)

    @torch.no_grad()
    def stacked_labels(self, x: Tensor, positions: Tensor, refine: Callable[[Tensor], Tensor]) -> Tensor:
        """Pseudo-labels (R, B, T) of views (R, B, S, C) of R stacked runs; `refine` applies each run's attention."""
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
