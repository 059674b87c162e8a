"""Rows of a table that show the same moments: trained on and tested with, or scored twice in one part.

Two paths are one file where a link leads from one to the other, or where their contents are equal.
"""

import hashlib
import os
from collections import Counter, defaultdict
from collections.abc import Callable, Hashable, Iterable, Sequence
from pathlib import Path

from sapnet_core.datasets.records import Record

__all__ = ["Pair", "leaks", "scored_twice"]

Pair = tuple[Record, Record]


def leaks(root: Path, records: Sequence[Record]) -> list[Pair]:
    """Rows that share frames with a row of the other part, each with one of those."""
    return [pair for shared in _by_file(root, records) for pair in _overlaps(shared, lambda record: record.split)]


def scored_twice(root: Path, records: Sequence[Record]) -> list[Pair]:
    """Rows that share frames with a row of the same part and group that has another score, each with one of those."""
    pairs: list[Pair] = []
    for shared in _by_file(root, [record for record in records if record.score == record.score]):
        for part in {(record.split, record.group) for record in shared}:
            of = [record for record in shared if (record.split, record.group) == part]
            pairs += _overlaps(of, lambda record: record.score)
    return pairs


def _overlaps(records: Iterable[Record], kind: Callable[[Record], Hashable]) -> list[Pair]:
    """Each record that shares frames with one of another kind that begins before it, with that one, in (n log n)."""
    pairs, latest, other = [], None, None  # of those before: which ends last, and which of another kind than that one
    for record in sorted(records, key=lambda record: (record.start, record.key)):
        before = other if latest is None or kind(latest) == kind(record) else latest
        if before is not None and before.end > record.start:
            pairs.append((before, record))
        if latest is None or record.end > latest.end:
            other = latest if latest is not None and kind(latest) != kind(record) else other
            latest = record
        elif kind(latest) != kind(record) and (other is None or record.end > other.end):
            other = record
    return pairs


def _by_file(root: Path, records: Sequence[Record]) -> list[list[Record]]:
    """Records of one file together, in the order of the first; files that no other row shows are left out."""
    paths = dict.fromkeys(record.path for record in records)
    places = {path: _place(root / path) for path in paths}
    files = {place: root / path for path, place in places.items()}
    sizes = {place: _size(file) for place, file in files.items()}
    alike = {size for size, count in Counter(sizes.values()).items() if count > 1}
    known = {place: _content(file) if sizes[place] in alike else place for place, file in files.items()}
    shared: dict[Hashable, list[Record]] = defaultdict(list)
    for record in records:
        shared[known[places[record.path]]].append(record)
    return [of for of in shared.values() if len(of) > 1]


def _place(path: Path) -> Hashable:
    """What two names of one file have in common."""
    try:
        status = os.stat(path)
    except OSError:
        return str(path)
    return status.st_dev, status.st_ino


def _files(path: Path) -> list[Path]:
    return sorted(file for file in path.iterdir() if file.is_file()) if path.is_dir() else [path]


def _size(path: Path) -> Hashable:
    """Sizes of the file, or of those in a folder of frames."""
    try:
        return tuple(file.stat().st_size for file in _files(path))
    except OSError:
        return str(path)


def _content(path: Path) -> Hashable:
    """Hash of the file, or of those in a folder of frames; the path where it cannot be read."""
    digest = hashlib.sha256()
    try:
        for file in _files(path):
            with file.open("rb") as content:
                digest.update(hashlib.file_digest(content, "sha256").digest())
    except OSError:
        return str(path)
    return digest.digest()
