"""Which records and videos a run uses: the user's own, twins of the user's annotations, or annotations drawn.

The folder of `SAPNET_DATA` may hold any of the datasets. For each of them it decides: where its videos lie too, they
are read; where its annotation files lie alone, twins of those are filmed; where neither lies, an annotation set is
drawn, written once in the official schema below the runs folder, and twins of it are filmed. One reader reads all.
"""

import hashlib
import sys
from functools import lru_cache
from pathlib import Path

import torch

from sapnet_core.datasets import READERS, Record, load_records
from sapnet_core.datasets.disk_layout import record_path
from sapnet_core.datasets.known import holds, too_deep, unknown_folder, unused
from sapnet_core.datasets.learnable import check_learnable
from sapnet_core.datasets.own_videos import NAME
from sapnet_core.datasets.records import OFFICIAL_SIZES
from sapnet_core.datasets.video import VideoError
from sapnet_core.runtime import environment
from sapnet_core.runtime.environment import finefs_split
from sapnet_core.runtime.file_kinds import printable
from sapnet_core.runtime.files import write_text
from sapnet_core.simulator.draw_annotations import write_annotations

__all__ = ["SOURCES", "known_datasets", "source_kind", "source_name", "source_records", "records_digest"]

SOURCES = {
    "drawn": "twins of drawn annotations",
    "official": "twins of official annotations",
    "videos": "videos",
}


def known_datasets(data: Path) -> list[str]:
    """Names of the datasets that the user's folder holds, each of them readable. To be asked before any work.

    Of own videos ("folder"), beside which a run uses nothing else, the table is looked for alone: `source_records`
    reads it.

    Raises:
        ValueError: it holds none, lies within a dataset's own folder, or something in it is called as a dataset and
            would not be used; one line says what lies there and what to do.
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
            raise ValueError(printable(f"--data {data}: lies within {name}, of which it is but a part: give {above}"))
        _records(name, data)
    return names


def _records(dataset: str, data: Path) -> list[Record]:
    options = {"finefs": {"split": finefs_split()}, "folder": {"skip": environment.skip_bad()}}
    return load_records(dataset, data, **options.get(dataset, {}))


def source_kind(dataset: str, data: Path | None) -> str:
    """What lies in `data` of the dataset: "videos", "official" (its annotations alone) or nothing, "drawn".

    One video is enough for "videos": the others must then be there too, or be left out on request.
    """
    if data is None or not holds(dataset, data):
        return "drawn"
    if dataset == "folder":
        return "videos"  # its table names files that are there; to read it may mean to count the frames of each
    return "videos" if _has_videos(dataset, data, finefs_split()) else "official"


@lru_cache
def _has_videos(dataset: str, data: Path, split: str) -> bool:
    """Asked for every trial that is declared, and to answer means to read all annotations: once a process."""
    return any(_is_there(data, record) for record in _records(dataset, data))


def _is_there(data: Path, record: Record) -> bool:
    try:
        return bool(record_path(data, record))
    except VideoError:
        return False


def source_name(data: Path | None, *datasets: str) -> str:
    """What tables and figures say of where their videos come from; of the two diving sets if no dataset is named."""
    kinds = {name: SOURCES[source_kind(name, data)] for name in datasets or ("mtl-aqa", "finediving")}
    if len(set(kinds.values())) == 1:
        return next(iter(kinds.values()))
    return "; ".join(f"{name}: {kind}" for name, kind in kinds.items())


def _draw(dataset: str, root: Path, train: int, test: int, seed: int) -> None:
    """Draw an annotation set, unless it is there as it was written: one that was damaged or edited since is named on
    standard error and drawn again."""
    sign = root / "digest"
    known = sign.read_bytes().decode("ascii", "replace") if sign.is_file() else ""
    if known and known == _digest(root):
        return
    if known:
        print(f"{root}: was damaged or edited: it is drawn again", file=sys.stderr, flush=True)
    write_annotations(dataset, root, train, test, seed)
    write_text(sign, _digest(root))


def _digest(root: Path) -> str:
    """SHA-256 over the names and contents of a set's files."""
    files = {str(f.relative_to(root)): f.read_bytes() for f in root.rglob("*") if f.is_file() and f.parent != root}
    return hashlib.sha256(repr([(k, hashlib.sha256(files[k]).hexdigest()) for k in sorted(files)]).encode()).hexdigest()


def source_records(
    dataset: str, train: int | None, test: int | None, seed: int, data: Path | None, folder: Path
) -> list[Record]:
    """Records of one dataset at the asked size, sorted by key.

    Where `data` holds the dataset, its records are taken; those of the user's annotations are thinned to `train` and
    `test` by a seeded draw, a folder of own videos is taken as it is. Elsewhere an annotation set of that size is drawn
    from `seed` and written below `folder` in the official schema.

    Raises:
        ValueError: more records are asked than the official split holds.
        AnnotationError: own videos cannot be learned (`check_learnable`).
    """
    if data is None or not holds(dataset, data):
        n_train, n_test = (own or asked for own, asked in zip((train, test), OFFICIAL_SIZES[dataset], strict=True))
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
            raise ValueError(f"{dataset}: {count} {split} records asked, {data} has {len(part)}: ask for fewer")
        draw = torch.randperm(len(part), generator=torch.Generator().manual_seed(seed))[:count]
        kept += [part[i] for i in sorted(draw.tolist())]
    return sorted(kept, key=lambda record: record.key)


def records_digest(records: list[Record]) -> str:
    """A short hash of everything the records say, for keys of what is computed from them."""
    return hashlib.sha256("\n".join(map(repr, records)).encode()).hexdigest()[:16]
