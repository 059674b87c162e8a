"""A small simulated folder of own videos, as a user would bring it, for the notebooks and tests that use such a folder.

It holds dives as MP4 files of 160 x 120 pixels, and a `records.csv` in which most training scores are empty: these are
the unlabeled videos.
"""

import csv
import io
import os
import tempfile
from collections.abc import Callable, Iterable
from pathlib import Path

import torch

from sapnet_core.datasets import Record, load_records
from sapnet_core.datasets.own_videos import BASIC, NAME
from sapnet_core.experiments.profiles import Profile
from sapnet_core.features.source import records_digest
from sapnet_core.features.video_source import simulator_digest
from sapnet_core.runtime import environment
from sapnet_core.runtime.devices import torch_threads
from sapnet_core.runtime.files import atomic_folder, read_json, write_json, write_text
from sapnet_core.runtime.fingerprint import fingerprint
from sapnet_core.simulator import simulate
from sapnet_core.simulator.draw_annotations import write_annotations
from sapnet_core.simulator.export import write_video
from sapnet_core.simulator.settings import settings_for

__all__ = ["own_folder", "write_example"]

WIDTH, HEIGHT = 160, 120  # frame size in pixels; the diver stays in the middle half of the width
SIGN = ".example.json"  # marker file of the folders that this module wrote
SCORED = 3  # every third training video keeps its score


def own_folder(size: Profile) -> tuple[Path, bool]:
    """The user's folder, or a simulated example, and whether it is the user's.

    The user's is the folder of `SAPNET_DATA` if it holds a `records.csv`. An example is written below the folder of
    runs, with as many videos as the profile says, and set as `SAPNET_DATA` of this process and of the workers that it
    starts.
    """
    folder = environment.data_root()
    if folder is not None and (folder / NAME).is_file():
        return folder, True
    folder = write_example(environment.runs() / "own-example", size.example)
    os.environ["SAPNET_DATA"] = str(folder)
    return folder, False


def write_example(
    root: Path | str,
    count: int = 72,
    seed: int = 83,
    width: int = WIDTH,
    progress: Callable[[int, int], None] | None = None,
) -> Path:
    """Write a folder of simulated dives as own videos, completely or not at all. Returns the folder.

    A third of the videos are test videos; of the others every third, in the order of their scores, keeps its score.
    Equal arguments give equal files (with one version of the encoder). An existing example made from the same arguments
    and simulator is kept; another example is replaced.

    Args:
        root: the folder to write.
        count: number of videos, at least 9.
        seed: seed of the dives, their scores and their videos. With the default, the training and test videos have the
            same mean score.
        width: frame width in pixels, a multiple of 8; the height is three quarters of it.
        progress: called with (videos done, videos in total).

    Raises:
        ValueError: too few videos, a width that 8 does not divide, or a folder that holds anything but an example.
        OSError: it cannot be written there: the disk is full or read-only, or a file is in the way.
        ImportError: PyAV is not installed.
    """
    if count < 9 or width % 8:
        raise ValueError(f"count={count}, width={width}: give at least 9 videos, and a width divisible by 8")
    root = Path(root).resolve()
    try:
        return _written(root, count, seed, width, progress)
    except OSError as error:
        fault = f"the example cannot be written to {root} ({error.strerror or type(error).__name__})"
        raise OSError(error.errno, f"{fault}: free space there, or set SAPNET_RUNS to another folder") from error


def _written(root: Path, count: int, seed: int, width: int, progress: Callable[[int, int], None] | None) -> Path:
    """`write_example` for arguments that are checked already."""
    if root.exists() and any(root.iterdir()) and not (root / SIGN).is_file():
        raise ValueError(f"{root}: holds something other than an example: choose another folder")
    dives = _dives(count, seed)
    source = [simulator_digest("finediving"), settings_for("finediving").digest()]
    made_of = {"digest": fingerprint(_table(dives), records_digest(list(dives.values())), width, source)}
    if _is_whole(root, made_of, dives):
        return root
    with atomic_folder(root, lambda: _is_whole(root, made_of, dives)) as beside:
        for done, (name, dive) in enumerate(dives.items(), 1):
            with torch_threads(1):  # as in the feature store: frames depend on the number of threads
                video = simulate(dive, seed=seed, size=width, offsets=torch.arange(dive.frames)).video
            edge = width // 8
            write_video(beside / _path(name), video[:, :, edge:-edge], dive.rate, threads=1)
            if progress:
                progress(done, count)
        write_text(beside / NAME, _table(dives))
        write_json(beside / SIGN, made_of)
    return root


def _is_whole(root: Path, made_of: dict[str, str], dives: Iterable[str]) -> bool:
    """Whether the folder holds an example made from the same inputs, and none of its files is missing."""
    files = [root / NAME, *(root / _path(name) for name in dives)]
    return (root / SIGN).is_file() and read_json(root / SIGN) == made_of and all(file.is_file() for file in files)


def _dives(count: int, seed: int) -> dict[str, Record]:
    """Draw a diving annotation set: name -> record; the names do not depend on split or score."""
    test = count // 3
    with tempfile.TemporaryDirectory() as folder:
        write_annotations("finediving", folder, count - test, test, seed)
        records = load_records("finediving", folder)
    return {f"dive_{number:03d}": record for number, record in enumerate(records, 1)}


def _path(name: str) -> str:
    return f"videos/{name}.mp4"


def _table(dives: dict[str, Record]) -> str:
    """The content of records.csv."""
    train = sorted((r.score, name) for name, r in dives.items() if r.split == "train")
    scored = {name for _, name in train[SCORED // 2 :: SCORED]}
    text = io.StringIO()
    table = csv.DictWriter(text, [column for column in BASIC if column != "note"], lineterminator="\n")
    table.writeheader()
    for name, dive in dives.items():
        known = dive.split == "test" or name in scored
        score = f"{dive.score:.2f}" if known else ""
        table.writerow(
            {
                "id": name,
                "path": _path(name),
                "score": score,
                "split": dive.split,
                "difficulty": f"{dive.difficulty:.1f}",
            }
        )
    return text.getvalue()
