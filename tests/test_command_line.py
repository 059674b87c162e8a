"""Commands end in one line: what went wrong and what to do, or that they were stopped."""

import errno
import os
import signal

import pytest

from sapnet_core.command_line import STOPPED, one_line_errors


@pytest.mark.parametrize(
    "error, said",
    [(ValueError("records.csv: line 3: no score\nmore"), "records.csv: line 3: no score more"),
     (OSError(errno.ENOSPC, "No space left in runs: make room"), "No space left in runs: make room"),
     (FileNotFoundError(errno.ENOENT, "No such file or directory", "x.csv"), "x.csv"),
     (RuntimeError("a worker died"), "a worker died"), (ImportError("PyAV is not installed"), "PyAV"),
     (OSError(), "OSError")],
)  # fmt: skip
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
    main = one_line_errors(lambda: os.kill(os.getpid(), number) or signal.pause())
    assert main() == 130 and capsys.readouterr().err.strip() == STOPPED
    assert signal.getsignal(signal.SIGTERM) == before
