"""Which records and videos a run uses: the user's own, twins of the user's annotations, or annotations drawn.

The folder of `SAPNET_DATA` may hold any of the datasets. For each of them it decides: where its videos lie too, they
are read; where its annotation files lie alone, twins of those are filmed; where neither lies, an annotation set is
drawn, written once in the official schema below the runs folder, and twins of it are filmed. One reader reads all.
"""

import hashlib
from functools import lru_cache
from pathlib import Path

import torch

from sapnet_core import paths
from sapnet_core.data import AnnotationError, Record, finediving, finefs, load_records, mtl_aqa, rhythmic
from sapnet_core.data.layout import FOLDERS, record_path
from sapnet_core.data.records import OFFICIAL_SIZES
from sapnet_core.data.video import VideoError
from sapnet_core.profiles import finefs_split
from sapnet_core.sim.annotations import write_annotations

__all__ = ["SOURCES", "source_kind", "source_name", "source_records", "records_digest"]

SOURCES = {
    "drawn": "twins of drawn annotations", "official": "twins of official annotations", "videos": "videos",
}  # fmt: skip
# files without which a dataset's annotations are not there, as patterns in its folder
MARKS = {
    "mtl-aqa": (mtl_aqa.ANNOTATIONS,), "finediving": (finediving.ANNOTATIONS,), "rg": (rhythmic.SPLITS["train"],),
    "finefs": tuple(f"{place}/*.json" for place in finefs.PLACES), "folder": ("records.csv",),
}  # fmt: skip


def _holds(dataset: str, data: Path) -> bool:
    folder = FOLDERS.get(dataset)
    places = ("",) if folder is None else (f"{folder}/", f"{folder}/*/", "", "data/")
    return any(next(data.glob(place + mark), None) for place in places for mark in MARKS[dataset])


def _records(dataset: str, data: Path) -> list[Record]:
    options = {"finefs": {"split": finefs_split()}, "folder": {"skip": paths.skip_bad()}}
    return load_records(dataset, data, **options.get(dataset, {}))


def source_kind(dataset: str, data: Path | None) -> str:
    """What lies in `data` of the dataset: "videos", "official" (its annotations alone) or nothing, "drawn".

    One video is enough for "videos": the others must then be there too, or be left out on request.
    """
    if data is None or not _holds(dataset, data):
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


def source_records(
    dataset: str, train: int | None, test: int | None, seed: int, data: Path | None, folder: Path
) -> list[Record]:
    """Records of one dataset at the asked size, sorted by key.

    Where `data` holds the dataset, its records are taken; those of the user's annotations are thinned to `train` and
    `test` by a seeded draw, a folder of own videos is taken as it is. Elsewhere an annotation set of that size is drawn
    from `seed` and written below `folder` in the official schema.

    Raises:
        ValueError: more records are asked than the official split holds.
        AnnotationError: a group of own videos has too few scores, or some videos have a group and others none.
    """
    if data is None or not _holds(dataset, data):
        n_train, n_test = (own or asked for own, asked in zip((train, test), OFFICIAL_SIZES[dataset], strict=True))
        root = folder / f"{dataset}-{n_train}-{n_test}-{seed}"
        if not root.is_dir():
            write_annotations(dataset, root, n_train, n_test, seed)
        return load_records(dataset, root)
    records = _records(dataset, data)
    if dataset == "folder":
        _check_groups(data / MARKS[dataset][0], records)
        return records
    kept = []
    for split, count in (("train", train), ("test", test)):
        part = [record for record in records if record.split == split]
        if count is not None and count > len(part):
            raise ValueError(f"{dataset}: {count} {split} records asked, {data} has {len(part)}: ask for fewer")
        draw = torch.randperm(len(part), generator=torch.Generator().manual_seed(seed))[:count]
        kept += [part[i] for i in sorted(draw.tolist())]
    return sorted(kept, key=lambda record: record.key)


def _check_groups(file: Path, records: list[Record]) -> None:
    """That each group of a folder, which is learned and scored by itself, can be."""
    groups = sorted({record.group for record in records})
    if len(groups) > 1 and not groups[0]:
        key = next(record.key for record in records if not record.group)
        raise AnnotationError(f"{file}: row {key!r} has no group, others have: give each row one, or none any")
    for group in groups:
        for part in ("train", "test"):
            known = {r.score for r in records if (r.group, r.split) == (group, part)}
            if sum(score == score for score in known) < 2:  # NaN is unequal to itself
                where = f" of group {group!r}" if group else ""
                raise AnnotationError(f"{file}: fewer than two different {part} scores{where}: give more")


def records_digest(records: list[Record]) -> str:
    """A short hash of everything the records say, for keys of what is computed from them."""
    return hashlib.sha256("\n".join(map(repr, records)).encode()).hexdigest()[:16]
