"""Trials: one training run as a value, its result on disk, read if it is there and run if it is not.

A `Trial` is frozen; its hash, taken over its fields and over everything its data are made of, names a folder with
`config.json`, `metrics.json`, `predictions.csv`, `curves.csv` and `run.json` (seconds and versions, kept apart so that
`metrics.json` is the same in every run). A folder is written beside and renamed, so it is whole or absent.
"""

import hashlib
import json
import os
import shutil
import tempfile
import time
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import Executor, ProcessPoolExecutor, as_completed
from dataclasses import asdict, dataclass, fields
from functools import lru_cache
from multiprocessing import get_context
from pathlib import Path

import pandas as pd
import torch

from sapnet_core import paths
from sapnet_core.data import Record
from sapnet_core.data.features import Features, features_digest, twin_features
from sapnet_core.data.source import records_digest, source_records
from sapnet_core.data.split import label_split, visible_scores
from sapnet_core.methods import Fitted, TrainSet, get_method
from sapnet_core.metrics import bootstrap_interval, relative_l2, spearman
from sapnet_core.storage import read_json

__all__ = ["Trial", "TrialData", "trial_data", "trial_hash", "trial_folder", "run_trial", "run_trials", "results",
           "predictions", "curves", "fit_trial"]  # fmt: skip

FORMAT = 4  # raise when a change of code changes results: earlier trials are then run again


@dataclass(frozen=True)
class Trial:
    """One training run.

    Attributes:
        dataset: "mtl-aqa" or "finediving".
        source: "drawn" (annotations drawn by the simulator) or "official" (the files below `SAPNET_DATA`).
        method: a name in `sapnet_core.methods`.
        share: labeled share of the training videos, in (0, 1]; 1 is the supervised column.
        seed: draws labeled samples, weights and batches; equal seeds share labeled samples across methods.
        target: "execution" (learn score / difficulty, multiply the prediction by difficulty) or "score".
        train, test: videos of each split, None for the official sizes.
        steps: optimizer steps.
        size: frame size in pixels.
        twin_seed: seed of the drawn annotations and of the rendered twins.
        part: "test", or "validation": a quarter of the training videos is kept out and scored instead (for tuning).
        overrides: settings of the method that differ from its defaults, as sorted pairs.
    """

    dataset: str
    source: str
    method: str
    share: float
    seed: int
    target: str
    train: int | None
    test: int | None
    steps: int
    size: int = 112
    twin_seed: int = 0
    part: str = "test"
    overrides: tuple[tuple[str, object], ...] = ()

    def __post_init__(self):
        if not 0 < self.share <= 1:
            raise ValueError(f"share={self.share} must lie in (0, 1]")
        for name, known in (("source", ("drawn", "official")), ("target", ("execution", "score")),
                            ("part", ("test", "validation"))):  # fmt: skip
            if getattr(self, name) not in known:
                raise ValueError(f"{name}={getattr(self, name)!r} is unknown: choose one of {', '.join(known)}")
        object.__setattr__(self, "overrides", tuple(sorted((str(k), v) for k, v in self.overrides)))


@dataclass(frozen=True)
class TrialData:
    """Records of one dataset in key order with their features; tensors share the first axis."""

    records: tuple[Record, ...]
    features: Features
    score: torch.Tensor  # (N,)
    difficulty: torch.Tensor  # (N,)
    train: torch.Tensor  # (N,) bool


@lru_cache(maxsize=4)
def _records(dataset: str, source: str, train: int | None, test: int | None, twin_seed: int) -> tuple[Record, ...]:
    data = paths.data_root() if source == "official" else None
    if source == "official" and data is None:
        raise FileNotFoundError("this trial needs official annotation files: set SAPNET_DATA to their folder")
    return tuple(source_records(dataset, train, test, twin_seed, data, paths.runs() / "annotations"))


@lru_cache(maxsize=4)
def _data(dataset, source, train, test, twin_seed, size, jobs, device) -> TrialData:
    records = _records(dataset, source, train, test, twin_seed)
    features = twin_features(
        records, seed=twin_seed, size=size, folder=paths.runs() / "features", jobs=jobs, device=device
    )
    column = {name: torch.tensor([getattr(r, name) for r in records]) for name in ("score", "difficulty")}
    return TrialData(records, features, **column, train=torch.tensor([r.split == "train" for r in records]))


