"""Frames of a video file or of a folder of images, exact to the frame, and of a record in its official layout.

Frames are counted from 0 in the order in which they are shown, whatever the container says of rate and length. Files
are decoded by PyAV, which brings its own FFmpeg: torchcodec is no quicker here and needs the system's FFmpeg. A file
that cannot be read as it stands is refused by name; no broken frame is skipped or replaced. (One thing cannot be seen:
a frame that never reached an MPEG transport stream, which does not count its frames. MP4 and Matroska are safe.)

What the public code of the datasets writes and reads:

- MTL-AQA (yuxumin/CoRe, `MTL_tool/video2frame.sh`, `datasets/MTLPair.py`): `ffmpeg -f image2 .../%08d.jpg`, one
  folder a video ("01" to "26"), files numbered from 1. It sorts the names and takes the 103 positions from
  `end_frame - 103` on, so frame i of the annotation is the file numbered i + 1. Here the number decides, since a folder
  may hold the frames of the dives alone.
- FineDiving (xujinglin/FineDiving, `data_process.py`, `FineDiving_Pair.py`): `%05d.jpg`, one folder a dive, with the
  numbers of the source video: dive 0 of its first event is 00489 to 00592, which are `start_frame` and `end_frame` of
  the coarse annotation. It samples by position in the sorted folder, and so does this module.
- Rhythmic Gymnastics (qinghuannn/ACTION-NET, `extract_dynamic_feat.py`): `{name}.mp4`, every frame read in order.
- FineFS (yanliji/FineFS-dataset): `data/video/{id}.mp4` at 25 frames a second.
"""

import itertools
import os
import re
from bisect import bisect_right
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
import torch.nn.functional as F
from PIL import Image, ImageOps
from torch import Tensor

from sapnet_core.data.records import Record

__all__ = [
    "FOLDERS", "VideoError", "VideoInfo", "at_times", "frame_files", "frame_times", "probe", "read_frames",
    "read_record", "record_path",
]  # fmt: skip

FOLDERS = {"mtl-aqa": "MTL-AQA", "finediving": "FineDiving", "rg": "RG", "finefs": "FineFS"}  # where a set lies
IMAGES = (".jpg", ".jpeg", ".png", ".bmp", ".webp")
RATE = 25.0  # frames a second of a folder, which does not say
# Limits, since a small file can claim any size.
MAX_AREA = 8192 * 4320  # pixels of a picture
MAX_FRAMES = 500_000  # of a video: five hours and a half at 25 frames a second
MAX_BYTES = 16 * 2**30  # of the frames one call returns
CHUNK = 2**20  # pixels that are resized at once
SEEK = 24  # frames that must be saved before a jump to a keyframe pays
# Playlists and the like are no videos: they make FFmpeg open other files, or the net.
FORMATS = "mov,mp4,matroska,webm,avi,mpeg,mpegts,mpegvideo,h264,hevc,m4v,ogg,flv,asf,gif,mxf,dv,ivf,nut,wtv,rm"
TIMED = ("mov", "matroska", "mpegts")  # containers whose packets tell the time of every frame
ANEW = "copy or download it anew"
ENCODE = "encode it anew (ffmpeg -i in -c:v libx264 out.mp4) or take it out of the data"


class VideoError(ValueError):
    """A video cannot be read as asked. One line: file, fault, remedy."""


class VideoInfo(NamedTuple):
    """Number of frames (counted, not claimed), mean frames a second, and the picture as shown, in pixels."""

    frames: int
    rate: float
    width: int
    height: int


class _Lost(Exception):
    """A decoded frame is not the one that the packets announce at this place."""


class _Table(NamedTuple):
    """Time stamps of the frames in the order shown, and which of the frames are keyframes (positions, ascending)."""

    stamps: list[int]
    keys: list[int]


def probe(path: Path | str) -> VideoInfo:
    """Length, rate and size of a video file or frame folder.

    Frames are counted in the packets where the container times each (MP4, Matroska), else by decoding.

    Raises:
        VideoError: no such file, no video in it, no frame, or cut short.
        ImportError: a video file, and PyAV is not installed.
    """
    path = Path(path)
    if path.is_dir():
        files = frame_files(path)
        height, width = _image(next(iter(files.values()))).shape[:2]
        return VideoInfo(len(files), RATE, width, height)
    with _opened(path) as (container, stream):
        table = _table(path, container, stream)
    with _opened(path) as (container, stream):
        rate = float(stream.average_rate or stream.guessed_rate or RATE)
        frames = _decoded(path, container, stream)
        first = next(frames, None)
        if first is None:
            raise VideoError(f"{path}: has no frames: {ANEW}")
        turned = _display(first)[0]
        width, height = (first.height, first.width) if turned else (first.width, first.height)
        return VideoInfo(len(table.stamps) if table else 1 + sum(1 for _ in frames), rate, width, height)


