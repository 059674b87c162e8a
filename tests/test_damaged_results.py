"""A damaged result is never read silently: it is named, and computed again."""

import errno
import json
import os
import re
import resource
import shutil
from dataclasses import replace
from pathlib import Path

import pytest
from torch import ones
from wording import in_order

from sapnet_core.experiments import results, run
from sapnet_core.experiments import trial_data as trials
from sapnet_core.experiments.result_files import FILES, damage, trial_folder
from sapnet_core.experiments.results import curves, predictions, run_facts
from sapnet_core.experiments.run import run_trials
from sapnet_core.experiments.trial import Trial
from sapnet_core.features.source import source_records
from sapnet_core.runtime.sealed import write_sealed

ONE = Trial("finediving", "drawn", "mlp", 0.5, 0, "score", 40, 12, steps=3, size=64)
OTHER = replace(ONE, seed=1)
SAME = ("config.json", "metrics.json", "predictions.csv", "curves.csv")  # run.json holds the duration


@pytest.fixture(scope="module")
def runs(own_runs):
    run_trials([ONE, OTHER])
    return own_runs


def edit(name: str, change):
    def damage_it(folder: Path) -> None:
        (folder / name).write_bytes(change((folder / name).read_bytes()))

    return damage_it


def swapped(folder: Path) -> None:
    shutil.rmtree(folder)
    shutil.copytree(trial_folder(OTHER), folder)


def a_file(folder: Path) -> None:
    shutil.rmtree(folder)
    folder.write_text("no folder")


def a_link(folder: Path) -> None:
    shutil.rmtree(folder)
    folder.symlink_to(folder.parent / "nowhere")


def emptied(folder: Path) -> None:
    shutil.rmtree(folder)
    folder.mkdir()


def a_folder_in_place_of(name: str):
    def damage_it(folder: Path) -> None:
        (folder / name).unlink()
        (folder / name).mkdir()

    return damage_it


def a_pipe_in_place_of(name: str):
    def damage_it(folder: Path) -> None:
        (folder / name).unlink()
        os.mkfifo(folder / name)

    return damage_it


def another_file_of_that_name(name: str):
    return lambda folder: shutil.copy(trial_folder(OTHER) / name, folder)


