"""Features that others published take the place of videos: every layout is read, joined to records, and trained on."""

import json
import os
import pickle
import struct
import zipfile
from pathlib import Path

import numpy as np
import pytest
import torch
from hostile import called, is_refusal, named, outcomes, text
from published import (
    LAYOUTS,
    drawn,
    one_array_a_routine,
    one_tensor_a_dive,
    safetensors_stack,
    stack_with_keys,
)
from refusal import refused
from safetensors.torch import save_file
from test_hostile_arrays import ARCHIVES, ARRAYS, OTHERS, header, npy
from test_measured import TINY, row_of, use

from sapnet_core.datasets import AnnotationError, load_records
from sapnet_core.datasets.disk_layout import FOLDERS
from sapnet_core.datasets.feature_dumps import dump_folder, normal, read_dump
from sapnet_core.datasets.feature_files import named_arrays
from sapnet_core.datasets.validate import check_dataset
from sapnet_core.experiments.acting_terms import idle_terms
from sapnet_core.experiments.declare import declare
from sapnet_core.experiments.profiles import get_profile
from sapnet_core.experiments.results import predictions, results
from sapnet_core.experiments.run import run_trials
from sapnet_core.experiments.systems import OURS
from sapnet_core.experiments.tables import comparison_trials, declared_trials, table_trials
from sapnet_core.experiments.trial import Trial
from sapnet_core.experiments.trial_data import trial_data
from sapnet_core.experiments.trial_hash import trial_hash
from sapnet_core.features.dumped import MOST, STEPS, dumped_features
from sapnet_core.features.source import source_kind, source_name
from sapnet_core.simulator.draw_annotations import write_annotations

OFFICIAL = Path(__file__).resolve().parent.parent.parent / "shared" / "datasets"
CASES = [(name, *layout) for name, layouts in LAYOUTS.items() for layout in layouts]


def laid_out(root, name, write, steps, train=20, test=12):
    """A dataset of drawn annotations with synthetic features in a layout: records, and key -> array."""
    write_annotations(name, root, train, test, 0)
    records = load_records(name, root)
    arrays = drawn(records, steps=steps)
    write(root / FOLDERS[name] / ("data/video_features" if name == "finefs" else "features"), records, arrays)
    return records, arrays


@pytest.mark.parametrize("name, write, steps", CASES, ids=lambda value: getattr(value, "__name__", str(value)))
def test_each_public_layout_gives_its_arrays(tmp_path, name, write, steps):
    records, arrays = laid_out(tmp_path, name, write, steps)
    dump = read_dump(name, tmp_path, records)
    assert set(dump.views["frame"]) == {r.key for r in records}
    for key, found in dump.views["frame"].items():
        np.testing.assert_allclose(
            found.kept, arrays[key], atol=2e-3 if write.__name__ == "folders_of_events" else 1e-5
        )
    features = dumped_features(name, tmp_path, records)
    frame = features.views["frame"]
    whole = steps[0] == steps[1] <= MOST
    assert features.keys == tuple(r.key for r in records) and features.period == 1
    assert frame.shape == (len(records), steps[0] if whole else STEPS[name], 24)
    for row, key in zip(frame, features.keys, strict=True):
        x = torch.from_numpy(arrays[key])
        if whole:
            torch.testing.assert_close(row, x, atol=1e-5, rtol=0)
        elif len(x) % len(row) == 0:
            torch.testing.assert_close(row, x.unflatten(0, (len(row), -1)).mean(1), atol=2e-3, rtol=0)
        else:
            torch.testing.assert_close(row.mean(0), x.mean(0), atol=0.5, rtol=0)
    assert torch.equal(features.positions, (torch.arange(frame.shape[1]) + 0.5) / frame.shape[1])
    own = "actor" in dump.views
    assert own == (write is safetensors_stack)
    torch.testing.assert_close(features.views["actor"], frame + own)
    states = {row.item: row for row in check_dataset(name, tmp_path).itertuples()}
    row = next(row for item, row in states.items() if item.startswith("features in "))
    assert row.state == "ok" and row.found == f"{len(records)} of {len(records)}"
    assert any("teacher" in item for item in states) == (not own)
    assert states["videos"].state == "ok" and "in their place" in states["videos"].remedy


