"""nbval's kernels have the environment in which the stored outputs were made, whatever the shell exports."""

from contextlib import ExitStack

from sapnet_core.runtime.kernels import clean_environment

within = ExitStack()


def pytest_configure():
    within.enter_context(clean_environment())


def pytest_unconfigure():
    within.close()
