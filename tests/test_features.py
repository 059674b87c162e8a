"""The feature store: stored features are correct, identical however they are computed, and never partial."""

import os
import shutil
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from wording import in_order

from sapnet_core.backbones import registry
from sapnet_core.backbones.i3d import load_shipped
from sapnet_core.datasets import Record, load_records
from sapnet_core.datasets.clips import step_positions
from sapnet_core.detection.crops import crop_track, square_track
from sapnet_core.features import extraction, store, video_source
from sapnet_core.features.extraction import FeatureRequest
from sapnet_core.features.store import features_digest, twin_features
from sapnet_core.features.video_source import TwinSource
from sapnet_core.features.views import crop_size
from sapnet_core.runtime.files import read_tensors, write_tensors
from sapnet_core.simulator import simulate
from sapnet_core.simulator.draw_annotations import write_annotations
from sapnet_core.simulator.settings import SimSettings, settings_for

SIZE = 48


@pytest.fixture(autouse=True)
def small_shards(monkeypatch):
    monkeypatch.setattr(store, "SHARD", 2)


@pytest.fixture(scope="module")
def records(tmp_path_factory) -> list[Record]:
    root = tmp_path_factory.mktemp("annotations")
    write_annotations("finediving", root, 4, 1, seed=3)
    return load_records("finediving", root)


@pytest.fixture(scope="module")
def stored(records, tmp_path_factory):
    folder = tmp_path_factory.mktemp("features")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(store, "SHARD", 2)
        return folder, twin_features(records, size=SIZE, folder=folder, jobs=1)


@pytest.fixture(scope="module")
def stored_four(records, tmp_path_factory):
    folder = tmp_path_factory.mktemp("four")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(store, "SHARD", 2)
        return folder, twin_features(records[:4], size=SIZE, folder=folder, jobs=1)


@pytest.fixture
def four(stored_four, tmp_path):
    """The features of the first four videos, of which `tmp_path` holds a copy in two shards that a test may damage."""
    shutil.copytree(stored_four[0], tmp_path, dirs_exist_ok=True)
    return stored_four[1]


def same(a, b) -> bool:
    return (
        a.keys == b.keys
        and all(torch.equal(a.views[v], b.views[v]) for v in ("frame", "actor"))
        and all(torch.equal(getattr(a, n), getattr(b, n)) for n in ("positions", "subactions", "factors"))
    )


def test_the_store_holds_the_backbones_features_of_both_views(records, stored):
    _, found = stored
    net = load_shipped()
    assert found.keys == tuple(r.key for r in records) and found.views["frame"].shape == (5, 18, net.channels)
    assert torch.equal(found.positions, step_positions("9x16", 96))
    for i in (0, 4):
        twin = simulate(records[i], size=SIZE)
        crop = crop_track(twin.video, square_track(twin.boxes), crop_size(SIZE))
        for view, video in (("frame", twin.video), ("actor", crop)):
            assert torch.equal(found.views[view][i], net.features(video[None], "9x16")[0])
        assert torch.equal(found.factors[i], twin.factors)
        assert torch.equal(found.subactions[i].long(), twin.subactions.long())
    assert not torch.equal(found.views["frame"], found.views["actor"])


def test_labels_of_103_frames_are_resampled_to_96(tmp_path):
    write_annotations("mtl-aqa", tmp_path, 1, 1, seed=4)
    records = load_records("mtl-aqa", tmp_path)
    found = twin_features(records, size=SIZE, folder=tmp_path, views=("frame",), jobs=1)
    assert found.views["frame"].shape[1] == 20 and set(found.views) == {"frame"}
    labels = simulate(records[0], size=SIZE).subactions
    assert len(labels) == 103 and found.subactions.shape == (2, 96)
    assert set(labels.tolist()) == set(found.subactions[0].tolist())
    assert (found.subactions[0].diff() >= 0).all() == (labels.diff() >= 0).all()


def test_workers_make_the_same_bits(records, stored, tmp_path):
    done = []
    found = twin_features(records, size=SIZE, folder=tmp_path, jobs=2, progress=lambda *n: done.append(n))
    assert same(found, stored[1])
    assert done[0] == (0, 5) and sorted(done)[-1] == (5, 5) and len(done) == 4


def ahead_of_compute(monkeypatch, ahead=2):
    """Compute as on a GPU, but on this processor: threads load videos while features are computed."""
    monkeypatch.setattr(
        extraction,
        "compute_all",
        lambda missing, jobs: extraction._compute_ahead(extraction._grouped(missing), jobs, ahead),
    )


