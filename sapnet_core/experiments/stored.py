"""Results that the repository stores: three Parquet tables in the folder `study`, found by a trial's hash.

The tables in `study` hold the trials of the study, those in `study/measured` the trials on data of real people, which
test folds (`FoldTrial`). Those in `study/small` hold two small trials that the tests train again
(`recipes.store_small`); they are never read in place of a training. `stored_rows.schemas` gives the columns. Rows are
sorted by trial, and `GROUP` trials share a row group, so that one trial is read without the others. The tables are read
as untrusted files: sizes are checked before anything is decoded, the columns must be exactly those of the schema, and
each trial's files must match their SHA-256. Every fault is one line that names the file and the remedy.
"""

import bisect
import fcntl
import os
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from functools import cache, lru_cache
from pathlib import Path

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from sapnet_core.experiments.checked_parquet import one_line_damage, opened, row_group
from sapnet_core.experiments.fold_trial import FoldTrial
from sapnet_core.experiments.result_files import FILES, damage, result_name, trial_folder
from sapnet_core.experiments.stored_rows import files_of_rows, rows_of_files, schemas, stored_trial
from sapnet_core.experiments.trial import Trial
from sapnet_core.runtime import environment
from sapnet_core.runtime.disk import in_runs, one_line_faults, tidy
from sapnet_core.runtime.files import write_bytes

__all__ = [
    "FOLDER",
    "SMALL",
    "SHELVES",
    "folder",
    "is_stored",
    "store",
    "stored_files",
    "stored_names",
    "stored_seconds",
    "stored_size",
    "stored_trials",
]

FOLDER = Path(__file__).parent.parent / "study"
SMALL = "small"  # the set of the trials that every run of the tests trains again (`recipes.store_small`)
# name of each set of tables -> its folder below FOLDER, and the kind of its trials
SHELVES: dict[str, tuple[str, type[Trial]]] = {
    "study": (".", Trial),
    "measured": ("measured", FoldTrial),
    SMALL: ("small", Trial),
}
TABLES = ("trials", "predictions", "curves")
GROUP = 32  # trials per row group
TRIALS = 50_000  # maximum number of stored trials
NUMBERS = {"trials": [], "predictions": ["predicted"], "curves": ["value"]}  # columns whose values hardly repeat


def _shelf(trial: Trial) -> str:
    return "measured" if isinstance(trial, FoldTrial) else "study"


def stored_names(shelf: str = "study") -> frozenset[str]:
    """The names (`result_files.result_name`) of all trials in one of `SHELVES`, also where `SAPNET_RECOMPUTE` ignores
    them.

    Raises:
        Damaged: the table of trials cannot be read.
    """
    path = _path("trials", shelf)
    return frozenset(_index(path, _state(path))[1]) if os.path.lexists(path) else frozenset()


def is_stored(trial: Trial) -> bool:
    """Whether a trial's result is stored and may be used: never where `SAPNET_RECOMPUTE` is set. Raises Damaged."""
    return not environment.recompute() and result_name(trial) in stored_names(_shelf(trial))


def stored_files(trial: Trial, shelf: str = "") -> dict[str, bytes]:
    """The five files of a stored trial's result, equal to those that its training wrote.

    Args:
        trial: the trial.
        shelf: one of `SHELVES`; "" takes the one from which results are read.

    Raises:
        FileNotFoundError: the trial is not stored.
        Damaged: a table was damaged or edited, or is not one of these tables.
    """
    name, shelf = result_name(trial), shelf or _shelf(trial)
    if name not in stored_names(shelf):
        raise FileNotFoundError(f"{name} is not stored in {_path('trials', shelf).parent}")
    states = tuple((path, _state(path)) for path in (_path(table, shelf) for table in TABLES))
    return dict(_checked_files(trial, name, states))


