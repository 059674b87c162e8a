"""Decoding by PyAV: a file's video stream, when each of its frames is shown, and the frames asked for, each checked.

`datasets.video` offers this to others. What is opened may come from anywhere, so containers, protocols and sizes have
limits, and whatever FFmpeg complains of becomes one line that names the file.

A jump to a keyframe only saves time: whatever fails after one is counted again from the beginning before the file is
blamed. A recording that begins between two keyframes (a transport stream cut anywhere) begins with its first keyframe:
what lies before cannot be decoded, and no player shows or counts it.
"""

import contextlib
import itertools
import math
import os
import stat
from bisect import bisect_right
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch

from sapnet_core.datasets.containers import PARTS, STREAMS, claimed_samples, structural_fault

__all__ = [
    "VideoError",
    "LostFrame",
    "FrameTable",
    "check_area",
    "is_folder",
    "reason",
    "opened",
    "frame_table",
    "decoded",
    "picked",
    "display",
]

# Limits, since a small file can claim any size.
MAX_AREA = 8192 * 4320  # pixels of a picture
MAX_FRAMES = 500_000  # of a video: five hours and a half at 25 frames a second
SEEK = 24  # frames that must be saved before a jump to a keyframe pays
EARLY = 24  # frames: so much ahead of a keyframe a jump in a transport stream aims, since FFmpeg lands behind its aim
# Playlists and the like are no videos: they make FFmpeg open other files, or the net.
FORMATS = "mov,mp4,matroska,webm,avi,mpeg,mpegts,mpegvideo,h264,hevc,m4v,ogg,flv,asf,gif,mxf,dv,ivf,nut,wtv,rm"
TIMED = ("mov", "matroska", "mpegts")  # containers whose packets tell the time of every frame
ANEW = "copy or download it anew"
ENCODE = "encode it anew (ffmpeg -i in -c:v libx264 out.mp4) or take it out of the data"
NEAREST = "check that annotation and video belong together, or take the nearest frame there is (clamp=True)"


class VideoError(ValueError):
    """A video cannot be read as asked. One line: file, fault, remedy."""

    def __init__(self, text: str):
        super().__init__("".join(c if c.isprintable() else ascii(c)[1:-1] for c in text))  # a name may hold line ends


class LostFrame(Exception):
    """What follows a jump is not what the packets announce. Whether the file is to blame shows from its beginning."""


class FrameTable(NamedTuple):
    """Time stamps of the frames in the order shown, and which of the frames are keyframes (positions, ascending)."""

    stamps: list[int]
    keys: list[int]


def check_area(path: Path, width: int, height: int) -> None:
    """Refuse a picture beyond the limit."""
    if width * height > MAX_AREA:
        raise VideoError(f"{path}: pictures of {width} x {height} pixels, the limit is {MAX_AREA}: scale it down first")


def is_folder(path: Path) -> bool:
    """Whether a path is a folder; False for a regular file.

    Raises:
        VideoError: nothing is there, it cannot be looked at, or it is a pipe, a device or a socket.
    """
    try:
        mode = os.stat(path).st_mode
    except (FileNotFoundError, NotADirectoryError):
        raise VideoError(f"{path}: no such video file or frame folder: check the path, or download it") from None
    except (OSError, ValueError) as error:  # a name too long or with a null byte, no permission, links in a circle
        raise VideoError(f"{path}: cannot be opened ({reason(error)}): check its name and permissions") from None
    if not stat.S_ISDIR(mode) and not stat.S_ISREG(mode):
        raise VideoError(f"{path}: is a pipe, a device or a socket, and no video file: take it out of the data")
    return stat.S_ISDIR(mode)


def _pyav():
    try:
        import av
    except ImportError as error:
        raise ImportError("video files are decoded by PyAV, which is not installed: pip install av") from error
    return av


def reason(error: Exception) -> str:
    """What an error says, in one short line."""
    return (getattr(error, "strerror", None) or str(error) or type(error).__name__).splitlines()[0][:100]


def _container(path: Path):
    """A file's container, of which a few frames may have been decoded to know what is in it."""
    av = _pyav()
    options = {"format_whitelist": FORMATS, "protocol_whitelist": "file", "max_streams": str(STREAMS)}
    given = {"file": str(path.resolve()), "options": options, "metadata_errors": "ignore"}
    try:
        return av.open(**given, stream_options=[{"max_pixels": str(MAX_AREA)}] * STREAMS)
    except ValueError as error:
        if isinstance(error, av.FFmpegError):
            raise
        return av.open(**given)  # FLV and MPEG program streams: their packets alone tell what is in them


