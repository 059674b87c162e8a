"""Files of tensors with a seal: a hash over name and content that detects truncated, edited or swapped files."""

import json
from collections.abc import Iterator
from pathlib import Path

import torch
from torch import Tensor

from sapnet_core.runtime.disk import one_line_faults
from sapnet_core.runtime.file_kinds import found_at
from sapnet_core.runtime.files import read_tensors, write_tensors
from sapnet_core.runtime.fingerprint import bytes_digest

__all__ = ["Damaged", "Unsealed", "read_sealed", "write_sealed"]

SEAL = "seal"
LONGEST = 100_000_000  # maximum bytes of a safetensors header


class Damaged(ValueError):
    """A file differs from what was written; one line names it and the fault."""


class Unsealed(Damaged):
    """A complete file without a seal, from an earlier version of this package."""


def write_sealed(path: Path | str, tensors: dict[str, Tensor], metadata: dict, name: str = "") -> Path:
    """Write named tensors and metadata, any JSON object, with a seal that `read_sealed` checks.

    The seal covers the file's name, so that one file cannot pass for another; `name` takes its place where the file may
    be renamed. Raises OSError.
    """
    tensors = {key: tensor.detach().cpu().contiguous() for key, tensor in tensors.items()}
    return write_tensors(path, tensors, {**metadata, SEAL: _seal(name or Path(path).name, tensors, metadata)})


def read_sealed(path: Path | str, name: str = "") -> tuple[dict[str, Tensor], dict]:
    """The tensors and the metadata of a file that `write_sealed` wrote under this name, or with this `name`.

    Raises:
        FileNotFoundError: no such file.
        Damaged: the file is not what was written under this name.
        OSError: the file cannot be read at the moment.
    """
    path = Path(path)
    with one_line_faults(path):
        if not path.is_file():
            if found := found_at(path):
                raise Damaged(f"{path}: is {found}")
            raise FileNotFoundError(f"{path}: no such file")
        try:
            if not _as_long_as_it_says(path):
                raise Damaged(f"{path}: was truncated or damaged")
            tensors, metadata = read_tensors(path)
            seal = metadata.pop(SEAL, None)
        except Damaged:
            raise
        except (ValueError, TypeError, AttributeError, KeyError, RecursionError):
            raise Damaged(f"{path}: was truncated or damaged") from None
    if seal is None:
        raise Unsealed(f"{path}: has no seal, like files of earlier versions")
    if seal != _seal(name or path.name, tensors, metadata):
        raise Damaged(f"{path}: was damaged, edited or renamed: its content does not match its seal")
    return tensors, metadata


def _as_long_as_it_says(path: Path) -> bool:
    """Whether the size of a file agrees with its header; checked before the tensors are read."""
    with open(path, "rb") as file:
        length = int.from_bytes(file.read(8), "little")
        header = json.loads(file.read(length)) if length <= LONGEST else {}
    ends = [entry["data_offsets"][1] for name, entry in header.items() if name != "__metadata__"]
    return path.stat().st_size == 8 + length + max(ends, default=0)


def _seal(name: str, tensors: dict[str, Tensor], metadata: dict) -> str:
    """Hash over the file's name, the metadata, and name, shape, type and bits of each tensor."""

    def parts() -> Iterator[bytes]:
        yield json.dumps([name, json.loads(json.dumps(metadata))], sort_keys=True).encode()
        for key in sorted(tensors):
            yield f"{key}{tuple(tensors[key].shape)}{tensors[key].dtype}".encode()
            yield tensors[key].contiguous().flatten().view(torch.uint8).numpy().tobytes()

    return bytes_digest(parts())
