"""The score of a new film by a trained SAP-Net, with what the network parsed of it: subactions and the actor's track.

A film is read as the videos of the training were: the same sampling of frames, the same backbone, the same scale of
the features. A network that learned from sequences, or from published features, scores files of these.
"""

from dataclasses import dataclass, field
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from sapnet_core.datasets.clips import CLIP_SAMPLINGS, SAMPLED, SEGMENTS, sample_frames
from sapnet_core.datasets.feature_dumps import steps_of
from sapnet_core.datasets.feature_files import named_arrays
from sapnet_core.datasets.records import Record
from sapnet_core.datasets.sequence_files import is_sequence_file, read_sequence
from sapnet_core.datasets.video import VideoError, frame_times, probe
from sapnet_core.experiments.model_file import Model, backbone_weights, sequence_steps
from sapnet_core.experiments.segmentation import bounds_of_key_frames
from sapnet_core.features.sequences import SAMPLINGS
from sapnet_core.features.store import video_features
from sapnet_core.features.video_source import DiskSource, SampledVideo
from sapnet_core.features.windows import window_statistics
from sapnet_core.runtime import environment

__all__ = ["Moment", "ScoredFilm", "Subaction", "score_film"]

EXECUTION = "no difficulty was given: the score is the execution, out of 30 for a dive"


class Moment(NamedTuple):
    """A moment of a film: its frame, counted from 0, and the seconds after the first frame; None for a sequence."""

    frame: float
    seconds: float | None


class Subaction(NamedTuple):
    """One parsed subaction: its key frame t̄_k (Eq. 5), where it begins and ends, and its activation at the key frame
    (Eq. 4)."""

    number: int
    key: Moment
    start: Moment
    end: Moment
    activation: float


@dataclass(frozen=True)
class ScoredFilm:
    """A film with its predicted score.

    Attributes:
        file: name of the file.
        score: predicted points; of "execution" times the degree of difficulty that was given, or 1.
        difficulty: that degree; None where the target has none.
        subactions: in order of time.
        moments: the moment of each of the T parsed frames.
        activations: (T, K), a_k(t).
        sampled: the frames that were read of a film, with the actor's box in each; None for a sequence.
        frames: number of each of these frames.
        seconds: the time of each.
        size: width and height of the film in pixels, as displayed.
        notes: what a reader of the score must know.
    """

    file: str
    score: float
    difficulty: float | None
    subactions: tuple[Subaction, ...]
    moments: tuple[Moment, ...]
    activations: Tensor
    sampled: SampledVideo | None = None
    frames: tuple[int, ...] = ()
    seconds: tuple[float, ...] = ()
    size: tuple[int, int] | None = None
    notes: tuple[str, ...] = ()

    def track(self) -> list[dict]:
        """The actor's box [x1, y1, x2, y2] in pixels of the film, at each frame that was read."""
        if self.sampled is None:
            return []
        scale = self.size[0] / self.sampled.video.shape[3]
        boxes = (self.sampled.boxes.cpu() * scale).tolist()
        return [
            {"frame": frame, "seconds": round(at, 3), "box": [round(side, 1) for side in box]}
            for frame, at, box in zip(self.frames, self.seconds, boxes, strict=True)
        ]

    def told(self, model: Model) -> dict:
        """All of it as plain values, for JSON."""
        return {
            "file": self.file,
            "score": round(self.score, 4),
            "difficulty": self.difficulty,
            "subactions": [
                {
                    "number": s.number,
                    **{name: _rounded(getattr(s, name)) for name in ("key", "start", "end")},
                    "activation": round(s.activation, 4),
                }
                for s in self.subactions
            ],
            "activations": {
                **{name: [_rounded(moment)[name] for moment in self.moments] for name in Moment._fields},
                "values": [[round(v, 4) for v in row] for row in self.activations.tolist()],
            },
            "track": self.track(),
            "size": self.size,
            "notes": list(self.notes),
            "model": {
                "target": model.target.name,
                "tested": model.tested.model_dump(),
                "input": model.input.model_dump(),
                **model.provenance,
            },
        }


