"""One line that says how far a long run is, how fast it goes and when it will be done."""

import sys
import time
from collections.abc import Callable
from typing import TextIO

__all__ = ["progress_line"]


def progress_line(what: str, stream: TextIO | None = None) -> Callable[[int, int], None]:
    """A function of (done, of all) that writes "trials 12 of 180, 1.9 a second, 88 s left" to a stream.

    The rate counts from its first call, which tells what was there before. On a terminal the line is rewritten in
    place; elsewhere each call writes a line. `stream` is standard error unless given.
    """
    first: list[tuple[float, int]] = []

    def report(done: int, of: int) -> None:
        out = stream or sys.stderr
        first.append((time.perf_counter(), done)) if not first else None
        seconds, new = time.perf_counter() - first[0][0], done - first[0][1]
        line = f"{what} {done} of {of}"
        if new and seconds:
            line += f", {new / seconds:.3g} a second, {(of - done) * seconds / new:.0f} s left"
        terminal = out.isatty()
        out.write(f"\r{line}\033[K" + "\n" * (done == of) if terminal else line + "\n")
        out.flush()

    return report