@pytest.mark.parametrize("name", LAYOUTS)
def test_the_systems_run_on_features_alone(tmp_path, monkeypatch, name):
    write, steps = LAYOUTS[name][0]
    records, _ = laid_out(tmp_path / "data", name, write, steps)
    use(tmp_path / "data", monkeypatch, tmp_path)
    assert source_kind(name, tmp_path / "data") == "features"
    assert source_name(tmp_path / "data", name) == "published features"
    group = {"rg": "Ball", "finefs": "SP"}.get(name, "")
    trials = [
        declare(name, system, 1.0, 0, TINY.resized(name, None, None), group, warmup=0.0)
        if system == OURS
        else declare(name, system, 1.0, 0, TINY.resized(name, None, None), group)
        for system in ("Ridge on the mean feature", "I3D+MLP", OURS)
    ]
    assert {trial.source for trial in trials} == {"features"}
    run_trials(trials)
    found = results(trials)
    assert set(found["n"]) == {sum(r.split == "test" and r.group == group for r in records)}
    assert found["rho"].iloc[0] > 0.5  # the score can be seen in these features, and ridge needs no steps
    assert "features/actor" in idle_terms(trials[2])["L_un"]


def test_a_view_of_the_teacher_lets_its_loss_act(tmp_path, monkeypatch):
    laid_out(tmp_path / "data", "mtl-aqa", safetensors_stack, (10, 10))
    use(tmp_path / "data", monkeypatch, tmp_path)
    trial = declare("mtl-aqa", OURS, 0.5, 0, TINY.resized("mtl-aqa", None, None), warmup=0.0, tau=0.0)
    run_trials([trial])
    assert "L_un" not in idle_terms(trial)
    views = trial_data(trial).features.views
    assert not torch.equal(views["frame"], views["actor"])
    views = trial_data(declare("mtl-aqa", OURS, 0.5, 0, TINY, teacher="frame")).features.views
    assert views["frame"] is views["actor"]


def test_folders_name_the_views(tmp_path):
    write_annotations("rg", tmp_path, 8, 8, 0)
    records = load_records("rg", tmp_path)
    arrays = drawn(records)
    for place, off in (("frame", 0), ("actor", 5)):
        one_array_a_routine(tmp_path / "RG" / "features" / place, records, {k: x + off for k, x in arrays.items()})
    views = dumped_features("rg", tmp_path, records).views
    torch.testing.assert_close(views["actor"], views["frame"] + 5)
    (tmp_path / "RG/features/actor/swintx_avg_fps25_clip32" / f"{records[0].key}.npy").unlink()
    with pytest.raises(AnnotationError, match=f"actor.*{records[0].key}"):
        dumped_features("rg", tmp_path, records)
    row = row_of(check_dataset("rg", tmp_path), "features of the teacher's view")
    assert row.state == "missing" and records[0].key in row.found


def test_the_hash_of_a_trial_names_the_content_of_the_features(tmp_path, monkeypatch):
    records, arrays = laid_out(tmp_path / "data", "mtl-aqa", one_tensor_a_dive, (20, 20))
    use(tmp_path / "data", monkeypatch, tmp_path)
    trial = declare("mtl-aqa", "I3D+MLP", 0.5, 0, TINY.resized("mtl-aqa", None, None))
    first = trial_hash(trial)
    file = next((tmp_path / "data/MTL-AQA/features").rglob("*.pt"))
    content = file.read_bytes()
    os.utime(file, (1, 1))
    assert trial_hash(trial) == first  # neither time nor place
    torch.save(torch.load(file) + 1, file)
    assert trial_hash(trial) != first
    file.write_bytes(content)
    os.rename(tmp_path / "data", tmp_path / "moved")
    monkeypatch.setenv("SAPNET_DATA", str(tmp_path / "moved"))
    assert trial_hash(trial) == first


