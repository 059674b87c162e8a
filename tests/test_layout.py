"""Twins are written in the layout of the official sets, and read back by the dataset readers and the video decoder."""

import math
from dataclasses import replace

import numpy as np
import pytest
import torch
from PIL import Image

from sapnet_core.__main__ import main
from sapnet_core.datasets import finediving, finefs, load_records, mtl_aqa, rhythmic_gymnastics
from sapnet_core.datasets.clips import sample_frames
from sapnet_core.datasets.disk_layout import FOLDERS, read_record
from sapnet_core.datasets.records import Element, Record
from sapnet_core.datasets.video import VideoError, frame_files, probe
from sapnet_core.detection.crops import crop_track, square_track
from sapnet_core.runtime.files import read_tensors
from sapnet_core.simulator import export, simulate
from sapnet_core.simulator.draw_annotations import write_annotations
from sapnet_core.simulator.export import frame_offsets, write_layout

SIZE, LENGTH = 64, 255  # pixels, frames: a routine takes at least ten seconds
COMPONENTS = tuple((name, 7.2) for name in finefs.COMPONENTS)


def routine(**changes):
    marks = (("difficulty", 9.0), ("execution", 8.0), ("penalty", 0.0))
    values = dict(
        dataset="rg",
        key="Ball_001",
        event="",
        path="videos/Ball_001.mp4",
        start=0,
        end=LENGTH,
        score=17.0,
        difficulty=1.0,
        action="Ball",
        judges=(),
        transitions=(),
        subactions=(),
        split="train",
        group="Ball",
        sub_scores=marks,
    )
    return Record(**(values | changes))


def program(**changes):
    marks = (("tes", 45.0), ("pcs", 36.0), ("factor", 1.0), ("deductions", 0.0), *COMPONENTS)
    elements = (Element("3Lz", "jump", 10, 30, 5.9, 1.0), Element("LSp4", "spin", 40, 65, 2.7, 0.5))
    changes = dict(key="0007", path="video/7.mp4", score=81.0, action="men SP", group="SP", elements=elements) | changes
    return routine(dataset="finefs", sub_scores=marks, **changes)


def dives(name, root):
    write_annotations(name, root, 2, 1, 0)
    return load_records(name, root)


def psnr(a, b):
    """Peak signal-to-noise ratio of the luma of two videos (T, 3, H, W), in dB."""
    weights = torch.tensor([0.299, 0.587, 0.114])[:, None, None]
    error = ((a.float() - b.float()) * weights).sum(1).square().mean()
    return 10 * math.log10(255**2 / float(error))


@pytest.fixture(scope="module")
def disk(tmp_path_factory):
    """All four sets written below one folder: (root, {dataset: records})."""
    pytest.importorskip("av")
    root = tmp_path_factory.mktemp("disk")
    sets = {name: dives(name, root) for name in ("mtl-aqa", "finediving")} | {"rg": [routine()], "finefs": [program()]}
    for records in sets.values():
        write_layout(records, root, size=SIZE, seed=3)
    return root, sets


@pytest.mark.parametrize("name", FOLDERS)
def test_written_twins_come_back_equal_up_to_the_codec(disk, name):
    root, sets = disk
    for record in sets[name]:
        offsets = frame_offsets(record)
        twin = simulate(record, size=SIZE, seed=3, offsets=offsets)
        video = read_record(root, record, offsets)
        assert video.shape == twin.video.shape
        mean = (video.float() - twin.video.float()).abs().mean()
        shown = psnr(video, twin.video)
        assert shown > 34 and mean < 6, f"{name}: PSNR of the brightness {shown:.1f} dB, mean difference {mean:.2f}"
        late = psnr(video[1:], twin.video[:-1])
        assert late < shown - 2, f"{name}: a frame late gives {late:.1f} dB, as it is {shown:.1f} dB"
        box = square_track(twin.boxes)
        crops = psnr(crop_track(video, box, 36), crop_track(twin.video, box, 36))
        assert crops > 30, f"{name}: crops {crops:.1f} dB"


@pytest.mark.parametrize("name", FOLDERS)
def test_sampled_frames_are_those_of_the_whole(disk, name):
    root, sets = disk
    record = sets[name][0]
    offsets = sample_frames(record)
    whole = read_record(root, record, frame_offsets(record))
    assert torch.equal(read_record(root, record, offsets), whole[offsets - frame_offsets(record)[0]])


