"""Seeking in a video only saves time: single frames equal those of a full decode, whatever time stamps and keyframes
the container declares.

A failure after a seek is not blamed on the file, and all readers report the same fault of a file.
"""

import contextlib
import struct
from fractions import Fraction

import numpy as np
import pytest
import torch
from films import Bits, copied, decoded_frames, numbers, write

from sapnet_core.datasets import decoding
from sapnet_core.datasets.video import VideoError, at_times, count_decoded, frame_times, probe, read_frames

av = pytest.importorskip("av")
LONG = {"g": "30", "bf": "3", "sc_threshold": "0"}  # a keyframe every thirty frames
OPEN = {"x264-params": "open-gop=1:keyint=15:min-keyint=15:scenecut=0:bframes=3:b-adapt=0:crf=12"}
QUIET = {"x265-params": "open-gop=1:keyint=20:min-keyint=20:scenecut=0:bframes=3:log-level=none", "preset": "ultrafast"}


def singles_are_those_of_the_whole(path, expected, step=1):
    """Assert that each frame read alone equals the frame of a full decode, and that all readers count the same."""
    count = probe(path).frames
    assert count == len(expected) == count_decoded(path) == len(frame_times(path))
    whole = read_frames(path, range(count))
    assert numbers(whole) == list(expected)
    for number in [*range(0, count, step), count - 1]:
        assert torch.equal(read_frames(path, [number])[0], whole[number]), number
    assert torch.equal(read_frames(path, [-3, count + 9], clamp=True), whole[[0, count - 1]])
    with pytest.raises(VideoError, match=path.name):
        read_frames(path, [count])
    times = frame_times(path)
    assert times[0] == 0 and (times.diff() >= 0).all()
    apart = times.diff().min() > 2e-3 if count > 1 else False
    if apart:
        chosen = torch.arange(0, count, 7)
        assert numbers(at_times(path, times[chosen])) == [expected[i] for i in chosen.tolist()]


@pytest.mark.parametrize(
    "name, codec, options",
    [
        ("a.ts", "libx264", LONG),
        ("a.mts", "libx264", LONG),
        ("open.ts", "libx264", OPEN),
        ("two.ts", "mpeg2video", LONG),
        ("hevc.ts", "libx265", QUIET),
        ("open.mkv", "libx264", OPEN),
        ("open.mp4", "libx264", OPEN),
        ("four.mkv", "mpeg4", LONG),
        ("four.avi", "mpeg4", LONG),
        ("two.mpg", "mpeg2video", LONG),
        ("a.flv", "libx264", LONG),
        ("eight.webm", "libvpx", {"deadline": "realtime", "cpu-used": "8", "g": "30"}),
        ("hevc.mp4", "libx265", QUIET),
        ("pieces.mp4", "libx264", LONG | {"movflags": "frag_keyframe+empty_moov"}),
    ],
)
def test_single_frames_in_every_container(tmp_path, name, codec, options):
    container = {key: value for key, value in options.items() if key == "movflags"}
    quality = {} if codec.startswith("libx") else {"qscale": "2"}
    rest = {key: value for key, value in options.items() if key not in container}
    path = write(tmp_path / name, 80, codec=codec, options=rest | quality, container=container)
    singles_are_those_of_the_whole(path, range(80), step=9)


@pytest.mark.parametrize("kind", ["ts", "mkv", "mp4"])
@pytest.mark.parametrize("codec, options", [("libx264", LONG), ("libx264", OPEN), ("mpeg4", LONG), ("libx265", QUIET)])
def test_a_recording_cut_between_keyframes_begins_with_the_first(tmp_path, kind, codec, options):
    if (codec, kind) == ("mpeg4", "ts"):
        pytest.skip("FFmpeg does not find the header of MPEG-4 part 2 in a stream")
    whole = write(tmp_path / ("whole.mkv" if codec == "mpeg4" else "whole.ts"), 80, codec=codec, options=options)
    with av.open(str(whole)) as container:
        keys = [i for i, p in enumerate(p for p in container.demux(video=0) if p.size) if p.is_keyframe]
    path = copied(whole, tmp_path / f"cut.{kind}", lambda i, packet: packet if i >= 5 else None)
    begin = 80 - probe(path).frames
    assert keys[1] <= begin <= keys[1] + 4  # frames shown just before a keyframe may be stored after it
    singles_are_those_of_the_whole(path, range(begin, 80), step=9)


