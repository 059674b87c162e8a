"""Duplicates among own videos: records that share frames, but differ in their part (train, test) or in their score.

Two paths count as the same file where links lead them to one file on disk, or where their contents are equal.
"""

import os
from collections import Counter, defaultdict
from collections.abc import Callable, Hashable, Iterable, Sequence
from pathlib import Path

from sapnet_core.datasets.records import Record
from sapnet_core.runtime.fingerprint import file_digest, fingerprint

__all__ = ["Pair", "leaks", "scored_twice"]

Pair = tuple[Record, Record]


def leaks(root: Path, records: Sequence[Record]) -> list[Pair]:
    """Train-test leaks, as pairs of records: each record that shares frames with an earlier-starting one of the other
    part, and that one."""
    return [pair for shared in _by_file(root, records) for pair in _overlaps(shared, lambda record: record.split)]


def scored_twice(root: Path, records: Sequence[Record]) -> list[Pair]:
    """Conflicting labels, as pairs of records: each record that shares frames with an earlier-starting one of the same
    part and group but another score, and that one. Records without a score are left out."""
    pairs: list[Pair] = []
    for shared in _by_file(root, [record for record in records if record.score == record.score]):
        for part in {(record.split, record.group) for record in shared}:
            of = [record for record in shared if (record.split, record.group) == part]
            pairs += _overlaps(of, lambda record: record.score)
    return pairs


def _overlaps(records: Iterable[Record], kind: Callable[[Record], Hashable]) -> list[Pair]:
    """Pairs of each record that shares frames with an earlier-starting record of another kind, and that one.

    Takes O(n log n) time, since each record is compared with at most one earlier one.
    """
    # among the records so far: the one that ends last, and the one of another kind than it that ends last
    pairs, latest, other = [], None, None
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
    """Records grouped by file, in the order of the first one; files with a single record are left out.

    Contents are hashed only where several files have the same size.
    """
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
    """Device and inode of a file, equal for all paths that lead to it; the path where the file cannot be accessed."""
    try:
        status = os.stat(path)
    except OSError:
        return str(path)
    return status.st_dev, status.st_ino


def _files(path: Path) -> list[Path]:
    return sorted(file for file in path.iterdir() if file.is_file()) if path.is_dir() else [path]


def _size(path: Path) -> Hashable:
    """Sizes of the file, or of those in a folder of frames; the path where they cannot be read."""
    try:
        return tuple(file.stat().st_size for file in _files(path))
    except OSError:
        return str(path)


def _content(path: Path) -> Hashable:
    """Hash of the contents of the file, or of those in a folder of frames; the path where one cannot be read."""
    try:
        return fingerprint([file_digest(file) for file in _files(path)], digits=64)
    except OSError:
        return str(path)
