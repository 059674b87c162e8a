"""Which records and videos a run uses: real videos, twins of the user's annotations, or twins of drawn annotations.

The folder of `SAPNET_DATA` may hold any of the datasets, and each is used as far as it is present. Where its videos
are there, they are read; else published features of them, or FineDiving's pose tracks; where only its annotation files
are, their twins are simulated; where nothing is, an annotation set is drawn, written once in the official schema below
the runs folder, and its twins are simulated. The same reader reads published and drawn annotations.
"""

import sys
from collections.abc import Sequence
from functools import lru_cache
from pathlib import Path

import torch

from sapnet_core.datasets import READERS, Record, load_records
from sapnet_core.datasets.disk_layout import record_path
from sapnet_core.datasets.feature_dumps import dump_folder
from sapnet_core.datasets.known import holds, too_deep, unknown_folder, unused
from sapnet_core.datasets.learnable import check_learnable
from sapnet_core.datasets.own_videos import NAME
from sapnet_core.datasets.pose_tracks import pose_records
from sapnet_core.datasets.records import OFFICIAL_SIZES
from sapnet_core.datasets.video import VideoError
from sapnet_core.runtime import environment
from sapnet_core.runtime.environment import finefs_split
from sapnet_core.runtime.file_kinds import printable
from sapnet_core.runtime.files import write_text
from sapnet_core.runtime.fingerprint import code_digest, file_digest, fingerprint
from sapnet_core.simulator.draw_annotations import write_annotations

__all__ = [
    "TWINS",
    "SOURCE_NAMES",
    "known_datasets",
    "source_kind",
    "source_name",
    "source_records",
    "drawn_digest",
    "records_digest",
]

TWINS = ("drawn", "official")  # the kinds of source whose videos are simulated twins
SOURCE_NAMES = {
    "drawn": "twins of drawn annotations",
    "official": "twins of official annotations",
    "videos": "videos",
    "features": "published features",
    "joints": "pose tracks",
}


def known_datasets(data: Path) -> list[str]:
    """Names of the datasets in the user's folder, after a check that each is readable. Call it before any work.

    Own videos ("folder") exclude all other datasets; of them only the presence of the table is checked here, since
    `source_records` reads it.

    Raises:
        ValueError: the folder holds no dataset, lies within one, or contains something named like a dataset that would
            be ignored; one line says what is there and what to do.
        AnnotationError: a dataset lacks a file, or has one that cannot be read.
    """
    names = [name for name in READERS if holds(name, data)]
    if not names:
        raise ValueError(printable(f"--data {unknown_folder(data)}"))
    if "folder" in names:
        return names
    if faults := unused(data):
        raise ValueError(printable(f"--data {data}: {faults[0]}"))
    for name in names:
        if above := too_deep(name, data):
            raise ValueError(printable(f"--data {data}: the folder is only a part of dataset {name}: give {above}"))
        _records(name, data)
    return names


def _records(dataset: str, data: Path) -> list[Record]:
    options = {"finefs": {"split": finefs_split()}, "folder": {"skip": environment.skip_bad()}}
    return load_records(dataset, data, **options.get(dataset, {}))


def source_kind(dataset: str, data: Path | None) -> str:
    """How much of the dataset is in `data`: "videos", "features" (published features and no videos), "joints" (pose
    tracks of FineDiving and neither of these), "official" (annotations only) or "drawn" (nothing).

    A single video suffices for "videos"; the others must then be present too, unless the user skips unreadable ones.
    """
    if data is None or not holds(dataset, data):
        return "drawn"
    if dataset == "folder":
        return "videos"  # without reading the table, which may mean counting the frames of every file
    if _has_videos(dataset, data, finefs_split()):
        return "videos"
    if dump_folder(dataset, data):
        return "features"
    return "joints" if dataset == "finediving" and _has_tracks(data) else "official"


@lru_cache
def _has_videos(dataset: str, data: Path, split: str) -> bool:
    """Whether any video of the dataset is present. Cached per process, since every declared trial calls it, and each
    call would read all annotations."""
    return any(_is_there(data, record) for record in _records(dataset, data))


