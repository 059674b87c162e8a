"""Every check of the suite, one after the other: the command `test`."""

import os
import signal
import subprocess
import sys
from contextlib import suppress

from sapnet_core.runtime import environment
from sapnet_core.runtime.arguments import VARIABLES

__all__ = ["run_tests"]

# what a person may have set that changes numbers or texts: stored outputs are those of the default source
KEPT = {"SAPNET_RUNS", "SAPNET_JOBS", "SAPNET_TRACEBACK"}
DROPPED = {*VARIABLES} - KEPT | {
    "PYTHONSAFEPATH",  # tests start scripts that import modules beside them
    "COLUMNS",
    "NO_COLOR",
    "FORCE_COLOR",
}
GRACE = 30.0  # seconds that a part then has to take away what it half wrote


def run_tests(every: bool = False) -> int:
    """Run every part, whichever fails, in the repository's root; returns 1 if any failed, else 0.

    With `every`, the slow tests run too, coverage is told, and every notebook is compared with its stored outputs,
    which first takes the trials of the quick profile.

    `SAPNET_JOBS` is the number of pytest's workers and of processes that run trials, 2 if it is not set.

    Raises:
        ValueError: `SAPNET_JOBS` is no whole number from 1 on.
        KeyboardInterrupt: Ctrl-C; the part that ran has ended.
    """
    os.environ.setdefault("SAPNET_JOBS", "2")
    jobs = str(environment.jobs())
    variables = {n: v for n, v in os.environ.items() if n not in DROPPED and not n.startswith("PYTEST_")}
    variables |= {
        "SAPNET_FIGURES": str(environment.runs().absolute() / "test-figures"),
        "OMP_NUM_THREADS": "1",  # two workers run side by side
    }
    whole = ["--all"] if every else []
    chosen = ["-m", "not speed", "--cov", "--cov-report="] if every else []
    parts = {"ruff": ["-m", "ruff", "check", "."], "pytest": ["-m", "pytest", "-q", "-n", jobs, *chosen, "tests"]}
    if every:
        parts["coverage"] = ["tests/coverage_by_room.py"]
    parts |= {
        "pytest, what is timed, alone": ["-m", "pytest", "-q", "-n", "0", "-m", "speed", "tests"],
        "notebooks": ["-m", "sapnet_core.reporting.check_notebooks", *whole],
    }
    failed = False
    for title, command in parts.items():
        print(f"== {title}", flush=True)
        failed |= _run(command, variables) != 0
    if failed:
        print("Some tests failed: see above.", file=sys.stderr, flush=True)
    else:
        print("All tests passed.", flush=True)
    return int(failed)


def _run(command: list[str], variables: dict[str, str]) -> int:
    """Run Python with these arguments and return its exit code.

    It runs in a session of its own, where Ctrl-C of a terminal does not reach it: this process passes the request to
    end on to it and to all that it started, exactly once.

    Raises:
        KeyboardInterrupt: Ctrl-C, or a request to end; the part that ran has ended too.
        SystemExit: likewise, where the part has told the person so.
    """
    process = subprocess.Popen(
        [sys.executable, *command], cwd=environment.root(), env=variables, start_new_session=True
    )
    try:
        return process.wait()
    except KeyboardInterrupt:
        _end(process)
        if process.returncode == 130 and command[1].startswith("sapnet_core"):
            sys.exit(130)
        raise


def _end(process: subprocess.Popen) -> None:
    """Ask a process and all that it started to end; kill them where they do not within `GRACE` seconds, or where the
    person asks again."""
    with suppress(ProcessLookupError):  # it has just ended
        try:
            os.killpg(process.pid, signal.SIGINT)
            process.wait(GRACE)
        except (subprocess.TimeoutExpired, KeyboardInterrupt):
            os.killpg(process.pid, signal.SIGKILL)
    process.wait()