@cache  # a notebook reads the same trials several times: for a figure, a table and a verdict
def _checked_files(trial: Trial, name: str, states: tuple) -> dict[str, bytes]:
    """The files of a stored trial, checked against their SHA-256; `states` holds the tables' paths and states."""
    path, state = states[0]
    table, place = _index(path, state)
    with one_line_damage(path):
        rows = {"trials": table.slice(place[name], 1)}
        for other in ("predictions", "curves"):
            rows[other] = _rows(path.with_stem(other), name)
        return files_of_rows(trial, rows)


def stored_trials(shelf: str = "study") -> Iterator[Trial]:
    """All trials in one of `SHELVES`, in the order of their names. Raises Damaged where a row describes none."""
    path = _path("trials", shelf)
    if os.path.lexists(path):
        table, place = _index(path, _state(path))
        with one_line_damage(path):
            for row in place.values():
                yield stored_trial(table.slice(row, 1).to_pylist()[0], SHELVES[shelf][1])


def stored_seconds(shelf: str = "study") -> dict[str, float]:
    """The seconds that each trial in one of `SHELVES` took, by its name. Raises Damaged."""
    path = _path("trials", shelf)
    if not os.path.lexists(path):
        return {}
    table, place = _index(path, _state(path))
    return dict(zip(place, table["seconds"].to_pylist(), strict=True))


def stored_size() -> int:
    """The size of the study's tables in bytes."""
    return sum(path.stat().st_size for path in map(_path, TABLES) if path.is_file())


def store(trials: Iterable[Trial], shelf: str = "") -> int:
    """Add to the tables what they lack of these trials' results in the folder of runs; returns how many were added.

    Trials that are stored already are kept as they are, and none is dropped. The same content gives the same bytes, in
    whatever order the trials finished. Each table is replaced at once, that of trials last, so that a reader or a run
    that is killed in between finds all trials that it lists. Trials without an intact result are left out.

    `shelf` is one of `SHELVES`; "" takes for each trial the one from which results are read.

    Raises:
        Damaged: a stored table was damaged; nothing is written.
        ValueError: a result cannot be stored exactly.
        OSError: a table cannot be written.
    """
    parts: dict[str, list[Trial]] = {}
    for trial in trials:
        parts.setdefault(shelf or _shelf(trial), []).append(trial)
    with _alone():
        return sum(_store(own, place) for place, own in parts.items())


def _store(trials: Iterable[Trial], shelf: str) -> int:
    known, new = stored_names(shelf), {}
    for trial in trials:
        name, folder = result_name(trial), trial_folder(trial)
        with in_runs():
            if name not in known and name not in new and folder.is_dir() and not damage(folder):
                new[name] = rows_of_files(trial, {file: (folder / file).read_bytes() for file in FILES})
    if new:
        names = sorted({*known, *new})
        written = {table: _written(_path(table, shelf), names, new) for table in ("predictions", "curves", "trials")}
        for table, content in written.items():
            write_bytes(_path(table, shelf), content)
    return len(new)


def _written(path: Path, names: list[str], new: dict[str, dict[str, pa.Table]]) -> bytes:
    """The content of a table's file: of these trials, the new rows and those that are stored."""
    schema, table = _schema(path), path.stem
    texts = [field.name for field in schema if field.type == pa.string()]
    buffer = pa.BufferOutputStream()
    with pq.ParquetWriter(
        buffer,
        schema,
        compression="zstd",
        compression_level=15,
        use_dictionary=[*texts, "score"] if table == "predictions" else texts,
        use_byte_stream_split=NUMBERS[table],
        write_statistics=["trial"],
        write_page_checksum=True,
        store_schema=False,
    ) as writer:
        size = TRIALS if table == "trials" else GROUP
        for first in range(0, len(names), size):
            with one_line_damage(path):
                parts = [new[n][table] if n in new else _stored(path, n) for n in names[first : first + size]]
                whole = pa.concat_tables([part.cast(schema) for part in parts]).combine_chunks()
            if len(whole):
                writer.write_table(whole, row_group_size=len(whole))
    return buffer.getvalue().to_pybytes()