def test_videos_loaded_ahead_give_the_same_and_few_wait(records, stored, tmp_path, monkeypatch):
    waiting, most, load, backbone = set(), [], extraction._load, load_shipped()

    def counted(job, record):
        waiting.add(record.key)
        most.append(len(waiting))
        return load(job, record)

    class Net:
        device, channels = backbone.device, backbone.channels

        def features(self, videos, clip_sampling):
            waiting.clear()
            return backbone.features(videos, clip_sampling)

    monkeypatch.setattr(extraction, "_load", counted)
    monkeypatch.setattr(registry, "load_backbone", lambda name, device="cpu": Net())
    ahead_of_compute(monkeypatch)
    assert same(stored[1], twin_features(records, size=SIZE, folder=tmp_path, jobs=3))
    assert max(most) <= 3  # of five videos, two wait and one is in work


def test_a_video_that_fails_ahead_stops_the_run_or_is_named(records, tmp_path, monkeypatch):
    source = TwinSource(size=SIZE)
    load, bad = TwinSource.load, records[2].key

    def broken(self, record, device="cpu"):
        if record.key == bad:
            raise ValueError(f"{bad}: torn")
        return load(self, record, device)

    monkeypatch.setattr(TwinSource, "load", broken)
    ahead_of_compute(monkeypatch)
    with pytest.raises(ValueError, match=f"{bad}: torn"):
        store.video_features(records, source, folder=tmp_path, jobs=2)
    monkeypatch.setattr(TwinSource, "skip", True)
    found = store.video_features(records, source, folder=tmp_path, jobs=2)
    assert found.skipped == {bad: f"{bad}: torn"} and len(found.keys) == len(records) - 1


def test_progress_counts_from_what_is_there(records, stored, tmp_path):
    calls = []
    twin_features(records, size=SIZE, folder=tmp_path, jobs=1, progress=lambda *news: calls.append(news))
    assert calls == [(0, 5), (2, 5), (4, 5), (5, 5)]
    next(tmp_path.rglob("*.safetensors")).unlink()
    calls.clear()
    twin_features(records, size=SIZE, folder=tmp_path, jobs=1, progress=lambda *news: calls.append(news))
    assert calls[0][0] in (3, 4) and calls[-1] == (5, 5) and len(calls) == 2
    calls.clear()
    twin_features(records, size=SIZE, folder=tmp_path, jobs=1, progress=lambda *news: calls.append(news))
    assert calls == []


def test_passes_over_one_video_make_it_once_and_store_what_each_alone_does(records, stored, tmp_path, monkeypatch):
    every, own, made, calls = tuple(records), TwinSource(size=SIZE), [], []
    passes = [
        FeatureRequest(every, own),
        FeatureRequest(every, own, views=("photometric",)),
        FeatureRequest(every, own, "dense"),
        FeatureRequest(every, own, views=("frame",), backbone="c3d"),
        FeatureRequest(every[:1], TwinSource(1, SIZE)),
    ]

    def simulated(record, **rest):
        made.append((record.key, rest["seed"]))
        return simulate(record, **rest)

    monkeypatch.setattr(video_source, "simulate", simulated)
    store.prepare_features(passes, folder=tmp_path, jobs=1, progress=lambda *news: calls.append(news))
    assert sorted(made) == sorted([(r.key, 0) for r in records] + [(records[0].key, 1)])
    assert calls == [(0, 21), (8, 21), (16, 21), (20, 21), (21, 21)]  # the most expensive group first
    monkeypatch.setattr(video_source, "simulate", None)  # everything is stored: rendering would fail
    assert same(twin_features(records, size=SIZE, folder=tmp_path, jobs=1), stored[1])
    monkeypatch.undo()
    monkeypatch.setattr(store, "SHARD", 2)
    for one in passes[1:]:
        found, alone = (store.video_features(**vars(one), folder=tmp_path / name, jobs=1) for name in ("", "alone"))
        assert all(torch.equal(found.views[view], alone.views[view]) for view in one.views)


def test_features_are_joined_by_key_in_any_order_and_read_again(records, stored, monkeypatch):
    folder, first = stored
    monkeypatch.setattr(video_source, "simulate", None)  # rendering would fail
    order = [3, 0, 4, 2, 1]
    again = twin_features([records[i] for i in order], size=SIZE, folder=folder, jobs=1)
    assert again.keys == tuple(records[i].key for i in order)
    assert torch.equal(again.views["actor"], first.views["actor"][order])
    assert torch.equal(again.factors, first.factors[order])


def rewritten(change):
    def damage(file, _):
        tensors, metadata = read_tensors(file)
        write_tensors(file, tensors, change(tensors, metadata))

    return damage


def in_its_place(put):
    def damage(file, _):
        file.unlink()
        put(file)

    return damage