def read_frames(
    path: Path | str,
    index: Tensor | Sequence[int],
    *,
    size: int | None = None,
    clamp: bool = False,
    numbered: bool = False,
) -> Tensor:
    """Frames of a video file or frame folder, (T, 3, H, W) uint8 RGB, turned upright where the file says so.

    Args:
        index: (T,) frames counted from 0 in the order shown; any order, repeats allowed.
        size: shorter side of the frames returned, at most: larger ones are resized while they are decoded (bilinear
            and antialiased, `actors.resize_video` to within one level), so that only small ones are held.
        clamp: take the first or last frame for an index beyond the ends; otherwise that is an error.
        numbered: of a folder, frame i is the file numbered i + 1, as FFmpeg counts, and not the (i + 1)-th file.

    Pixels are returned as stored: an aspect ratio of the pixels other than 1 is not undone.

    Raises:
        VideoError: the file is missing, torn or no video; a frame asked for is absent or cannot be decoded; the
            picture changes its size on the way; or a limit of this module is passed.
        ImportError: a video file, and PyAV is not installed.
    """
    path, index = Path(path), torch.as_tensor(index)
    if index.dim() != 1 or not len(index) or index.is_floating_point() or index.is_complex():
        raise ValueError(f"index has shape {tuple(index.shape)} and type {index.dtype}: give whole numbers (T,), T > 0")
    if size is not None and size < 1:
        raise ValueError(f"size={size}: give the shorter side in pixels, at least 1")
    index = index.long().tolist()
    if path.is_dir():
        return _read_folder(path, index, size, clamp, numbered)
    with _opened(path) as (container, stream):
        table = _table(path, container, stream)
    count = len(table.stamps) if table else probe(path).frames if clamp else None
    index = _within(path, index, count, clamp)
    try:
        return _filled(path, index, size, _picked(path, sorted(set(index)), table, seek=True))
    except _Lost:  # a jump did not lead where it should: count from the beginning
        return _filled(path, index, size, _picked(path, sorted(set(index)), table, seek=False))


def frame_times(path: Path | str) -> Tensor:
    """When each frame of a video file or folder is first shown, (N,) float64 seconds from the first frame on."""
    path = Path(path)
    if path.is_dir():
        return torch.arange(len(frame_files(path)), dtype=torch.float64) / RATE
    with _opened(path) as (container, stream):
        table, base = _table(path, container, stream), stream.time_base
        step = 1 / (stream.average_rate or stream.guessed_rate or RATE)
    if table:
        stamps = [stamp * base for stamp in table.stamps]
    else:
        with _opened(path) as (container, stream):
            stamps = [f.pts * base if f.pts is not None else n * step
                      for n, f in enumerate(_decoded(path, container, stream))]  # fmt: skip
    if not stamps:
        raise VideoError(f"{path}: has no frames: {ANEW}")
    return torch.tensor([float(stamp - stamps[0]) for stamp in stamps], dtype=torch.float64)


def at_times(
    path: Path | str, seconds: Tensor | Sequence[float], *, size: int | None = None, clamp: bool = False
) -> Tensor:
    """The frames shown at `seconds` (T,) after the first one, as `read_frames` returns them; right for any frame rate.

    A frame is shown until the next one is; the last one as long as the one before it. Times are compared to the
    millisecond, to which Matroska rounds.
    """
    times = frame_times(path)
    seconds = torch.as_tensor(seconds, dtype=torch.float64)
    index = torch.searchsorted(times, seconds + 1e-3, right=True) - 1
    last = float(times[-1] - times[-2]) if len(times) > 1 else 1 / RATE
    index = torch.where(seconds + 1e-3 < times[-1] + last, index, len(times))
    return read_frames(path, index, size=size, clamp=clamp)


def frame_files(folder: Path | str) -> dict[int, Path]:
    """The images of a folder by number, ascending: the last digits of the name, as in "00489.jpg" or "frame_12.png".

    Where no name has digits they are numbered from 1 in the order of their names. Hidden and other files are ignored.

    Raises:
        VideoError: no images, a number twice, or a name without number among numbered ones.
    """
    folder = Path(folder)
    names = [name for name in os.listdir(folder) if name.lower().endswith(IMAGES) and not name.startswith(".")]
    if not names:
        raise VideoError(f"{folder}: holds no frames ({', '.join(IMAGES)}): extract them, see the table of datasets")
    if len(names) > MAX_FRAMES:
        raise VideoError(f"{folder}: {len(names)} images, the limit is {MAX_FRAMES}: split the video")
    digits = {name: re.findall(r"\d+", name.rpartition(".")[0]) for name in names}
    if not any(digits.values()):
        return {number: folder / name for number, name in enumerate(sorted(names), 1)}
    files: dict[int, Path] = {}
    for name in sorted(names):
        number = int(digits[name][-1]) if digits[name] else None
        if number is None or number in files:
            fault = "has no number" if number is None else f"has the number of {files[number].name}"
            raise VideoError(f"{folder / name}: {fault}: keep one numbered image for each frame")
        files[number] = folder / name
    return dict(sorted(files.items()))


