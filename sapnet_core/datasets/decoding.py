"""Decoding by PyAV: open a file's video stream, list the times of its frames, and decode the requested frames.

`datasets.video` is the public interface. Video files may be untrusted, so the allowed containers, protocols and sizes
are limited, and each error of FFmpeg becomes a `VideoError` of one line that names the file.

Seeking to a keyframe only saves time: if decoding fails after a seek, the file is decoded again from its beginning
before an error is raised. In a recording that starts between two keyframes (such as a transport stream cut anywhere),
the first keyframe is frame 0: the frames before it cannot be decoded, and no player shows or counts them.
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

# A small file can claim any size, hence these limits.
MAX_AREA = 8192 * 4320  # maximum pixels of a frame
MAX_FRAMES = 500_000  # maximum frames of a video: five hours and a half at 25 frames a second
SEEK = 24  # minimum number of frames that a seek must skip to save time
EARLY = 24  # frames before the keyframe at which a seek in a transport stream aims, since FFmpeg lands after its target
# The allowed containers. Playlists are excluded: they make FFmpeg open other files or network addresses.
FORMATS = "mov,mp4,matroska,webm,avi,mpeg,mpegts,mpegvideo,h264,hevc,m4v,ogg,flv,asf,gif,mxf,dv,ivf,nut,wtv,rm"
TIMED = ("mov", "matroska", "mpegts")  # containers whose packets hold the time of every frame
ANEW = "copy or download it anew"
ENCODE = "encode it anew (ffmpeg -i in -c:v libx264 out.mp4) or take it out of the data"
NEAREST = "check that annotation and video belong together, or take the nearest frame there is (clamp=True)"


class VideoError(ValueError):
    """A video cannot be read as requested; the message is one line with the file, the fault and the remedy."""

    def __init__(self, text: str):
        super().__init__("".join(c if c.isprintable() else ascii(c)[1:-1] for c in text))  # a name may have line breaks


class LostFrame(Exception):
    """The frame after a seek is not the one that the packets announce; decoding must restart at the beginning."""


class FrameTable(NamedTuple):
    """Time stamps of the frames in display order, and the numbers of the keyframes among them, ascending."""

    stamps: list[int]
    keys: list[int]


def check_area(path: Path, width: int, height: int) -> None:
    """Raise VideoError for a frame of more than `MAX_AREA` pixels."""
    if width * height > MAX_AREA:
        raise VideoError(f"{path}: pictures of {width} x {height} pixels, the limit is {MAX_AREA}: scale it down first")


def is_folder(path: Path) -> bool:
    """Whether a path is a folder; False for a regular file.

    Raises:
        VideoError: the path does not exist, cannot be accessed, or is a pipe, a device or a socket.
    """
    try:
        mode = os.stat(path).st_mode
    except (FileNotFoundError, NotADirectoryError):
        raise VideoError(f"{path}: no such video file or frame folder: check the path, or download it") from None
    except (OSError, ValueError) as error:  # the name is too long or has a null byte, no permission, a loop of links
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
    """The message of an error as one short line."""
    return (getattr(error, "strerror", None) or str(error) or type(error).__name__).splitlines()[0][:100]


def _container(path: Path):
    """Open a file's container. FFmpeg may decode a few frames to find out which streams it has."""
    av = _pyav()
    options = {"format_whitelist": FORMATS, "protocol_whitelist": "file", "max_streams": str(STREAMS)}
    given = {"file": str(path.resolve()), "options": options, "metadata_errors": "ignore"}
    try:
        return av.open(**given, stream_options=[{"max_pixels": str(MAX_AREA)}] * STREAMS)
    except ValueError as error:
        if isinstance(error, av.FFmpegError):
            raise
        # In FLV and MPEG program streams only the packets show which streams there are, so no limit can be set ahead.
        # Where no decoder is allowed, FFmpeg takes the sizes from the headers in the packets and decodes nothing.
        return av.open(**given | {"options": options | {"codec_whitelist": "none"}})


@contextlib.contextmanager
def opened(path: Path):
    """Open a file for decoding; gives its container and its first video stream. Raises VideoError."""
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
        stream.codec_context.options = {"max_pixels": str(MAX_AREA)}  # the size may change later in the stream
        stream.codec_context.thread_count = torch.get_num_threads()
        stream.codec_context.thread_type = "AUTO"
        yield container, stream


