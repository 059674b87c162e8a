"""Verify stored results: compare their metrics with their predictions, and train some of them again from nothing.

    python -m sapnet_core verify 5 --seed 7

On the same kind of processor and with the same versions, a training gives the same numbers bit for bit. Elsewhere sums
are rounded otherwise, and training amplifies this. How far it moves each system was measured
(`recipes.measure_rounding`), and a new result must lie within that noise.

Each trial's features are computed in the number format of the stored result (`stored_format`), float32 or bfloat16,
where this processor can compute in it, since another format moves a result more than the order of sums does.
"""

import json
import math
import random
import tempfile
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

import pandas as pd
import torch

from sapnet_core.backbones.i3d import fast_dtype
from sapnet_core.experiments import stored
from sapnet_core.experiments.result_files import FILES, parse_predictions, result_name
from sapnet_core.experiments.run import run_trials
from sapnet_core.experiments.stored import SMALL, stored_files, stored_names, stored_trials
from sapnet_core.experiments.trial import Trial
from sapnet_core.experiments.trial_metrics import score_metrics
from sapnet_core.runtime import environment
from sapnet_core.runtime.disk import must_be_writable
from sapnet_core.runtime.progress import progress_bar, trial_bars, waiting
from sapnet_core.runtime.variables import variables

__all__ = [
    "Agreement",
    "COLUMNS",
    "Difference",
    "Noise",
    "agreement",
    "current_trials",
    "difference",
    "draw",
    "facts",
    "inconsistency",
    "rounding_file",
    "rounding_noise",
    "stored_format",
    "train_again",
    "verify",
    "verify_small",
]

EQUAL, WITHIN, DIFFERS, OPEN = "equal bit for bit", "within rounding", "differs", "not decided"
# what a result's last digits depend on, beside the trial itself (`results.run_facts`)
FACTS = ("device", "processor", "numbers", "threads", "torch", "numpy")
# of the table of rounding noise; processor is the kind whose kernels trained the stored trials again
COLUMNS = ("dataset", "method", "processor", "trials", "rho", "relative")
# The next difference exceeds the largest of n once in n + 1 times: once in 21 for the 20 trials of most rows, once in 7
# where another kind of processor had stored 6. Hardly any exceeds twice the largest.
TIMES_NOISE = 2
# Stored predictions have six decimals and the stored metrics come from all digits, which moves a metric by less than
# this, or a metric above 1 by less than this part of it. Tables print three decimals.
TOLERANCE = 1e-5

Files = Mapping[str, bytes]  # content of each of `result_files.FILES`


class Difference(NamedTuple):
    """How far a new result is from the stored one.

    Attributes:
        rho: absolute difference of Spearman's rho.
        points: largest absolute difference of a prediction, in points.
        relative: root mean square of the differences of predictions, over the standard deviation of the true scores.
    """

    rho: float
    points: float
    relative: float


class Noise(NamedTuple):
    """Largest differences that another order of sums made to the trials of one system; fields as in `Difference`."""

    rho: float
    relative: float


# The noise of the small trials by method, one trial each, and therefore generous. Kernels without AVX moved I3D+MLP's
# rho by 0 and its predictions by at most 0.07 points. They moved SAP-Net's rho by 0.05 and its predictions by up to 7.5
# points; the kernels of AVX2 moved them by 0.03 and 3.9, since rounding may change which videos SAP-Net is confident
# of. On another kind of processor, an edit within this noise is therefore found only where the metrics contradict it.
SMALL_NOISE = {"mlp": Noise(rho=0.01, relative=0.005), "sap-net": Noise(rho=0.1, relative=0.5)}


class Agreement(NamedTuple):
    """How two results agree: `EQUAL`, `WITHIN`, `DIFFERS` or `OPEN`, with the reason ("" where it needs none)."""

    word: str
    reason: str = ""


