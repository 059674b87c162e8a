"""Reader of a sequence in a text file: one time step per line, and an optional first line with the columns' names.

Cells are separated by commas; in a file that ends in ".txt", they may be separated by white space instead.

Every line becomes one step and every cell one feature; otherwise the file is refused, and the error names the faulty
line. A file is also refused where other programs seem to have added numeric column names or a column of row numbers,
which must not be read as measurements.
"""

import csv
import io
import math
import re
import unicodedata
from array import array
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from sapnet_core.datasets.annotation_pickles import AnnotationError
from sapnet_core.runtime.file_kinds import content_kind

__all__ = ["column_names", "read_numbers"]

LARGEST = 96 * 2**20  # maximum bytes of a file: a number takes at least two in the file, and eight in memory
LINE = 8 * 2**20  # maximum characters of a line: a cell takes up to 40 times its size in memory while a line is read
NUMBER = re.compile(r"[+-]?(?:\d+(?:\.\d*)?|\.\d+)(?:[eE][+-]?\d+)?", re.ASCII)
COUNT = re.compile(r"0|[1-9]\d{0,17}", re.ASCII)
NAME = re.compile(r"[\W_]*(?:[^\W\d_]|\d+[ _-]?[^\W\d_])")  # begin of a column's name, such as x, "# x", 0_x or 3d
LONGEST = 1000  # maximum characters of a name
MISSING = {
    "",
    "na",
    "n/a",
    "n.a",
    "n.a.",
    "n/d",
    "#n/a",
    "<na>",
    "nan",
    "+nan",
    "-nan",
    "nat",
    "null",
    "none",
    "nil",
    "\\n",
    "-",
    "--",
    "?",
    ".",
    "missing",
    "undefined",
    "no data",
    "nodata",
    "tbd",
    "true",
    "false",
}
NO_NAME = re.compile(  # words of C, Python and Excel in place of numbers, and numbers in base 2, 8 and 16
    r"[\W_]*(?:inf(?:inity)?|nan(?:\(\w*\))?|0[xbo][\da-f.]+(?:p[+-]?\d*)?|\d+e[+-]?\d*"
    r"|\d+d[+-]?\d+)[\W_]*|#[a-z/0]+[!?]|err:\d+"
)
NAMELESS = re.compile(r"unnamed: [\d.]+(?:_level_\d+)?|index|level_\d+|row[._]?names?", re.ASCII)  # row numbers
SEPARATORS = {";": "';'", "\t": "tabs", "|": "'|'"}
FLOAT32 = float(np.finfo(np.float32).max)
STEADY = 8  # number of steps from which a first column of equally spaced whole numbers counts as row numbers
PLAIN = b"0123456789+-.eE \t\n"  # bytes of a file in which every cell is a number, beside commas
BLANK = re.compile(rb"\n[ \t]*\n")
REMEDY = "fill it in, or remove such time steps before saving"


def read_numbers(path: Path, missing: bool = False) -> np.ndarray:
    """The numbers of a text file, (T, C) float64.

    Args:
        path: the file.
        missing: return NaN for a cell that is empty or holds a placeholder such as "NA", instead of refusing the file.

    Raises:
        AnnotationError: the file is too large, is no UTF-8 text, has another separator than commas, or has no numbers;
            a cell is no finite number in the range of float32; a line is empty, too long, or has another number of
            cells; or the first line or column holds column or row numbers instead of measurements.
    """
    size = path.stat().st_size
    if size > LARGEST:
        fault = f"has {size >> 20} MiB of text, the limit is {LARGEST >> 20}"
        raise AnnotationError(f"{path}: {fault}: save it with numpy.save")
    with path.open("rb") as file:
        head = file.read(4096)
    if size and (kind := content_kind(head)):
        raise AnnotationError(f"{path}: is {kind}, not a table of numbers: save it as CSV in UTF-8")
    if head.startswith((b"\xff\xfe", b"\xfe\xff")) or b"\0" in head:
        raise AnnotationError(f"{path}: is not UTF-8 text, but UTF-16 or binary: save it as CSV in UTF-8")
    if (table := _plain_table(path)) is not None:
        return table
    values, steps, columns, names, numbered, alone = array("d"), 0, 0, [], True, False
    for number, cells in _lines(path):
        columns = columns or len(cells)
        if number == 1 and _is_header(cells):
            _check_names(path, cells)
            names = cells
            continue
        if number == 1:
            _check_first(path, cells)
        if len(cells) != columns:
            _check_separator(path, number, cells)
            has = f"{len(cells)} cells, but the lines before it have {columns}"
            raise AnnotationError(f"{path}: line {number}: has {has}: write the same number of cells in every line")
        values.extend(_number(path, number, column, cell, missing) for column, cell in enumerate(cells, 1))
        numbered = numbered and COUNT.fullmatch(cells[0]) is not None
        if not steps:
            alone = all(map(COUNT.fullmatch, cells))
        elif alone:
            alone = not any(map(COUNT.fullmatch, cells))
        steps += 1
    if not steps:
        raise AnnotationError(f"{path}: has no numbers: write one time step per line")
    table = np.frombuffer(values).reshape(steps, columns)
    if not names:
        _check_counts(path, table, alone, numbered)
    return table


