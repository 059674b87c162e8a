"""Which records a run uses: the user's official annotation files, or annotations drawn by the simulator.

Both are read by the same reader. Drawn ones are written once, in the official schema, below the runs folder.
"""

import hashlib
from dataclasses import replace
from pathlib import Path

import torch

from sapnet_core.data import Record, load_records
from sapnet_core.sim.annotations import write_annotations

__all__ = ["OFFICIAL_SIZES", "source_name", "source_records", "records_digest"]

OFFICIAL_SIZES = {"mtl-aqa": (1059, 353), "finediving": (2251, 749)}


def source_name(data: Path | None) -> str:
    """What tables and figures say of where their videos come from."""
    return "twins of official annotations" if data else "twins of drawn annotations"


def source_records(
    dataset: str, train: int | None, test: int | None, seed: int, data: Path | None, folder: Path
) -> list[Record]:
    """Records of one dataset at the asked size, sorted by key.

    With `data` (a folder of official files) the official records are taken, and thinned to `train` and `test` by a
    seeded draw where fewer are asked than there are. Without, an annotation set of that size is drawn from `seed`
    and written below `folder` in the official schema.

    Raises:
        ValueError: more records are asked than the official split holds.
    """
    if data is None:
        n_train, n_test = (own or asked for own, asked in zip((train, test), OFFICIAL_SIZES[dataset], strict=True))
        root = folder / f"{dataset}-{n_train}-{n_test}-{seed}"
        if not root.is_dir():
            write_annotations(dataset, root, n_train, n_test, seed)
        return load_records(dataset, root)
    records = load_records(dataset, data)
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
    text = "\n".join(repr(replace(record)) for record in records)
    return hashlib.sha256(text.encode()).hexdigest()[:16]
