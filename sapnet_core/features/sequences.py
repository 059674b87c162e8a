"""Features or joints of the user in place of videos: sequences (T, C) that skip detection and backbone."""

from collections.abc import Sequence
from pathlib import Path

import torch
from torch import Tensor

from sapnet_core.datasets.pose_tracks import pose_views, read_pose_track
from sapnet_core.datasets.records import Record
from sapnet_core.datasets.sequence_files import is_sequence_file, read_sequence
from sapnet_core.datasets.sequence_record import SequenceRecord
from sapnet_core.features.extraction import LABELS
from sapnet_core.features.store import Features
from sapnet_core.features.windows import STEPS, moments, window_statistics, with_length
from sapnet_core.runtime.fingerprint import cached_file_digest, code_digest, fingerprint

__all__ = [
    "SAMPLINGS",
    "STEPS",
    "is_sequence",
    "lengths",
    "sequence_code",
    "sequence_digest",
    "sequence_features",
    "sequence_views",
    "two_views",
]

# clip samplings of sequences -> the function that maps (T, C) to (STEPS, C')
SAMPLINGS = {"windows": window_statistics, "moments": moments}
CHANNELS = 32  # C is zero-padded to a multiple: SAP-Net's widths are multiples of 8, and its decoder has C / 4 channels


def is_sequence(records: Sequence[Record]) -> bool:
    """Whether the records' files hold sequences. Raises ValueError where some do and others do not."""
    kinds = {is_sequence_file(record.path) for record in records}
    if len(kinds) > 1:
        raise ValueError("records.csv: some paths are videos and others sequences: put them into two folders")
    return kinds == {True}


def two_views(records: Sequence[Record]) -> bool:
    """Whether the teacher has a view of its own: a file beside the record's, or some of its columns."""
    return any(_own_view(record) for record in records)


def _own_view(record: Record) -> bool:
    if record.dataset == "finediving":  # of a pose track
        return True
    return isinstance(record, SequenceRecord) and bool(record.path_teacher or record.channels_teacher)


def lengths(records: Sequence[Record]) -> Tensor:
    """Number of rows of each record's sequence, (N,) float32."""
    return torch.tensor([float(record.frames) for record in records])


def sequence_digest(records: Sequence[Record], root: Path) -> str:
    """Hash of the contents of all files of the records, and of the code that turns them into features."""
    paths = [path for r in records for path in (r.path, getattr(r, "path_teacher", "")) if path]
    return fingerprint([cached_file_digest(root / path) for path in paths], sequence_code())


def sequence_code() -> str:
    """Hash of the code that turns files of sequences into features."""
    return code_digest("features.sequences", "features.windows", "datasets.gaps", "datasets.pose_tracks")


def sequence_views(record: Record, root: Path) -> tuple[Tensor, Tensor]:
    """The rows that the student and the teacher see of a record, (T, C) and (T', C), float32.

    Without a view of its own the teacher sees the student's. With `channels_teacher` it sees the student's rows with
    all other columns 0, so that both views have the same columns. A teacher's file has as many columns as the
    student's, and its rows are those of the record's span if the record has one; else it may have another length. Of a
    pose track, the two see `pose_views`.

    Raises:
        ValueError: a file cannot be read, or a teacher's file has another number of columns, or of rows where the
            record has a span.
    """
    if record.dataset == "finediving":
        return tuple(torch.from_numpy(view).float() for view in pose_views(read_pose_track(root / record.path)))
    fill = getattr(record, "fill", False)
    whole = read_sequence(root / record.path, fill)
    x = whole[record.start : record.end]
    if not _own_view(record):
        return x, x
    if record.channels_teacher:
        shown = torch.zeros(x.shape[1])
        shown[list(record.channels_teacher)] = 1
        return x, x * shown
    other = read_sequence(root / record.path_teacher, fill)
    if other.shape[1] != x.shape[1]:
        has = f"{other.shape[1]} columns, but {record.path} has {x.shape[1]}"
        raise ValueError(f"{record.path_teacher}: {has}: give both views the same columns (0 where one has none)")
    if len(x) == len(whole):
        return x, other
    if len(other) != len(whole):
        has = f"{len(other)} rows, but {record.path}, of which a span is used, has {len(whole)}"
        raise ValueError(f"{record.path_teacher}: {has}: give both the same rows, or leave the span empty")
    return x, other[record.start : record.end]


def sequence_features(records: Sequence[Record], root: Path, sampling: str = "windows") -> Features:
    """Features of sequences (T, C): S = `STEPS` steps of their statistics and their length.

    Args:
        records: records whose files hold sequences.
        root: the folder to which their paths are relative.
        sampling: "windows", the mean and the standard deviation of each column within windows of equal length
            (`window_statistics`); or "moments", the values at moments in their middles.

    Returns:
        Views "frame" (the student's) and "actor" (the teacher's, see `sequence_views`), (N, S, C'). The channels are
        the statistics of each column, each divided by its deviation over all records, so that units do not matter; then
        the logarithm of the student's length; then zeros up to a multiple of `CHANNELS`.

    Raises:
        ValueError: a file cannot be read, or has another number of columns C than the first; or the sampling is one of
            videos.
    """
    if sampling not in SAMPLINGS:
        raise ValueError(f"clip sampling {sampling!r} is for videos: choose one of {', '.join(SAMPLINGS)} of sequences")
    views: dict[str, list[Tensor]] = {"frame": [], "actor": []}
    labels, columns = [], 0
    for record in records:
        both = sequence_views(record, root)
        x, columns = both[0], columns or both[0].shape[1]
        if x.shape[1] != columns:
            first = records[0].path
            raise ValueError(
                f"{record.path}: {x.shape[1]} columns, but {first} has {columns}: give all the same columns"
            )
        for name, rows in zip(views, both, strict=True):
            views[name].append(with_length(SAMPLINGS[sampling](rows), len(x)))
        at = torch.linspace(0, max(record.frames - 1, 0), LABELS)
        labels.append(torch.searchsorted(torch.tensor(record.transitions, dtype=torch.float32), at, right=True))
    stacked = {name: _padded(_unit(torch.stack(every))) for name, every in views.items()}
    if not two_views(records):
        stacked["actor"] = stacked["frame"]
    positions = (torch.arange(STEPS) + 0.5) / STEPS
    return Features(
        tuple(r.key for r in records),
        stacked,
        positions,
        torch.stack(labels).to(torch.int8),
        torch.empty(len(records), 0),
        period=1,
    )


def _unit(x: Tensor) -> Tensor:
    """(N, S, C) with each channel centered and divided by its deviation, over all records and steps; 0 where a channel
    is constant up to rounding.

    It only changes the unit of a channel: the training standardizes each channel by its training videos alone.
    """
    flat = x.double().flatten(0, 1)
    center, deviation = flat.mean(0), flat.std(0, correction=0)
    constant = deviation <= 1e-6 * flat.abs().amax(0)
    return torch.where(constant, 0.0, (x.double() - center) / torch.where(constant, 1.0, deviation)).float()


def _padded(x: Tensor) -> Tensor:
    return torch.nn.functional.pad(x, (0, -x.shape[2] % CHANNELS))  # zero channels carry no information
