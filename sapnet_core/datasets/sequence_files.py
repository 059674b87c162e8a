"""Readers of sequences of features or joints over time, from untrusted `.npy`, `.npz`, `.csv` and `.txt` files."""

import math
from pathlib import Path
from typing import BinaryIO

import numpy as np
import torch
from torch import Tensor

from sapnet_core.datasets.annotation_pickles import AnnotationError
from sapnet_core.datasets.array_files import Header, array_content, array_header, check_file, opened_array
from sapnet_core.datasets.gaps import filled, first_gap
from sapnet_core.datasets.number_tables import read_numbers

__all__ = ["SEQUENCES", "TEXTS", "is_sequence_file", "read_sequence", "sequence_shape"]

SEQUENCES = (".npy", ".npz", ".csv", ".txt")
TEXTS = (".csv", ".txt")  # the sequence files that hold numbers as text
GAP_REMEDY = "fill in or remove such time steps before saving, or write fill in the column missing of records.csv"


def is_sequence_file(path: str) -> bool:
    """Whether a path has the extension of a sequence."""
    return path.lower().endswith(SEQUENCES)


def sequence_shape(path: Path | str, fill: bool = False) -> tuple[int, int]:
    """(T, C) of a sequence file; for arrays, only the header is read. Raises AnnotationError as `read_sequence`."""
    path = Path(path)
    if path.suffix.lower() in TEXTS:
        return tuple(read_sequence(path, fill).shape)
    with opened_array(path) as file:
        shape = _header(path, file).shape
    return shape[0], math.prod(shape[1:])


def read_sequence(path: Path | str, fill: bool = False) -> Tensor:
    """A sequence of features or joints over time, (T, C) float32.

    The file is a `.npy`, a `.npz` (with one array, or one named "features"), or text (`number_tables.read_numbers`).
    Joints (T, J, d) with d = 2 or 3 become (T, J * d). The size that a file claims is checked before it is unpacked.

    Args:
        path: the file.
        fill: interpolate missing values over time (`gaps.filled`) instead of refusing the file.

    Raises:
        AnnotationError: the file is missing, damaged or of another kind; holds objects or text; holds values that are
            not finite, and `fill` is off or a column has no other values; has another number of dimensions; is empty;
            needs more memory than `array_files.LIMIT`; or is compressed by more than the factor `array_files.RATIO`.
    """
    path = Path(path)
    if path.suffix.lower() in TEXTS:
        check_file(path)
        values = read_numbers(path, missing=fill)
    else:
        with opened_array(path) as file:
            header = _header(path, file)
            values = array_content(path, file, header).reshape(header.shape[0], -1)
    with np.errstate(over="ignore"):
        values = np.array(values, dtype=np.float32, order="C")
    if gap := first_gap(values):
        if not fill:
            raise AnnotationError(f"{path}: value {gap[1]} of step {gap[0]} is not finite: {GAP_REMEDY}")
        try:
            values = filled(values).astype(np.float32)
        except ValueError as error:
            raise AnnotationError(f"{path}: {error}: remove that column, or the row of this file") from None
    return torch.from_numpy(values)


def _header(path: Path, file: BinaryIO) -> Header:
    """The header of a sequence in an open stream. Raises AnnotationError as `array_header`, or for another shape."""
    header = array_header(path, file)
    shape = header.shape
    joints = len(shape) == 3 and shape[2] in (2, 3)
    if not (joints or len(shape) == 2) or not all(shape):
        remedy = "save an array (time, features) or (time, joints, 2 or 3)"
        raise AnnotationError(f"{path}: its shape is {header.text()}: {remedy}")
    return header
