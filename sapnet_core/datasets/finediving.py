"""Reader of the official files of FineDiving (Xu et al. 2022; corrected fine-grained edition of Xu et al. 2024).

`fine-grained_annotation_aqa.pkl` maps (event, id) to `[action_type, dive_score, difficulty, steps_transit_frames,
frames_labels]`. Two of its properties need care:

- `frames_labels` gives the subaction of every frame, and a transition is a frame at which that label changes. The
  published `steps_transit_frames` holds the frame *before* each change, and in ten dives it is damaged (-1, or out of
  order); transitions are therefore computed from the labels.
- The judges' scores and the span in the source video are in `FineDiving_coarse_annotation.pkl` under the same keys;
  without that file, a record has no judges and starts at 0. `start_frame` and `end_frame` count from 1, and both are
  included; records count from 0 and exclude the end, as MTL-AQA does for the dives that are in both datasets.
"""

from dataclasses import replace
from functools import cache
from pathlib import Path

import numpy as np

from sapnet_core.datasets.annotation_pickles import AnnotationError, read_pickle
from sapnet_core.datasets.fields import FRAMES, Fault, field, items, name_of, number_of, shown, text_of, whole_of
from sapnet_core.datasets.records import Record, official_records

__all__ = ["ANNOTATIONS", "COARSE", "SPLITS", "FOLDER", "read_finediving"]

FOLDER = "FineDiving"
ANNOTATIONS = "fine-grained_annotation_aqa.pkl"
COARSE = "FineDiving_coarse_annotation.pkl"
SPLITS = {"train": "train_split.pkl", "test": "test_split.pkl"}
SOURCE = "github.com/XuHuangbiao/T2CR, folder Annotations, or the FineDiving authors"


def read_finediving(root: Path | str) -> list[Record]:
    """Records of all dives in the two split lists.

    Args:
        root: a folder that holds `FineDiving/`, `FineDiving/Annotations/`, or the files themselves.

    Raises:
        AnnotationError: a file is missing or unreadable, or a key or field is absent or has another kind than expected.
    """

    @cache
    def coarse(folder: Path) -> dict:
        file = folder / COARSE
        content = read_pickle(file, SOURCE) if file.is_file() else {}
        if not isinstance(content, dict):
            fault = f"holds {shown(content)}, not a dict from key to annotation"
            raise AnnotationError(f"{file}: {fault}: use the file of {SOURCE}")
        return content

    def build(folder: Path, key: tuple[str, int], entry: object, part: str) -> Record:
        record = _record(key, entry, part)
        if key not in coarse(folder):
            return record
        try:
            return _with_coarse(record, coarse(folder)[key])
        except Fault as fault:
            raise AnnotationError(f"{folder / COARSE}: key {key}: {fault}: use the file of {SOURCE}") from None

    return official_records(root, (FOLDER, f"{FOLDER}/Annotations"), ANNOTATIONS, SPLITS, SOURCE, _key, build)


def _key(key: tuple) -> tuple[str, int]:
    return name_of(key[0], "the event"), whole_of(key[1], "the dive")


def _record(key: tuple[str, int], entry: object, part: str) -> Record:
    event, number = key
    parts = items(entry, "it")
    if len(parts) != 5:
        raise Fault(f"it has {len(parts)} fields, not the five of action, score, difficulty, transitions and labels")
    action, score, difficulty, _, labels = parts
    labels = _labels(labels)
    transitions = (np.flatnonzero(labels[1:] != labels[:-1]) + 1).tolist()
    return Record(
        dataset="finediving",
        key=f"{event}-{number:03d}",
        event=event,
        path=f"FINADiving_MTL_256s/{event}/{number}",
        start=0,
        end=len(labels),
        score=number_of(score, "dive_score"),
        difficulty=number_of(difficulty, "difficulty", positive=True),
        action=text_of(action, "action_type", length=40).upper(),
        judges=(),
        transitions=tuple(transitions),
        subactions=tuple(labels[[0, *transitions]].tolist()),
        split=part,
    )


def _labels(value: object) -> np.ndarray:
    """The subaction number of every frame, (frames,) int64."""
    try:
        labels = np.asarray(value)
    except (ValueError, TypeError, RecursionError):  # lists of different lengths
        labels = np.empty(0)
    if labels.ndim != 1 or not labels.size or labels.dtype.kind not in "iuf":
        raise Fault(f"the frame labels are {shown(value)}, not a whole number for each frame")
    halves = labels.dtype.kind == "f" and (labels != np.trunc(labels)).any()
    if halves or not (labels.min() >= 0 and labels.max() <= FRAMES):
        raise Fault("the frame labels hold something else than whole numbers from 0 on")
    return labels.astype(np.int64)


def _with_coarse(record: Record, entry: object) -> Record:
    """The record with its span in the source video and its judges' scores, from the coarse annotation."""
    start = whole_of(field(entry, "start_frame"), "start_frame", least=1) - 1
    end = whole_of(field(entry, "end_frame"), "end_frame")
    if end - start != record.frames or number_of(field(entry, "dive_score"), "dive_score") != record.score:
        raise Fault(f"has another span or score than {ANNOTATIONS}")
    judges = tuple(number_of(v, "a judge's score") for v in items(field(entry, "judge_scores"), "judge_scores"))
    return replace(record, start=start, end=end, judges=judges)
