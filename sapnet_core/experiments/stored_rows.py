"""The columns of the stored results: a trial's five result files as rows of three tables, and back, byte for byte.

`trials` has one row per trial, `predictions` one per trial and video, and `curves` one per trial, loss term and step.
The column `trial` joins them (`result_files.result_name`). The column `sha256` is the digest of the five files, so that
the files made from the rows either match it, or a row was edited.
"""

import json
from collections.abc import Mapping
from dataclasses import asdict, fields
from functools import cache
from typing import get_type_hints

import numpy as np
import pandas as pd
import pyarrow as pa

from sapnet_core.experiments.fold_trial import FoldTrial
from sapnet_core.experiments.result_files import (
    FILES,
    digest_text,
    parse_curves,
    parse_predictions,
    result_files,
    result_name,
)
from sapnet_core.experiments.trial import Trial
from sapnet_core.runtime.fingerprint import bytes_digest

__all__ = ["files_of_rows", "rows_of_files", "schemas", "stored_trial"]

TYPES = {str: pa.string(), int: pa.int64(), float: pa.float64(), int | None: pa.int64()}
METRICS = {"rho": float, "rho_low": float, "rho_high": float, "r_l2": float, "n": int, "labeled": int}
SHARES = "share_"  # first part of the names of the metrics that only some methods have
FACTS = {
    "seconds": float,
    "device": str,
    "processor": str,
    "numbers": str,
    "threads": int,
    "torch": str,
    "numpy": str,
}


def _column(name: str, kind: object) -> pa.Field:
    """A column for values of a kind; those that Parquet has no type for are stored as JSON."""
    return pa.field(name, TYPES.get(kind, pa.string()), nullable=kind == int | None)


@cache
def _fields(kind: type[Trial]) -> dict[str, object]:
    """The fields of a kind of trial and their types."""
    hints = get_type_hints(kind)
    return {f.name: hints[f.name] for f in fields(kind)}


@cache
def schemas(kind: type[Trial]) -> dict[str, pa.Schema]:
    """The columns of each table for a kind of trial: `Trial`, or `FoldTrial`, which has two fields more."""
    return {
        # overrides, shares and tested folds are JSON; step is null where a method is a closed form
        "trials": pa.schema(
            [
                *(_column(name, str) for name in ("trial", "hash")),
                *(_column(name, type_) for name, type_ in _fields(kind).items()),
                *(_column(name, type_) for name, type_ in METRICS.items()),
                _column("shares", str),
                _column("step", int | None),
                *(_column(name, type_) for name, type_ in FACTS.items()),
                _column("sha256", str),
            ]
        ),
        "predictions": pa.schema(
            [pa.field(name, pa.string(), nullable=False) for name in ("trial", "key")]
            + [pa.field(name, pa.float32(), nullable=False) for name in ("score", "predicted")]
        ),
        "curves": pa.schema(
            [
                pa.field("trial", pa.string(), nullable=False),
                pa.field("term", pa.string(), nullable=False),
                pa.field("step", pa.int32(), nullable=False),
                pa.field("value", pa.float32(), nullable=False),
            ]
        ),
    }


def rows_of_files(trial: Trial, files: Mapping[str, bytes]) -> dict[str, pa.Table]:
    """The rows of one trial in each table of `schemas`.

    Raises:
        ValueError: the tables cannot hold these files byte for byte.
    """
    tables = schemas(type(trial))
    name, metrics, run = result_name(trial), json.loads(files["metrics.json"]), json.loads(files["run.json"])
    row = {"trial": name, "hash": name.rpartition("-")[2], **asdict(trial), **metrics, **run}
    row["overrides"] = json.dumps([list(pair) for pair in trial.overrides])
    if isinstance(trial, FoldTrial):
        row["tested"] = json.dumps(trial.tested)
    row["shares"] = json.dumps({key: value for key, value in metrics.items() if key.startswith(SHARES)})
    row["sha256"] = _digest(name, files)
    predictions, curves = parse_predictions(files["predictions.csv"]), _long(files["curves.csv"])
    columns = {
        "trials": {column: [row.get(column)] for column in tables["trials"].names},
        "predictions": {"trial": [name] * len(predictions), **predictions},
        "curves": {"trial": [name] * len(curves), **curves},
    }
    try:
        rows = {
            table: pa.table([pa.array(columns[table][f.name], f.type, from_pandas=False) for f in schema], schema)
            for table, schema in tables.items()
        }
        files_of_rows(trial, rows)
    except (KeyError, TypeError, ValueError, pa.ArrowException) as error:
        raise ValueError(
            f"{name}: the tables cannot hold this result exactly ({error}): remove its folder to train it again"
        ) from None
    return rows


