"""Claims about systems that all lie below the degree of difficulty alone, which looks at no video: there a lead of one
over the other says little."""

import math
from collections.abc import Mapping, Sequence

from sapnet_core.experiments.floors import difficulty_alone
from sapnet_core.experiments.metrics import spearman
from sapnet_core.experiments.resampling import Cell
from sapnet_core.experiments.trial import Trial
from sapnet_core.reporting.ledger import Claim, Name

__all__ = ["below_floor"]

KINDS = ("greater", "comparable")  # of claims that compare systems


def below_floor(claim: Claim, trials: Mapping[Name, Sequence[Trial]], cells: Mapping[Name, Cell]) -> str:
    """Say that every side of a claim about rho lies below the difficulty alone, with the number of this floor; "" where
    one does not, where a dataset has no such floor, or where a cell is missing.

    Args:
        trials: of each of the claim's cells, one per seed.
        cells: the predictions of these cells.
    """
    if claim.metric != "rho" or claim.kind not in KINDS or set(claim.names) - set(cells):
        return ""
    sets = {(of[0].dataset, of[0].group): of[0] for of in (trials[name] for name in claim.names)}
    floors = [difficulty_alone(trial) for trial in sets.values()]
    rho = {name: float(spearman(cells[name].predicted, cells[name].true).mean()) for name in claim.names}
    sides = {side for pair in claim.pairs for side in pair}
    least = min(floors) if not any(map(math.isnan, floors)) else math.nan
    if not all(sum(rho[name] for name in side) / len(side) < least for side in sides):
        return ""
    return f"{'both' if len(sides) == 2 else 'all'} are below difficulty alone, {least:.3f}"