DAMAGE = {
    "metrics torn": edit("metrics.json", lambda c: c[:20]),
    "metrics edited": edit("metrics.json", lambda c: c.replace(b'"rho": ', b'"rho": 0.99, "was": ')),
    "metrics empty": edit("metrics.json", lambda c: b""),
    "metrics of NaN": edit("metrics.json", lambda c: b'{"rho": NaN}'),
    "metrics of another kind": edit("metrics.json", lambda c: b"[1, 2]"),
    "metrics not UTF-8": edit("metrics.json", lambda c: b"\xff\xfe" + c),
    "metrics as well formed as before": edit("metrics.json", lambda c: json.dumps(json.loads(c)).encode()),
    "predictions torn": edit("predictions.csv", lambda c: c[: len(c) // 2]),
    "predictions without their last row": edit("predictions.csv", lambda c: c[: c.rindex(b"\n", 0, -1) + 1]),
    "predictions with a row more": edit("predictions.csv", lambda c: c + b"x,1.0,2.0\n"),
    "predictions edited": edit("predictions.csv", lambda c: c.replace(b".", b".1", 1)),
    "predictions empty": edit("predictions.csv", lambda c: b""),
    "one bit of the predictions": edit("predictions.csv", lambda c: c[:40] + bytes([c[40] ^ 1]) + c[41:]),
    "curves torn": edit("curves.csv", lambda c: c[:9]),
    "config edited": edit("config.json", lambda c: c.replace(b'"seed": 0', b'"seed": 7')),
    "config torn": edit("config.json", lambda c: c[:-9]),
    "run torn": edit("run.json", lambda c: c[:-9]),
    "digest torn": edit("digest", lambda c: c[:9]),
    "digest not text": edit("digest", lambda c: b"\xff\x00"),
    "digest of another": lambda folder: shutil.copy(trial_folder(OTHER) / "digest", folder),
    "another trial's folder": swapped,
    "an empty folder": emptied,
    "a file": a_file,
    "a link that leads nowhere": a_link,
    **{f"without {name}": lambda folder, name=name: (folder / name).unlink() for name in FILES},
    **{f"a pipe for {name}": a_pipe_in_place_of(name) for name in ("predictions.csv", "digest")},
    **{f"another trial's {name}": another_file_of_that_name(name) for name in ("predictions.csv", "metrics.json")},
    "digest huge": lambda folder: os.truncate(folder / "digest", 1 << 42),
    **{f"a folder for {name}": a_folder_in_place_of(name) for name in ("metrics.json", "digest")},
}


@pytest.mark.parametrize("name", DAMAGE)
def test_damage_is_named_and_mended(runs, name, capsys):
    folder = trial_folder(ONE)
    before = {file: (folder / file).read_bytes() for file in SAME}
    DAMAGE[name](folder)
    assert damage(folder)
    reads = (lambda: results.results([ONE]), lambda: predictions(ONE), lambda: curves(ONE), lambda: run_facts(ONE))
    for read in reads:
        with pytest.raises(ValueError) as error:
            read()
        assert str(folder) in str(error.value) and "\n" not in str(error.value) and "again" in str(error.value)
    capsys.readouterr()
    run_trials([ONE, OTHER])
    said = capsys.readouterr().err
    assert said.count("\n") == 1 and folder.name in said
    assert {file: (folder / file).read_bytes() for file in SAME} == before and not damage(folder)
    assert len(predictions(ONE)) == 12 and not [*folder.parent.glob(".damaged*")]
    run_trials([ONE, OTHER])
    assert not capsys.readouterr().err  # intact results cause no message


@pytest.mark.parametrize("name", FILES)
def test_the_damaged_file_is_named(runs, tmp_path, name):
    folder = Path(shutil.copytree(trial_folder(ONE), tmp_path / trial_folder(ONE).name))
    assert not damage(folder)
    edit(name, lambda c: c + b" ")(folder)
    assert damage(folder).startswith(name)


def test_a_result_on_another_disk_is_taken_through_a_link(runs, tmp_path, monkeypatch):
    there = Path(shutil.copytree(runs / "trials", tmp_path / "disk"))
    (tmp_path / "runs").mkdir()
    shutil.copytree(runs / "annotations", tmp_path / "runs" / "annotations")
    (tmp_path / "runs" / "trials").mkdir()
    monkeypatch.setenv("SAPNET_RUNS", str(tmp_path / "runs"))
    trial_folder(ONE).symlink_to(there / trial_folder(ONE).name)
    assert run_trials([ONE]) == [trial_folder(ONE)] and trial_folder(ONE).is_symlink()
    edit("metrics.json", lambda c: b"")(trial_folder(ONE))
    (tmp_path / "runs" / "features").symlink_to(runs / "features")
    run_trials([ONE])
    assert not trial_folder(ONE).is_symlink() and len([*there.iterdir()]) == 2  # the link's target is left alone


def test_what_cannot_be_read_just_now_is_not_taken_away(runs):
    """Too many open files do not count as damage."""
    before = {f.name: f.read_bytes() for f in trial_folder(ONE).iterdir()}
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    first = os.dup(0)
    os.close(first)
    resource.setrlimit(resource.RLIMIT_NOFILE, (first, hard))
    try:
        for use in (lambda: predictions(ONE), lambda: run_trials([ONE])):
            with pytest.raises(OSError, match="ulimit") as error:
                use()
            assert error.value.errno == errno.EMFILE and "\n" not in str(error.value)
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
    assert {f.name: f.read_bytes() for f in trial_folder(ONE).iterdir()} == before and not damage(trial_folder(ONE))


def test_a_damaged_folder_that_comes_while_a_trial_is_trained_is_replaced(runs, monkeypatch):
    trial = replace(ONE, seed=12)
    folder, write = trial_folder(trial), results.write_text

    def meanwhile(path, text):
        if not folder.exists():
            shutil.copytree(trial_folder(ONE), folder)
        return write(path, text)

    monkeypatch.setattr(results, "write_text", meanwhile)
    run_trials([trial])
    assert not damage(folder) and json.loads((folder / "config.json").read_bytes())["seed"] == 12
    shutil.rmtree(folder)


def hide(several, *_):
    """Stand in for a remote worker whose result arrives damaged: it writes the result of another trial."""
    folder = trial_folder(several[0])
    shutil.copytree(trial_folder(ONE), folder)
    return [str(folder)]


def test_a_result_that_comes_damaged_from_elsewhere_is_named(runs, monkeypatch):
    monkeypatch.setattr(run.time, "sleep", lambda seconds: None)
    monkeypatch.setattr(run, "_run", hide)
    trial = replace(ONE, seed=13)
    with pytest.raises(FileNotFoundError, match=re.escape(str(trial_folder(trial))) + ".*SAPNET_RUNS"):
        run_trials([trial])
    shutil.rmtree(trial_folder(trial))


def test_results_of_earlier_versions_are_counted_and_made_again(runs, capsys):
    for trial in (ONE, OTHER):
        (trial_folder(trial) / "digest").unlink()
    capsys.readouterr()
    run_trials([ONE, OTHER])
    said = capsys.readouterr().err
    assert in_order(said, 2, "earlier", trial_folder(ONE).parent) and not damage(trial_folder(ONE))


def test_what_was_not_run_is_said(runs):
    with pytest.raises(FileNotFoundError, match="finediving-mlp-.*run_trials"):
        predictions(replace(ONE, seed=5))


@pytest.mark.parametrize(
    "code, word",
    [
        (errno.ENOSPC, "make room"),
        (errno.EDQUOT, "make room"),
        (errno.EROFS, "writable"),
        (errno.EACCES, "permissions"),
        (errno.ENAMETOOLONG, "shorter"),
        (errno.EMFILE, "--jobs"),
        (errno.EIO, "disk"),
    ],
)
def test_what_a_disk_refuses_is_one_line(runs, monkeypatch, code, word):
    def refuse(*_, **__):
        raise OSError(code, os.strerror(code))

    monkeypatch.setattr(results, "write_text", refuse)
    third = replace(ONE, seed=9)
    with pytest.raises(OSError, match=word) as error:
        run_trials([third])
    assert str(runs) in str(error.value) and "\n" not in str(error.value) and error.value.errno == code
    assert not os.path.lexists(trial_folder(third)) and not [*runs.glob("trials/.writing*")]


@pytest.mark.parametrize("way", ["a file", "trials is a file", "features is a file", "too long", "below a file"])
def test_folders_that_cannot_be_used_are_one_line(tmp_path, monkeypatch, way):
    place = tmp_path / "runs"
    (tmp_path / "file").write_text("")
    if way in ("trials is a file", "features is a file"):
        place.mkdir()
        (place / way.split()[0]).write_text("")
    file = tmp_path / "file"
    places = {"a file": file, "below a file": file / "runs", "too long": tmp_path / ("x" * 300)}
    monkeypatch.setenv("SAPNET_RUNS", str(places.get(way, place)))
    trials._data.cache_clear()
    with pytest.raises((OSError, ValueError)) as error:
        run_trials([ONE])
    assert "SAPNET_RUNS" in str(error.value) and "\n" not in str(error.value)
    trials._data.cache_clear()


def test_a_damaged_training_is_named_and_begun_anew(runs, monkeypatch, capsys):
    trial = replace(ONE, seed=11, method="sap-net", steps=4)
    file = run._training_file(trial_folder(trial).name)
    of_another = write_sealed(file.with_name(f"{file.stem}x.safetensors"), {"state/x": ones(1)}, {"done": 2})
    for content in (b"", b"no tensors", b"\x00" * 100, of_another.read_bytes(), None):
        file.mkdir() if content is None else file.write_bytes(content)
        run_trials([trial])
        said = capsys.readouterr().err
        assert said.count("\n") == 1 and file.name in said and not file.exists()
        shutil.rmtree(trial_folder(trial))
    of_another.unlink()


def damaged_text(file: Path) -> None:
    file.write_bytes(file.read_bytes()[:-30])


@pytest.mark.parametrize("change", [damaged_text, Path.unlink, lambda f: f.write_bytes(f.read_bytes() + b" ")])
def test_a_drawn_annotation_set_that_was_changed_is_drawn_again(tmp_path, change, capsys):
    records = source_records("rg", 30, 9, 0, None, tmp_path)
    (file,) = tmp_path.rglob("train.txt")
    before = file.read_bytes()
    assert source_records("rg", 30, 9, 0, None, tmp_path) == records and not capsys.readouterr().err
    change(file)
    assert source_records("rg", 30, 9, 0, None, tmp_path) == records and file.read_bytes() == before
    said = capsys.readouterr().err
    assert said.count("\n") == 1 and "rg-30-9-0" in said


def test_a_set_that_cannot_be_written_leaves_nothing(tmp_path, monkeypatch):
    def full(*_):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(Path, "write_bytes", full)
    with pytest.raises(OSError):
        source_records("rg", 30, 9, 1, None, tmp_path)
    assert not [*tmp_path.rglob("*")]
