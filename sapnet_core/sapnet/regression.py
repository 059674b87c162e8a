"""The score regressor R_ϑ (Eq. 9), and the grade head that measures the teacher's confidence (E3)."""

from torch import Tensor, nn

__all__ = ["Regressor", "GradeHead"]


class Regressor(nn.Module):
    """Regressor R_ϑ: a three-layer MLP on the parsed subactions in order; F̄ (B, K, steps, D) -> scores (B,).

    Scores are on the target scale. `inputs` is K·steps·D, `hidden` the widths of the two hidden layers.
    """

    def __init__(self, inputs: int, hidden: tuple[int, int] = (128, 64), dropout: float = 0.0):
        super().__init__()
        first, second = hidden
        self.layers = nn.Sequential(
            nn.Dropout(dropout),
            nn.Linear(inputs, first),
            nn.ReLU(),
            nn.Dropout(dropout),
            nn.Linear(first, second),
            nn.ReLU(),
            nn.Linear(second, 1),
        )

    def forward(self, parsed: Tensor) -> Tensor:
        return self.layers(parsed.flatten(1)).squeeze(1)  # ȳ = R(F̄)                                            (Eq. 9)


class GradeHead(nn.Module):
    """Classifies F̄ into grades, equal-mass bins of the labeled scores (E3): (B, K, steps, D) -> logits (B, G).

    Eq. 2's threshold needs "the maximum class probability", and a scalar regressor has no classes. The head is not
    part of Eq. 11: with `detach`, the default, its gradient stops before the features. The LayerNorm keeps its inputs
    at a constant scale while the other losses change that of the features.
    """

    def __init__(self, inputs: int, grades: int, hidden: int = 64, detach: bool = True):
        super().__init__()
        self.detach = detach
        self.layers = nn.Sequential(
            nn.LayerNorm(inputs), nn.Linear(inputs, hidden), nn.ReLU(), nn.Linear(hidden, grades)
        )

    def forward(self, parsed: Tensor) -> Tensor:
        parsed = parsed.detach() if self.detach else parsed
        return self.layers(parsed.flatten(1))