def draw(trials: Iterable[Trial], count: int, seed: int) -> list[Trial]:
    """Draw trials at random, spread over datasets and methods.

    No trial is the second of its dataset and method before every pair of both has one, and the datasets take turns.

    Args:
        trials: the trials to draw from; their order does not matter.
        count: how many to draw; all, if there are fewer.
        seed: seed of the draw.
    """
    shuffled = sorted(trials, key=repr)
    random.Random(seed).shuffle(shuffled)
    drawn, rounds = Counter(), {}
    for trial in shuffled:
        lap = drawn[trial.dataset, trial.method]
        rounds[trial] = lap, drawn[trial.dataset, lap]
        drawn.update([(trial.dataset, trial.method), (trial.dataset, lap)])
    return sorted(shuffled, key=rounds.get)[:count]


def current_trials(shelf: str = "study") -> list[Trial]:
    """The trials in one of `stored.SHELVES` that can be trained again here: those whose hash follows from the present
    code, weights and data. Raises Damaged where the table of trials cannot be read."""
    names = stored_names(shelf)

    def current(trial: Trial) -> bool:
        try:
            return result_name(trial) in names
        except (OSError, ValueError):  # its dataset is not on this machine
            return False

    return [trial for trial in stored_trials(shelf) if current(trial)]


def inconsistency(files: Files, intervals: bool = False) -> str:
    """Compare the metrics of a result with those that follow from its predictions.

    Args:
        files: the files of the result.
        intervals: whether the ends of the interval are compared as well, which takes 0.1 to 0.3 s.

    Returns: "" if they agree, else the first metric that does not, with both values.
    """
    table, metrics = parse_predictions(files["predictions.csv"]), json.loads(files["metrics.json"])
    predicted, true = (torch.from_numpy(table[name].to_numpy(copy=True)) for name in ("predicted", "score"))
    # Predictions that became equal when they were rounded may have had either order: in that of the true scores, rho is
    # largest, and in the opposite order smallest. The shift is less than half a unit of the sixth decimal.
    shift = 4e-7 * (true - true.min()) / (true.max() - true.min())
    orders = [predicted + sign * shift for sign in ((0, 1, -1) if table["predicted"].duplicated().any() else (0,))]
    found = [score_metrics(order, true, intervals) for order in orders]
    for name in found[0]:
        values = [one[name] for one in found]
        slack = TOLERANCE * max(1.0, abs(values[0]))
        if not min(values) - slack <= metrics[name] <= max(values) + slack:
            return f"{name} is stored as {metrics[name]:.6g}, but its predictions give {values[0]:.6g}"
    return ""


def difference(old: Files, new: Files) -> Difference | None:
    """The difference of two results of one trial; None where they differ in more than their rounding could: in the
    scored videos, their true scores, or the number of labeled videos."""
    (was, was_metrics), (now, now_metrics) = (
        (parse_predictions(files["predictions.csv"]), json.loads(files["metrics.json"])) for files in (old, new)
    )
    if not was[["key", "score"]].equals(now[["key", "score"]]) or was_metrics["labeled"] != now_metrics["labeled"]:
        return None
    moved = now["predicted"] - was["predicted"]
    return Difference(
        abs(now_metrics["rho"] - was_metrics["rho"]),
        float(moved.abs().max()),
        math.sqrt((moved**2).mean()) / float(was["score"].std()),
    )


def agreement(old: Files, new: Files, noise: Noise | None) -> Agreement:
    """How a new result of a trial agrees with the stored one.

    Args:
        old, new: the files of both results.
        noise: the measured noise of this system; None if it was not measured.
    """
    if all(old[name] == new[name] for name in FILES if name != "run.json"):
        return Agreement(EQUAL)
    there, here = facts(old), facts(new)
    if there == here:
        return Agreement(DIFFERS, "the same processor gives the same bits")
    if (moved := difference(old, new)) is None:
        return Agreement(DIFFERS, "in its videos, true scores or labels")
    if there["numbers"] != here["numbers"]:
        return Agreement(OPEN, f"features are {there['numbers']} there and {here['numbers']} here")
    if noise is None:
        return Agreement(OPEN, "no measured noise for this system")
    for name, told in (("rho", "rho"), ("relative", "predictions, in deviations of the scores,")):
        if (found := getattr(moved, name)) > (limit := TIMES_NOISE * getattr(noise, name)):
            return Agreement(DIFFERS, f"{told} by {found:.2g}, where rounding explains {limit:.2g}")
    return Agreement(WITHIN)


