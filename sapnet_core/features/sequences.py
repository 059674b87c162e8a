"""Features or joints of the user in place of videos: sequences (T, C) that skip detection and backbone."""

from collections.abc import Sequence
from pathlib import Path

import torch
from torch import Tensor

from sapnet_core.datasets.records import Record
from sapnet_core.datasets.sequence_files import SEQUENCES, read_sequence
from sapnet_core.features.extraction import LABELS
from sapnet_core.features.store import Features
from sapnet_core.runtime.fingerprint import file_digest, fingerprint
from sapnet_core.sapnet.parsing import interpolation_matrix

__all__ = ["STEPS", "is_sequence", "sequence_digest", "sequence_features"]

STEPS = 24  # number of steps to which sequences of any length are resampled
CHANNELS = 32  # C is zero-padded to a multiple: SAP-Net's widths are multiples of 8, and its decoder has C / 4 channels


def is_sequence(records: Sequence[Record]) -> bool:
    """Whether the records' files hold sequences. Raises ValueError where some do and others do not."""
    kinds = {record.path.lower().endswith(SEQUENCES) for record in records}
    if len(kinds) > 1:
        raise ValueError("records.csv: some paths are videos and others sequences: put them into two folders")
    return kinds == {True}


def sequence_digest(records: Sequence[Record], root: Path) -> str:
    """Hash of the contents of all files of the records."""
    return fingerprint([file_digest(root / record.path) for record in records])


def sequence_features(records: Sequence[Record], root: Path) -> Features:
    """Sequences (T, C) resampled linearly to `STEPS` steps, used as both views, since they have no crop. C is
    zero-padded to a multiple of `CHANNELS`.

    Raises:
        ValueError: a file cannot be read, or has another number of columns C than the first.
    """
    views, labels = [], []
    for record in records:
        x = read_sequence(root / record.path)[record.start : record.end]  # (T, C)
        if views and x.shape[1] != views[0].shape[1]:
            first = records[0].path
            raise ValueError(
                f"{record.path}: {x.shape[1]} columns, but {first} has {views[0].shape[1]}: give all the same columns"
            )
        views.append(_resampled(x, STEPS))
        at = torch.linspace(0, max(len(x) - 1, 0), LABELS)
        labels.append(torch.searchsorted(torch.tensor(record.transitions, dtype=torch.float32), at, right=True))
    x = torch.stack(views)
    x = torch.nn.functional.pad(x, (0, -x.shape[2] % CHANNELS))  # zero channels carry no information
    positions = (torch.arange(STEPS) + 0.5) / STEPS
    return Features(
        tuple(r.key for r in records),
        {"frame": x, "actor": x},
        positions,
        torch.stack(labels).to(torch.int8),
        torch.empty(len(records), 0),
        period=1,
    )


def _resampled(x: Tensor, steps: int) -> Tensor:
    """Resample (T, C) linearly to (steps, C), from the rows near each step, since a (steps, T) matrix may exceed x."""
    frames = len(x)
    if frames == 1:
        return x.expand(steps, -1).clone()
    center = (torch.arange(steps) + 0.5).double() * (frames / steps) - 0.5  # in frames
    near = (center.floor().long().unsqueeze(1) + torch.arange(-1, 3)).clamp(0, frames - 1).unique()
    return interpolation_matrix(torch.linspace(0, 1, frames)[near], steps, frames) @ x[near]
