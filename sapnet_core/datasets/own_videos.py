"""Reader of a folder of the user's own videos or sequences, described by a table `records.csv` in it.

The columns are `id, path, score, split`; optional ones are `difficulty, group, start_frame, end_frame, transitions`,
those below, and `note` or any column whose name begins with "#", which are ignored. `path` is relative to the folder
and leads to a video file, a folder of frames, or a sequence of features or joints over time (`.npy`, `.npz`, `.csv`,
`.txt`). A training row without a score is unlabeled. Frames count from 0, `end_frame` is excluded, and `transitions`
are the frames at which the second, third, ... subaction begins, separated by spaces or semicolons.

- `fold`, `subject`: the fold, or the person, that is left out together; with one of them, `split` may be absent: then
  the rows of the first fold are the test rows.
- `score_<name>`: a further score, which a trial whose target is <name> learns.
- `rater`: who gave the scores of a row; an id then has one row for each rater, and its scores are averaged.
- Of sequences: `path_teacher`, a sequence that the teacher sees; or `channels_teacher`, the columns of the record's own
  sequence that it sees alone, by name or by number from 0 (`38-75`, `left*`); and `missing`, "fill" to interpolate
  missing values over time.

Texts that look the same count as equal: ids, groups and paths are compared in one Unicode form, and `\\` may separate
folders, too. The folder and its table may be untrusted: no path may lead out of the folder.
"""

import math
import os
import re
import stat
import unicodedata
from collections.abc import Callable
from pathlib import Path, PurePosixPath, PureWindowsPath

from sapnet_core.datasets import own_cells as cells
from sapnet_core.datasets.annotation_pickles import AnnotationError
from sapnet_core.datasets.channels import ChannelError, chosen_channels
from sapnet_core.datasets.folds import with_test_fold
from sapnet_core.datasets.names import Names, hidden, look, nfc
from sapnet_core.datasets.number_tables import column_names
from sapnet_core.datasets.own_cells import TARGETS, RowFault
from sapnet_core.datasets.raters import averaged
from sapnet_core.datasets.records import Record
from sapnet_core.datasets.sequence_files import SEQUENCES, TEXTS, is_sequence_file, read_sequence, sequence_shape
from sapnet_core.datasets.sequence_record import SequenceRecord
from sapnet_core.datasets.tables import TableFaults, read_table
from sapnet_core.datasets.video import IMAGES, VideoError, probe
from sapnet_core.runtime.file_kinds import found_at, listed

__all__ = [
    "BASIC",
    "COLUMNS",
    "NAME",
    "SEQUENCES",
    "TARGETS",
    "folder_faults",
    "read_folder",
    "read_sequence",
    "sequence_shape",
]

NAME = "records.csv"
REQUIRED = ("id", "path", "score", "split")
OF_SEQUENCES = ("path_teacher", "channels_teacher", "missing")
LEFT_OUT = ("fold", "subject")
BASIC = (*REQUIRED, "difficulty", "group", "start_frame", "end_frame", "transitions", "note")
COLUMNS = (*BASIC, *LEFT_OUT, "rater", *OF_SEQUENCES)
ADDRESS = re.compile(r"[a-z][a-z0-9+.-]+://", re.IGNORECASE)


class _Faults(Exception):
    """Several faults of one row, as its `args`."""


def read_folder(root: Path | str, skip: bool = False) -> list[Record]:
    """Records of a folder's `records.csv`; their paths are relative to the folder.

    Where a video has no `end_frame`, its frames are counted (`sapnet_core.datasets.video.probe`). With `skip`, a video
    whose frames cannot be counted gets a length of one frame; the code that later reads it may leave it out.

    Raises:
        AnnotationError: records.csv is missing or no valid table; a column is missing or unknown; an id is empty, or
            equals or looks like an earlier one; a path does not exist or leads out of the folder; a value has another
            kind or exceeds float32; a span is empty; or no training or no test row has a score. Several faults are
            reported together (`TableFaults`).
        VideoError: a video whose frames must be counted cannot be read, and `skip` is off.
    """
    records, faults = _read(Path(root), skip)
    if len(faults) > 1:
        raise TableFaults.of(Path(root) / NAME, [str(fault) for fault in faults])
    if faults:
        raise faults[0]
    return records


