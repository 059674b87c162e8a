"""Stored results: equal to those in `runs/trials`, found by hash, and never read silently when damaged or edited."""

import json
import random
import shutil
from dataclasses import replace

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from sapnet_core.experiments import stored
from sapnet_core.experiments.result_files import FILES, trial_folder
from sapnet_core.experiments.results import curves, has_result, predictions, results, run_facts, without_result
from sapnet_core.experiments.run import run_trials
from sapnet_core.experiments.trial import Trial
from sapnet_core.runtime.sealed import Damaged

ONE = Trial("finediving", "drawn", "mlp", 0.5, 0, "score", 40, 12, steps=3, size=64)
TRIALS = [
    ONE,
    replace(ONE, seed=1),
    replace(ONE, method="sap-net", steps=12, overrides=(("warmup", 0.0), ("tau", 0.1))),
    replace(ONE, method="ridge"),  # a closed form: no steps and no curves
]
TABLES = ("trials", "predictions", "curves")


@pytest.fixture(scope="module")
def trained(own_runs):
    run_trials(TRIALS)
    return own_runs


@pytest.fixture
def folder(trained, tmp_path, monkeypatch):
    """An empty folder of stored tables."""
    monkeypatch.setattr(stored, "FOLDER", tmp_path / "study")
    monkeypatch.delenv("SAPNET_RECOMPUTE", raising=False)
    return tmp_path / "study"


@pytest.fixture
def study(folder, tmp_path, monkeypatch):
    """The stored results of all trials, and an empty folder of runs."""
    stored.store(TRIALS)
    monkeypatch.setenv("SAPNET_RUNS", str(tmp_path / "empty"))
    return folder


def files(folder):
    return {path.name: path.read_bytes() for path in folder.iterdir()}


def test_a_stored_result_equals_the_trained_one(folder, tmp_path, monkeypatch):
    was = [{file: (trial_folder(trial) / file).read_bytes() for file in FILES} for trial in TRIALS]
    table, read = results(TRIALS), [(predictions(t), run_facts(t)) for t in TRIALS]
    lines = curves(TRIALS[2])
    assert stored.store(TRIALS) == len(TRIALS) and stored.store(TRIALS) == 0
    assert [stored.stored_files(trial) for trial in TRIALS] == was
    monkeypatch.setenv("SAPNET_RUNS", str(tmp_path / "empty"))
    assert without_result(TRIALS) == [] and all(map(has_result, TRIALS))
    pd.testing.assert_frame_equal(results(TRIALS), table)
    pd.testing.assert_frame_equal(curves(TRIALS[2]), lines)
    for trial, (predicted, facts) in zip(TRIALS, read, strict=True):
        pd.testing.assert_frame_equal(predictions(trial), predicted)
        assert run_facts(trial) == facts
    assert set(stored.stored_trials()) == {*TRIALS}
    run_trials(TRIALS)
    assert not (tmp_path / "empty" / "trials").exists()  # nothing was trained


def test_a_variable_ignores_what_is_stored(study, monkeypatch):
    monkeypatch.setenv("SAPNET_RECOMPUTE", "1")
    assert without_result(TRIALS) == TRIALS
    with pytest.raises(FileNotFoundError, match=ONE.method):
        predictions(ONE)


def test_a_trial_that_is_not_stored_is_missing(study):
    other = replace(ONE, seed=9)
    assert without_result([ONE, other]) == [other]
    with pytest.raises(FileNotFoundError, match="finediving-mlp-.*study"):
        stored.stored_files(other)


def test_the_order_in_which_trials_finish_changes_no_byte(folder, monkeypatch):
    monkeypatch.setattr(stored, "GROUP", 2)  # more than one row group
    stored.store(TRIALS)
    once = files(folder)
    shutil.rmtree(folder)
    for trial in random.Random(1).sample(TRIALS, len(TRIALS)):
        stored.store([trial])
        assert trial in {*stored.stored_trials()}
    assert files(folder) == once and {*once} == {f"{table}.parquet" for table in TABLES}


