"""Pose tracks of FineDiving's dives: the joints of the diver in every frame, from a public repository.

github.com/JonaZzz0815/Skeleton-Based-Action-Quality-Assessment holds `FineDiving_Skeleton/<event>/<dive>.txt` for
nearly every dive, named by the keys of the official annotations. It states no license: nothing of it is shipped here,
and what may be done with it is for the reader to find out. Put the folder into `FineDiving/skeletons`.

A file begins with its number of frames. Then comes one frame after the other: a line with the number of persons, 0 or
1; and for a person a line with the number of joints, 33, a line of ten numbers that are not used, and 33 lines, each
with x, y, visibility and nine numbers that are not used. The joints have the order of MediaPipe Pose; x and y are
fractions of the width and the height of the picture, and may leave [0, 1]. A file may end early: it lacks frames.
"""

import math
import re
from collections.abc import Iterator, Sequence
from dataclasses import fields
from pathlib import Path
from typing import NamedTuple

import numpy as np

from sapnet_core.datasets import finediving
from sapnet_core.datasets.annotation_pickles import AnnotationError
from sapnet_core.datasets.gaps import filled
from sapnet_core.datasets.records import Record
from sapnet_core.datasets.sequence_record import SequenceRecord

__all__ = ["FOLDERS", "JOINTS", "PoseTrack", "SOURCE", "pose_records", "pose_views", "read_pose_track"]

SOURCE = "github.com/JonaZzz0815/Skeleton-Based-Action-Quality-Assessment, folder FineDiving_Skeleton"
FOLDERS = ("skeletons", "skeletons/FineDiving_Skeleton", "FineDiving_Skeleton")  # in the dataset's folder
JOINTS = 33
SHOULDERS, HIPS = (11, 12), (23, 24)  # left and right, in MediaPipe's order
LARGEST = 64 * 2**20  # maximum bytes of a file; the published ones have about 150 kB
FRAMES = 100_000  # maximum number of frames that a file may claim
NUMBER = re.compile(r"-?\d+(\.\d+)?([eE][+-]?\d+)?", re.ASCII)
REMEDY = f"download it again from {SOURCE}"


class PoseTrack(NamedTuple):
    """The joints of one dive.

    Attributes:
        joints: (T, 33, 3), x, y and visibility; NaN in a frame without a person. T is the number of frames of the file.
        claimed: the number of frames that the file says it has.
    """

    joints: np.ndarray
    claimed: int

    @property
    def empty(self) -> int:
        """Number of frames without a person."""
        return int(np.isnan(self.joints[:, 0, 0]).sum())

    @property
    def dropped(self) -> int:
        """Number of frames that the file says it has and does not have."""
        return max(self.claimed - len(self.joints), 0)


def read_pose_track(path: Path) -> PoseTrack:
    """The joints of a dive; the file may be untrusted.

    Raises:
        AnnotationError: the file is missing, too large or not text, a line has another form, or no frame has a person.
    """
    try:
        if path.stat().st_size > LARGEST:
            raise AnnotationError(
                f"{path}: has {path.stat().st_size >> 20} MiB, the limit is {LARGEST >> 20}: {REMEDY}"
            )
        text = path.read_bytes().decode("ascii")
    except OSError as error:
        raise AnnotationError(f"{path}: cannot be read ({error.strerror}): {REMEDY}") from None
    except UnicodeDecodeError as error:
        raise AnnotationError(f"{path}: byte {error.start} is no text: {REMEDY}") from None
    lines = [(number, line.split()) for number, line in enumerate(text.splitlines(), 1) if line.strip()]
    counted = _is_count(lines)
    claimed = _whole(path, *lines[0], most=FRAMES) if counted else 0
    joints = list(_frames(path, lines[counted:]))
    if not joints or np.isnan(joints).all():
        raise AnnotationError(f"{path}: no frame has a person: {REMEDY}, or leave the dive out")
    return PoseTrack(np.stack(joints), claimed if counted else len(joints))


