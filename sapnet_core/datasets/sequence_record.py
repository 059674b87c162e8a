"""The record of a sequence of features, joints or sensor values, with what only sequences have: a second view for the
teacher, and the fold and the person that may be left out."""

from dataclasses import dataclass

from sapnet_core.datasets.records import Record

__all__ = ["SequenceRecord", "fold_of", "subject_of"]


@dataclass(frozen=True, slots=True)
class SequenceRecord(Record):
    """One annotated performance of a dataset that may be left out by folds or by people.

    Attributes:
        path_teacher: the file of the teacher's view, relative to the folder; "" where it has no file of its own.
        channels_teacher: columns, counted from 0, that the teacher alone sees of the record's sequence; () for all.
        fill: whether missing values are interpolated over time (`gaps.filled`); otherwise the file is refused.
        fold: name of the fold that tests the record; "" for a record that no fold tests.
        subject: the person who performs; "" where unknown.
    """

    path_teacher: str = ""
    channels_teacher: tuple[int, ...] = ()
    fill: bool = False
    fold: str = ""
    subject: str = ""


def fold_of(record: Record) -> str:
    """The name of the record's fold; "" for none."""
    return getattr(record, "fold", "")


def subject_of(record: Record) -> str:
    """The person who performs in the record; "" where unknown."""
    return getattr(record, "subject", "")