def column_names(path: Path) -> list[str]:
    """The names in the first line of a text file; [] where that line holds numbers. Raises AnnotationError."""
    _, cells = next(_lines(path), (0, []))
    return cells if cells and _is_header(cells) else []


def _plain_table(path: Path) -> np.ndarray | None:
    """The numbers of a file in which every cell is a plain number, parsed by NumPy, which is faster than by cell.

    None for any other file: one with names, missing values, empty lines, a faulty line, or whole numbers at its begin,
    which may be row or column numbers.
    """
    content = path.read_bytes().replace(b"\r\n", b"\n").rstrip(b"\n")
    comma = b"," in content
    separated = path.suffix.lower() == ".txt" or (comma and path.suffix.lower() == ".csv")
    if separated and content:
        if max(map(len, io.BytesIO(content))) > LINE:  # line by line: a list of millions takes many times the file
            return None
        first = content.split(b"," if comma else None, 1)[0].decode("ascii", "replace")
        plain = not content.translate(None, PLAIN + b"," * comma) and not BLANK.search(b"\n" + content)
        if plain and first.strip() and not COUNT.fullmatch(first.strip()):
            try:
                table = np.loadtxt(io.BytesIO(content), delimiter="," if comma else None, ndmin=2)
            except ValueError:
                return None
            return table if (np.abs(table) <= FLOAT32).all() else None
    return None


def _lines(path: Path) -> Iterator[tuple[int, list[str]]]:
    """Line numbers, counted from 1, and cells; empty lines at the end are left out. Raises AnnotationError."""
    empty, number = 0, 0  # number of the first empty line, 0 for none
    text = path.suffix.lower() == ".txt"
    with path.open(encoding="utf-8-sig") as file:
        try:
            while line := file.readline(LINE + 1):
                number += 1
                if len(line) > LINE:
                    fault = f"line {number}: has more than {LINE:,} characters"
                    raise AnnotationError(f"{path}: {fault}: write one time step per line, or save it with numpy.save")
                if not line.strip():
                    empty = empty or number
                    continue
                if empty:
                    raise AnnotationError(f"{path}: line {empty}: is empty, but a line is a time step: {REMEDY}")
                if line.count('"') % 2:
                    fault = f"line {number}: has an unclosed quotation mark"
                    raise AnnotationError(f"{path}: {fault}: write numbers without quotation marks")
                cells = line.split() if text and "," not in line else next(csv.reader([line], strict=True))
                yield number, [cell.strip() for cell in cells]
        except csv.Error as error:
            fault = f"line {number}: cannot be split into cells at commas ({error})"
            raise AnnotationError(f"{path}: {fault}: write numbers separated by commas") from None
        except UnicodeDecodeError as error:
            raise AnnotationError(f"{path}: is not UTF-8 text (byte {error.start}): save it as CSV in UTF-8") from None


def _is_name(cell: str) -> bool:
    """Whether a cell can only be a name: it is neither a number nor a placeholder for one in any notation."""
    plain = unicodedata.normalize("NFKC", cell[: LONGEST + 1]).lower()
    begins = len(cell) <= LONGEST and NAME.match(plain) is not None
    return begins and plain not in MISSING and NO_NAME.fullmatch(plain) is None