def record_path(root: Path | str, record: Record) -> Path:
    """Where a record's frames lie: below the dataset's folder in `root`, or below `root` itself.

    Raises:
        VideoError: they lie in neither, or the record's path leads out of the folder.
    """
    if Path(record.path).is_absolute() or ".." in Path(record.path).parts:
        raise VideoError(f"{record.path}: record {record.key} leads out of the data folder: give a path inside it")
    folder = Path(root) / FOLDERS.get(record.dataset, "")
    places = [folder / record.path, folder / "data" / record.path, Path(root) / record.path]
    found = next((place for place in places if place.exists()), None)
    if found is None:
        raise VideoError(f"{places[0]}: frames of record {record.key} are not there: see the table of datasets")
    return found


def read_record(
    root: Path | str, record: Record, offsets: Tensor, *, size: int | None = None, clamp: bool = False
) -> Tensor:
    """Frames of a record at `offsets` (T,) from its start, (T, 3, H, W) uint8, as its dataset counts them on disk."""
    path = record_path(root, record)
    start = 0 if record.dataset == "finediving" else record.start  # its folders hold the dive alone
    return read_frames(path, offsets + start, size=size, clamp=clamp, numbered=record.dataset == "mtl-aqa")


def _within(path: Path, index: list[int], count: int | None, clamp: bool) -> list[int]:
    """The index as it can be read of `count` frames; of an unknown count its end is found while decoding."""
    if clamp:
        return [min(max(i, 0), count - 1) for i in index]
    wrong = min(index) if min(index) < 0 else max(index)
    if wrong < 0 or (count is not None and wrong >= count):
        has = "" if count is None else f" of {count}"
        raise VideoError(f"{path}: frame {wrong}{has} asked: {_remedy()}")
    return index


def _remedy() -> str:
    return "check that annotation and video belong together, or take the nearest frame there is (clamp=True)"


