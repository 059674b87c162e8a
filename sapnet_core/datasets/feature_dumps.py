"""Features in place of videos: the folder of a dataset's published features, in whatever layout, joined to records.

DIR/MTL-AQA/features/ (and the same of FineDiving, RG and FineFS, whose own data/video_features/ is read too) holds
what a public repository offers for download, as it is:

- one file a video, Ball_001.npy, 01_01.pt, <event>/<dive>.npy or <event>_<dive>.npy, in folders or not;
- one file with the arrays of all videos by name: a .npz, a .safetensors, or a pickled dict;
- one array over all videos (N, T, C) and the names of its rows: features and keys in one file, or train_feat and
  train_video_name in two. Names may also be a text file with one name a line, such as keys.txt.

A name is that of a record if it has the record's words and numbers: "01_01", "1/1", (1, 1) and "01-001" are all the
clip 1 of video 1 of MTL-AQA. Words at its end that say how the features were made are ignored; arrays of other
modalities (optical flow, sound) are not used.

What lies in a folder actor, or in a stack of that name, are features of the teacher's view, crops of the actor; all
others are of whole frames, the student's view.
"""

import os
import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple

import numpy as np

from sapnet_core.datasets.annotation_pickles import AnnotationError
from sapnet_core.datasets.disk_layout import FOLDERS
from sapnet_core.datasets.feature_files import FORMATS, Name, named_arrays
from sapnet_core.datasets.names import nfc
from sapnet_core.datasets.records import Record
from sapnet_core.runtime.file_kinds import listed
from sapnet_core.runtime.fingerprint import cached_file_digest, fingerprint

__all__ = ["Dump", "Found", "dump_digest", "dump_folder", "missing_text", "read_dump", "steps_of"]

VIEWS = {"frame": "frame", "student": "frame", "actor": "actor", "teacher": "actor"}  # name of a folder -> view
PLACES = ("features", "data/features", "data/video_features", "video_features")  # below the dataset's folder
LISTS = (".txt", ".csv")  # endings of lists of names
STACKS = ("feature", "features", "feat", "feats", *VIEWS)  # names of an array over all videos
INDEXES = ("key", "keys", "name", "names", "id", "ids", "videoname", "videonames", "videoid", "videoids")
PARTS = ("train", "test")
# words at the end of a name that say how the features were made, and words of other modalities
MADE = {"mp4", "avi", "mov", "video", "rgb", "feat", "feats", "feature", "features", "i3d", "vst", "swin", "swintx"}
OTHER = {"flow", "optical", "audio", "vggish", "ast", "sound"}
CROPS = 16  # largest k of an array (T, k, C), over which the mean is taken
LIST = 4 * 2**20  # maximum bytes of a list of names
FILES = 200_000  # maximum number of files in a folder of features
EXTRACT = "extract or save it again"


class Found(NamedTuple):
    """The features of one record in one view: what `keep` made of the array (T, C), its shape, and where it is."""

    kept: np.ndarray
    shape: tuple[int, int]
    place: str


@dataclass
class Dump:
    """The features of a dataset.

    Attributes:
        folder: the folder that holds them.
        views: maps "frame" and "actor" to key -> `Found`; a view is absent where there is nothing of it.
        files: number of files that were read.
        unused: names of arrays that belong to no record.
        others: number of arrays of other modalities.
    """

    folder: Path
    views: dict[str, dict[str, Found]] = field(default_factory=dict)
    files: int = 0
    unused: list[str] = field(default_factory=list)
    others: int = 0


def dump_folder(dataset: str, root: Path) -> Path | None:
    """The folder of a dataset's features, None where no folder has a file of features.

    Args:
        dataset: name of the dataset.
        root: the folder that holds the dataset's folder, or the dataset's files themselves.
    """
    if dataset not in FOLDERS:
        return None
    home = root / FOLDERS[dataset]
    folders = [(home if home.is_dir() else root) / place for place in PLACES]
    return next((folder for folder in folders if next(_files(folder, FORMATS), None)), None)


