"""A folder of one's own videos or sequences: one `records.csv` beside them says what they are.

Columns `id, path, score, split`; optional `difficulty, group, start_frame, end_frame, transitions`, and `note` or any
column that starts with "#", which are not read. `path` is below the folder: a video file, a folder of frames, or a
sequence of features or joints over time (`.npy`, `.npz`, `.csv`). A training row without score is unlabeled. Frames
count from 0, `end_frame` is excluded, and transitions are the frames at which the second, third, ... subaction begins,
with spaces or semicolons between them.

What is read here may come from anywhere: no path leads out of the folder.
"""

import csv
import math
from pathlib import Path, PurePosixPath, PureWindowsPath

from sapnet_core.data.records import Record
from sapnet_core.data.sequence_files import SEQUENCES, read_sequence, sequence_shape
from sapnet_core.data.unpickle import AnnotationError

__all__ = ["COLUMNS", "NAME", "SEQUENCES", "read_folder", "read_sequence", "sequence_shape"]

NAME = "records.csv"
REQUIRED = ("id", "path", "score", "split")
COLUMNS = (*REQUIRED, "difficulty", "group", "start_frame", "end_frame", "transitions", "note")
LARGEST = 64 * 2**20  # bytes of records.csv


class _Fault(Exception):
    """What is wrong with a row, to be said with its line."""


def read_folder(root: Path | str, skip: bool = False) -> list[Record]:
    """Records of a folder's `records.csv`; their paths count from the folder.

    The length of a video without `end_frame` is counted in the video (`sapnet_core.data.video.probe`). With `skip` a
    video whose frames cannot be counted gets one: whoever reads it meets the fault, and may leave it out.

    Raises:
        AnnotationError: records.csv is missing or no such table; a column is missing or unknown; an id is empty or
            stands twice; a path is absent or leads out of the folder; a value is of another kind; a span is empty; or
            no training row has a score.
        VideoError: a video whose length is asked cannot be read, and `skip` is off.
    """
    root = Path(root)
    file = root / NAME
    records: dict[str, Record] = {}
    for number, row in _rows(file):
        try:
            record = _record(root, row, skip)
        except _Fault as error:
            raise AnnotationError(f"{file}: line {number}: {error}") from None
        if record.key in records:
            raise AnnotationError(f"{file}: line {number}: id {record.key!r} stands twice: give each row its own")
        records[record.key] = record
    for part in ("train", "test"):
        if not any(record.split == part and not math.isnan(record.score) for record in records.values()):
            raise AnnotationError(f"{file}: no {part} row has a score: give one to some (a few is enough to begin)")
    return list(records.values())


def _rows(file: Path) -> list[tuple[int, dict[str, str]]]:
    """Line numbers and cells by column of the rows that are not empty."""
    if not file.is_file():
        raise AnnotationError(f"{file}: no such file: write a table with the columns {', '.join(REQUIRED)}")
    if file.stat().st_size > LARGEST:
        raise AnnotationError(f"{file}: has {file.stat().st_size >> 20} MiB, the limit is {LARGEST >> 20}: split it")
    try:
        with file.open(encoding="utf-8-sig", newline="") as text:
            reader = csv.reader(text, strict=True)
            lines = [(reader.line_num, [cell.strip() for cell in cells]) for cells in reader]
    except (csv.Error, UnicodeDecodeError) as error:
        reason = str(error).splitlines()[0]
        raise AnnotationError(f"{file}: no table of UTF-8 text ({reason}): save it as CSV anew") from None
    head = lines[0][1] if lines else []
    for column in REQUIRED:
        if column not in head:
            raise AnnotationError(f"{file}: no column {column!r}: its first line names {', '.join(REQUIRED)}")
    for i, column in enumerate(head):
        if column in head[:i]:
            raise AnnotationError(f"{file}: column {column[:40]!r} stands twice: remove one")
        if column not in COLUMNS and not column.startswith("#"):
            remedy = f"use {', '.join(COLUMNS)}, or begin it with # to have it ignored"
            raise AnnotationError(f"{file}: column {column[:40]!r} is unknown: {remedy}")
    rows = []
    for number, cells in lines[1:]:
        if len(cells) != len(head) and any(cells):
            raise AnnotationError(f"{file}: line {number}: {len(cells)} cells, the first line has {len(head)}: add or "
                                  f"remove commas, and put text with commas in quotes")  # fmt: skip
        if any(cells):
            rows.append((number, dict(zip(head, cells, strict=True))))
    return rows