DAMAGE = {
    "torn": lambda file, _: file.write_bytes(file.read_bytes()[:-100]),
    "another's": lambda file, other: file.write_bytes(other.read_bytes()),
    "empty": lambda file, _: file.write_bytes(b""),
    "changed": rewritten(lambda t, m: t["frame"][0, 0].add_(1) is None or m),
    "a list": rewritten(lambda t, m: [1]),
    "other keys": rewritten(lambda t, m: m | {"keys": 3, "skipped": None}),
    "left out": rewritten(lambda t, m: m | {"keys": m["keys"][:1], "skipped": {m["keys"][1]: "torn"}}),
    "a link": in_its_place(lambda file: file.symlink_to("nowhere")),
    "a folder": in_its_place(lambda file: (file / "deep").mkdir(parents=True)),
    "a pipe": in_its_place(os.mkfifo),
}


@pytest.mark.parametrize("damage", DAMAGE)
def test_what_is_damaged_is_named_and_made_again_and_the_rest_read(
    records, four, tmp_path, monkeypatch, damage, capsys
):
    file, other = sorted(tmp_path.rglob("*.safetensors"))
    before = file.read_bytes()
    DAMAGE[damage](file, other)
    rendered = []
    monkeypatch.setattr(video_source, "simulate", lambda r, **rest: rendered.append(r) or simulate(r, **rest))
    capsys.readouterr()
    assert same(twin_features(records[:4], size=SIZE, folder=tmp_path, jobs=1), four)
    said = capsys.readouterr().err
    assert said.startswith(f"{file}: ") and said.count("\n") == 1 and said.endswith("computed again\n")
    assert len(rendered) == 2 and file.read_bytes() == before and len([*tmp_path.rglob("*")]) == 3


def test_a_shard_of_other_videos_under_its_name_is_not_used(records, tmp_path, capsys):
    """The other shard has the same records, so its keys match; only the seed of the videos differs."""
    kept = twin_features(records[:2], size=SIZE, folder=tmp_path, jobs=1)
    (file,) = tmp_path.rglob("*.safetensors")
    twin_features(records[:2], size=SIZE, seed=1, folder=tmp_path / "other", jobs=1)
    (other,) = (tmp_path / "other").rglob("*.safetensors")
    file.write_bytes(other.read_bytes())
    assert same(twin_features(records[:2], size=SIZE, folder=tmp_path, jobs=1), kept)
    assert capsys.readouterr().err.startswith(f"{file}: ")


def test_shards_of_earlier_versions_are_counted_and_made_again(records, four, tmp_path, capsys):
    for file in tmp_path.rglob("*.safetensors"):
        tensors, metadata = read_tensors(file)
        write_tensors(file, tensors, {name: value for name, value in metadata.items() if name != "seal"})
    assert same(twin_features(records[:4], size=SIZE, folder=tmp_path, jobs=1), four)
    said = capsys.readouterr().err
    assert said.count("\n") == 1 and in_order(said, tmp_path, 2, "earlier")


def test_folders_that_cannot_be_written_are_said_before_work(records, tmp_path, monkeypatch):
    monkeypatch.setattr(video_source, "simulate", lambda *_, **__: pytest.fail("a video was made in vain"))
    (tmp_path / "file").write_text("")
    (tmp_path / "features").mkdir()
    (tmp_path / "features" / records[0].dataset).write_text("")
    places = {
        tmp_path / "file": "file: ",
        tmp_path / "file" / "deep": "file: ",
        tmp_path / ("x" * 300): "too long",
        tmp_path / "features": f"{records[0].dataset}: ",
    }
    for folder, named in places.items():
        with pytest.raises(OSError, match=named) as error:
            twin_features(records, size=SIZE, folder=folder, jobs=1)
        assert "\n" not in str(error.value)


def test_what_killed_runs_left_is_removed_when_old(records, tmp_path):
    folder = tmp_path / records[0].dataset
    folder.mkdir()
    for name, hours in ((".a.1.b.tmp", 2), (".c.1.d.tmp", 0)):
        (folder / name).write_bytes(b"half")
        os.utime(folder / name, (time.time() - hours * 3600,) * 2)
    twin_features(records[:2], size=SIZE, folder=tmp_path, jobs=1)
    assert [file.name for file in folder.glob(".*")] == [".c.1.d.tmp"]


def test_two_writers_at_once_leave_whole_files(records, stored, tmp_path):
    with ThreadPoolExecutor(2) as pool:
        asked = [pool.submit(twin_features, records, size=SIZE, folder=tmp_path, jobs=1) for _ in range(2)]
        assert all(same(a.result(), stored[1]) for a in asked)
    assert len(list(tmp_path.rglob("*"))) == 1 + 3  # the dataset's folder and three shards, no partial file


