"""Frame-exact reading of video files and of folders of images.

Frames are counted from 0 in display order, regardless of the rate and length that the container claims. Files are
decoded by PyAV, which brings its own FFmpeg; torchcodec is no faster here and needs the system's FFmpeg. A damaged file
is refused with an error that names it; no broken frame is skipped or replaced. Two kinds of damage cannot be detected:
a frame missing in the middle of a container that does not count its frames (MPEG streams, AVI, FLV, ASF; MP4 and
Matroska do), and changed pixels where the codec has no checksum (GIF, VP8, VP9).

Frame folders may be untrusted, too: their images must be regular files, or links to files below the parent folder of
the frame folder.
"""

import itertools
import os
import re
import warnings
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
import torch.nn.functional as F
from PIL import Image, ImageOps
from torch import Tensor

from sapnet_core.datasets.decoding import (
    ANEW,
    ENCODE,
    MAX_FRAMES,
    NEAREST,
    LostFrame,
    VideoError,
    check_area,
    decoded,
    display,
    frame_table,
    is_folder,
    opened,
    picked,
    reason,
)

__all__ = ["VideoError", "VideoInfo", "at_times", "count_decoded", "frame_files", "frame_times", "probe", "read_frames"]

IMAGES = (".jpg", ".jpeg", ".png", ".bmp", ".webp")
FORMATS = ("JPEG", "PNG", "BMP", "WEBP")  # as Pillow names them
RATE = 25.0  # frames per second of a folder of images or of a file that states no rate
MAX_BYTES = 16 * 2**30  # maximum bytes of the frames that one call returns
CHUNK = 2**20  # maximum pixels that are resized at once
LARGEST = 10**9  # maximum number of an image

warnings.filterwarnings("ignore", module=r"PIL\.")  # PIL warns about damaged files, which are refused below anyway.


class VideoInfo(NamedTuple):
    """Number of frames (counted, not claimed), mean frames per second, and width and height in pixels as displayed."""

    frames: int
    rate: float
    width: int
    height: int


def probe(path: Path | str) -> VideoInfo:
    """Length, rate and size of a video file or frame folder.

    Frames are counted from the packets where the container gives each a time (MP4, Matroska), else by decoding;
    `count_decoded` always decodes them.

    Raises:
        VideoError: the file is missing, is no video, has no frames, is damaged or cut short, or exceeds a limit.
        ImportError: the path is a video file, and PyAV is not installed.
    """
    path = Path(path)
    if is_folder(path):
        files = frame_files(path)
        height, width = _image(next(iter(files.values()))).shape[:2]
        return VideoInfo(len(files), RATE, width, height)
    table = frame_table(path)
    with opened(path) as (container, stream):
        rate = float(stream.average_rate or stream.guessed_rate or RATE)
        frames = decoded(path, container, stream, table)
        first = next(frames, None)
        if first is None:
            raise VideoError(f"{path}: has no frames: {ANEW}")
        turned = display(first)[0]
        width, height = (first.height, first.width) if turned else (first.width, first.height)
        return VideoInfo(len(table.stamps) if table else 1 + sum(1 for _ in frames), rate, width, height)


def count_decoded(path: Path | str) -> int:
    """Decode all frames of a video file or frame folder, one at a time, and return their number.

    Raises:
        VideoError: a frame cannot be decoded or has another size than those before it (the message gives the first such
            frame), or the file or folder is refused as by `probe`.
        ImportError: the path is a video file, and PyAV is not installed.
    """
    path, count, whole = Path(path), 0, None
    if is_folder(path):
        for file in frame_files(path).values():
            whole = _same_size(path, count, _image(file).shape[1::-1], whole)
            count += 1
        return count
    table = frame_table(path)
    with opened(path) as (container, stream):
        for frame in decoded(path, container, stream, table):
            whole = _same_size(path, count, (frame.width, frame.height), whole)
            count += 1
    if not count:
        raise VideoError(f"{path}: has no frames: {ANEW}")
    return count


