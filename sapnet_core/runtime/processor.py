"""The kind of processor that computes: results are equal bit for bit on the same kind, and up to rounding elsewhere."""

import platform
from functools import cache
from pathlib import Path

import torch

from sapnet_core.runtime.file_kinds import printable

__all__ = ["processor_kind"]

CPUINFO = Path("/proc/cpuinfo")
LONGEST = 80  # characters of a processor's name


def processor_kind(device: str = "cpu") -> str:
    """A short name of a device's kind, such as "AMD EPYC, family 25 model 1, AVX2" or "NVIDIA H200".

    Of a CPU it has the name, family and model that Linux reports (elsewhere the architecture), and the vector
    instructions for which PyTorch chooses its kernels. The environment variable `ATEN_CPU_CAPABILITY` changes that
    choice, and with it the name.
    """
    if torch.device(device).type == "cuda":
        return torch.cuda.get_device_name(device)
    return f"{_cpu()}, {torch.backends.cpu.get_cpu_capability()}"


@cache
def _cpu() -> str:
    known = {}
    try:
        for line in CPUINFO.read_text(encoding="utf-8", errors="replace").splitlines():
            name, _, value = line.partition(":")
            known.setdefault(name.strip(), value.strip())
    except OSError:  # only Linux has this file
        pass
    if "model name" not in known:
        return platform.machine()
    version = f"family {known.get('cpu family', '?')} model {known.get('model', '?')}"
    return printable(f"{known['model name'][:LONGEST]}, {version}")
