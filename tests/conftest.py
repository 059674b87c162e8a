"""Settings and fixtures that all tests share: one thread per process, the official label files, and runs folders."""

import os
import signal
from collections.abc import Iterator
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


@pytest.fixture(scope="session")
def shared_features(tmp_path_factory) -> Path:
    """Folder of the features that all modules and all pytest workers of this test run share.

    Features depend on no test: the first test that needs those of a set of videos computes them, and all others read
    them. No test changes a file in it.
    """
    base = tmp_path_factory.getbasetemp()
    folder = (base.parent if "PYTEST_XDIST_WORKER" in os.environ else base) / "features"
    folder.mkdir(exist_ok=True)
    return folder


@pytest.fixture(scope="module")
def own_runs(tmp_path_factory, shared_features) -> Iterator[Path]:
    """A runs folder for the tests of one module, no data folder, and nothing cached in this process.

    The folder holds no trial, and `features` in it is a link to the features that all modules share.
    """
    from sapnet_core.experiments import trial_data

    def forget():
        trial_data._data.cache_clear()
        trial_data._read_records.cache_clear()

    runs = tmp_path_factory.mktemp("runs")
    (runs / "features").symlink_to(shared_features)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("SAPNET_RUNS", str(runs))
        for name in ("SAPNET_DATA", "SAPNET_DASK", "SAPNET_CHECKPOINT"):
            patch.delenv(name, raising=False)
        forget()
        yield runs
        forget()
