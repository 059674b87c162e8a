"""Check of a dataset's files: which are there, whether they are the published ones, and known problems with them.

`python -m sapnet_core check DIR [names]` prints the findings about the datasets in DIR, one per line. Nothing is
changed or downloaded. Videos are reported as whole where every frame was decoded (`--all`), otherwise as opened.
"""

import os
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import pandas as pd

from sapnet_core.datasets import READERS, load_records
from sapnet_core.datasets.clips import SAMPLED
from sapnet_core.datasets.disk_layout import checked_path, record_path
from sapnet_core.datasets.feature_dumps import dump_folder
from sapnet_core.datasets.feature_findings import feature_findings
from sapnet_core.datasets.known import holds, too_deep, unknown_folder, unused
from sapnet_core.datasets.known_problems import NAMED, known_problems, record_counts
from sapnet_core.datasets.own_videos import folder_faults
from sapnet_core.datasets.published_files import annotation_files
from sapnet_core.datasets.records import OFFICIAL_SIZES, Record
from sapnet_core.datasets.sequence_files import is_sequence_file, read_sequence
from sapnet_core.datasets.video import VideoError, count_decoded, frame_files, probe
from sapnet_core.runtime.file_kinds import listed, printable
from sapnet_core.runtime.progress import progress_bar

__all__ = ["SOURCES_TABLE", "check_dataset", "print_findings"]

SOURCES_TABLE = Path(__file__).with_name("sources.csv")  # addresses and terms of use of the four datasets
COLUMNS = ("item", "state", "found", "expected", "remedy")
TOLD = 5  # maximum number of a table's faults that are reported


def check_dataset(
    name: str, root: Path | str, probes: int | None = 8, progress: Callable[[int, int], None] | None = None
) -> pd.DataFrame:
    """Findings about one dataset below `root`, one per row: item, state, found, expected, remedy (all text).

    States: "ok"; "missing"; "differs" (present, but not as expected); "warning" (usable, but with care).

    Args:
        name: "mtl-aqa", "finediving", "rg", "finefs", "ui-prmd", "jigsaws" or "folder".
        root: folder from which `load_records` reads the dataset.
        probes: number of videos to open, evenly spaced among those present; None decodes every frame of all videos.
            Sequences are always all read.
        progress: called with (videos done, videos in total).

    Raises:
        ValueError: the name is unknown.
    """
    if name not in READERS:
        raise ValueError(f"dataset {name!r} is unknown: choose one of {', '.join(READERS)}")
    root, rows = Path(root), []
    rows += annotation_files(name, root)
    try:
        records = load_records(name, root)
    except (ValueError, OSError, ImportError) as error:
        if not any(row[1] == "missing" for row in rows):
            rows += _unreadable(name, root, str(error))
        return pd.DataFrame(rows, columns=COLUMNS)
    rows += record_counts(name, records)
    rows += _videos(name, root, records, probes, progress)
    rows += feature_findings(name, root, records)
    rows += _short(name, root, records)
    rows += known_problems(name, root, records)
    return pd.DataFrame(rows, columns=COLUMNS)


def _unreadable(name: str, root: Path, error: str) -> list[tuple]:
    """Rows with the reason why there are no records; for own videos, one for each of the table's first faults."""
    faults = (folder_faults(root) if name == "folder" else []) or [error]
    rows = []
    for text in faults[:TOLD]:
        fault, _, remedy = text.rpartition(": ")
        rows.append(("annotations", "differs", fault, "readable", remedy))
    if len(faults) > TOLD:
        rows.append(("annotations", "differs", f"{len(faults) - TOLD} more faults", "readable", ""))
    return rows


def _videos(
    name: str, root: Path, records: list[Record], probes: int | None, progress: Callable[[int, int], None] | None
) -> list[tuple]:
    """Rows about the videos: how many are present, and whether the examined ones are readable and long enough."""
    what = "sequences" if all(_is_sequence(record) for record in records) else "videos"
    needs: dict[str, Record] = {}  # path -> the record that needs the most frames of it
    for record in records:
        if record.path not in needs or record.end > needs[record.path].end:
            needs[record.path] = record
    places = {path: place for path, record in needs.items() if (place := _place(root, record))}
    there, absent = sorted(places), sorted(set(needs) - set(places))
    state = "ok" if not absent else "missing"
    remedy = f"runs use simulated twins instead of the missing videos; missing: {listed(absent)}" if absent else ""
    if _only_features(name, root, records):
        state, remedy = "ok", "features are used in their place"
    rows = [(what, state, f"{len(there)} of {len(needs)}", f"{len(needs)}, as {next(iter(needs))}", remedy)]
    if name == "finefs" and there:
        skeletons = [path.replace("video", "skeleton").removesuffix(".mp4") + ".npz" for path in there]
        count = sum(
            os.path.isfile(places[path].parents[1] / Path(s).parent.name / Path(s).name)
            for path, s in zip(there, skeletons, strict=True)
        )
        rows.append(("skeletons", "ok" if count == len(there) else "warning", f"{count} of {len(there)}", "", "unused"))
    chosen = there
    if probes is not None and what == "videos" and len(chosen) > probes:
        chosen = [chosen[i] for i in np.linspace(0, len(chosen) - 1, probes).round().astype(int)]
    if not chosen:
        return rows
    faults = []
    for done, path in enumerate(chosen, 1):
        if fault := _fault(name, root, needs[path], decode=probes is None):
            faults.append(fault)
        if progress:
            progress(done, len(chosen))
    how = "read" if what == "sequences" else "decoded" if probes is None else "opened"
    found = f"{len(chosen) - len(faults)} " + ("(--all decodes them)" if how == "opened" else "whole")
    named = "; ".join(faults[:NAMED]) + " ..." * (len(faults) > NAMED)
    return [*rows, (f"{what} {how}", "differs" if faults else "ok", found, f"{len(chosen)}", named)]


