"""From official annotation files to typed records; real datasets and simulated ones are read by the same code."""

from pathlib import Path

from sapnet_core.data.finediving import read_finediving
from sapnet_core.data.mtl_aqa import read_mtl_aqa
from sapnet_core.data.records import Record
from sapnet_core.data.unpickle import AnnotationError

__all__ = ["AnnotationError", "Record", "load_records"]

READERS = {"mtl-aqa": read_mtl_aqa, "finediving": read_finediving}


def load_records(name: str, root: Path | str) -> list[Record]:
    """All records of one dataset, sorted by key.

    Args:
        name: "mtl-aqa" or "finediving".
        root: folder with the official annotation files, or with the dataset's folder that holds them.

    Raises:
        ValueError: the name is unknown.
        AnnotationError: a file is missing, unreadable or lacks a key; the message says which and what to do.
    """
    if name not in READERS:
        raise ValueError(f"dataset {name!r} is unknown: choose one of {', '.join(READERS)}")
    return sorted(READERS[name](root), key=lambda record: record.key)