def test_missing_records_stop_a_run_or_are_left_out(tmp_path, monkeypatch):
    records, _ = laid_out(tmp_path / "data", "mtl-aqa", one_tensor_a_dive, (20, 20))
    use(tmp_path / "data", monkeypatch, tmp_path)
    lost = next(r for r in records if r.split == "test")
    video, clip = map(int, lost.key.split("-"))
    next((tmp_path / "data/MTL-AQA/features").rglob(f"{video:02d}_{clip:02d}.pt")).unlink()
    trial = declare("mtl-aqa", "I3D+MLP", 0.5, 0, TINY.resized("mtl-aqa", None, None))
    with pytest.raises(AnnotationError, match=f"1 of 32 .*{lost.key}.*--skip-bad") as error:
        run_trials([trial])
    assert "\n" not in str(error.value) and not list((tmp_path / "runs" / "trials").glob("mtl*"))
    before = trial_hash(trial)
    monkeypatch.setenv("SAPNET_SKIP_BAD", "1")
    assert trial_hash(trial) != before
    run_trials([trial])
    assert lost.key not in set(predictions(trial)["key"]) and len(predictions(trial)) == 11
    assert list(trial_data(trial).features.skipped) == [lost.key]
    row = row_of(check_dataset("mtl-aqa", tmp_path / "data"), "features in MTL-AQA/features")
    assert row.state == "missing" and row.found == "31 of 32" and lost.key in row.remedy


def test_what_needs_frames_is_left_out_of_tables_and_refused_in_one_line(tmp_path, monkeypatch):
    laid_out(tmp_path / "data", "mtl-aqa", stack_with_keys, (10, 10), 80, 16)
    use(tmp_path / "data", monkeypatch, tmp_path)
    profile = get_profile("smoke")
    methods = {trial.method for trial in comparison_trials("IV", profile).values()}
    assert "sap-net" in methods and not methods & {"s4l", "avg-mtl"}
    assert {key[0] for key in declared_trials("fig10", profile)} == {"actor region", "whole frame"}
    assert "nine clips" not in {key[1] for key in declared_trials("decisions", profile)}
    assert {trial.source for trial in table_trials("I", profile).values()} == {"features"}
    assert not declared_trials("trained", get_profile("study"))
    for change, word in (
        ({"system": "S4L"}, "turned frames"),
        ({"teacher": "photometric"}, "photometric"),
        ({"clip_sampling": "9x16"}, "clip_sampling"),
        ({"boxes": "whole"}, "boxes"),
        ({"backbone": "c3d"}, "backbone"),
    ):
        trial = declare("mtl-aqa", **{"system": OURS, "share": 0.5, "seed": 0, "profile": profile, **change})
        with pytest.raises(ValueError, match=f"^mtl-aqa: .*{word}"):
            run_trials([trial])
    with pytest.raises(ValueError, match="maps or pixels of videos"):
        Trial("mtl-aqa", "features", "mlp", 1.0, 0, "score", 8, 4, 2, backbone_training="last blocks")


def test_videos_go_before_features(tmp_path):
    records, _ = laid_out(tmp_path, "rg", one_array_a_routine, (26, 26))
    (tmp_path / "RG" / "videos").mkdir()
    (tmp_path / "RG" / records[0].path).write_bytes(b"film")
    assert source_kind("rg", tmp_path) == "videos"


@pytest.mark.parametrize(
    "name, same",
    [("01_01", "1/1"), ("01-001", (1, 1)), ("Ball_001.mp4", "ball 1 MP4"), ("FINA 2019_r1/07", ("FINA_2019_r1", 7))],
)
def test_names_are_equal_that_have_the_same_words_and_numbers(name, same):
    assert normal(name) == normal(same) != normal(f"{name}1")


@pytest.mark.skipif(not OFFICIAL.is_dir(), reason="the official annotations are not on this machine")
@pytest.mark.parametrize("name", ["mtl-aqa", "finediving", "rg"])
def test_official_keys_have_names_of_their_own(name, tmp_path):
    records = load_records(name, OFFICIAL)
    assert len({normal(record.key) for record in records}) == len(records)


# ---- files that are refused


@pytest.fixture
def dives(tmp_path):
    write_annotations("mtl-aqa", tmp_path, 4, 4, 0)
    records = load_records("mtl-aqa", tmp_path)
    folder = tmp_path / "MTL-AQA" / "features"
    folder.mkdir()
    return tmp_path, records, folder


def first(record):
    return record.key.replace("-", "_")


