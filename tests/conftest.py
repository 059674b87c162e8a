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


@pytest.fixture(scope="module")
def own_runs(tmp_path_factory):
    """An empty runs folder for the tests of one module, no data folder, and nothing cached in this process."""
    from sapnet_core.experiments import trial

    def forget():
        trial._data.cache_clear()
        trial._read_records.cache_clear()

    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("SAPNET_RUNS", str(tmp_path_factory.mktemp("runs")))
        patch.delenv("SAPNET_DATA", raising=False)
        forget()
        yield
        forget()
