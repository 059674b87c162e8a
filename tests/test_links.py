"""Links, pipes, devices, playlists and odd names: nothing outside the data folder is read, and no reader blocks."""

import os
import shutil
import signal
import socket
from dataclasses import replace

import numpy as np
import pytest
import torch
from films import numbers, picture, write
from PIL import Image, PngImagePlugin

from sapnet_core.datasets.disk_layout import FOLDERS, checked_path, probe_record, read_record, record_path
from sapnet_core.datasets.records import Record
from sapnet_core.datasets.video import VideoError, at_times, count_decoded, frame_files, frame_times, probe, read_frames
from sapnet_core.features.video_source import DiskSource

READERS = {
    "probe": probe,
    "frames": lambda path: read_frames(path, [0]),
    "times": frame_times,
    "count": count_decoded,
    "at times": lambda path: at_times(path, [0.0]),
    "clamped": lambda path: read_frames(path, [9], clamp=True),
}


@pytest.fixture(autouse=True)
def in_time():
    """Fail after a minute if a reader blocks on a pipe, so that it does not block all tests."""

    def late(*_):
        raise TimeoutError("still waiting after a minute")

    before = signal.signal(signal.SIGALRM, late)
    signal.alarm(60)
    yield
    signal.alarm(0)
    signal.signal(signal.SIGALRM, before)


@pytest.fixture(scope="module")
def film(tmp_path_factory):
    return write(tmp_path_factory.mktemp("film") / "film.mp4", 30)


def images(place, count=3):
    place.mkdir(parents=True, exist_ok=True)
    for i in range(count):
        Image.fromarray(picture(i)).save(place / f"{i + 1:05d}.png")
    return place


def refused(read, name, *words):
    """Assert that a reader raises a VideoError of one line that contains the file's name and the words."""
    with pytest.raises(VideoError) as error:
        read()
    text = str(error.value)
    assert name in text and text.isprintable() and all(word in text for word in words), text


def pipe(path):
    os.mkfifo(path)


def socket_file(path):
    here = os.getcwd()
    os.chdir(path.parent)  # the path of a socket must be short
    try:
        with socket.socket(socket.AF_UNIX) as end:
            end.bind(path.name)
    finally:
        os.chdir(here)


STRANGE = {
    "pipe": pipe,
    "socket": socket_file,
    "folder": lambda path: path.mkdir(),
    "device": lambda path: path.symlink_to("/dev/zero"),
    "circle": lambda path: path.symlink_to(path),
    "broken link": lambda path: path.symlink_to(path.with_name("gone")),
    "link to a pipe": lambda path: (pipe(path.with_name("other")), path.symlink_to("other")),
    "link to a folder": lambda path: path.symlink_to("."),
}


@pytest.mark.parametrize("kind", STRANGE)
def test_a_video_file_that_is_none(tmp_path, kind):
    path = tmp_path / "film.mp4"
    STRANGE[kind](path)
    for read in READERS.values():
        refused(lambda read=read: read(path), "film.mp4")


@pytest.mark.parametrize("kind", STRANGE)
def test_an_image_that_is_none(tmp_path, kind):
    place = images(tmp_path / "frames")
    STRANGE[kind](place / "00004.png")
    for read in (*READERS.values(), frame_files):
        refused(lambda read=read: read(place), "00004.png")


def test_an_image_elsewhere(tmp_path):
    secret = images(tmp_path / "elsewhere") / "00002.png"
    place = images(tmp_path / "data" / "event" / "frames")
    (place / "00004.png").symlink_to(secret)
    for read in (*READERS.values(), frame_files):
        refused(lambda read=read: read(place), "00004.png", "link", "out of")
    (place / "00004.png").unlink()
    os.link(secret, place / "00004.png")  # a hard link is an ordinary file
    assert probe(place).frames == 4
    beside = tmp_path / "data" / "event" / "trimmed"  # links between folders of one event are allowed
    beside.mkdir()
    for i in (2, 3):
        (beside / f"0000{i}.png").symlink_to(f"../frames/0000{i}.png")
    assert numbers(read_frames(beside, [0, 1])) == [1, 2]


