"""Folds: which records are tested together, and never learned from in that trial."""

import re
from collections.abc import Sequence
from dataclasses import replace
from typing import NamedTuple

from sapnet_core.datasets.records import Record
from sapnet_core.datasets.sequence_record import SequenceRecord, fold_of, subject_of

__all__ = ["BY", "FOLDS", "Fold", "fold_names", "folds_in_use", "held_out", "with_test_fold"]

BY = ("fold", "subject")
FOLDS = 5  # number of folds into which people are divided, where the records name people and no folds


class Fold(NamedTuple):
    """One fold: its name, `by` which field of a record it is made ("fold" or "subject"), the values of that field that
    it tests, and the keys of these records."""

    name: str
    by: str
    tested: tuple[str, ...]
    records: frozenset[str]


def fold_names(records: Sequence[Record], by: str = "", count: int = FOLDS) -> list[Fold]:
    """The folds of a dataset in natural order ("2" before "10"); [] where the records name neither folds nor people.

    Args:
        records: its records; one without a fold, or without a person, is always learned from.
        by: "fold" or "subject"; "" takes folds where any record names one, else people.
        count: number of folds into which people are divided, neighbors in order together; 0 leaves each one out alone.

    Raises:
        ValueError: `by` is unknown, or all records lie in one fold.
    """
    if by not in ("", *BY):
        raise ValueError(f"by={by!r} is unknown: choose one of {', '.join(BY)}")
    by = by or ("fold" if any(map(fold_of, records)) else "subject")
    value = fold_of if by == "fold" else subject_of
    names = sorted({value(record) for record in records} - {""}, key=_natural)
    parts = [(name,) for name in names]
    if by == "subject" and count and len(names) > count:
        edges = [len(names) * i // count for i in range(count + 1)]
        parts = [tuple(names[a:b]) for a, b in zip(edges, edges[1:], strict=False)]
    if len(parts) == 1 and all(map(value, records)):
        raise ValueError(f"all records have the {by} {names[0]!r}: give at least two")
    found = []
    for tested in parts:
        keys = frozenset(record.key for record in records if value(record) in tested)
        found.append(Fold("+".join(tested), by, tested, keys))
    return found


def folds_in_use(records: Sequence[Record]) -> list[Fold]:
    """The folds by which own data are evaluated, [] where they are evaluated by their split: all folds that the records
    name; or those of people, unless the table divides people by a split of its own.

    Raises:
        ValueError: all records lie in one fold.
    """
    folds = fold_names(records)
    if folds and folds[0].by == "subject":
        first = {r.key for r in records if r.key in folds[0].records and r.score == r.score}
        if first != {r.key for r in records if r.split == "test"}:
            return []
    return folds


def with_test_fold(records: Sequence[SequenceRecord]) -> list[SequenceRecord]:
    """The records with a split by folds: those of the first fold that have a score are the test part.

    Raises:
        ValueError: no record names a fold or a person, or all lie in one fold.
    """
    folds = fold_names(records)
    if not folds:
        raise ValueError("no row has a fold or a subject: write them, or a column split")
    tested = {r.key for r in records if r.key in folds[0].records and r.score == r.score}
    return [replace(r, split="test" if r.key in tested else "train") for r in records]


def held_out(record: Record, by: str, tested: Sequence[str]) -> bool:
    """Whether a fold made `by` folds or people tests the record."""
    return (fold_of if by == "fold" else subject_of)(record) in tested


def _natural(name: str) -> tuple:
    """Key of the natural order: numbers within a name by their value."""
    return tuple((1, int(part), "") if part.isdigit() else (0, 0, part) for part in re.split(r"(\d+)", name) if part)
