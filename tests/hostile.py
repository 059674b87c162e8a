"""Files made to harm their reader: pickles put together instruction by instruction, and a process that reads them all.

No honest program writes them. They are read in one process of its own, whose memory is bounded: a reader that follows a
forged pointer, or takes what a file asks for, dies there and not in the tests.
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
MEMORY = 1024  # MiB that reading may take beside what the program itself has
SECONDS = 20.0  # of the processor; the slowest takes 3


# ---- instructions


def text(value: str) -> bytes:
    return b"\x8c" + bytes([len(value)]) + value.encode()


def raw(content: bytes) -> bytes:
    return b"B" + struct.pack("<I", len(content)) + content


def number(value: int) -> bytes:
    return b"J" + struct.pack("<i", value)


def named(module: str, name: str) -> bytes:
    return text(module) + text(name) + b"\x93"


def pile(*parts: bytes) -> bytes:
    return b"(" + b"".join(parts) + b"t"


def called(function: bytes, *arguments: bytes) -> bytes:
    return function + pile(*arguments) + b"R"


def shared(levels: int, close: bytes = b"t") -> bytes:
    """A pair of the pair of the pair of ...: small in memory, endless on paper."""
    made = b"K\x01"
    for level in range(levels):
        made += b"q" + bytes([level]) + b"0" + b"(" + b"h" + bytes([level]) + b"h" + bytes([level]) + close
    return made


# ---- what becomes of files


def outcomes(reader: str, files: Iterable[Path]) -> list[dict]:
    """What became of each file under a reader of `READERS`: "kind" and "said" of its error, or "read" and the type;
    "peak", by how many MiB memory grew at its peak; "seconds" of the processor."""
    command = [sys.executable, __file__, reader, *map(str, files)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False, timeout=600)
    what = f"{done.stdout[-500:]} {done.stderr[-500:]}"
    assert done.returncode == 0, f"the reader ended with {done.returncode} after {what}"
    return [json.loads(line) for line in done.stdout.splitlines()]


def is_refusal(found: dict, file: Path, kinds: tuple[str, ...] = ("AnnotationError", "ValueError")) -> None:
    """That a file was refused in one line that names it, soon and within the memory allowed."""
    assert found["kind"] in kinds, found
    assert found["said"].startswith(f"{file}: ") and "\n" not in found["said"] and len(found["said"]) < 600, found
    is_bounded(found)


def is_bounded(found: dict) -> None:
    assert found["peak"] < MEMORY and found["seconds"] < SECONDS, found


READERS = {
    "pickle": ("sapnet_core.datasets.annotation_pickles", "read_pickle"),
    "sequence": ("sapnet_core.datasets.sequence_files", "read_sequence"),
    "weights": ("sapnet_core.runtime.files", "read_weights"),
    "c3d": ("sapnet_core.backbones.c3d", "load_c3d"),
    "i3d": ("sapnet_core.backbones.kinetics_weights", "load_kinetics"),
    "swin": ("sapnet_core.backbones.video_swin", "load_swin"),
}


class _Memory:
    """By how much memory grows, in MiB. Linux forgets a peak when asked to; elsewhere the peak is that of all files."""

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


def _read_all(reader: str, files: list[str]) -> None:
    module, name = READERS[reader]
    read = getattr(importlib.import_module(module), name)
    if (sizes := Path("/proc/self/statm")).is_file():  # what is asked for and never used is no peak, and ends here
        limit = int(sizes.read_text().split()[0]) * resource.getpagesize() + 2 * MEMORY * 2**20
        resource.setrlimit(resource.RLIMIT_AS, (limit, limit))
    for file in files:
        memory, began = _Memory(), time.process_time()
        try:
            found = {"kind": "read", "said": type(read(file)).__name__}
        except BaseException as error:
            found = {"kind": type(error).__name__, "said": str(error)}
        found |= {"peak": memory.grown(), "seconds": time.process_time() - began}
        print(json.dumps(found), flush=True)


if __name__ == "__main__":
    sys.path.insert(0, str(ROOT))
    _read_all(sys.argv[1], sys.argv[2:])