def dump_digest(dataset: str, root: Path) -> str:
    """Hash of names and contents of all files of a dataset's features, the same on every machine; "" without any."""
    folder = dump_folder(dataset, root)
    if folder is None:
        return ""
    files = _files(folder, (*FORMATS, *LISTS))
    return fingerprint({file.relative_to(folder).as_posix(): cached_file_digest(file) for file in files})


def _files(folder: Path, endings: tuple[str, ...]) -> Iterator[Path]:
    """Yield the files below a folder with one of these endings, sorted, without hidden ones."""
    for place, folders, names in os.walk(folder):
        folders[:] = sorted(name for name in folders if not name.startswith("."))
        for name in sorted(names):
            if name.lower().endswith(endings) and not name.startswith("."):
                yield Path(place) / name


def normal(name: Name) -> tuple[str, ...]:
    """The words and numbers of a name, in lower case and without leading zeros; what stands between is left out."""
    text = " ".join(map(str, name)) if isinstance(name, tuple) else str(name)
    words = re.findall(r"[^\W_]+", nfc(text).casefold())
    return tuple(word.lstrip("0") or "0" if word.isdecimal() else word for word in words)


def read_dump(
    dataset: str, root: Path, records: Sequence[Record], keep: Callable[[np.ndarray], np.ndarray] = lambda x: x
) -> Dump:
    """The features of a dataset's records. Every file in the folder is opened, one after the other.

    Arrays have steps and channels (T, C). Axes of one entry are left out, and (T, k, C) with a small k is averaged over
    k, which are crops or halves of a clip, as public loaders do.

    Args:
        dataset: name of the dataset.
        root: as for `dump_folder`.
        records: all records of the dataset.
        keep: maps each array (T, C) to what is kept of it in memory.

    Raises:
        AnnotationError: there are no features; a file cannot be read, or is a link that leads out of the dataset; an
            array has another shape or values that are not finite; two arrays belong to one record; lists of names
            disagree; or the arrays of a view have different numbers of channels.
    """
    folder = dump_folder(dataset, root)
    if folder is None:
        raise AnnotationError(f"{root / FOLDERS.get(dataset, '') / PLACES[0]}: holds no file of features")
    reader = _Reader(folder, records, keep)
    home = [Path(os.path.realpath(place)) for place in (root, root / FOLDERS[dataset])]
    for file in _files(folder, FORMATS):
        reader.dump.files += 1
        if reader.dump.files > FILES:
            raise AnnotationError(f"{folder}: holds more than {FILES} files: keep those of the records")
        if not any(Path(os.path.realpath(file)).is_relative_to(place) for place in home):
            raise AnnotationError(f"{file}: leads out of the data folder by a link: copy the file into it")
        for name, array in named_arrays(file):
            reader.take(file, name, array)
    reader.join()
    return reader.dump