@contextlib.contextmanager
def opened(path: Path):
    """A file's container and its first video stream, ready to decode."""
    av = _pyav()
    if is_folder(path):
        raise VideoError(f"{path}: is a folder and no video file: check the path")
    if not path.stat().st_size:
        raise VideoError(f"{path}: the file is empty: {ANEW}")
    try:
        if claimed_samples(path) > PARTS:
            raise VideoError(f"{path}: claims more than {PARTS} frames and samples, or hides how many: {ENCODE}")
        container = _container(path)
    except VideoError:
        raise
    except PermissionError as error:
        raise VideoError(f"{path}: cannot be opened ({reason(error)}): check its name and permissions") from error
    except MemoryError as error:
        raise VideoError(f"{path}: asks for more memory or streams than a video has: {ENCODE}") from error
    except (av.FFmpegError, OSError, ValueError) as error:
        raise VideoError(f"{path}: no video, or cut off ({reason(error)}): {ANEW}") from error
    with container:
        cover = av.stream.Disposition.attached_pic
        stream = next((s for s in container.streams.video if not s.disposition & cover), None)
        if stream is None or stream.codec_context is None:
            raise VideoError(f"{path}: has no video stream that can be decoded: {ENCODE}")
        if stream.frames > MAX_FRAMES:
            raise VideoError(f"{path}: claims {stream.frames} frames, the limit is {MAX_FRAMES}: split the video")
        check_area(path, stream.codec_context.width, stream.codec_context.height)
        stream.codec_context.options = {"max_pixels": str(MAX_AREA)}  # whatever the stream says later on
        stream.codec_context.thread_count = torch.get_num_threads()
        stream.codec_context.thread_type = "AUTO"
        yield container, stream


def frame_table(path: Path) -> FrameTable | None:
    """Times of all frames, from the packets alone; None where these do not tell them.

    Raises:
        VideoError: the file is no video, damaged or cut short, or a limit of this module is passed.
    """
    with opened(path) as (container, stream):
        fault = structural_fault(path, container.format.name)
        if fault:
            raise VideoError(f"{path}: {fault}: {ANEW}")
        if not container.format.name.startswith(TIMED):
            return None
        packets, codec = _packets(path, container, stream), stream.codec_context.name
    packets = list(itertools.dropwhile(lambda packet: not packet.is_key, packets))
    shown = [(packet.pts, packet.is_key) for packet in packets if not packet.is_discarded]
    if not shown or any(pts is None for pts, _ in shown) or len({pts for pts, _ in shown}) < len(shown):
        return None
    # time that goes back, as where recordings were joined: the order of the stamps is not that of the frames
    latest = [-math.inf, *itertools.accumulate((pts for pts, _ in shown), max)]  # before each packet
    times = [packet.dts for packet in packets if packet.dts is not None]
    if any(key and pts < before for (pts, key), before in zip(shown, latest, strict=False)) or times != sorted(times):
        return None
    shown.sort()
    ahead = {pts for pts, _ in shown if packets[0].pts is not None and pts < packets[0].pts}
    if ahead or codec == "h264":
        begin = _first_two(path)
        if begin and begin[0].pts is not None:  # what is shown before the first keyframe, and builds on what is absent
            shown = [(pts, key) for pts, key in shown if pts not in ahead or pts >= begin[0].pts]
        if len(begin) == 2 and begin[0].interlaced_frame and begin[1].pts not in [pts for pts, _ in shown[1:2]]:
            return None  # two packets make a frame, one for each of its fields
    return FrameTable([pts for pts, _ in shown], [place for place, (_, key) in enumerate(shown) if key])


def _first_two(path: Path) -> list:
    """The first two frames, fewer where they cannot be decoded."""
    frames = []
    with opened(path) as (container, stream), contextlib.suppress(VideoError):
        for frame in itertools.islice(decoded(path, container, stream, FrameTable([], [])), 2):
            frames.append(frame)
    return frames


class _Packet(NamedTuple):
    pts: int | None
    dts: int | None
    is_key: bool
    is_discarded: bool  # decoded, but not shown


def _packets(path: Path, container, stream) -> list[_Packet]:
    """The packets of a stream in the order of decoding. A file that is damaged or cut short is refused."""
    av = _pyav()
    packets, torn, end = [], False, 0.0
    try:
        for packet in container.demux():
            if not packet.size:
                continue
            torn = torn or packet.is_corrupt
            if packet.pts is not None:
                end = max(end, float((packet.pts + (packet.duration or 0)) * packet.time_base))
            if packet.stream is stream or packet.stream.index == stream.index:
                # an edit list begins later, or a frame of VP8 is only there for others to build on
                hidden = packet.is_discard or (stream.codec_context.name == "vp8" and not memoryview(packet)[0] & 16)
                packets.append(_Packet(packet.pts, packet.dts, packet.is_keyframe, hidden))
    except av.FFmpegError:
        torn = True
    # MP4 says where its packets lie, Matroska when it ends; counts are no sign, since edit lists leave packets out
    length = path.stat().st_size
    torn = torn or any(entry.pos + entry.size > length for s in container.streams for entry in s.index_entries)
    told = container.duration and container.format.name.startswith("matroska")
    if torn or (told and end < container.duration / av.time_base - 1):
        joined = container.format.name == "mpegts"  # where one ends and the next begins looks like a loss
        of = f" of {stream.frames}" if stream.frames else ""
        remedy = f"{ANEW}, or encode it anew where recordings were joined in it" if joined else ANEW
        raise VideoError(f"{path}: damaged or cut short, it holds at most {len(packets)}{of} frames: {remedy}")
    if len(packets) > MAX_FRAMES:
        raise VideoError(f"{path}: {len(packets)} frames, the limit is {MAX_FRAMES}: split the video")
    if not packets:
        raise VideoError(f"{path}: has no frames: {ANEW}")
    return packets