@pytest.mark.parametrize(
    "array, fault",
    [
        (np.full((3, 8), np.nan, np.float32), "step 0 has values that are not finite"),
        (np.full((3, 8), 1e300), "not finite"),
        (np.zeros((3, 1024, 7, 7)), "3 x 1024 x 7 x 7.*averaged over space"),
        (np.zeros((3, 40, 8)), "3 x 40 x 8"),
        (np.zeros((0, 8)), "0 x 8"),
        (np.float32(3), "a single number"),
        (np.zeros((3, 8), complex), "complex128"),
        (np.array([["a", "b"]]), "holds text"),
        (np.array([{"a": 1}, 2], dtype=object), "objects, which could run code"),
    ],
)
def test_a_bad_array_is_refused_in_one_line(dives, array, fault):
    root, records, folder = dives
    file = folder / f"{first(records[0])}.npy"
    np.save(file, array, allow_pickle=True)
    refused(lambda _: read_dump("mtl-aqa", root, records), file)
    with pytest.raises(AnnotationError, match=fault):
        read_dump("mtl-aqa", root, records)
    row = row_of(check_dataset("mtl-aqa", root), "features in MTL-AQA/features")
    assert row.state == "differs" and row.remedy


def test_what_contradicts_itself_is_refused(dives):
    root, records, folder = dives
    one, other = folder / f"{first(records[0])}.npy", folder / "i3d" / f"{first(records[0])}.npz"
    np.save(one, np.zeros((4, 8)))
    other.parent.mkdir()
    np.savez(other, features=np.zeros((4, 8)))
    refused(lambda _: read_dump("mtl-aqa", root, records), other, "second array of record", str(one))
    other.unlink()
    np.save(folder / f"{first(records[1])}.npy", np.zeros((4, 9)))
    with pytest.raises(AnnotationError, match="9 channels.* 8"):
        read_dump("mtl-aqa", root, records)
    for file in folder.glob("*.npy"):
        file.unlink()
    np.save(folder / "features.npy", np.zeros((8, 4, 8)))
    with pytest.raises(AnnotationError, match="features.npy: .*names"):
        read_dump("mtl-aqa", root, records)
    (folder / "keys.txt").write_text("\n".join(first(r) for r in records[:7]))
    with pytest.raises(AnnotationError, match="8 rows.*keys.txt.* 7 "):
        read_dump("mtl-aqa", root, records)
    (folder / "keys.txt").write_bytes(b"\xff\xfe\x00")
    with pytest.raises(AnnotationError, match="keys.txt: .*UTF-8"):
        read_dump("mtl-aqa", root, records)


def test_names_that_fit_no_record_are_told(dives):
    root, records, folder = dives
    np.save(folder / "dive_a.npy", np.zeros((4, 8)))
    with pytest.raises(AnnotationError, match="8 of 8 .*dive_a"):
        dumped_features("mtl-aqa", root, records)


def test_a_link_must_stay_inside(dives, tmp_path_factory):
    root, records, folder = dives
    outside = tmp_path_factory.mktemp("outside") / "a.npy"
    np.save(outside, np.zeros((4, 8)))
    (folder / f"{first(records[0])}.npy").symlink_to(outside)
    with pytest.raises(AnnotationError, match=f"{first(records[0])}.npy: .*link"):
        read_dump("mtl-aqa", root, records)


class Runs:
    def __reduce__(self):
        return os.system, ("touch /tmp/sapnet-was-run",)


def pickled(value) -> bytes:
    return pickle.dumps(value)


def dict_npy(content: bytes) -> bytes:
    return npy(header("()", "'|O'"), content)


def bomb() -> bytes:
    """A `.npz` of a few kilobytes that unpacks to 160 MB."""
    from io import BytesIO

    stream = BytesIO()
    with zipfile.ZipFile(stream, "w", zipfile.ZIP_DEFLATED) as out:
        out.writestr("a.npy", npy(header("(40000000, 4)", "'|i1'"), bytes(160_000_000)))
    return stream.getvalue()


