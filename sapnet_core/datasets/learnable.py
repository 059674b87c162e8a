"""Checks of own videos before a run, for faults that would stop training or make its results meaningless."""

import math
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from sapnet_core.datasets.annotation_pickles import AnnotationError
from sapnet_core.datasets.folds import folds_in_use
from sapnet_core.datasets.records import PERFECT, Record
from sapnet_core.datasets.sequence_files import is_sequence_file, read_sequence
from sapnet_core.datasets.sequence_record import SequenceRecord

__all__ = ["check_learnable"]

SPREAD = 5e-4  # minimum range of the scores relative to their magnitude, for the precision of float32 and the network
FINEST = 1e-4  # minimum range of the scores in points; predictions are written with six decimals


def check_learnable(file: Path, records: Sequence[Record]) -> None:
    """Check that own videos are of one kind, and that each group of them can be trained and evaluated separately.

    Args:
        file: records.csv; paths of records are relative to its folder.

    Raises:
        AnnotationError: some paths are videos and others sequences; a sequence cannot be read, or has missing values;
            sequences have different numbers of columns; some rows have a group and others none, or a view for the
            teacher and others none; a group has fewer than two different scores (in float32) in a part or a fold; or
            its training scores are too close to each other.
    """
    _check_kinds(file, records)
    groups = sorted({record.group for record in records})
    if len(groups) > 1 and not groups[0]:
        key = next(record.key for record in records if not record.group)
        raise AnnotationError(f"{file}: row {key!r} has no group, but others have one: give every row a group, or none")
    try:
        folds = folds_in_use(records)
    except ValueError as error:
        raise AnnotationError(f"{file}: {error}") from None
    for group in groups:
        where = f" of group {group!r}" if group else ""
        known = [r for r in records if r.group == group and not math.isnan(r.score)]
        for part in ("train", "test"):
            _check_scores(file, [r.score for r in known if r.split == part], f"{part} scores{where}")
        for fold in folds:
            for kept, part in ((False, "train"), (True, "test")):
                scores = [r.score for r in known if (r.key in fold.records) == kept]
                _check_scores(file, scores, f"{part} scores of {fold.by} {fold.name!r}{where}")
        train = [r for r in known if r.split == "train"]
        _check_spread(file, [r.score for r in train], f"train scores{where}", FINEST)
        if any(r.difficulty != 1 for r in records):
            _check_spread(file, [r.execution for r in train], f"train scores over difficulty{where}", SPREAD * PERFECT)


def _check_kinds(file: Path, records: Sequence[Record]) -> None:
    """Check that all are videos, or all are sequences that can be read, with the same number of columns, and a view for
    the teacher in all rows or in none. Raises AnnotationError."""
    sequences = [record for record in records if is_sequence_file(record.path)]
    videos = [record for record in records if not is_sequence_file(record.path)]
    if videos and sequences:
        rows = f"row {videos[0].key!r} and row {sequences[0].key!r}"
        raise AnnotationError(f"{file}: some paths are videos and others sequences ({rows}): put them into two folders")
    first: tuple[str, int] | None = None
    own = [r for r in sequences if isinstance(r, SequenceRecord) and (r.path_teacher or r.channels_teacher)]
    if own and len(own) < len(sequences):
        key = next(record.key for record in sequences if record not in own)
        fault = f"row {key!r} has no view for the teacher, but others have one"
        raise AnnotationError(f"{file}: {fault}: fill path_teacher or channels_teacher in every row, or in none")
    views = {(path, r.fill) for r in own for path in [r.path_teacher] if path}
    paths = {(record.path, getattr(record, "fill", False)): None for record in sequences} | dict.fromkeys(sorted(views))
    for path, fill in paths:
        columns = read_sequence(file.parent / path, fill).shape[1]
        first = first or (path, columns)
        if columns != first[1]:
            raise AnnotationError(
                f"{file}: {path} has {columns} columns, but {first[0]} has {first[1]}: give all the same columns"
            )


def _check_scores(file: Path, scores: list[float], which: str) -> None:
    """Check that at least two scores are different in float32. Raises AnnotationError."""
    if len(set(scores)) < 2:
        has = (
            "no row has a score"
            if not scores
            else "only one row has a score"
            if len(scores) == 1
            else f"all are {scores[0]:g}"
        )
        raise AnnotationError(f"{file}: fewer than two different {which} ({has}): give at least two")
    if len(set(np.float32(scores).tolist())) < 2:
        has = f"all become {np.float32(scores[0]):g} in float32, the number format of training"
        raise AnnotationError(f"{file}: fewer than two different {which} ({has}): subtract a constant, or rescale them")


def _check_spread(file: Path, scores: list[float], which: str, least: float) -> None:
    """Check that the range of the scores is at least `least`, and at least `SPREAD` times their largest magnitude.

    Raises:
        AnnotationError: it is smaller.
    """
    low, high = min(scores), max(scores)
    needed = max(least, SPREAD * max(abs(low), abs(high)))
    if high - low < needed:
        fault = f"{which} lie between {low:.9g} and {high:.9g}, too close to be learned (at least {needed:.2g} apart)"
        raise AnnotationError(f"{file}: {fault}: subtract a constant, or rescale them")
