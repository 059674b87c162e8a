"""What a training keeps on its way: weights of earlier steps, from which one may be chosen when it is over."""

from collections.abc import Mapping, Sequence

from torch import Tensor

__all__ = ["Keep", "LOOKS"]

LOOKS = 20  # a run, where a step is to be chosen

State = Mapping[str, Tensor]
Snapshot = tuple[int, dict[str, Tensor]]


class Keep:
    """Given to a method's `fit`, which hands it on to `fit_steps` or `fit_stacked`.

    Attributes:
        looks: at most so many times a run its weights are kept, evenly; 0 keeps none.
        snapshots: (optimizer steps done, named weights on the CPU) in order; the last step is always among them. The
            first axis of a stack's weights are its runs.
    """

    def __init__(self, looks: int = 0, snapshots: Sequence[Snapshot] = ()):
        self.looks, self.snapshots = looks, list(snapshots)

    def after(self, done: int, steps: int, state: State) -> None:
        """Called by the training after each of `steps` steps, with how many are `done` and all that learns, by name."""
        if self.looks and (done % -(-steps // self.looks) == 0 or done == steps):
            self.snapshots.append((done, {name: value.detach().cpu().clone() for name, value in state.items()}))

    def of_run(self, run: int) -> "Keep":
        """What was kept of one run of a stack."""
        return Keep(self.looks, [(done, {k: v[run] for k, v in state.items()}) for done, state in self.snapshots])
