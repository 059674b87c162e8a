"""A checkpoint whose training dies at a chosen step, as if it was killed."""

from pathlib import Path

from sapnet_core.training.checkpoint import Checkpoint


class Killed(BaseException):
    """What no one catches, as SIGKILL."""


class Mortal(Checkpoint):
    """Writes its file after every step, and dies after step `dies`; 0 lets it live."""

    def __init__(self, file: Path | None = None, snapshot_count: int = 0, dies: int = 0):
        super().__init__(file, snapshot_count)
        self._every, self.dies = 0.0, dies

    def after_step(self, done, *rest):
        super().after_step(done, *rest)
        if done == self.dies:
            raise Killed