def test_what_is_stored_is_kept_and_what_is_damaged_is_left_out(folder, trained, tmp_path, monkeypatch):
    stored.store([ONE])
    once = files(folder)
    shutil.copytree(trained / "trials", tmp_path / "runs" / "trials")
    monkeypatch.setenv("SAPNET_RUNS", str(tmp_path / "runs"))
    (trial_folder(TRIALS[1]) / "metrics.json").write_text("{}")
    shutil.rmtree(trial_folder(ONE))
    assert stored.store(TRIALS[:2]) == 0 and files(folder) == once
    assert stored.store(TRIALS) == 2 and stored.is_stored(ONE)


def test_a_run_killed_between_two_tables_loses_nothing(folder, monkeypatch):
    stored.store(TRIALS[:2])
    write = stored.write_bytes

    def killed(path, content):
        if path.stem == "curves":
            raise KeyboardInterrupt
        return write(path, content)

    with monkeypatch.context() as patch:
        patch.setattr(stored, "write_bytes", killed)
        with pytest.raises(KeyboardInterrupt):
            stored.store(TRIALS)
    assert {*stored.stored_trials()} == {*TRIALS[:2]}
    for trial in TRIALS[:2]:
        stored.stored_files(trial)
    assert stored.store(TRIALS) == 2


def test_one_trial_is_read_without_the_others(folder, monkeypatch):
    monkeypatch.setattr(stored, "GROUP", 1)
    stored.store(TRIALS)
    asked = []
    row_group = stored.row_group
    monkeypatch.setattr(stored, "row_group", lambda file, index: asked.append(index) or row_group(file, index))
    stored.stored_files(TRIALS[2])
    assert len(asked) == 3 and pq.ParquetFile(folder / "predictions.parquet").num_row_groups == len(TRIALS)


def rewrite(path, change):
    """Write a table with one change, as well formed as before."""
    table = pq.read_table(path)
    pq.write_table(change(table), path, store_schema=False)


def with_value(column, row, value):
    def change(table):
        values = table[column].to_pylist()
        values[row] = value
        place = table.schema.get_field_index(column)
        return table.set_column(place, table.schema.field(column), pa.array(values, table.schema.field(column).type))

    return change


EDITS = {
    "rho": ("trials", with_value("rho", 0, 0.99)),
    "a field": ("trials", with_value("share", 0, 0.25)),
    "a setting": ("trials", with_value("overrides", 0, '[["lr", 1.0]]')),
    "seconds": ("trials", with_value("seconds", 0, 1.0)),
    "processor": ("trials", with_value("processor", 0, "another")),
    "SHA-256": ("trials", with_value("sha256", 0, "0" * 64)),
    "shares of another kind": ("trials", with_value("shares", 0, "[" * 1500)),
    "a prediction": ("predictions", with_value("predicted", 0, 50.0)),
    "a score": ("predictions", with_value("score", 0, 50.0)),
    "a video": ("predictions", with_value("key", 0, "x")),
    "a prediction less": ("predictions", lambda table: table.slice(1)),
    "a loss": ("curves", with_value("value", 0, 0.5)),
    "a term": ("curves", with_value("term", 0, "L_x")),
    "a line less": ("curves", lambda table: table.slice(1)),
}


@pytest.mark.parametrize("name", EDITS)
def test_an_edited_number_is_found(study, name):
    table, change = EDITS[name]
    first = next(iter(stored.stored_trials()))
    rewrite(study / f"{table}.parquet", change)
    with pytest.raises(Damaged) as error:
        for read in (lambda t: results([t]), predictions, curves, run_facts):
            read(first)
    assert str(study) in str(error.value) and "\n" not in str(error.value) and "SAPNET_RECOMPUTE" in str(error.value)