def rounding_file() -> Path:
    """The table of the measured noise, beside the stored results; it may not exist."""
    return stored.FOLDER / "rounding.csv"


def rounding_noise() -> dict[tuple[str, str], Noise]:
    """The measured noise: (dataset, method) -> noise; empty if nothing was measured.

    Raises:
        ValueError: the table was damaged.
    """
    file = rounding_file()
    if not file.exists():
        return {}
    try:
        table = pd.read_csv(
            file, dtype={**dict.fromkeys(COLUMNS[:3], str), "trials": int, "rho": float, "relative": float}
        )
        noise = {(row.dataset, row.method): Noise(row.rho, row.relative) for row in table.itertuples()}
        if tuple(table.columns) != COLUMNS or not all(0 <= x < math.inf for one in noise.values() for x in one):
            raise ValueError(f"it needs the columns {', '.join(COLUMNS)} with numbers of at least 0")
    except (ValueError, AttributeError) as error:
        fault = " ".join(str(error).split())[:200]
        raise ValueError(f"{file}: was damaged or edited ({fault}): restore it with git checkout") from None
    return noise


def stored_format(trial: Trial, shelf: str = "") -> str:
    """The number format in which the features of a stored trial were computed, one of `environment.NUMBERS`; "" where
    this processor cannot repeat it.

    Every processor computes features in float32, and only one whose own format is bfloat16 computes them in that. A
    backbone that is trained computes in the processor's own format alone.
    """
    numbers, own = facts(stored_files(trial, shelf))["numbers"], str(fast_dtype("cpu")).removeprefix("torch.")
    return numbers if numbers == own or (numbers == "float32" and trial.backbone_training == "frozen") else ""


def train_again(trials: Sequence[Trial], jobs: int, runs: Path, shelf: str = "") -> dict[Trial, dict[str, bytes]]:
    """Train stored trials on this machine, from their annotations on; stored results are not used. Progress goes to
    standard error.

    Features have the number format of the stored result, or this processor's own where it lacks that.

    Args:
        trials: the trials.
        jobs: number of processes.
        runs: the folder of runs in which features and results are computed.
        shelf: where they are stored, as for `stored_files`.

    Returns: the files of each new result.
    """
    formats: dict[str, list[Trial]] = {}
    for trial in trials:
        formats.setdefault(stored_format(trial, shelf), []).append(trial)
    folders: dict[Trial, Path] = {}
    for numbers, alike in formats.items():
        with (
            variables(SAPNET_RUNS=str(runs), SAPNET_RECOMPUTE="1", SAPNET_DASK="", SAPNET_NUMBERS=numbers),
            trial_bars() as bars,
        ):
            folders |= zip(alike, run_trials(alike, jobs, **bars), strict=True)
    return {trial: {name: (folders[trial] / name).read_bytes() for name in FILES} for trial in trials}


def verify(count: int, seed: int, jobs: int, datasets: Sequence[str]) -> int:
    """Verify the stored results: print one line for each that was drawn or is wrong, and a summary.

    The metrics of all stored trials of `current_trials` are compared with their predictions. Then `count` of them,
    drawn by `draw`, are trained again in an empty folder, which is removed afterwards.

    Args:
        count: how many trials to train.
        seed: seed of the draw.
        jobs: number of processes.
        datasets: whose trials are drawn. Features are computed for all videos of each, which takes most of the time.

    Returns:
        1 if a trial differs, else 0.

    Raises:
        ValueError: no trial is stored that can be trained here, or a stored table was damaged.
        OSError: the folder of runs cannot be written.
    """
    noise = rounding_noise()
    with waiting("looking for stored trials"):
        trials, total = current_trials(), len(stored_names())
    if not trials:
        found = f"none of the {total} trials in it belongs to this code, these weights and this data" if total else ""
        raise ValueError(
            f"{stored.FOLDER}: {found or 'no trials are stored'}: restore it with git checkout, or make it with "
            "python -m sapnet_core study"
        )
    drawn = draw([trial for trial in trials if trial.dataset in datasets], count, seed)
    if not drawn:
        raise ValueError(f"no trials of {' or '.join(datasets)} are stored: choose other --datasets")
    known = {trial: noise.get((trial.dataset, trial.method)) for trial in drawn}
    return _verified(trials, known, jobs, "", f"trials, drawn with seed {seed},")