def frame_table(path: Path) -> FrameTable | None:
    """The times of all frames, read from the packets without decoding; None where the packets do not hold them.

    Raises:
        VideoError: the file is no video, is damaged or cut short, or exceeds a limit of this module.
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
    # where recordings were joined, time can go back: the time stamps are then not in the order of the frames
    latest = [-math.inf, *itertools.accumulate((pts for pts, _ in shown), max)]  # latest time before each packet
    times = [packet.dts for packet in packets if packet.dts is not None]
    if any(key and pts < before for (pts, key), before in zip(shown, latest, strict=False)) or times != sorted(times):
        return None
    shown.sort()
    ahead = {pts for pts, _ in shown if packets[0].pts is not None and pts < packets[0].pts}
    if ahead or codec == "h264":
        begin = _first_two(path)
        if begin and begin[0].pts is not None:  # drop frames before the first keyframe that depend on absent frames
            shown = [(pts, key) for pts, key in shown if pts not in ahead or pts >= begin[0].pts]
        if len(begin) == 2 and begin[0].interlaced_frame and begin[1].pts not in [pts for pts, _ in shown[1:2]]:
            return None  # two packets make a frame, one for each of its fields
    return FrameTable([pts for pts, _ in shown], [place for place, (_, key) in enumerate(shown) if key])


def _first_two(path: Path) -> list:
    """The first two frames of a file, or fewer where they cannot be decoded."""
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
    """The packets of a stream in decoding order. Raises VideoError for a file that is damaged or cut short."""
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
                # packets before the start of an edit list, and frames of VP8 that only serve as a reference for others
                hidden = packet.is_discard or (stream.codec_context.name == "vp8" and not memoryview(packet)[0] & 16)
                packets.append(_Packet(packet.pts, packet.dts, packet.is_keyframe, hidden))
    except av.FFmpegError:
        torn = True
    # MP4 lists the positions of its packets, and Matroska its duration, which show whether the end is missing. A count
    # of frames does not show it, since edit lists leave packets out.
    length = path.stat().st_size
    torn = torn or any(entry.pos + entry.size > length for s in container.streams for entry in s.index_entries)
    told = container.duration and container.format.name.startswith("matroska")
    if torn or (told and end < container.duration / av.time_base - 1):
        joined = container.format.name == "mpegts"  # a joint of two recordings looks like a loss
        of = f" of {stream.frames}" if stream.frames else ""
        remedy = f"{ANEW}, or encode it anew where recordings were joined in it" if joined else ANEW
        raise VideoError(f"{path}: damaged or cut short, it holds at most {len(packets)}{of} frames: {remedy}")
    if len(packets) > MAX_FRAMES:
        raise VideoError(f"{path}: {len(packets)} frames, the limit is {MAX_FRAMES}: split the video")
    if not packets:
        raise VideoError(f"{path}: has no frames: {ANEW}")
    return packets


def _frames(container, stream, from_key: bool) -> Iterator:
    """Decode a stream; with `from_key`, skip the packets before the first keyframe."""
    for packet in container.demux(stream):
        from_key = from_key and packet.size and not packet.is_keyframe
        if not from_key:
            yield from packet.decode()


def decoded(path: Path, container, stream, table: FrameTable | None = None, at: int = 0) -> Iterator:
    """Decode frames in display order, and check that each is intact and has the time that the table announces.

    Args:
        table: time stamps of all frames; None skips their check.
        at: number of the first frame; above 0 the caller has sought to this frame, a keyframe.

    Raises:
        LostFrame: a frame is wrong, and `at` is above 0.
        VideoError: a frame is wrong, and `at` is 0; or the file exceeds a limit of this module.
    """
    av, number = _pyav(), at

    def fault(text: str) -> Exception:
        return LostFrame(text) if at else VideoError(f"{path}: {text}: {ENCODE}")

    stamps = table.stamps if table else []
    try:
        for frame in _frames(container, stream, from_key=table is not None):
            if at and frame.pts is not None and frame.pts < stamps[at]:
                continue  # after a seek, this frame is shown before the keyframe
            if stamps and (number >= len(stamps) or frame.pts != stamps[number]):
                if at or _count(path) != len(stamps):
                    raise fault(f"frame {number} is damaged or missing")
                stamps = []  # every packet is a frame, and only their time stamps are out of order
            if at == number and at and not frame.key_frame:
                raise fault(f"frame {number} is not a keyframe")
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
    """The number of frames that decoding gives, regardless of what the packets announce."""
    with opened(path) as (container, stream):
        return sum(1 for _ in decoded(path, container, stream, FrameTable([], [])))


def picked(path: Path, wanted: list[int], table: FrameTable | None, seek: bool) -> Iterator[tuple[int, np.ndarray]]:
    """Decode the wanted frames as pairs of number and upright picture, (H, W, 3) uint8 RGB. Raises as `decoded`.

    Args:
        wanted: numbers of the frames, ascending.
        table: of the file, as `frame_table` returns it.
        seek: whether to seek to keyframes where that saves time.
    """
    av = _pyav()
    from av.video.reformatter import VideoReformatter

    with opened(path) as (container, stream):
        convert, at, frames = VideoReformatter(), 0, None
        early = EARLY if container.format.name == "mpegts" else 0
        for number in wanted:
            before = bisect_right(table.keys, number) if table and seek else 0  # number of keyframes up to the frame
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
    """The orientation of a frame, from its display matrix (x, y) -> (a x + c y, b x + d y).

    Returns: whether rows and columns are swapped, and whether the result is then mirrored left to right, and top to
    bottom.
    """
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
