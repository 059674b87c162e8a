"""Ctrl-C and SIGTERM end a command with one line; no process and no partial file is left behind."""

import os
import shutil
import signal
import subprocess
import sys
import time

import pytest
from notebook_kit import build
from project_copy import copy_package

from sapnet_core.runtime import environment
from sapnet_core.runtime.command_line import STOPPED

ROOT, WAIT = environment.root(), 180  # seconds; generous, since the machine may be busy
LONG = "import os\nimport time\n\n_ = open({file!r}, 'w').write(str(os.getpid()))\ntime.sleep(600)"


@pytest.fixture
def project(tmp_path):
    """A copy of this project's command and package, with two notebooks and a test that take long."""
    copy_package(tmp_path)
    for name in (
        "runall.sh",
        "pyproject.toml",
        "tests/constraints.txt",
        "tests/without_dependencies.txt",
        "notebooks/conftest.py",
    ):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        shutil.copy(ROOT / name, tmp_path / name)
    for name in ("00_one", "01_two"):
        build(tmp_path / "notebooks" / f"{name}.ipynb", LONG.format(file=str(tmp_path / f"{name}.pid")))
    said = f"open({str(tmp_path / 'test.pid')!r}, 'w').write('1')"
    test = f"import time\n\n\ndef test_long():\n    {said}\n    time.sleep(600)\n"
    (tmp_path / "tests" / "test_long.py").write_text(test)
    return tmp_path


def start(project, *command):
    drop = ("SAPNET", "CONDA", "VIRTUAL", "PYTEST", "PYTHON")
    kept = {name: value for name, value in os.environ.items() if not name.startswith(drop)}
    return subprocess.Popen(
        command,
        cwd=project,
        env={**kept, "VIRTUAL_ENV": sys.prefix, "SAPNET_JOBS": "2", "PIP_NO_INDEX": "1", "UV_OFFLINE": "1"},
        text=True,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        start_new_session=True,
    )


def stop(process, number, begun):
    """Send a signal to a command once it has `begun`: SIGINT to its process group, as Ctrl-C does, else to it alone.

    Returns:
        Its standard output and standard error.
    """
    end = time.monotonic() + WAIT
    while not begun():
        assert time.monotonic() < end and process.poll() is None, process.communicate()
        time.sleep(0.05)
    (os.killpg if number == signal.SIGINT else os.kill)(process.pid, number)
    said = process.communicate(timeout=WAIT)
    assert process.returncode == 130 and "Traceback" not in "".join(said), said
    return said


def written(*files) -> bool:
    return all(file.is_file() and file.stat().st_size for file in files)


def alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return True


@pytest.mark.parametrize("number", [signal.SIGINT, pytest.param(signal.SIGTERM, marks=pytest.mark.slow)])
def test_notebooks_that_are_stopped_leave_nothing_half_done(project, number):
    started = [project / "00_one.pid", project / "01_two.pid"]
    process = start(project, "bash", "runall.sh", "--only", "00", "--only", "01")
    _, err = stop(process, number, lambda: written(*started))
    assert err.strip().endswith(STOPPED) and err.count(STOPPED) == 1  # after the progress
    end = time.monotonic() + WAIT
    while any(alive(int(file.read_text())) for file in started):
        assert time.monotonic() < end, "a kernel lives on"
        time.sleep(0.1)
    assert not [file for file in (project / "runs" / "notebooks").rglob("*") if file.is_file() or file.name[0] == "."]


def test_stopped_tests_do_not_go_on_with_the_next_part(project):
    out, err = stop(start(project, "bash", "runall.sh", "test"), signal.SIGINT, lambda: written(project / "test.pid"))
    assert (
        err.strip().endswith(STOPPED) and err.count(STOPPED) == 1 and "== pytest" in out and "== notebooks" not in out
    )


@pytest.mark.slow
def test_a_command_with_workers_is_stopped(project):
    process = start(
        project,
        sys.executable,
        "-m",
        "sapnet_core",
        "recipe",
        "pretrain_backbones",
        "i3d",
        "weights.safetensors",
        "--jobs",
        "2",
    )
    _, err = stop(process, signal.SIGINT, lambda: any((project / "runs").rglob("0*.safetensors")))
    assert err.strip().endswith(STOPPED) and err.count(STOPPED) == 1 and not [*(project / "runs").rglob(".*.tmp")]


def test_a_command_that_is_stopped_as_it_begins_says_so_too(project):
    code = (
        "import os, runpy, signal, sys, threading\n"
        "sys.argv = ['-m']\nimport sapnet_core\n"
        "os.kill(os.getpid(), signal.SIGINT)\n"
    )
    process = start(project, sys.executable, "-c", code)
    _, err = process.communicate(timeout=WAIT)
    assert err.strip() == STOPPED and process.returncode == -signal.SIGINT  # a shell reports 130