def _rounded(moment: Moment) -> dict:
    seconds = None if moment.seconds is None else round(moment.seconds, 3)
    return {"frame": round(moment.frame, 1), "seconds": seconds}


@dataclass(frozen=True)
class _OnceRead(DiskSource):
    """Videos on disk, each decoded once: the last one is kept for the picture of its frames."""

    kept: dict = field(default_factory=dict, compare=False, repr=False)

    def load(self, record: Record, device: str = "cpu") -> SampledVideo:
        if record.key not in self.kept:
            self.kept[record.key] = super().load(record, device)
        return self.kept[record.key]


def score_film(
    path: Path | str,
    model: Model,
    difficulty: float | None = None,
    begin: float | None = None,
    end: float | None = None,
    device: str = "cpu",
) -> ScoredFilm:
    """Score a new performance.

    Args:
        path: a film or a folder of frames; a file of a sequence or of features where the model learned from these.
        model: the trained network.
        difficulty: degree of difficulty, which multiplies the predicted execution.
        begin, end: the part of a film that is meant, in seconds after its first frame; the whole film if None.
        device: device of backbone and detector.

    Raises:
        ValueError: the file is of another kind than what the model learned from, or cannot be read; the model's
            backbone is not the one in use; or an option does not fit the model.
        VideoError: the film cannot be read, or its part holds no frame.
    """
    path = Path(path)
    if difficulty is not None and model.target.name != "execution":
        raise ValueError(f"{path}: --difficulty is for models of execution, and this one predicts {model.target.name}")
    if difficulty is not None and not 0 < difficulty < 100:
        raise ValueError(f"{path}: difficulty {difficulty:g} is not between 0 and 100")
    told = () if model.target.name != "execution" or difficulty else (EXECUTION,)
    if model.input.kind == "videos":
        return _film(path, model, difficulty, begin, end, device, told)
    if begin is not None or end is not None:
        raise ValueError(f"{path}: --from and --to cut films, and this model learned from {model.input.kind}")
    x, rows = _array(path, model)
    return _parsed(path, model, x, difficulty, _Clock(torch.arange(rows), None), notes=told)


def _film(path, model, difficulty, begin, end, device, notes) -> ScoredFilm:
    if path.is_file() and (is_sequence_file(str(path)) or path.suffix.lower() in (".safetensors", ".pt", ".pkl")):
        raise ValueError(f"{path}: is no film, and this model learned from videos: give a film or a folder of frames")
    one = model.input
    if one.sampling not in CLIP_SAMPLINGS or one.dataset not in SAMPLED:
        raise ValueError(f"the model samples {one.dataset!r} by {one.sampling!r}, which this version does not know")
    if backbone_weights(one.backbone) != one.weights:
        name = {"i3d": "SAPNET_I3D", "c3d": "SAPNET_C3D", "swin": "SAPNET_SWIN"}[one.backbone]
        raise ValueError(f"the model was trained on features of other {one.backbone} weights: set {name} to these")
    path = path.resolve()
    info = probe(path)
    times = frame_times(path)
    first, last = _span(path, times, begin, end)
    record = Record(
        dataset=one.dataset,
        key="film",
        event="",
        path=path.name,
        start=first,
        end=last,
        score=float("nan"),
        difficulty=1.0,
        action="",
        judges=(),
        transitions=(),
        subactions=(),
        split="test",
        rate=info.rate,
    )
    source = _OnceRead(path.parent, one.size, one.boxes)
    with TemporaryDirectory() as folder:
        features = video_features(
            [record],
            source,
            clip_sampling=one.sampling,
            views=("frame",),
            folder=Path(folder),
            jobs=1,
            device=device,
            backbone=one.backbone,
        )
    numbers = (first + sample_frames(record)).clamp(0, len(times) - 1)
    notes += _warnings(model)
    if one.dataset in SEGMENTS and (first or last < len(times)):
        notes += ("the whole film was read: programs are sampled from their first frame to their last",)
    return _parsed(
        path,
        model,
        features.views["frame"],
        difficulty,
        _Clock(numbers, times),
        sampled=source.load(record),
        frames=tuple(numbers.tolist()),
        seconds=tuple(times[numbers].tolist()),
        size=(info.width, info.height),
        notes=notes,
    )