def test_the_name_of_a_shard_depends_on_what_the_video_depends_on(records, stored):
    record = records[0]

    def name_of(one):
        return store._cut(FeatureRequest((one,), TwinSource()), Path(), "cpu")[0].path.name

    name = name_of(record)
    assert name_of(replace(record, split="validation", path="y", event="z")) == name
    for change in ({"score": 1.0}, {"action": "107B"}, {"transitions": (1, 2)}, {"end": record.end + 1}):
        assert name_of(replace(record, **change)) != name

    def digest(dataset="finediving", clip_sampling=None, views=("frame", "actor"), **video_source):
        return features_digest(dataset, TwinSource(**video_source), clip_sampling=clip_sampling, views=views)

    digests = {
        digest(),
        digest("mtl-aqa"),
        digest(seed=1),
        digest(size=64),
        digest(clip_sampling="dense"),
        digest(boxes="whole"),
        digest(settings=SimSettings(nuisance=7.5)),
        digest(views=("frame",)),
    }
    assert len(digests) == 8
    assert digest(settings=settings_for("finediving")) == digest()


def test_each_backbone_has_features_of_its_own(records, stored, tmp_path):
    for name in ("c3d", "swin"):
        given = {"size": SIZE, "folder": tmp_path, "jobs": 1, "views": ("frame",), "backbone": name}
        found, again = twin_features(records[:2], **given), twin_features(records[:2], **given)
        net = registry.load_backbone(name)
        assert set(found.views) == {"frame"} and torch.equal(found.views["frame"], again.views["frame"])
        assert found.views["frame"].shape == (2, 18, net.channels)
        twin = simulate(records[1], size=SIZE)
        assert torch.equal(found.views["frame"][1], net.features(twin.video[None], "9x16")[0])
        assert torch.equal(found.positions, stored[1].positions)
    assert len([*tmp_path.rglob("*.safetensors")]) == 2  # one shard for each backbone
    with pytest.raises(ValueError, match="backbone 'resnet'.*i3d, c3d, swin"):
        twin_features(records, folder=tmp_path, backbone="resnet")


def test_refusals_say_what_is_wrong(records, tmp_path):
    for bad in ([], [records[0]] * 2, [records[0], replace(records[1], dataset="mtl-aqa")]):
        with pytest.raises(ValueError, match=rf"^{len(bad)} records of "):
            twin_features(bad, folder=tmp_path)
    with pytest.raises(ValueError, match="frame, actor"):
        twin_features(records, folder=tmp_path, views=("audio",))


@pytest.mark.parametrize(
    ("numbers", "jobs"),
    [
        (torch.float32, 2),
        (None, 1),
        pytest.param(torch.float32, 1, marks=pytest.mark.slow),
        pytest.param(None, 2, marks=pytest.mark.slow),
    ],
)
def test_features_can_be_computed_in_another_number_format(records, stored, tmp_path, monkeypatch, numbers, jobs):
    """Their values and the names of their files are those of a processor whose own format it is."""
    own = registry.fast_dtype("cpu")
    monkeypatch.setenv("SAPNET_NUMBERS", str(numbers or own).removeprefix("torch."))
    found = twin_features(records, size=SIZE, folder=tmp_path / "asked", jobs=jobs)
    monkeypatch.delenv("SAPNET_NUMBERS")
    assert registry.fast_dtype("cpu") == own
    net, twin = registry.load_backbone("i3d", numbers=numbers or own), simulate(records[1], size=SIZE)
    assert torch.equal(found.views["frame"][1], net.features(twin.video[None], "9x16")[0])
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(registry, "fast_dtype", lambda device: numbers or own)
        assert same(found, twin_features(records, size=SIZE, folder=tmp_path / "own", jobs=1))
    names = [{path.name for path in (tmp_path / which).rglob("*.safetensors")} for which in ("asked", "own")]
    assert names[0] == names[1] and len(names[0]) == 3
    others = {path.name for path in stored[0].rglob("*.safetensors")}
    assert names[0] == others if (numbers or own) == own else not names[0] & others
    assert same(found, stored[1]) == ((numbers or own) == own)


def test_a_number_format_that_the_processor_lacks_is_refused_before_any_work(monkeypatch):
    monkeypatch.setattr(registry, "fast_dtype", lambda device: torch.float32)
    monkeypatch.setenv("SAPNET_NUMBERS", "bfloat16")
    with pytest.raises(ValueError, match="SAPNET_NUMBERS=bfloat16: cpu .*float32"):
        registry.number_format("cpu")
