"""Decoding by PyAV: a file's video stream, when each of its frames is shown, and the frames asked for, each checked.

`data.video` offers this to others. What is opened may come from anywhere, so containers, protocols and sizes have
limits, and whatever FFmpeg complains of becomes one line that names the file.
"""

import itertools
from bisect import bisect_right
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch

__all__ = ["VideoError", "LostFrame", "FrameTable", "check_area", "opened", "frame_table", "decoded", "picked",
           "display"]  # fmt: skip

# Limits, since a small file can claim any size.
MAX_AREA = 8192 * 4320  # pixels of a picture
MAX_FRAMES = 500_000  # of a video: five hours and a half at 25 frames a second
SEEK = 24  # frames that must be saved before a jump to a keyframe pays
# Playlists and the like are no videos: they make FFmpeg open other files, or the net.
FORMATS = "mov,mp4,matroska,webm,avi,mpeg,mpegts,mpegvideo,h264,hevc,m4v,ogg,flv,asf,gif,mxf,dv,ivf,nut,wtv,rm"
TIMED = ("mov", "matroska", "mpegts")  # containers whose packets tell the time of every frame
ANEW = "copy or download it anew"
ENCODE = "encode it anew (ffmpeg -i in -c:v libx264 out.mp4) or take it out of the data"
NEAREST = "check that annotation and video belong together, or take the nearest frame there is (clamp=True)"


class VideoError(ValueError):
    """A video cannot be read as asked. One line: file, fault, remedy."""


class LostFrame(Exception):
    """A decoded frame is not the one that the packets announce at this place."""


class FrameTable(NamedTuple):
    """Time stamps of the frames in the order shown, and which of the frames are keyframes (positions, ascending)."""

    stamps: list[int]
    keys: list[int]


def check_area(path: Path, width: int, height: int) -> None:
    """Refuse a picture beyond the limit."""
    if width * height > MAX_AREA:
        raise VideoError(f"{path}: pictures of {width} x {height} pixels, the limit is {MAX_AREA}: scale it down first")


def _pyav():
    try:
        import av
    except ImportError as error:
        raise ImportError("video files are decoded by PyAV, which is not installed: pip install av") from error
    return av


def _reason(error: Exception) -> str:
    return (getattr(error, "strerror", None) or str(error) or type(error).__name__).splitlines()[0]


@contextmanager
def opened(path: Path):
    """A file's container and its first video stream, ready to decode."""
    av = _pyav()
    if not path.is_file():
        raise VideoError(f"{path}: no such video file or frame folder: check the path, or download it")
    if not path.stat().st_size:
        raise VideoError(f"{path}: the file is empty: {ANEW}")
    try:
        options = {"format_whitelist": FORMATS, "protocol_whitelist": "file"}
        container = av.open(str(path.resolve()), options=options, metadata_errors="ignore")
    except (av.FFmpegError, OSError, ValueError) as error:
        raise VideoError(f"{path}: no video, or cut off ({_reason(error)}): {ANEW}") from error
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


def frame_table(path: Path, container, stream) -> FrameTable | None:
    """Times of all frames, from the packets alone; None where these do not tell them. A file cut short is refused."""
    av = _pyav()
    if not container.format.name.startswith(TIMED):
        return None
    packets, torn, end = [], False, 0.0
    try:
        for packet in container.demux():
            if not packet.size:
                continue
            torn = torn or packet.is_corrupt
            if packet.pts is not None:
                end = max(end, float((packet.pts + (packet.duration or 0)) * packet.time_base))
            if packet.stream is stream or packet.stream.index == stream.index:
                packets.append((packet.pts, packet.is_keyframe, packet.is_discard))
    except av.FFmpegError:
        torn = True
    # MP4 says where its packets lie, Matroska how long it lasts; counts are no sign, since edit lists leave packets out
    length = path.stat().st_size
    torn = torn or any(entry.pos + entry.size > length for s in container.streams for entry in s.index_entries)
    start = (container.start_time or 0) / av.time_base
    told = container.duration and container.format.name.startswith("matroska")
    if torn or (told and end < start + container.duration / av.time_base - 1):
        of = f" of {stream.frames}" if stream.frames else ""
        raise VideoError(f"{path}: damaged or cut short, it holds at most {len(packets)}{of} frames: {ANEW}")
    if len(packets) > MAX_FRAMES:
        raise VideoError(f"{path}: {len(packets)} frames, the limit is {MAX_FRAMES}: split the video")
    shown = sorted((pts, key) for pts, key, discard in packets if not discard and pts is not None)
    stamps = [pts for pts, _ in shown]
    if not packets:
        raise VideoError(f"{path}: has no frames: {ANEW}")
    if any(pts is None for pts, _, _ in packets) or len(set(stamps)) < len(stamps) or not stamps:
        return None
    return FrameTable(stamps, [place for place, (_, key) in enumerate(shown) if key])


def decoded(path: Path, container, stream, table: FrameTable | None = None, at: int = 0) -> Iterator:
    """Frames in the order shown from number `at` on, each checked: whole, and the one that the table announces.

    Raises LostFrame where it is another one.
    """
    av, number = _pyav(), at
    try:
        for frame in container.decode(stream):
            if at and frame.pts is not None and frame.pts < table.stamps[at]:
                continue  # after a jump: shown before the keyframe
            if table and (number >= len(table.stamps) or frame.pts != table.stamps[number]):
                raise LostFrame(number)
            if frame.is_corrupt:
                raise VideoError(f"{path}: frame {number} is damaged: {ENCODE}")
            if number >= MAX_FRAMES:
                raise VideoError(f"{path}: more than {MAX_FRAMES} frames, the limit: split the video")
            yield frame
            number += 1
    except av.FFmpegError as error:
        raise VideoError(f"{path}: cannot be decoded beyond {number} frames ({_reason(error)}): {ENCODE}") from error


def picked(path: Path, wanted: list[int], table: FrameTable | None, seek: bool) -> Iterator[tuple[int, np.ndarray]]:
    """The wanted frames (ascending numbers) as (number, (H, W, 3) uint8 RGB), upright."""
    from av.video.reformatter import VideoReformatter

    with opened(path) as (container, stream):
        convert, at, frames = VideoReformatter(), 0, None
        for number in wanted:
            before = bisect_right(table.keys, number) if table and seek else 0  # keyframes up to the frame
            key = table.keys[before - 1] if before else 0
            if key >= at + SEEK:
                container.seek(table.stamps[key], stream=stream)
                at, frames = key, None
            frames = frames or decoded(path, container, stream, table, at)
            try:
                frame = next(itertools.islice(frames, number - at, None), None)
            except LostFrame as lost:
                if seek:
                    raise
                raise VideoError(f"{path}: frame {lost} is damaged or missing: {ENCODE}") from None
            if frame is None:
                raise VideoError(f"{path}: frame {number} asked, beyond its end: {NEAREST}")
            at = number + 1
            yield number, _upright(convert.reformat(frame, format="rgb24", threads=1).to_ndarray(), frame)


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