def record(dataset, path, **changes):
    values = dict(
        dataset=dataset,
        key="k",
        event="e",
        path=path,
        start=0,
        end=3,
        score=50.0,
        difficulty=2.0,
        action="107B",
        judges=(),
        transitions=(),
        subactions=(),
        split="train",
    )
    return Record(**(values | changes))


PATHS = {
    "mtl-aqa": "new/new_total_frames_256s/01",
    "finediving": "FINADiving_MTL_256s/e/1",
    "rg": "videos/Ball_001.mp4",
    "finefs": "video/7.mp4",
    "folder": "films/one.mp4",
}


def placed(root, dataset, film):
    """(Path, record) of frames put in their official place below `root`."""
    path = root / FOLDERS.get(dataset, "") / PATHS[dataset]
    if path.suffix:
        path.parent.mkdir(parents=True)
        shutil.copy(film, path)
    else:
        images(path)
    return path, record(dataset, PATHS[dataset])


def reads(root, one):
    """Assert that every function that opens a record's frames succeeds."""
    assert numbers(read_record(root, one, torch.tensor([0, 2]))) == [0, 2]
    assert probe_record(root, one).frames >= 3 and DiskSource(root).stamp(one)


def shut(root, one):
    """Assert that every function that opens a record's frames refuses, although the record's path exists."""
    for read in (read_record, probe_record, checked_path):
        rest = (torch.tensor([0]),) if read is read_record else ()
        refused(lambda read=read, rest=rest: read(root, one, *rest), one.path.split("/")[-1], "link", "out of")
    refused(lambda: DiskSource(root, boxes="whole").load(one), one.path.split("/")[-1], "link", "out of")
    assert DiskSource(root).stamp(one) == "" and record_path(root, one).exists()


@pytest.mark.parametrize("dataset", PATHS)
def test_links_of_a_record(tmp_path, film, dataset):
    root, outside = tmp_path / "data", tmp_path / "disk"
    path, one = placed(root, dataset, film)
    reads(root, one)
    (tmp_path / "link").symlink_to(root)
    reads(tmp_path / "link", one)  # the data folder may be a link
    parts = [root / part for part in path.relative_to(root).parents if part.parts] + [path]
    for place in sorted(parts, key=lambda place: len(place.parts)):  # each folder of the path, then the file
        outside.mkdir()
        place.rename(outside / place.name)
        place.symlink_to(outside / place.name)
        if place == root / FOLDERS.get(dataset, "none"):
            reads(root, one)  # the dataset's own folder may be a link, too
        else:
            shut(root, one)
        place.unlink()
        (outside / place.name).rename(root / "inside")
        place.symlink_to(root / "inside")
        reads(root, one)  # a link to a place inside the data folder is allowed
        place.unlink()
        (root / "inside").rename(place)
        outside.rmdir()
    path.rename(tmp_path / "away")
    path.symlink_to(root if path.suffix else path.parent)  # a link to a parent folder
    with pytest.raises(VideoError):
        read_record(root, one, torch.tensor([0]))


def test_the_text_of_a_path_that_leads_out(tmp_path):
    for path in ("../x.mp4", "/etc/passwd", "a/../../x.mp4", "C:x.mp4", "a\\..\\..\\x.mp4", "C:\\x.mp4"):
        refused(lambda path=path: record_path(tmp_path, record("folder", path)), "out of")


@pytest.mark.parametrize("path", ["x" * 300 + ".mp4", "a\0b.mp4", "x/" * 3000 + "a.mp4", "."])
def test_the_text_of_a_path_that_is_none(tmp_path, path):
    with pytest.raises(VideoError) as error:
        read_record(tmp_path, record("folder", path), torch.tensor([0]))
    assert str(error.value).isprintable()


NAMES = {
    "long": "x" * 300 + ".mp4",
    "inside a file": "film.mp4/film.mp4",
    "zero": "a\0b.mp4",
    "gone": "gone.mp4",
    "deep": "x/" * 3000,
    "lines": "li\nne.mp4",
}


