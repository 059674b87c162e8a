"""Worker processes leave Ctrl-C to their parent: they end with it, print nothing, and leave no partial file."""

import os
import signal
import subprocess
import sys
import textwrap
import time

import pytest
from tasks import fail_at_two, threads

from sapnet_core.runtime import environment
from sapnet_core.runtime.command_line import STOPPED
from sapnet_core.runtime.workers import WorkerPool

WAIT = 120  # seconds; generous, since the machine may be busy


def test_work_is_done_with_few_threads_and_errors_come_back():
    with WorkerPool(1, 1) as pool:
        assert pool.submit(threads).result() == 1
        with pytest.raises(ValueError, match="no such dive"):
            pool.submit(fail_at_two, 2).result()
    assert signal.SIGINT not in signal.pthread_sigmask(signal.SIG_BLOCK, ())  # blocked only while workers start


def alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return True


SCRIPT = """
    import sys
    from sapnet_core.runtime.command_line import one_line_errors
    from sapnet_core.runtime.executors import run_tasks
    from sapnet_core.runtime.workers import WorkerPool
    from tasks import wait_for_the_end

    @one_line_errors
    def main():
        tasks = [(sys.argv[1], index) for index in range(5)]
        if sys.argv[2] == "trials":
            return len([*run_tasks(wait_for_the_end, tasks, jobs=2)])
        with WorkerPool(2) as pool:
            for future in [pool.submit(wait_for_the_end, *task) for task in tasks]:
                future.result()

    if __name__ == "__main__":
        sys.exit(main())
"""


STOPS = [
    ("trials", signal.SIGINT, True),
    ("features", signal.SIGINT, False),
    pytest.param("trials", signal.SIGTERM, False, marks=pytest.mark.slow),
]


@pytest.mark.parametrize("what, number, whole_group", STOPS)
def test_a_command_that_is_stopped_ends_its_workers(tmp_path, what, number, whole_group):
    """The signal goes to the whole process group, as Ctrl-C in a terminal does, or to the parent alone."""
    (tmp_path / "asks.py").write_text(textwrap.dedent(SCRIPT))
    work = tmp_path / "work"
    work.mkdir()
    variables = {
        **os.environ,
        "PYTHONPATH": os.pathsep.join((str(environment.root()), str(environment.root() / "tests"))),
    }
    asks = subprocess.Popen(
        [sys.executable, tmp_path / "asks.py", work, what],
        env=variables,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )
    end = time.monotonic() + WAIT
    while len(found := [*work.iterdir()]) < 2 and time.monotonic() < end:
        time.sleep(0.02)
    pids = [int(file.name.split(".")[2]) for file in found]
    assert len(pids) == 2
    (os.killpg if whole_group else os.kill)(asks.pid, number)
    said = asks.communicate(timeout=WAIT)[1]
    assert asks.returncode == 130 and said == f"\n{STOPPED}\n"
    assert not any(map(alive, pids)) and not [*work.iterdir()]
