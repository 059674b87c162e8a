"""SAP-Net minus every other system of a table, and every system minus a control, with one rule for all verdicts."""

from collections.abc import Mapping, Sequence

import pandas as pd
from torch import Tensor

from sapnet_core.experiments.resampling import resampled
from sapnet_core.experiments.statistics import Evidence, compare, hypothesis_of, judge
from sapnet_core.experiments.systems import OURS
from sapnet_core.experiments.trial import Trial
from sapnet_core.reporting.claims import read_cell

__all__ = ["control_differences", "paired_differences"]

Trials = Mapping[tuple[str, str, int], Trial]


def paired_differences(trials: Trials, resamples: int = 1000, average: str = "") -> pd.DataFrame:
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
    rho = _correlations(trials, resamples)
    if not any(system == OURS for system, _ in rho):
        raise ValueError(f"no trials of {OURS}: the differences are taken from it")
    columns = list(dict.fromkeys(column for _, column in rho))
    keys, found = [], []
    for system in dict.fromkeys(system for system, _ in rho if system != OURS):
        cells = [(system, column) for column in columns if (system, column) in rho and (OURS, column) in rho]
        sides = [([key], key[1], False) for key in cells]
        if average and len(cells) == len(columns):
            sides.append((cells, average, True))
        for side, column, fisher in sides:
            keys.append({"system": system, "column": column})
            ours = [rho[OURS, name] for _, name in side]
            found.append(compare(ours, [rho[key] for key in side], fisher, limit=2.0))
    return _judged(keys, found)


def control_differences(trials: Trials, controls: Sequence[str], resamples: int = 1000) -> pd.DataFrame:
    """Subtract the Spearman's rho of each control from that of every other system, as `paired_differences` does.

    The verdict on a cell is that on "this system is above the control"; the cells of all controls are one family.

    Args:
        trials: (system, column, seed) -> a trial that has a result, as from `comparison_trials`.
        controls: systems of `trials`; they are compared with no control.
        resamples: number of resamples of the test videos.

    Returns:
        One row per control, system and column that both have: control, and the columns of `paired_differences`.

    Raises:
        ValueError: a control is not among the systems.
    """
    rho = _correlations(trials, resamples)
    if absent := [control for control in controls if not any(system == control for system, _ in rho)]:
        raise ValueError(f"no trials of {', '.join(absent)}: the differences are taken from it")
    keys = [
        {"control": control, "system": system, "column": column}
        for control in controls
        for system, column in rho
        if system not in controls and (control, column) in rho
    ]
    sides = [(rho[key["system"], key["column"]], rho[key["control"], key["column"]]) for key in keys]
    return _judged(keys, [compare([one], [other], limit=2.0) for one, other in sides])


def _correlations(trials: Trials, resamples: int) -> dict[tuple[str, str], Tensor]:
    """(system, column) -> rho of every seed, measured and resampled: (S, 1 + R)."""
    grouped: dict[tuple[str, str], list[Trial]] = {}
    for (system, column, _), trial in trials.items():
        grouped.setdefault((system, column), []).append(trial)
    return {key: resampled(read_cell(cell), resamples=resamples) for key, cell in grouped.items()}


def _judged(keys: Sequence[dict[str, str]], found: Sequence[Evidence]) -> pd.DataFrame:
    """A row for each difference, after its keys, with the verdicts of one family."""
    verdicts = judge([hypothesis_of(evidence) for evidence in found])
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
                "seeds": len(evidence.by_seed),
            }
            for key, evidence, verdict in zip(keys, found, verdicts, strict=True)
        ]
    )
