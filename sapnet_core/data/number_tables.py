"""A sequence written as text: one time step a line, numbers with commas between them, a first line of names or none.

Every line becomes one step and every cell one feature, or the file is refused with the line that is in the way. What
other programs add to a table, its names as numbers and a column that counts the rows, is told from what was measured.
"""

import csv
import re
from array import array
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from sapnet_core.data.unpickle import AnnotationError
from sapnet_core.file_kinds import content_kind

__all__ = ["read_numbers"]

LARGEST = 96 * 2**20  # bytes of a file: a number takes two at least, and eight when it is read
NUMBER = re.compile(r"[+-]?(?:\d+\.?\d*|\.\d+)(?:[eE][+-]?\d+)?", re.ASCII)
COUNT = re.compile(r"\d+", re.ASCII)
MISSING = {"", "na", "n/a", "#n/a", "<na>", "nan", "+nan", "-nan", "null", "none", "nil", "-", "--", "?", "missing"}
NAMELESS = re.compile(r"|unnamed: \d+|index|\d+", re.ASCII)  # how pandas and R name what has no name
SEPARATORS = {";": "';'", "\t": "tabs", "|": "'|'"}
FLOAT32 = float(np.finfo(np.float32).max)
REMEDY = "fill it, or cut such steps before saving"


def read_numbers(path: Path) -> np.ndarray:
    """The numbers of a CSV file, (T, C) float64.

    Raises:
        AnnotationError: the file is no UTF-8 text, has another separator than commas, a cell is no finite number, a
            line is empty or of another length, no number is there, or a line or column counts and measures nothing.
    """
    size = path.stat().st_size
    if size > LARGEST:
        fault = f"has {size >> 20} MiB of text, the limit is {LARGEST >> 20}"
        raise AnnotationError(f"{path}: {fault}: save it by numpy.save")
    with path.open("rb") as file:
        head = file.read(4096)
    if size and (kind := content_kind(head)):
        raise AnnotationError(f"{path}: is {kind}, and no table of numbers: save it as CSV in UTF-8")
    if head.startswith((b"\xff\xfe", b"\xfe\xff")) or b"\0" in head:
        raise AnnotationError(f"{path}: is no UTF-8 text, but UTF-16 or binary: save it as CSV in UTF-8")
    values, columns, counts, names, steps = array("d"), 0, True, [], 0
    for number, cells in _lines(path):
        if number == 1 and _is_header(cells):
            names = cells
            _check_names(path, names)
            columns = len(names)
            continue
        if columns and len(cells) != columns:
            has = f"{len(cells)} cells, and the lines before it {columns}"
            raise AnnotationError(f"{path}: line {number}: has {has}: write equally many numbers a line")
        columns = len(cells)
        if number == 1:
            _check_first(path, cells)
        values.extend(_number(path, number, column, cell) for column, cell in enumerate(cells, 1))
        counts = counts and cells[0] in (str(steps), str(steps + 1)) and COUNT.fullmatch(cells[0]) is not None
        steps += 1
    if not steps:
        raise AnnotationError(f"{path}: has no numbers: write one time step a line")
    if counts and not names and steps > 2 and columns > 1:
        fault = "column 1 counts the lines and measures nothing"
        raise AnnotationError(f"{path}: {fault}: save the table without its row numbers (index=False)")
    return np.frombuffer(values).reshape(steps, columns)


def _lines(path: Path) -> Iterator[tuple[int, list[str]]]:
    """Line numbers, from 1 as an editor counts, and cells; empty lines at the end are left out."""
    empty = 0  # the first of some empty lines
    with path.open(encoding="utf-8-sig") as file:
        reader = csv.reader(file, strict=True)
        try:
            for cells in reader:
                cells = [cell.strip() for cell in cells]
                if not cells or cells == [""]:
                    empty = empty or reader.line_num
                    continue
                if empty:
                    raise AnnotationError(f"{path}: line {empty}: is empty, and no step: {REMEDY}")
                yield reader.line_num, cells
        except csv.Error as error:
            fault = f"line {reader.line_num}: no cells with commas between them ({error})"
            raise AnnotationError(f"{path}: {fault}: write numbers with commas between them") from None
        except UnicodeDecodeError as error:
            raise AnnotationError(f"{path}: is no UTF-8 text (byte {error.start}): save it as CSV in UTF-8") from None


def _is_header(cells: list[str]) -> bool:
    """A line of names: no cell of it is a number, and some are names, not signs for what is missing."""
    missing = [cell.lower() in MISSING or NAMELESS.fullmatch(cell.lower()) is not None for cell in cells]
    return not any(NUMBER.fullmatch(cell) for cell in cells) and not all(missing) and not _separator(cells)


def _separator(cells: list[str]) -> str:
    """What stands between numbers in place of commas, "" where commas do or nothing tells."""
    line = ",".join(cells)
    for sign, name in SEPARATORS.items():
        if sign in line or line == f"sep={sign}":
            return name
    words = line.split()
    return "spaces" if len(cells) == 1 and len(words) > 1 and all(map(NUMBER.fullmatch, words)) else ""


def _check_names(path: Path, names: list[str]) -> None:
    """That every column has a name: one without is the row numbers that a program added, or a cell too many."""
    for column, name in enumerate(names, 1):
        if name.lower() in MISSING or NAMELESS.fullmatch(name.lower()):
            fault = f"line 1: column {column} has the name {name[:40]!r}, as row numbers have that a program adds"
            remedy = "save the table without them (index=False), or name what it measures"
            raise AnnotationError(f"{path}: {fault}: {remedy}")


def _check_first(path: Path, cells: list[str]) -> None:
    """That a first line without names holds a step."""
    if found := _separator(cells):
        fault = f"line 1: cells are parted by {found}, expected ','"
        raise AnnotationError(f"{path}: {fault}: write numbers with points and commas between them")
    named = cells[1:] if not cells[0] else cells
    if len(named) > 1 and named == [str(i) for i in range(len(named))]:
        fault = f"line 1: counts from 0 to {len(named) - 1}, as the names of columns do that pandas adds"
        remedy = "save the table without them (header=False, index=False); write 0.0 where 0 was measured"
        raise AnnotationError(f"{path}: {fault}: {remedy}")


def _number(path: Path, line: int, column: int, cell: str) -> float:
    where = f"{path}: line {line}: column {column}"
    if cell.lower() in MISSING:
        raise AnnotationError(f"{where} holds no number ({cell[:40]!r}): {REMEDY}")
    if not NUMBER.fullmatch(cell):
        infinite = cell.lower().lstrip("+-") in ("inf", "infinity")
        fault, remedy = ("is not finite", REMEDY) if infinite else ("is no number", "write it with digits and a point")
        raise AnnotationError(f"{where} is {cell[:40]!r}, which {fault}: {remedy}")
    value = float(cell)
    if abs(value) > FLOAT32:
        raise AnnotationError(f"{where} is {cell[:40]!r}, beyond what float32 holds: rescale the column")
    return value
