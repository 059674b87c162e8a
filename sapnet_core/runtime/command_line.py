"""How every command ends: expected errors are printed as one line, and Ctrl-C keeps all finished work."""

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
INSTALL = 'pip install -e ".[notebooks]"'  # a base install lacks these packages
# exceptions due to invalid files, disks, workers, missing packages and lack of memory
EXPECTED = (ValueError, OSError, RuntimeError, ImportError, MemoryError)


def one_line_errors(main: Callable[..., int | None], name: str = "") -> Callable[..., int]:
    """Wrap the main function of a command, so that it returns an exit code instead of raising expected errors.

    The exit code is what `main` returns (0 for None). A `ValueError`, `OSError`, `RuntimeError`, `ImportError` or
    `MemoryError` is printed as one line on standard error, with exit code 2. Ctrl-C or SIGTERM prints `STOPPED`, with
    exit code 130. Where the reader of the output has gone, as behind `| head`, nothing is printed, and the exit code is
    141. Set `SAPNET_TRACEBACK=1` to get the traceback of an error.

    Args:
        main: the main function.
        name: name that begins the error messages; the module of `main` if empty.
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
    """The message of an error on one line, without the error number that Python puts before system errors.

    An error with an attribute `lines`, which lists several faults, gives these lines. Where Python does not find a
    package, the extra that installs it is named.
    """
    text = str(error)
    if isinstance(error, MemoryError):
        text = f"out of memory ({text or 'no more could be allocated'}): use fewer --jobs, or smaller inputs"
    elif isinstance(error, ModuleNotFoundError) and error.name:  # Python sets the name, messages of this package do not
        text += f": {INSTALL}"
    elif isinstance(error, OSError) and isinstance(error.filename, (str, bytes, os.PathLike)):
        fault = told(error, os.fsdecode(error.filename))
        text = str(fault) if isinstance(fault, DiskFault) else f"{os.fsdecode(error.filename)}: {error.strerror}"
    elif isinstance(error, OSError):  # a message of this package, or a system error without a file name
        text = error.strerror or text
        if error.errno in REMEDIES and text == os.strerror(error.errno):
            text += f": {REMEDIES[error.errno]}"
    lines = getattr(error, "lines", None) or (text,)
    return "\n".join(printable(" ".join(str(line).split())) for line in lines) or type(error).__name__


def _flush_output() -> None:
    """Flush standard output, whose disk may be full, while an error can still be reported. Raises OSError."""
    try:
        sys.stdout.flush()
    except BrokenPipeError:
        raise
    except OSError as error:
        _end_output()
        error.filename = "standard output"
        raise


def _nobody_reads() -> bool:
    """Whether standard output is a pipe that its reader has closed; further output is then discarded."""
    asked = select.poll()
    asked.register(sys.stdout.fileno(), 0)
    if not asked.poll(0):
        return False
    _end_output()
    return True


def _end_output() -> None:
    """Discard all further output; otherwise Python would report another error when it exits."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def _asked_to_end():
    """Handle SIGTERM like Ctrl-C. Returns the previous handler, or None outside of the main thread, where Python cannot
    set one."""

    def end(*_: object) -> None:
        raise KeyboardInterrupt

    try:
        return signal.signal(signal.SIGTERM, end)
    except ValueError:
        return None
