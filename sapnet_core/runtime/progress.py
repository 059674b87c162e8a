"""Progress of long runs: a bar on a terminal, and one line every half minute elsewhere.

Work that ends within seconds shows nothing. All progress goes to standard error.
"""

import json
import os
import shutil
import sys
import time
import weakref
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from threading import Event, Thread
from typing import TextIO

from tqdm import tqdm

__all__ = [
    "NOTE",
    "Report",
    "Standing",
    "duration",
    "progress_bar",
    "read_note",
    "relayed",
    "showing",
    "trial_bars",
    "waiting",
]

Report = Callable[[int, int], None]  # called with (done, total), first with the number that was done before

FIRST = 5.0  # without a terminal: seconds until the first line
EVERY = 30.0  # without a terminal: seconds between lines
DELAY = 2.0  # on a terminal: seconds until a bar appears
REDRAW = 1.0  # on a terminal: seconds between redraws
NOTE = "SAPNET_PROGRESS"  # variable that names the file in which a notebook's kernel reports progress to the runner


@dataclass(frozen=True)
class Standing:
    """Progress of some work: `done` of `of` units, `first` of which were done when it began, `seconds` ago."""

    what: str
    unit: str
    done: int
    of: int
    first: int
    seconds: float

    def line(self) -> str:
        """One line of text, such as "features: 512 of 4188 videos, 4.1 a second, about 15 min left"."""
        text, made = f"{self.what}: {self.done} of {self.of} {self.unit}", self.done - self.first
        if not made or not self.seconds:
            return f"{text}, {duration(self.seconds)}"
        if self.done == self.of:
            return f"{text}, done in {duration(self.seconds)}"
        rate = made / self.seconds
        pace = f"{rate:.1f} a second" if rate >= 1 else f"{60 * rate:.1f} a minute"
        return f"{text}, {pace}, about {duration((self.of - self.done) / rate)} left"

    def bar(self, width: int, prefix: str = "") -> str:
        """The same as a bar drawn by tqdm, `width` columns wide."""
        meter = {"total": self.of, "elapsed": self.seconds, "initial": self.first, "ncols": width, "unit": self.unit}
        return tqdm.format_meter(self.done, prefix=f"{prefix}{self.what}", **meter)


def duration(seconds: float) -> str:
    """A time in seconds as text in a convenient unit: "40 s", "15 min", "2.5 h"."""
    if seconds < 90:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 5400 else f"{seconds / 3600:.1f} h"


def progress_bar(what: str, unit: str, file: TextIO | None = None, delay: float | None = None) -> Report:
    """A function of (done, total) that shows the progress of `what`, counted in `unit`.

    Its first call gives the number that was done before; rate and remaining time are computed from then on.

    Args:
        file: output stream; standard error if None.
        delay: seconds until something is shown; `DELAY` on a terminal and `FIRST` elsewhere if None.
    """
    bars: list[_Bar | _Lines] = []

    def report(done: int, of: int) -> None:
        if not bars:
            stream = file or sys.stderr
            bars.append((_Bar if stream.isatty() else _Lines)(what, unit, done, of, stream, delay))
        bars[0].move_to(done)
        if done == of:
            bars[0].close()

    return report


class _Bar(tqdm):
    """Progress as a bar, on a terminal."""

    def __init__(self, what: str, unit: str, done: int, of: int, file: TextIO, delay: float | None):
        delay = DELAY if delay is None else delay
        super().__init__(desc=what, unit=f" {unit}", initial=done, total=of, file=file, delay=delay, dynamic_ncols=True)
        self.ticker = _Ticker(self, REDRAW, REDRAW)

    def move_to(self, done: int) -> None:
        self.update(done - self.n)

    def tick(self) -> None:
        if not self.disable and time.time() >= self.start_t + self.delay:
            self.refresh()

    def close(self) -> None:
        if hasattr(self, "ticker"):
            self.ticker.stop()
        super().close()

    def __del__(self) -> None:  # after an interruption such as Ctrl-C, tqdm must not draw the bar again
        self.disable = True


class _Lines:
    """Progress as lines, where there is no terminal."""

    def __init__(self, what: str, unit: str, done: int, of: int, file: TextIO, delay: float | None):
        self.what, self.unit, self.first, self.done, self.of, self.file = what, unit, done, done, of, file
        self.begun, self.told = time.monotonic(), False
        self.ticker = _Ticker(self, FIRST if delay is None else delay, EVERY)

    def standing(self) -> Standing:
        return Standing(self.what, self.unit, self.done, self.of, self.first, time.monotonic() - self.begun)

    def move_to(self, done: int) -> None:
        self.done = done

    def tick(self) -> None:
        self.told = True
        print(self.standing().line(), file=self.file, flush=True)

    def close(self) -> None:
        self.ticker.stop()
        if self.told:
            self.tick()