def test_a_transport_stream_cut_anywhere(tmp_path):
    content = write(tmp_path / "whole.ts", 80, options=OPEN).read_bytes()
    for place in (len(content) // 3, len(content) // 2 // 188 * 188):
        path = tmp_path / f"cut{place}.ts"
        path.write_bytes(content[place:])
        singles_are_those_of_the_whole(path, range(80 - probe(path).frames, 80), step=9)


def retimed(path, change):
    """Change the time stamps of a transport stream in place: `change(packet number, stamp)`, in units of 1/90,000 s."""
    content, number = bytearray(path.read_bytes()), -1
    for at in range(0, len(content), 188):
        head = at + 4 + (1 + content[at + 4] if content[at + 3] & 0x20 else 0)
        if not content[at + 1] & 0x40 or content[head : head + 4] != b"\0\0\1\xe0":
            continue
        number += 1
        for place in (head + 9, head + 14)[: {2: 1, 3: 2}.get(content[head + 7] >> 6, 0)]:
            a, b, c, d, e = content[place : place + 5]
            stamp = change(number, (a >> 1 & 7) << 30 | b << 22 | c >> 1 << 15 | d << 7 | e >> 1) % 2**33
            content[place : place + 5] = bytes(
                (
                    a & 0xF1 | stamp >> 30 << 1,
                    stamp >> 22 & 255,
                    (stamp >> 15 & 127) << 1 | 1,
                    stamp >> 7 & 255,
                    (stamp & 127) << 1 | 1,
                )
            )
    path.write_bytes(content)
    return path


SHIFTS = {"forward": 90_000_000, "back": -90_000_000, "onto others": -72_000, "between others": -73_800, "hole": 9000}


@pytest.mark.parametrize("shift", SHIFTS)
@pytest.mark.parametrize("options", [LONG, OPEN])
def test_times_that_jump(tmp_path, shift, options):
    path = write(tmp_path / "a.ts", 80, options=options)
    retimed(path, lambda i, stamp: stamp + SHIFTS[shift] * (i >= 30))
    singles_are_those_of_the_whole(path, range(80), step=9)


@pytest.mark.parametrize(
    "name, change",
    [
        ("equal", lambda i, stamp: 90_000),
        ("wrapped", lambda i, stamp: stamp + 2**33 - 200_000),
        ("disordered", lambda i, stamp: stamp + 7919 * i % 20_000),
    ],
)
def test_times_that_say_nothing_or_begin_anew(tmp_path, name, change):
    path = retimed(write(tmp_path / f"{name}.ts", 80, options=LONG), change)
    singles_are_those_of_the_whole(path, range(80), step=9)


@pytest.mark.parametrize(
    "name, options",
    [
        ("double.mkv", {"stamps": [i // 2 * 40 for i in range(60)], "options": {"bf": "0", "g": "30"}}),
        ("before.mkv", {"first": -7, "container": {"avoid_negative_ts": "disabled"}, "options": LONG}),
        ("before.ts", {"first": -7, "container": {"avoid_negative_ts": "disabled"}, "options": LONG}),
        ("uneven.ts", {"stamps": [i * i + 40 * i for i in range(60)], "options": LONG}),
        ("uneven.avi", {"stamps": [i * i + 40 * i for i in range(60)], "codec": "mpeg4"}),
    ],
)
def test_times_that_stand_still_lie_before_zero_or_are_uneven(tmp_path, name, options):
    singles_are_those_of_the_whole(write(tmp_path / name, 60, **options), range(60), step=7)


@pytest.mark.parametrize("kind", ["mkv", "mp4"])
@pytest.mark.parametrize("codec", ["libx264", "mpeg4", "libx265"])
def test_keyframes_that_are_none(tmp_path, codec, kind):
    def call(_, packet):
        packet.is_keyframe = True
        return packet

    options = QUIET if codec == "libx265" else LONG
    path = copied(write(tmp_path / "true.mp4", 60, codec=codec, options=options), tmp_path / f"false.{kind}", call)
    singles_are_those_of_the_whole(path, range(60), step=5)


def boxes(content, *names):
    """(Position, size) of the box at the path `names` in an MP4 file."""
    at, end = 0, len(content)
    for name in names:
        while content[at + 4 : at + 8] != name:
            at += struct.unpack_from(">I", content, at)[0]
            assert at < end, name
        size = struct.unpack_from(">I", content, at)[0]
        at, end, found = at + 8, at + size, (at, size)
    return found


def edited(path, edits):
    """Replace the edit list of an MP4 file, in place: (length, begin) of each edit in frames, begin -1 for a pause."""
    content = path.read_bytes()
    film, track = (boxes(content, b"moov", *names)[0] for names in ((b"mvhd",), (b"trak", b"mdia", b"mdhd")))
    ticks, own = (struct.unpack_from(">I", content, at + 20)[0] / 25 for at in (film, track))
    at, size = boxes(content, b"moov", b"trak", b"edts")
    begin = struct.unpack_from(">i", content, at + 28)[0]  # the file's own edit begins after the decoding delay
    rows = [struct.pack(">IiI", round(ticks * n), -1 if m < 0 else round(begin + own * m), 1 << 16) for n, m in edits]
    body = struct.pack(">II", 0, len(edits)) + b"".join(rows)
    new = struct.pack(">I4sI4s", 16 + len(body), b"edts", 8 + len(body), b"elst") + body
    changed = bytearray(content[:at] + new + content[at + size :])
    for place, length in (boxes(content, b"moov"), boxes(content, b"moov", b"trak")):
        # the samples come before moov: no offset changes
        struct.pack_into(">I", changed, place, length + len(new) - size)
    path.write_bytes(changed)
    return path


@pytest.mark.parametrize("options", [{"g": "20", "bf": "2"}, OPEN, {"g": "300", "bf": "2", "sc_threshold": "0"}])
@pytest.mark.parametrize(
    "edits",
    [[(40, 25)], [(30, 0), (20, 50)], [(20, 0), (20, 0)], [(20, 50), (20, 0)], [(10, -1), (60, 0)], [(400, 25)]],
)
def test_edit_lists_that_trim_skip_repeat_turn_round_and_pause(tmp_path, edits, options):
    path = edited(write(tmp_path / "edited.mp4", 80, options=options), edits)
    shown = []
    for length, begin in edits:
        shown += range(begin, min(begin + length, 80)) if begin >= 0 else ()
    count = probe(path).frames
    with av.open(str(path)) as container:
        seen = [frame.to_ndarray(format="rgb24") for frame in container.decode(video=0)]
    seen = numbers(torch.from_numpy(np.stack(seen)).permute(0, 3, 1, 2))
    assert abs(count - len(shown)) <= 3 * len(edits) and set(seen) <= set(range(80))  # FFmpeg rounds the ends of edits
    singles_are_those_of_the_whole(path, seen, step=5)


def test_frames_of_vp8_that_are_not_shown_are_not_counted(tmp_path):
    def hide(number, packet):
        if number not in (7, 20, 55):
            return packet
        content = bytearray(bytes(packet))
        content[0] &= ~16  # clears the bit show_frame
        hidden = av.Packet(bytes(content))
        hidden.pts, hidden.dts, hidden.time_base = packet.pts, packet.dts, packet.time_base
        return hidden

    options = {"deadline": "realtime", "cpu-used": "8", "g": "30", "b": "1M"}
    path = copied(write(tmp_path / "all.webm", 60, codec="libvpx", options=options), tmp_path / "some.webm", hide)
    singles_are_those_of_the_whole(path, [i for i in range(60) if i not in (7, 20, 55)], step=5)


def in_fields(frames):
    """Packets of interlaced H.264, each frame as two fields of 64 x 32: the odd lines, then the even lines."""
    head = (
        Bits()
        .put(
            (77, 8),
            (0, 8),
            (30, 8),
            (0, 0),
            (0, 0),
            (2, 0),
            (1, 0),
            (0, 1),
            (3, 0),
            (1, 0),
            (0, 1),
            (0, 1),
            (1, 1),
            (0, 1),
            (0, 1),
        )
        .packed()
    )
    coding = Bits().put((0, 0), (0, 0), (0, 2), (0, 0), (0, 0), (0, 0), (0, 3), *[(0, 0)] * 3, (0, 3)).packed()
    for i in range(frames):
        for field in (0, 1):
            own = Bits().put((0, 0), (7, 0), (0, 0), (0, 4), (1, 1), (field, 1))
            own.put((0, 1), (0, 0)) if field else own.put((i % 2, 0), (0, 2), (0, 0))
            body = b""
            for block in range(8):  # uncompressed macroblocks of 16 x 16: luma, then chroma
                body += (own if not block else Bits()).put((25, 0)).packed(stop=False)
                body += bytes(20 + 200 * ((i >> block) & 1) for _ in range(256)) + b"\x80" * 128
            parts = [(0x61 if field else 0x65, body + b"\x80")]
            parts = parts if field else [(0x09, b"\x10"), (0x67, head), (0x68, coding), *parts]
            yield b"".join(b"\0\0\0\1" + bytes([kind]) + content for kind, content in parts)


@pytest.mark.parametrize("name", ["fields.ts", "fields.mkv"])
def test_a_frame_that_comes_as_two_fields_is_one(tmp_path, name):
    fields, path = list(in_fields(60)), tmp_path / name
    (tmp_path / "raw.h264").write_bytes(b"".join(fields))
    with av.open(str(tmp_path / "raw.h264")) as raw, av.open(str(path), "w") as out:
        stream = out.add_stream_from_template(raw.streams.video[0])
        for i, content in enumerate(fields):
            packet = av.Packet(content)
            packet.pts = packet.dts = i
            packet.time_base, packet.stream, packet.is_keyframe = Fraction(1, 50), stream, i % 2 == 0
            out.mux(packet)
    assert probe(path).frames == count_decoded(path) == len(frame_times(path)) == 60
    whole = read_frames(path, range(60))
    assert len(torch.unique(whole.flatten(1), dim=0)) > 30
    for number in range(0, 60, 7):
        assert torch.equal(read_frames(path, [number])[0], whole[number])


def test_a_jump_in_a_transport_stream_saves_decoding_too(tmp_path, monkeypatch):
    path = write(tmp_path / "long.ts", 240, options={"g": "24"})
    decoded = decoded_frames(monkeypatch)
    assert numbers(read_frames(path, [2, 200, 239])) == [2, 200, 239]
    assert len(decoded) < 3 + 24 + 24 + 2


def test_a_jump_that_lands_behind_its_aim_is_not_needed(tmp_path, monkeypatch):
    path = write(tmp_path / "a.ts", 80, options=LONG)
    monkeypatch.setattr(decoding, "EARLY", 0)  # FFmpeg then lands after the keyframe
    singles_are_those_of_the_whole(path, range(80), step=5)


def test_a_jump_that_cannot_be_made_is_not_needed(tmp_path, monkeypatch):
    class Unmoved:
        def __init__(self, container):
            self.container = container

        def __getattr__(self, name):
            return getattr(self.container, name)

        def seek(self, *_, **__):
            raise av.error.PermissionError(1, "Operation not permitted")

    @contextlib.contextmanager
    def unmoved(path, opened=decoding.opened):
        with opened(path) as (container, stream):
            yield Unmoved(container), stream

    monkeypatch.setattr(decoding, "opened", unmoved)
    assert numbers(read_frames(write(tmp_path / "a.mp4", 80, options=LONG), [70])) == [70]


def test_whoever_counts_by_decoding_names_the_first_bad_frame(tmp_path):
    path = write(tmp_path / "a.mp4", 60, options={"bf": "0", "g": "60", "sc_threshold": "0"})
    with av.open(str(path)) as container:
        packets = [bytes(packet) for packet in container.demux(video=0) if packet.size]
    content = bytearray(path.read_bytes())
    at, size = content.index(packets[30]), len(packets[30])
    content[at : at + size] = (size - 4).to_bytes(4, "big") + b"\x0c" + b"\xff" * (size - 6) + b"\x80"
    path.write_bytes(content)
    assert probe(path).frames == 60  # all packets are present
    with pytest.raises(VideoError, match="a.mp4: .*frame 30 ") as error:
        count_decoded(path)
    assert "\n" not in str(error.value)
