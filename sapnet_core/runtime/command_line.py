"""How every command ends: a fault that a person can mend is one line, and Ctrl-C a promise that nothing is lost."""

import os
import select
import signal
import sys
from collections.abc import Callable
from functools import wraps

from sapnet_core.runtime.disk import REMEDIES, DiskFault, told
from sapnet_core.runtime.file_kinds import printable

__all__ = ["STOPPED", "one_line_errors"]

STOPPED = "stopped; run the same command again to go on"
# what readers, disks, workers, missing packages and a small memory raise
EXPECTED = (ValueError, OSError, RuntimeError, ImportError, MemoryError)


def one_line_errors(main: Callable[..., int | None], name: str = "") -> Callable[..., int]:
    """The main function of a command, ended as a person expects; `name` begins its messages (default: its module).

    Returns what `main` returns (0 for None). A `ValueError`, `OSError`, `RuntimeError`, `ImportError` or `MemoryError`
    becomes one line on standard error and exit code 2; Ctrl-C, or a request to end, becomes `STOPPED` and 130; nothing
    is said where nobody reads the output any more, as behind `| head`: 141. Set `SAPNET_TRACEBACK=1` to see where an
    error comes from.
    """

    @wraps(main)
    def run(*arguments, **named) -> int:
        before = _asked_to_end()
        try:
            code = int(main(*arguments, **named) or 0)
            _flush_output()
            return code
        except KeyboardInterrupt:
            print(f"\n{STOPPED}", file=sys.stderr, flush=True)
            return 130
        except EXPECTED as error:
            if os.environ.get("SAPNET_TRACEBACK") == "1":
                raise
            if isinstance(error, BrokenPipeError) and _nobody_reads():
                return 141
            print(f"{name or _name(main)}: {first_line(error)}", file=sys.stderr, flush=True)
            return 2
        finally:
            if before is not None:
                signal.signal(signal.SIGTERM, before)

    return run


def _name(main: Callable) -> str:
    """The module of a command, as `python -m` names it."""
    spec = getattr(sys.modules.get(main.__module__), "__spec__", None)
    return spec.name if spec else main.__module__


def first_line(error: BaseException) -> str:
    """What an error says, in one line, without the number that Python puts before an operating system's faults; of an
    error that lists several faults its `lines`."""
    text = str(error)
    if isinstance(error, MemoryError):
        text = f"the memory is too small ({text or 'nothing is left'}): use fewer --jobs, or ask for less at once"
    elif isinstance(error, OSError) and isinstance(error.filename, (str, bytes, os.PathLike)):
        fault = told(error, os.fsdecode(error.filename))
        text = str(fault) if isinstance(fault, DiskFault) else f"{os.fsdecode(error.filename)}: {error.strerror}"
    elif isinstance(error, OSError):  # our own words, or the system's that say no place, as of standard output
        text = error.strerror or text
        if error.errno in REMEDIES and text == os.strerror(error.errno):
            text += f": {REMEDIES[error.errno]}"
    lines = getattr(error, "lines", None) or (text,)
    return "\n".join(printable(" ".join(str(line).split())) for line in lines) or type(error).__name__


def _flush_output() -> None:
    """Write what waits for standard output, whose disk may be full, while a fault can still be told."""
    try:
        sys.stdout.flush()
    except BrokenPipeError:
        raise
    except OSError as error:
        _end_output()
        error.filename = "standard output"
        raise


def _nobody_reads() -> bool:
    """Whether standard output is a pipe that was closed at its other end."""
    asked = select.poll()
    asked.register(sys.stdout.fileno(), 0)
    if not asked.poll(0):
        return False
    _end_output()
    return True


def _end_output() -> None:
    """Let what is still written go nowhere: else Python complains once more as it ends."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def _asked_to_end():
    """Let a request to end (SIGTERM) be what Ctrl-C is; returns what was done with it before, None where that is not
    ours to decide (outside of the main thread)."""

    def end(*_: object) -> None:
        raise KeyboardInterrupt

    try:
        return signal.signal(signal.SIGTERM, end)
    except ValueError:
        return None
