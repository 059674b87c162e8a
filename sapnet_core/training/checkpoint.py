"""A training's checkpoint: a file from which a killed run resumes, and snapshots of the weights to choose a step from.

A resumed run ends with the same bits as one that was never stopped: the file holds the weights, Adam's moments, the
curve, the snapshots, and the states of all random generators and batch samplers.
"""

import json
import os
import sys
import time
from pathlib import Path

import torch
from torch import Tensor

from sapnet_core.runtime.disk import discard
from sapnet_core.runtime.fingerprint import code_digest, modules_in
from sapnet_core.runtime.sealed import Damaged, read_sealed, write_sealed
from sapnet_core.training.state import TrainingState, grouped

__all__ = ["Checkpoint", "Snapshot"]

Snapshot = tuple[int, dict[str, Tensor]]  # optimizer steps done, named weights on the CPU


class Checkpoint:
    """Resume file and snapshots of one training.

    Args:
        file: the file to resume from after a kill, written every `SAPNET_CHECKPOINT` seconds (60); its name must
            identify the training. None writes no file.
        snapshot_count: maximum number of snapshots, taken evenly over the steps; 0 takes none.

    Attributes:
        snapshots: the snapshots in order of their steps, the last step always among them. The first axis of the weights
            of stacked runs is the run.
    """

    def __init__(self, file: Path | None = None, snapshot_count: int = 0):
        self.file, self.snapshot_count = file, snapshot_count
        self.snapshots: list[Snapshot] = []
        self._every, self._saved = float(os.environ.get("SAPNET_CHECKPOINT") or 60), time.monotonic()

    def resume(self, state: TrainingState, optimizer: torch.optim.Optimizer) -> tuple[int, list[dict]]:
        """Restore the training from the file, before the first step.

        If there is a usable file, `state`, `optimizer` and the snapshots are set to its content. A file that is
        damaged, or was written by other code, another version of PyTorch or on another type of device, is ignored with
        a message on standard error.

        Returns:
            The number of steps already done, and their curve; (0, []) where there is no usable file.

        Raises:
            OSError: the file cannot be read at present, whether intact or not.
        """
        if self.file is None:
            return 0, []
        try:
            tensors, meta = read_sealed(self.file)
        except FileNotFoundError:
            return 0, []
        except Damaged as error:
            print(f"{error}: training starts from the beginning", file=sys.stderr, flush=True)
            discard(self.file)
            return 0, []
        if meta["written by"] != self._stamp(state):
            print(
                f"{self.file}: was left by other code, another torch or another device: "
                "training starts from the beginning",
                file=sys.stderr,
                flush=True,
            )
            return 0, []
        groups = grouped(tensors)
        state.restore(groups)
        moments = {int(i): {k: v.clone() for k, v in own.items()} for i, own in grouped(groups["adam"]).items()}
        optimizer.load_state_dict({**optimizer.state_dict(), "state": moments})
        self.snapshots = sorted(
            ((int(step), weights) for step, weights in grouped(groups.get("snapshots", {})).items()),
            key=lambda snapshot: snapshot[0],
        )
        return meta["done"], json.loads(meta["curve"])

    def after_step(
        self, done: int, steps: int, state: TrainingState, optimizer: torch.optim.Optimizer, curve: list[dict]
    ) -> None:
        """Take a snapshot and write the file where they are due; to be called after each of `steps` optimizer steps,
        `done` of which are done."""
        if self.snapshot_count and (done % -(-steps // self.snapshot_count) == 0 or done == steps):
            self.snapshots.append((done, {name: value.detach().cpu().clone() for name, value in state.weights.items()}))
        if self.file and done < steps and time.monotonic() - self._saved >= self._every:
            self._save(done, state, optimizer, curve)
            self._saved = time.monotonic()

    def run_snapshots(self, run: int) -> list[Snapshot]:
        """The snapshots of one of several stacked runs, by its index."""
        return [(done, {name: value[run] for name, value in weights.items()}) for done, weights in self.snapshots]

    def _save(self, done: int, state: TrainingState, optimizer: torch.optim.Optimizer, curve: list[dict]) -> None:
        tensors = state.tensors()
        for i, moments in optimizer.state_dict()["state"].items():
            tensors |= {f"adam/{i}/{name}": value for name, value in moments.items()}
        for step, weights in self.snapshots:
            tensors |= {f"snapshots/{step}/{name}": value for name, value in weights.items()}
        tensors = {name: value.detach().cpu().clone() for name, value in tensors.items()}
        meta = {"written by": self._stamp(state), "done": done, "curve": json.dumps(curve)}  # text keeps key order
        write_sealed(self.file, tensors, meta)

    def _stamp(self, state: TrainingState) -> list[str]:
        return [torch.__version__, state.device.type, _code()]


def _code() -> str:
    """Digest of the training code, because a run must not be resumed with other code."""
    return code_digest(*modules_in("methods", "sapnet", "training"))
