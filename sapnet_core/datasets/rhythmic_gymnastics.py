"""Reader of the official files of Rhythmic Gymnastics (Zeng et al. 2020): four apparatus, 250 routines each.

`train.txt` and `test.txt` hold one routine per line. Their header mixes tabs and spaces, so columns are split at any
white space and found by name. `Total_Score` is difficulty plus execution minus penalty, and `Video_length` is in whole
seconds. The routines of Ball are numbered up to 251, without 134.
"""

import math
import re
from pathlib import Path

from sapnet_core.datasets.annotation_pickles import AnnotationError
from sapnet_core.datasets.records import Record

__all__ = ["APPARATUS", "COLUMNS", "FOLDER", "RATE", "SPLITS", "read_rhythmic"]

FOLDER = "RG"
SPLITS = {"train": "train.txt", "test": "test.txt"}
APPARATUS = ("Ball", "Clubs", "Hoop", "Ribbon")
COLUMNS = ("Video_Name", "Difficulty_Score", "Execution_Score", "Total_Score", "Penalty", "Video_length")
RATE = 25.0  # frames per second
ROUNDING = 0.0151  # tolerance of a total in points; official totals deviate by at most 0.01 from their sum
LARGEST = 64 * 2**20  # maximum bytes of a list; the official ones have 27 thousand
DIGITS = 9  # maximum digits of a video's number
NUMBER = re.compile(r"[+-]?(\d+\.?\d*|\.\d+)(e[+-]?\d+)?", re.ASCII | re.IGNORECASE)
SOURCE = "github.com/qinghuannn/ACTION-NET, folder data"


def read_rhythmic(root: Path | str) -> list[Record]:
    """Records of all routines in the two lists. `group` is the apparatus; `sub_scores` has
    difficulty, execution and penalty.

    Args:
        root: a folder that holds `RG/`, `RG/data/`, or the files themselves.

    Raises:
        AnnotationError: a file is missing, unreadable or lists no video; a column is absent or occurs twice; a video
            occurs twice; or a line has another number of columns, an invalid number, an unknown apparatus, or a total
            that is not the sum of its parts.
    """
    folders = [Path(root) / place for place in (FOLDER, f"{FOLDER}/data", ".", "data")]
    folder = next((folder for folder in folders if (folder / SPLITS["train"]).is_file()), folders[0])
    records: dict[str, Record] = {}
    for part, name in SPLITS.items():
        file = folder / name
        lines = _lines(file)
        places = {column: lines[0].index(column) for column in COLUMNS if column in lines[0]} if lines else {}
        missing = [column for column in COLUMNS if column not in places]
        if missing:
            raise AnnotationError(f"{file}: line 1 names no column {missing[0]}: use the file of {SOURCE}")
        twice = next((column for column in COLUMNS if lines[0].count(column) > 1), None)
        if twice:
            raise AnnotationError(f"{file}: line 1 names column {twice} twice: use the file of {SOURCE}")
        if not any(lines[1:]):
            raise AnnotationError(f"{file}: lists no video: use the file of {SOURCE}")
        for number, cells in enumerate(lines[1:], 2):
            if not cells:
                continue
            try:
                record = _record(cells, places, len(lines[0]), part)
            except ValueError as error:
                raise AnnotationError(f"{file}: line {number}: {error}: use the file of {SOURCE}") from None
            if record.key in records:
                fault = f"line {number}: video {record.key} appears twice"
                raise AnnotationError(f"{file}: {fault}: download both files anew from {SOURCE}")
            records[record.key] = record
    return list(records.values())


def _lines(file: Path) -> list[list[str]]:
    """The lines of a list, each split at white space. Raises AnnotationError."""
    if not file.is_file():
        raise AnnotationError(f"{file}: no such file: download it from {SOURCE}")
    if file.stat().st_size > LARGEST:
        raise AnnotationError(f"{file}: {file.stat().st_size >> 20} MiB are too many for a list: take that of {SOURCE}")
    try:
        return [line.split() for line in file.read_text(encoding="utf-8-sig").split("\n")]
    except UnicodeDecodeError:
        raise AnnotationError(f"{file}: is not UTF-8 text: download it again from {SOURCE}") from None
    except OSError as error:
        raise AnnotationError(f"{file}: cannot be opened ({error.strerror}): check its permissions") from None


def _record(cells: list[str], places: dict[str, int], columns: int, part: str) -> Record:
    if len(cells) != columns:
        raise ValueError(f"{len(cells)} columns, the header has {columns}")
    key, *texts = (cells[places[column]] for column in COLUMNS)
    apparatus, _, number = key.partition("_")
    if apparatus not in APPARATUS or not (number.isascii() and number.isdigit() and len(number) <= DIGITS):
        raise ValueError(f"video {key[:40]!r} is not an apparatus and a number, such as {APPARATUS[0]}_001")
    values = []
    for column, text in zip(COLUMNS[1:], texts, strict=True):
        values.append(float(text) if NUMBER.fullmatch(text) else math.nan)
        if not 0 <= values[-1] < 1e4:
            raise ValueError(f"video {key}: {column} {text[:40]!r} is not a number of points or seconds")
    difficulty, execution, total, penalty, seconds = values
    # total = difficulty + execution - penalty
    if abs(difficulty + execution - penalty - total) > ROUNDING:
        sum_ = f"{difficulty:g} + {execution:g} - {penalty:g}"
        raise ValueError(f"video {key}: Total_Score {total:g} is not {sum_}")
    if round(seconds * RATE) < 1:
        raise ValueError(f"video {key}: Video_length {seconds:g} is not a valid length")
    return Record(
        dataset="rg",
        key=key,
        event="",
        path=f"videos/{key}.mp4",
        start=0,
        end=round(seconds * RATE),
        score=total,
        difficulty=1.0,
        action=apparatus,
        judges=(),
        transitions=(),
        subactions=(),
        split=part,
        group=apparatus,
        sub_scores=(("difficulty", difficulty), ("execution", execution), ("penalty", penalty)),
        rate=RATE,
    )
