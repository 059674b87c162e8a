"""Score failed dives of other twins with the systems of the paper's Figure 14, since its test part here holds none.

The paper says that the largest error is made on a dive that is judged 0 (claims `fig14-zero`, `fig14-others-too`).
Which dives, which systems and which rule answer this is in `study/plan.md`: the first 20 dives that are judged 0 among
the drawn annotations of twins that nothing else uses, the stored trials that the two claims name, each dive added alone
to the test part.

Every trial is trained again, as it was, on features in the number format of its stored result. Its predictions on the
test part are compared with the stored ones, then it scores the failed dives, which no training sees. On the same kind
of processor and with the same versions the predictions must be equal; elsewhere sums are rounded otherwise, and the
largest difference is written beside the scores. The results are in `experiments/failed_dives.csv`; rows of trials that
are stored are kept, so that a run that was stopped goes on. To score with a trial anew, remove its rows.

    python -m sapnet_core recipe look_at_failed_dives

SAP-Net was trained on a processor with AVX2. One with AVX-512 gave equal predictions when it used the same kernels, for
the features too, in a folder of runs of its own (`SAPNET_RUNS`):

    ATEN_CPU_CAPABILITY=avx2 ONEDNN_MAX_CPU_ISA=AVX2 python -m sapnet_core recipe look_at_failed_dives
"""

import sys
from argparse import Namespace
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from itertools import count

import numpy as np
import pandas as pd
import torch

from sapnet_core.datasets.records import Record
from sapnet_core.experiments.failed_dives import COLUMNS, FAILED_DIVES
from sapnet_core.experiments.fit import training_task
from sapnet_core.experiments.profiles import PROFILES, with_second_look
from sapnet_core.experiments.record_features import record_features
from sapnet_core.experiments.result_files import parse_predictions, result_name
from sapnet_core.experiments.stored import stored_files, stored_names
from sapnet_core.experiments.systems import OURS
from sapnet_core.experiments.tables import declared_trials
from sapnet_core.experiments.trial import Trial
from sapnet_core.experiments.trial_data import TrialData, digested_records, prepare_trials, trial_data
from sapnet_core.experiments.verify import facts, stored_format
from sapnet_core.features.store import Features
from sapnet_core.recipes import calibrate_simulator, tune_methods
from sapnet_core.runtime import environment
from sapnet_core.runtime.arguments import check_environment, unwritable
from sapnet_core.runtime.devices import torch_threads
from sapnet_core.runtime.executors import reach_cluster, run_tasks
from sapnet_core.runtime.files import write_text
from sapnet_core.runtime.processor import processor_kind
from sapnet_core.runtime.progress import trial_bars
from sapnet_core.runtime.variables import variables

__all__ = ["CELLS", "DIVES", "failed_dives", "failed_rows", "stored_cells", "with_failed_dives"]

# table or figure, row and column of the cells that the two claims name
CELLS = (("fig14", OURS, "40%"), *(("IV", system, "supervised") for system in ("HGCN", "TAP", "PCLN")))
DIVES = 20
USED = {0, tune_methods.TWIN_SEED, calibrate_simulator.TWIN_SEED}  # twin seeds of the tables and of other recipes
ROUNDED = 1e-5  # points; stored predictions have six decimals

Dives = Sequence[tuple[int, Record]]  # twin seed and record of each


def failed_dives() -> list[tuple[int, Record]]:
    """The first `DIVES` dives that are judged 0, with their twin seeds: in the order of twin seeds that nothing else
    uses, and of keys, over training and test part of the annotations drawn at the official size."""
    found: list[tuple[int, Record]] = []
    for twin_seed in count():
        if twin_seed not in USED:
            records, _ = digested_records("mtl-aqa", "drawn", None, None, twin_seed)
            found += [(twin_seed, record) for record in records if record.score == 0]
        if len(found) >= DIVES:
            return found[:DIVES]


def stored_cells() -> dict[str, tuple[str, Trial]]:
    """The stored trials of `CELLS`, with all their stored seeds: name of the trial -> system and trial."""
    profile, names = with_second_look(PROFILES["study"]), stored_names()
    found = {}
    for table, row, column in CELLS:
        for (system, of, _), trial in declared_trials(table, profile).items():
            one = replace(trial, source="drawn", boxes="true")  # also where the user has real data
            if (system, of) == (row, column) and (name := result_name(one)) in names:
                found[name] = system, one
    return found


