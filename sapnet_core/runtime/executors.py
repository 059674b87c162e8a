"""Run tasks in this process, in worker processes of this machine, or on the workers of a Dask cluster.

Any `concurrent.futures` executor can be used; `distributed.Client.get_executor()` is one. Tasks on other machines read
and write the same folders, on a shared file system (`SAPNET_RUNS`, `SAPNET_DATA`).

joblib (loky) was measured for the same work with two processes. After one of its workers was killed during 12 tasks, it
raised TerminatedWorkerError and returned 3 results; `run_tasks` returned all 12. In speed joblib is ahead: of 100 small
tasks it returned the first after 12.4 s and the last after 13 s, where `run_tasks` took 12.6 s and, with the end of its
processes, 17 s.
"""

import os
import socket
import warnings
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import CancelledError, Executor, as_completed
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager
from importlib.util import find_spec

from sapnet_core.runtime import environment
from sapnet_core.runtime.cores import allowed_cores
from sapnet_core.runtime.values import whole
from sapnet_core.runtime.workers import LOST, WorkerPool

__all__ = ["reach_cluster", "run_tasks"]

# environment variables that are sent with each task to workers on other machines, beside the folders of `_settings`
SWITCHES = ("SAPNET_SPLIT", "SAPNET_SKIP_BAD", "SAPNET_RECOMPUTE", "SAPNET_NUMBERS", "SAPNET_CHECKPOINT")
ANSWER = 10  # seconds to wait for a scheduler's answer
PATIENCE = 2  # number of pools after whose deaths, with no task completed in between, the run stops

Done = tuple[int, str, object]  # index of the task, the process and host that ran it, and its result


def run_tasks(
    work: Callable, tasks: Sequence[tuple], jobs: int = 1, executor: Executor | None = None
) -> Iterator[Done]:
    """Call `work(*task)` for every task; yields (index, worker, result) in the order of completion.

    Args:
        work: a function of a module. A task whose worker died is run again, so that `work` must be able to resume it.
        jobs: number of processes; 1 runs the tasks in this process, one after the other.
        executor: another executor to use. Without it, `SAPNET_DASK` gives the scheduler of a Dask cluster.

    Raises:
        ValueError: `jobs` is not a whole number of at least 1.
        RuntimeError: the worker processes die repeatedly.
        ConnectionError: no Dask scheduler answers at that address, or the connection was lost.
        Exception: an error raised by `work`, with a note that names the task; tasks that have not begun are canceled.
    """
    whole("jobs", jobs)
    tasks = dict(enumerate(tasks))
    if executor is None and tasks and (address := os.environ.get("SAPNET_DASK")):
        with _cluster(address) as executor:
            yield from _on(executor, work, tasks)
    elif executor is not None:
        yield from _on(executor, work, tasks)
    elif jobs == 1 or len(tasks) == 1:
        for index, task in tasks.items():
            yield index, _who(), _noted(work, task)
    else:
        yield from _pool(work, tasks, jobs)


def _pool(work: Callable, tasks: dict[int, tuple], jobs: int) -> Iterator[Done]:
    threads = max(1, allowed_cores() // jobs)
    left, deaths = dict(tasks), 0
    while left:
        before = len(left)
        try:
            with WorkerPool(min(jobs, before), threads) as pool:
                for done in _on(pool, work, left):
                    del left[done[0]]
                    yield done
        except BrokenProcessPool as error:  # unfinished tasks run again in a new pool
            deaths = 1 if len(left) < before else deaths + 1
            if deaths == PATIENCE:
                raise RuntimeError(
                    f"a worker process was killed {deaths} times in a row, with {len(left)} tasks left: {LOST}"
                ) from error


def _on(executor: Executor, work: Callable, tasks: dict[int, tuple]) -> Iterator[Done]:
    settings = _settings()
    futures = {executor.submit(_there, settings, work, task): index for index, task in tasks.items()}
    try:
        for future in as_completed(futures):
            yield futures[future], *future.result()
    except CancelledError as error:  # canceled by the cluster
        raise ConnectionError(
            "the Dask cluster canceled the tasks or stopped: start it again and repeat the command; finished work is "
            "kept"
        ) from error
    finally:
        for future in futures if not isinstance(executor, WorkerPool) else ():  # a WorkerPool cancels its own
            future.cancel()


def _settings() -> dict[str, str]:
    """Folders and switches of this process, for workers that were started elsewhere."""
    folders = {
        "SAPNET_RUNS": environment.runs(),
        "SAPNET_DATA": environment.data_root(),
        "SAPNET_DETECTOR": environment.detector(),
        "SAPNET_I3D": environment.i3d(),
        "SAPNET_C3D": environment.c3d(),
        "SAPNET_SWIN": environment.swin(),
    }
    switches = {name: os.environ.get(name, "") for name in SWITCHES}
    return {name: str(path.resolve()) if path else "" for name, path in folders.items()} | switches


def _there(settings: dict[str, str], work: Callable, task: tuple) -> tuple[str, object]:
    """Run one task on a worker, with the settings of the calling process; returns the worker's name and the result."""
    os.environ.update(settings)
    return _who(), _noted(work, task)


def _noted(work: Callable, task: tuple):
    try:
        return work(*task)
    except Exception as error:
        error.add_note(f"while working on {task} in {_who()}")
        raise


def _who() -> str:
    return f"process {os.getpid()} on {socket.gethostname()}"


def _silent(address: str) -> ConnectionError:
    return ConnectionError(
        f"no Dask scheduler answers at {address!r}: start one with `dask scheduler`, or give the "
        "address that it printed, as tcp://host:8786"
    )


def reach_cluster() -> None:
    """Check that the Dask scheduler of `SAPNET_DASK` answers, where that is set. Call this before any work.

    Raises:
        ConnectionError: no scheduler answers.
        ModuleNotFoundError: Dask is not installed.
    """
    if not (address := os.environ.get("SAPNET_DASK")):
        return
    if find_spec("distributed") is None:
        raise ModuleNotFoundError(f"SAPNET_DASK={address!r} needs Dask: pip install -e '.[cluster]', or unset it")
    host, _, port = address.rpartition("://")[2].rpartition(":")
    try:
        socket.create_connection((host.strip("[]"), int(port)), ANSWER).close()
    except (OSError, ValueError, OverflowError) as error:
        raise _silent(address) from error


@contextmanager
def _cluster(address: str) -> Iterator[Executor]:
    """The executor of the Dask cluster whose scheduler is at `address`."""
    from distributed import Client

    try:
        client = Client(address, set_as_default=False)
    except (OSError, ValueError) as error:
        raise _silent(address) from error
    with client:
        if not client.scheduler_info(n_workers=-1)["workers"]:
            warnings.warn(
                f"the Dask cluster at {address} has no worker yet: waiting, start one with `dask worker {address}`",
                stacklevel=2,
            )
        yield client.get_executor(pure=False)
