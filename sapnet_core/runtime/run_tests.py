"""The command `test`: run every check of the suite, one after the other."""

import os
import signal
import subprocess
import sys
from contextlib import suppress

from sapnet_core.runtime import environment
from sapnet_core.runtime.arguments import VARIABLES

__all__ = ["run_tests"]

# Variables that change numbers or texts are dropped, since stored outputs are those of the default source; the
# package's variables in `KEPT` change neither.
KEPT = {"SAPNET_RUNS", "SAPNET_JOBS", "SAPNET_TRACEBACK"}
DROPPED = {*VARIABLES} - KEPT | {
    "PYTHONSAFEPATH",  # tests start scripts that import modules beside them
    "COLUMNS",
    "NO_COLOR",
    "FORCE_COLOR",
}
GRACE = 30.0  # seconds for an interrupted part to remove half-written files


def run_tests(every: bool = False) -> int:
    """Run all parts in the repository's root, even after one has failed; returns 1 if any failed, else 0.

    Beside ruff, pytest and the notebooks, two small stored trials are trained again from nothing and compared.

    With `every`, the slow tests run too, coverage is reported, and every notebook is compared with its stored outputs,
    which first needs the trials that are neither stored nor in the folder of runs.

    `SAPNET_JOBS` is the number of processes that run trials and notebooks, 2 by default; pytest has one worker more.

    Raises:
        ValueError: `SAPNET_JOBS` is not a whole number of at least 1.
        KeyboardInterrupt: Ctrl-C or SIGTERM; the running part has ended.
    """
    os.environ.setdefault("SAPNET_JOBS", "2")
    jobs = str(environment.jobs())
    variables = {n: v for n, v in os.environ.items() if n not in DROPPED and not n.startswith("PYTEST_")}
    variables |= {
        "SAPNET_FIGURES": str(environment.runs().absolute() / "test-figures"),
        "OMP_NUM_THREADS": "1",  # several workers run side by side
    }
    whole = ["--all"] if every else []
    chosen = ["-m", "not speed", "--cov", "--cov-report="] if every else []
    # Neighboring tests share fixtures, so each worker begins with a part of the list of its own; a worker that has
    # nothing left takes tests from another one. Many tests wait for a program that they start, so one worker more than
    # there are processes keeps the cores busy.
    workers = ["-n", str(environment.jobs() + 1), "--dist", "worksteal"]
    parts = {
        "ruff": ["-m", "ruff", "check", "."],
        "layout of the code": ["-m", "ruff", "format", "--check", "."],
        "pytest": ["-m", "pytest", "-q", *workers, *chosen, "tests"],
    }
    if every:
        parts["coverage"] = ["tests/coverage_by_room.py"]
    parts |= {
        "pytest, speed tests alone": ["-m", "pytest", "-q", "-n", "0", "-m", "speed", "tests"],
        "two stored trials, trained again": ["-m", "sapnet_core", "verify", "--small", "--jobs", jobs],
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

    It runs in a session of its own, which Ctrl-C in a terminal does not reach: this process passes the interrupt on to
    it and all of its child processes, exactly once.

    Raises:
        KeyboardInterrupt: Ctrl-C or SIGTERM; the part has ended.
        SystemExit: Ctrl-C or SIGTERM; the part has ended and has already reported it to the user.
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
    """Interrupt a process and all of its child processes; kill them where they do not end within `GRACE` seconds, or
    where the user interrupts again."""
    with suppress(ProcessLookupError):  # the process has already ended
        try:
            os.killpg(process.pid, signal.SIGINT)
            process.wait(GRACE)
        except (subprocess.TimeoutExpired, KeyboardInterrupt):
            os.killpg(process.pid, signal.SIGKILL)
    process.wait()
