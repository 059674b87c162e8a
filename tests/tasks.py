"""Tasks that tests hand to worker processes. A worker imports the module of its task, so this one imports little."""

import os
import signal
import time
from pathlib import Path

REST = 300  # seconds; longer than any test waits for a task to be ended


def square_after_one_death(flag: str, index: int) -> int:
    """The square of `index`; kills its process when task 1 runs for the first time, which the file `flag` records."""
    if index == 1 and not os.path.exists(flag):
        open(flag, "w").close()
        os.kill(os.getpid(), signal.SIGKILL)
    time.sleep(0.05)
    return index * index


def die(index: int) -> None:
    os.kill(os.getpid(), signal.SIGKILL)


def fail_at_two(index: int) -> int:
    if index == 2:
        raise ValueError("no such dive")
    return index


def rest(folder: str, index: int) -> None:
    """Write a file named after the process, and then do nothing."""
    open(f"{folder}/{os.getpid()}.pid", "w").close()
    time.sleep(REST)


def wait_for_the_end(folder: str, index: int) -> None:
    """Write a partial file, and delete it when interrupted."""
    half = Path(folder) / f".{index}.{os.getpid()}.tmp"
    try:
        half.write_text("half")
        time.sleep(REST)
    finally:
        half.unlink()


def threads() -> int:
    """The number of PyTorch threads of the worker, which has loaded PyTorch."""
    import torch

    return torch.get_num_threads()