def _is_count(lines: Sequence[tuple[int, list[str]]]) -> bool:
    """Whether the first line is the number of frames: it is not that of persons, which the number of joints follows."""
    return len(lines) > 1 and len(lines[0][1]) == 1 and lines[1][1] != [str(JOINTS)] and lines[0][1] != ["0"]


def _frames(path: Path, lines: Sequence[tuple[int, list[str]]]) -> Iterator[np.ndarray]:
    """Yield the joints (33, 3) of each frame; a last frame that is cut short is left out."""
    at = 0
    while at < len(lines):
        persons = _whole(path, *lines[at], most=1)
        at += 1
        if not persons:
            yield np.full((JOINTS, 3), math.nan)
            continue
        if len(lines) < at + 2 + JOINTS:
            return
        if _whole(path, *lines[at], most=10**6) != JOINTS:
            raise AnnotationError(f"{path}: line {lines[at][0]}: is not {JOINTS}, the number of joints: {REMEDY}")
        yield np.array([_joint(path, *line) for line in lines[at + 2 : at + 2 + JOINTS]])
        at += 2 + JOINTS


def _joint(path: Path, number: int, words: list[str]) -> tuple[float, float, float]:
    if len(words) < 3 or not all(map(NUMBER.fullmatch, words[:3])):
        raise AnnotationError(f"{path}: line {number}: is not x, y and visibility of a joint: {REMEDY}")
    x, y, seen = map(float, words[:3])
    if not (abs(x) < 100 and abs(y) < 100 and 0 <= seen <= 1.001):
        raise AnnotationError(f"{path}: line {number}: x, y or visibility is out of range: {REMEDY}")
    return x, y, seen


def _whole(path: Path, number: int, words: list[str], most: int) -> int:
    if len(words) != 1 or not re.fullmatch(r"\d{1,9}", words[0], re.ASCII) or int(words[0]) > most:
        raise AnnotationError(f"{path}: line {number}: is not one number up to {most}: {REMEDY}")
    return int(words[0])


def pose_views(track: PoseTrack) -> tuple[np.ndarray, np.ndarray]:
    """What student and teacher see of a dive, (T, 99) each: x, y and visibility of every joint.

    The student sees the picture's coordinates. The teacher sees those of the body, as a crop shows the diver: from the
    middle of the hips, in units of the median distance between the middles of hips and shoulders. Missing frames are
    interpolated over time (`gaps.filled`).
    """
    joints = filled(track.joints.reshape(len(track.joints), -1)).reshape(-1, JOINTS, 3)
    hips, shoulders = (joints[:, list(pair), :2].mean(1) for pair in (HIPS, SHOULDERS))  # (T, 2)
    torso = max(float(np.median(np.linalg.norm(shoulders - hips, axis=1))), 1e-3)
    body = np.concatenate([(joints[..., :2] - hips[:, None]) / torso, joints[..., 2:]], 2)
    return joints.reshape(len(joints), -1), body.reshape(len(body), -1)


def pose_records(root: Path, records: Sequence[Record]) -> tuple[list[SequenceRecord], dict[str, str]]:
    """Records of FineDiving whose pose tracks are there, with the path of the track, and why each other is left out.

    A track is not read, only looked for. The dive's span becomes the whole file; transitions are kept as fractions.

    Args:
        root: the folder that holds `FineDiving`.
        records: official records of FineDiving.
    """
    found, absent = [], {}
    above = [root / finediving.FOLDER / place for place in FOLDERS] + [root / place for place in FOLDERS]
    for record in records:
        event, number = Path(record.path).parts[-2:]
        if event == "..":
            absent[record.key] = f"event {event!r} leads out of the folder"
            continue
        place = next((f for folder in above if (f := folder / event / f"{number}.txt").is_file()), None)
        if place is None:
            absent[record.key] = f"no file {event}/{number}.txt in {above[0]}"
            continue
        own = {f.name: getattr(record, f.name) for f in fields(Record)}
        own |= {"path": place.relative_to(root).as_posix(), "start": 0, "end": record.frames}
        found.append(SequenceRecord(**own, fill=True))
    return found, absent