def test_names_and_numbers_are_the_official_ones(disk):
    root, sets = disk
    for record in sets["mtl-aqa"]:
        folder = root / "MTL-AQA" / "new" / "new_total_frames_256s" / record.event
        # The dive is the frames from start_frame up to, but not including, end_frame, counted from 0; FFmpeg numbers
        # its files from 1.
        names = {path.name for path in folder.iterdir()}
        assert {f"{record.start + 1:08d}.jpg", f"{record.end:08d}.jpg", f"{record.end - 102:08d}.jpg"} <= names
        assert f"{record.end + 1:08d}.jpg" not in names
    for record in sets["finediving"]:
        folder = root / "FineDiving" / "FINADiving_MTL_256s" / record.event / str(int(record.key[-3:]))
        files = frame_files(folder)
        assert list(files) == list(range(record.start + 1, record.end + 1))
        assert files[record.end].name == f"{record.end:05d}.jpg" and len(files) == record.frames
    assert probe(root / "RG" / "videos" / "Ball_001.mp4") == (LENGTH, 25.0, SIZE, SIZE)
    assert probe(root / "FineFS" / "video" / "7.mp4") == (LENGTH, 25.0, SIZE, SIZE)


def test_official_dives_get_the_numbers_of_the_published_folders(official):
    records = {record.key: record for record in load_records("finediving", official)}
    for key, first, last in (("000", 489, 592), ("011", 14425, 14542)):  # as the authors' README lists them
        names = export._names(records[f"FINADivingWorldCup2021_Men3m_final_r1-{key}"])
        assert (names[0], names[-1]) == (f"{first:05d}.jpg", f"{last:05d}.jpg")


def test_folders_are_those_of_the_readers():
    readers = (mtl_aqa, finediving, rhythmic_gymnastics, finefs)
    assert list(FOLDERS.values()) == [reader.FOLDER for reader in readers]


def test_truth_lies_beside(disk):
    root, sets = disk
    for name, records in sets.items():
        for record in records:
            truth, _ = read_tensors(root / FOLDERS[name] / "truth" / f"{record.key}.safetensors")
            twin = simulate(record, size=SIZE, seed=3, offsets=truth["offsets"])
            for part in ("boxes", "joints", "subactions", "factors"):
                assert torch.equal(truth[part], getattr(twin, part))
            assert len(truth["boxes"]) == len(frame_offsets(record))


def test_skeletons_have_the_published_form(disk):
    root, _ = disk
    with np.load(root / "FineFS" / "skeleton" / "7.npz") as file:
        assert file.files == ["reconstruction"]
        space = file["reconstruction"]
    assert space.shape == (LENGTH, 17, 3) and space.dtype == np.float32
    assert (space[:, 0, :2] == 0).all() and (space[..., 2].min(1) == 0).all()
    assert np.abs(space[..., :2]).max() < 1.6 and 1.2 < space[..., 2].max(1).mean() < 2.6
    thigh = np.linalg.norm(space[:, 1] - space[:, 2], axis=1)
    assert np.ptp(thigh) < 0.02 and 0.3 < thigh.mean() < 0.6  # bones have constant length
    height = space[:, 10, 2] - space[:, 8, 2]
    assert np.median(height) > 0.1  # the head is above the shoulders
    truth, _ = read_tensors(root / "FineFS" / "truth" / "0007.safetensors")
    # the horizontal distance between the knees in the image follows that in space
    seen = truth["joints"][:, 10:12, 0].diff(dim=1)[:, 0].numpy()
    assert abs(np.corrcoef(seen, space[:, 2, 0] - space[:, 5, 0])[0, 1]) > 0.9


@pytest.mark.parametrize("make", [routine, program])
def test_odd_sizes_stay(tmp_path, make):
    pytest.importorskip("av")
    (path,) = write_layout([make()], tmp_path, size=63)
    assert probe(path) == (LENGTH, 25.0, 63, 63)
    twin = simulate(make(), size=63, offsets=torch.arange(LENGTH))
    assert psnr(read_record(tmp_path, make(), torch.arange(LENGTH)), twin.video) > 32


def test_without_h264_there_is_mpeg4(tmp_path, monkeypatch):
    av = pytest.importorskip("av")
    monkeypatch.setattr(av, "codecs_available", av.codecs_available - {"libx264"})
    (path,) = write_layout([routine()], tmp_path, size=33)
    with av.open(str(path)) as container:
        assert container.streams.video[0].codec_context.name == "mpeg4"
    assert read_record(tmp_path, routine(), torch.arange(20)).shape == (20, 3, 33, 33)


def written(root):
    return {path: path.stat().st_mtime_ns for path in root.rglob("*") if path.is_file()}


