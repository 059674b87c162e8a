"""Train the two small trials that every run of the tests trains again, and store their results in the repository.

    python -m sapnet_core.recipes.store_small

Features are computed in float32, which every processor can repeat. Earlier results of the shelf are replaced.
"""

import os
import sys

import torch

from sapnet_core.experiments import stored
from sapnet_core.experiments.run import run_trials
from sapnet_core.experiments.small_trials import SMALL, small_trials
from sapnet_core.experiments.stored import store
from sapnet_core.recipes import command_lines
from sapnet_core.runtime import environment
from sapnet_core.runtime.arguments import check_environment
from sapnet_core.runtime.command_line import one_line_errors
from sapnet_core.runtime.disk import discard
from sapnet_core.runtime.progress import trial_bars
from sapnet_core.runtime.variables import variables

__all__ = ["main"]


@one_line_errors
def main(arguments: list[str] | None = None) -> None:
    """Command line: train, then replace the tables of the shelf."""
    args = command_lines.store_small().parse_args(arguments)
    check_environment()
    folder, trials = environment.runs() / "small", small_trials()
    with variables(SAPNET_RUNS=str(folder), SAPNET_DASK=""):
        with trial_bars() as bars:
            run_trials(trials, args.jobs or environment.jobs(), numbers=torch.float32, **bars)
        for table in stored.paths(SMALL):
            if os.path.lexists(table):
                discard(table)
        print(f"{store(trials, SMALL)} trials are stored in {stored.paths(SMALL)[0].parent}", flush=True)


if __name__ == "__main__":
    sys.exit(main())
