"""Reader of the official files of FineFS (Ji et al. 2023): 729 short programs (videos 0-728) and 438 free skating
programs (videos 729-1166).

`data/annotation/{id}.json` holds one routine: total = TES + PCS + deductions (which are negative), five program
components, and the executed elements with base value, grade of execution (GOE) and "time", such as "0-25,0-29": from
0 min 25 s to 0 min 29 s. Videos have 25 frames per second. The published files differ from their own description:

- They write `score_of_pannel`, and some leave out an element's class.
- Some panel scores of elements are not base value plus GOE; this reader uses base value and GOE.
- Times are whole seconds, so the end of a short element may not lie after its start; the element then gets one second.

The panel's marks of a jump (`linfo`, `minfo`, `rinfo`) are appended to its name, as in official score sheets.

The dataset publishes no split list, only the sizes of the parts (583 / 146 and 350 / 88). The user chooses the rule
that draws the split, one of `SPLIT_RULES`. The public code that trains on FineFS shuffles each program by NumPy with
seed 42 and trains on the first 80 %; this is the default, "random".
"""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from sapnet_core.datasets.annotation_pickles import AnnotationError
from sapnet_core.datasets.fields import Fault
from sapnet_core.datasets.records import Element, Record

if TYPE_CHECKING:
    from sapnet_core.datasets.finefs_schema import Annotation, ExecutedElement

__all__ = [
    "COMPONENTS",
    "FACTORS",
    "FOLDER",
    "PLACES",
    "PROGRAMS",
    "RATE",
    "SPLIT_RULES",
    "annotation_folder",
    "read_finefs",
    "split_of",
]

FOLDER = "FineFS"
PLACES = ("data/annotation", "annotation", "annotations", "data/annotations")  # below the dataset's folder
PROGRAMS = {"SP": (0, 729, 583), "FS": (729, 1167, 350)}  # first id, end of ids (exclusive), number of training videos
# program and factor of its program components -> discipline
FACTORS = {("SP", 1.0): "men", ("SP", 0.8): "women", ("FS", 2.0): "men", ("FS", 1.6): "women"}
COMPONENTS = ("skating_skills", "transitions", "performance", "composition", "interpretation")
KINDS = ("jump", "spin", "sequence")
MARKS = ("<<", "<", "q", "e", "!")  # of jumps: downgraded, under-rotated, on the quarter, wrong edge, unclear edge
RATE = 25.0  # frames per second
TAIL = 5  # seconds from the end of the last element to the end of the record
SEED = 42
LARGEST = 2**20  # maximum bytes of a JSON file or split list; the official JSON files have three thousand
SOURCE = "github.com/yanliji/FineFS-dataset"


def _ordered(first: int, end: int, train: int, seed: int) -> set[int]:
    return set(range(first + train, end))


def _interleaved(first: int, end: int, train: int, seed: int) -> set[int]:
    return set(range(first, end, 5))


def _random(first: int, end: int, train: int, seed: int) -> set[int]:
    order = np.arange(first, end)
    np.random.RandomState(seed).shuffle(order)  # NumPy's legacy generator, which the public code uses
    return set(order[train:].tolist())


# each rule gives the test ids of a program from its first id, end of ids, number of training videos, and a seed
SPLIT_RULES: dict[str, Callable[[int, int, int, int], set[int]] | None] = {
    "random": _random,  # ids are shuffled by NumPy; the first 80 % are for training
    "ordered": _ordered,  # the first 80 % are for training
    "interleaved": _interleaved,  # every fifth video is for test
    "files": None,  # train.txt and test.txt beside the annotations list the ids
}


