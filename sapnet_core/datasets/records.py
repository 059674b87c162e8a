"""The record: one video of any dataset, with everything that its official annotation gives."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from sapnet_core.datasets.annotation_pickles import AnnotationError, read_pickle
from sapnet_core.datasets.fields import Fault, items, shown

__all__ = ["Element", "OFFICIAL_SIZES", "Record", "official_records"]

# number of training and of test videos in the published splits
OFFICIAL_SIZES = {"mtl-aqa": (1059, 353), "finediving": (2251, 749), "rg": (800, 200), "finefs": (933, 234)}
PERFECT = 30.0  # maximum execution score of a dive: ten points from each of three counting judges


@dataclass(frozen=True, slots=True)
class Element:
    """One executed element of a routine.

    Attributes:
        name: its name in official notation, such as "3Lz+3T" or "LSp4".
        kind: "jump", "spin", "sequence", or another coarse class of the dataset.
        start, end: frames counted from the record's start, `end` exclusive.
        base, goe: base value and grade of execution in points; their sum is the element's score.
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
        event: competition or source video; "" where it is unknown.
        path: location of its frames below the dataset's folder in the official layout.
        start, end: span in the source video, frames counted from 0, `end` exclusive.
        score: the final score; NaN where the video has none.
        difficulty: degree of difficulty, which multiplies the execution of a dive; 1 in datasets without such a factor.
        action: dive number in upper case, such as "5253B"; apparatus or program in other datasets.
        judges: the judges' scores, () where none are known.
        transitions: frames from `start` at which the second, third, ... subaction begins, () where not annotated.
        subactions: official subaction ids in order, one more than transitions, () where not annotated.
        split: "train" or "test".
        group: class that is trained and evaluated separately ("Ball", "SP", ...), "" where a dataset is a single class.
        sub_scores: by name, such as (("difficulty", 10.5), ("execution", 8.3)).
        elements: executed elements in order, () where none are annotated.
        rate: frame rate of the source video, in frames per second.
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
    sub_scores: tuple[tuple[str, float], ...] = ()
    elements: tuple[Element, ...] = ()
    rate: float = 25.0

    def sub_score(self, name: str) -> float:
        """The sub-score of that name, or `score` for "score". Raises ValueError, which lists the known names."""
        known = {"score": self.score, **dict(self.sub_scores)}
        if name not in known:
            raise ValueError(f"{self.dataset} record {self.key} has no sub-score {name!r}: it has {', '.join(known)}")
        return known[name]

    @property
    def frames(self) -> int:
        """Length of the clip in frames."""
        return self.end - self.start

    @property
    def execution(self) -> float:
        """Score divided by difficulty; 0 to 30 points for a dive."""
        return self.score / self.difficulty

    @property
    def quality(self) -> float:
        """A dive's execution divided by `PERFECT`, in [0, 1]."""
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
        root: folder that holds the files, directly or in one of `places`.
        places: subfolders of `root` that are searched for the files, in this order.
        annotations: name of the pickle with a dict from key to annotation.
        splits: maps each part ("train", "test") to the name of the file that lists its keys.
        source: where the user can download an intact copy of the files; error messages name it.
        checked: function that checks the two parts of a key in a split list and returns the key, or raises Fault.
        build: function that builds a record from (folder, key, annotation, part), or raises Fault.

    Raises:
        AnnotationError: a file is missing, unreadable or of another kind; a split list is empty; a key occurs twice or
            has no annotation; or `checked` or `build` raises Fault.
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
                fault = "appears twice in the splits" if key in records else "has no annotation"
                raise AnnotationError(f"{folder / name}: key {key} {fault}: download both files anew from {source}")
            try:
                records[key] = build(folder, key, known[key], part)
            except Fault as fault:
                text = f"key {key}: {fault}: use the file of {source}"
                raise AnnotationError(f"{folder / annotations}: {text}") from None
    return list(records.values())


def _listed(content: object, file: Path, source: str, checked: Callable[[tuple], tuple]) -> Iterator[tuple]:
    """The keys of a split list, checked by `checked`. Raises AnnotationError."""
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
