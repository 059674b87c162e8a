"""Files that are whole or absent: every write goes to a temporary file beside the target, which then replaces it.

Two processes may write the same file at once: each has its own temporary name, the last one stands, and both are whole.
"""

import json
import os
import uuid
from pathlib import Path

import safetensors.torch
import torch

__all__ = ["write_bytes", "write_text", "write_json", "write_tensors", "read_json", "read_tensors"]


def write_bytes(path: Path | str, content: bytes) -> Path:
    """Write `content` to `path` in one step, making folders as needed. Returns the path."""
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    beside = path.with_name(f".{path.name}.{os.getpid()}.{uuid.uuid4().hex[:8]}.tmp")
    try:
        with open(beside, "xb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())  # else a crash may leave the new name on an empty file
        os.replace(beside, path)
    finally:
        beside.unlink(missing_ok=True)
    return path


def write_text(path: Path | str, text: str) -> Path:
    """Write `text` as UTF-8, whole or not at all."""
    return write_bytes(path, text.encode())


def write_json(path: Path | str, value) -> Path:
    """Write `value` as JSON with sorted keys, so that equal values give equal files."""
    return write_text(path, json.dumps(value, indent=1, sort_keys=True) + "\n")


def write_tensors(path: Path | str, tensors: dict[str, torch.Tensor], metadata: dict | None = None) -> Path:
    """Write named tensors as safetensors; `metadata` is any JSON value and comes back from `read_tensors` equal."""
    plain = {name: tensor.detach().cpu().contiguous() for name, tensor in tensors.items()}
    return write_bytes(path, safetensors.torch.save(plain, {"json": json.dumps(metadata or {}, sort_keys=True)}))


def read_json(path: Path | str):
    """The value in a JSON file. Raises ValueError naming the file where it is no JSON."""
    try:
        return json.loads(Path(path).read_text(encoding="utf-8"))
    except ValueError as error:
        raise ValueError(f"{path}: no readable JSON ({error}): delete it, so that it is made again") from error


def read_tensors(path: Path | str) -> tuple[dict[str, torch.Tensor], dict]:
    """Tensors by name, on the CPU, and the metadata. Raises ValueError naming the file where it is torn or foreign."""
    content = Path(path).read_bytes()
    try:
        tensors = safetensors.torch.load(content)
        header = json.loads(content[8 : 8 + int.from_bytes(content[:8], "little")]).get("__metadata__", {})
    except (safetensors.SafetensorError, ValueError) as error:
        raise ValueError(f"{path}: no whole safetensors file ({error}): delete it, so that it is made again") from error
    return tensors, json.loads(header["json"]) if "json" in header else header