def verify_small(jobs: int) -> int:
    """Verify the trials of the shelf `SMALL`, as `verify` does, and compare them by `SMALL_NOISE`.

    Args:
        jobs: number of processes.

    Returns:
        1 if a trial differs, else 0.

    Raises:
        ValueError: not all of them belong to this code, or a stored table was damaged.
        OSError: the folder of runs cannot be written.
    """
    trials, total = current_trials(SMALL), len(stored_names(SMALL))
    if not trials or len(trials) < total:
        found = f"{len(trials)} of the {total} trials in it belong to this code" if total else "no trials are stored"
        raise ValueError(
            f"{stored.folder(SMALL)}: {found}: restore it with git checkout, or, after a change of the code that "
            "changes results, make it with python -m sapnet_core recipe store_small"
        )
    known = {trial: SMALL_NOISE.get(trial.method) for trial in trials}
    return _verified(trials, known, jobs, SMALL, "small trials")


def _verified(trials: Sequence[Trial], known: Mapping[Trial, Noise | None], jobs: int, shelf: str, told: str) -> int:
    """Compare the metrics of stored trials with their predictions, train those of `known` again, and compare them by
    the noise that is given for each. Prints one line a trial and a summary, in which `told` follows their number."""
    faults = _inconsistencies(trials, known, shelf)
    for trial, fault in faults.items():
        print(f"{result_name(trial)}: {fault}: {DIFFERS}", flush=True)
    agree = len(trials) - len(faults)
    print(f"{agree} of {len(trials)} stored trials have the metrics that follow from their predictions", flush=True)
    must_be_writable(environment.runs())
    with tempfile.TemporaryDirectory(prefix="verify-", dir=environment.runs()) as empty:
        anew = train_again([*known], jobs, Path(empty), shelf)
    counts = Counter(
        [_compared(trial, stored_files(trial, shelf), anew[trial], noise) for trial, noise in known.items()]
    )
    words = ", ".join(f"{counts[one]} {one}" for one in (EQUAL, WITHIN, OPEN, DIFFERS) if counts[one])
    print(f"{len(known)} {told} were trained again: {words}", flush=True)
    return int(bool(faults) or DIFFERS in counts)


def _inconsistencies(trials: Sequence[Trial], drawn: Iterable[Trial], shelf: str) -> dict[Trial, str]:
    """Each trial whose stored metrics do not follow from its predictions -> the fault; the intervals of the drawn ones
    are compared as well."""
    found, whole, report = {}, {*drawn}, progress_bar("stored metrics", "trials")
    report(0, len(trials))
    for done, trial in enumerate(trials, 1):
        if fault := inconsistency(stored_files(trial, shelf), trial in whole):
            found[trial] = fault
        report(done, len(trials))
    return found


def _compared(trial: Trial, old: Files, new: Files, noise: Noise | None) -> str:
    """Print how the new result of one trial agrees with the stored one, and return it as one word of `Agreement`."""
    (word, reason), moved = agreement(old, new, noise), difference(old, new)
    was, now = (json.loads(files["metrics.json"])["rho"] for files in (old, new))
    there, here = facts(old), facts(new)
    where = ", ".join(f"other {name}" for name in FACTS if there[name] != here[name]) or "same processor and versions"
    apart = f"predictions apart by up to {moved.points:.3g} points" if moved else "other videos or labels"
    told = f"{word} ({reason})" if reason else word
    print(f"{result_name(trial)}: rho {was:.4f} stored, {now:.4f} now; {apart}; {where}: {told}", flush=True)
    return word


def facts(files: Files) -> dict[str, object]:
    """What the last digits of a result depend on, by the names in `FACTS`."""
    run = json.loads(files["run.json"])
    return {name: run[name] for name in FACTS}