def files_of_rows(trial: Trial, rows: Mapping[str, pa.Table]) -> dict[str, bytes]:
    """The five result files of a trial, made from its rows in each table of `schemas`.

    Raises:
        ValueError: the rows are not those that `rows_of_files` made for this trial.
    """
    row = rows["trials"].to_pylist()[0]
    shares, step = json.loads(row["shares"]), {} if row["step"] is None else {"step": row["step"]}
    metrics = {name: row[name] for name in METRICS} | (shares if isinstance(shares, dict) else {}) | step
    predictions = rows["predictions"].drop_columns("trial").to_pandas()
    run = {name: row[name] for name in FACTS}
    files = result_files(trial, metrics, predictions, _wide(rows["curves"]), run)
    told = {**row, **{name: json.loads(row[name]) for name in ("overrides", "tested") if name in row}}
    asked = json.loads(files["config.json"])
    same = {name: told.get(name) for name in _fields(type(trial))} == asked
    if row["sha256"] != _digest(row["trial"], files) or not same:
        raise ValueError("a number or a name in it does not match the SHA-256 of its trial")
    return files


def stored_trial(row: Mapping[str, object], kind: type[Trial] = Trial) -> Trial:
    """The trial of a kind that a row of the table `trials` describes. Raises ValueError where none has such fields."""
    try:
        # JSON has no tuples; a trial must hold them, so that it can be a key
        pairs = tuple(
            (name, tuple(value) if isinstance(value, list) else value) for name, value in json.loads(row["overrides"])
        )
        found = {name: row[name] for name in _fields(kind)} | {"overrides": pairs}
        if "tested" in found:
            found["tested"] = tuple(json.loads(found["tested"]))
        return kind(**found)
    except (TypeError, RecursionError) as error:
        raise ValueError(f"not a trial ({error})") from None


def _digest(name: str, files: Mapping[str, bytes]) -> str:
    return digest_text(name, [bytes_digest([files[file]]) for file in FILES]).partition("\n")[0]


def _long(content: bytes) -> pd.DataFrame:
    """Curves with one row per term and step; the terms in the order of the columns of the file."""
    if not content.strip():  # a closed form has no curves
        return pd.DataFrame({"term": [], "step": [], "value": []})
    table = parse_curves(content)
    terms = [name for name in table.columns if name != "step"]
    return pd.DataFrame(
        {
            "term": np.repeat(np.array(terms, dtype=object), len(table)),
            "step": np.tile(table["step"].to_numpy(), len(terms)),
            "value": table[terms].to_numpy(dtype=float).T.ravel(),
        }
    )


def _wide(rows: pa.Table) -> pd.DataFrame:
    """Curves as in `curves.csv`: the column step, and one column per term."""
    if not len(rows):
        return pd.DataFrame()
    terms, step, value = (rows[name].to_pandas().to_numpy() for name in ("term", "step", "value"))
    names = list(dict.fromkeys(terms))
    if len(value) % len(names):
        raise ValueError("its curves lack a step")
    columns = value.reshape(len(names), -1)
    return pd.DataFrame({"step": step[: columns.shape[1]], **dict(zip(names, columns, strict=True))})