@lru_cache
def _has_tracks(data: Path) -> bool:
    """Whether any pose track of FineDiving is present."""
    return bool(pose_records(data, _records("finediving", data))[0])


def _is_there(data: Path, record: Record) -> bool:
    try:
        return bool(record_path(data, record))
    except VideoError:
        return False


def source_name(data: Path | None, *datasets: str) -> str:
    """The label of the video source in tables and figures, by default of the two diving datasets."""
    kinds = {name: SOURCE_NAMES[source_kind(name, data)] for name in datasets or ("mtl-aqa", "finediving")}
    if len(set(kinds.values())) == 1:
        return next(iter(kinds.values()))
    return "; ".join(f"{name}: {kind}" for name, kind in kinds.items())


def _draw(dataset: str, root: Path, train: int, test: int, seed: int) -> None:
    """Draw an annotation set, unless it is there unchanged: one that was damaged or edited is reported on standard
    error and drawn again."""
    sign = root / "digest"
    known = sign.read_bytes().decode("ascii", "replace") if sign.is_file() else ""
    if known and known == _digest(root):
        return
    if known:
        print(f"{root}: was damaged or edited: it is drawn again", file=sys.stderr, flush=True)
    write_annotations(dataset, root, train, test, seed)
    write_text(sign, _digest(root))


def _digest(root: Path) -> str:
    """Hash of the names and contents of the files of an annotation set."""
    files = [file for file in root.rglob("*") if file.is_file() and file.parent != root]
    return fingerprint({file.relative_to(root).as_posix(): file_digest(file) for file in files}, digits=64)


def source_records(
    dataset: str, train: int | None, test: int | None, seed: int, data: Path | None, folder: Path
) -> list[Record]:
    """Records of one dataset at the requested size, sorted by key.

    Where `data` holds the dataset, its records are used: published annotations are subsampled to `train` and `test` by
    a seeded draw, own videos are all used. Otherwise an annotation set of that size is drawn from `seed` and written
    below `folder` in the official schema.

    Raises:
        ValueError: more records are requested than the official split has.
        AnnotationError: the own videos cannot be learned from (`check_learnable`).
    """
    if data is None or not holds(dataset, data):
        if dataset not in OFFICIAL_SIZES:
            raise ValueError(
                f"{dataset} cannot be drawn, and {data or 'SAPNET_DATA'} does not hold it: give its folder"
            )
        n_train, n_test = _sizes(dataset, train, test)
        root = folder / f"{dataset}-{n_train}-{n_test}-{seed}"
        _draw(dataset, root, n_train, n_test, seed)
        return load_records(dataset, root)
    records = _records(dataset, data)
    if dataset == "folder":
        check_learnable(data / NAME, records)
        return records
    kept = []
    for split, count in (("train", train), ("test", test)):
        part = [record for record in records if record.split == split]
        if count is not None and count > len(part):
            raise ValueError(f"{dataset}: {count} {split} records requested, but {data} has {len(part)}: request fewer")
        draw = torch.randperm(len(part), generator=torch.Generator().manual_seed(seed))[:count]
        kept += [part[i] for i in sorted(draw.tolist())]
    return sorted(kept, key=lambda record: record.key)


def records_digest(records: Sequence[Record]) -> str:
    """A short hash of all fields of the records, for cache keys of results computed from them."""
    return fingerprint(list(map(repr, records)))


def drawn_digest(dataset: str, train: int | None, test: int | None, seed: int) -> str:
    """A short hash that identifies the records that `source_records` draws, without drawing them: the same code draws
    the same set from the same seed."""
    reader = READERS[dataset].__module__.removeprefix("sapnet_core.")
    read = (reader, "datasets.records", "datasets.dive_numbers")
    code = code_digest("simulator.draw_annotations", *read, within=("simulator",))
    return fingerprint(dataset, *_sizes(dataset, train, test), seed, code)


def _sizes(dataset: str, train: int | None, test: int | None) -> list[int]:
    return [own or asked for own, asked in zip((train, test), OFFICIAL_SIZES[dataset], strict=True)]