def _frames(container, stream, from_key: bool) -> Iterator:
    """Decoded frames; with `from_key`, packets before the first keyframe are left out."""
    for packet in container.demux(stream):
        from_key = from_key and packet.size and not packet.is_keyframe
        if not from_key:
            yield from packet.decode()


def decoded(path: Path, container, stream, table: FrameTable | None = None, at: int = 0) -> Iterator:
    """Frames in the order shown from number `at` on, each checked: whole, and the one that the table announces.

    Raises LostFrame for whatever is wrong after a jump, which `at` > 0 means, else VideoError.
    """
    av, number = _pyav(), at

    def fault(text: str) -> Exception:
        return LostFrame(text) if at else VideoError(f"{path}: {text}: {ENCODE}")

    stamps = table.stamps if table else []
    try:
        for frame in _frames(container, stream, from_key=table is not None):
            if at and frame.pts is not None and frame.pts < stamps[at]:
                continue  # after a jump: shown before the keyframe
            if stamps and (number >= len(stamps) or frame.pts != stamps[number]):
                if at or _count(path) != len(stamps):
                    raise fault(f"frame {number} is damaged or missing")
                stamps = []  # every packet is a frame, and only their times are not in the order shown
            if at == number and at and not frame.key_frame:
                raise fault(f"frame {number} is no keyframe")
            if frame.is_corrupt:
                raise fault(f"frame {number} is damaged")
            if number >= MAX_FRAMES:
                raise VideoError(f"{path}: more than {MAX_FRAMES} frames, the limit: split the video")
            yield frame
            number += 1
    except (av.FFmpegError, ValueError) as error:
        if isinstance(error, VideoError):
            raise
        raise fault(f"cannot be decoded from frame {number} on ({reason(error)})") from error
    if number < len(stamps):
        raise fault(f"frame {number} is damaged or missing")


def _count(path: Path) -> int:
    """How many frames come out of a file, whatever its packets announce."""
    with opened(path) as (container, stream):
        return sum(1 for _ in decoded(path, container, stream, FrameTable([], [])))


def picked(path: Path, wanted: list[int], table: FrameTable | None, seek: bool) -> Iterator[tuple[int, np.ndarray]]:
    """The wanted frames (ascending numbers) as (number, (H, W, 3) uint8 RGB), upright. Raises as `decoded`."""
    av = _pyav()
    from av.video.reformatter import VideoReformatter

    with opened(path) as (container, stream):
        convert, at, frames = VideoReformatter(), 0, None
        early = EARLY if container.format.name == "mpegts" else 0
        for number in wanted:
            before = bisect_right(table.keys, number) if table and seek else 0  # keyframes up to the frame
            key = table.keys[before - 1] if before else 0
            if key >= at + SEEK:
                try:
                    container.seek(table.stamps[max(key - early, 0)], stream=stream)
                except av.FFmpegError as error:
                    raise LostFrame(reason(error)) from error
                at, frames = key, None
            frames = frames or decoded(path, container, stream, table, at)
            frame = next(itertools.islice(frames, number - at, None), None)
            if frame is None:
                raise VideoError(f"{path}: frame {number} asked, beyond its end: {NEAREST}")
            at = number + 1
            try:
                picture = convert.reformat(frame, format="rgb24", threads=1).to_ndarray()
            except (av.FFmpegError, ValueError) as error:
                fault = f"pixels of format {frame.format.name} do not become RGB ({reason(error)})"
                raise VideoError(f"{path}: {fault}: {ENCODE}") from error
            yield number, _upright(picture, frame)


def display(frame) -> tuple[bool, bool, bool]:
    """How a frame is to be shown, from its display matrix (x, y) -> (a x + c y, b x + d y): whether rows and columns
    change places, and whether it is mirrored left to right and upside down after that."""
    side = frame.side_data.get("DISPLAYMATRIX")
    if side is None:
        return False, False, False
    a, b, _, c, d = np.frombuffer(bytes(side), np.int32)[:5].tolist()
    turned = abs(b) > abs(a)
    return (True, c < 0, b < 0) if turned else (False, a < 0, d < 0)


def _upright(picture: np.ndarray, frame) -> np.ndarray:
    turned, mirrored, inverted = display(frame)
    picture = picture.swapaxes(0, 1) if turned else picture
    picture = picture[:, ::-1] if mirrored else picture
    picture = picture[::-1] if inverted else picture
    return np.ascontiguousarray(picture)
