"""Annotations of a dive beyond its score: judges, transitions and attributes, masked for unlabeled videos."""

from collections.abc import Sequence

import torch
from torch import Tensor

from sapnet_core.datasets.dive_numbers import Dive, parse_dive
from sapnet_core.datasets.records import Record

__all__ = ["ATTRIBUTES", "label_details"]

DIRECTIONS = ("forward", "back", "reverse", "inward")
# attribute of a dive number -> number of its values
ATTRIBUTES = {"position": 4, "armstand": 2, "direction": 4, "half_somersaults": 12, "half_twists": 10}


def label_details(records: Sequence[Record], labeled: Tensor) -> dict[str, Tensor | None]:
    """Annotations of the labeled records, masked for all others; None where no labeled record has the annotation.

    Args:
        records: N records of one dataset.
        labeled: (N,) bool.

    Returns:
        judges: (N, J) scores in points, padded with NaN for smaller panels; NaN where masked.
        transitions: (N, 2) begin of the second and of the last subaction as a fraction of the video; NaN where masked.
        attributes: (N, 5) int64, the parts of the dive number in the order of `ATTRIBUTES`; -1 where masked.
    """
    shown = [record if keep else None for record, keep in zip(records, labeled.tolist(), strict=True)]
    judges = [r.judges if r else () for r in shown]
    turns = [(r.transitions[0] / r.frames, r.transitions[-1] / r.frames) if r and r.transitions else () for r in shown]
    parts = [_attributes(r) if r else () for r in shown]
    return {"judges": _padded(judges), "transitions": _padded(turns), "attributes": _padded(parts, -1, torch.int64)}


def _attributes(record: Record) -> tuple[int, ...]:
    try:
        dive: Dive = parse_dive(record.action)
    except ValueError:  # the action is not a dive number
        return ()
    turns = (min(dive.half_somersaults, 11), min(dive.half_twists, 9))
    return ("ABCD".index(dive.position), int(dive.armstand), DIRECTIONS.index(dive.direction), *turns)


def _padded(rows: list[tuple], fill: float = torch.nan, dtype: torch.dtype = torch.float32) -> Tensor | None:
    width = max(map(len, rows), default=0)
    if not width:
        return None
    return torch.tensor([[*row, *[fill] * (width - len(row))] for row in rows], dtype=dtype)
