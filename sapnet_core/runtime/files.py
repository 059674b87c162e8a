"""Atomic writes: every write goes to a temporary file or folder beside the target, which then replaces it.

Readers see a complete file or folder, or none. Two processes may write the same one at once: each has its own temporary
name. Of a file the last one wins, of a folder the first.
"""

import json
import os
import shutil
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import safetensors.torch
import torch
from torch import Tensor, nn

from sapnet_core.runtime.disk import discard, one_line_faults
from sapnet_core.runtime.restricted_pickle import Refused
from sapnet_core.runtime.torch_files import read_torch_file

__all__ = [
    "added_files",
    "atomic_file",
    "atomic_folder",
    "write_bytes",
    "write_text",
    "write_json",
    "write_tensors",
    "read_json",
    "read_tensors",
    "read_weights",
    "check_weights",
    "fill_weights",
]

HEADER = 16 * 2**20  # maximum bytes of a safetensors header; an entry takes at least 60
SHOWN = 100  # characters of a name in a message: an untrusted file may give an entry any name
FLOAT32 = torch.finfo(torch.float32).max


def write_bytes(path: Path | str, content: bytes) -> Path:
    """Write `content` to `path` atomically, creating folders as needed. Returns the path.

    Raises:
        OSError: the file cannot be written; one line names file, fault and remedy. A previous file is kept.
    """
    with atomic_file(path) as beside:
        beside.write_bytes(content)
    return Path(path)


@contextmanager
def atomic_file(path: Path | str) -> Iterator[Path]:
    """Write a file atomically: yields a new name beside it, under which the block writes a file that takes its place
    when the block ends.

    Folders are created as needed. An error in the block, or Ctrl-C, leaves what stood there before.

    Raises:
        OSError: the file cannot be written; one line names file, fault and remedy. A previous file is kept.
    """
    path = Path(path)
    beside = _beside(path)
    with one_line_faults(path, instead_of=beside):
        path.parent.mkdir(parents=True, exist_ok=True)
        try:
            yield beside
            with open(beside, "rb") as file:
                os.fsync(file.fileno())  # without it, a crash may leave an empty file under the new name
            os.replace(beside, path)
        finally:
            beside.unlink(missing_ok=True)


@contextmanager
def added_files(folder: Path | str) -> Iterator[Path]:
    """Add files to a folder, each atomically: yields an empty temporary folder beside it, whose files move into
    `folder` when the block ends and replace those of the same name.

    Folders are created as needed. An error in the block, or Ctrl-C, leaves the folder as it is.

    Raises:
        OSError: a file cannot be written; one line names file, fault and remedy.
    """
    folder = Path(folder)
    beside = _beside(folder)
    with one_line_faults(folder, instead_of=beside):
        beside.mkdir(parents=True)
        try:
            yield beside
            folder.mkdir(exist_ok=True)
            for file in sorted(beside.iterdir()):
                os.replace(file, folder / file.name)
        finally:
            shutil.rmtree(beside, ignore_errors=True)


@contextmanager
def atomic_folder(folder: Path | str, intact: Callable[[], bool]) -> Iterator[Path]:
    """Write a folder atomically: yields an empty temporary one beside it, which takes its place when the block ends.

    An error in the block, or Ctrl-C, leaves what stood there before, and removes the temporary folder.

    Args:
        folder: the folder to write; its parents are created.
        intact: whether `folder` is complete as it stands. It is asked when the block ends: an intact folder, which
            another process has written in the meantime, is kept, and anything else there is discarded.

    Raises:
        OSError: the folder cannot be written, and is not intact.
    """
    folder = Path(folder)
    beside = _beside(folder)
    beside.mkdir(parents=True)
    try:
        yield beside
        if not intact():
            if os.path.lexists(folder):
                discard(folder)
            os.rename(beside, folder)
    except OSError:
        if not intact():
            raise
    finally:
        shutil.rmtree(beside, ignore_errors=True)


def _beside(path: Path) -> Path:
    """A new name for a temporary file or folder beside `path`; `disk.tidy` removes what a killed process has left."""
    return path.with_name(f".{path.name}.{os.getpid()}.{uuid.uuid4().hex[:8]}.tmp")


def write_text(path: Path | str, text: str) -> Path:
    """Write `text` as UTF-8, atomically."""
    return write_bytes(path, text.encode())


def write_json(path: Path | str, value) -> Path:
    """Write `value` as JSON with sorted keys, so that equal values give equal files."""
    return write_text(path, json.dumps(value, indent=1, sort_keys=True) + "\n")


def write_tensors(path: Path | str, tensors: dict[str, torch.Tensor], metadata: dict | None = None) -> Path:
    """Write named tensors as safetensors; `metadata` is any JSON value, which `read_tensors` returns."""
    plain = {name: tensor.detach().cpu().contiguous() for name, tensor in tensors.items()}
    return write_bytes(path, safetensors.torch.save(plain, {"json": json.dumps(metadata or {}, sort_keys=True)}))


def read_json(path: Path | str):
    """The value in a JSON file. Raises ValueError, which names the file, where it is no JSON."""
    try:
        return json.loads(Path(path).read_text(encoding="utf-8"))
    except (ValueError, RecursionError) as error:
        raise ValueError(f"{path}: not valid JSON ({error}): delete it, so that it is made again") from error


