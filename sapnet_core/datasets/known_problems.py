"""Known problems of each dataset's records: numbers other than the published ones, contradictions, repeated dives."""

from collections import Counter
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from sapnet_core.datasets import (
    AnnotationError,
    finediving,
    finefs,
    jigsaws,
    load_records,
    rhythmic_gymnastics,
    ui_prmd,
)
from sapnet_core.datasets.annotation_pickles import read_pickle
from sapnet_core.datasets.disk_layout import FOLDERS
from sapnet_core.datasets.known import PLACES, holds
from sapnet_core.datasets.learnable import check_learnable
from sapnet_core.datasets.own_videos import NAME
from sapnet_core.datasets.pose_tracks import pose_records, read_pose_track
from sapnet_core.datasets.published_files import NAMED_TYPES, SUMS
from sapnet_core.datasets.raters import rater_spread
from sapnet_core.datasets.records import OFFICIAL_SIZES, Record
from sapnet_core.datasets.repeats import Pair, leaks, scored_twice
from sapnet_core.datasets.sequence_record import fold_of, subject_of
from sapnet_core.runtime.file_kinds import listed
from sapnet_core.runtime.fingerprint import file_digest

__all__ = ["NAMED", "known_problems", "record_counts", "shared_dives"]

NAMED = 3  # maximum number of faulty videos, or of pairs of records, that a row names


def known_problems(name: str, root: Path, records: list[Record]) -> list[tuple]:
    """Findings about problems that the records of one dataset are known to have, or may have.

    Args:
        name: "mtl-aqa", "finediving", "rg", "finefs", "ui-prmd", "jigsaws" or "folder".
        root: folder from which `load_records` read the records.

    Returns:
        Rows (item, state, found, expected, remedy), as `validate.check_dataset` lists them; none of a dataset that has
        no checks of its own.
    """
    checks = {"mtl-aqa": _overlap, "finediving": _finediving, "rg": _rg, "finefs": _finefs, "folder": _folder}
    checks |= {"ui-prmd": _ui_prmd, "jigsaws": _jigsaws}
    return checks[name](root, records) if name in checks else []


def shared_dives(mtl: Sequence[Record], fine: Sequence[Record]) -> list[tuple[Record, Record]]:
    """Dives that are in both MTL-AQA and FineDiving, as pairs of their records.

    FineDiving took over MTL-AQA's videos with their numbers: two records are the same dive where event, number and
    score are equal. (Their spans may differ, since FineDiving cut some dives anew.)
    """
    known = {record.key: record for record in mtl}
    pairs = [(known[record.key], record) for record in fine if record.key in known]
    return [(a, b) for a, b in pairs if a.score == b.score]


def record_counts(name: str, records: list[Record]) -> list[tuple]:
    """Findings about the numbers of records in both splits and in each class; rows like those of `known_problems`."""
    parts = Counter(record.split for record in records)
    found = f"{parts['train']} train, {parts['test']} test"
    if name not in OFFICIAL_SIZES:
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
    published = file_digest(folder / finediving.ANNOTATIONS) == SUMS["finediving"][finediving.ANNOTATIONS]
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
    return rows + _pose_tracks(root, records) + _overlap(root, records)


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


def _ui_prmd(root: Path, records: list[Record]) -> list[tuple]:
    """Rows about repetitions that are missing, and people."""
    there = {record.key for record in records}
    every = [
        f"{movement}_s{person:02d}_e{repetition:02d}{end}"
        for movement in ui_prmd.MOVEMENTS
        for person in range(1, 11)
        for repetition in range(1, 11)
        for end in ui_prmd.PARTS.values()
    ]
    absent = [key for key in every if key not in there]
    state, remedy = ("missing", f"get them from {ui_prmd.SOURCE}: {listed(absent)}") if absent else ("ok", "")
    found = f"{len(every) - len(absent)} of {len(every)}"
    return [("repetitions", state, found, str(ui_prmd.SIZE), remedy)]


def _jigsaws(root: Path, records: list[Record]) -> list[tuple]:
    """Rows about the number of trials of each task; the first supertrial is tested where no fold is named."""
    counts, rows = Counter(record.group for record in records), []
    for task, known in jigsaws.TASKS.items():
        state = "ok" if counts[task] == known else "warning"
        remedy = "" if counts[task] == known else "results are not comparable with published ones"
        rows.append((f"trials of {task} with kinematics", state, str(counts[task]), str(known), remedy))
    return rows


def _pose_tracks(root: Path, records: list[Record]) -> list[tuple]:
    """Rows about FineDiving's pose tracks: which dives have none, and frames without a person; none without tracks."""
    found, absent = pose_records(root, records)
    if not found:
        return []
    faults, empty, dropped = [], 0, {}
    for record in found:
        try:
            track = read_pose_track(root / record.path)
        except AnnotationError as error:
            faults.append(str(error))
            continue
        empty += track.empty > 0
        if gone := track.dropped + max(record.frames - len(track.joints) - track.dropped, 0):
            dropped[record.key] = gone
    missing = f"they are left out: {listed(sorted(absent))}" if absent else ""
    lost = "; ".join(f"{key} lacks {count}" for key, count in list(dropped.items())[:NAMED])
    lost += " ..." * (len(dropped) > NAMED)
    named = "; ".join(faults[:NAMED]) + " ..." * (len(faults) > NAMED)
    count = f"{len(found)} of {len(records)}"
    return [
        ("dives with a pose track", "warning" if absent else "ok", count, str(len(records)), missing),
        ("pose tracks read", "differs" if faults else "ok", f"{len(found) - len(faults)}", f"{len(found)}", named),
        ("pose tracks that lack frames of the dive", "warning" if dropped else "ok", str(len(dropped)), "0", lost),
        (
            "pose tracks with frames without a person",
            "ok",
            str(empty),
            "",
            "such frames are interpolated" * bool(empty),
        ),
    ]


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
    rows += _left_out(records)
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


def _left_out(records: list[Record]) -> list[tuple]:
    """Rows about people who are learned from and tested, and about the spread of raters; none without such columns."""
    rows = []
    parts: dict[str, set[str]] = {}
    for record in records:
        parts.setdefault(subject_of(record), set()).add(fold_of(record) or record.split)
    if people := sorted(set(parts) - {""}):
        both = [person for person in people if len(parts[person]) > 1]
        named = f"results say nothing about new people: keep each in one: {', '.join(both[:NAMED])}" if both else ""
        found = f"{len(both)} of {len(people)}"
        rows.append(("people in several folds or parts", "warning" if both else "ok", found, "", named))
    several, spread = rater_spread(records)
    if several:
        found = f"{several} records with several raters, who differ by {spread:.3g} points (standard deviation)"
        rows.append(("raters", "ok", found, "", ""))
    return rows


def _repeated(item: str, pairs: list[Pair], remedy: str) -> tuple:
    def row(record: Record) -> str:
        score = "no score" if record.score != record.score else f"{record.score:g}"
        return f"{record.key} ({record.split}, {score}, {record.path} [{record.start}, {record.end}))"

    named = "; ".join(f"{row(a)} and {row(b)}" for a, b in pairs[:NAMED]) + " ..." * (len(pairs) > NAMED)
    return item, "warning" if pairs else "ok", f"{len(pairs)}", "", f"{remedy}: {named}" if pairs else ""
