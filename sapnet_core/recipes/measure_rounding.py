"""Measure how far rounding moves each system: train stored trials again with another order of sums.

    python -m sapnet_core recipe measure_rounding
    python -m sapnet_core recipe measure_rounding --older

Another kind of processor adds the same numbers in another order, because PyTorch, MKL and oneDNN choose their kernels
by its maker and its vector instructions. So the trials that another kind of processor stored are trained again on this
one, features included, while draws, data and code stay as they are, and so does the number format of a trial's
features. With `--older`, the variables of `kernels` make this processor use the kernels of an older one, so that trials
that it stored itself can be measured as well; this takes several times as long. Trials in bfloat16 are left out on a
processor that does not compute in it. The largest differences from the stored results are written to
`study/rounding.csv`, after each dataset and method; `experiments.verify` judges by them. A row that is there is kept,
unless more trials are asked for, and stored, than it rests on; to measure it anew, remove it.
New results are kept in `rounding` in the folder of runs, so that a measurement that was stopped goes on. The quickest
systems come first.
"""

import os
import sys
from argparse import Namespace
from collections.abc import Sequence
from itertools import chain

import pandas as pd
import torch

from sapnet_core.backbones.i3d import fast_dtype
from sapnet_core.backbones.registry import format_name
from sapnet_core.experiments.expected_time import expected_seconds
from sapnet_core.experiments.stored import stored_files
from sapnet_core.experiments.trial import Trial
from sapnet_core.experiments.verify import (
    COLUMNS,
    current_trials,
    difference,
    draw,
    facts,
    rounding_file,
    rounding_noise,
    stored_format,
    train_again,
)
from sapnet_core.runtime import environment
from sapnet_core.runtime.arguments import check_environment, unwritable
from sapnet_core.runtime.files import write_text
from sapnet_core.runtime.processor import processor_kind

__all__ = ["kernels", "noise_row", "store_row"]


def kernels() -> dict[str, str]:
    """The environment variables that make this processor use the kernels of an older one.

    They are read once, when the libraries are loaded. MKL accepts no level between COMPATIBLE and its own choice on
    AMD. oneDNN computes bfloat16 only from AVX-512 on, so a processor with bfloat16 instructions keeps AVX-512 and goes
    without those instructions alone.
    """
    isa = "AVX512_CORE" if fast_dtype("cpu") == torch.bfloat16 else "SSE41"
    return {"ATEN_CPU_CAPABILITY": "default", "MKL_CBWR": "COMPATIBLE", "ONEDNN_MAX_CPU_ISA": isa}


def noise_row(trials: Sequence[Trial], jobs: int) -> dict[str, object]:
    """Train stored trials of one dataset and method again, with the kernels that this process uses.

    Returns: a row of the table (`verify.COLUMNS`): the kind of processor whose kernels trained them again, the number
        of trials, the largest absolute difference of rho, and the largest root mean square difference of a trial's
        predictions, in standard deviations of the true scores.

    Raises:
        ValueError: the kernels are those of a stored trial, so that nothing is measured; or a result that was kept has
            features of another number format; or it scores other videos.
    """
    anew = train_again(trials, jobs, environment.runs() / "rounding")
    moved = []
    for trial, new in anew.items():
        old = stored_files(trial)
        there, here = facts(old), facts(new)
        if here["processor"] == there["processor"]:
            raise ValueError(
                f"no other kernels are there than those of the stored trials ({here['processor']}): measure on a "
                "processor with AVX2, by python -m sapnet_core recipe measure_rounding"
            )
        if here["numbers"] != there["numbers"]:
            raise ValueError(
                f"{environment.runs() / 'rounding'}: holds a result whose features are {here['numbers']}, but those of "
                f"the stored one are {there['numbers']}: remove this folder"
            )
        if (one := difference(old, new)) is None:
            raise ValueError(f"{trial}: the stored result has other videos or labels: restore it with git checkout")
        moved.append(one)
    values = processor_kind(), len(moved), max(one.rho for one in moved), max(one.relative for one in moved)
    return dict(zip(COLUMNS, (trials[0].dataset, trials[0].method, *values), strict=True))


def store_row(row: dict[str, object]) -> None:
    """Write a row to the table, in place of an earlier one of its dataset and method. Raises ValueError where the table
    was damaged."""
    table = pd.concat([_measured(), pd.DataFrame([row], columns=COLUMNS)])
    table = table.drop_duplicates(["dataset", "method"], keep="last").sort_values(["dataset", "method"])
    write_text(rounding_file(), table.to_csv(index=False, float_format="%.3g"))


def _measured() -> pd.DataFrame:
    """The table as it is, without rows where nothing was measured. Raises ValueError where it was damaged."""
    rounding_noise()
    return pd.read_csv(rounding_file()) if rounding_file().exists() else pd.DataFrame(columns=COLUMNS)


def main(asked: Namespace) -> None:
    """Measure and write the table row by row; with `--older`, start this program again with `kernels` first."""
    check_environment()
    if fault := unwritable(rounding_file().parent):
        raise ValueError(f"{rounding_file()} cannot be written: {fault}")
    if asked.older and not kernels().items() <= os.environ.items():
        os.execve(sys.executable, sys.orig_argv, {**os.environ, **kernels()})
    stored = [trial for trial in current_trials() if trial.dataset in asked.datasets]
    if not stored:
        raise ValueError(f"no trials of {', '.join(asked.datasets)} are stored: run python -m sapnet_core study first")
    kinds = _measurable(stored)
    there = _measured().set_index(["dataset", "method"]).trials.to_dict()
    drawn = []
    for kind, trials in kinds.items():
        if there.get(kind, 0) >= min(asked.trials, len(trials)):
            print(*kind, "was measured before", flush=True)
        else:
            drawn.append(draw(trials, asked.trials, seed=0))
    every = [*chain(*drawn)]
    seconds = dict(zip(every, expected_seconds(every), strict=True))
    # the quickest first, so that a measurement that is stopped has as many systems as its time allows
    for trials in sorted(drawn, key=lambda trials: sum(seconds[trial] for trial in trials)):
        row = noise_row(trials, asked.jobs or environment.jobs())
        store_row(row)
        print(*row.values(), flush=True)


def _measurable(stored: Sequence[Trial]) -> dict[tuple[str, str], list[Trial]]:
    """By dataset and method, the stored trials that can be trained again here with another order of sums.

    Where some of them have features in this processor's own number format, the others are left out, since the features
    of all videos are computed once for each format.

    Raises:
        ValueError: there is none.
    """
    kinds: dict[tuple[str, str], dict[str, list[Trial]]] = {}
    lacking = own = 0
    for trial in stored:
        numbers = stored_format(trial)
        if not numbers:
            lacking += 1
        elif facts(stored_files(trial))["processor"] == processor_kind():
            own += 1
        else:
            kinds.setdefault((trial.dataset, trial.method), {}).setdefault(numbers, []).append(trial)
    reasons = {"this processor lacks their number format": lacking, "this kind of processor stored them": own}
    for reason, many in reasons.items():
        if many:
            print(f"{many} of {len(stored)} stored trials are left out: {reason}", file=sys.stderr, flush=True)
    if not kinds:
        raise ValueError(
            "no stored trial can be trained again here with another order of sums: "
            "run python -m sapnet_core recipe measure_rounding --older, on a processor with AVX2"
        )
    return {kind: formats.get(format_name()) or [*chain(*formats.values())] for kind, formats in kinds.items()}
