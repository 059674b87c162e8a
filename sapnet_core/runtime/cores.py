"""The number of CPU cores that this process may use, which on a shared machine is less than the machine has."""

import math
import os
from collections.abc import Iterator
from pathlib import Path

__all__ = ["allowed_cores"]

# environment variables in which Slurm, Grid Engine, LSF and PBS give the number of allocated cores
GIVEN = ("SLURM_CPUS_PER_TASK", "SLURM_CPUS_ON_NODE", "NSLOTS", "LSB_DJOB_NUMPROC", "PBS_NP", "NCPUS")


def allowed_cores() -> int:
    """Number of cores that this process may use: the minimum over its affinity mask, its scheduler's allocation and the
    CPU quota of its container, and at least 1."""
    here = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    told = (os.environ.get(name, "") for name in GIVEN)
    given = [int(text) for text in told if text.isascii() and text.isdecimal() and int(text)]
    return max(1, min([here, *given, *(math.ceil(quota) for quota in _quotas())]))


def _quotas(proc: Path = Path("/proc/self/cgroup"), mount: Path = Path("/sys/fs/cgroup")) -> Iterator[float]:
    """CPU quota in cores of each control group that limits this process (Linux cgroups, versions 1 and 2)."""
    try:
        lines = proc.read_text().splitlines()
    except (OSError, ValueError):  # the system is not Linux
        return
    for line in lines:
        _, controllers, path = (line.split(":", 2) + ["", ""])[:3]
        if not controllers:
            yield from _limits(mount, path, ("cpu.max",))
        elif "cpu" in controllers.split(","):
            for name in dict.fromkeys((controllers, "cpu", "cpu,cpuacct")):
                yield from _limits(mount / name, path, ("cpu.cfs_quota_us", "cpu.cfs_period_us"))


def _limits(top: Path, path: str, names: tuple[str, ...]) -> Iterator[float]:
    """The limits of a group and of its parents; a container may see its own group as the root."""
    own = top / path.lstrip("/")
    for folder in (own, *own.parents):
        if not folder.is_relative_to(top):
            return
        try:
            quota, period = " ".join((folder / name).read_text() for name in names).split()
            if float(quota) > 0 and float(period) > 0:  # in version 1, -1 means no limit
                yield float(quota) / float(period)
        except (OSError, ValueError):  # a missing file, or "max", means no limit
            continue