def read_frames(
    path: Path | str,
    index: Tensor | Sequence[int],
    *,
    size: int | None = None,
    clamp: bool = False,
    numbered: bool = False,
) -> Tensor:
    """Frames of a video file or frame folder, (T, 3, H, W) uint8 RGB.

    Frames are rotated upright where the file gives an orientation. A pixel aspect ratio other than 1 is not corrected.

    Args:
        index: (T,) frame numbers, counted from 0 in display order; they may be unordered and repeated.
        size: maximum length of the frames' shorter side in pixels. Larger frames are resized while they are decoded, so
            that only small ones are in memory (bilinear and antialiased; equals `crops.resize_video` up to one gray
            level).
        clamp: return the first or last frame for an index beyond the ends; otherwise such an index is an error.
        numbered: in a folder, frame i is the file numbered i + 1, as FFmpeg counts, and not the (i + 1)-th file.

    Raises:
        ValueError: `index` is empty or does not hold whole numbers (T,), or `size` is below 1.
        VideoError: the file is missing, damaged or no video; a requested frame is absent or cannot be decoded; the
            frame size changes within the video; or a limit of this module is exceeded.
        ImportError: the path is a video file, and PyAV is not installed.
    """
    path, index = Path(path), torch.as_tensor(index)
    if index.dim() != 1 or not len(index) or index.is_floating_point() or index.is_complex():
        raise ValueError(f"index has shape {tuple(index.shape)} and type {index.dtype}: give whole numbers (T,), T > 0")
    if size is not None and size < 1:
        raise ValueError(f"size={size}: give the shorter side in pixels, at least 1")
    index = index.long().tolist()
    if is_folder(path):
        return _read_folder(path, index, size, clamp, numbered)
    table = frame_table(path)
    count = len(table.stamps) if table else probe(path).frames if clamp else None
    index = _within(path, index, count, clamp)
    try:
        return _filled(path, index, size, picked(path, sorted(set(index)), table, seek=True))
    except LostFrame:  # a seek led to a wrong frame: decode from the beginning
        return _filled(path, index, size, picked(path, sorted(set(index)), table, seek=False))


def frame_times(path: Path | str) -> Tensor:
    """Time at which each frame of a video file or folder is first shown, (N,) float64, in seconds after the first one.

    A frame without a time stamp, or with one before that of the previous frame (in joined recordings), counts as shown
    one frame interval of the mean rate after the previous one. Raises as `probe`.
    """
    path = Path(path)
    if is_folder(path):
        return torch.arange(len(frame_files(path)), dtype=torch.float64) / RATE
    table = frame_table(path)
    with opened(path) as (container, stream):
        base, step = stream.time_base, 1 / (stream.average_rate or stream.guessed_rate or RATE)
        stamps = table.stamps if table else [frame.pts for frame in decoded(path, container, stream)]
    if not stamps:
        raise VideoError(f"{path}: has no frames: {ANEW}")
    times = [0.0]
    for before, stamp in itertools.pairwise(stamps):
        known = before is not None and stamp is not None and stamp >= before
        times.append(times[-1] + float((stamp - before) * base if known else step))
    return torch.tensor(times, dtype=torch.float64)


def at_times(
    path: Path | str, seconds: Tensor | Sequence[float], *, size: int | None = None, clamp: bool = False
) -> Tensor:
    """The frames shown at `seconds` (T,) after the first one, as returned by `read_frames`, for any frame rate.

    Each frame is shown until the next one, and the last one as long as the one before it. Times are compared with a
    tolerance of one millisecond, to which Matroska rounds. Raises as `read_frames`.
    """
    times = frame_times(path)
    seconds = torch.as_tensor(seconds, dtype=torch.float64)
    index = torch.searchsorted(times, seconds + 1e-3, right=True) - 1
    last = float(times[-1] - times[-2]) if len(times) > 1 else 1 / RATE
    index = torch.where(seconds + 1e-3 < times[-1] + last, index, len(times))
    return read_frames(path, index, size=size, clamp=clamp)


def frame_files(folder: Path | str) -> dict[int, Path]:
    """The images of a folder by number, in ascending order.

    An image's number is the last group of digits in its name, as in "00489.jpg" or "frame_12.png". Where no name has
    digits, images are numbered from 1 in the order of their names. Hidden files and other kinds of files are ignored.

    Raises:
        VideoError: the folder cannot be opened, or has no images or too many; a number is too large or occurs twice, or
            only some names have one; or an image is neither a regular file nor a link to a file below the parent
            folder.
    """
    folder = Path(folder)
    try:
        with os.scandir(folder) as entries:
            images = {e.name: e for e in entries if e.name.lower().endswith(IMAGES) and not e.name.startswith(".")}
    except (OSError, ValueError) as error:
        raise VideoError(f"{folder}: cannot be opened ({reason(error)}): check its name and permissions") from None
    if not images:
        raise VideoError(f"{folder}: holds no frames ({', '.join(IMAGES)}): extract them, see the table of datasets")
    if len(images) > MAX_FRAMES:
        raise VideoError(f"{folder}: {len(images)} images, the limit is {MAX_FRAMES}: split the video")
    names = sorted(images)
    for name in names:
        _check_image(folder, images[name])
    digits = {name: re.findall(r"[0-9]+", name.rpartition(".")[0]) for name in names}
    if not any(digits.values()):
        return {number: folder / name for number, name in enumerate(names, 1)}
    files: dict[int, Path] = {}
    for name in names:
        number = int(digits[name][-1]) if digits[name] else None
        if number is None or number in files or number > LARGEST:
            fault = "has no number" if number is None else f"has a number above {LARGEST}"
            fault = f"has the number of {files[number].name}" if number in files else fault
            raise VideoError(f"{folder / name}: {fault}: keep one numbered image for each frame")
        files[number] = folder / name
    return dict(sorted(files.items()))


