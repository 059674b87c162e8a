"""How many processor cores this process may use, which on a shared machine are fewer than the machine has."""

import math
import os
from collections.abc import Iterator
from pathlib import Path

__all__ = ["allowed_cores"]

# what a scheduler gave to this task, in the words of Slurm, Grid Engine, LSF and PBS
GIVEN = ("SLURM_CPUS_PER_TASK", "SLURM_CPUS_ON_NODE", "NSLOTS", "LSB_DJOB_NUMPROC", "PBS_NP", "NCPUS")


def allowed_cores() -> int:
    """Cores that this process may keep busy: the fewest of those that its affinity mask, its scheduler and the quota of
    its container leave it; one at least."""
    here = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    told = (os.environ.get(name, "") for name in GIVEN)
    given = [int(text) for text in told if text.isascii() and text.isdecimal() and int(text)]
    return max(1, min([here, *given, *(math.ceil(quota) for quota in _quotas())]))


def _quotas(proc: Path = Path("/proc/self/cgroup"), mount: Path = Path("/sys/fs/cgroup")) -> Iterator[float]:
    """Processor time a second of each control group that holds this process and limits it (Linux, versions 1 and 2)."""
    try:
        lines = proc.read_text().splitlines()
    except (OSError, ValueError):  # no Linux
        return
    for line in lines:
        _, controllers, path = (line.split(":", 2) + ["", ""])[:3]
        if not controllers:
            yield from _limits(mount, path, ("cpu.max",))
        elif "cpu" in controllers.split(","):
            for name in dict.fromkeys((controllers, "cpu", "cpu,cpuacct")):
                yield from _limits(mount / name, path, ("cpu.cfs_quota_us", "cpu.cfs_period_us"))


def _limits(top: Path, path: str, names: tuple[str, ...]) -> Iterator[float]:
    """The limits of a group and of those above it; a container may see its own group as the top one alone."""
    own = top / path.lstrip("/")
    for folder in (own, *own.parents):
        if not folder.is_relative_to(top):
            return
        try:
            quota, period = " ".join((folder / name).read_text() for name in names).split()
            if float(quota) > 0 and float(period) > 0:  # -1 is no limit in version 1
                yield float(quota) / float(period)
        except (OSError, ValueError):  # not there, or "max": no limit
            continue