def _is_header(cells: list[str]) -> bool:
    """Whether a line holds names: no cell is a number, some are names, and not all are equal, as missing values are."""
    alike = len(cells) > 1 and len(set(cells)) == 1
    numbers = any(map(NUMBER.fullmatch, cells))
    return not numbers and not alike and any(map(_is_name, cells)) and not _separator(cells)


def _separator(cells: list[str]) -> str:
    """The separator between numbers where it is not the comma; "" where it is, or cannot be told."""
    line = ",".join(cells)
    for sign, name in SEPARATORS.items():
        if sign in line and (len(cells) == 1 or sign != "|"):
            return name
    words = line.split()
    return "spaces" if len(cells) == 1 and len(words) > 1 and all(map(NUMBER.fullmatch, words)) else ""


def _check_separator(path: Path, line: int, cells: list[str]) -> None:
    if found := _separator(cells):
        fault = f"line {line}: cells are separated by {found}, not by ','"
        raise AnnotationError(f"{path}: {fault}: write numbers with decimal points, separated by commas")


def _check_names(path: Path, names: list[str]) -> None:
    """Check that every column has a name: a column without one holds row numbers that a program added, or is a
    superfluous cell. Raises AnnotationError."""
    for column, name in enumerate(names, 1):
        where = f"{path}: line 1: column {column}"
        if not name or NAMELESS.fullmatch(name.lower()):
            fault = f"{where} has the name {name[:40]!r}, which programs give to row numbers"
            raise AnnotationError(f"{fault}: save the table without them (index=False), or name the column")
        if not _is_name(name):
            raise AnnotationError(f"{where} is {name[:40]!r}, neither a name nor a number: write one of them")


def _check_counts(path: Path, table: np.ndarray, alone: bool, numbered: bool) -> None:
    """Check that a table without names holds only measurements: no numeric column names, and no row numbers.

    Args:
        table: (T, C).
        alone: all cells of the first line are written as whole numbers, and none of any other line is.
        numbered: all cells of the first column are written as whole numbers.

    Raises:
        AnnotationError: it holds such names or numbers.
    """
    (first, *_), (steps, columns) = table, table.shape
    if alone and steps > 1 and ((columns > 2 and (np.diff(first) > 0).all()) or (first == np.arange(columns)).all()):
        fault = "line 1 looks like numeric column names: only it has whole numbers, and they increase"
        remedy = "save the table without them (header=False), or write a measured 2 as 2.0"
        raise AnnotationError(f"{path}: {fault}: {remedy}")
    by = np.diff(table[:, 0])
    steady = steps > 2 and columns > 1 and by[0] > 0 and (by == by[0]).all()
    if numbered and steady and (steps >= STEADY or (by[0] == 1 and table[0, 0] in (0, 1))):
        fault = "column 1 looks like row numbers"
        remedy = "save the table without row numbers (index=False), or name the columns in line 1"
        raise AnnotationError(f"{path}: {fault}: {remedy}")


def _check_first(path: Path, cells: list[str]) -> None:
    """Check that a first line without names holds a step, not the column numbers that pandas writes.

    Raises:
        AnnotationError: it does not.
    """
    _check_separator(path, 1, cells)
    named = cells[1:] if not cells[0] else cells
    if len(named) > 1 and named == [str(i) for i in range(len(named))]:
        fault = f"line 1: counts from 0 to {len(named) - 1}, like the column names that pandas adds"
        remedy = "save the table without them (header=False, index=False), or write a measured 0 as 0.0"
        raise AnnotationError(f"{path}: {fault}: {remedy}")


def _number(path: Path, line: int, column: int, cell: str, missing: bool) -> float:
    where = f"{path}: line {line}: column {column}"
    if cell.lower() in MISSING:
        if missing:
            return math.nan
        raise AnnotationError(f"{where} has a missing value ({cell[:40]!r}): {REMEDY}")
    if not NUMBER.fullmatch(cell):
        _check_separator(path, line, [cell])
        infinite = cell.lower().lstrip("+-") in ("inf", "infinity")
        fault, remedy = (
            ("is not finite", REMEDY) if infinite else ("is not a number", "write it with digits and a decimal point")
        )
        raise AnnotationError(f"{where} is {cell[:40]!r}, which {fault}: {remedy}")
    value = float(cell)
    if abs(value) > FLOAT32:
        raise AnnotationError(f"{where} is {cell[:40]!r}, beyond the range of float32: rescale the column")
    return value
