"""Detection of the datasets in a folder, and of what prevents it: a name in other capitals or with a hidden ending, an
archive that was not unpacked, or a folder that lies too deep or too high."""

import os
from pathlib import Path

from sapnet_core.datasets import finediving, finefs, jigsaws, mtl_aqa, rhythmic_gymnastics, ui_prmd
from sapnet_core.datasets.disk_layout import FOLDERS
from sapnet_core.datasets.names import loose
from sapnet_core.datasets.own_videos import NAME
from sapnet_core.runtime.file_kinds import ARCHIVES, found_at, listed

__all__ = ["PLACES", "holds", "too_deep", "unknown_folder", "unused"]

# folders in which each reader looks for its files, relative to the user's folder
PLACES = {
    "mtl-aqa": (mtl_aqa.FOLDER, f"{mtl_aqa.FOLDER}/info", "."),
    "finediving": (finediving.FOLDER, f"{finediving.FOLDER}/Annotations", "."),
    "rg": (rhythmic_gymnastics.FOLDER, f"{rhythmic_gymnastics.FOLDER}/data", ".", "data"),
    "finefs": tuple(f"{above}/{place}" for above in (finefs.FOLDER, ".") for place in finefs.PLACES),
    "ui-prmd": (ui_prmd.FOLDER, "."),
    "jigsaws": (jigsaws.FOLDER, "."),
    "folder": (".",),
}
# glob pattern of a file that must be in such a folder for the dataset to be recognized
MARKS = {
    "mtl-aqa": mtl_aqa.ANNOTATIONS,
    "finediving": finediving.ANNOTATIONS,
    "rg": rhythmic_gymnastics.SPLITS["train"],
    "finefs": "*.json",
    "ui-prmd": ui_prmd.MARK,
    "jigsaws": jigsaws.MARK,
    "folder": NAME,
}
# name of each dataset's folder, or of the table of own videos
CALLED = {**FOLDERS, "ui-prmd": ui_prmd.FOLDER, "jigsaws": jigsaws.FOLDER, "folder": NAME}
TABLES = (".xlsx", ".xls", ".ods", ".numbers", ".tsv", ".txt", ".csv")


def holds(name: str, data: Path) -> bool:
    """Whether a folder holds the dataset's annotations, or the table of own videos, in one of its `PLACES`."""
    return any(os.path.isfile(file) for place in PLACES[name] for file in (data / place).glob(MARKS[name]))


def unused(data: Path) -> list[str]:
    """One line for each entry that is named like a dataset or the table of own videos, or nearly so, but is ignored."""
    faults = []
    for entry in _entries(data):
        name = _meant(entry)
        if not name or holds(name, data):
            continue
        if entry != CALLED[name]:
            faults.append(f"{entry} is not used: rename it to {CALLED[name]}, or move it out of the folder")
        elif name == "folder":
            faults.append(
                f"{entry} is {found_at(data / entry)}, not a table: write the table, or move it out of the folder"
            )
        else:
            inside = listed(_entries(data / entry)) or "nothing"
            remedy = f"put the annotation files into {entry}, or move it out of the folder"
            faults.append(f"{entry} is not used, since it has no {MARKS[name]} (it holds {inside}): {remedy}")
    return faults


def too_deep(name: str, data: Path) -> Path | None:
    """The folder to give instead of `data`, up to three levels above it, where `data` lies within a dataset; else
    None."""
    for above in list(data.parents)[:3]:
        within = data.relative_to(above).parts
        if name == "folder" and holds(name, above):
            return above
        if name != "folder" and len(within) > 1 and within[0] == CALLED[name] and holds(name, above):
            return above
    return None


def unknown_folder(data: Path) -> str:
    """One line about a folder without a known dataset: the fault, what is in the folder, and the remedy."""
    fault = f"{data} holds no known dataset ({', '.join(CALLED.values())})"
    if above := next(filter(None, (too_deep(name, data) for name in CALLED)), None):
        return f"{fault}, but a folder above it does: give {above}"
    try:
        os.listdir(data)
    except OSError as error:
        return f"{fault}, and cannot be listed ({error.strerror}): check its permissions"
    entries = _entries(data)
    near = [(entry, remedy) for entry in entries if (remedy := _remedy(data, entry))]
    if not entries:
        return f"{fault}; it is empty: give the folder that holds a dataset"
    if near:
        remedies = " or ".join(dict.fromkeys(remedy for _, remedy in near[:3]))
        return f"{fault}; it holds {listed([entry for entry, _ in near])}: {remedies}"
    return f"{fault}; it holds {listed(entries)}: give the folder that holds one of the known datasets by its name"


def _entries(folder: Path) -> list[str]:
    """Sorted names of a folder's entries, without hidden ones; [] where it cannot be listed."""
    try:
        return sorted(entry for entry in os.listdir(folder) if not entry.startswith("."))
    except OSError:
        return []


def _meant(entry: str) -> str:
    """The dataset that an entry's name means, regardless of capitals, separators and a ".txt" that Windows hides; ""
    where it means none."""
    names = (name for name, called in CALLED.items() if loose(entry) in (loose(called), loose(called) + ".txt"))
    return next(names, "")


def _remedy(data: Path, entry: str) -> str:
    """The remedy for an entry that may have been meant as a dataset; "" where it was not."""
    name, path = _meant(entry), data / entry
    if name and entry != CALLED[name]:
        return f"rename {entry} to {CALLED[name]}"
    if path.is_dir() and any(holds(inner, path) for inner in CALLED):
        return f"give {path}"
    if name == "folder":
        return f"{entry} is {found_at(path)}, replace it by a table"
    if name:
        return f"put {MARKS[name]} into {entry}"
    if entry.lower().endswith(ARCHIVES):
        return f"unpack {entry}"
    table = loose(entry).startswith(loose(Path(NAME).stem).removesuffix("s")) and entry.lower().endswith(TABLES)
    if table and entry.lower().endswith(".csv"):
        return f"rename {entry} to {NAME}"
    return f"save {entry} as {NAME}, in UTF-8 with commas between the cells" if table else ""
