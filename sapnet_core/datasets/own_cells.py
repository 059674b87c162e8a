"""The cells of a row of `records.csv`: each is read and checked by itself."""

import math
import re

import numpy as np

from sapnet_core.datasets.names import hidden

__all__ = [
    "TARGETS",
    "RowFault",
    "check_label",
    "check_split",
    "difficulty",
    "fill",
    "frame",
    "number",
    "single",
    "targets",
    "transitions",
]

TARGETS = "score_"  # a column whose name begins so holds a further score
NUMBER = re.compile(r"[+-]?([0-9]+\.?[0-9]*|\.[0-9]+)([eE][+-]?[0-9]+)?", re.ASCII)
TARGET_NAME = re.compile(r"\w{1,40}")
KNOWN_TARGETS = ("score", "execution")  # targets of a trial that are no further scores


class RowFault(Exception):
    """The fault of one row; the caller adds the file and the line."""


def single(value: float) -> bool:
    """Whether float32, in which scores are learned, represents the value without overflow to infinity or underflow to
    0."""
    with np.errstate(over="ignore", under="ignore"):
        short = np.float32(value)
    return bool(np.isfinite(short)) and bool(short) == bool(value)


def number(row: dict[str, str], column: str, empty: float = math.nan) -> float:
    """The number in a column; `empty` where there is none. Raises RowFault."""
    text = row.get(column, "")
    if text.lower() in ("", "nan"):
        return empty
    if not NUMBER.fullmatch(text):
        raise RowFault(f"{column} {text[:40]!r} is not a number: write one with a point, or leave it empty")
    if not single(float(text)):
        raise RowFault(f"{column} {text[:40]!r} is beyond the range of float32: rescale the column")
    return float(text)


def check_label(row: dict[str, str], column: str) -> None:
    """Check the name of a fold or a person. Raises RowFault."""
    name = row.get(column, "")
    if not name.isprintable() or hidden(name):
        raise RowFault(f"{column} {ascii(name[:40])} is not printable ({hidden(name)} is invisible): type it again")


def targets(row: dict[str, str]) -> tuple[tuple[str, float], ...]:
    """The further scores of a row by name, NaN where empty. Raises RowFault."""
    columns = [column for column in row if column.startswith(TARGETS)]
    for column in columns:
        if not TARGET_NAME.fullmatch(column.removeprefix(TARGETS)) or column.removeprefix(TARGETS) in KNOWN_TARGETS:
            raise RowFault(f"column {column[:40]!r} names no score: call it {TARGETS}NAME, with letters and digits")
    return tuple((column.removeprefix(TARGETS), number(row, column)) for column in columns)


def fill(row: dict[str, str]) -> bool:
    """Whether missing values of the row's sequence are filled. Raises RowFault."""
    if (text := row.get("missing", "")) not in ("", "fill"):
        raise RowFault(f"missing {text[:40]!r} is unknown: write fill, or leave it empty")
    return bool(text)


def check_split(split: str) -> None:
    """Check the part of a row. Raises RowFault."""
    if split not in ("train", "test"):
        raise RowFault(f"split {split[:40]!r} is unknown: write train or test")


def difficulty(row: dict[str, str]) -> float:
    """The degree of difficulty, 1 where there is none. Raises RowFault."""
    degree = number(row, "difficulty", 1.0)
    if degree <= 0:
        raise RowFault(f"difficulty {degree:g} is not above 0: leave it empty where there is none")
    return degree


def transitions(row: dict[str, str]) -> tuple[int, ...]:
    """The frames at which the second, third ... subaction begins. Raises RowFault."""
    words = row.get("transitions", "").replace(";", " ").split()
    return tuple(_whole(word, "transitions") for word in words)


def _whole(text: str, column: str) -> int:
    if not (text.isascii() and text.isdigit() and len(text) < 10):
        raise RowFault(f"{column} {text[:40]!r} is not a frame number: write whole numbers of at least 0")
    return int(text)


def frame(row: dict[str, str], column: str) -> int | None:
    """The frame number in a column; None where there is none. Raises RowFault."""
    return _whole(row[column], column) if row.get(column) else None