def read_finefs(root: Path | str, split: str = "random", seed: int = SEED) -> list[Record]:
    """Records of all routines found. In an incomplete dataset, each video keeps its split of the complete one.

    `group` is "SP" or "FS", `action` is "men SP" and so on, `score` is the total segment score, and
    `sub_scores` has tes, pcs (factored), deductions (0 or negative), the five components, and the factor. A record ends
    five seconds after its last element, since annotations do not give the length of the video.

    Args:
        root: a folder that holds `FineFS/`, or the files themselves, in one of `PLACES`.
        split: one of `SPLIT_RULES`: "random", "ordered" (the first 80 % of each program are for training),
            "interleaved" (every fifth video is for test) or "files" (train.txt and test.txt list the ids, in the folder
            of the annotations or the one above).
        seed: seed of the rule "random".

    Raises:
        ValueError: the split rule is unknown.
        AnnotationError: there is no annotation; a file has an unknown name, is unreadable, lacks a key, or has a value
            of another kind; or a split list is missing or invalid.
    """
    folder = annotation_folder(root)
    files = {}
    for file in sorted(folder.glob("*.json")):
        number = int(file.stem) if file.stem.isascii() and file.stem.isdigit() and len(file.stem) < 5 else -1
        if not any(first <= number < end for first, end, _ in PROGRAMS.values()) or file.stem != str(number):
            raise AnnotationError(f"{file}: no video has this number: official files are named 0.json to 1166.json")
        files[number] = file
    if not files:
        raise AnnotationError(f"{folder}: holds no annotation ({{id}}.json): download them from {SOURCE}")
    parts = split_of(sorted(files), split, seed, folder)
    videos = "data/video" if folder.parent.name == "data" else "video"
    return [_record(files[number], number, parts[number], videos) for number in sorted(files)]


def annotation_folder(root: Path | str) -> Path:
    """The folder below `root` that holds the annotations; where there is none, the first place for it."""
    places = [Path(root) / above / place for above in (FOLDER, ".") for place in PLACES]
    return next((place for place in places if place.is_dir()), places[0])


def split_of(numbers: list[int], split: str, seed: int = SEED, folder: Path | None = None) -> dict[int, str]:
    """The split ("train" or "test") of each video number by one of `SPLIT_RULES`.

    Args:
        folder: folder of the annotations; only the rule "files" needs it.

    Raises:
        ValueError: the rule is unknown.
        AnnotationError: a split list is missing or contains something other than ids, or an id is in no list or twice
            in them.
    """
    if split not in SPLIT_RULES:
        raise ValueError(f"split {split!r} is unknown: choose one of {', '.join(SPLIT_RULES)}")
    if split != "files":
        rule = SPLIT_RULES[split]
        test = set().union(*(rule(*program, seed) for program in PROGRAMS.values()))
        return {number: "test" if number in test else "train" for number in numbers}
    parts: dict[int, str] = {}
    for part in ("train", "test"):
        file = next((f for f in (folder / f"{part}.txt", folder.parent / f"{part}.txt") if f.is_file()), None)
        if file is None:
            raise AnnotationError(f"{folder / part}.txt: no such file: list the {part} ids in it, or use another split")
        for number in _ids(file):
            if number in parts:
                raise AnnotationError(f"{file}: id {number} appears twice in the splits: leave one of them")
            parts[number] = part
    left = next((number for number in numbers if number not in parts), None)
    if left is not None:
        raise AnnotationError(f"{folder / f'{left}.json'}: id {left} is in no split list: add it, or remove the file")
    return parts


def _ids(file: Path) -> list[int]:
    """The ids in a split list, without the endings ".json" and ".mp4". Raises AnnotationError."""
    try:
        large = file.stat().st_size > LARGEST
        words = [] if large else file.read_text("utf-8-sig").split()
    except (UnicodeDecodeError, OSError) as error:
        raise AnnotationError(f"{file}: no readable text ({str(error)[:80]}): write one id a line") from None
    ids = [word.removesuffix(".json").removesuffix(".mp4") for word in words]
    wrong = next((i for i in ids if not (i.isascii() and i.isdigit() and len(i) < 5)), None)
    if large or wrong is not None:
        fault = f"has {file.stat().st_size} bytes" if large else ascii(wrong[:40])
        raise AnnotationError(f"{file}: holds something other than ids ({fault}): write one id a line")
    return [int(i) for i in ids]


