"""Progress of long runs: a bar on a terminal, occasional lines elsewhere, and no total where none is known."""

import io
import json
import os
import time

import pytest
from wording import in_order

from sapnet_core.runtime import progress
from sapnet_core.runtime.progress import Standing, progress_bar, read_note, relayed, showing, trial_bars, waiting


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


@pytest.fixture
def fast(monkeypatch):
    """Show progress a hundred times as early and as often."""
    for name in ("FIRST", "EVERY", "DELAY", "REDRAW"):
        monkeypatch.setattr(progress, name, getattr(progress, name) / 100)


def wait_for(stream, text) -> str:
    end = time.monotonic() + 20
    while text not in stream.getvalue():
        assert time.monotonic() < end, stream.getvalue()
        time.sleep(0.01)
    return stream.getvalue()


def test_rate_and_rest_count_from_what_was_there():
    stream = Terminal()
    report = progress_bar("training", "trials", file=stream, delay=0)
    report(100, 180)
    # the rate is not known yet
    assert "training:  56%" in stream.getvalue() and "100/180 [00:00<?" in stream.getvalue()
    report(120, 180)
    report(180, 180)
    assert "180/180" in stream.getvalue() and stream.getvalue().endswith("\n")


def test_a_bar_that_is_left_says_nothing_more():
    stream = Terminal()
    report = progress_bar("training", "trials", file=stream, delay=0)
    report(1, 3)
    said = stream.getvalue()
    del report
    assert stream.getvalue() == said and "1/3" in said


def test_without_a_terminal_lines_come_by_themselves(fast):
    stream = io.StringIO()
    report = progress_bar("features", "videos", file=stream)
    report(12, 100)
    assert in_order(wait_for(stream, "\n").splitlines()[0], "features", 12, 100, "videos", "0 s")
    report(62, 100)
    assert " a second, about " in wait_for(stream, "62 of 100")
    report(100, 100)
    last = stream.getvalue().splitlines()[-1]
    assert in_order(last, "features", 100, 100, "videos", "done") and "\r" not in stream.getvalue()
    del report


def test_what_ends_at_once_shows_nothing():
    for stream in (io.StringIO(), Terminal()):
        report = progress_bar("features", "videos", file=stream)
        report(0, 2)
        report(2, 2)
        with waiting("looking", file=stream):
            pass
        assert not stream.getvalue()


@pytest.mark.parametrize(
    "standing, line",
    [
        (Standing("features", "videos", 512, 4188, 0, 124.9), "512 of 4188 videos, 4.1 a second, about 15 min left"),
        (Standing("training", "trials", 12, 40, 10, 120), "12 of 40 trials, 1.0 a minute, about 28 min left"),
        (Standing("training", "trials", 10, 40, 10, 35), "10 of 40 trials, 35 s"),
        (Standing("training", "trials", 40, 40, 10, 35), "40 of 40 trials, done in 35 s"),
        (Standing("training", "trials", 0, 0, 0, 0), "0 of 0 trials, 0 s"),
    ],
)
def test_a_line_tells_pace_and_rest(standing, line):
    assert standing.line() == f"{standing.what}: {line}"
    assert "/?" not in standing.bar(100)


@pytest.mark.parametrize("kind", [io.StringIO, Terminal])
def test_work_of_unknown_length_shows_the_seconds(fast, capsys, kind):
    stream = kind()
    with waiting("comparing", file=stream) as say:
        wait_for(stream, "comparing: 0 s")
        say("meanwhile")
    assert "?" not in stream.getvalue() and capsys.readouterr().out == "meanwhile\n"
    assert ("\r" in stream.getvalue()) is (kind is Terminal)


def test_a_line_fits_the_terminal(fast):
    stream = Terminal()
    with showing(lambda seconds, width: "x" * 1000, file=stream):
        wait_for(stream, "x")
    assert all(len(part) < 200 for part in stream.getvalue().split("\r"))


def test_bars_of_trials_begin_when_there_is_something_to_do(capsys):
    with trial_bars() as bars:
        for name in ("videos", "progress"):
            bars[name](0, 1)
            bars[name](1, 1)
    assert capsys.readouterr().err == ""


def test_a_kernel_tells_the_runner_how_far_it_is(tmp_path, monkeypatch):
    assert relayed("features", "videos", None) is None
    note, heard = tmp_path / ".04_training.1.progress", []
    monkeypatch.setenv(progress.NOTE, str(note))
    report = relayed("features", "videos", lambda *standing: heard.append(standing))
    assert read_note(note) is None
    report(10, 40)
    report(20, 40)
    os.utime(note, (time.time() - 60,) * 2)
    found = read_note(note)
    assert (found.done, found.of, found.first) == (20, 40, 10) and found.seconds >= 60
    assert "a minute, about " in found.line()
    report(40, 40)
    assert not list(tmp_path.iterdir()) and heard == [(10, 40), (20, 40), (40, 40)]
    for content in ("", "{", json.dumps([1])):
        note.write_text(content)
        assert read_note(note) is None