class _Reader:
    """Collects the arrays of a folder and joins them to records."""

    def __init__(self, folder: Path, records: Sequence[Record], keep: Callable[[np.ndarray], np.ndarray]):
        self.dump, self.keep = Dump(folder), keep
        self.keys: dict[tuple[str, ...], str] = {}
        for record in records:
            first = self.keys.setdefault(normal(record.key), record.key)
            if first != record.key:
                raise AnnotationError(f"{folder}: records {first} and {record.key} have one name: rename one event")
        self.stacks: dict[tuple[str, str], tuple[np.ndarray, Path]] = {}  # part and view -> array and its file
        self.maybe: list[tuple[str, np.ndarray, Path]] = []  # view and array of files that may hold a stack
        self.indexes: dict[str, tuple[list[tuple[str, ...]], Path]] = {}  # part -> names and their file

    def take(self, file: Path, name: Name, array: np.ndarray) -> None:
        """Keep an array as a record's, as a stack over all videos, or as the names of a stack's rows; or not at all."""
        inside = file.relative_to(self.dump.folder)
        folders = [part for part in inside.parts[:-1] if part.casefold() not in VIEWS]
        view = next((VIEWS[part.casefold()] for part in inside.parts[:-1] if part.casefold() in VIEWS), "frame")
        alone, role = name == file.stem, _role(name)
        of_file = "" if alone else self._key(folders, file.stem)
        place = str(file) if alone else f"{file}: entry {ascii(name)[:60]}"
        if OTHER & {*normal(name), *normal(file.stem)}:
            self.dump.others += 1
        elif key := self._key(folders if alone else [], name):
            self._record(view, key, array, place)
        elif role == "index" or (alone and array.dtype.kind in "US"):
            self._index(_part(name), _names_of(array), file)
        elif of_file and role in STACKS:  # a file of one video, with its array under a name of this kind
            self._record(VIEWS.get(role, view), of_file, array, place)
        elif role in STACKS and array.ndim > 1:
            self._stack(_part(name), VIEWS.get(role, view), array, file)
        elif alone and array.ndim > 2 and not self.dump.views:
            self.maybe.append((view, array, file))
        else:
            self.dump.unused.append(str(inside) if alone else f"{inside}: {ascii(name)[:60]}")

    def _key(self, folders: Sequence[str], name: Name) -> str:
        """The key of the record of that name, with as many of the folders above it as the name needs; "" for none."""
        words = list(normal(name))
        while words and words[-1] in MADE:
            words.pop()
        for count in range(len(folders) + 1):
            above = [word for folder in folders[len(folders) - count :] for word in normal(folder)]
            if words and (key := self.keys.get((*above, *words))):
                return key
        return ""

    def _record(self, view: str, key: str, array: np.ndarray, place: str) -> None:
        known, x = self.dump.views.setdefault(view, {}), steps_of(array, place)
        if key in known:
            fault = f"is a second array of record {key}, beside {known[key].place}"
            raise AnnotationError(f"{place}: {fault}: keep the features of one network")
        if known and (first := next(iter(known.values()))).shape[1] != x.shape[1]:
            fault = f"has {x.shape[1]} channels, but {first.place} has {first.shape[1]}"
            raise AnnotationError(f"{place}: {fault}: keep the features of one network, each as (time, channels)")
        known[key] = Found(self.keep(x), x.shape, place)

    def _stack(self, part: str, view: str, array: np.ndarray, file: Path) -> None:
        if (part, view) in self.stacks:
            other = self.stacks[part, view][1]
            raise AnnotationError(f"{file}: holds a second array over all videos, beside {other}: keep one")
        self.stacks[part, view] = array, file

    def _index(self, part: str, names: list[tuple[str, ...]], file: Path) -> None:
        if part in self.indexes and self.indexes[part][0] != names:
            raise AnnotationError(f"{file}: names other videos than {self.indexes[part][1]}: keep one list")
        self.indexes[part] = names, file

    def join(self) -> None:
        """Join the rows of stacks to records by the lists of names."""
        if self.maybe and not self.stacks and not self.dump.views:
            for view, array, file in self.maybe:
                self._stack(_part(file.stem), view, array, file)
        else:
            self.dump.unused += [str(file.relative_to(self.dump.folder)) for _, _, file in self.maybe]
        stems = {file.stem for _, file in self.stacks.values()}
        for file in _files(self.dump.folder, LISTS) if self.stacks else ():
            if _role(file.stem) == "index" or file.stem in stems:
                self._index(_part(file.stem), self._listed(file), file)
        for (part, view), (array, file) in self.stacks.items():
            names, where = self.indexes.get(part) or self.indexes.get("") or (None, file)
            if names is None:
                remedy = "put their names beside it, one a row (keys.txt, or an array 'keys')"
                raise AnnotationError(f"{file}: is an array over {len(array)} videos without names: {remedy}")
            if len(names) != len(array):
                fault = f"{len(array)} rows, but {where} has {len(names)} names"
                raise AnnotationError(f"{file}: {fault}: both must be of the same videos")
            for row, words in enumerate(names):
                if key := self._key([], words):
                    self._record(view, key, array[row], f"{file}: row {row}")
                else:
                    self.dump.unused.append(" ".join(words)[:60])

    def _listed(self, file: Path) -> list[tuple[str, ...]]:
        """The names in a text file, one a line; a first line that is no record's name is taken for a title."""
        try:
            if file.stat().st_size > LIST:
                raise AnnotationError(f"{file}: has more than {LIST >> 20} MiB, too many for a list of names")
            lines = file.read_text(encoding="utf-8-sig").splitlines()
        except (OSError, UnicodeDecodeError) as error:
            told = type(error).__name__
            raise AnnotationError(f"{file}: is not a list of names in UTF-8 ({told}): write it again") from None
        names = [normal(line) for line in lines if line.strip()]
        titled = len(names) > 1 and names[0] not in self.keys and names[1] in self.keys
        return names[1:] if titled else names


