"""Train the two small trials that every run of the tests trains again, and store their results in the repository.

    python -m sapnet_core recipe store_small

Features are computed in float32, which every processor can repeat. Earlier results of the shelf are replaced. A change
of the code that changes results gives the trials new hashes; they are then stored anew by this command.
"""

from argparse import Namespace

from sapnet_core.experiments.declare import declare
from sapnet_core.experiments.profiles import get_profile
from sapnet_core.experiments.run import run_trials
from sapnet_core.experiments.stored import SMALL, folder, store
from sapnet_core.experiments.systems import OURS
from sapnet_core.experiments.trial import Trial
from sapnet_core.runtime import environment
from sapnet_core.runtime.arguments import check_environment
from sapnet_core.runtime.disk import discard
from sapnet_core.runtime.progress import trial_bars
from sapnet_core.runtime.variables import variables

__all__ = ["main", "small_trials"]


def small_trials() -> list[Trial]:
    """The trials: SAP-Net on dives at the smallest label share, and I3D+MLP on other dives with all labels."""
    smoke = get_profile("smoke")
    return [declare("mtl-aqa", OURS, 0.1, 0, smoke), declare("finediving", "I3D+MLP", 1.0, 0, smoke)]


def main(asked: Namespace) -> None:
    """Train, then replace the tables of the shelf."""
    check_environment()
    runs = str(environment.runs() / "small")
    # the trials are those of twins and the shipped weights, whatever the user has set
    with variables(SAPNET_RUNS=runs, SAPNET_DASK="", SAPNET_DATA="", SAPNET_I3D="", SAPNET_NUMBERS="float32"):
        trials = small_trials()
        with trial_bars() as bars:
            run_trials(trials, asked.jobs or environment.jobs(), **bars)
        discard(folder(SMALL))
        print(f"{store(trials, SMALL)} trials are stored in {folder(SMALL)}", flush=True)
