"""How every command ends: a fault that a person can mend is one line, and Ctrl-C a promise that nothing is lost."""

import os
import signal
import sys
from collections.abc import Callable
from functools import wraps

__all__ = ["STOPPED", "one_line_errors"]

STOPPED = "stopped; run the same command again to go on"
EXPECTED = (ValueError, OSError, RuntimeError, ImportError)  # what readers, disks, workers and missing packages raise


def one_line_errors(main: Callable[..., int | None]) -> Callable[..., int]:
    """The main function of a command, ended as a person expects.

    Returns what `main` returns (0 for None). A `ValueError`, `OSError`, `RuntimeError` or `ImportError` becomes its
    first line on standard error and exit code 2; Ctrl-C, or a request to end, becomes `STOPPED` and 130. Set
    `SAPNET_TRACEBACK=1` to see where an error comes from.
    """

    @wraps(main)
    def run(*arguments, **named) -> int:
        before = _asked_to_end()
        try:
            return int(main(*arguments, **named) or 0)
        except KeyboardInterrupt:
            print(f"\n{STOPPED}", file=sys.stderr, flush=True)
            return 130
        except EXPECTED as error:
            if os.environ.get("SAPNET_TRACEBACK") == "1":
                raise
            print(f"{main.__module__}: {first_line(error)}", file=sys.stderr, flush=True)
            return 2
        finally:
            if before is not None:
                signal.signal(signal.SIGTERM, before)

    return run


def first_line(error: BaseException) -> str:
    """What an error says, in one line, without the number that Python puts before an operating system's faults."""
    lines = (error.strerror or str(error)) if isinstance(error, OSError) and not error.filename else str(error)
    text = " ".join(str(lines).split())
    return text or type(error).__name__


def _asked_to_end():
    """Let a request to end (SIGTERM) be what Ctrl-C is; returns what was done with it before, None where that is not
    ours to decide (outside of the main thread)."""

    def end(*_: object) -> None:
        raise KeyboardInterrupt

    try:
        return signal.signal(signal.SIGTERM, end)
    except ValueError:
        return None
