"""What all tests share: few threads, and where the official label files lie on a developer's disk."""

import signal
from pathlib import Path

import pytest
import torch

OFFICIAL = Path(__file__).resolve().parent.parent.parent / "shared" / "datasets"


def pytest_configure():
    """Let Ctrl-C be heard: what a shell starts in the background ignores it, and so would all that tests start."""
    if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
        signal.signal(signal.SIGINT, signal.default_int_handler)


@pytest.fixture(scope="session", autouse=True)
def few_threads():
    """Workers run side by side: more threads each would only get in each other's way."""
    torch.set_num_threads(1)


@pytest.fixture(scope="session")
def official() -> Path:
    """Folder of the official label files, which cannot be shipped: tests on them skip where they are absent."""
    if not (OFFICIAL / "MTL-AQA").is_dir():
        pytest.skip("official label files are not at ../shared/datasets beside the repository")
    return OFFICIAL
