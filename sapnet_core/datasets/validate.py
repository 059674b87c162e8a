"""Check of a dataset's files: which are there, whether they are the published ones, and known problems with them.

`python -m sapnet_core check DIR [names]` prints the findings about the datasets in DIR, one per line. Nothing is
changed or downloaded. Videos are reported as whole where every frame was decoded (`--all`), otherwise as opened.
"""

import hashlib
import os
from collections import Counter
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import pandas as pd

from sapnet_core.datasets import (
    READERS,
    AnnotationError,
    finediving,
    finefs,
    load_records,
    mtl_aqa,
    rhythmic_gymnastics,
)
from sapnet_core.datasets.annotation_pickles import read_pickle
from sapnet_core.datasets.clips import SAMPLED
from sapnet_core.datasets.disk_layout import FOLDERS, checked_path, record_path
from sapnet_core.datasets.known import PLACES, holds, too_deep, unknown_folder, unused
from sapnet_core.datasets.learnable import check_learnable
from sapnet_core.datasets.names import Names
from sapnet_core.datasets.own_videos import NAME, folder_faults
from sapnet_core.datasets.records import OFFICIAL_SIZES, Record
from sapnet_core.datasets.repeats import Pair, leaks, scored_twice
from sapnet_core.datasets.sequence_files import SEQUENCES, read_sequence
from sapnet_core.datasets.video import VideoError, count_decoded, frame_files, probe
from sapnet_core.runtime.file_kinds import found_at, listed, printable
from sapnet_core.runtime.progress import progress_bar

__all__ = ["SOURCES", "SUMS", "check_dataset", "print_findings", "shared_dives"]

SOURCES = Path(__file__).with_name("sources.csv")  # addresses and terms of use of the four datasets
COLUMNS = ("item", "state", "found", "expected", "remedy")
NAMED_TYPES = "FineDiving_fine-grained_annotation.pkl"  # the same annotation with the names of subactions
SUMS = {  # SHA-256 of the published annotation files
    "mtl-aqa": {
        mtl_aqa.ANNOTATIONS: "2e1e06b33ce3570036cd193912a68ffee0da08cc74cee8397309c5ab302ab8c4",
        mtl_aqa.SPLITS["train"]: "87d5dd2fe704af5ae1130b8d3ab66d2d4287346363fa37f52cee27dfb6730e52",
        mtl_aqa.SPLITS["test"]: "c25d6619e0044182ab303b64f4c0386510c2e17d302aad28f08c5e461319904a",
    },
    "finediving": {
        finediving.ANNOTATIONS: "919b1ff8e63676b51508bf340b8a92f870571d5281ec34d3b70dcf56f51b3482",
        finediving.COARSE: "8dc211a35c2b1ec1dc6f5c9f7e93774b627d812b8ea41d012a85bc1e0e49240e",
        finediving.SPLITS["train"]: "a8a1cdcbdef430429fbbd7539d90939982a0c5588a1a1c79117a07372609a4d8",
        finediving.SPLITS["test"]: "bcb1f407ad190a68f464c5aa70658e72d34b683a89deccf3ecc9119019896594",
        NAMED_TYPES: "643e1bdeab2b2727136c543fcd5fe907b69f32803a0ff1bed4b9c36889dfa765",
        "Sub_action_Types_Table.pkl": "868aba445dd36e8206778b46547c5662657e0c7e776169f1a8e9a0a3ef9aed75",
    },
    "rg": {
        rhythmic_gymnastics.SPLITS["train"]: "1f54d40d6a3caaaaa86ea085d7f5d53498b86cda3222a8f3dc6887ee5bef17e7",
        rhythmic_gymnastics.SPLITS["test"]: "f56a103c365a1ab2f5f5d7f19e1cf1ffbf2f220f01b27c46ef39ed9dbb0d0bbb",
    },
}
OPTIONAL = (finediving.COARSE, NAMED_TYPES, "Sub_action_Types_Table.pkl")
PUBLISHERS = {
    "mtl-aqa": mtl_aqa.SOURCE,
    "finediving": finediving.SOURCE,
    "rg": rhythmic_gymnastics.SOURCE,
    "finefs": finefs.SOURCE,
}
NAMED = 3  # maximum number of faulty videos, or of pairs of records, that a row names
TOLD = 5  # maximum number of a table's faults that are reported


