"""What a training keeps: weights of earlier steps, to choose from when it is over, and a file to go on from if killed.

A run that goes on from its file ends with the same bits as one that was never stopped: weights, Adam's moments, the
curve and the state of torch's random numbers are read back, and the batches of the steps that are done are drawn again.
"""

import json
import os
import sys
import time
from collections.abc import Mapping, Sequence
from pathlib import Path

import torch
from torch import Tensor

from sapnet_core.runtime.disk import discard
from sapnet_core.runtime.fingerprint import code_digest, modules_in
from sapnet_core.runtime.sealed import Damaged, read_sealed, write_sealed

__all__ = ["Keep", "LOOKS"]

LOOKS = 20  # a run, where a step is to be chosen

State = Mapping[str, Tensor]
Snapshot = tuple[int, dict[str, Tensor]]


class Keep:
    """Given to a method's `fit`, which hands it on to `fit_steps` or `fit_stacked`.

    Attributes:
        looks: at most so many times a run its weights are kept, evenly; 0 keeps none.
        file: where to go on from after a kill, written every `SAPNET_CHECKPOINT` seconds (60); its name tells which
            training it belongs to. None writes nothing.
        snapshots: (optimizer steps done, named weights on the CPU) in order; the last step is always among them. The
            first axis of a stack's weights are its runs.
    """

    def __init__(self, looks: int = 0, file: Path | None = None, snapshots: Sequence[Snapshot] = ()):
        self.looks, self.file, self.snapshots = looks, file, list(snapshots)
        self._every, self._saved = float(os.environ.get("SAPNET_CHECKPOINT") or 60), time.monotonic()

    def begin(self, state: State, optimizer: torch.optim.Optimizer) -> tuple[int, list[dict]]:
        """Called before the first step: steps that are done already, and their curve.

        Args:
            state: all that learns, live, by name; after a kill it is filled from the file, and so is the optimizer.
                A file that is damaged, or was left by other code, another torch or another device, is not used, which
                is said on standard error.

        Raises:
            OSError: the file cannot be read just now, be it whole or not.
        """
        if self.file is None:
            return 0, []
        try:
            tensors, meta = read_sealed(self.file)
        except FileNotFoundError:
            return 0, []
        except Damaged as error:
            print(f"{error}: the training begins anew", file=sys.stderr, flush=True)
            discard(self.file)
            return 0, []
        if meta["written by"] != self._stamp(state):
            print(
                f"{self.file}: was left by other code, another torch or another device: the training begins anew",
                file=sys.stderr,
                flush=True,
            )
            return 0, []
        parts = _grouped(tensors)
        with torch.no_grad():
            for name, value in parts["state"].items():
                state[name].copy_(value)
        moments = {int(i): {k: v.clone() for k, v in own.items()} for i, own in _grouped(parts["adam"]).items()}
        optimizer.load_state_dict({**optimizer.state_dict(), "state": moments})
        torch.set_rng_state(parts["rng"]["cpu"])
        if "cuda" in parts["rng"]:
            torch.cuda.set_rng_state(parts["rng"]["cuda"], _device(state))
        self.snapshots = [(int(done), kept) for done, kept in _grouped(parts.get("kept", {})).items()]
        self.snapshots.sort(key=lambda snapshot: snapshot[0])
        return meta["done"], json.loads(meta["curve"])

    def after(self, done: int, steps: int, state: State, optimizer: torch.optim.Optimizer, curve: list[dict]) -> None:
        """Called by the training after each of `steps` steps, with how many are `done`."""
        if self.looks and (done % -(-steps // self.looks) == 0 or done == steps):
            self.snapshots.append((done, {name: value.detach().cpu().clone() for name, value in state.items()}))
        if self.file and done < steps and time.monotonic() - self._saved >= self._every:
            self._save(done, state, optimizer, curve)
            self._saved = time.monotonic()

    def of_run(self, run: int) -> "Keep":
        """What was kept of one run of a stack."""
        snapshots = [(done, {k: v[run] for k, v in state.items()}) for done, state in self.snapshots]
        return Keep(self.looks, snapshots=snapshots)

    def _save(self, done: int, state: State, optimizer: torch.optim.Optimizer, curve: list[dict]) -> None:
        tensors = {f"state/{name}": value for name, value in state.items()}
        for i, moments in optimizer.state_dict()["state"].items():
            tensors |= {f"adam/{i}/{name}": value for name, value in moments.items()}
        for step, kept in self.snapshots:
            tensors |= {f"kept/{step}/{name}": value for name, value in kept.items()}
        tensors["rng/cpu"] = torch.get_rng_state()
        if _device(state).type == "cuda":
            tensors["rng/cuda"] = torch.cuda.get_rng_state(_device(state))
        tensors = {name: value.detach().cpu().clone() for name, value in tensors.items()}
        meta = {"written by": self._stamp(state), "done": done, "curve": json.dumps(curve)}  # text keeps the order
        write_sealed(self.file, tensors, meta)

    def _stamp(self, state: State) -> list[str]:
        return [torch.__version__, _device(state).type, _code()]


def _device(state: State) -> torch.device:
    return next(iter(state.values())).device


def _grouped(tensors: State) -> dict[str, dict[str, Tensor]]:
    """From a/b/c to a dictionary a of b/c."""
    groups: dict[str, dict[str, Tensor]] = {}
    for name, value in tensors.items():
        first, _, rest = name.partition("/")
        groups.setdefault(first, {})[rest] = value
    return groups


def _code() -> str:
    """Hash of the program that trains: half of a run by other code would be a run of neither."""
    return code_digest(*modules_in("methods", "sapnet", "training"))