@pytest.mark.parametrize("name", NAMES.values(), ids=NAMES)
def test_names_that_cannot_be_opened(tmp_path, film, name):
    shutil.copy(film, tmp_path / "film.mp4")
    for read in READERS.values():
        with pytest.raises(VideoError) as error:
            read(tmp_path / name)
        assert str(error.value).isprintable()


def test_names_with_odd_letters_are_read_and_told_in_one_line(tmp_path, film):
    odd = ("li\nne.mp4", "%d.mp4", "concat:a|b.mp4", "-i.mp4", "film é 漢.mp4", "a:b.mp4", os.fsdecode(b"\xff.mp4"))
    for name in odd:
        try:
            path = shutil.copy(film, tmp_path / name)
        except OSError:
            continue  # this file system does not allow such names
        assert numbers(read_frames(path, [5])) == [5]
        with pytest.raises(VideoError) as error:
            read_frames(path, [30])
        assert str(error.value).isprintable() and str(error.value).encode()


PLAYLISTS = {
    "concat": "ffconcat version 1.0\nfile film.mp4\n",
    "concat script": "ffconcat version 1.0\nfile 'subfile,,:film.mp4'\n",
    "hls": "#EXTM3U\n#EXT-X-TARGETDURATION:9\n#EXTINF:1,\nfilm.mp4\n#EXT-X-ENDLIST\n",
    "hls away": "#EXTM3U\n#EXT-X-TARGETDURATION:9\n#EXTINF:1,\nhttp://127.0.0.1:9/film.mp4\n#EXT-X-ENDLIST\n",
    "sdp": "v=0\no=- 0 0 IN IP4 127.0.0.1\ns=x\nc=IN IP4 127.0.0.1\nt=0 0\nm=video 5004 RTP/AVP 96\n"
    "a=rtpmap:96 H264/90000\n",
    "dash": '<?xml version="1.0"?><MPD xmlns="urn:mpeg:dash:schema:mpd:2011" '
    'profiles="urn:mpeg:dash:profile:isoff-live:2011"><Period><AdaptationSet><Representation id="1">'
    "<BaseURL>film.mp4</BaseURL></Representation></AdaptationSet></Period></MPD>",
    "pattern": "%05d.png",
    "subfile": "subfile,,start,0,end,0,,:film.mp4",
    "device": "/dev/zero",
}


@pytest.mark.parametrize("kind", PLAYLISTS)
@pytest.mark.parametrize("ending", ["mp4", "m3u8", "ts"])
def test_playlists_open_nothing(tmp_path, film, kind, ending):
    shutil.copy(film, tmp_path / "film.mp4")
    path = tmp_path / f"list.{ending}"
    path.write_text(PLAYLISTS[kind])
    for read in READERS.values():
        refused(lambda read=read: read(path), path.name)


# ---- images


def bomb(path, width, height):
    """Write a PNG of a few bytes that claims a large image."""
    Image.new("L", (1, 1)).save(path)
    content = bytearray(path.read_bytes())
    content[16:24] = width.to_bytes(4, "big") + height.to_bytes(4, "big")
    content[29:33] = PngImagePlugin._crc32(bytes(content[12:29])).to_bytes(4, "big")
    path.write_bytes(content)


@pytest.mark.parametrize("size", [(60_000, 60_000), (9000, 9000), (2**31 - 1, 2**31 - 1), (2**31 - 1, 1)])
def test_an_image_that_claims_a_large_picture_is_not_unpacked(tmp_path, size):
    place = images(tmp_path / "frames", 0)
    bomb(place / "1.png", *size)
    readers = [read for name, read in READERS.items() if name != "times"]  # time stamps need no decoding
    for read in readers:
        refused(lambda read=read: read(place), "1.png")
    jpeg = place / "1.jpg"
    Image.fromarray(picture(1)).save(jpeg)
    (place / "1.png").unlink()
    content = bytearray(jpeg.read_bytes())
    at = content.index(b"\xff\xc0")
    content[at + 5 : at + 9] = b"\xff\xdc\xff\xdc"
    jpeg.write_bytes(content)
    for read in readers:
        refused(lambda read=read: read(place), "1.jpg")


