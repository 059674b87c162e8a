"""Environment variables that are set for a part of a run."""

import os
from collections.abc import Iterator
from contextlib import contextmanager

__all__ = ["variables"]


@contextmanager
def variables(**values: str) -> Iterator[None]:
    """Set environment variables within the block, and restore them afterwards."""
    before = {name: os.environ.get(name) for name in values}
    os.environ.update(values)
    try:
        yield
    finally:
        for name, value in before.items():
            if value is None:
                os.environ.pop(name, None)
            else:
                os.environ[name] = value