def trial_data(trial: Trial, jobs: int = 1, device: str = "cpu") -> TrialData:
    """Records and features of a trial's dataset; features are computed once and then read."""
    t = trial
    return _data(t.dataset, t.source, t.train, t.test, t.twin_seed, t.size, jobs, device)


def trial_hash(trial: Trial) -> str:
    """16 hex digits over the trial's fields, its records, its simulator settings and its backbone's weights."""
    t = trial
    records = _records(t.dataset, t.source, t.train, t.test, t.twin_seed)
    features = features_digest(t.dataset, seed=t.twin_seed, size=t.size)
    parts = [FORMAT, asdict(t), records_digest(list(records)), features]
    return hashlib.sha256(json.dumps(parts, sort_keys=True).encode()).hexdigest()[:16]


def trial_folder(trial: Trial) -> Path:
    """Where the trial's result lies, or will."""
    return paths.runs() / "trials" / f"{trial.dataset}-{trial.method}-{trial_hash(trial)}"


def _split(trial: Trial, data: TrialData) -> tuple[torch.Tensor, torch.Tensor]:
    """Indices of the videos to learn from and of the videos to score."""
    train, test = torch.nonzero(data.train).flatten(), torch.nonzero(~data.train).flatten()
    if trial.part == "test":
        return train, test
    order = train[torch.randperm(len(train), generator=torch.Generator().manual_seed(trial.seed))]
    cut = len(train) // 4
    return order[cut:].sort().values, order[:cut].sort().values


def train_set(trial: Trial, data: TrialData, learn: torch.Tensor, labeled: torch.Tensor) -> TrainSet:
    """What the trial's method may see.

    Args:
        learn: (n,) indices of the videos to learn from.
        labeled: (n,) bool; the scores of the others are not read but to be hidden.
    """
    frame, actor = (view[learn] for view in _standardized(data, learn))
    y = visible_scores([data.records[i] for i in learn], labeled) / _unit(trial, data)[learn]
    return TrainSet(frame, actor, data.features.positions, y.float())