MODES = {
    "animated png": ("png", lambda i: (i, {"save_all": True, "append_images": [Image.fromarray(picture(9))]})),
    "animated webp": (
        "webp",
        lambda i: (i, {"save_all": True, "append_images": [Image.fromarray(picture(9))], "lossless": True}),
    ),
    "colors of a palette with a clear one": (
        "png",
        lambda i: (i.convert("P", palette=Image.Palette.ADAPTIVE), {"transparency": 0}),
    ),
    "gray with clearness": ("png", lambda i: (i.convert("LA"), {})),
    "black and white": ("png", lambda i: (i.convert("1"), {})),
    "ink": ("jpg", lambda i: (i.convert("CMYK"), {"quality": 95})),
    "windows": ("bmp", lambda i: (i, {})),
    "sixteen bits": ("png", lambda i: (Image.fromarray(np.asarray(i.convert("L")).astype(np.uint16) * 257), {})),
    "steps": ("jpg", lambda i: (i, {"progressive": True, "quality": 95})),
}


@pytest.mark.parametrize("kind", MODES)
def test_images_of_every_kind(tmp_path, kind):
    place = images(tmp_path / "frames", 0)
    ending, make = MODES[kind]
    image, options = make(Image.fromarray(picture(5)))
    image.save(place / f"1.{ending}", **options)
    assert numbers(read_frames(place, [0])) == [5] and count_decoded(place) == 1
    content = (place / f"1.{ending}").read_bytes()
    (place / f"1.{ending}").write_bytes(content[: len(content) // 2])
    refused(lambda: count_decoded(place), f"1.{ending}")


@pytest.mark.parametrize("orientation", [0, 1, 9, 300, 65_535])
def test_an_orientation_that_is_none_changes_nothing(tmp_path, orientation):
    place = images(tmp_path / "frames", 0)
    exif = Image.Exif()
    exif[0x0112] = orientation
    Image.fromarray(picture(5)).save(place / "1.jpg", exif=exif, quality=95)
    assert numbers(read_frames(place, [0])) == [5]


@pytest.mark.parametrize("exif", [b"garbage", b"MM\0*\0\0\0\x08\xff\xff" + b"\x01\x12" * 40, b""], ids=len)
def test_notes_of_a_camera_that_are_none(tmp_path, exif):
    exif = b"Exif\0\0" + exif
    place = images(tmp_path / "frames", 0)
    Image.fromarray(picture(5)).save(place / "1.jpg", exif=exif, quality=95)
    try:
        assert numbers(read_frames(place, [0])) == [5]
    except VideoError as error:
        assert "1.jpg" in str(error) and str(error).isprintable()


def test_sixteen_bits_held_askew_are_upright(tmp_path):
    place = images(tmp_path / "frames", 0)
    exif = Image.Exif()
    exif[0x0112] = 6
    gray = np.asarray(Image.fromarray(picture(5)).convert("L")).astype(np.uint16) * 257
    Image.fromarray(np.ascontiguousarray(np.rot90(gray))).save(place / "1.png", exif=exif)
    assert numbers(read_frames(place, [0])) == [5]


@pytest.mark.parametrize("name", ["9" * 30 + ".png", str(10**9 + 1) + ".png"])
def test_a_number_beyond_all_frames(tmp_path, name):
    place = images(tmp_path / "frames", 1)
    shutil.copy(place / "00001.png", place / name)
    for read in (*READERS.values(), lambda path: read_frames(path, [0], numbered=True)):
        refused(lambda read=read: read(place), name)


def test_a_change_of_size_is_counted_too(tmp_path):
    place = images(tmp_path / "frames")
    Image.fromarray(picture(1, 64, 96)).save(place / "00002.png")
    refused(lambda: count_decoded(place), "frame 1 is 64 x 96")


def test_a_file_that_came_or_went_changes_the_stamp(tmp_path, film):
    path, one = placed(tmp_path, "finediving", film)
    before = DiskSource(tmp_path).stamp(one)
    (path / "00009.png").symlink_to("gone")
    moved = tmp_path / "moved"
    shutil.copytree(tmp_path / "FineDiving", moved / "FineDiving", symlinks=True)
    assert before and DiskSource(moved).stamp(replace(one, key="other")) not in ("", before)
