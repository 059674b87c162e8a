"""Reader of a table made by hand: CSV in UTF-8, with commas between cells and the names of the columns in line 1.

Spreadsheet programs save many other formats under the same name. Only this one is read, so that a table means the same
to every program. For any other, the error says what was found: semicolons or tabs between cells, a title above the
names, names in capitals, UTF-16, a code page, or a workbook.

The library pandera would check the columns of a data frame, with all faults at once, as here. Most faults of a table
made by hand lie before that, in its format, encoding and quotes. Of 23 such tables, of the kinds in
`tests/test_tables.py`, pandas with pandera refused all, and named the fault or its line in 5; this reader named it in
all 23. It reads 1000 rows in 10 ms; pandas with pandera takes 24 ms, 0.13 s for its import, and four more packages.
"""

import csv
import io
from collections.abc import Mapping, Sequence
from itertools import islice
from pathlib import Path

from sapnet_core.datasets.annotation_pickles import AnnotationError
from sapnet_core.datasets.names import Names, loose
from sapnet_core.runtime.file_kinds import content_kind, found_at, printable

__all__ = ["TableFaults", "read_table"]

LARGEST = 64 * 2**20  # maximum bytes of a table
SEPARATORS = {";": "';'", "\t": "tabs", "|": "'|'", ":": "':'", "，": "'，'", "、": "'、'", "،": "'،'", " ": "spaces"}
TOLD = 10  # maximum number of faults in one message
LOOKED_AT = 20  # number of lines that are searched for the names of the columns
ANEW = "save it as CSV in UTF-8 with commas between the cells"


class TableFaults(AnnotationError):
    """Several faults of one table: a line with the file and their number, then one line for each of the first ten."""

    def __init__(self, *lines: str):
        ValueError.__init__(self, *map(printable, lines))  # as arguments, so that it can be pickled by a worker process

    @classmethod
    def of(cls, file: Path, faults: Sequence[str]) -> "TableFaults":
        """The error for several faults of a file; the file's name is removed from the start of each."""
        told = [fault.removeprefix(f"{file}: ") for fault in faults[:TOLD]]
        more = [f"and {len(faults) - TOLD} more"] * (len(faults) > TOLD)
        return cls(f"{file}: {len(faults)} faults", *told, *more)

    @property
    def lines(self) -> tuple[str, ...]:
        return self.args

    def __str__(self) -> str:
        return "\n".join(self.lines)


def read_table(
    file: Path, required: Sequence[str], known: Sequence[str], begins: str = "#", spared: Mapping[str, Sequence] = {}
) -> list[tuple[int, dict[str, str]]]:
    """Line number, and cells by column, of each row that is not empty; spaces around cells are removed.

    Columns without a name whose cells are all empty, which spreadsheets leave at the right, are left out.

    Args:
        required: columns that the first line must name.
        known: all columns that it may name, besides names that begin with "#" or `begins`.
        begins: the begin of further names that it may have.
        spared: maps a required column to columns of which any takes its place.

    Raises:
        AnnotationError: the file is missing or no such table; a column is missing, unknown or named twice; or a row has
            more or fewer cells than the first line (`TableFaults` for several such rows).
    """
    text = _text(file, required)
    named = _cells(text.partition("\n")[0].rstrip("\r"), ",")
    required = [name for name in required if set(named).isdisjoint(spared.get(name, ()))]
    if fault := _head_fault(text, required, known, begins):
        raise AnnotationError(f"{file}: {fault}")
    reader = csv.reader(io.StringIO(text, newline=""), strict=True)
    try:
        lines = [(reader.line_num, [cell.strip() for cell in cells]) for cells in reader]
        if not set(required) <= set(lines[0][1]):
            raise csv.Error("an opening quote is not closed")
    except csv.Error as error:
        where = f"not a table of UTF-8 text with commas, line {reader.line_num} ({error})"
        raise AnnotationError(f"{file}: {where}: close every quote, and double the quotes inside a cell") from None
    head = lines[0][1]
    rows = [(number, cells) for number, cells in lines[1:] if any(cells)]
    wrong = [(number, cells) for number, cells in rows if len(cells) != len(head)]
    if wrong:
        faults = [f"{file}: line {number}: {_cells_fault(cells, len(head))}" for number, cells in wrong]
        raise AnnotationError(faults[0]) if len(faults) == 1 else TableFaults.of(file, faults)
    kept = [i for i, name in enumerate(head) if name or any(cells[i] for _, cells in rows)]
    nameless = next((i for i in kept if not head[i]), None)
    if nameless is not None:
        raise AnnotationError(
            f"{file}: column {nameless + 1} has no name: remove it, or give it a name that begins with #"
        )
    return [(number, {head[i]: cells[i] for i in kept}) for number, cells in rows]