def _record(root: Path, row: dict[str, str], skip: bool) -> Record:
    key, group, split = row["id"], row.get("group", ""), row["split"]
    if not key or not (key + group).isprintable():
        raise _Fault(f"id {key[:40]!r} or group {group[:40]!r} is empty or not printable: name each row")
    if split not in ("train", "test"):
        raise _Fault(f"split {split[:40]!r} is unknown: write train or test")
    score = _number(row, "score")
    if split == "test" and math.isnan(score):
        raise _Fault(f"test row {key!r} has no score: give it one, or make it a train row")
    difficulty = _number(row, "difficulty", 1.0)
    if difficulty <= 0:
        raise _Fault(f"difficulty {difficulty:g} is not above 0: leave it empty where there is none")
    path = _inside(root, row["path"])
    start, end = _frame(row, "start_frame"), _frame(row, "end_frame")
    length = _length(root / path, start or 0, end is not None, skip)
    start, end = start or 0, length if end is None else end
    if end <= start or (length is not None and end > length):
        has = "" if length is None else f", the file has {length}"
        raise _Fault(f"span [{start}, {end}) of {path} holds no frames{has}: give start_frame < end_frame")
    transitions = tuple(_whole(word, "transitions") for word in row.get("transitions", "").replace(";", " ").split())
    if any(b <= a for a, b in zip((start, *transitions), (*transitions, end), strict=True)):
        raise _Fault(f"transitions {row['transitions'][:60]!r} do not ascend between {start} and {end}: order them")
    return Record(
        dataset="folder",
        key=key,
        event="",
        path=path,
        start=start,
        end=end,
        score=score,
        difficulty=difficulty,
        action="",
        judges=(),
        transitions=tuple(frame - start for frame in transitions),
        subactions=tuple(range(len(transitions) + 1)) if transitions else (),
        split=split,
        group=group,
    )


def _number(row: dict[str, str], column: str, empty: float = math.nan) -> float:
    text = row.get(column, "")
    if text.lower() in ("", "nan"):
        return empty
    try:
        value = float(text)
    except ValueError:
        value = math.inf
    if not math.isfinite(value):
        raise _Fault(f"{column} {text[:40]!r} is no number: write one with a point, or leave it empty")
    return value


def _whole(text: str, column: str) -> int:
    if not (text.isascii() and text.isdigit() and len(text) < 10):
        raise _Fault(f"{column} {text[:40]!r} is no frame number: write whole numbers from 0 on")
    return int(text)


def _frame(row: dict[str, str], column: str) -> int | None:
    return _whole(row[column], column) if row.get(column) else None


def _inside(root: Path, text: str) -> str:
    """A path below `root` that is there; nothing that leads out of it."""
    path = PurePosixPath(text)
    if not text or not text.isprintable():
        raise _Fault("path is empty or not printable: name a video, a frame folder or a sequence")
    if path.is_absolute() or PureWindowsPath(text).drive or ".." in path.parts or ".." in PureWindowsPath(text).parts:
        raise _Fault(f"path {text[:80]!r} leads out of the folder: give it relative to {NAME}, without ..")
    try:
        target = (root / path).resolve()
        there = target.is_file() or target.is_dir()
    except OSError:
        there = False
    if not there:
        raise _Fault(f"path {text[:80]!r} is not there: check its name, or remove the row")
    if not target.is_relative_to(root.resolve()) or target == root.resolve():
        raise _Fault(f"path {text[:80]!r} leads out of the folder by a link: copy the file into it")
    return str(path)


def _length(path: Path, start: int, known: bool, skip: bool) -> int | None:
    """Frames of a sequence or video; None for a video whose end is known: it need not be opened."""
    if path.is_file() and path.name.lower().endswith(SEQUENCES):
        return sequence_shape(path)[0]
    if known:
        return None
    from sapnet_core.data.video import VideoError, probe

    try:
        return probe(path).frames
    except VideoError:
        if not skip:
            raise
        return start + 1
