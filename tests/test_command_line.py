"""A command that fails prints one line that says what is wrong and what to do; one that is stopped says so."""

import errno
import os
import signal
import subprocess
import sys
import time
from types import SimpleNamespace

import pytest
from wording import in_order

from sapnet_core import __main__
from sapnet_core.runtime import environment
from sapnet_core.runtime.command_line import STOPPED, one_line_errors
from sapnet_core.runtime.disk import REMEDIES


@pytest.mark.parametrize(
    "error, said",
    [
        (ValueError("records.csv: line 3: no score\nmore"), "records.csv: line 3: no score more"),
        (OSError(errno.ENOSPC, "No space left in runs: make room"), "No space left in runs: make room"),
        (FileNotFoundError(errno.ENOENT, "No such file or directory", "x.csv"), "x.csv"),
        (RuntimeError("a worker died"), "a worker died"),
        (ImportError("PyAV is not installed"), "PyAV"),
        (ModuleNotFoundError("No module named 'jinja2'", name="jinja2"), "'jinja2': pip install -e \".[notebooks]\""),
        (
            ModuleNotFoundError("Dask is needed: pip install -e '.[cluster]'"),
            "Dask is needed: pip install -e '.[cluster]'\n",
        ),
        (OSError(), "OSError"),
    ],
)
def test_a_fault_is_one_line(capsys, error, said):
    @one_line_errors
    def main():
        raise error

    assert main() == 2
    out, err = capsys.readouterr()
    assert not out and err.count("\n") == 1 and said in err and "Errno 28" not in err


def test_results_pass_and_other_errors_are_not_hidden(capsys, monkeypatch):
    assert one_line_errors(lambda: None)() == 0 and one_line_errors(lambda code: code)(1) == 1
    with pytest.raises(AssertionError):
        one_line_errors(lambda: (_ for _ in ()).throw(AssertionError()))()
    monkeypatch.setenv("SAPNET_TRACEBACK", "1")
    with pytest.raises(ValueError):
        one_line_errors(lambda: int("x"))()
    assert not capsys.readouterr().err


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_command_that_is_stopped_says_how_to_go_on(capsys, number):
    before = signal.getsignal(signal.SIGTERM)
    main = one_line_errors(lambda: os.kill(os.getpid(), number) or time.sleep(30))
    assert main() == 130 and capsys.readouterr().err.strip() == STOPPED
    assert signal.getsignal(signal.SIGTERM) == before


BASE = """
import importlib.abc, sys
EXTRA = {"IPython", "jinja2", "markupsafe", "nbclient", "nh3", "papermill", "pygments", "rocrate", "sklearn"}

class Absent(importlib.abc.MetaPathFinder):
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] in EXTRA:
            raise ModuleNotFoundError(f"No module named {name!r}", name=name)

sys.meta_path.insert(0, Absent())
from sapnet_core.__main__ import _load, main
for module in ("provenance", "claims", "stability", "score_report"):
    _load(f"reporting.{module}")
print(main(["gallery"]))
"""


def test_a_base_install_reads_results_and_says_what_the_gallery_needs():
    done = subprocess.run(
        [sys.executable, "-c", BASE], capture_output=True, text=True, cwd=environment.root(), check=True
    )
    said = done.stderr.splitlines()[-1]
    assert done.stdout == "2\n" and in_order(said, "gallery", "No module named", 'pip install -e ".[notebooks]"')


COMMAND = """
import errno, os, sys
from sapnet_core.runtime.command_line import one_line_errors

@one_line_errors
def main():
    for number in range(int(sys.argv[1])):
        print(number)
    if len(sys.argv) > 2:
        open(sys.argv[2], "w")

if __name__ == "__main__":
    sys.exit(main())
"""


@pytest.fixture
def command(tmp_path, monkeypatch):
    """A program to run as `python -m asked`, as (command line, environment variables)."""
    (tmp_path / "asked.py").write_text(COMMAND)
    path = os.pathsep.join((str(tmp_path), str(environment.root())))
    return [sys.executable, "-m", "asked"], {**os.environ, "PYTHONPATH": path}


def test_a_command_is_named_as_it_was_called(command, tmp_path):
    call, environment = command
    (tmp_path / "file").write_text("")
    ended = subprocess.run([*call, "1", tmp_path / "file" / "x"], env=environment, capture_output=True, text=True)
    assert ended.returncode == 2 and ended.stderr.startswith(f"asked: {tmp_path / 'file'}: Not a directory: ")
    assert ended.stderr.count("\n") == 1 and "Errno" not in ended.stderr


@pytest.mark.parametrize("lines", ["1", "100000"])
@pytest.mark.parametrize("unbuffered", ["", "1"])
def test_output_that_nobody_reads_ends_in_silence(command, lines, unbuffered):
    call, environment = command
    reads, writes = os.pipe()
    os.close(reads)
    environment["PYTHONUNBUFFERED"] = unbuffered
    ended = subprocess.run([*call, lines], env=environment, stdout=writes, stderr=subprocess.PIPE, text=True)
    os.close(writes)
    assert ended.returncode == 141 and not ended.stderr


@pytest.mark.parametrize("lines", ["1", "100000"])
@pytest.mark.parametrize("unbuffered", ["", "1"])
def test_output_to_a_full_disk_is_one_line(command, lines, unbuffered):
    if not os.path.exists("/dev/full"):
        pytest.skip("no /dev/full here")
    call, environment = command
    environment["PYTHONUNBUFFERED"] = unbuffered
    with open("/dev/full", "w") as full:
        ended = subprocess.run([*call, lines], env=environment, stdout=full, stderr=subprocess.PIPE, text=True)
    assert ended.returncode == 2 and ended.stderr.count("\n") == 1
    assert in_order(ended.stderr, os.strerror(errno.ENOSPC), REMEDIES[errno.ENOSPC])


@pytest.mark.parametrize(
    ("options", "anew"),
    [
        ([], False),
        (["--profile", "quick"], False),
        (["--profile", "quick", "--recompute"], True),
        (["--recompute"], True),
    ],
)
def test_only_a_run_that_asks_for_it_trains_anew_what_is_stored(monkeypatch, options, anew):
    monkeypatch.setenv("SAPNET_RECOMPUTE", "0")  # both are restored after the test
    monkeypatch.setenv("SAPNET_JOBS", "2")
    seen = SimpleNamespace(run_suite=lambda *_: int(environment.recompute()))
    monkeypatch.setattr(__main__, "_load", lambda module: seen)
    assert __main__.main(["run", *options]) == anew


def test_a_small_memory_is_one_line(capsys):
    @one_line_errors
    def main():
        raise MemoryError

    assert main() == 2 and "memory" in capsys.readouterr().err