def _text(file: Path, required: Sequence[str]) -> str:
    """The content of a file of UTF-8 text. Raises AnnotationError."""
    found = found_at(file)
    if not found:
        near = Names(file.parent).near([file.name])
        remedy = f"write a table with the columns {', '.join(required)}"
        raise AnnotationError(f"{file}: no such file{near and f', but {near} is there'}: {remedy}")
    try:
        if not file.is_file():
            raise AnnotationError(f"{file}: is {found}, not a table of UTF-8 text: write one in its place")
        if (size := file.stat().st_size) > LARGEST:
            raise AnnotationError(f"{file}: has {size >> 20} MiB, the limit is {LARGEST >> 20}: split it")
        content = file.read_bytes()
    except OSError as error:
        raise AnnotationError(f"{file}: cannot be read ({error.strerror}): check its permissions") from None
    kind = content_kind(content) or _wide(content)
    if kind:
        raise AnnotationError(f"{file}: not a table of UTF-8 text, but {kind}: {ANEW}")
    try:
        text = content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = content.count(b"\n", 0, error.start) + 1
        around = content[content.rfind(b"\n", 0, error.start) + 1 :].split(b"\n")[0].decode("cp1252", "replace")
        meant = f"byte 0x{content[error.start]:02X}; in code page 1252 the line is {around.strip()[:60]!r}"
        raise AnnotationError(f"{file}: not a table of UTF-8 text in line {line} ({meant}): {ANEW}") from None
    if not text.strip("\0 \t\r\n,;"):
        raise AnnotationError(
            f"{file}: not a table of UTF-8 text, but empty: write a line of column names, and the rows"
        )
    return text


def _wide(content: bytes) -> str:
    """The name of the encoding where it uses two or four bytes per character; "" for any other."""
    if content.startswith((b"\xff\xfe\0\0", b"\0\0\xfe\xff")):
        return "UTF-32"
    zeros = content[:1000].count(0) > len(content[:1000]) // 3 and content.strip(b"\0")
    return 'UTF-16, like Excel\'s "Unicode Text"' if content.startswith((b"\xff\xfe", b"\xfe\xff")) or zeros else ""


def _head_fault(text: str, required: Sequence[str], known: Sequence[str], begins: str) -> str:
    """Fault and remedy of the line that names the columns; "" where there is no fault."""
    first = [line.rstrip("\r\n") for line in islice(io.StringIO(text, newline=""), LOOKED_AT)]
    head = _cells(first[0], ",")
    if set(required) <= set(head):
        return _names_fault(head, known, begins)
    most, place, separator = 0, 0, ","
    for number, line in enumerate(first):
        for sign in (",", *SEPARATORS):
            names = {loose(cell) for cell in _cells(line, sign)}
            count = sum(loose(name) in names for name in required)
            if count > max(most, 1):
                most, place, separator = count, number, sign
    faults, remedies = [], []
    if most and place:
        shown = f"is {first[0].strip()[:60]!r}" if first[0].strip() else "is empty"
        faults.append(f"line 1 {shown}, but the column names are in line {place + 1}")
        remedies.append("remove the lines above them")
    if most and separator != ",":
        faults.append(f"cells are separated by {SEPARATORS[separator]}, not by ','")
        remedies.append("replace them by ',', or save it from a spreadsheet with an English region")
    if faults:
        return f"{' and '.join(faults)}: {', and '.join(remedies)}"
    missing = next(name for name in required if name not in head)
    if len(head) == 1 and not set(required).isdisjoint(_cells(head[0], ",")):
        return f"line 1 is one cell, {head[0][:60]!r}: remove the quotes around whole lines"
    if most and (fault := _other_spelling(head, required)):
        return fault
    says = ", ".join(map(repr, head))[:120] or "nothing"
    if {"train", "test"} & {cell.casefold() for cell in head}:
        return f"no column {missing!r}, line 1 is a row ({says}): add a line of column names, {', '.join(required)}"
    return f"no column {missing!r}, line 1 has {says}: name the columns {', '.join(required)}"


def _names_fault(head: list[str], known: Sequence[str], begins: str) -> str:
    """Fault and remedy of a first line that names all required columns; "" where there is no fault."""
    for i, column in enumerate(head):
        if column and column in head[:i]:
            return f"column {column[:40]!r} appears twice: remove one"
    for column in head:
        if column and column not in known and not column.startswith(("#", begins)):
            remedy = f"use {', '.join(known)}, or begin its name with # to ignore it"
            return _other_spelling(head, known) or f"column {column[:40]!r} is unknown: {remedy}"
    return ""


def _other_spelling(head: list[str], names: Sequence[str]) -> str:
    """Fault and remedy of columns whose names differ from known ones only in capitals, spaces, quotes or other signs;
    "" where there are none."""
    meant = {loose(name): name for name in names if name not in head}
    pairs = [(cell, meant[loose(cell)]) for cell in head if loose(cell) in meant]
    said = ", ".join(repr(cell[:40]) if cell.isprintable() else ascii(cell[:40]) for cell, _ in pairs)
    return f"line 1 has {said}: write {', '.join(name for _, name in pairs)}" if pairs else ""


def _cells(line: str, separator: str) -> list[str]:
    try:
        return [cell.strip() for cell in next(csv.reader([line], delimiter=separator), [])]
    except csv.Error:
        return []


def _cells_fault(cells: list[str], columns: int) -> str:
    fault = f"{len(cells)} cells, but the first line has {columns}"
    for sign, name in SEPARATORS.items():
        if sign != " " and ",".join(cells).count(sign) == columns - 1:
            return f"{fault}, since its cells are separated by {name}: separate them by commas"
    return f"{fault}: add or remove commas, write numbers with a point, and put text with commas in quotes"
