"""Every check of the suite, one after the other: the command `test`."""

import os
import signal
import subprocess
import sys

from sapnet_core.runtime import environment

__all__ = ["run_tests"]

# stored outputs are those of the default source, and tests those of this project alone
DROPPED = (
    "SAPNET_DATA",
    "SAPNET_SPLIT",
    "SAPNET_SKIP_BAD",
    "SAPNET_DETECTOR",
    "SAPNET_I3D",
    "SAPNET_C3D",
    "SAPNET_SWIN",
    "SAPNET_DASK",
    "SAPNET_CHECKPOINT",
    "PYTHONSAFEPATH",  # scripts of the tests find what lies beside them
    "COLUMNS",
    "NO_COLOR",
    "FORCE_COLOR",
)
OWN = 20.0  # seconds within which a part ends that Ctrl-C has reached
NONE_COLLECTED = 5  # pytest's exit code where there is nothing to time
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
        code = _run(command, variables)
        failed |= code != 0 and not ("speed" in command and code == NONE_COLLECTED)
    if failed:
        print("Some tests failed: see above.", file=sys.stderr, flush=True)
    else:
        print("All tests passed.", flush=True)
    return int(failed)


def _run(command: list[str], variables: dict[str, str]) -> int:
    """The exit code of Python with arguments.

    Raises:
        KeyboardInterrupt: Ctrl-C, or a request to end; the module has ended too.
        SystemExit: the same, where the module has told the person so.
    """
    process = subprocess.Popen([sys.executable, *command], cwd=environment.root(), env=variables)
    try:
        return process.wait()
    except KeyboardInterrupt:
        _end(process)
        if process.returncode == 130 and command[1].startswith("sapnet_core"):
            sys.exit(130)
        raise


def _end(process: subprocess.Popen) -> None:
    """Wait for a process that Ctrl-C reached too; one that it did not reach gets it now, and is killed in the end."""
    for patience, then in ((OWN, lambda: process.send_signal(signal.SIGINT)), (GRACE, process.kill), (None, None)):
        try:
            process.wait(patience)
            return
        except subprocess.TimeoutExpired:
            then()
