"""SAP-Net minus every other system of a table, and every system minus a control, with one rule for all verdicts."""

from collections.abc import Mapping, Sequence

import pandas as pd

from sapnet_core.experiments.profiles import Profile
from sapnet_core.experiments.resampling import resampled
from sapnet_core.experiments.statistics import RHO_DIFFERENCE, Verdict, compare, hypothesis_of, judge
from sapnet_core.experiments.systems import OURS
from sapnet_core.experiments.trial import Trial
from sapnet_core.reporting.claimed_cells import Comparison, claimed_cells
from sapnet_core.reporting.claims import read_cell

__all__ = ["control_differences", "paired_differences"]

Trials = Mapping[tuple[str, str, int], Trial]


def paired_differences(
    trials: Trials, resamples: int = 1000, average: str = "", profile: Profile | None = None
) -> pd.DataFrame:
    """Subtract each system's Spearman's rho from SAP-Net's, within a seed and a resample of the test videos.

    The verdict on a cell is that of `statistics.judge` on "SAP-Net is above this system"; all cells of the table are
    one family, over which p-values are corrected. A cell that is a claim of the ledger by itself is left out of the
    family and has the ledger's verdict.

    Args:
        trials: (system, column, seed) -> a trial that has a result, as from `comparison_trials`.
        resamples: number of resamples of the test videos.
        average: name of one more column, the Fisher-z mean over all columns (E14), for systems that have all of them;
            no such column if empty.
        profile: the size at which the ledger is judged (`claimed_cells`); None asks no ledger.

    Returns:
        One row per system and column: system, column, difference, low and high (a 95 % interval over seeds and videos),
        p, p_holm, verdict, to_decide (the number of seeds that would decide an undecided cell, NaN for others), seeds
        and claim (the id in the ledger of a cell that has its verdict, else ""). Systems and columns are in the order
        of `trials`.

    Raises:
        ValueError: SAP-Net is not among the systems.
    """
    cells = _cells(trials)
    if not any(system == OURS for system, _ in cells):
        raise ValueError(f"no trials of {OURS}: the differences are taken from it")
    columns = list(dict.fromkeys(column for _, column in cells))
    keys, sides = [], []
    for system in dict.fromkeys(system for system, _ in cells if system != OURS):
        own = [column for column in columns if (system, column) in cells and (OURS, column) in cells]
        whole = {average: own} if average and len(own) == len(columns) else {}
        for name, of in {**{column: [column] for column in own}, **whole}.items():
            keys.append({"system": system, "column": name})
            sides.append(([(OURS, column) for column in of], [(system, column) for column in of]))
    return _judged(keys, sides, cells, resamples, profile)


def control_differences(
    trials: Trials, controls: Sequence[str], resamples: int = 1000, profile: Profile | None = None
) -> pd.DataFrame:
    """Subtract the Spearman's rho of each control from that of every other system, as `paired_differences` does.

    The verdict on a cell is that on "this system is above the control"; the cells of all controls are one family.

    Args:
        trials: (system, column, seed) -> a trial that has a result, as from `comparison_trials`.
        controls: systems of `trials`; they are compared with no control.
        resamples: number of resamples of the test videos.
        profile: as for `paired_differences`.

    Returns:
        One row per control, system and column that both have: control, and the columns of `paired_differences`.

    Raises:
        ValueError: a control is not among the systems.
    """
    cells = _cells(trials)
    if absent := [control for control in controls if not any(system == control for system, _ in cells)]:
        raise ValueError(f"no trials of {', '.join(absent)}: the differences are taken from it")
    keys = [
        {"control": control, "system": system, "column": column}
        for control in controls
        for system, column in cells
        if system not in controls and (control, column) in cells
    ]
    sides = [([(key["system"], key["column"])], [(key["control"], key["column"])]) for key in keys]
    return _judged(keys, sides, cells, resamples, profile)


def _cells(trials: Trials) -> dict[tuple[str, str], list[Trial]]:
    """(system, column) -> its trials, one per seed."""
    grouped: dict[tuple[str, str], list[Trial]] = {}
    for (system, column, _), trial in trials.items():
        grouped.setdefault((system, column), []).append(trial)
    return grouped


def _judged(
    keys: Sequence[dict[str, str]],
    sides: Sequence[Comparison],
    cells: Mapping[tuple[str, str], list[Trial]],
    resamples: int,
    profile: Profile | None,
) -> pd.DataFrame:
    """A row for each difference, after its keys, with the verdicts of the ledger and of one family; the sides of an
    average have several cells, whose mean is Fisher's."""
    rho = {key: resampled(read_cell(trials), resamples=resamples) for key, trials in cells.items()}  # (S, 1 + R) each
    found = [
        compare([rho[key] for key in high], [rho[key] for key in low], fisher=len(high) > 1, limit=RHO_DIFFERENCE)
        for high, low in sides
    ]
    said = claimed_cells(sides, cells, profile) if profile else [None] * len(sides)
    family = iter(judge([hypothesis_of(one) for one, row in zip(found, said, strict=True) if row is None]))
    verdicts = [
        next(family) if row is None else Verdict(row["verdict"], row["p_holm"], row["to_decide"]) for row in said
    ]
    return pd.DataFrame(
        [
            {
                **key,
                "difference": evidence.value,
                "low": evidence.low,
                "high": evidence.high,
                "p": evidence.p,
                "p_holm": verdict.p_holm,
                "verdict": verdict.word,
                "to_decide": verdict.to_decide,
                "seeds": len(evidence.by_seed),
                "claim": "" if row is None else row["claim"],
            }
            for key, evidence, verdict, row in zip(keys, found, verdicts, said, strict=True)
        ]
    )
