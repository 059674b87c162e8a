"""A folder of one's own videos or sequences: one `records.csv` beside them says what they are.

Columns `id, path, score, split`; optional `difficulty, group, start_frame, end_frame, transitions`, and `note` or any
column that starts with "#", which are not read. `path` is below the folder: a video file, a folder of frames, or a
sequence of features or joints over time (`.npy`, `.npz`, `.csv`). A training row without score is unlabeled. Frames
count from 0, `end_frame` is excluded, and transitions are the frames at which the second, third, ... subaction begins,
with spaces or semicolons between them.

What is read here may come from anywhere: no path leads out of the folder, and no array is unpacked before its size is
known.
"""

import csv
import math
import warnings
import zipfile
import zlib
from pathlib import Path, PurePosixPath, PureWindowsPath

import numpy as np
import torch
from torch import Tensor

from sapnet_core.data.records import Record
from sapnet_core.data.unpickle import AnnotationError

__all__ = ["COLUMNS", "NAME", "SEQUENCES", "read_folder", "read_sequence", "sequence_shape"]

NAME = "records.csv"
REQUIRED = ("id", "path", "score", "split")
COLUMNS = (*REQUIRED, "difficulty", "group", "start_frame", "end_frame", "transitions", "note")
SEQUENCES = (".npy", ".npz", ".csv")
LIMIT = 2**30  # bytes of a sequence, unpacked
RATIO = 200  # unpacked over packed bytes; features and joints seldom pass 10
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


def sequence_shape(path: Path | str) -> tuple[int, int]:
    """(T, C) of a sequence file, for arrays from their header alone. Raises AnnotationError as `read_sequence`."""
    path = Path(path)
    if path.suffix.lower() == ".csv":
        return tuple(read_sequence(path).shape)
    with _opened(path) as file:
        shape = _header(path, file)[0]
    return shape[0], math.prod(shape[1:])


def read_sequence(path: Path | str) -> Tensor:
    """A sequence of features or joints over time, (T, C) float32.

    `.npy`, `.npz` (one array, or one named "features") and `.csv` (numbers with commas between, one time step a line;
    a first line of names is left out). Joints (T, J, 2 or 3) become (T, J * d). What a file claims to hold is checked
    before it is unpacked.

    Raises:
        AnnotationError: the file is missing, torn or of another kind; holds objects, text or numbers that are not
            finite; has another number of dimensions; is empty; or is larger than `LIMIT` or packed tighter than
            `RATIO`.
    """
    path = Path(path)
    if path.suffix.lower() == ".csv":
        values = _numbers(path)
    else:
        with _opened(path) as file:
            shape, order, kind = _header(path, file)
            size = math.prod(shape) * kind.itemsize
            try:
                content = file.read(size + 1)
            except (zipfile.BadZipFile, zlib.error, EOFError, OSError) as error:
                reason = str(error).splitlines()[0][:100]
                raise AnnotationError(f"{path}: damaged ({reason}): save the array anew") from None
        if len(content) != size:
            fault = "cut short" if len(content) < size else "longer than its header says"
            raise AnnotationError(f"{path}: {fault}: save the array anew")
        values = np.frombuffer(content, kind).reshape(shape, order=order).reshape(shape[0], -1)
    with np.errstate(over="ignore"):
        values = np.array(values, dtype=np.float32, order="C")
    if not np.isfinite(values).all():
        step, column = np.argwhere(~np.isfinite(values))[0].tolist()
        fault = f"value {column} of step {step} is not finite"
        raise AnnotationError(f"{path}: {fault}: fill or cut such steps before saving")
    return torch.from_numpy(values)