def with_failed_dives(data: TrialData, dives: Dives) -> TrialData:
    """The data of a trial with failed dives behind its own records, as test videos, so that no training sees them.

    Args:
        data: the data of a trial that learns from whole frames and actor crops.
        dives: twin seed and record of each dive; its features are computed in the same way as those of the trial.
    """

    def read() -> Features:
        own, parts = data.features, []
        for twin_seed in dict.fromkeys(seed for seed, _ in dives):
            records = [record for seed, record in dives if seed == twin_seed]
            parts.append(record_features(replace(data.trial, twin_seed=twin_seed), records))
        every = [own, *parts]
        return replace(
            own,
            keys=tuple(key for part in every for key in part.keys),
            views={view: torch.cat([part.views[view] for part in every]) for view in own.views},
            **{name: torch.cat([getattr(part, name) for part in every]) for name in ("subactions", "factors")},
        )

    records = [record for _, record in dives]
    return replace(
        data,
        records=(*data.records, *records),
        read=read,
        score=torch.cat([data.score, torch.tensor([r.sub_score(data.trial.sub_score) for r in records])]),
        difficulty=torch.cat([data.difficulty, torch.tensor([r.difficulty for r in records])]),
        train=torch.cat([data.train, torch.zeros(len(records), dtype=torch.bool)]),
    )


def failed_rows(system: str, trial: Trial, dives: Dives) -> list[dict[str, object]]:
    """Train a stored trial again, compare its predictions on the test part with the stored ones, and score the dives.

    Returns:
        A row of the table (`failed_dives.COLUMNS`) for each dive.

    Raises:
        ValueError: the test part differs from the stored one, or its predictions do on the same kind of processor.
    """
    stored = stored_files(trial)
    known = parse_predictions(stored["predictions.csv"])
    with torch_threads(1), torch.no_grad():
        data = trial_data(trial)
        task = training_task(trial, with_failed_dives(data, dives))
        with torch.enable_grad():
            fitted = task.selected(task.fit(), trial.select)
        tested, own = (task.roles.scored[part] for part in (slice(None, -len(dives)), slice(-len(dives), None)))
        if [data.records[i].key for i in tested] != known["key"].tolist():
            raise ValueError(f"{result_name(trial)}: the test part is not that of the stored result")
        apart = float((task.predict(fitted, tested).double() - torch.tensor(known["predicted"].tolist())).abs().max())
        predicted = task.predict(fitted, own).tolist()
    if apart > ROUNDED and facts(stored) == _facts_here(stored_format(trial)):
        raise ValueError(f"{result_name(trial)}: its predictions are {apart:.3g} points apart from the stored ones")
    rows = []
    for (twin_seed, record), points in zip(dives, predicted, strict=True):
        of_dive = twin_seed, record.key, record.difficulty, round(points, 4)
        values = system, trial.share, trial.seed, *of_dive, round(apart, 6), result_name(trial)
        rows.append(dict(zip(COLUMNS, values, strict=True)))
    return rows


def _facts_here(numbers: str) -> dict[str, object]:
    """What the last digits of a training depend on here, as `verify.facts` gives it of a stored one."""
    versions = {"torch": torch.__version__, "numpy": np.__version__}
    return {"device": "cpu", "processor": processor_kind(), "numbers": numbers, "threads": 1, **versions}


def _table(cells: Iterable[str], rows: Mapping[str, list[dict]]) -> pd.DataFrame:
    """The rows of all trials that have some, in the order of `cells`, the names of the trials."""
    return pd.DataFrame([row for name in cells for row in rows.get(name, ())], columns=COLUMNS)


def main(asked: Namespace) -> None:
    """Score the failed dives with every trial that the table lacks, and write the table after each."""
    check_environment()
    reach_cluster()
    if fault := unwritable(FAILED_DIVES.parent):
        raise ValueError(f"{FAILED_DIVES} cannot be written: {fault}")
    cells, dives, jobs = stored_cells(), failed_dives(), asked.jobs or environment.jobs()
    there = pd.read_csv(FAILED_DIVES, dtype={"key": str}) if FAILED_DIVES.exists() else pd.DataFrame(columns=COLUMNS)
    rows = {name: part.to_dict("records") for name, part in there.groupby("trial")}
    formats: dict[str, list[tuple[str, Trial]]] = {}
    for name, (system, trial) in cells.items():
        if len(rows.get(name, ())) != len(dives):
            formats.setdefault(stored_format(trial), []).append((system, trial))
    if other := formats.pop("", []):
        print(f"{len(other)} trials are left out: this processor lacks their number format", file=sys.stderr)
    for numbers, missing in formats.items():
        with variables(SAPNET_NUMBERS=numbers), trial_bars() as bars:
            prepare_trials([trial for _, trial in missing], jobs, progress=bars["videos"])
            bars["progress"](0, len(missing))
            tasks = [(system, trial, dives) for system, trial in missing]
            for done, (_, _, found) in enumerate(run_tasks(failed_rows, tasks, jobs), 1):
                rows[found[0]["trial"]] = found
                write_text(FAILED_DIVES, _table(cells, rows).to_csv(index=False))
                bars["progress"](done, len(missing))
    print(
        _table(cells, rows).groupby(["system", "seed"], sort=False)[["predicted", "apart"]].agg(["min", "mean", "max"])
    )