def folder_faults(root: Path | str) -> list[str]:
    """All faults for which `read_folder` would refuse a folder, one text each; [] where there are none."""
    try:
        return [str(fault) for fault in _read(Path(root), skip=False)[1]]
    except ValueError as error:  # the table itself is missing or invalid
        return [str(error)]


def _read(root: Path, skip: bool) -> tuple[list[Record], list[ValueError]]:
    """Records of the valid rows, and the faults of the others."""
    file, reader = root / NAME, _Reader(root, skip)
    records: list[SequenceRecord] = []
    faults: list[ValueError] = []
    rows = read_table(file, REQUIRED, COLUMNS, begins=TARGETS, spared={"split": LEFT_OUT})
    for number, row in rows:
        try:
            records.append(reader.record(number, row))
        except RowFault as error:
            faults.append(AnnotationError(f"{file}: line {number}: {error}"))
        except _Faults as error:
            faults += [AnnotationError(f"{file}: line {number}: {fault}") for fault in error.args]
        except ValueError as error:  # a fault of the video or sequence, whose message names the file
            faults.append(error)
    if not records and not faults:
        faults.append(AnnotationError(f"{file}: has only column names and no rows: write one row for each video"))
    if not faults and "rater" in rows[0][1]:
        records, twice = averaged(records)
        faults += [AnnotationError(f"{file}: {fault}") for fault in twice]
    if not faults and "split" not in rows[0][1]:
        try:
            records = with_test_fold(records)
        except ValueError as error:
            faults.append(AnnotationError(f"{file}: {error}"))
    for part in ("train", "test"):
        if not faults and not any(record.split == part and not math.isnan(record.score) for record in records):
            remedy = "give a score to some of them (a few are enough to start)"
            faults.append(AnnotationError(f"{file}: no {part} row has a score: {remedy}"))
    return records, faults


