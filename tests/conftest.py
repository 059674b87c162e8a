"""Settings and fixtures that all tests share: one thread per process, and the folder of the official label files."""

import signal
from pathlib import Path

import pytest
import torch

OFFICIAL = Path(__file__).resolve().parent.parent.parent / "shared" / "datasets"


def pytest_configure():
    """Restore Ctrl-C: a shell's background jobs ignore SIGINT, and so would every process that the tests start."""
    if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
        signal.signal(signal.SIGINT, signal.default_int_handler)


@pytest.fixture(scope="session", autouse=True)
def few_threads():
    """Give each process one PyTorch thread: test workers run in parallel and would compete for the cores."""
    torch.set_num_threads(1)


@pytest.fixture(scope="session")
def official() -> Path:
    """Folder of the official label files. They cannot be distributed: tests that need them skip without them."""
    if not (OFFICIAL / "MTL-AQA").is_dir():
        pytest.skip("official label files are not at ../shared/datasets beside the repository")
    return OFFICIAL