def check_dataset(
    name: str, root: Path | str, probes: int | None = 8, progress: Callable[[int, int], None] | None = None
) -> pd.DataFrame:
    """Findings about one dataset below `root`, one per row: item, state, found, expected, remedy (all text).

    States: "ok"; "missing"; "differs" (present, but not as expected); "warning" (usable, but with care).

    Args:
        name: "mtl-aqa", "finediving", "rg", "finefs" or "folder".
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
    rows += _files(name, root)
    try:
        records = load_records(name, root)
    except (ValueError, OSError, ImportError) as error:
        if not any(row[1] == "missing" for row in rows):
            rows += _unreadable(name, root, str(error))
        return pd.DataFrame(rows, columns=COLUMNS)
    rows += _counts(name, records)
    rows += _videos(name, root, records, probes, progress)
    rows += _short(name, records)
    rows += {"mtl-aqa": _overlap, "finediving": _finediving, "rg": _rg, "finefs": _finefs, "folder": _folder}[name](
        root, records
    )
    return pd.DataFrame(rows, columns=COLUMNS)


def shared_dives(mtl: Sequence[Record], fine: Sequence[Record]) -> list[tuple[Record, Record]]:
    """Dives that are in both MTL-AQA and FineDiving, as pairs of their records.

    FineDiving took over MTL-AQA's videos with their numbers: two records are the same dive where event, number and
    score are equal. (Their spans may differ, since FineDiving cut some dives anew.)
    """
    known = {record.key: record for record in mtl}
    pairs = [(known[record.key], record) for record in fine if record.key in known]
    return [(a, b) for a, b in pairs if a.score == b.score]


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


def _files(name: str, root: Path) -> list[tuple]:
    """Rows about the annotation files: whether each is present, and equal to the published one."""
    if name == "finefs":
        folder = finefs.annotation_folder(root)
        found, all_of = len(list(folder.glob("*.json"))), sum(OFFICIAL_SIZES[name])
        state = "missing" if not found else "ok" if found == all_of else "differs"
        return [
            (
                "annotation files",
                state,
                f"{found} in {folder.name}/",
                f"{all_of} (sums not published)",
                "" if state == "ok" else f"download them from {finefs.SOURCE}",
            )
        ]
    if name == "folder":
        if os.path.isfile(root / NAME):
            return [(NAME, "ok", "there", "there", "")]
        near = found_at(root / NAME) or Names(root).near([NAME])
        return [(NAME, "missing", near, "there", "write this table")]
    folders = [root / place for place in PLACES[name]]
    first = next(iter(SUMS[name]))
    folder = next((folder for folder in folders if os.path.isfile(folder / first)), folders[0])
    rows = []
    for file, known in SUMS[name].items():
        path = folder / file
        if not os.path.isfile(path):
            state = "warning" if file in OPTIONAL else "missing"
            remedy = "optional" if file in OPTIONAL else f"download it from {PUBLISHERS[name]}"
            rows.append((file, state, "not there", f"SHA-256 {known[:12]}", remedy))
            continue
        try:
            with path.open("rb") as content:
                mine = hashlib.file_digest(content, "sha256").hexdigest()
        except OSError as error:
            rows.append((file, "differs", error.strerror, "readable", "check its permissions, or download it again"))
            continue
        same = mine == known
        remedy = (
            ""
            if same
            else f"the file is another edition or was simulated; download the published one from {PUBLISHERS[name]}"
        )
        rows.append((file, "ok" if same else "differs", f"SHA-256 {mine[:12]}", f"SHA-256 {known[:12]}", remedy))
    return rows


def _counts(name: str, records: list[Record]) -> list[tuple]:
    parts = Counter(record.split for record in records)
    found = f"{parts['train']} train, {parts['test']} test"
    if name == "folder":
        return [("records", "ok", found, "", "")]
    train, test = OFFICIAL_SIZES[name]
    same = (parts["train"], parts["test"]) == (train, test)
    rows = [
        (
            "records",
            "ok" if same else "differs",
            found,
            f"{train} train, {test} test",
            "" if same else "results are not comparable with published ones",
        )
    ]
    if any(record.group for record in records):
        groups = Counter((record.group, record.split) for record in records)
        names = sorted({group for group, _ in groups})
        text = ", ".join(f"{group} {groups[group, 'train']}/{groups[group, 'test']}" for group in names)
        wanted = "SP 583/146, FS 350/88" if name == "finefs" else "200/50 each"
        fits = {"finefs": {"SP": (583, 146), "FS": (350, 88)}}.get(
            name, dict.fromkeys(rhythmic_gymnastics.APPARATUS, (200, 50))
        )
        same = {group: (groups[group, "train"], groups[group, "test"]) for group in names} == fits
        rows.append(("records by class", "ok" if same else "differs", text, wanted, ""))
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
    return record.dataset == "folder" and record.path.lower().endswith(SEQUENCES)


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
            read_sequence(place)
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


def _short(name: str, records: list[Record]) -> list[tuple]:
    """Row about clips with fewer frames than are sampled from them; none for sequences, which have any length."""
    window = SAMPLED[name]
    if all(_is_sequence(record) for record in records):
        return []
    short = sum(record.frames < window for record in records)
    how = {"mtl-aqa": "frames before the start are read too", "finediving": "some frames are read twice"}
    remedy = how.get(name, "some frames are read twice") if short else ""
    state = "warning" if short else "ok"
    return [(f"clips shorter than the {window} sampled frames", state, f"{short} of {len(records)}", "", remedy)]


def _counted(item: str, count: int, known: int, remedy: str = "") -> tuple:
    """The row for a number of problems: a warning with the remedy where there are any. `known` is the number in the
    published files."""
    return item, "warning" if count else "ok", str(count), str(known), remedy if count else ""


def _overlap(root: Path, records: list[Record]) -> list[tuple]:
    """Rows about dives that are in both diving datasets, and so leak from a training part into the other test part."""
    sets = {}
    for name in ("mtl-aqa", "finediving"):
        try:
            own = records[0].dataset == name
            sets[name] = records if own else load_records(name, root)
        except AnnotationError:
            return [("overlap of MTL-AQA and FineDiving", "ok", f"{name} is not here", "", "")]
    pairs = shared_dives(sets["mtl-aqa"], sets["finediving"])
    ways = Counter((a.split, b.split) for a, b in pairs)
    rows = [
        _counted(
            "dives in both MTL-AQA and FineDiving",
            len(pairs),
            1369,
            "remove them before pretraining on one dataset and testing on the other",
        )
    ]
    leaks = (
        ("MTL-AQA test dives in FineDiving's train part", ("test", "train"), 268),
        ("FineDiving test dives in MTL-AQA's train part", ("train", "test"), 249),
    )
    for item, way, known in leaks:
        rows.append(_counted(item, ways[way], known, "leave them out"))
    return rows


def _finediving(root: Path, records: list[Record]) -> list[tuple]:
    """Rows about the edition of the fine-grained annotation, and about contradictions between its fields."""
    folder = next(f for place in PLACES["finediving"] if ((f := root / place) / finediving.ANNOTATIONS).is_file())
    fine = read_pickle(folder / finediving.ANNOTATIONS, finediving.SOURCE)
    coarse = folder / finediving.COARSE
    spans = read_pickle(coarse, finediving.SOURCE) if coarse.is_file() else {}
    with (folder / finediving.ANNOTATIONS).open("rb") as content:
        digest = hashlib.file_digest(content, "sha256").hexdigest()
    published = digest == SUMS["finediving"][finediving.ANNOTATIONS]
    edition = "the corrected edition" if published else "another edition than the corrected one"
    rows = [
        (
            "edition of the annotation",
            "ok" if published else "differs",
            edition,
            "the corrected edition",
            "" if published else f"two editions exist; download the corrected one from {finediving.SOURCE}",
        )
    ]
    length = sum(spans[k]["end_frame"] - spans[k]["start_frame"] + 1 != len(fine[k][4]) for k in fine if k in spans)
    state = "differs" if length else "ok"
    rows.append(("dives with other labels than frames", state, str(length), "0", "use one edition" if length else ""))
    # `steps_transit_frames` holds the last frame before each change
    steps = [k for k, entry in fine.items() if not np.array_equal(entry[3], np.flatnonzero(np.diff(entry[4])))]
    found = f"{len(steps)} of {len(fine)}"
    remedy = "the frame labels are used and the field is ignored" if steps else ""
    rows.append(("transitions other than the labels'", "warning" if steps else "ok", found, "", remedy))
    if (folder / NAMED_TYPES).is_file():
        other = read_pickle(folder / NAMED_TYPES, finediving.SOURCE)
        fields = ("action_type", "dive_score", "difficulty", "steps_transit_frames", "frames_labels")
        different = Counter(
            field
            for key in fine
            if key in other
            for field, mine in zip(fields, fine[key], strict=True)
            if not np.array_equal(mine, other[key].get(field))
        )
        different["keys"] += len(set(fine) ^ set(other))
        found = ", ".join(f"{field} of {count}" for field, count in different.items() if count) or "no difference"
        state = "ok" if found == "no difference" else "differs"
        remedy = "" if state == "ok" else "the two files are of different editions: take both from one source"
        rows.append((f"{NAMED_TYPES} beside it", state, found, "no difference", remedy))
    return rows + _overlap(root, records)


def _rg(root: Path, records: list[Record]) -> list[tuple]:
    """Rows about gaps in the numbers of each apparatus; the published list has one, in Ball."""
    rows = []
    for apparatus in rhythmic_gymnastics.APPARATUS:
        numbers = {int(record.key.partition("_")[2]) for record in records if record.group == apparatus}
        gaps = sorted(set(range(1, max(numbers, default=0) + 1)) - numbers)
        state = "warning" if gaps else "ok"
        found = f"{len(numbers)} up to {max(numbers, default=0)}" + (f", no {gaps[0]}" if gaps else "")
        known = "250 up to 251, no 134" if apparatus == "Ball" else "250 up to 250"
        remedy = "do not number the videos consecutively: use their names" if gaps else ""
        rows.append((f"numbers of {apparatus}", state, found, known, remedy))
    return rows


def _finefs(root: Path, records: list[Record]) -> list[tuple]:
    """Rows about the split, which is not published, and about scores that do not add up."""
    rows = [
        (
            "split",
            "warning",
            "drawn: random, seed 42",
            "no list is published",
            f"report the split rule that you use: {', '.join(finefs.SPLIT_RULES)}",
        )
    ]
    total = sum(
        abs(r.sub_score("tes") + r.sub_score("pcs") + r.sub_score("deductions") - r.score) > 0.02 for r in records
    )
    rows.append(_counted("totals other than TES + PCS + deductions", total, 0, "the total is used as published"))
    tes = sum(abs(sum(e.base + e.goe for e in r.elements) - r.sub_score("tes")) > 0.06 for r in records)
    rows.append(_counted("TES other than the sum of its elements", tes, 0, "TES is used as published"))
    wanted = {"SP": 7, "FS": 12}
    odd = sum(len(r.elements) != wanted[r.group] for r in records)
    rows.append(_counted("programs without 7 or 12 elements", odd, 0))
    return rows


def _folder(root: Path, records: list[Record]) -> list[tuple]:
    """Rows about own videos: whether they can be learned from, and which records share frames."""
    unlabeled = sum(record.split == "train" and record.score != record.score for record in records)
    train = sum(record.split == "train" for record in records)
    rows = [("training records with a score", "ok", f"{train - unlabeled} of {train}", "", "")]
    try:
        check_learnable(root / NAME, records)
        rows.append(("kinds, groups and scores", "ok", "can be learned", "", ""))
    except ValueError as error:
        fault, _, remedy = str(error).rpartition(": ")
        rows.append(("kinds, groups and scores", "differs", fault, "", remedy))
    rows += [
        _repeated("rows with frames of the other split", leaks(root, records), "remove one row of each pair"),
        _repeated(
            "rows with the same frames but another score",
            scored_twice(root, records),
            "write one row with the mean score",
        ),
    ]
    if others := [FOLDERS[name] for name in FOLDERS if holds(name, root) and (root / FOLDERS[name]).is_dir()]:
        rows.append(
            ("datasets beside it", "warning", ", ".join(others), "", f"a run uses only {NAME}: move one of them away")
        )
    return rows


def _repeated(item: str, pairs: list[Pair], remedy: str) -> tuple:
    def row(record: Record) -> str:
        score = "no score" if record.score != record.score else f"{record.score:g}"
        return f"{record.key} ({record.split}, {score}, {record.path} [{record.start}, {record.end}))"

    named = "; ".join(f"{row(a)} and {row(b)}" for a, b in pairs[:NAMED]) + " ..." * (len(pairs) > NAMED)
    return item, "warning" if pairs else "ok", f"{len(pairs)}", "", f"{remedy}: {named}" if pairs else ""


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
        table = check_dataset(name, folder, None if decode_all else 8, progress_bar(name, "videos"))
        bad = bad or table.state.isin(["missing", "differs"]).any()
        print(f"{name}")
        for row in table.itertuples():
            expected = f" (expected {row.expected})" if row.expected and row.state != "ok" else ""
            line = f"{row.state:8}{row.item}: {row.found}{expected}" + (f" -> {row.remedy}" if row.remedy else "")
            print("  " + printable(line))
    return int(bad)


def _present(name: str, root: Path) -> bool:
    return any(state != "missing" and found != "not there" for _, state, found, _, _ in _files(name, root))
