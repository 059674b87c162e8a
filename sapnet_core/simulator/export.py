"""Write twins to disk in the layouts of the real datasets, so that the same code decodes both.

MTL-AQA: `new/new_total_frames_256s/{video:02d}/{frame + 1:08d}.jpg`, with the frames of a video's dives and of the
sampling windows before them. FineDiving: `FINADiving_MTL_256s/{event}/{id}/{frame + 1:05d}.jpg`. Rhythmic Gymnastics:
`videos/{name}.mp4`. FineFS: `video/{id}.mp4` and `skeleton/{id}.npz`. `datasets.disk_layout` defines names and numbers.

All frames are written, sampled or not. `truth/{key}.safetensors` beside the videos holds the ground truth of the twin
(boxes, joints, subactions, factors, entry, people) and the frames' offsets from the record's start. It is written last,
so that its presence means a complete record.

The skeletons of FineFS are published as `reconstruction`, (frames, 17, 3), in meters and in the joint order of
Human3.6M. Their axes are not documented; readers report x and y within 1 around the body and z from 0 to 1.9, so here
x points to the right, y away from the camera, both from the pelvis, and z up from the lowest joint.
"""

import io
from collections.abc import Callable, Sequence
from dataclasses import replace
from fractions import Fraction
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from sapnet_core.datasets.clips import sample_frames
from sapnet_core.datasets.disk_layout import FOLDERS
from sapnet_core.datasets.records import Record
from sapnet_core.runtime.devices import torch_threads
from sapnet_core.runtime.files import added_files, atomic_file, atomic_folder, read_tensors, write_bytes, write_tensors
from sapnet_core.runtime.fingerprint import code_digest, fingerprint, modules_in
from sapnet_core.runtime.seeds import seed_of
from sapnet_core.simulator import Twin, simulate, sport_of
from sapnet_core.simulator.settings import SimSettings, settings_for

__all__ = ["frame_offsets", "write_layout", "write_video"]

DIGITS = {"mtl-aqa": 8, "finediving": 5}  # digits of the frame number in a file name
# the 17 joints of Human3.6M, each as the mean of these joints of the figure: pelvis, three joints of the right leg and
# of the left leg, spine, thorax, neck, head, three joints of the left arm and of the right arm
SKELETON = (
    (8, 9),
    (9,),
    (11,),
    (13,),
    (8,),
    (10,),
    (12,),
    (2, 3, 8, 9),
    (2, 3),
    (0, 1),
    (0,),
    (2,),
    (4,),
    (6,),
    (3,),
    (5,),
    (7,),
)


def frame_offsets(record: Record) -> Tensor:
    """Offsets (T,) int64 of the written frames from the record's start: all of the record's frames, and for an MTL-AQA
    dive also the earlier frames in its sampling window."""
    first = 0
    if record.dataset == "mtl-aqa":
        first = max(min(0, int(sample_frames(record).min())), -record.start)
    return torch.arange(first, record.frames)


def write_layout(
    records: Sequence[Record],
    root: Path | str,
    *,
    seed: int = 0,
    size: int = 112,
    settings: SimSettings | None = None,
    jpeg_quality: int = 95,
    crf: int = 12,
    progress: Callable[[int, int], None] | None = None,
) -> list[Path]:
    """Write the twins of records below `root`, in the dataset's folder. Returns the frame folder or file of each.

    Records already written with the same arguments and simulator are kept, so that an interrupted run continues.

    Args:
        records: records of any datasets with twins; `load_records` finds them if annotations are in `root`, too.
        root: folder that contains the datasets' folders.
        seed, size, settings: arguments of `simulate`; settings are the dataset's own if None.
        jpeg_quality: JPEG quality of frame folders, 1 to 100.
        crf: constant rate factor of video files, 0 (lossless) to 51. Odd sizes are kept, with full chroma (4:4:4).
        progress: called with (records done, records in total).

    Raises:
        ValueError: a record's dataset has no twins; the folder holds videos that are not twins; two records share
            frames; or a key or path leads out of the folder.
        ImportError: the dataset consists of video files, and PyAV is not installed.
    """
    root = Path(root)
    _check(records, root)
    written = []
    for done, record in enumerate(records, 1):
        target = root / FOLDERS[record.dataset] / record.path
        shown = settings or settings_for(record.dataset)
        made_of = repr(replace(record, split="")), seed, size, shown.to_json(), jpeg_quality, crf, _source_digest()
        digest = fingerprint(*made_of, digits=64)
        truth = _truth_file(root, record)
        if not _whole(record, target, truth, digest):
            truth.unlink(missing_ok=True)
            with torch_threads(1):  # as in the feature store: images do not depend on the number of threads
                twin = simulate(record, seed=seed, size=size, settings=shown, offsets=frame_offsets(record))
            if record.dataset in DIGITS:
                _write_images(record, target, twin, jpeg_quality)
            else:
                write_video(target, twin.video, record.rate, crf)
            if record.dataset == "finefs":
                _write_skeleton(record, target, seed, shown)
            names = ("boxes", "joints", "subactions", "factors", "people")
            tensors = {name: getattr(twin, name) for name in names}
            tensors |= {"entry": torch.tensor(twin.entry), "offsets": frame_offsets(record)}
            write_tensors(truth, tensors, {"digest": digest, "size": size})
        written.append(target)
        if progress:
            progress(done, len(records))
    return written


def _source_digest() -> str:
    """Digest of the source code that renders and writes twins: videos are written again when it changes."""
    return code_digest(*modules_in("simulator"), "datasets.clips", "datasets.dive_numbers", "datasets.video")


