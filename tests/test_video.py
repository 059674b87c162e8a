"""Frames are read from files and folders exactly and upright, and every bad file is refused by name."""

import resource
import sys
import time

import numpy as np
import pytest
import torch
from films import decoded_frames, numbers, picture, write
from PIL import Image

from sapnet_core.datasets import decoding, video
from sapnet_core.datasets.disk_layout import read_record
from sapnet_core.datasets.records import Record
from sapnet_core.datasets.video import VideoError, at_times, frame_files, frame_times, probe, read_frames
from sapnet_core.detection.crops import resize_video

av = pytest.importorskip("av")


@pytest.fixture(scope="module")
def film(tmp_path_factory):
    """A video of sixty frames with B-frames, and a keyframe every twelve frames."""
    return write(tmp_path_factory.mktemp("film") / "film.mp4")


def refused(path, *words, index=(0,), **options):
    """Assert that reading the file raises one line with its name and these words; returns the message."""
    with pytest.raises(VideoError) as caught:
        read_frames(path, list(index), **options)
    text = str(caught.value)
    assert "\n" not in text and path.name in text and isinstance(caught.value, ValueError)
    assert all(word in text for word in words), text
    return text


def test_every_frame_is_the_one_that_was_asked_for(film):
    assert probe(film) == (60, 25.0, 96, 64)
    order = [59, 0, 7, 7, 31, 12, 11, 58, 0]
    frames = read_frames(film, torch.tensor(order))
    assert frames.shape == (9, 3, 64, 96) and frames.dtype == torch.uint8 and frames.is_contiguous()
    assert numbers(frames) == order
    whole = read_frames(film, range(60))
    assert numbers(whole) == list(range(60)) and torch.equal(whole[order], frames)
    true = torch.stack([torch.from_numpy(picture(i)).permute(2, 0, 1) for i in range(60)])
    assert (whole.float() - true.float()).abs().mean() < 4


@pytest.mark.parametrize(
    "name, codec, options",
    [
        ("b.mp4", "libx264", {"bf": "3", "g": "30"}),
        ("open.mp4", "libx264", {"x264-params": "open-gop=1:keyint=12"}),
        ("m.mkv", "libx264", {}),
        ("m.avi", "mpeg4", {"qscale": "2"}),
        ("m.ts", "libx264", {}),
        ("v.webm", "libvpx-vp9", {}),
        ("one.mp4", "libx264", {"g": "1"}),
        ("intra.mp4", "libx264", {"x264-params": "intra-refresh=1"}),
        ("j.mkv", "mjpeg", {}),
        ("fragments.mp4", "libx264", {"movflags": "frag_keyframe+empty_moov"}),
    ],
)
def test_containers_and_codecs_are_exact_with_jumps_and_without(tmp_path, monkeypatch, name, codec, options):
    container = {k: options.pop(k) for k in ("movflags",) if k in options}
    options = options | ({"deadline": "realtime", "cpu-used": "8"} if "vp9" in codec else {})
    pixels = "yuvj420p" if codec == "mjpeg" else "yuv420p"
    path = write(tmp_path / name, codec=codec, options=options, pixels=pixels, container=container)
    assert probe(path)[0] == 60
    monkeypatch.setattr(decoding, "SEEK", 2)
    far = [3, 26, 27, 50]
    jumped = read_frames(path, far)
    monkeypatch.setattr(decoding, "SEEK", 10**9)
    assert numbers(jumped) == far and torch.equal(jumped, read_frames(path, range(60))[far])


def test_a_trimmed_video_begins_where_it_is_shown_from(tmp_path, monkeypatch):
    # Seven frames lie before time 0: the edit list says that they are decoded, but not shown.
    path = write(tmp_path / "trimmed.mp4", 40, first=-7, container={"avoid_negative_ts": "disabled"})
    with av.open(str(path)) as container:
        assert container.streams.video[0].frames == 40
    assert probe(path).frames == 33
    for least in (10**9, 2):
        monkeypatch.setattr(decoding, "SEEK", least)
        assert numbers(read_frames(path, [0, 4, 27, 32])) == [7, 11, 34, 39]
    torch.testing.assert_close(frame_times(path), torch.arange(33).double() / 25)