def _filled(path: Path, index: list[int], size: int | None, frames: Iterator[tuple[int, np.ndarray]]) -> Tensor:
    """Put frames (number, (H, W, 3)) where `index` asks for them, resized in chunks; (T, 3, h, w)."""
    places: dict[int, list[int]] = {}
    for place, number in enumerate(index):
        places.setdefault(number, []).append(place)
    out = None
    while True:
        first = next(frames, None)
        if first is None:
            return out
        if out is None:
            whole = height, width = first[1].shape[:2]
            factor = min(1.0, size / min(whole)) if size else 1.0
            target = max(1, round(height * factor)), max(1, round(width * factor))
            if len(index) * 3 * target[0] * target[1] > MAX_BYTES:
                need = len(index) * 3 * target[0] * target[1] / 2**30
                raise VideoError(f"{path}: {len(index)} frames of {target[1]} x {target[0]} pixels are {need:.0f} GiB, "
                                 f"the limit is {MAX_BYTES >> 30}: read fewer, or smaller ones (size=112)")  # fmt: skip
            out = torch.empty(len(index), 3, *target, dtype=torch.uint8)
        chunk = [first, *itertools.islice(frames, max(1, CHUNK // (height * width)) - 1)]
        for number, picture in chunk:
            if picture.shape[:2] != whole:
                raise VideoError(f"{path}: frame {number} is {picture.shape[1]} x {picture.shape[0]} pixels, those "
                                 f"before it {whole[1]} x {whole[0]}: {ENCODE}")  # fmt: skip
        pictures = [picture for _, picture in chunk]
        if target != whole:
            stacked = torch.from_numpy(np.stack(pictures)).permute(0, 3, 1, 2)  # (n, 3, H, W), colors side by side
            pictures = F.interpolate(stacked, size=target, mode="bilinear", antialias=True).permute(0, 2, 3, 1).numpy()
        for (number, _), picture in zip(chunk, pictures, strict=True):
            for place in places[number]:
                np.copyto(out[place].numpy(), picture.transpose(2, 0, 1))  # numpy turns pictures quicker than torch


def _read_folder(folder: Path, index: list[int], size: int | None, clamp: bool, numbered: bool) -> Tensor:
    files = frame_files(folder)
    numbers = list(files)
    if numbered:
        numbers = range(1, max(files) + 1)
        index = [min(max(i, min(files) - 1), max(files) - 1) for i in index] if clamp else index
    index = _within(folder, index, len(numbers), clamp)
    absent = next((numbers[i] for i in index if numbers[i] not in files), None)
    if absent is not None:
        raise VideoError(
            f"{folder}: frame number {absent} of {len(set(index))} asked is not there; the folder has {len(files)} "
            f"from {min(files)} to {max(files)}: extract the video's frames anew"
        )
    return _filled(folder, index, size, ((i, _image(files[numbers[i]])) for i in sorted(set(index))))


def _image(path: Path) -> np.ndarray:
    """An image as (H, W, 3) uint8 RGB, upright."""
    try:
        with Image.open(path, formats=("JPEG", "PNG", "BMP", "WEBP")) as image:
            _check_area(path, *image.size)
            if image.mode.startswith("I"):  # 16 bits of gray
                return np.repeat((np.asarray(image) >> 8).astype(np.uint8)[..., None], 3, 2)
            if image.getexif().get(0x0112, 1) != 1:  # the camera was held askew
                image = ImageOps.exif_transpose(image)
            return np.array(image.convert("RGB"))
    except VideoError:
        raise
    except Exception as error:  # a damaged image can fail in any way that Pillow knows
        reason = "no image" if isinstance(error, Image.UnidentifiedImageError) else str(error).splitlines()[0]
        raise VideoError(f"{path}: not readable ({reason}): extract or {ANEW}") from error


def _check_area(path: Path, width: int, height: int) -> None:
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
def _opened(path: Path):
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
        _check_area(path, stream.codec_context.width, stream.codec_context.height)
        stream.codec_context.options = {"max_pixels": str(MAX_AREA)}  # whatever the stream says later on
        stream.codec_context.thread_count = torch.get_num_threads()
        stream.codec_context.thread_type = "AUTO"
        yield container, stream


def _table(path: Path, container, stream) -> _Table | None:
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
    return _Table(stamps, [place for place, (_, key) in enumerate(shown) if key])


def _decoded(path: Path, container, stream, table: _Table | None = None, at: int = 0) -> Iterator:
    """Frames in the order shown from number `at` on, each checked: whole, and the one that the table announces.

    Raises _Lost where it is another one.
    """
    av, number = _pyav(), at
    try:
        for frame in container.decode(stream):
            if at and frame.pts is not None and frame.pts < table.stamps[at]:
                continue  # after a jump: shown before the keyframe
            if table and (number >= len(table.stamps) or frame.pts != table.stamps[number]):
                raise _Lost(number)
            if frame.is_corrupt:
                raise VideoError(f"{path}: frame {number} is damaged: {ENCODE}")
            if number >= MAX_FRAMES:
                raise VideoError(f"{path}: more than {MAX_FRAMES} frames, the limit: split the video")
            yield frame
            number += 1
    except av.FFmpegError as error:
        raise VideoError(f"{path}: cannot be decoded beyond {number} frames ({_reason(error)}): {ENCODE}") from error


def _picked(path: Path, wanted: list[int], table: _Table | None, seek: bool) -> Iterator[tuple[int, np.ndarray]]:
    """The wanted frames (ascending numbers) as (number, (H, W, 3) uint8 RGB), upright."""
    from av.video.reformatter import VideoReformatter

    with _opened(path) as (container, stream):
        convert, at, frames = VideoReformatter(), 0, None
        for number in wanted:
            before = bisect_right(table.keys, number) if table and seek else 0  # keyframes up to the frame
            key = table.keys[before - 1] if before else 0
            if key >= at + SEEK:
                container.seek(table.stamps[key], stream=stream)
                at, frames = key, None
            frames = frames or _decoded(path, container, stream, table, at)
            try:
                frame = next(itertools.islice(frames, number - at, None), None)
            except _Lost as lost:
                if seek:
                    raise
                raise VideoError(f"{path}: frame {lost} is damaged or missing: {ENCODE}") from None
            if frame is None:
                raise VideoError(f"{path}: frame {number} asked, beyond its end: {_remedy()}")
            at = number + 1
            yield number, _upright(convert.reformat(frame, format="rgb24", threads=1).to_ndarray(), frame)


def _display(frame) -> tuple[bool, bool, bool]:
    """How a frame is to be shown, from its display matrix (x, y) -> (a x + c y, b x + d y): whether rows and columns
    change places, and whether it is mirrored left to right and upside down after that."""
    side = frame.side_data.get("DISPLAYMATRIX")
    if side is None:
        return False, False, False
    a, b, _, c, d = np.frombuffer(bytes(side), np.int32)[:5].tolist()
    turned = abs(b) > abs(a)
    return (True, c < 0, b < 0) if turned else (False, a < 0, d < 0)


def _upright(picture: np.ndarray, frame) -> np.ndarray:
    turned, mirrored, inverted = _display(frame)
    picture = picture.swapaxes(0, 1) if turned else picture
    picture = picture[:, ::-1] if mirrored else picture
    picture = picture[::-1] if inverted else picture
    return np.ascontiguousarray(picture)