def _truth_file(root: Path, record: Record) -> Path:
    return root / FOLDERS[record.dataset] / "truth" / f"{record.key}.safetensors"


def _check(records: Sequence[Record], root: Path) -> None:
    """Raise ValueError where foreign files would be overwritten, or one record would overwrite another."""
    ends: dict[str, tuple[int, str]] = {}
    for record in sorted(records, key=lambda r: (r.dataset, r.path, r.start)):
        if record.dataset not in FOLDERS:
            raise ValueError(f"record {record.key} of {record.dataset!r} has no twin: use {', '.join(FOLDERS)}")
        if Path(record.path).is_absolute() or ".." in Path(record.path).parts or Path(record.key).name != record.key:
            raise ValueError(f"record {record.key}: its key or path {record.path} leads out of the folder: rename it")
        target = root / FOLDERS[record.dataset] / record.path
        end, other = ends.get(target, (-1, ""))
        if end > record.start + int(frame_offsets(record)[0]):
            raise ValueError(f"{target}: records {other} and {record.key} share frames: write them to two folders")
        ends[target] = (record.end, record.key)
        if target.exists() and not _truth_file(root, record).parent.is_dir():
            raise ValueError(f"{target}: holds frames that the simulator did not write: choose another folder")
    for record in records:
        _truth_file(root, record).parent.mkdir(parents=True, exist_ok=True)


def _whole(record: Record, target: Path, truth: Path, digest: str) -> bool:
    """Whether a record's frames and ground truth are on disk, complete and written with the same arguments."""
    try:
        same = read_tensors(truth)[1].get("digest") == digest
    except (FileNotFoundError, ValueError):
        return False
    files = [target / name for name in _names(record)] if record.dataset in DIGITS else [target]
    files += [_skeleton_file(target)] if record.dataset == "finefs" else []
    return same and all(file.is_file() for file in files)


def _names(record: Record) -> list[str]:
    """File names of a record's frames; FFmpeg numbers them from 1."""
    return [f"{record.start + i + 1:0{DIGITS[record.dataset]}d}.jpg" for i in frame_offsets(record).tolist()]


def _write_images(record: Record, target: Path, twin: Twin, quality: int) -> None:
    """Write a folder of frames; the dives of an MTL-AQA video share the video's folder."""
    with added_files(target) if record.dataset == "mtl-aqa" else atomic_folder(target, lambda: False) as beside:
        for name, frame in zip(_names(record), twin.video.cpu(), strict=True):
            Image.fromarray(frame.permute(1, 2, 0).numpy()).save(beside / name, quality=quality)


def write_video(path: Path, frames: Tensor, rate: float, crf: int = 12, threads: int = 0) -> None:
    """Write frames (T, 3, H, W) uint8 as an MP4 file of the same height and width, in an atomic write.

    Args:
        path: file to write; its folder is created.
        frames: the video, RGB.
        rate: frames per second.
        crf: constant rate factor of H.264, 0 (lossless) to 51. MPEG-4, used where this FFmpeg has no H.264 encoder,
            ignores it.
        threads: number of encoder threads, on which the bytes depend; 0 takes as many as torch has.

    Raises:
        ImportError: PyAV is not installed.
    """
    try:
        import av
    except ImportError as error:
        raise ImportError("video files are written by PyAV, which is not installed: pip install av") from error
    height, width = frames.shape[2:]
    odd = height % 2 or width % 2  # 4:2:0 chroma subsampling in H.264 needs even sizes
    # mbtree is off, since the bytes would differ from run to run
    codec, options = "libx264", {"crf": str(crf), "preset": "veryfast", "mbtree": "0"}
    if codec not in av.codecs_available:
        codec, options = "mpeg4", {"qscale": "2"}
    with (
        atomic_file(path) as beside,
        av.open(str(beside), "w", format="mp4", options={"movflags": "faststart"}) as container,
    ):
        stream = container.add_stream(codec, rate=Fraction(rate).limit_denominator(1001), options=options)
        stream.width, stream.height = width, height
        stream.pix_fmt = "yuv444p" if odd and codec == "libx264" else "yuv420p"
        stream.codec_context.thread_count = threads or torch.get_num_threads()
        for frame in frames.cpu():
            picture = np.ascontiguousarray(frame.permute(1, 2, 0).numpy())
            color = av.VideoFrame.from_ndarray(picture, format="rgb24").reformat(format=stream.pix_fmt)
            container.mux(stream.encode(color))
        container.mux(stream.encode(None))


def _skeleton_file(video: Path) -> Path:
    return video.parent.parent / "skeleton" / f"{video.stem}.npz"


def _write_skeleton(record: Record, video: Path, seed: int, settings: SimSettings) -> None:
    """Write the 3D joints of the twin in the skeleton format of FineFS."""
    judged, moved = (
        torch.Generator().manual_seed(seed_of(record.dataset, f"{record.key}/{part}", seed))
        for part in ("quality", "motion")
    )
    sport = sport_of(record.dataset)
    factors = sport.quality_factors(record, settings, judged)
    joints = sport.perform(record, frame_offsets(record), factors, settings, moved).joints  # (T, 16, 3)
    x, y, z = torch.stack([joints[:, list(part)].mean(1) for part in SKELETON], 1).unbind(-1)  # (T, 17) each
    space = torch.stack([x - x[:, :1], z[:, :1] - z, y - y.amin(1, keepdim=True)], -1)
    content = io.BytesIO()
    np.savez_compressed(content, reconstruction=space.float().numpy())
    write_bytes(_skeleton_file(video), content.getvalue())