def _part(name: Name) -> str:
    """The part of the dataset that a stack or its names are of: "train", "test", or "" for all."""
    return next((word for word in normal(name) if word in PARTS), "")


def _role(name: Name) -> str:
    """What an array's name says it is: "index", one of `STACKS`, or "" where it says neither."""
    rest = "".join(word for word in normal(name) if word not in PARTS)
    return "index" if rest in INDEXES else rest if rest in STACKS else ""


def _names_of(array: np.ndarray) -> list[tuple[str, ...]]:
    """The names in an array of text (N,), or of numbers (N,) or (N, k), such as video and clip."""
    rows = array.reshape(len(array), -1) if array.ndim and len(array) else array.reshape(-1, 1)
    if array.dtype.kind == "S":
        rows = np.char.decode(rows, "utf-8", "replace")
    if array.dtype.kind in "US":
        return [normal(" ".join(row)) for row in rows.tolist()]
    return [normal(tuple(f"{value:g}" for value in row[:4])) for row in rows.tolist()]


def steps_of(array: np.ndarray, place: str) -> np.ndarray:
    """An array as steps and channels (T, C) float32. Raises AnnotationError for another shape, or values that are not
    finite."""
    if array.dtype.kind not in "fiub":
        raise AnnotationError(f"{place}: holds text instead of numbers: save an array of floats")
    x = array.reshape([size for size in array.shape if size != 1]) if array.ndim > 2 else array
    x = x.reshape(1, -1) if x.ndim == 1 else x
    if x.ndim == 3 and x.shape[1] <= min(CROPS, x.shape[2]):
        x = x.mean(1, dtype=np.float64)
    if x.ndim != 2 or not all(x.shape):
        told = " x ".join(map(str, array.shape))[:80] or "a single number"
        remedy = "save (time, channels), feature maps averaged over space"
        raise AnnotationError(f"{place}: its shape is {told}: {remedy}")
    with np.errstate(over="ignore", invalid="ignore"):
        x = np.array(x, dtype=np.float32, order="C")
    if not np.isfinite(x).all():
        step = int(np.flatnonzero(~np.isfinite(x).all(1))[0])
        raise AnnotationError(f"{place}: step {step} has values that are not finite: {EXTRACT}")
    return x


def missing_text(dump: Dump, records: Sequence[Record], view: str = "frame") -> str:
    """One line about records that have no features in a view; "" where there are none."""
    absent = [record.key for record in records if record.key not in dump.views.get(view, {})]
    if not absent:
        return ""
    seen = {"frame": "features", "actor": "features of the actor"}[view]
    near = f"; names that belong to no record: {listed(dump.unused)}" if dump.unused else ""
    return f"{dump.folder}: {len(absent)} of {len(records)} records have no {seen} ({listed(absent)}){near}"