SHARED = pickled({str(i): 0 for i in range(3)})
HOSTILE = {
    **{(".npy", name): content for name, content in ARRAYS.items() if name not in ("not finite",)},
    **{(".npz", name): content for name, content in ARCHIVES.items()},
    **{(".safetensors", name): content for name, content in OTHERS.items()},
    (".npy", "an object that runs"): dict_npy(pickled(Runs())),
    (".npy", "a dict of what runs"): dict_npy(pickled({"01_01": Runs()})),
    (".npy", "a torn dict"): dict_npy(pickled({"a": np.zeros(3)})[:-9]),
    (".pkl", "a call"): pickled(Runs()),
    (".pkl", "a dict of calls"): pickled({(1, 1): Runs()}),
    (".pkl", "nothing"): b"",
    (".pkl", "half"): pickled({(1, 1): np.zeros((4, 8))})[:-30],
    (".pkl", "text"): b"features\n" * 100,
    (".pkl", "sets"): pickled({(1, 1): {1, 2}}),
    (".pkl", "a list of lists"): pickled({(1, 1): [[1.0, 2.0]]}),
    (".pt", "a call in a storage"): b"\x80\x04" + called(named("torch.storage", "_load_from_bytes"), text("x")) + b".",
    (".pt", "a storage of a call"): b"\x80\x04"
    + called(named("torch.storage", "_load_from_bytes"), b"B" + struct.pack("<I", 30) + pickled(Runs())[:30])
    + b".",
    (".pt", "an archive that is torn"): bomb()[:900],
    (".npz", "a bomb of zeros"): bomb(),
    (".safetensors", "keys that are none"): struct.pack("<Q", 36) + b'{"__metadata__":{"keys":"[[[1]]]"}} ',
}


@pytest.fixture(scope="module")
def became(tmp_path_factory):
    folder, files = tmp_path_factory.mktemp("hostile"), {}
    for place, ((kind, name), content) in enumerate(HOSTILE.items()):
        files[kind, name] = folder / f"{place:03d}{kind}"
        files[kind, name].write_bytes(content)
    return {key: (files[key], what) for key, what in zip(files, outcomes("features", files.values()), strict=True)}


@pytest.mark.parametrize("kind, name", HOSTILE)
def test_a_hostile_file_is_refused_in_one_line(became, kind, name):
    file, what = became[kind, name]
    if what["kind"] == "read":  # sound numbers: `read_dump` looks at their shape and values
        assert (kind, name) in SOUND
        return
    is_refusal(what, file, ("AnnotationError",))
    assert not Path("/tmp/sapnet-was-run").exists()


SOUND = {
    (".npy", "numbers of 16 bytes that are none"),
    (".safetensors", "a deep list"),
    (".safetensors", "not finite"),
    (".safetensors", "beyond float32"),
    (".safetensors", "numbers of eight bits"),
}


def test_the_same_bytes_under_many_names_take_no_memory(tmp_path):
    """A pickle may refer to one array a million times; each counts once for the memory of the file."""
    x = np.zeros(200_000, np.float32)
    with open(tmp_path / "a.pkl", "wb") as file:
        pickle.dump({i: x for i in range(20_000)}, file)
    (what,) = outcomes("features", [tmp_path / "a.pkl"])
    assert what["kind"] == "read" and what["peak"] < 200, what


def test_tensors_of_every_kind_are_read(tmp_path):
    x = torch.arange(12.0).reshape(3, 4)
    torch.save(x.t().contiguous().t(), tmp_path / "strided.pt")
    torch.save(torch.nn.Parameter(x), tmp_path / "parameter.pt", _use_new_zipfile_serialization=False)
    save_file({"a": x.bfloat16()}, tmp_path / "half.safetensors", {"keys": json.dumps(["p", "q", "r"])})
    with open(tmp_path / "dict.pkl", "wb") as file:
        pickle.dump({("ev", 1): x, "b": x.numpy(), "c": [x, x + 1], "names": [("ev", 1), ("ev", 2)]}, file, 2)
    for name in ("strided.pt", "parameter.pt"):
        ((_, found),) = named_arrays(tmp_path / name)
        np.testing.assert_array_equal(found, x)
    found = dict(named_arrays(tmp_path / "half.safetensors"))
    np.testing.assert_array_equal(found["a"], x)
    assert found["keys"].tolist() == ["p", "q", "r"]
    found = dict(named_arrays(tmp_path / "dict.pkl"))
    np.testing.assert_array_equal(found["ev", 1], x)
    assert found["c"].shape == (2, 3, 4) and found["names"].tolist() == ["ev 1", "ev 2"]


def test_a_folder_without_features_is_none(tmp_path):
    write_annotations("mtl-aqa", tmp_path, 4, 4, 0)
    (tmp_path / "MTL-AQA" / "features").mkdir()
    (tmp_path / "MTL-AQA" / "features" / "README.md").write_text("later")
    assert dump_folder("mtl-aqa", tmp_path) is None and source_kind("mtl-aqa", tmp_path) == "official"
    assert not [r for r in check_dataset("mtl-aqa", tmp_path).itertuples() if r.item.startswith("features")]