class _Reader:
    """Builds records from rows, and remembers the earlier rows, with which each row is compared."""

    def __init__(self, root: Path, skip: bool):
        self.root, self.home, self.skip = root, Path(os.path.realpath(root)), skip
        self.names = Names(root)
        # normal form of an id (see `look`), and the rater -> the id and its line
        self.ids: dict[tuple[str, str], tuple[str, int]] = {}
        self.groups: dict[str, tuple[str, int]] = {}
        self.paths: dict[str, str] = {}  # path in the table -> path on disk
        self.lengths: dict[str, int | None] = {}
        self.columns: dict[str, tuple[int, tuple[str, ...]]] = {}  # path -> number and names of its columns

    def record(self, number: int, row: dict[str, str]) -> SequenceRecord:
        """The record of a row.

        Raises:
            _Faults: cells are invalid.
            RowFault: the cells contradict each other or the video.
            AnnotationError: the sequence cannot be read.
            VideoError: the video cannot be read.
        """
        key, group, split = row["id"], nfc(row.get("group", "")), row.get("split", "train")
        faults: list[RowFault] = []

        def checked(read: Callable, *arguments: object):
            try:
                return read(*arguments)
            except RowFault as error:
                faults.append(error)

        checked(self._check_id, number, key, row.get("rater", ""))
        checked(self._check_group, number, group)
        for column in LEFT_OUT:
            checked(cells.check_label, row, column)
        checked(cells.check_split, split)
        score, difficulty = checked(cells.number, row, "score"), checked(cells.difficulty, row)
        others = checked(cells.targets, row)
        path = checked(self._path, row["path"])
        path_teacher = checked(self._path, row["path_teacher"]) if row.get("path_teacher") else ""
        fill = checked(cells.fill, row)
        start, end = checked(cells.frame, row, "start_frame"), checked(cells.frame, row, "end_frame")
        transitions = checked(cells.transitions, row)
        if faults:
            raise _Faults(*faults)
        if split == "test" and math.isnan(score):
            raise RowFault(f"score is empty, and test row {key!r} has no score: give it one, or make it a train row")
        if not math.isnan(score) and not cells.single(score / difficulty):
            raise RowFault(
                f"score {score:g} over difficulty {difficulty:g} is beyond the range of float32: rescale one of them"
            )
        self._check_sequence_only(path, path_teacher, row)
        length = self._length(path, start or 0, end is not None, fill)
        start, end = start or 0, length if end is None else end
        if end <= start or (length is not None and end > length):
            has = "" if length is None else f", the file has {length}"
            raise RowFault(f"span [{start}, {end}) of {path} holds no frames{has}: give start_frame < end_frame")
        if any(b <= a for a, b in zip((start, *transitions), (*transitions, end), strict=True)):
            raise RowFault(
                f"transitions {row['transitions'][:60]!r} do not ascend between {start} and {end}: order them"
            )
        return SequenceRecord(
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
            sub_scores=others,
            path_teacher=path_teacher,
            channels_teacher=self._channels(path, row.get("channels_teacher", ""), fill),
            fill=fill,
            fold=nfc(row.get("fold", "")),
            subject=nfc(row.get("subject", "")),
        )

    def _check_sequence_only(self, path: str, path_teacher: str, row: dict[str, str]) -> None:
        """Check that the columns of sequences are used with sequences alone, and one view for the teacher is given."""
        used = [column for column in OF_SEQUENCES if row.get(column)]
        if used and not is_sequence_file(path):
            raise RowFault(
                f"{used[0]} is for sequences ({', '.join(SEQUENCES)}), but path {path[:80]!r} is not: empty it"
            )
        if path_teacher and not is_sequence_file(path_teacher):
            kinds = ", ".join(SEQUENCES)
            raise RowFault(f"path_teacher {path_teacher[:80]!r} is not a sequence: give a file that ends in {kinds}")
        if path_teacher and row.get("channels_teacher"):
            raise RowFault("path_teacher and channels_teacher are both given: empty one of them")

    def _channels(self, path: str, text: str, fill: bool) -> tuple[int, ...]:
        """The columns that a cell of `channels_teacher` names, cached by their text and the file's columns."""
        if not text:
            return ()
        if path not in self.columns:
            file = self.root / path
            names = column_names(file) if path.lower().endswith(TEXTS) else []
            self.columns[path] = (sequence_shape(file, fill)[1], tuple(names))
        try:
            return chosen_channels(text, *self.columns[path])
        except ChannelError as error:
            raise RowFault(f"channels_teacher {text[:60]!r}: {error}") from None

    def _check_id(self, number: int, key: str, rater: str) -> None:
        if not look(key) or not key.isprintable() or hidden(key):
            sign = f" ({hidden(key)} is invisible)" if hidden(key) else ""
            raise RowFault(f"id {ascii(key[:40])} is empty or not printable{sign}: give each row a printable id")
        before, line = self.ids.setdefault((look(key), look(rater)), (key, number))
        if line != number:
            same = "" if before == key else f", there as {ascii(before[:40])}, here as {ascii(key[:40])}"
            by = f" with rater {rater[:40]!r}" if rater else ""
            raise RowFault(f"id {key[:40]!r} appears twice{by}, first in line {line}{same}: give each row its own")

    def _check_group(self, number: int, group: str) -> None:
        if not group.isprintable() or hidden(group):
            raise RowFault(f"group {ascii(group[:40])} is not printable ({hidden(group)} is invisible): type it again")
        before, line = self.groups.setdefault(look(group), (group, number))
        if before != group:
            spelled = f"{ascii(before[:40])} there, {ascii(group[:40])} here"
            raise RowFault(f"group {group[:40]!r} looks like that of line {line} ({spelled}): spell both the same")

    def _path(self, text: str) -> str:
        """`_inside`, cached by path."""
        return self.paths.get(text) or self.paths.setdefault(text, self._inside(text))

    def _inside(self, text: str) -> str:
        """The name on disk of an existing path below the folder.

        Raises:
            RowFault: there is no such file or folder, or the path leads out of the folder.
        """
        path, windows = PurePosixPath(text), PureWindowsPath(text)
        if not text or not all(c.isprintable() or unicodedata.category(c) == "Zs" for c in text):
            sign = f" ({hidden(text)} is invisible: rename the file)" if text else ""
            raise RowFault(f"path is empty or not printable{sign}: name a video, a frame folder or a sequence")
        if ADDRESS.match(text):
            raise RowFault(
                f"path {text[:80]!r} is a web address: download the file into the folder, and give its path there"
            )
        outside = path.is_absolute() or windows.drive or windows.root or text.startswith("~/")
        if outside or ".." in path.parts or ".." in windows.parts:
            raise RowFault(f"path {text[:80]!r} leads out of the folder: give it relative to {NAME}, without ..")
        name = str(path)
        if not os.path.lexists(self.root / path):
            real = self.names.real(path.parts) or self.names.real(windows.parts)
            if real is None:
                near = self.names.near(path.parts) or self.names.near(windows.parts)
                remedy = "write that path, or remove the row" if near else "check its name, or remove the row"
                raise RowFault(f"path {text[:80]!r} is not there{near and f', but {near} is'}: {remedy}")
            name = "/".join(real)
        target = Path(os.path.realpath(self.root / name))
        if target == self.home or not target.is_relative_to(self.home):
            way = "" if target == self.home and not os.path.islink(self.root / name) else " by a link"
            raise RowFault(f"path {text[:80]!r} leads out of the folder{way}: copy the file into it")
        if not _is_file_or_folder(target):
            found = found_at(self.root / name)
            raise RowFault(
                f"path {text[:80]!r} is not a file or folder, but {found}: put a file in its place, or remove the row"
            )
        return name

    def _length(self, name: str, start: int, known: bool, fill: bool) -> int | None:
        """Number of frames of a sequence or video; None for a video file whose end is `known`, which is not opened.

        A video that cannot be opened gets a single frame from `start` on, where `skip` is on.
        """
        if known and not is_sequence_file(name) and not (self.root / name).is_dir():
            return None
        if name not in self.lengths:
            self.lengths[name] = self._counted(name, fill)
        length = self.lengths[name]
        return length if length is not None or known else start + 1

    def _counted(self, name: str, fill: bool) -> int | None:
        """Number of frames of a sequence or video; None for a video that cannot be opened, where `skip` is on."""
        path = self.root / name
        sequence, folder = is_sequence_file(name), path.is_dir()
        if sequence and folder:
            raise RowFault(f"path {name[:80]!r} is a folder with the extension of a sequence file: rename the folder")
        if sequence:
            return sequence_shape(path, fill)[0]
        try:
            return probe(path).frames
        except VideoError:
            if self.skip:
                return None
            inside = sorted(os.listdir(path)) if folder and os.access(path, os.R_OK | os.X_OK) else [IMAGES[0]]
            if any(entry.lower().endswith(IMAGES) for entry in inside):
                raise
            fault = f"path {name[:80]!r} is a folder without frames ({', '.join(IMAGES)})"
            remedy = "give the path of the video in it, or extract its frames"
            raise RowFault(f"{fault}, it holds {listed(inside) or 'nothing'}: {remedy}") from None


def _is_file_or_folder(target: Path) -> bool:
    try:
        mode = os.stat(target).st_mode
    except OSError:
        return False
    return stat.S_ISREG(mode) or stat.S_ISDIR(mode)
