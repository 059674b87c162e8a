"""Hostile files: pickles assembled instruction by instruction, and a separate process that reads them.

The process has a memory limit: a reader that follows a forged pointer, or allocates as much as a file claims to need,
crashes that process and not the tests.
"""

import importlib
import json
import resource
import struct
import subprocess
import sys
import time
from collections.abc import Iterable
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
MEMORY = 1024  # maximum growth of memory while a file is read, MiB
SECONDS = 20.0  # maximum processor time for a file; the slowest takes 3 s


# ---- pickle instructions


def text(value: str) -> bytes:
    """Instructions that push a string of up to 255 ASCII characters."""
    return b"\x8c" + bytes([len(value)]) + value.encode()


def raw(content: bytes) -> bytes:
    """Instructions that push a bytes object."""
    return b"B" + struct.pack("<I", len(content)) + content


def number(value: int) -> bytes:
    """Instructions that push an integer of 32 bits."""
    return b"J" + struct.pack("<i", value)


def named(module: str, name: str) -> bytes:
    """Instructions that push an object by its module and name."""
    return text(module) + text(name) + b"\x93"


def pile(*parts: bytes) -> bytes:
    """Instructions that push a tuple of the parts."""
    return b"(" + b"".join(parts) + b"t"


def called(function: bytes, *arguments: bytes) -> bytes:
    """Instructions that call a function and push its result."""
    return function + pile(*arguments) + b"R"


def shared(levels: int, close: bytes = b"t") -> bytes:
    """`levels` nested pairs, each of one object twice: a few bytes per level, but 2^levels leaves when expanded."""
    made = b"K\x01"
    for level in range(levels):
        made += b"q" + bytes([level]) + b"0" + b"(" + b"h" + bytes([level]) + b"h" + bytes([level]) + close
    return made


# ---- reading the files in a separate process


def outcomes(reader: str, files: Iterable[Path]) -> list[dict]:
    """Read files in a separate process with a reader of `READERS`; see `outcomes_of`."""
    return outcomes_of([(reader, file) for file in files])


def outcomes_of(asked: Iterable[tuple[str, Path]]) -> list[dict]:
    """Read files in a separate process, each with the reader of `READERS` that stands before it.

    Returns:
        A dict for each file: "kind" and "said" are the type and the message of the error, or "read" and the type of the
        result; "peak" is the peak growth of memory in MiB, "seconds" the processor time.
    """
    command = [sys.executable, __file__, *(f"{reader}={file}" for reader, file in asked)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False, timeout=600)
    what = f"{done.stdout[-500:]} {done.stderr[-500:]}"
    assert done.returncode == 0, f"the reader ended with {done.returncode} after {what}"
    return [json.loads(line) for line in done.stdout.splitlines()]


def is_refusal(found: dict, file: Path, kinds: tuple[str, ...] = ("AnnotationError", "ValueError")) -> None:
    """Assert that a file was refused in one line that starts with its path, within the limits of time and memory."""
    assert found["kind"] in kinds, found
    assert found["said"].startswith(f"{file}: ") and "\n" not in found["said"] and len(found["said"]) < 600, found
    is_bounded(found)


def is_bounded(found: dict) -> None:
    """Assert that a file was read or refused within the limits of time and memory."""
    assert found["peak"] < MEMORY and found["seconds"] < SECONDS, found


READERS = {
    "pickle": ("sapnet_core.datasets.annotation_pickles", "read_pickle"),
    "sequence": ("sapnet_core.datasets.sequence_files", "read_sequence"),
    "features": ("published", "all_arrays"),
    "weights": ("sapnet_core.runtime.files", "read_weights"),
    "c3d": ("sapnet_core.backbones.c3d", "load_c3d"),
    "i3d": ("sapnet_core.backbones.kinetics_weights", "load_kinetics"),
    "swin": ("sapnet_core.backbones.video_swin", "load_swin"),
}


class _Memory:
    """Peak growth of memory in MiB. Linux can reset the peak for each file; elsewhere it is the peak over all files."""

    def __init__(self):
        self.forgets = Path("/proc/self/clear_refs").exists()
        self.before = self._held("VmRSS") if self.forgets else self._most()
        if self.forgets:
            Path("/proc/self/clear_refs").write_text("5")

    def grown(self) -> float:
        return (self._held("VmHWM") if self.forgets else self._most()) - self.before

    @staticmethod
    def _held(what: str) -> float:
        lines = Path("/proc/self/status").read_text().splitlines()
        return int(next(line.split()[1] for line in lines if line.startswith(what))) / 2**10

    @staticmethod
    def _most() -> float:
        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / (2**20 if sys.platform == "darwin" else 2**10)


def _read_all(asked: list[tuple[str, str]]) -> None:
    read = {}
    for reader in dict(asked):  # all modules are loaded before memory is measured
        module, name = READERS[reader]
        read[reader] = getattr(importlib.import_module(module), name)
    if (sizes := Path("/proc/self/statm")).is_file():  # untouched memory is in no peak: limit the address space as well
        limit = int(sizes.read_text().split()[0]) * resource.getpagesize() + 2 * MEMORY * 2**20
        resource.setrlimit(resource.RLIMIT_AS, (limit, limit))
    for reader, file in asked:
        memory, began = _Memory(), time.process_time()
        try:
            found = {"kind": "read", "said": type(read[reader](file)).__name__}
        except BaseException as error:
            found = {"kind": type(error).__name__, "said": str(error)}
        found |= {"peak": memory.grown(), "seconds": time.process_time() - began}
        print(json.dumps(found), flush=True)


if __name__ == "__main__":
    sys.path.insert(0, str(ROOT))
    _read_all([tuple(word.split("=", 1)) for word in sys.argv[1:]])
