"""The record: one video of any dataset with all that its official annotation says of it."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from sapnet_core.datasets.annotation_pickles import AnnotationError, read_pickle
from sapnet_core.datasets.fields import Fault, items, shown

__all__ = ["Element", "OFFICIAL_SIZES", "Record", "official_records"]

# videos of the published splits, training and test
OFFICIAL_SIZES = {"mtl-aqa": (1059, 353), "finediving": (2251, 749), "rg": (800, 200), "finefs": (933, 234)}
PERFECT = 30.0  # three counting judges at ten points each


@dataclass(frozen=True, slots=True)
class Element:
    """One executed element of a routine.

    Attributes:
        name: as the record writes it, such as "3Lz+3T" or "LSp4".
        kind: "jump", "spin", "sequence", or what else the dataset calls its coarse classes.
        start, end: frames from the record's start, `end` exclusive.
        base, goe: base value and grade of execution in points; their sum is what the element is worth.
    """

    name: str
    kind: str
    start: int
    end: int
    base: float
    goe: float


@dataclass(frozen=True, slots=True)
class Record:
    """One annotated video.

    Attributes:
        dataset: "mtl-aqa", "finediving", "rg", "finefs" or "folder".
        key: stable text id, unique in the dataset.
        event: competition or video it is taken from.
        path: where its frames lie below the dataset's folder in the official layout.
        start, end: span in the source video, frames counted from 0, `end` exclusive.
        score: the final score; NaN where the video has none.
        difficulty: the degree that multiplies the execution of a dive; 1 where a set has no such factor.
        action: dive number, upper case, as "5253B"; apparatus or program elsewhere.
        judges: the judges' scores, () where none are known.
        transitions: frames from `start` at which the second, third, ... subaction begins, () where not annotated.
        subactions: official subaction ids in order, one more than transitions, () where not annotated.
        split: "train" or "test".
        group: the class that is trained and correlated by itself ("Ball", "SP", ...), "" where a set is one class.
        marks: partial scores by name, as (("difficulty", 10.5), ("execution", 8.3)).
        elements: executed elements in order, () where none are annotated.
        rate: frames a second of the source video.
    """

    dataset: str
    key: str
    event: str
    path: str
    start: int
    end: int
    score: float
    difficulty: float
    action: str
    judges: tuple[float, ...]
    transitions: tuple[int, ...]
    subactions: tuple[int, ...]
    split: str
    group: str = ""
    marks: tuple[tuple[str, float], ...] = ()
    elements: tuple[Element, ...] = ()
    rate: float = 25.0

    def mark(self, name: str) -> float:
        """The partial score of that name, or `score` for "score". Raises ValueError naming those there are."""
        marks = {"score": self.score, **dict(self.marks)}
        if name not in marks:
            raise ValueError(f"{self.dataset} record {self.key} has no mark {name!r}: it has {', '.join(marks)}")
        return marks[name]

    @property
    def frames(self) -> int:
        """Length of the clip in frames."""
        return self.end - self.start

    @property
    def execution(self) -> float:
        """Score over difficulty: 0 to 30 points for a dive."""
        return self.score / self.difficulty

    @property
    def quality(self) -> float:
        """A dive's execution in [0, 1]; 1 is ten points of every counting judge."""
        return min(max(self.execution / PERFECT, 0.0), 1.0)


def official_records(
    root: Path | str,
    places: tuple[str, str],
    annotations: str,
    splits: dict[str, str],
    source: str,
    checked: Callable[[tuple], tuple],
    build: Callable[[Path, tuple, object, str], Record],
) -> list[Record]:
    """Records of every key in a dataset's official split lists.

    Args:
        root: holds the files in one of `places` below it, or directly.
        annotations: file of a dict from key to annotation.
        splits: part ("train", "test") to the file that lists its keys.
        source: where a good copy of the files is found; named in errors.
        checked: makes a plain key of what a split list holds in its place, or raises Fault.
        build: makes a record of (folder, key, annotation, part), or raises Fault.

    Raises:
        AnnotationError: a file is missing or unreadable or of another kind, a list is empty, a key has no annotation or
            stands in two parts, or `checked` or `build` do not find what they need.
    """
    folders = [Path(root) / place for place in (*places, ".")]
    folder = next((folder for folder in folders if (folder / annotations).is_file()), folders[0])
    known, records = read_pickle(folder / annotations, source), {}
    if not isinstance(known, dict):
        fault = f"holds {shown(known)}, not a dict from key to annotation"
        raise AnnotationError(f"{folder / annotations}: {fault}: use the file of {source}")
    for part, name in splits.items():
        for key in _listed(read_pickle(folder / name, source), folder / name, source, checked):
            if key not in known or key in records:
                fault = "stands twice in the splits" if key in records else "has no annotation"
                raise AnnotationError(f"{folder / name}: key {key} {fault}: download both files anew from {source}")
            try:
                records[key] = build(folder, key, known[key], part)
            except Fault as fault:
                text = f"key {key}: {fault}: use the file of {source}"
                raise AnnotationError(f"{folder / annotations}: {text}") from None
    return list(records.values())


def _listed(content: object, file: Path, source: str, checked: Callable[[tuple], tuple]) -> Iterator[tuple]:
    """The keys of a split list."""
    if isinstance(content, np.ndarray) and content.ndim:
        content = content.tolist()
    if not isinstance(content, list | tuple | set | frozenset):
        raise AnnotationError(f"{file}: holds {shown(content)}, not a list of keys: use the file of {source}")
    if not content:
        raise AnnotationError(f"{file}: lists no key: use the file of {source}")
    for place, key in enumerate(content):
        try:
            parts = items(key, "it")
            if len(parts) != 2:
                raise Fault(f"it has {len(parts)} parts, not two")
            yield checked(tuple(parts))
        except Fault as fault:
            raise AnnotationError(
                f"{file}: key {shown(key)}, number {place} of the list: {fault}: use the file of {source}"
            ) from None