def _standardized(data: TrialData, learn: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """Both views, each channel centered and scaled over the training videos (no labels).

    Views are scaled apart, and so are the two steps of a 16-frame clip: their zero-padded borders differ, and without
    this clusters of frames would tell first halves from second halves instead of subactions.
    """
    scaled = []
    for name in ("frame", "actor"):
        x = data.features.views[name].unflatten(1, (-1, 2))  # (N, S/2, 2, C)
        mean, std = x[learn].mean((0, 1)), x[learn].std((0, 1)) + 1e-4  # (2, C)
        scaled.append(((x - mean) / std).flatten(1, 2))
    return tuple(scaled)


def _unit(trial: Trial, data: TrialData) -> torch.Tensor:
    """What a scaled target of 1 is worth in points, (N,): three perfect judges times difficulty, or 100."""
    return 30 * data.difficulty if trial.target == "execution" else torch.full_like(data.score, 100.0)


def fit_trial(
    trial: Trial, data: TrialData, device: str = "cpu"
) -> tuple[Fitted, torch.Tensor, torch.Tensor, torch.Tensor]:
    """Train a trial on its data (`trial_data(trial)`) without reading or writing a result.

    Returns:
        (fitted, features of the scored videos (n, S, C), their indices (n,), predicted scores (n,) in points).
    """
    learn, scored = _split(trial, data)
    train = train_set(trial, data, learn, label_split(data.score[learn], trial.share, trial.seed))
    train = TrainSet(*(getattr(train, field.name).to(device) for field in fields(train)))
    generator = torch.Generator().manual_seed(trial.seed)
    fitted = get_method(trial.method)(train, {"steps": trial.steps, **dict(trial.overrides)}, generator)
    frame = _standardized(data, learn)[0][scored].to(device)
    return fitted, frame, scored, fitted.predict(frame).cpu() * _unit(trial, data)[scored]


def run_trial(trial: Trial, device: str = "cpu") -> Path:
    """Run one trial unless its result is there; returns its folder.

    One thread, so that the numbers do not depend on how many trials run at once.
    """
    folder = trial_folder(trial)
    if folder.is_dir():
        return folder
    threads, started = torch.get_num_threads(), time.perf_counter()
    torch.set_num_threads(1)
    try:
        data = trial_data(trial, device=device)
        fitted, _, scored, predicted = fit_trial(trial, data, device)
    finally:
        torch.set_num_threads(threads)
    predicted, true = predicted.double(), data.score[scored].double()
    low, high = bootstrap_interval(predicted, true, resamples=1000, seed=0)
    metrics = {
        "rho": round(float(spearman(predicted, true)), 6), "rho_low": round(low, 6), "rho_high": round(high, 6),
        "r_l2": round(100 * float(relative_l2(predicted, true)), 6), "n": len(scored),
        "labeled": int(label_split(data.score[_split(trial, data)[0]], trial.share, trial.seed).sum()),
        **{k: round(v, 6) for k, v in (fitted.curves[-1] if fitted.curves else {}).items() if k.startswith("share_")},
    }  # fmt: skip
    table = pd.DataFrame({"key": [data.records[i].key for i in scored], "score": true, "predicted": predicted})
    run = {"seconds": time.perf_counter() - started, "torch": torch.__version__, "device": device}
    folder.parent.mkdir(parents=True, exist_ok=True)
    beside = Path(tempfile.mkdtemp(dir=folder.parent, prefix=".writing-"))
    for name, content in (("config", asdict(trial)), ("metrics", metrics), ("run", run)):
        (beside / f"{name}.json").write_text(json.dumps(content, indent=1) + "\n")
    table.to_csv(beside / "predictions.csv", index=False, float_format="%.6f")
    pd.DataFrame(fitted.curves).to_csv(beside / "curves.csv", index=False, float_format="%.6g")
    try:
        os.replace(beside, folder)
    except OSError:  # another writer was first: its result is the same
        shutil.rmtree(beside, ignore_errors=True)
        if not folder.is_dir():
            raise
    return folder


def _one_thread():
    torch.set_num_threads(1)


def run_trials(
    trials: Iterable[Trial],
    jobs: int = 1,
    device: str = "cpu",
    executor: Executor | None = None,
    progress: Callable[[int, int], None] | None = None,
) -> list[Path]:
    """Run every trial that has no result yet; returns the folders in the order asked.

    Features are computed first, with `jobs` processes. Trials then run in this process (`jobs=1`), in a process pool,
    or on any `concurrent.futures` executor given.

    Args:
        progress: called with (done, of all) after each trial.
    """
    trials = list(dict.fromkeys(trials))
    todo = [t for t in trials if not trial_folder(t).is_dir()]
    for one in {(t.dataset, t.source, t.train, t.test, t.twin_seed, t.size): t for t in todo}.values():
        trial_data(one, jobs, device)
    if jobs == 1 and executor is None:
        for done, trial in enumerate(todo, 1):
            run_trial(trial, device)
            if progress:
                progress(done, len(todo))
    elif todo:
        own = executor or ProcessPoolExecutor(min(jobs, len(todo)), get_context("spawn"), initializer=_one_thread)
        try:
            for done, future in enumerate(as_completed([own.submit(run_trial, t, device) for t in todo]), 1):
                future.result()
                if progress:
                    progress(done, len(todo))
        finally:
            if executor is None:
                own.shutdown(cancel_futures=True)
    return [trial_folder(t) for t in trials]


def results(trials: Sequence[Trial]) -> pd.DataFrame:
    """One row a trial: its fields, its metrics and its hash. Raises FileNotFoundError for a trial that was not run."""
    rows = []
    for trial in trials:
        folder = trial_folder(trial)
        if not folder.is_dir():
            raise FileNotFoundError(f"{folder.name} was not run: call run_trials first")
        rows.append({**asdict(trial), **read_json(folder / "metrics.json"), "hash": trial_hash(trial)})
    return pd.DataFrame(rows)


def predictions(trial: Trial) -> pd.DataFrame:
    """Columns key, score, predicted of a trial that was run."""
    return pd.read_csv(trial_folder(trial) / "predictions.csv", dtype={"key": str})


def curves(trial: Trial) -> pd.DataFrame:
    """Loss terms by step of a trial that was run."""
    return pd.read_csv(trial_folder(trial) / "curves.csv")