def _is_sequence(record: Record) -> bool:
    return record.dataset not in OFFICIAL_SIZES and is_sequence_file(record.path)


def _only_features(name: str, root: Path, records: list[Record]) -> bool:
    """Whether a dataset has published features and no video."""
    return dump_folder(name, root) is not None and not any(_place(root, record) for record in records)


def _place(root: Path, record: Record) -> Path | None:
    """The path of a record's frames; None where they are absent."""
    try:
        return record_path(root, record)
    except VideoError:
        return None


def _fault(name: str, root: Path, record: Record, decode: bool) -> str:
    """The fault of a video or sequence, "" for none; with `decode`, every frame of a video is decoded."""
    try:
        place = checked_path(root, record)
        if _is_sequence(record):
            fill, teacher = getattr(record, "fill", False), getattr(record, "path_teacher", "")
            for path in (place, *([root / teacher] if teacher else [])):
                read_sequence(path, fill)
            return ""
        found = count_decoded(place) if decode else 0
        if name == "mtl-aqa" and place.is_dir():  # files are numbered as FFmpeg counts, and some may be absent
            found = max(frame_files(place))
        found = found or probe(place).frames
    except (ValueError, OSError, ImportError) as error:
        return str(error)
    needed = record.frames if name in ("finediving",) else record.end
    if name in ("rg", "finefs"):  # the length is inexact: it is in whole seconds, or ends after the last element
        needed = min(needed, record.frames) - 10 * round(record.rate)
    fault = f"{place.name}: {found} frames, but record {record.key} needs {needed}: copy or download it again"
    return fault if found < needed else ""


def _short(name: str, root: Path, records: list[Record]) -> list[tuple]:
    """Row about clips with fewer frames than are sampled from them; none for sequences and published features, which
    have any length."""
    if all(_is_sequence(record) for record in records) or _only_features(name, root, records):
        return []
    window = SAMPLED[name]
    short = sum(record.frames < window for record in records)
    how = {"mtl-aqa": "frames before the start are read too", "finediving": "some frames are read twice"}
    remedy = how.get(name, "some frames are read twice") if short else ""
    state = "warning" if short else "ok"
    return [(f"clips shorter than the {window} sampled frames", state, f"{short} of {len(records)}", "", remedy)]


def print_findings(folder: Path, names: Sequence[str] = (), decode_all: bool = False) -> int:
    """Print the findings about the datasets in a folder; returns 1 where something is missing or differs, else 0.

    Args:
        names: names of datasets in `READERS`; by default, those that are in the folder.
        decode_all: decode every frame of all videos, instead of opening eight videos of each dataset.

    Raises:
        ValueError: no names are given, and the folder holds no dataset.
    """
    names = names or [name for name in READERS if _present(name, folder)]
    if not names:
        raise ValueError(printable(unknown_folder(folder)))
    faults = unused(folder)
    faults += [
        f"the folder is only a part of dataset {name}: give {above}"
        for name in names
        if name != "folder" and holds(name, folder) and (above := too_deep(name, folder))
    ]
    for fault in faults:
        print(printable(f"differs {folder}: {fault}"))
    bad = bool(faults)
    for name in names:
        table = check_dataset(name, folder, None if decode_all else 8, progress_bar(name, "files"))
        bad = bad or table.state.isin(["missing", "differs"]).any()
        print(f"{name}")
        for row in table.itertuples():
            expected = f" (expected {row.expected})" if row.expected and row.state != "ok" else ""
            line = f"{row.state:8}{row.item}: {row.found}{expected}" + (f" -> {row.remedy}" if row.remedy else "")
            print("  " + printable(line))
    return int(bad)


def _present(name: str, root: Path) -> bool:
    return any(state != "missing" and found != "not there" for _, state, found, _, _ in annotation_files(name, root))
