"""How nbval checks these notebooks: its kernels have the environment in which the stored outputs were made, whatever
the shell exports, and what differs from commit to commit is not compared."""

from contextlib import ExitStack
from pathlib import Path

from sapnet_core.runtime.kernels import clean_environment

within = ExitStack()


def pytest_configure(config):
    within.enter_context(clean_environment())
    # nothing to set where nbval is not installed, or where the command names a file of its own
    if not getattr(config.option, "nbval_sanitize_with", "absent"):
        config.option.nbval_sanitize_with = str(Path(__file__).with_name("nbval_sanitize.cfg"))


def pytest_unconfigure():
    within.close()
