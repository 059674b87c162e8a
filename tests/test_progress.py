"""The line that says how far a long run is."""

import io

from sapnet_core import progress


class Terminal(io.StringIO):
    def isatty(self):
        return True


def lines(stream, monkeypatch, times, calls):
    monkeypatch.setattr(progress.time, "perf_counter", iter(times).__next__)
    report = progress.progress_line("trial", stream)
    for call in calls:
        report(*call)
    return stream.getvalue()


def test_rate_and_rest_count_from_what_was_there(monkeypatch):
    text = lines(io.StringIO(), monkeypatch, [0, 0, 4], [(100, 180), (120, 180)])
    assert text.splitlines() == ["trial 100 of 180", "trial 120 of 180, 5 a second, 12 s left"]


def test_a_terminal_keeps_one_line(monkeypatch):
    text = lines(Terminal(), monkeypatch, [0, 0, 1, 2], [(0, 2), (1, 2), (2, 2)])
    assert text.count("\n") == 1 and text.endswith("\n") and text.count("\r") == 3
    assert "2 of 2, 1 a second, 0 s left" in text
