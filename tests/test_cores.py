"""The number of usable cores is what the process was given, not what the machine has."""

import os

import pytest

from sapnet_core.runtime import cores, environment

MANY, QUOTAS = 64, cores._quotas


@pytest.fixture
def node(monkeypatch):
    """A machine of 64 cores without any limit."""
    for name in (*cores.GIVEN, "SAPNET_JOBS"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr(os, "cpu_count", lambda: MANY)
    monkeypatch.setattr(os, "sched_getaffinity", lambda pid: set(range(MANY)), raising=False)
    monkeypatch.setattr(cores, "_quotas", lambda: iter(()))


def test_the_affinity_mask_counts_and_not_the_machine(node, monkeypatch):
    assert environment.jobs() == cores.allowed_cores() == MANY
    monkeypatch.setattr(os, "sched_getaffinity", lambda pid: {3, 9, 11})
    assert environment.jobs() == cores.allowed_cores() == 3
    monkeypatch.delattr(os, "sched_getaffinity")  # as on macOS
    assert environment.jobs() == MANY


@pytest.mark.parametrize("name", cores.GIVEN)
def test_what_a_scheduler_gave_counts(node, monkeypatch, name):
    monkeypatch.setenv(name, "2")
    assert environment.jobs() == 2
    for text in ("", "0", "٣", "many", "-1", "2(x3)", "128"):  # invalid, or more than the machine has
        monkeypatch.setenv(name, text)
        assert environment.jobs() == MANY


@pytest.mark.parametrize(
    "limit, count", [("150000 100000", 2), ("50000 100000", 1), ("400000 100000", 4), ("max 100000", MANY)]
)
def test_the_quota_of_a_container_counts(node, tmp_path, monkeypatch, limit, count):
    quotas = write(tmp_path, {"cgroup": "0::/job/step\n", "fs/job/cpu.max": f"{limit}\n"})
    monkeypatch.setattr(cores, "_quotas", lambda: iter(quotas))
    assert environment.jobs() == count


def test_quotas_are_found_wherever_they_are_written(node, tmp_path):
    two = {
        "cgroup": "0::/a/b\n",
        "fs/cpu.max": "800000 100000",
        "fs/a/b/cpu.max": "200000 100000",
        "fs/a/cpu.max": "max 100000",
    }
    one = {
        "cgroup": "5:memory:/m\n3:cpu,cpuacct:/docker/x\n",
        "fs/cpu,cpuacct/cpu.cfs_quota_us": "300000\n",
        "fs/cpu,cpuacct/cpu.cfs_period_us": "100000\n",
    }
    free = one | {"fs/cpu,cpuacct/cpu.cfs_quota_us": "-1\n"}
    strange = {"cgroup": "0::/../..\n\x00\nnothing\n", "fs/cpu.max": "much\n"}
    found = [write(tmp_path / str(number), files) for number, files in enumerate((two, one, free, strange, {}))]
    assert found == [[2.0, 8.0], [3.0], [], [], []]


def write(folder, files):
    for name, text in files.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(text)
    return list(QUOTAS(folder / "cgroup", folder / "fs"))


@pytest.mark.skipif(not hasattr(os, "sched_setaffinity"), reason="this system has no affinity masks")
def test_a_process_bound_to_one_core_uses_one(monkeypatch):
    monkeypatch.delenv("SAPNET_JOBS", raising=False)
    mine = os.sched_getaffinity(0)
    os.sched_setaffinity(0, {min(mine)})
    try:
        assert environment.jobs() == 1
    finally:
        os.sched_setaffinity(0, mine)


@pytest.mark.parametrize("text", ["0", "-1", "x", "1.5", "nan", "1e3", "٣", " "])
def test_wrong_numbers_of_jobs_are_refused(monkeypatch, text):
    monkeypatch.setenv("SAPNET_JOBS", text)
    with pytest.raises(ValueError, match="SAPNET_JOBS=.*whole number"):
        environment.jobs()