def _stored(path: Path, name: str) -> pa.Table:
    if path.stem != "trials":
        return _rows(path, name)
    rows, place = _index(path, _state(path))
    return rows.slice(place[name], 1)


@contextmanager
def _alone() -> Iterator[None]:
    """Wait until no other process writes the tables, and keep others waiting within the block."""
    with one_line_faults(FOLDER):
        FOLDER.mkdir(parents=True, exist_ok=True)
        folder = os.open(FOLDER, os.O_RDONLY)
    try:
        with suppress(OSError):  # some network file systems have no locks
            fcntl.flock(folder, fcntl.LOCK_EX)
        tidy(FOLDER)
        yield
    finally:
        os.close(folder)


def folder(shelf: str = "study") -> Path:
    """The folder of the tables in one of `SHELVES`; it may not exist."""
    return FOLDER / SHELVES[shelf][0]


def _path(table: str, shelf: str = "study") -> Path:
    return folder(shelf) / f"{table}.parquet"


def _schema(path: Path) -> pa.Schema:
    """The columns of a table's file, which depend on the folder that it lies in."""
    kind = next(kind for place, kind in reversed(SHELVES.values()) if place in (path.parent.name, "."))
    return schemas(kind)[path.stem]


def _state(path: Path) -> tuple[int, int, int]:
    """What changes when a file is replaced: part of the key of what is cached."""
    with one_line_damage(path):
        state = os.stat(path)
        return state.st_ino, state.st_size, state.st_mtime_ns


@lru_cache(maxsize=1)
def _index(path: Path, _state: tuple) -> tuple[pa.Table, dict[str, int]]:
    """The table of trials, and the row of each name."""
    with opened(path, _schema(path)) as file:
        if file.metadata.num_row_groups != 1 or file.metadata.num_rows > TRIALS:
            raise ValueError("it is not one row group of trials")
        table = row_group(file, 0)
        place = {name: row for row, name in enumerate(table["trial"].to_pylist())}
        if len(place) < len(table):
            raise ValueError("a trial occurs twice")
        return table, place


@lru_cache(maxsize=2)
def _ranges(path: Path, _state: tuple) -> tuple[list[str], list[str]]:
    """The first and the last name in each row group of a table, from the file's footer."""
    with opened(path, _schema(path)) as file:
        told = [file.metadata.row_group(i).column(0).statistics for i in range(file.metadata.num_row_groups)]
        ends = [(each.min, each.max) for each in told if each is not None and each.has_min_max]
        if len(ends) < len(told) or any(not isinstance(end, str) for pair in ends for end in pair):
            raise ValueError("its footer does not say where the trials are")
        return [low for low, _ in ends], [high for _, high in ends]


@lru_cache(maxsize=4)
def _decoded(path: Path, _state: tuple, index: int) -> tuple[pa.Table, dict[str, tuple[int, int]]]:
    """A row group, and the first row and the number of rows of each trial in it."""
    with opened(path, _schema(path)) as file:
        table = row_group(file, index)
        runs = pc.run_end_encode(table["trial"].combine_chunks().cast(pa.string()))
        ends, names = runs.run_ends.to_pylist(), runs.values.to_pylist()
        return table, {n: (first, end - first) for n, first, end in zip(names, [0, *ends], ends, strict=False)}


def _rows(path: Path, name: str) -> pa.Table:
    """The rows of one trial in a table of predictions or curves; none where a closed form has no curves."""
    state = _state(path)
    first, last = _ranges(path, state)
    index = bisect.bisect_left(last, name)
    if index == len(last) or first[index] > name:
        return _schema(path).empty_table()
    table, place = _decoded(path, state, index)
    start, count = place.get(name, (0, 0))
    return table.slice(start, count).cast(_schema(path))
