"""The official layouts on disk: the folder of each dataset, and the paths of a record's frames in it.

The public code of the datasets writes and reads these layouts:

- MTL-AQA (yuxumin/CoRe, `MTL_tool/video2frame.sh`, `datasets/MTLPair.py`): `ffmpeg -f image2 .../%08d.jpg`, one
  folder per video ("01" to "26"), files numbered from 1. It sorts the names and takes the 103 positions from
  `end_frame - 103` on, so frame i of the annotation is the file numbered i + 1. This module finds a frame by its
  number, since a folder may hold only the frames of the dives.
- FineDiving (xujinglin/FineDiving, `data_process.py`, `FineDiving_Pair.py`): `%05d.jpg`, one folder per dive; the
  numbers count in the source video: dive 0 of the first event is 00489 to 00592, which are `start_frame` and
  `end_frame` of the coarse annotation. That code samples by position in the sorted folder, and so does this module.
- Rhythmic Gymnastics (qinghuannn/ACTION-NET, `extract_dynamic_feat.py`): `{name}.mp4`, every frame read in order.
- FineFS (yanliji/FineFS-dataset): `data/video/{id}.mp4` at 25 frames per second.

Only files in the data folder are read. The data folder and a dataset's folder in it (`DIR/MTL-AQA`) may be links that
the user made, for example to a larger disk. A path below them comes from an annotation file, which may be untrusted:
neither its text nor a link on the way may lead out of these folders. `record_path` finds a record's frames, and
`checked_path` also checks the links.
"""

from pathlib import Path, PureWindowsPath

from torch import Tensor

from sapnet_core.datasets import finediving, finefs, mtl_aqa, rhythmic_gymnastics
from sapnet_core.datasets.decoding import reason
from sapnet_core.datasets.records import Record
from sapnet_core.datasets.video import VideoError, VideoInfo, probe, read_frames

__all__ = ["FOLDERS", "checked_path", "probe_record", "read_record", "record_path", "record_places"]

FOLDERS = {
    "mtl-aqa": mtl_aqa.FOLDER,
    "finediving": finediving.FOLDER,
    "rg": rhythmic_gymnastics.FOLDER,
    "finefs": finefs.FOLDER,
}


def record_places(root: Path | str, record: Record) -> list[Path]:
    """Paths at which a record's frames may be, likeliest first: in the dataset's folder in `root`, or in `root`."""
    folder = Path(root) / FOLDERS.get(record.dataset, "")
    return [folder / record.path, folder / "data" / record.path, Path(root) / record.path]


def record_path(root: Path | str, record: Record) -> Path:
    """The path of a record's frames.

    Raises:
        VideoError: none of `record_places` exists, or the text of the record's path leads out of the folder.
    """
    windows = PureWindowsPath(record.path)  # splits at both separators and recognizes drives
    if Path(record.path).is_absolute() or windows.drive or ".." in windows.parts:
        raise VideoError(f"{record.path}: record {record.key} leads out of the data folder: give a path inside it")
    places = record_places(root, record)
    try:
        found = next((place for place in places if place.exists()), None)
    except (OSError, ValueError) as error:  # the name is too long, or no permission
        fault = f"frames of record {record.key} cannot be searched ({reason(error)})"
        raise VideoError(f"{places[0]}: {fault}: check names and permissions") from None
    if found is None:
        raise VideoError(f"{places[0]}: frames of record {record.key} are missing: see the table of datasets")
    return found


def checked_path(root: Path | str, record: Record) -> Path:
    """The path of a record's frames, after a check that it lies inside the data folder once links are followed.

    Raises:
        VideoError: as `record_path`, or a link below the dataset's folder leads out of the data folder.
    """
    path = record_path(root, record)
    folders = [Path(root), Path(root) / FOLDERS.get(record.dataset, "")]
    try:
        target, inside = path.resolve(), [folder.resolve() for folder in folders]
    except (OSError, RuntimeError) as error:  # a loop of links
        raise VideoError(f"{path}: cannot be opened ({reason(error)}): check its name and permissions") from None
    if not any(folder in target.parents for folder in inside):
        remedy = f"put the frames there themselves, or make {folders[-1]} the link"
        raise VideoError(f"{path}: record {record.key} leads out of the data folder by a link: {remedy}")
    return path


def probe_record(root: Path | str, record: Record) -> VideoInfo:
    """Length, rate and size of the video file or frame folder of a record, as `probe` returns them."""
    return probe(checked_path(root, record))


def read_record(
    root: Path | str, record: Record, offsets: Tensor, *, size: int | None = None, clamp: bool = False
) -> Tensor:
    """Frames of a record at `offsets` (T,), counted from its start, as (T, 3, H, W) uint8 RGB.

    `size` and `clamp` are those of `read_frames`. Raises VideoError as `checked_path` and `read_frames`.
    """
    path = checked_path(root, record)
    start = 0 if record.dataset == "finediving" else record.start  # its folders hold only the dive
    return read_frames(path, offsets + start, size=size, clamp=clamp, numbered=record.dataset == "mtl-aqa")