def read_tensors(path: Path | str) -> tuple[dict[str, torch.Tensor], dict]:
    """Tensors by name, on the CPU, and the metadata. Raises ValueError, which names the file, where it is damaged."""
    try:
        return _read_safetensors(Path(path))
    except ValueError as error:
        raise ValueError(
            f"{path}: incomplete or damaged safetensors file ({error}): delete it, so that it is made again"
        ) from error


def _read_safetensors(path: Path) -> tuple[dict[str, torch.Tensor], dict]:
    content = path.read_bytes()
    size = int.from_bytes(content[:8], "little")
    try:
        if HEADER < size < len(content):
            raise ValueError(f"its header has {size >> 20} MiB, the limit is {HEADER >> 20}")
        tensors = safetensors.torch.load(content)
        header = json.loads(content[8 : 8 + size]).get("__metadata__", {})
        return tensors, json.loads(header["json"]) if "json" in header else header
    except (safetensors.SafetensorError, RecursionError) as error:
        raise ValueError(str(error)) from error


def read_weights(path: Path | str) -> tuple[dict[str, Tensor], dict]:
    """Named tensors of a file of weights from any source, and its metadata (only safetensors files have any).

    A pickle is read without running code from it. A state dict inside "state_dict" or "model" is found, and a leading
    "module." of all names (DataParallel) is removed.

    Raises:
        ValueError: the file holds no named tensors or is damaged, or an entry has values that are not finite real
            numbers; the message names file and entry.
        FileNotFoundError: no such file.
    """
    path, metadata, remedy = Path(path), {}, "download it again, or save the model's state_dict()"
    if path.exists() and not path.is_file():
        raise ValueError(f"{path}: not a regular file: give a file of weights")
    try:
        if path.suffix == ".safetensors":
            state, metadata = _read_safetensors(path)
            metadata = metadata if isinstance(metadata, dict) else {}
        else:
            state = read_torch_file(path)
    except OSError:
        raise
    except Refused as error:
        raise ValueError(f"{path}: not a plain file of tensors, or damaged (it {error}): {remedy}") from None
    except Exception as error:  # a damaged file fails in many ways: struct.error, IndexError, AssertionError ...
        reason = f"{type(error).__name__}: {error}".splitlines()[0][:SHOWN]
        raise ValueError(f"{path}: not a plain file of tensors, or damaged ({reason}): {remedy}") from None
    for inner in ("state_dict", "model"):
        if isinstance(state, dict) and isinstance(state.get(inner), dict):
            state = state[inner]
    if not isinstance(state, dict) or not all(isinstance(t, Tensor) for t in state.values()):
        raise ValueError(f"{path}: holds a {type(state).__name__}, not named tensors: save the model's state_dict()")
    for name, tensor in state.items():
        if not isinstance(name, str) or not _finite(tensor):
            fault = f"entry {repr(name)[:SHOWN]} is not a named tensor of finite real numbers"
            raise ValueError(f"{path}: {fault}: download or save the file again")
    if state and all(name.startswith("module.") for name in state):
        state = {name.removeprefix("module."): tensor for name, tensor in state.items()}
    return dict(state), metadata


def _finite(tensor: Tensor) -> bool:
    """Whether a tensor is backed by as many elements as its shape has, all of them real numbers that fit float32."""
    if tensor.layout != torch.strided or tensor.is_meta or tensor.is_complex() or tensor.is_quantized:
        return False
    if tensor.untyped_storage().nbytes() < tensor.numel() * tensor.element_size():
        return False
    if not tensor.is_floating_point() or not tensor.numel():
        return True
    if tensor.element_size() == 1:  # 8-bit floats: PyTorch has no aminmax of them
        return False
    low, high = (float(end) for end in tensor.aminmax())  # needs no extra memory; NaN where any value is NaN
    return -FLOAT32 <= low <= high <= FLOAT32


def check_weights(
    own: dict[str, Tensor], state: dict[str, Tensor], path: Path | str, names: dict[str, str] | None = None
) -> None:
    """Check that a state dict fits a network entry by entry.

    Args:
        own: entries of the network, of which only shapes are used. Where the file determines the size of the network,
            pass those of one on the device "meta", which takes no memory.
        names: maps the network's name of an entry to the file's, where they differ.

    Raises:
        ValueError: an entry is missing, belongs to no layer, or has another shape; the message names the file, the
            first such entry, and their number.
    """
    names, wrong = names or {}, []
    for key in sorted(own.keys() | state.keys()):
        entry = f"entry {repr(names.get(key, key))[:SHOWN]}"
        if key not in state:
            wrong.append(f"{entry} is missing")
        elif key not in own:
            wrong.append(f"{entry} does not belong to any layer")
        elif own[key].shape != state[key].shape:
            wrong.append(f"{entry} is {tuple(state[key].shape)}, not {tuple(own[key].shape)}")
    if wrong:
        more = f" ({len(wrong) - 1} more do not fit)" * (len(wrong) > 1)
        raise ValueError(f"{path}: {wrong[0]}{more}: give a file with all weights of this network and no others")


def fill_weights(
    net: nn.Module, state: dict[str, Tensor], path: Path | str, names: dict[str, str] | None = None
) -> None:
    """Load a state dict after `check_weights`; values are converted to the dtype of the network."""
    check_weights(net.state_dict(), state, path, names)
    net.load_state_dict(state)
