"""Two systems against each other: the difference in rho with both its intervals, and what that says of a claim.

Trials of one column and seed share their labeled videos, and all share the test videos, so differences are taken within
a seed. They have two kinds of noise, and a verdict asks both: other labels, weights and batches ("over seeds",
Student's t), and other test videos ("over videos", bootstrap with the same draws for all systems).
"""

from collections.abc import Hashable, Iterable, Mapping
from dataclasses import dataclass
from typing import NamedTuple

import pandas as pd
import torch
from torch import Tensor

from sapnet_core.experiments.metrics import mean_interval, spearman
from sapnet_core.experiments.results import predictions
from sapnet_core.experiments.trial import Trial

__all__ = ["Paired", "SeedScores", "seed_scores", "verdict", "together", "claims_table"]

VERDICTS = ("supported", "contradicted", "undecided")
MIDDLE = (0.025, 0.975)


class Paired(NamedTuple):
    """A mean difference with its 95 % interval over seeds (NaN for one seed) and the one over test videos."""

    value: float
    low: float
    high: float
    video_low: float
    video_high: float

    def __str__(self) -> str:
        """The difference with its interval over seeds."""
        return f"{self.value:+.3f} [{self.low:+.3f}, {self.high:+.3f}]"


@dataclass(frozen=True)
class SeedScores:
    """Spearman's rho of every cell of a table or figure: `rho` cell -> (S,) over seeds; `again` cell -> (S, R), the
    same on R resamples of the test videos, which all cells share."""

    rho: dict[Hashable, Tensor]
    again: dict[Hashable, Tensor]

    def contrast(self, weights: Mapping[Hashable, float]) -> Paired:
        """Σ weight · rho over cells, such as {a: 1, b: -1}, with both intervals."""
        value = sum(w * self.rho[cell] for cell, w in weights.items())  # (S,)
        again = sum(w * self.again[cell] for cell, w in weights.items())  # (S, R)
        videos = again.mean(0).quantile(again.new_tensor(MIDDLE)).tolist()
        return Paired(*mean_interval(value), *videos)

    def difference(self, ones: Iterable[Hashable], others: Iterable[Hashable]) -> Paired:
        """Mean rho of some cells less the mean rho of others."""
        ones, others = list(ones), list(others)
        weights = dict.fromkeys([*ones, *others], 0.0)
        for cells, sign in ((ones, 1.0), (others, -1.0)):
            for cell in cells:
                weights[cell] += sign / len(cells)
        return self.contrast(weights)


def seed_scores(trials: Mapping[tuple, Trial], resamples: int = 1000) -> SeedScores:
    """Read the predictions of trials that were run, given as (what is varied ..., seed) -> Trial. Cells are the keys
    without the seed; a key of two leaves its first part alone.

    Raises:
        ValueError: the trials differ in their test videos, or cells in their number of seeds.
    """
    first, found = None, {}
    for key, trial in trials.items():
        table = predictions(trial)
        first = table if first is None else first
        if not table[["key", "score"]].equals(first[["key", "score"]]):
            raise ValueError(f"{key}: other test videos than the first trial's: their differences are not paired")
        cell = key[0] if len(key) == 2 else key[:-1]
        found.setdefault(cell, []).append(torch.tensor(table["predicted"].to_numpy()))
    if len({len(seeds) for seeds in found.values()}) > 1:
        raise ValueError(f"cells have {sorted({len(seeds) for seeds in found.values()})} seeds: pairs need the same")
    true = torch.tensor(first["score"].to_numpy())  # (N,)
    draws = torch.randint(len(true), (resamples, len(true)), generator=torch.Generator().manual_seed(0))  # (R, N)
    stacked = {cell: torch.stack(seeds) for cell, seeds in found.items()}  # (S, N)
    return SeedScores(
        {cell: spearman(p, true) for cell, p in stacked.items()},
        {cell: spearman(p[:, draws], true[draws]) for cell, p in stacked.items()},
    )


def verdict(found: Paired, sign: float = 1.0) -> str:
    """What a difference says of the claim that it has that sign: "supported" or "contradicted" where both intervals lie
    on one side of zero, else "undecided"."""
    sides = [sorted((sign * found.low, sign * found.high)), sorted((sign * found.video_low, sign * found.video_high))]
    if all(low > 0 for low, _ in sides):
        return "supported"
    return "contradicted" if all(high < 0 for _, high in sides) else "undecided"


def together(verdicts: Iterable[str]) -> str:
    """The verdict of a claim of many parts: supported by all of them, contradicted by any, else undecided."""
    verdicts = list(verdicts)
    if "contradicted" in verdicts:
        return "contradicted"
    return "supported" if set(verdicts) == {"supported"} else "undecided"


def claims_table(claims: Mapping[str, Paired | Mapping[str, Paired]]) -> pd.DataFrame:
    """Claims, each of one difference said to be positive or of several (name -> difference), with their verdicts.

    Returns columns claim, difference, over seeds, over videos, verdict; of a claim of several, the smallest difference.
    """
    rows = []
    for claim, parts in claims.items():
        parts = {"": parts} if isinstance(parts, Paired) else parts
        name, least = min(parts.items(), key=lambda part: part[1].value)
        spans = [f"[{low:+.3f}, {high:+.3f}]" for low, high in (least[1:3], least[3:5])]
        shown = f"{least.value:+.3f}" + (f" ({name}, the least)" if len(parts) > 1 else "")
        said = together(verdict(found) for found in parts.values())
        rows.append(
            {"claim": claim, "difference": shown, "over seeds": spans[0], "over videos": spans[1], "verdict": said}
        )
    return pd.DataFrame(rows)
