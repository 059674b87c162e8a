"""Processes of this machine that work for the one that asked: Ctrl-C is left to it, and none outlives it."""

import os
import signal
import sys
import time
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ProcessPoolExecutor
from contextlib import contextmanager
from multiprocessing import get_context, parent_process
from threading import Thread

import torch

__all__ = ["LOST", "WorkerPool"]

LOST = "memory may be too small for --jobs so many; run again with fewer, it goes on from here"
GRACE = 5.0  # seconds that an interrupted worker has to take away what it half wrote


class WorkerPool(ProcessPoolExecutor):
    """A pool of fresh processes, each with so many threads of PyTorch; as a context, it ends them as the block ends.

    After a block that came to its end, or met an error, what runs is waited for; the rest is canceled after an error.
    After Ctrl-C or where the rest is not wanted, what runs is interrupted: whoever works must be able to go on later.
    """

    def __init__(self, jobs: int, threads: int = 1):
        try:
            super().__init__(jobs, get_context("spawn"), _begin, (threads,))
        except OSError as error:  # no shared memory, or none left
            text = f"no processes can work side by side here ({error.strerror or error}): use --jobs 1"
            raise RuntimeError(text) from error

    def submit(self, work: Callable, /, *args, **kwargs) -> Future:
        with _ctrl_c_held_back():  # for the processes that this starts, and inherit it, from their first moment on
            return super().submit(_interruptible, work, *args, **kwargs)

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        if kind is not None and not issubclass(kind, Exception):
            self._interrupt()
        self.shutdown(cancel_futures=kind is not None)

    def _interrupt(self) -> None:
        processes, end = list((self._processes or {}).values()), time.monotonic() + GRACE
        for process in processes:
            process.terminate()
        for process in processes:
            process.join(max(0.0, end - time.monotonic()))
            process.kill()


@contextmanager
def _ctrl_c_held_back() -> Iterator[None]:
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def _begin(threads: int) -> None:
    """Begins every process of a pool."""
    torch.set_num_threads(threads)
    signal.signal(signal.SIGTERM, _end)

    def follow() -> None:
        parent_process().join()
        os._exit(1)

    Thread(target=follow, daemon=True).start()


def _end(*_: object) -> None:
    """Ends this worker; whoever asks a whole group of processes to end may ask twice."""
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    sys.exit(1)


def _interruptible(work: Callable, *args, **kwargs):
    """Runs on the worker: what it half wrote is gone when it was interrupted, and it takes no other work."""
    try:
        return work(*args, **kwargs)
    except SystemExit:
        os._exit(1)
