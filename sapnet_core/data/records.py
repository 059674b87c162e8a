"""The record: one video of any dataset with all that its official annotation says of it."""

from dataclasses import dataclass
from pathlib import Path

from sapnet_core.data.unpickle import AnnotationError

__all__ = ["Record", "annotation_folder", "official_splits"]

PERFECT = 30.0  # three counting judges at ten points each


@dataclass(frozen=True, slots=True)
class Record:
    """One annotated dive.

    Attributes:
        dataset: "mtl-aqa" or "finediving".
        key: stable text id, unique in the dataset.
        event: competition or video the dive is taken from.
        path: where its frames lie below the dataset's root in the official layout.
        start, end: span in the source video, frames counted from 0, `end` exclusive.
        score: the final score, execution times difficulty.
        difficulty: the difficulty degree.
        action: dive number, upper case, as "5253B".
        judges: the judges' scores, () where none are known.
        transitions: frames from `start` at which the second, third, ... subaction begins, () where not annotated.
        subactions: official subaction ids in order, one more than transitions, () where not annotated.
        split: "train" or "test".
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

    @property
    def frames(self) -> int:
        """Length of the clip in frames."""
        return self.end - self.start

    @property
    def execution(self) -> float:
        """Score over difficulty: 0 to 30 points."""
        return self.score / self.difficulty

    @property
    def quality(self) -> float:
        """Execution in [0, 1]; 1 is ten points of every counting judge."""
        return min(max(self.execution / PERFECT, 0.0), 1.0)


def annotation_folder(root: Path | str, places: tuple[str, ...], file: str) -> Path:
    """The first of `root`, `root/places[0]`, ... that holds `file`; where none does, the one an error should name."""
    folders = [Path(root) / place for place in (*places, ".")]
    return next((folder for folder in folders if (folder / file).is_file()), folders[0])


def official_splits(lists: dict[str, tuple[Path, list]], known: dict, source: str) -> dict:
    """Which part each key belongs to.

    Args:
        lists: part name to (file, keys in it).
        known: the annotation that the keys must be in.
        source: where a good copy of the files is found; named in the error.

    Returns: key to part name, in the order of the lists.

    Raises:
        AnnotationError: a key has no annotation, or stands in two parts.
    """
    part_of = {}
    for part, (file, keys) in lists.items():
        for key in map(tuple, keys):
            if key not in known or key in part_of:
                fault = "stands twice in the splits" if key in part_of else "has no annotation"
                raise AnnotationError(f"{file}: key {key} {fault}: download both files anew from {source}")
            part_of[key] = part
    return part_of
