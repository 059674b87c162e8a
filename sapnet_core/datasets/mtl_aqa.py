"""Reader of the official files of MTL-AQA (Parmar and Morris 2019; dive numbers and split as in Yu et al. 2021).

`final_annotations_dict_with_dive_number.pkl` maps (video, clip) to a dict; `train_split_0.pkl` and
`test_split_0.pkl` list 1059 and 353 of these keys. A dive spans the frames from `start_frame` to `end_frame` (which is
excluded) of a long video.
"""

from pathlib import Path

from sapnet_core.datasets.fields import Fault, field, items, number_of, text_of, whole_of
from sapnet_core.datasets.records import Record, official_records

__all__ = ["ANNOTATIONS", "SPLITS", "FOLDER", "read_mtl_aqa"]

FOLDER = "MTL-AQA"
ANNOTATIONS = "final_annotations_dict_with_dive_number.pkl"
SPLITS = {"train": "train_split_0.pkl", "test": "test_split_0.pkl"}
SOURCE = "github.com/yuxumin/CoRe, folder MTL-AQA/info"


def read_mtl_aqa(root: Path | str) -> list[Record]:
    """Records of all dives in the two split lists.

    Args:
        root: a folder that holds `MTL-AQA/`, `MTL-AQA/info/`, or the files themselves.

    Raises:
        AnnotationError: a file is missing or unreadable, or a key or field is absent or has another kind than expected.
    """
    return official_records(root, (FOLDER, f"{FOLDER}/info"), ANNOTATIONS, SPLITS, SOURCE, _key, _record)


def _key(key: tuple) -> tuple[int, int]:
    return whole_of(key[0], "the video"), whole_of(key[1], "the clip")


def _record(_: Path, key: tuple[int, int], entry: object, part: str) -> Record:
    video, clip = key
    start, end = (whole_of(field(entry, name), name) for name in ("start_frame", "end_frame"))
    if end <= start:
        raise Fault(f"end_frame {end} is not after start_frame {start}")
    return Record(
        dataset="mtl-aqa",
        key=f"{video:02d}-{clip:03d}",
        event=f"{video:02d}",
        path=f"new/new_total_frames_256s/{video:02d}",
        start=start,
        end=end,
        score=number_of(field(entry, "final_score"), "final_score"),
        difficulty=number_of(field(entry, "difficulty"), "difficulty", positive=True),
        action=text_of(field(entry, "dive_number"), "dive_number", length=40).upper(),
        judges=tuple(number_of(v, "a judge's score") for v in items(field(entry, "judge_scores"), "judge_scores")),
        transitions=(),
        subactions=(),
        split=part,
    )