def _warnings(model: Model) -> tuple[str, ...]:
    found = ()
    if model.input.simulated:
        found += ("the model learned from simulated videos: on a real film its score says nothing",)
    if model.input.boxes == "detected" and environment.detector() is None:
        found += ("the person was searched by the shipped detector, which knows simulated people: see SAPNET_DETECTOR",)
    return found


def _span(path: Path, times: Tensor, begin: float | None, end: float | None) -> tuple[int, int]:
    """First frame and end (exclusive) of the part between two times. Raises VideoError where it holds no frame."""
    first = 0 if begin is None else int(torch.searchsorted(times, begin - 1e-3))
    last = len(times) if end is None else int(torch.searchsorted(times, end + 1e-3))
    if first >= last:
        part = f"{begin or 0:g} s to {'its end' if end is None else f'{end:g} s'}"
        raise VideoError(f"{path}: {part} holds no frame, the film has {float(times[-1]):.1f} s: give another part")
    return first, last


def _array(path: Path, model: Model) -> tuple[Tensor, int]:
    """The features (1, S, C) of a sequence or of published features, and its number of rows. Raises ValueError."""
    one = model.input
    if not path.is_file():
        raise ValueError(f"{path}: is no file, and this model learned from {one.kind}: give a file of these")
    if one.kind == "sequences":
        if not is_sequence_file(str(path)):
            raise ValueError(f"{path}: is no sequence (.npy, .npz, .csv, .txt), from which this model learned")
        rows = read_sequence(path)
        if rows.shape[1] != one.columns or one.sampling not in SAMPLINGS:
            raise ValueError(f"{path}: has {rows.shape[1]} columns, and the model learned from {one.columns}")
        return sequence_steps(rows, one.sampling)[None], len(rows)
    found = list(named_arrays(path))
    if len(found) != 1:
        raise ValueError(f"{path}: holds {len(found)} arrays: give a file with the features of one video")
    rows = torch.from_numpy(steps_of(found[0][1], str(path)))
    if not 0 <= one.columns - rows.shape[1] < 8:
        raise ValueError(f"{path}: has {rows.shape[1]} channels, and the model learned from {one.columns}")
    count = len(model.positions)
    x = rows if len(rows) == count else window_statistics(rows, count)[:, : rows.shape[1]]
    return x[None], len(rows)


class _Clock:
    """Converts positions in [0, 1] over what was read to moments of the film.

    Args:
        numbers: (n,) ascending numbers of the frames that were read.
        times: (F,) time of each frame of the film; None for a sequence.
    """

    def __init__(self, numbers: Tensor, times: Tensor | None):
        self.numbers, self.times = numbers.numpy(), times

    def at(self, place: float) -> Moment:
        """The moment at a position in [0, 1]."""
        frame = float(np.interp(place * (len(self.numbers) - 1), np.arange(len(self.numbers)), self.numbers))
        if self.times is None:
            return Moment(frame, None)
        return Moment(frame, float(np.interp(frame, np.arange(len(self.times)), self.times.numpy())))


def _parsed(path: Path, model: Model, x: Tensor, difficulty: float | None, clock: _Clock, **rest) -> ScoredFilm:
    """The score of features (1, S, C), and the subactions that the network parses from them."""
    settings = model.net.settings
    with torch.no_grad():
        branch = model.net.branch(model.standardized(x), model.positions)
    score = float(model.points(x, difficulty or 1.0)[0])
    last = settings.frames - 1
    keys = branch.times[0].tolist()
    edges = [0.0, *(((bounds_of_key_frames(branch.times) - 0.5) / last).clamp(0, 1)[0].tolist()), 1.0]
    activations = branch.activations[0]
    subactions = tuple(
        Subaction(k + 1, clock.at(t / last), clock.at(edges[k]), clock.at(edges[k + 1]), float(activations[t, k]))
        for k, t in enumerate(keys)
    )
    return ScoredFilm(
        path.name,
        score,
        difficulty or (1.0 if model.target.name == "execution" else None),
        subactions,
        tuple(clock.at(t / last) for t in range(settings.frames)),
        activations,
        **rest,
    )
