"""Performances that several raters scored, one row a rater: their scores are averaged."""

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from sapnet_core.datasets.records import Record
from sapnet_core.datasets.sequence_record import SequenceRecord

__all__ = ["averaged", "rater_spread"]


def averaged(records: Sequence[SequenceRecord]) -> tuple[list[SequenceRecord], list[str]]:
    """One record for each key, in the order of the first row, and the faults of rows that do not fit together.

    Its score and its further scores are the means over the raters who gave one, NaN where none did; `judges` holds the
    raters' scores in the order of the rows.
    """
    rows: dict[str, list[SequenceRecord]] = {}
    for record in records:
        rows.setdefault(record.key, []).append(record)
    joined, faults = [], []
    for key, of in rows.items():
        alike = {replace(record, score=0.0, sub_scores=()) for record in of}
        if len(alike) > 1:
            faults.append(f"the rows of id {key[:40]!r} differ in more than rater and scores: write the rest the same")
        scores = [record.score for record in of if record.score == record.score]
        others = tuple((name, _mean([dict(r.sub_scores)[name] for r in of])) for name, _ in of[0].sub_scores)
        joined.append(replace(of[0], score=_mean(scores), sub_scores=others, judges=tuple(scores)))
    return joined, faults


def _mean(values: Sequence[float]) -> float:
    known = [value for value in values if value == value]
    return float(np.mean(known)) if known else float("nan")


def rater_spread(records: Sequence[Record]) -> tuple[int, float]:
    """Number of records with two raters or more, and the standard deviation of one rater's score about the mean of its
    record, in points, pooled over these records; NaN where there are none."""
    several = [np.array(record.judges) for record in records if len(record.judges) > 1]
    if not several:
        return 0, float("nan")
    squares = sum(float(((scores - scores.mean()) ** 2).sum()) for scores in several)
    return len(several), (squares / sum(len(scores) - 1 for scores in several)) ** 0.5