def test_a_jump_saves_decoding(tmp_path, monkeypatch):
    path = write(tmp_path / "long.mp4", 240, options={"g": "24"})
    decoded = decoded_frames(monkeypatch)
    assert numbers(read_frames(path, [2, 200, 239])) == [2, 200, 239]
    assert len(decoded) < 3 + 24 + 24


@pytest.mark.parametrize(
    "size, pixels",
    [((117, 63), "yuv444p"), ((96, 63), "yuv444p"), ((117, 64), "gbrp"), ((98, 62), "yuv422p"), ((97, 63), "gray")],
)
def test_odd_sizes_and_other_pixel_formats_become_rgb(tmp_path, size, pixels):
    codec = "libx264rgb" if pixels == "gbrp" and "libx264rgb" in av.codecs_available else "libx264"
    codec, pixels = ("ffv1", pixels) if pixels == "gbrp" and codec == "libx264" else (codec, pixels)
    path = write(tmp_path / "odd.mkv", 6, size, codec=codec, pixels="rgb24" if codec == "libx264rgb" else pixels)
    frames = read_frames(path, [5, 0])
    assert frames.shape == (2, 3, size[1], size[0]) and numbers(frames) == [5, 0] and probe(path)[2:] == size
    if pixels == "gray":
        assert (frames[:, 0] == frames[:, 2]).all()
    else:
        true = torch.from_numpy(picture(5, *size)).permute(2, 0, 1)
        assert (frames[0].float() - true.float()).abs().mean() < 6


def test_files_of_an_odd_size_in_half_color(tmp_path):
    path = write(tmp_path / "odd.mkv", 4, (117, 63), codec="ffv1")
    assert read_frames(path, [3]).shape == (1, 3, 63, 117) and numbers(read_frames(path, [3])) == [3]


STILL = 1 << 30
TURNS = {  # name -> (a, b, c and d of the display matrix, its effect on an image (H, W, 3))
    "90": ((0, 1, -1, 0), lambda p: np.rot90(p, -1)),
    "180": ((-1, 0, 0, -1), lambda p: np.rot90(p, 2)),
    "270": ((0, -1, 1, 0), lambda p: np.rot90(p, 1)),
    "mirror": ((-1, 0, 0, 1), lambda p: p[:, ::-1]),
    "upside down": ((1, 0, 0, -1), lambda p: p[::-1]),
    "swap": ((0, 1, 1, 0), lambda p: p.swapaxes(0, 1)),
}


@pytest.mark.parametrize("turn", TURNS)
def test_rotation_flags_are_honored(tmp_path, turn):
    # x' = a x + c y, y' = b x + d y, stored as a, b, u, c, d, v, x, y, w (ISO/IEC 14496-12, 8.3.2: 16.16 and 2.30)
    (a, b, c, d), shown = TURNS[turn]
    path = write(tmp_path / "t.mp4", 3, matrix=[a << 16, b << 16, 0, c << 16, d << 16, 0, 0, 0, STILL])
    frames = read_frames(path, [2])
    true = torch.from_numpy(shown(picture(2)).copy()).permute(2, 0, 1)
    assert frames.shape[1:] == true.shape and probe(path)[2:] == (true.shape[2], true.shape[1])
    assert (frames[0].float() - true.float()).abs().mean() < 6
    with av.open(str(path)) as container:  # FFmpeg reports the same angle
        angle = next(container.decode(video=0)).rotation
    assert turn not in ("90", "270", "180") or angle % 360 == {"90": 270, "270": 90, "180": 180}[turn]


@pytest.mark.parametrize("name", ["v.mp4", "v.mkv"])
def test_variable_frame_rate_counts_frames_and_finds_times(tmp_path, name):
    gaps = np.random.default_rng(0).integers(15, 180, 40)
    stamps = np.concatenate([[0], gaps.cumsum()])[:40].tolist()
    path = write(tmp_path / name, 40, stamps=stamps)
    assert numbers(read_frames(path, [39, 4, 20])) == [39, 4, 20]
    torch.testing.assert_close(frame_times(path), torch.tensor(stamps).double() / 1000, atol=1e-3, rtol=0)
    asked = torch.tensor([0.0, stamps[7] / 1000, stamps[8] / 1000 - 0.005, stamps[39] / 1000 + 0.001])
    assert numbers(at_times(path, asked)) == [0, 7, 7, 39]
    with pytest.raises(VideoError, match="frame 40 of 40"):
        at_times(path, [stamps[39] / 1000 + 2])
    assert numbers(at_times(path, [-1.0, 1000.0], clamp=True)) == [0, 39]