def _numbers(path: Path) -> np.ndarray:
    """A CSV file's numbers, (T, C) float64."""
    _checked(path)
    try:
        with path.open(encoding="utf-8-sig") as file, warnings.catch_warnings(action="ignore"):
            first = file.readline()
            try:
                [float(cell) for cell in first.split(",")]
            except ValueError:
                pass  # a line of names
            else:
                file.seek(0)
            values = np.loadtxt(file, delimiter=",", ndmin=2, comments=None)
    except (ValueError, UnicodeDecodeError) as error:
        reason = str(error).splitlines()[0][:100]
        raise AnnotationError(f"{path}: no table of numbers ({reason}): write equally many numbers a line") from None
    if not values.size:
        raise AnnotationError(f"{path}: has no numbers: write one time step a line")
    return values


def _checked(path: Path) -> None:
    if not path.is_file():
        raise AnnotationError(f"{path}: no such file: check its name in {NAME}")
    if path.stat().st_size > LIMIT:
        raise AnnotationError(f"{path}: has {path.stat().st_size >> 20} MiB, the limit is {LIMIT >> 20}: split it")


def _opened(path: Path):
    """The stream of a `.npy` file's content, or of the array in a `.npz` file."""
    _checked(path)
    if path.suffix.lower() != ".npz":
        return path.open("rb")
    try:
        archive = zipfile.ZipFile(path)
        entries = archive.infolist()
    except (zipfile.BadZipFile, ValueError, OSError, NotImplementedError) as error:
        reason = str(error).splitlines()[0][:100]
        raise AnnotationError(f"{path}: no whole npz file ({reason}): save it anew") from None
    claimed = sum(entry.file_size for entry in entries)
    packed = max(sum(entry.compress_size for entry in entries), 1)
    if claimed > LIMIT or claimed / packed > RATIO:
        fault = f"{path.stat().st_size} bytes that unpack to {claimed / 2**20:.1f} MiB"
        raise AnnotationError(f"{path}: refused, {fault}: save it by numpy.save, or split it")
    named = [entry for entry in entries if entry.filename == "features.npy"] or entries
    if len(named) != 1:
        names = ", ".join(ascii(entry.filename[:40])[1:-1] for entry in entries[:5]) or "none"
        raise AnnotationError(f"{path}: holds {len(entries)} arrays ({names}): keep one, or name one 'features'")
    try:
        return archive.open(named[0])
    except (zipfile.BadZipFile, RuntimeError, NotImplementedError, OSError) as error:
        reason = str(error).splitlines()[0][:100]
        raise AnnotationError(f"{path}: no whole npz file ({reason}): save it anew") from None


def _header(path: Path, file) -> tuple[tuple[int, ...], str, np.dtype]:
    """Shape, order ("C" or "F") and type of the array in an open stream, which then stands at its numbers."""
    read = {(1, 0): np.lib.format.read_array_header_1_0, (2, 0): np.lib.format.read_array_header_2_0}
    try:
        shape, fortran, kind = read[np.lib.format.read_magic(file)](file)
    except Exception as error:  # a damaged header can fail in any way that Python knows
        reason = f"{type(error).__name__}: {error}".splitlines()[0][:100]
        raise AnnotationError(f"{path}: no NumPy array ({reason}): save it by numpy.save") from None
    if kind.kind not in "fiub":
        what = "objects, which could run code," if kind.hasobject else f"{kind} values"
        raise AnnotationError(f"{path}: refused, it holds {what} instead of numbers: save an array of floats")
    joints = len(shape) == 3 and shape[2] in (2, 3)
    if not (joints or len(shape) == 2) or not all(shape) or min(shape) < 0:
        sizes = " x ".join(map(str, shape)) or "a single number"
        raise AnnotationError(f"{path}: its shape is {sizes}: save (time, features) or (time, joints, 2 or 3)")
    if math.prod(shape) * kind.itemsize > LIMIT:
        size = math.prod(shape) * kind.itemsize / 2**20
        raise AnnotationError(f"{path}: claims {size:.0f} MiB, the limit is {LIMIT >> 20}: split it")
    return shape, "F" if fortran else "C", kind