def _record(file: Path, number: int, part: str, videos: str) -> Record:
    from sapnet_core.datasets.finefs_schema import parse_annotation  # here, since other datasets need no Pydantic

    try:
        return _build(parse_annotation(_load(file)), number, part, videos)
    except Fault as error:
        raise AnnotationError(f"{file}: {error}: download the file again from {SOURCE}") from None


def _load(file: Path) -> object:
    """The content of a JSON file. Raises Fault."""
    if not file.is_file():
        raise Fault("is not a file")
    if file.stat().st_size > LARGEST:
        raise Fault(f"has {file.stat().st_size / 2**20:.1f} MiB, too many for the annotation of one video")
    try:
        return json.loads(file.read_text(encoding="utf-8-sig"), object_pairs_hook=_object)
    except OSError as error:
        raise Fault(f"cannot be opened ({error.strerror})") from None
    except RecursionError:
        raise Fault("nests lists or objects too deep") from None
    except Fault:
        raise
    except ValueError as error:
        raise Fault(f"no readable JSON ({str(error).splitlines()[0][:80]})") from None


def _object(pairs: list[tuple[str, object]]) -> dict:
    """A JSON object as a dict. Raises Fault where a key occurs several times with different values."""
    entry = dict(pairs)
    if len(entry) < len(pairs):
        twice = next((key for key, value in pairs if entry[key] != value), None)
        if twice is not None:
            raise Fault(f"key {ascii(twice[:40])} appears twice")
    return entry


def _build(entry: Annotation, number: int, part: str, videos: str) -> Record:
    program = next(name for name, (first, end, _) in PROGRAMS.items() if first <= number < end)
    factor = entry.factor
    sex = next((sex for (name, f), sex in FACTORS.items() if name == program and abs(f - factor) < 1e-3), None)
    if sex is None:
        known = " or ".join(f"{f:g}" for name, f in FACTORS if name == program)
        raise Fault(f"key 'factor' is {factor:g}, in {program} it is {known}")
    elements = tuple(_element(element) for element in entry.executed_element.values())
    return Record(
        dataset="finefs",
        key=f"{number:04d}",
        event=_event(entry.competition),
        path=f"{videos}/{number}.mp4",
        start=0,
        end=max(element.end for element in elements) + round(TAIL * RATE),
        score=entry.total_segment_score,
        difficulty=1.0,
        action=f"{sex} {program}",
        judges=(),
        transitions=(),
        subactions=(),
        split=part,
        group=program,
        sub_scores=(
            ("tes", entry.total_element_score),
            ("pcs", entry.total_program_component_score),
            ("factor", factor),
            ("deductions", 0.0 - abs(entry.deductions)),
            *((name, getattr(entry.program_component, name).score_of_panel) for name in COMPONENTS),
        ),
        elements=tuple(sorted(elements, key=lambda element: element.start)),
        rate=RATE,
    )


def _event(value: object) -> str:
    """The name of the competition, for information only; "" where the value is no printable text."""
    return value[:200] if isinstance(value, str) and value.isprintable() else ""


def _element(entry: ExecutedElement) -> Element:
    start, end = entry.time
    kind = entry.coarse_class
    return Element(
        name=_marked(entry),
        kind=kind if isinstance(kind, str) and kind in KINDS else _kind(entry.element),
        start=round(start * RATE),
        end=round(max(end, start + 1) * RATE),
        base=entry.bv,
        goe=entry.goe,
    )


def _marked(entry: ExecutedElement) -> str:
    """The element's name with the panel's marks after each jump: "3F+3T" with linfo ["e"] becomes "3Fe+3T"."""
    title = entry.element
    jumps = title[:80].split("+")
    if any(mark in title for mark in MARKS):
        return title[:80]
    infos = (entry.linfo, entry.rinfo) if len(jumps) == 2 else (entry.linfo, entry.minfo, entry.rinfo)
    for i, given in enumerate(infos[: len(jumps)]):
        given = given if isinstance(given, list) else [given]
        jumps[i] += "".join(mark for mark in MARKS if mark in given)
    return "+".join(jumps)


def _kind(title: str) -> str:
    """The coarse class according to an element's name, for files that leave it out."""
    return "sequence" if "Sq" in title else "spin" if "Sp" in title else "jump"