def test_resizing_while_decoding_is_the_resize_of_the_suite(film):
    whole = read_frames(film, range(60))
    small = read_frames(film, range(60), size=32)
    assert small.shape == (60, 3, 32, 48)
    assert (small.int() - resize_video(whole, (32, 48)).int()).abs().max() <= 1
    assert torch.equal(read_frames(film, range(60), size=130), whole)  # frames are never enlarged


def test_frames_beyond_the_ends_are_an_error_or_the_nearest(film, tmp_path):
    refused(film, "frame 60 of 60", "clamp=True", index=[0, 60])
    refused(film, "frame -1", index=[-1, 5])
    assert numbers(read_frames(film, [-9, 5, 99], clamp=True)) == [0, 5, 59]
    path = write(tmp_path / "uncounted.ts", 20)
    refused(path, "frame 20", index=[3, 20])
    assert numbers(read_frames(path, [3, 20], clamp=True)) == [3, 19]
    for index in ([], [[1]], [0.5]):
        with pytest.raises(ValueError, match="whole numbers"):
            read_frames(film, index)
    with pytest.raises(ValueError, match="size=0"):
        read_frames(film, [0], size=0)


def tone(path):
    with av.open(str(path), "w") as out:
        stream = out.add_stream("aac", rate=8000)
        frame = av.AudioFrame.from_ndarray(np.zeros((1, 1024), np.float32), format="fltp", layout="mono")
        frame.rate = 8000
        out.mux(stream.encode(frame))
        out.mux(stream.encode(None))
    return path


def test_what_is_no_video_is_refused_by_name(tmp_path, film):
    refused(tmp_path / "gone.mp4", "no such video")
    (tmp_path / "empty.mp4").touch()
    refused(tmp_path / "empty.mp4", "empty", "download")
    (tmp_path / "text.mp4").write_text("no video\n" * 500)
    refused(tmp_path / "text.mp4", "no video", "download")
    refused(tone(tmp_path / "tone.mp4"), "no video stream")
    with av.open(str(tmp_path / "none.mkv"), "w") as out:
        stream = out.add_stream("libx264", rate=25)
        stream.width, stream.height, stream.pix_fmt = 96, 64, "yuv420p"
        out.start_encoding()
    refused(tmp_path / "none.mkv", "no")
    for name in ("empty", "text", "tone", "none"):
        with pytest.raises(VideoError, match=name):
            probe(next(tmp_path.glob(f"{name}.*")))


def test_a_playlist_does_not_open_other_files(tmp_path, film):
    (tmp_path / "film.mp4").write_bytes(film.read_bytes())
    (tmp_path / "list.mp4").write_text("ffconcat version 1.0\nfile film.mp4\n")
    with av.open(str(tmp_path / "list.mp4")) as container:  # FFmpeg itself follows the playlist
        assert sum(1 for _ in container.decode(video=0)) == 60
    refused(tmp_path / "list.mp4", "no video")


@pytest.mark.parametrize("name, first", [("last.mp4", False), ("first.mp4", True), ("m.mkv", False), ("m.ts", False)])
@pytest.mark.parametrize("keep", [0.02, 0.5, 0.97])
def test_cut_files_are_refused(tmp_path, name, first, keep):
    path = write(tmp_path / name, container={"movflags": "faststart"} if first else ())
    content = path.read_bytes()
    assert not name.endswith("mp4") or first == (content.find(b"moov") < content.find(b"mdat"))
    path.write_bytes(content[: int(keep * len(content))])
    refused(path, index=[59])
    # even if the requested frames are intact; a transport stream has no declared end
    if not name.endswith("ts") and keep < 0.9:
        refused(path, index=[0])
        with pytest.raises(VideoError, match=name):
            probe(path)


