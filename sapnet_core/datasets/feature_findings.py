"""The checker's findings about published features: which records have any, of which shapes, in which views."""

from collections import Counter
from pathlib import Path

import numpy as np

from sapnet_core.datasets.annotation_pickles import AnnotationError
from sapnet_core.datasets.feature_dumps import Found, dump_folder, missing_text, read_dump
from sapnet_core.datasets.records import Record
from sapnet_core.runtime.file_kinds import listed

__all__ = ["feature_findings"]

SHAPES = 3  # maximum number of shapes that a row names


def feature_findings(name: str, root: Path, records: list[Record]) -> list[tuple]:
    """Rows (item, state, found, expected, remedy) about a dataset's features, as `validate.check_dataset` lists them;
    none where it has no features. Every file is opened and every value looked at."""
    folder = dump_folder(name, root)
    if folder is None:
        return []
    place = folder.relative_to(root).as_posix()
    try:
        dump = read_dump(name, root, records, lambda x: np.empty(0, np.float32))
    except AnnotationError as error:
        fault, _, remedy = str(error).rpartition(": ")
        return [(f"features in {place}", "differs", fault, "readable", remedy)]
    total, rows = len(records), []
    frame = dump.views.get("frame", {})
    missing = missing_text(dump, records).removeprefix(f"{folder}: ")
    state = "ok" if len(frame) == total else "missing"
    rows.append((f"features in {place}", state, f"{len(frame)} of {total}", f"{total}", missing))
    for view, found in dump.views.items():
        rows.append((f"features of {VIEW_NAMES[view]}", "ok", _shapes(found), "", ""))
    actor = dump.views.get("actor", {})
    if frame and len(actor) < len(frame):
        lacks = missing_text(dump, records, "actor").removeprefix(f"{folder}: ") if actor else "none"
        state, remedy = ("missing", "add them, or remove all") if actor else ("warning", "")
        remedy = remedy or "teacher and student see one view, so L_un cannot act: put features of crops into actor/"
        rows.append(("features of the teacher's view", state, lacks, "", remedy))
    if dump.unused:
        rows.append(("arrays that belong to no record", "ok", f"{len(dump.unused)}", "", listed(dump.unused)))
    if dump.others:
        rows.append(("arrays of flow or sound", "ok", f"{dump.others}", "", "not used"))
    return rows


VIEW_NAMES = {"frame": "whole frames", "actor": "actor crops"}


def _shapes(found: dict[str, Found]) -> str:
    """How many arrays have which shape: (time, channels), or the range of their lengths where they differ."""
    counts = Counter(one.shape for one in found.values())
    if len(counts) <= SHAPES:
        return ", ".join(f"{count} of {steps} x {channels}" for (steps, channels), count in sorted(counts.items()))
    lengths = [steps for steps, _ in counts]
    return f"{len(found)} of {min(lengths)} to {max(lengths)} x {next(iter(counts))[1]} (time x channels)"