def test_a_second_run_writes_only_what_is_missing(tmp_path):
    records, calls = dives("finediving", tmp_path), []
    paths = write_layout(records, tmp_path, size=32, progress=lambda *done: calls.append(done))
    assert calls == [(1, 3), (2, 3), (3, 3)] and [path.is_dir() for path in paths] == [True] * 3
    first = written(tmp_path)
    assert write_layout(records, tmp_path, size=32) == paths and written(tmp_path) == first
    next(paths[1].iterdir()).unlink()
    write_layout(records, tmp_path, size=32)
    again = written(tmp_path)
    changed = {path for path in again if first.get(path) != again[path]}
    assert changed == {*paths[1].iterdir(), export._truth_file(tmp_path, records[1])}
    write_layout(records, tmp_path, size=32, seed=1)  # another seed gives other twins
    assert all(first[path] != stamp for path, stamp in written(tmp_path / "FineDiving" / "truth").items())
    moved = [replace(record, split="test") for record in records]  # the split does not affect a video
    stamps = written(tmp_path)
    write_layout(moved, tmp_path, size=32, seed=1)
    assert written(tmp_path) == stamps


@pytest.mark.parametrize("name", ["finediving", "mtl-aqa", "rg"])
def test_a_run_that_breaks_off_leaves_nothing_half(tmp_path, monkeypatch, name):
    if name == "rg":
        av = pytest.importorskip("av")
        records, place, member = [routine()], av.VideoFrame, "from_ndarray"
    else:
        records, place, member = dives(name, tmp_path), Image, "fromarray"
    real, seen = getattr(place, member), []

    def fails(*arguments, **options):
        seen.append(1)
        if len(seen) > 10:
            raise OSError("disk full")
        return real(*arguments, **options)

    with monkeypatch.context() as patch:
        if name == "rg":
            patch.setattr(av, "VideoFrame", type("Full", (), {"from_ndarray": staticmethod(fails)}))
        else:
            patch.setattr(place, member, fails)
        with pytest.raises(OSError, match="disk full"):
            write_layout(records, tmp_path, size=32)
    media = [path for path in tmp_path.rglob("*") if path.suffix in (".jpg", ".mp4", ".tmp", ".safetensors")]
    assert not media
    with pytest.raises(VideoError, match="missing"):
        read_record(tmp_path, records[0], torch.arange(3))
    write_layout(records, tmp_path, size=32)
    assert read_record(tmp_path, records[0], torch.arange(3)).shape == (3, 3, 32, 32)


def test_foreign_videos_are_never_overwritten(tmp_path):
    real = tmp_path / "RG" / "videos" / "Ball_001.mp4"
    real.parent.mkdir(parents=True)
    real.write_bytes(b"real")
    with pytest.raises(ValueError, match="Ball_001.mp4: "):
        write_layout([routine()], tmp_path)
    assert main(["recipe", "export_twins", "rg", str(tmp_path), "--count", "2"]) == 2
    assert real.read_bytes() == b"real" and len(written(tmp_path)) == 1


def test_bad_records_are_refused(tmp_path):
    for change in (dict(path="../x.mp4"), dict(path=str(tmp_path / "x.mp4")), dict(key="../x")):
        with pytest.raises(ValueError, match="leads out of the folder"):
            write_layout([routine(**change)], tmp_path)
    with pytest.raises(ValueError, match="'folder'.*mtl-aqa"):
        write_layout([routine(dataset="folder")], tmp_path)
    one, two = routine(end=30), routine(key="Ball_002", start=20, end=50)
    with pytest.raises(ValueError, match="Ball_001.*Ball_002"):
        write_layout([one, two], tmp_path)
    assert not written(tmp_path)


def test_the_command_writes_a_set_that_loads(tmp_path, capsys):
    main(["recipe", "export_twins", "finediving", str(tmp_path), "--count", "3", "--size", "32", "--seed", "5"])
    said = capsys.readouterr().out
    records = load_records("finediving", tmp_path)
    assert len(records) == 3 and sum(record.split == "test" for record in records) == 1 and "3 twins" in said
    for record in records:
        assert read_record(tmp_path, record, sample_frames(record)).shape == (96, 3, 32, 32)
    stamps = written(tmp_path)
    main(["recipe", "export_twins", "finediving", str(tmp_path), "--count", "3", "--size", "32", "--seed", "5"])
    assert written(tmp_path) == stamps
    with pytest.raises(SystemExit):
        main(["recipe", "export_twins", "finediving", str(tmp_path), "--count", "1"])