def test_a_file_cut_between_two_frames_is_refused(tmp_path):
    path = write(tmp_path / "first.mp4", options={"bf": "0"}, container={"movflags": "faststart"})
    with av.open(str(path)) as container:
        place = [packet.pos for packet in container.demux(video=0) if packet.size][40]
    path.write_bytes(path.read_bytes()[:place])
    refused(path, "cut short")


@pytest.mark.parametrize("name", ["x.mp4", "x.mkv"])
@pytest.mark.parametrize("fill", ["zeros", "noise", "filler"])
def test_a_broken_frame_is_named_not_skipped(tmp_path, name, fill):
    path = write(tmp_path / name, options={"bf": "0", "g": "60", "sc_threshold": "0"})
    with av.open(str(path)) as container:
        packet = bytes([p for p in container.demux(video=0) if p.size][30])
    content = bytearray(path.read_bytes())
    at, size = content.index(packet), len(packet)
    noise = np.random.default_rng(0).integers(0, 256, size - 5, dtype=np.uint8).tobytes()
    filler = (size - 4).to_bytes(4, "big") + b"\x0c" + b"\xff" * (size - 6) + b"\x80"  # a NAL unit of filler data
    content[at : at + size] = {
        "zeros": content[at : at + 5] + bytes(size - 5),
        "noise": content[at : at + 5] + noise,
        "filler": filler,
    }[fill]
    path.write_bytes(content)
    text = refused(path, "encode it anew", index=range(60))
    assert "frame" in text
    refused(path, index=[45])  # later frames depend on it


def test_a_change_of_size_on_the_way_is_refused(tmp_path):
    path, parts = tmp_path / "two.h264", [(96, 64), (64, 96)]
    path.write_bytes(b"".join(write(tmp_path / "part.h264", 12, size).read_bytes() for size in parts))
    refused(path, "64 x 96", "96 x 64", index=range(20))


def test_limits_stop_what_is_too_large(film, tmp_path, monkeypatch):
    monkeypatch.setattr(decoding, "MAX_FRAMES", 59)
    refused(film, "limit is 59")
    monkeypatch.setattr(decoding, "MAX_FRAMES", 10**6)
    monkeypatch.setattr(video, "MAX_BYTES", 60 * 3 * 64 * 96 - 1)
    refused(film, "size=112", index=range(60))
    assert len(read_frames(film, range(60), size=32)) == 60
    monkeypatch.setattr(decoding, "MAX_AREA", 96 * 64 - 1)
    refused(film, "96 x 64", "limit")
    Image.fromarray(picture(1)).save(folder(tmp_path, 0) / "1.png")
    with pytest.raises(VideoError, match="1.png: .*96 x 64"):
        read_frames(tmp_path / "frames", [0])


def folder(tmp_path, count, first=1, name="{:05d}.jpg"):
    place = tmp_path / "frames"
    place.mkdir()
    for i in range(count):
        Image.fromarray(picture(i)).save(place / name.format(first + i), quality=95)
    return place


def test_frame_folders_are_read_in_the_order_of_their_numbers(tmp_path):
    place = folder(tmp_path, 12, name="frame_{}.png")  # 10 sorts before 2 as text
    (place / "Thumbs.db").write_text("x")
    (place / "._frame_1.png").write_text("x")
    assert probe(place) == (12, 25.0, 96, 64) and list(frame_files(place)) == list(range(1, 13))
    frames = read_frames(place, [11, 1, 1, 0])
    assert numbers(frames) == [11, 1, 1, 0] and torch.equal(frames[0], torch.tensor(picture(11)).permute(2, 0, 1))
    assert read_frames(place, [3, 4], size=32).shape == (2, 3, 32, 48)
    assert numbers(read_frames(place, [-1, 99], clamp=True)) == [0, 11]
    refused(place, "frame 12 of 12", index=[12])
    assert numbers(at_times(place, [0.0, 0.2])) == [0, 5]


def test_a_folder_with_the_dives_alone_is_read_by_number(tmp_path):
    place = folder(tmp_path, 10, first=101)
    assert numbers(read_frames(place, [100, 109], numbered=True)) == [0, 9]
    assert numbers(read_frames(place, [0, 200], numbered=True, clamp=True)) == [0, 9]
    assert numbers(read_frames(place, [0, 9])) == [0, 9]
    (place / "00105.jpg").unlink()
    refused(place, "frame number 105", "9 from 101 to 110", index=[103, 104], numbered=True)
    refused(place, "frame number 1 ", index=[0], numbered=True)


