"""A checkpoint that interrupts its training at a chosen optimizer step, as if the process was killed."""

from pathlib import Path

from sapnet_core.training.checkpoint import Checkpoint


class Killed(BaseException):
    """Stands in for SIGKILL: a BaseException, which no handler of `Exception` catches."""


class Mortal(Checkpoint):
    """Write the file after every optimizer step, and raise `Killed` after step `dies`; 0 never raises."""

    def __init__(self, file: Path | None = None, snapshot_count: int = 0, dies: int = 0):
        super().__init__(file, snapshot_count)
        self._every, self.dies = 0.0, dies

    def after_step(self, done, *rest):
        super().after_step(done, *rest)
        if done == self.dies:
            raise Killed