class _Ticker:
    """Calls `shown.tick()` after `first` seconds and then every `every` seconds, until it is stopped or `shown` is
    deleted."""

    def __init__(self, shown: object, first: float, every: float):
        self.over = Event()
        self.thread = Thread(target=_tick, args=(weakref.ref(shown), self.over, first, every), daemon=True)
        self.thread.start()

    def stop(self) -> None:
        self.over.set()
        self.thread.join(REDRAW)


def _tick(shown: weakref.ref, over: Event, first: float, every: float) -> None:
    seconds = first
    while not over.wait(seconds):
        if (alive := shown()) is None:
            return
        alive.tick()
        del alive
        seconds = every


class _Text:
    """One line of changing text; on a terminal it is redrawn in place, and erased at the end."""

    def __init__(self, text: Callable[[float, int | None], str], file: TextIO):
        self.text, self.file, self.begun, self.line, self.drawn = text, file, time.monotonic(), None, False
        if self.file.isatty():
            self.line = tqdm(bar_format="{desc}", file=file, leave=False, delay=float("inf"))
        self.ticker = _Ticker(self, *((DELAY, REDRAW) if self.line is not None else (FIRST, EVERY)))

    def tick(self) -> None:
        seconds = time.monotonic() - self.begun
        if self.line is None:
            if text := self.text(seconds, None):
                print(text, file=self.file, flush=True)
        else:
            self.drawn, width = True, shutil.get_terminal_size().columns - 1
            self.line.set_description_str(self.text(seconds, width)[:width], refresh=True)

    def say(self, text: str) -> None:
        """Print a line on standard output, above the changing one."""
        if self.line is None:
            print(text, flush=True)
        else:
            tqdm.write(text)
            sys.stdout.flush()

    def close(self) -> None:
        self.ticker.stop()
        if self.line is not None:
            self.line.delay = 0 if self.drawn else self.line.delay  # makes tqdm erase a line that was drawn
            self.line.close()


@contextmanager
def showing(text: Callable[[float, int | None], str], file: TextIO | None = None) -> Iterator[Callable[[str], None]]:
    """Show a changing text while the block runs.

    Args:
        text: function of the seconds since the block began and of the terminal's columns (None without a terminal).
        file: output stream; standard error if None.

    Yields:
        A function that prints a line on standard output, above the changing text.
    """
    shown = _Text(text, file or sys.stderr)
    try:
        yield shown.say
    finally:
        shown.close()


def waiting(what: str, file: TextIO | None = None) -> AbstractContextManager[Callable[[str], None]]:
    """Show how long `what` has taken, for work whose remaining amount is unknown; yields as `showing`."""
    return showing(lambda seconds, _: f"{what}: {duration(seconds)}", file)


@contextmanager
def trial_bars() -> Iterator[dict[str, Report]]:
    """Progress bars for `run_trials`, as its keyword arguments; until one begins, the elapsed time is shown."""
    with ExitStack() as looking:
        looking.enter_context(waiting("looking for what is missing"))

        def begun(report: Report) -> Report:
            def told(done: int, of: int) -> None:
                looking.close()
                report(done, of)

            return told

        yield {
            "videos": begun(progress_bar("features", "videos")),
            "progress": begun(progress_bar("training", "trials")),
        }


def relayed(what: str, unit: str, report: Report | None) -> Report | None:
    """In the kernel of a notebook that the runner executes, a function that calls `report` and also writes the progress
    to the file of `NOTE`, from which the runner shows it; elsewhere `report` itself."""
    if not (name := os.environ.get(NOTE)):
        return report
    from sapnet_core.runtime.files import write_text  # it imports torch, which a kernel that reports progress has

    note, begun, first = Path(name), time.monotonic(), []

    def told(done: int, of: int) -> None:
        first[:] = first or [done]
        if done == of:
            note.unlink(missing_ok=True)
        else:
            write_text(note, json.dumps([what, unit, done, of, first[0], time.monotonic() - begun]))
        if report:
            report(done, of)

    return told


def read_note(note: Path) -> Standing | None:
    """The progress last written by `relayed`, with `Standing.seconds` up to the present; None where there is none."""
    try:
        *facts, seconds = json.loads(note.read_text(encoding="utf-8"))
        return Standing(*facts, seconds + max(0.0, time.time() - note.stat().st_mtime))
    except (OSError, ValueError, TypeError):
        return None
