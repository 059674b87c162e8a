"""The record: one video of any dataset with all that its official annotation says of it."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from sapnet_core.data.unpickle import AnnotationError, read_pickle

__all__ = ["Record", "official_records"]

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


def official_records(
    root: Path | str,
    places: tuple[str, str],
    annotations: str,
    splits: dict[str, str],
    source: str,
    build: Callable[[Path, tuple, object, str], Record],
) -> list[Record]:
    """Records of every key in a dataset's official split lists.

    Args:
        root: holds the files in one of `places` below it, or directly.
        annotations: file of a dict from key to annotation.
        splits: part ("train", "test") to the file that lists its keys.
        source: where a good copy of the files is found; named in errors.
        build: makes a record of (folder, key, annotation, part).

    Raises:
        AnnotationError: a file is missing or unreadable, a key has no annotation or stands in two parts, or `build`
            does not find what it needs.
    """
    folders = [Path(root) / place for place in (*places, ".")]
    folder = next((folder for folder in folders if (folder / annotations).is_file()), folders[0])
    known, records = read_pickle(folder / annotations, source), {}
    for part, name in splits.items():
        for key in map(tuple, read_pickle(folder / name, source)):
            if key not in known or key in records:
                fault = "stands twice in the splits" if key in records else "has no annotation"
                raise AnnotationError(f"{folder / name}: key {key} {fault}: download both files anew from {source}")
            try:
                records[key] = build(folder, key, known[key], part)
            except AnnotationError:
                raise
            except (KeyError, IndexError, TypeError, ValueError) as error:
                fault = f"key {key}: " + (f"no field {error}" if isinstance(error, KeyError) else str(error))
                raise AnnotationError(f"{folder / annotations}: {fault}: use the file of {source}") from error
    return list(records.values())
