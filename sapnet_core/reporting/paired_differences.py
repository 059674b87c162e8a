"""SAP-Net minus every other system of a table, cell by cell, with one rule for all verdicts."""

from collections.abc import Mapping

import pandas as pd

from sapnet_core.experiments.resampling import resampled
from sapnet_core.experiments.statistics import compare, hypothesis_of, judge
from sapnet_core.experiments.systems import OURS
from sapnet_core.experiments.trial import Trial
from sapnet_core.reporting.claims import read_cell

__all__ = ["paired_differences"]


def paired_differences(
    trials: Mapping[tuple[str, str, int], Trial], resamples: int = 1000, average: str = ""
) -> pd.DataFrame:
    """Subtract each system's Spearman's rho from SAP-Net's, within a seed and a resample of the test videos.

    The verdict on a cell is that of `statistics.judge` on "SAP-Net is above this system"; all cells of the table are
    one family, over which p-values are corrected.

    Args:
        trials: (system, column, seed) -> a trial that has a result, as from `comparison_trials`.
        resamples: number of resamples of the test videos.
        average: name of one more column, the Fisher-z mean over all columns (E14), for systems that have all of them;
            no such column if empty.

    Returns:
        One row per system and column: system, column, difference, low and high (a 95 % interval over seeds and videos),
        p, p_holm, verdict and seeds. Systems and columns are in the order of `trials`.

    Raises:
        ValueError: SAP-Net is not among the systems.
    """
    grouped: dict[tuple[str, str], list[Trial]] = {}
    for (system, column, _), trial in trials.items():
        grouped.setdefault((system, column), []).append(trial)
    if not any(system == OURS for system, _ in grouped):
        raise ValueError(f"no trials of {OURS}: the differences are taken from it")
    rho = {key: resampled(read_cell(cell), resamples=resamples) for key, cell in grouped.items()}  # (S, 1 + R) each
    columns = list(dict.fromkeys(column for _, column in rho))
    keys, found = [], []
    for system in dict.fromkeys(system for system, _ in rho if system != OURS):
        cells = [(system, column) for column in columns if (system, column) in rho and (OURS, column) in rho]
        sides = [([key], key[1], False) for key in cells]
        if average and len(cells) == len(columns):
            sides.append((cells, average, True))
        for side, column, fisher in sides:
            keys.append((system, column))
            ours = [rho[OURS, name] for _, name in side]
            found.append(compare(ours, [rho[key] for key in side], fisher, limit=2.0))
    verdicts = judge([hypothesis_of(evidence) for evidence in found])
    return pd.DataFrame(
        [
            {
                "system": system,
                "column": column,
                "difference": evidence.value,
                "low": evidence.low,
                "high": evidence.high,
                "p": evidence.p,
                "p_holm": verdict.p_holm,
                "verdict": verdict.word,
                "seeds": len(evidence.by_seed),
            }
            for (system, column), evidence, verdict in zip(keys, found, verdicts, strict=True)
        ]
    )
