"""Where a long run stands: a bar on a terminal, and where there is none a line every half minute.

Nothing is shown of what ends within seconds. Everything goes to standard error.
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

Report = Callable[[int, int], None]  # called with (done, of all), first with what was there before

FIRST = 5.0  # seconds after which something is shown where no terminal is, and the seconds between two lines then
EVERY = 30.0
DELAY = 2.0  # seconds after which a bar appears on a terminal, and the seconds after which it is drawn anew
REDRAW = 1.0
NOTE = "SAPNET_PROGRESS"  # names the file in which a notebook's kernel tells the process that started it how far it is


@dataclass(frozen=True)
class Standing:
    """How far some work is: `done` of `of`, `first` of which were there `seconds` ago, when it began."""

    what: str
    unit: str
    done: int
    of: int
    first: int
    seconds: float

    def line(self) -> str:
        """As in "features: 512 of 4188 videos, 4.1 a second, about 15 min left"."""
        text, made = f"{self.what}: {self.done} of {self.of} {self.unit}", self.done - self.first
        if not made or not self.seconds:
            return f"{text}, {duration(self.seconds)}"
        if self.done == self.of:
            return f"{text}, done in {duration(self.seconds)}"
        rate = made / self.seconds
        pace = f"{rate:.1f} a second" if rate >= 1 else f"{60 * rate:.1f} a minute"
        return f"{text}, {pace}, about {duration((self.of - self.done) / rate)} left"

    def bar(self, width: int, prefix: str = "") -> str:
        """The same as tqdm draws it, in so many columns."""
        meter = {"total": self.of, "elapsed": self.seconds, "initial": self.first, "ncols": width, "unit": self.unit}
        return tqdm.format_meter(self.done, prefix=f"{prefix}{self.what}", **meter)


def duration(seconds: float) -> str:
    """A time in the unit that a person would choose: "40 s", "15 min", "2.5 h"."""
    if seconds < 90:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 5400 else f"{seconds / 3600:.1f} h"


def progress_bar(what: str, unit: str, file: TextIO | None = None, delay: float | None = None) -> Report:
    """A function of (done, of all) that shows how far `what` is, which counts `unit`, on standard error.

    Rate and time left count from its first call, which tells what was there before. `delay` is the number of seconds
    after which something is shown, if not the usual one.
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
    """On a terminal."""

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

    def __del__(self) -> None:  # left in the middle, by Ctrl-C say: the last word is not the bar's
        self.disable = True


class _Lines:
    """Where no terminal is."""

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
    """Calls `shown.tick()` after `first` seconds and then every `every` seconds, until it is stopped or `shown` is no
    more."""

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
    """One line of changing text; on a terminal it is drawn in its place, and taken away at the end."""

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
        """A line for standard output, above the changing one."""
        if self.line is None:
            print(text, flush=True)
        else:
            tqdm.write(text)
            sys.stdout.flush()

    def close(self) -> None:
        self.ticker.stop()
        if self.line is not None:
            self.line.delay = 0 if self.drawn else self.line.delay  # what was drawn is taken away
            self.line.close()


@contextmanager
def showing(text: Callable[[float, int | None], str], file: TextIO | None = None) -> Iterator[Callable[[str], None]]:
    """While the block runs, show `text(seconds since it began, columns of the terminal or None)`.

    Yields:
        A function that prints a line on standard output meanwhile.
    """
    shown = _Text(text, file or sys.stderr)
    try:
        yield shown.say
    finally:
        shown.close()


def waiting(what: str, file: TextIO | None = None) -> AbstractContextManager[Callable[[str], None]]:
    """`showing` how long `what` takes, for work of which nobody knows how much is left."""
    return showing(lambda seconds, _: f"{what}: {duration(seconds)}", file)


@contextmanager
def trial_bars() -> Iterator[dict[str, Report]]:
    """What shows the progress of `run_trials`, as its arguments by name; until it begins, the time that passes."""
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
    """`report`; in the kernel of a notebook that the runner executes, a function that also tells the runner, which
    shows it."""
    if not (name := os.environ.get(NOTE)):
        return report
    note, begun, first = Path(name), time.monotonic(), []

    def told(done: int, of: int) -> None:
        first[:] = first or [done]
        if done == of:
            note.unlink(missing_ok=True)
        else:
            beside = note.with_suffix(".new")
            beside.write_text(json.dumps([what, unit, done, of, first[0], time.monotonic() - begun]), encoding="utf-8")
            os.replace(beside, note)
        if report:
            report(done, of)

    return told


def read_note(note: Path) -> Standing | None:
    """What `relayed` told last, None where nothing is under way; `Standing.seconds` end now."""
    try:
        *facts, seconds = json.loads(note.read_text(encoding="utf-8"))
        return Standing(*facts, seconds + max(0.0, time.time() - note.stat().st_mtime))
    except (OSError, ValueError, TypeError):
        return None
