"""Sources: which one each dataset of a folder gets, and that videos on disk are read like their twins."""

from dataclasses import replace

import pytest
import torch
from wording import in_order

from sapnet_core.datasets import load_records
from sapnet_core.datasets.clips import SAMPLED, sample_frames
from sapnet_core.datasets.video import VideoError
from sapnet_core.experiments.profiles import DATASETS
from sapnet_core.features.source import SOURCE_NAMES, source_kind, source_name, source_records
from sapnet_core.features.store import video_features
from sapnet_core.features.video_source import DiskSource, TwinSource
from sapnet_core.simulator import simulate
from sapnet_core.simulator.draw_annotations import write_annotations
from sapnet_core.simulator.export import write_layout

SIZE = 48


@pytest.fixture(scope="module")
def disk(tmp_path_factory):
    """A folder with the annotations of FineDiving, MTL-AQA and RG, and the videos of FineDiving and RG."""
    root = tmp_path_factory.mktemp("data")
    for name in ("finediving", "mtl-aqa", "rg"):
        write_annotations(name, root / name, 4, 4, seed=5)
        (folder,) = (root / name).iterdir()
        folder.rename(root / folder.name)
        (root / name).rmdir()
    write_layout(load_records("finediving", root), root, size=SIZE)
    short = [replace(record, end=record.start + 300) for record in load_records("rg", root)]
    write_layout(short, root, size=SIZE)
    return root


def test_each_dataset_is_taken_as_it_lies_there(disk):
    kinds = {name: source_kind(name, disk) for name in (*DATASETS, "folder")}
    assert list(kinds.values()) == ["official", "videos", "videos", "drawn", "drawn"]
    assert source_kind("rg", None) == "drawn"
    names = [source_name(disk, name) for name in ("mtl-aqa", "finediving")]
    assert names == [SOURCE_NAMES["official"], SOURCE_NAMES["videos"]]
    assert in_order(source_name(disk), "mtl-aqa", names[0], "finediving", names[1])
    assert source_name(None) == SOURCE_NAMES["drawn"] and len({*SOURCE_NAMES.values()}) == len(SOURCE_NAMES)


@pytest.mark.parametrize("dataset", DATASETS)
def test_drawn_sets_have_the_size_asked_for(dataset, tmp_path):
    records = source_records(dataset, 24, 12, 3, None, tmp_path)
    assert sum(r.split == "train" for r in records) == 24 and len(records) == 36
    assert records == source_records(dataset, 24, 12, 3, None, tmp_path) == sorted(records, key=lambda r: r.key)


def test_the_users_records_are_thinned_by_the_seed_and_never_multiplied(disk, tmp_path):
    some = source_records("mtl-aqa", 2, 1, 0, disk, tmp_path)
    assert [r.split for r in some].count("train") == 2 and set(some) <= set(load_records("mtl-aqa", disk))
    with pytest.raises(ValueError, match=" 5 train"):
        source_records("mtl-aqa", 5, 1, 0, disk, tmp_path)


def test_a_video_on_disk_is_its_twin_up_to_the_codec(disk):
    record = load_records("finediving", disk)[0]
    clip = DiskSource(disk, SIZE, boxes="whole").load(record)
    offsets = sample_frames(record)
    twin = simulate(record, size=SIZE, offsets=torch.arange(record.frames))
    assert clip.video.shape == (96, 3, SIZE, SIZE)
    assert (clip.video.float() - twin.video[offsets].float()).abs().mean() < 3
    assert torch.equal(clip.subactions, twin.subactions[offsets])
    assert clip.boxes.tolist() == [[0.0, 0.0, SIZE, SIZE]] * 96 and clip.factors.shape == (0,)


def test_a_routine_is_read_over_the_length_its_video_has(disk):
    record = load_records("rg", disk)[0]
    assert record.frames > 1000  # as annotated; the file has 300
    clip = DiskSource(disk, SIZE, boxes="whole").load(record)
    assert len(clip.video) == SAMPLED["rg"]
    short = replace(record, end=record.start + 300)
    twin = simulate(short, size=SIZE, offsets=torch.arange(300))
    index = sample_frames(short)
    two = (twin.video[i].float() for i in (index, (index + 9).clamp(max=299)))
    off, later = ((clip.video.float() - video).abs().mean() for video in two)
    assert off < 6 and off < later  # the right frames, up to the codec's errors


def test_a_bad_video_stops_the_run_or_is_left_out_by_name(disk, tmp_path):
    records = load_records("finediving", disk)[:3]
    missing = replace(records[1], path="FINADiving_MTL_256s/nowhere/1")
    asked = [records[0], missing, records[2]]
    with pytest.raises(VideoError, match="nowhere"):
        video_features(asked, DiskSource(disk, SIZE, boxes="whole"), folder=tmp_path, jobs=1)
    found = video_features(asked, DiskSource(disk, SIZE, boxes="whole", skip=True), folder=tmp_path, jobs=1)
    assert found.keys == (records[0].key, records[2].key) and set(found.skipped) == {missing.key}
    assert found.views["frame"].shape[0] == 2 and found.factors.shape == (2, 0)
    with pytest.raises(VideoError, match="nowhere"):  # without `skip`, the video is still missed
        video_features(asked, DiskSource(disk, SIZE, boxes="whole"), folder=tmp_path, jobs=1)


def test_whole_pictures_as_boxes_are_the_frames_themselves(disk):
    record = load_records("finediving", disk)[0]
    clip = TwinSource(size=SIZE, boxes="whole").load(record)
    assert clip.boxes[0].tolist() == [0, 0, SIZE, SIZE]
    true = TwinSource(size=SIZE).load(record)
    assert torch.equal(clip.video, true.video) and not torch.equal(clip.boxes, true.boxes)