def _check_image(folder: Path, entry: os.DirEntry) -> None:
    """Check that an image is a regular file, or a link to a file below the parent of the frame folder.

    Raises:
        VideoError: it is not.
    """
    if entry.is_symlink():
        above = folder.resolve().parent
        try:
            inside, there = Path(entry.path).resolve().is_relative_to(above), entry.is_file()
        except (OSError, RuntimeError):  # links in a circle
            inside, there = True, False
        if not inside:
            raise VideoError(f"{folder / entry.name}: is a link that leads out of {above}: put the image there itself")
        if not there:
            raise VideoError(f"{folder / entry.name}: is a broken link: extract the frames again")
    elif not entry.is_file(follow_symlinks=False):
        fault = "is a folder, a pipe, a device or a socket, and no image"
        raise VideoError(f"{folder / entry.name}: {fault}: take it out of the data")


def _within(path: Path, index: list[int], count: int | None, clamp: bool) -> list[int]:
    """The index into `count` frames, clamped or checked; where `count` is None, decoding finds the end.

    Raises:
        VideoError: an index lies beyond the ends, and `clamp` is off.
    """
    if clamp:
        return [min(max(i, 0), count - 1) for i in index]
    wrong = min(index) if min(index) < 0 else max(index)
    if wrong < 0 or (count is not None and wrong >= count):
        has = "" if count is None else f" of {count}"
        raise VideoError(f"{path}: frame {wrong}{has} asked: {NEAREST}")
    return index


def _filled(path: Path, index: list[int], size: int | None, frames: Iterator[tuple[int, np.ndarray]]) -> Tensor:
    """The frames of `index`, (T, 3, h, w), from pairs of number and picture (H, W, 3), which are resized in chunks."""
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
                raise VideoError(
                    f"{path}: {len(index)} frames of {target[1]} x {target[0]} pixels are {need:.0f} GiB, "
                    f"the limit is {MAX_BYTES >> 30}: read fewer, or smaller ones (size=112)"
                )
            out = torch.empty(len(index), 3, *target, dtype=torch.uint8)
        chunk = [first, *itertools.islice(frames, max(1, CHUNK // (height * width)) - 1)]
        for number, picture in chunk:
            _same_size(path, number, picture.shape[1::-1], (width, height))
        pictures = [picture for _, picture in chunk]
        if target != whole:
            stacked = torch.from_numpy(np.stack(pictures)).permute(0, 3, 1, 2)  # (n, 3, H, W), channels last in memory
            pictures = F.interpolate(stacked, size=target, mode="bilinear", antialias=True).permute(0, 2, 3, 1).numpy()
        for (number, _), picture in zip(chunk, pictures, strict=True):
            for place in places[number]:
                np.copyto(out[place].numpy(), picture.transpose(2, 0, 1))  # NumPy transposes faster than PyTorch


def _same_size(path: Path, number: int, size: tuple[int, int], before: tuple[int, int] | None) -> tuple[int, int]:
    """Return the (width, height) of a frame. Raises VideoError where it differs from that of the frames before it."""
    if before not in (None, size):
        fault = f"frame {number} is {size[0]} x {size[1]} pixels, those before it {before[0]} x {before[1]}"
        raise VideoError(f"{path}: {fault}: {ENCODE}")
    return size


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
    """An image as (H, W, 3) uint8 RGB, rotated upright. Raises VideoError."""
    try:
        with Image.open(path, formats=FORMATS) as image:
            check_area(path, *image.size)
            if image.getexif().get(0x0112, 1) != 1:  # the EXIF orientation is not upright
                image = ImageOps.exif_transpose(image)
            if image.mode.startswith("I"):  # 16-bit grayscale
                return np.repeat((np.asarray(image) >> 8).astype(np.uint8)[..., None], 3, 2)
            return np.array(image.convert("RGB"))
    except VideoError:
        raise
    except Exception as error:  # a damaged image can raise any exception
        fault = "no image" if isinstance(error, Image.UnidentifiedImageError) else reason(error)
        raise VideoError(f"{path}: not readable ({fault}): extract or {ANEW}") from error
