"""Features of a dataset that others extracted and published, in place of its videos.

No video, detector or backbone of this package is involved: what a published file holds of a video is what the methods
learn from. The student's view are features of whole frames, the teacher's those of actor crops; where there are none,
both branches see the same, and L_un cannot act.

A video has S steps. Where all arrays have one length of at most `MOST`, such as ten clips, S is that length and nothing
is changed. Otherwise each array of any length T is averaged within S windows of equal length (`STEPS`): every step of
it counts, and a shorter one repeats steps.
"""

from collections.abc import Sequence
from functools import lru_cache, partial
from pathlib import Path

import numpy as np
import torch
from torch import Tensor
from torch.nn.functional import pad

from sapnet_core.datasets import load_records
from sapnet_core.datasets.annotation_pickles import AnnotationError
from sapnet_core.datasets.clips import SEGMENTS
from sapnet_core.datasets.feature_dumps import Dump, dump_digest, missing_text, read_dump
from sapnet_core.datasets.records import Record
from sapnet_core.features.extraction import LABELS
from sapnet_core.features.store import Features
from sapnet_core.features.windows import window_statistics
from sapnet_core.runtime.environment import finefs_split
from sapnet_core.runtime.fingerprint import code_digest, fingerprint

__all__ = ["MOST", "STEPS", "dumped_digest", "dumped_features", "has_teacher_view"]

MOST = 32  # longest array that is taken as it is
STEPS = {"mtl-aqa": 18, "finediving": 18, **{name: count for name, (count, _) in SEGMENTS.items()}}  # S of others
CHANNELS = 8  # C is zero-padded to a multiple: SAP-Net's widths are multiples of 8
CODE = ("features.dumped", "features.windows", "datasets.feature_dumps", "datasets.feature_files")


def dumped_digest(dataset: str, root: Path) -> str:
    """Hash of the contents of all files of a dataset's features, and of the code that reads them."""
    return fingerprint(dump_digest(dataset, root), code_digest(*CODE))


def has_teacher_view(dataset: str, root: Path) -> bool:
    """Whether a dataset's features have a view of the teacher's own."""
    return "actor" in _whole(dataset, root).views


def dumped_features(dataset: str, root: Path, records: Sequence[Record], skip: bool = False) -> Features:
    """Features of records, read from the dataset's folder of features.

    Args:
        dataset: name of the dataset.
        root: the folder that holds the dataset's folder, or the dataset's files themselves.
        records: the records.
        skip: leave out records without features instead of raising.

    Returns:
        Views "frame" and "actor", (N, S, C), the second one equal to the first where there are no features of crops.

    Raises:
        AnnotationError: the features cannot be read (`feature_dumps.read_dump`); there are none of whole frames; the
            two views differ in length or channels; or a record has none, and `skip` is off.
    """
    dump = _whole(dataset, root)
    if "frame" not in dump.views:
        missing = missing_text(dump, records)
        raise AnnotationError(f"{missing}: name the arrays as the records, or leave the folder actor out")
    views = {name: dump.views[name] for name in ("frame", "actor") if name in dump.views}
    kept = [record for record in records if all(record.key in found for found in views.values())]
    for name in views:
        if (fault := missing_text(dump, records, name)) and not (skip and kept):
            raise AnnotationError(f"{fault}: add them, or leave these records out with --skip-bad")
    lengths = {found[record.key].shape[0] for found in views.values() for record in kept}
    channels = {name: next(iter(found.values())).shape[1] for name, found in views.items()}
    if len(set(channels.values())) > 1:
        has = f"{channels['frame']} channels of whole frames and {channels['actor']} of crops"
        raise AnnotationError(f"{dump.folder}: {has}: both views must come from one network")
    steps = lengths.pop() if len(lengths) == 1 and max(lengths) <= MOST else STEPS[dataset]
    stacked = {
        name: _padded(torch.stack([_resampled(torch.from_numpy(found[r.key].kept), steps) for r in kept]))
        for name, found in views.items()
    }
    stacked.setdefault("actor", stacked["frame"])
    reason = f"no features in {dump.folder}"
    chosen = {record.key for record in kept}
    return Features(
        tuple(record.key for record in kept),
        stacked,
        (torch.arange(steps) + 0.5) / steps,
        torch.stack([_subactions(record) for record in kept]).to(torch.int8),
        torch.empty(len(kept), 0),
        period=1,
        skipped={record.key: reason for record in records if record.key not in chosen},
    )


def _whole(dataset: str, root: Path) -> Dump:
    """The features of all records of a dataset, long ones averaged within windows as they are read."""
    return _read(dataset, root, dump_digest(dataset, root), finefs_split())


@lru_cache(maxsize=4)
def _read(dataset: str, root: Path, _digest: str, split: str) -> Dump:
    records = load_records(dataset, root, **({"split": split} if dataset == "finefs" else {}))
    return read_dump(dataset, root, records, partial(_kept, steps=STEPS[dataset]))


def _kept(x: np.ndarray, steps: int) -> np.ndarray:
    return x if len(x) <= MOST else _resampled(torch.from_numpy(x), steps).numpy()


def _resampled(x: Tensor, steps: int) -> Tensor:
    """(T, C) averaged within windows of equal length: (steps, C)."""
    return x if len(x) == steps else window_statistics(x, steps)[:, : x.shape[1]]


def _padded(x: Tensor) -> Tensor:
    return pad(x, (0, -x.shape[2] % CHANNELS))  # zero channels carry no information


def _subactions(record: Record) -> Tensor:
    """The annotated subaction at `LABELS` evenly spaced times of a record; all 0 where none are annotated."""
    at = torch.linspace(0, max(record.frames - 1, 0), LABELS)
    return torch.searchsorted(torch.tensor(record.transitions, dtype=torch.float32), at, right=True)
