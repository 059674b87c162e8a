"""FineDiving in its official files (Xu et al. 2022; corrected fine-grained edition of Xu et al. 2024).

`fine-grained_annotation_aqa.pkl` maps (event, id) to `[action_type, dive_score, difficulty, steps_transit_frames,
frames_labels]`. Two things in it are read with care:

- The subaction of every frame stands in `frames_labels`, and a transition is where that label changes. The published
  `steps_transit_frames` holds the frame *before* each change, and in ten dives it is damaged (-1, or out of order), so
  the labels decide.
- Judges and the span in the source video stand in `FineDiving_coarse_annotation.pkl` under the same keys; where that
  file is absent a record has no judges and starts at 0. Its `start_frame` and `end_frame` count from 1, both included;
  records count from 0 and exclude the end, as MTL-AQA counts the dives that stand in both sets.
"""

from functools import cache
from pathlib import Path

import numpy as np

from sapnet_core.data.records import Record, official_records
from sapnet_core.data.unpickle import read_pickle

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
        AnnotationError: a file is missing or unreadable, or a key or field is absent from it.
    """
    coarse = cache(lambda folder: read_pickle(folder / COARSE, SOURCE) if (folder / COARSE).is_file() else {})

    def build(folder: Path, key: tuple[str, int], entry: list, part: str) -> Record:
        return _record(key, entry, coarse(folder).get(key), part)

    return official_records(root, (FOLDER, f"{FOLDER}/Annotations"), ANNOTATIONS, SPLITS, SOURCE, build)


def _record(key: tuple[str, int], entry: list, coarse: dict | None, part: str) -> Record:
    event, number = key
    action, score, difficulty, _, labels = entry
    labels = np.asarray(labels, dtype=np.int64)
    transitions = np.flatnonzero(np.diff(labels)) + 1
    start = int(coarse["start_frame"]) - 1 if coarse else 0
    if coarse and (int(coarse["end_frame"]) - start != len(labels) or coarse["dive_score"] != score):
        raise ValueError(f"{COARSE} says another span or score")
    return Record(
        dataset="finediving",
        key=f"{event}-{number:03d}",
        event=event,
        path=f"FINADiving_MTL_256s/{event}/{number}",
        start=start,
        end=start + len(labels),
        score=float(score),
        difficulty=float(difficulty),
        action=str(action).upper(),
        judges=tuple(float(points) for points in coarse["judge_scores"]) if coarse else (),
        transitions=tuple(transitions.tolist()),
        subactions=tuple(labels[np.r_[0, transitions]].tolist()),
        split=part,
    )