def with_long_text(table):
    return with_value("overrides", 0, "x" * 3000)(table)


FORMS = {
    "torn": lambda path: path.write_bytes(path.read_bytes()[:-20]),
    "empty": lambda path: path.write_bytes(b""),
    "no table": lambda path: path.write_bytes(b"PAR1" + bytes(50) + b"PAR1"),
    "a pickle": lambda path: path.write_bytes(b"\x80\x04N."),
    "missing": lambda path: path.unlink(),
    "a folder": lambda path: (path.unlink(), path.mkdir()),
    "a column less": lambda path: rewrite(path, lambda table: table.drop_columns(table.column_names[-1])),
    "another type": lambda path: rewrite(path, lambda table: table.cast(pa.schema(
        [f.with_type(pa.large_binary()) if f.type == pa.string() else f for f in table.schema]))),
    "a schema of pyarrow's own, which may name extension types": lambda path: pq.write_table(pq.read_table(path), path),
    "too large": lambda path: open(path, "r+b").truncate(1 << 40),
}  # fmt: skip


@pytest.mark.parametrize("table", TABLES)
@pytest.mark.parametrize("form", FORMS)
def test_a_table_of_another_form_is_one_line(study, table, form):
    path = study / f"{table}.parquet"
    FORMS[form](path)
    if (table, form) == ("trials", "missing"):  # then nothing is stored
        assert without_result([ONE]) == [ONE]
        return
    with pytest.raises(Damaged) as error:
        results(TRIALS)
    assert str(path) in str(error.value) and "\n" not in str(error.value)


def test_texts_and_rows_without_end_are_refused(study, monkeypatch):
    path = study / "trials.parquet"
    whole = path.read_bytes()
    rewrite(path, with_long_text)
    with pytest.raises(Damaged, match="trials.parquet.* 2000 "):
        results([ONE])
    path.write_bytes(whole)
    rewrite(path, lambda table: pa.concat_tables([table, table]))
    with pytest.raises(Damaged, match="trials.parquet.* twice"):
        results([ONE])


@pytest.mark.parametrize("table", TABLES)
def test_a_fuzzed_table_is_one_line_or_unchanged(study, table):
    """Bytes anywhere in a file, also in its footer, are overwritten: each trial is refused or read as it was."""
    path, draw = study / f"{table}.parquet", random.Random(table)
    was, whole = [stored.stored_files(trial) for trial in TRIALS], path.read_bytes()
    refused = 0
    for _ in range(150):
        content = bytearray(whole)
        for _ in range(draw.choice((1, 1, 4))):
            content[draw.randrange(len(content))] = draw.randrange(256)
        path.write_bytes(content)
        stored._index.cache_clear(), stored._ranges.cache_clear(), stored._decoded.cache_clear()
        for trial, files in zip(TRIALS, was, strict=True):
            try:
                assert stored.stored_files(trial) == files
            except (Damaged, FileNotFoundError) as error:  # the second where the name in the index was changed
                refused += 1
                assert "\n" not in str(error)
    assert refused > 100


def test_a_damaged_table_is_not_written_over(study, trained, monkeypatch):
    monkeypatch.setenv("SAPNET_RUNS", str(trained))
    path = study / "predictions.parquet"
    path.write_bytes(path.read_bytes()[:-20])
    before = files(study)
    (study / "trials.parquet").write_bytes(before["trials.parquet"])
    new = replace(ONE, seed=21)
    run_trials([new])
    with pytest.raises(Damaged, match="predictions.parquet"):
        stored.store([new])
    assert files(study) == before


def test_a_result_that_the_tables_cannot_hold_is_refused(folder):
    content = {file: (trial_folder(ONE) / file).read_bytes() for file in FILES}
    run = {**json.loads(content["run.json"]), "host": "here"}
    with pytest.raises(ValueError, match="finediving-mlp-"):
        stored.rows_of_files(ONE, content | {"run.json": json.dumps(run).encode()})