def record(dataset, path, start, end):
    return Record(dataset, "k", "e", path, start, end, 50.0, 2.0, "107B", (), (), (), "train")


def test_records_are_read_as_their_dataset_counts(tmp_path):
    place = folder(tmp_path, 10, first=101)
    (tmp_path / "MTL-AQA").mkdir()
    place.rename(tmp_path / "MTL-AQA" / "01")
    dive = record("mtl-aqa", "01", 103, 108)
    # also the frames before the dive
    assert numbers(read_record(tmp_path, dive, torch.arange(-3, 5))) == list(range(8))
    trimmed = record("finediving", "01", 100, 110)
    assert numbers(read_record(tmp_path / "MTL-AQA", trimmed, torch.tensor([0, 9]))) == [0, 9]
    with pytest.raises(VideoError, match="elsewhere: .*record k "):
        read_record(tmp_path, record("rg", "elsewhere", 0, 5), torch.arange(2))
    for path in ("../x", str(tmp_path)):
        with pytest.raises(VideoError, match="leads out of the data folder"):
            read_record(tmp_path, record("folder", path, 0, 5), torch.arange(2))


def test_images_in_any_mode_are_rgb_and_upright(tmp_path):
    place = folder(tmp_path, 0)
    image = Image.fromarray(picture(5))
    image.convert("L").save(place / "1.png")
    image.convert("P").save(place / "2.png")
    image.convert("CMYK").save(place / "3.jpg", quality=95)
    Image.fromarray(np.asarray(image.convert("L")).astype(np.uint16) * 257).save(place / "4.png")
    image.convert("RGBA").save(place / "5.png")
    exif = Image.Exif()
    exif[0x0112] = 6  # to be shown rotated by 90 degrees clockwise
    image.rotate(90, expand=True).save(place / "6.jpg", exif=exif, quality=95)
    frames = read_frames(place, range(6))
    assert frames.shape == (6, 3, 64, 96) and numbers(frames) == [5] * 6
    assert torch.equal(frames[0], frames[3])


def test_bad_images_are_named(tmp_path):
    place = folder(tmp_path, 5)
    content = (place / "00003.jpg").read_bytes()
    for bad in (content[: len(content) // 2], b"", b"text"):
        (place / "00003.jpg").write_bytes(bad)
        with pytest.raises(VideoError, match="00003.jpg: ") as caught:
            read_frames(place, range(5))
        assert "\n" not in str(caught.value)
    Image.fromarray(picture(3, 64, 96)).save(place / "00003.jpg")
    refused(place, "frame 2 is 64 x 96", index=range(5))
    (place / "00003.png").write_bytes(content)
    refused(place, "00003.jpg", "has the number")
    (place / "00003.png").rename(place / "cover.png")
    refused(place, "cover.png: has no number")
    (tmp_path / "bare").mkdir()
    refused(tmp_path / "bare", "holds no frames")


def test_without_pyav_folders_are_read_and_files_name_what_is_missing(tmp_path, film, monkeypatch):
    monkeypatch.setitem(sys.modules, "av", None)
    assert numbers(read_frames(folder(tmp_path, 2), [1])) == [1]
    with pytest.raises(ImportError, match="pip install av"):
        read_frames(film, [0])


def test_a_long_video_is_read_in_bounded_memory(tmp_path):
    fast = {"preset": "ultrafast", "g": "250"}
    path = write(tmp_path / "long.mp4", 1000, (224, 112), options=fast, say=lambda i, w, h: STRIPES[i % 256])
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    start = time.perf_counter()
    frames = read_frames(path, range(1000), size=56)
    took = time.perf_counter() - start
    grown = (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) / 1024
    assert frames.shape == (1000, 3, 56, 112) and numbers(frames) == [i % 256 for i in range(1000)]
    assert grown < frames.numel() / 2**20 + 60  # MiB; all frames at full size would take 72 more
    assert took < 10  # about 1 s


STRIPES = [picture(i, 224, 112) for i in range(256)]
