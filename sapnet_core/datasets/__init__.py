"""Readers that turn the annotation files of a dataset into typed records; real and simulated datasets share them."""

import inspect
import os
from pathlib import Path

from sapnet_core.datasets.annotation_pickles import AnnotationError
from sapnet_core.datasets.finediving import read_finediving
from sapnet_core.datasets.finefs import read_finefs
from sapnet_core.datasets.jigsaws import read_jigsaws
from sapnet_core.datasets.mtl_aqa import read_mtl_aqa
from sapnet_core.datasets.own_videos import read_folder
from sapnet_core.datasets.records import Element, Record
from sapnet_core.datasets.rhythmic_gymnastics import read_rhythmic
from sapnet_core.datasets.ui_prmd import read_ui_prmd

__all__ = ["AnnotationError", "Element", "Record", "load_records"]

READERS = {
    "mtl-aqa": read_mtl_aqa,
    "finediving": read_finediving,
    "rg": read_rhythmic,
    "finefs": read_finefs,
    "ui-prmd": read_ui_prmd,
    "jigsaws": read_jigsaws,
    "folder": read_folder,
}


def load_records(name: str, root: Path | str, **options) -> list[Record]:
    """All records of one dataset, sorted by key.

    Args:
        name: "mtl-aqa", "finediving", "rg", "finefs", "ui-prmd", "jigsaws", or "folder" for the user's own data.
        root: folder that holds the annotation files, or that holds the dataset's folder with these files.
        options: keyword arguments of the dataset's reader: FineFS takes `split` and `seed`, "folder" takes `skip`.

    Raises:
        ValueError: the name or an option is unknown.
        AnnotationError: a file is missing or unreadable, or lacks a key; the message names the file and the remedy.
    """
    if name not in READERS:
        raise ValueError(f"dataset {name!r} is unknown: choose one of {', '.join(READERS)}")
    known = list(inspect.signature(READERS[name]).parameters)[1:]
    for option in options:
        if option not in known:
            raise ValueError(f"{name} has no option {option!r}: it has {', '.join(known) or 'none'}")
    try:
        os.stat(root)
    except (FileNotFoundError, NotADirectoryError):
        pass  # the reader names the file that is missing
    except (OSError, ValueError) as error:  # the name is too long or has a null byte, no permission, a loop of links
        fault = str(getattr(error, "strerror", None) or error)
        raise AnnotationError(f"{str(root)[:200]}: cannot be opened ({fault}): check the name of the folder") from None
    return sorted(READERS[name](root, **options), key=lambda record: record.key)
