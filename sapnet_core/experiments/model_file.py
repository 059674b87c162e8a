"""A trained SAP-Net as one file: weights, the scales of its inputs and its target, settings, and where it comes from.

`export_model` trains a trial again, compares it with the stored result, and writes a `.safetensors` file; `read_model`
gives back a network that scores features, and refuses a file that is damaged, edited, of another kind, or of a network
that its weights do not fit. Files may come from anywhere: no code is run, and nothing is built before its size is
known. `experiments.score_film` applies such a network to a new film.
"""

import platform
import time
from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Literal

import torch
from pydantic import BaseModel, ConfigDict, Field, ValidationError
from torch import Tensor

from sapnet_core.backbones import registry
from sapnet_core.datasets.clips import default_sampling
from sapnet_core.datasets.records import PERFECT
from sapnet_core.experiments.fit import FittedTrial, training_task, view_scale
from sapnet_core.experiments.results import has_result, predictions
from sapnet_core.experiments.trial import Trial
from sapnet_core.experiments.trial_data import TrialData, sequence_root, trial_data
from sapnet_core.experiments.trial_hash import trial_hash
from sapnet_core.experiments.trial_metrics import score_metrics
from sapnet_core.features.sequences import CHANNELS, SAMPLINGS, is_sequence, sequence_views
from sapnet_core.features.windows import with_length
from sapnet_core.methods import sapnet
from sapnet_core.runtime.files import check_weights
from sapnet_core.runtime.fingerprint import cached_file_digest, code_digest, modules_in
from sapnet_core.runtime.sealed import Damaged, read_sealed, write_sealed
from sapnet_core.sapnet.network import SAPNet
from sapnet_core.sapnet.settings import SAPNetSettings
from sapnet_core.training.trainable_backbone import standardized

__all__ = ["Input", "Model", "backbone_weights", "export_model", "read_model", "sequence_steps"]

FORMAT = 1
SEALED_AS = "sapnet model"  # in place of the file's name, since the file may be renamed
LARGEST = 2**30  # maximum bytes of a file; a network of the paper's size has 40 million
MOST = 4096  # maximum of each count in the settings that no shape of a weight bounds
COUNTS = ("frames", "clips", "M", "K", "steps", "kmeans_iterations")
SAME = 1e-3  # largest difference from the stored predictions, in parts of the spread of the true scores
AGAIN = "export it again with `sapnet export`"


class _Strict(BaseModel):
    model_config = ConfigDict(extra="forbid", strict=True, frozen=True)


class Input(_Strict):
    """What the network sees.

    Attributes:
        kind: "videos"; "sequences", a table of numbers over time; or "features" that others extracted from videos.
        dataset: name of the dataset, which decides which frames of a video are read.
        columns: columns of a sequence, or channels of features; 0 for videos.
        sampling: clip sampling of videos or of sequences.
        size: shorter side of whole frames, in pixels.
        boxes: how the actor is found, "detected" or "whole".
        backbone, weights: name of the backbone and SHA-256 of its weights; "" where none is involved.
        simulated: whether the network learned from simulated videos.
    """

    kind: Literal["videos", "sequences", "features"]
    dataset: str = Field(max_length=40)
    columns: int = Field(ge=0, le=10**7)
    sampling: str = Field(max_length=40)
    size: int = Field(ge=8, le=4096)
    boxes: Literal["detected", "whole"]
    backbone: str = Field(max_length=40)
    weights: str = Field(max_length=64)
    simulated: bool


class Target(_Strict):
    """What a scaled prediction p stands for: (p * scale + shift) * points, times the difficulty for "execution".

    Attributes:
        name: "execution", "score", or the name of a sub-score.
        points: points of a scaled target of 1.
        shift, scale: of the targets over the labeled videos.
    """

    name: str = Field(max_length=60)
    points: float = Field(gt=0, allow_inf_nan=False)
    shift: float = Field(allow_inf_nan=False)
    scale: float = Field(gt=0, allow_inf_nan=False)


class Tested(_Strict):
    """How the network did on its test videos: rho with its 95 % interval over them, and the median error in points."""

    rho: float = Field(ge=-1, le=1)
    rho_low: float = Field(ge=-1, le=1)
    rho_high: float = Field(ge=-1, le=1)
    n: int = Field(ge=1)
    labeled: int = Field(ge=1)
    error: float = Field(ge=0, allow_inf_nan=False)


class Told(_Strict):
    """The metadata of a file."""

    format: Literal[1]
    settings: dict
    period: int = Field(ge=1, le=16)
    input: Input
    target: Target
    tested: Tested
    trial: dict
    provenance: dict[str, str]


@dataclass(frozen=True)
class Model:
    """A trained network with all that it needs to score new performances.

    Attributes:
        net: the network, in evaluation mode, on the CPU.
        positions: (S,) time of each feature step in [0, 1].
        mean, deviation: (period, C) scale of the features, see `fit.view_scale`.
        input, target, tested: see there.
        trial: the fields of the trial that trained it, as plain values.
        provenance: its hash, versions, date.
    """

    net: SAPNet
    positions: Tensor
    mean: Tensor
    deviation: Tensor
    input: Input
    target: Target
    tested: Tested
    trial: Mapping[str, object]
    provenance: Mapping[str, str]

    def standardized(self, features: Tensor) -> Tensor:
        """Features (B, S, C) of whole frames as the network sees them; (B, S, C) of the network, zero-padded."""
        x = torch.nn.functional.pad(features, (0, self.mean.shape[1] - features.shape[2]))
        return standardized(x, self.mean, self.deviation)

    def points(self, features: Tensor, difficulty: float = 1.0) -> Tensor:
        """Predicted scores (B,) in points of videos with features (B, S, C) and one degree of difficulty."""
        scaled = self.net.predict(self.standardized(features), self.positions) * self.target.scale + self.target.shift
        return scaled * self.target.points * (difficulty if self.target.name == "execution" else 1.0)


def backbone_weights(name: str) -> str:
    """SHA-256 of the weights of a backbone that are in use: the user's, or those in the package."""
    one = registry.BACKBONES[name]
    return cached_file_digest(one.given() or registry.WEIGHTS / one.shipped)


def export_model(trial: Trial, path: Path, device: str = "cpu") -> Model:
    """Train a trial of SAP-Net, or the same again where its result exists, and write the network to a file.

    The file is read back and must give the predictions of the training.

    Args:
        trial: a trial of SAP-Net with a frozen backbone.
        path: the file to write, `.safetensors`.
        device: the device of the training.

    Raises:
        ValueError: the trial is of another method, its backbone learns too, it takes no file of this kind, or the
            training does not give the stored predictions again.
        OSError: the file cannot be written; an earlier one is kept.
    """
    _check_exported(trial, path)
    data = trial_data(trial, device=device)
    task = training_task(trial, data, device)
    trained = task.result(task.fit(), trial.select)
    _check_repeated(trial, data, trained)
    learn = task.roles.learn
    settings, options = sapnet.check(task.settings, task.train.channels, len(task.train.positions))
    _, shift, scale = task.train.unit_targets(options.unit_targets)
    mean, deviation = _scale(trial, data, learn)
    true = data.score[trained.scored].double()
    told = Told(
        format=FORMAT,
        settings=asdict(settings) | {"hidden": list(settings.hidden)},
        period=len(mean),
        input=_input(trial, data),
        target=Target(
            name=trial.target,
            points=PERFECT if trial.target == "execution" else float(task.points[0]),
            shift=float(shift),
            scale=float(scale),
        ),
        tested=Tested(
            **{k: v for k, v in score_metrics(trained.predicted.double(), true).items() if k != "r_l2"},
            labeled=int(task.roles.labeled.sum()),
            error=float((trained.predicted.double() - true).abs().median()),
        ),
        trial={**asdict(trial), "overrides": [list(pair) for pair in trial.overrides]},
        provenance={
            "hash": trial_hash(trial),
            "made": time.strftime("%Y-%m-%d"),
            "code": code_digest(*modules_in("methods", "sapnet", "training")),
            "torch": torch.__version__,
            "python": platform.python_version(),
        },
    )
    tensors = {f"net.{name}": value for name, value in trained.fitted.network.state_dict().items()}
    tensors |= {"positions": data.features.positions, "mean": mean, "deviation": deviation}
    write_sealed(path, tensors, told.model_dump(), SEALED_AS)
    model = read_model(path)
    raw = _raw_features(trial, data)[trained.scored]
    guess = torch.cat(
        [model.points(x[None], float(data.difficulty[i])) for x, i in zip(raw, trained.scored, strict=True)]
    )
    if not torch.allclose(guess, trained.predicted, rtol=0, atol=SAME * max(float(true.std()), 1e-9)):
        raise ValueError(f"{path}: the file does not give the predictions of its training: report this as a fault")
    return model


def _check_exported(trial: Trial, path: Path) -> None:
    if path.suffix.lower() != ".safetensors":
        raise ValueError(f"{path}: a model is written as .safetensors: give a name with that ending")
    if trial.method != "sap-net":
        raise ValueError(f"only SAP-Net can be exported, whose subactions a score is made of, not {trial.method!r}")
    if trial.backbone_training != "frozen":
        raise ValueError("a network whose backbone learned too cannot be exported: train it with a frozen one")


def _check_repeated(trial: Trial, data: TrialData, trained: FittedTrial) -> None:
    """Compare a training with the stored predictions of the same trial, if there are any. Raises ValueError."""
    if not has_result(trial):
        return
    known = predictions(trial).set_index("key")["predicted"]
    guess = {data.records[i].key: float(p) for i, p in zip(trained.scored, trained.predicted, strict=True)}
    spread = float(data.score[trained.scored].std())
    if max(abs(guess[key] - known[key]) for key in known.index) > 0.02 * max(spread, 1e-9):
        raise ValueError(
            "the training does not give its stored predictions again on this machine: run it again with --recompute"
        )


def _input(trial: Trial, data: TrialData) -> Input:
    kind = "videos"
    if trial.source == "features":
        kind = "features"
    elif is_sequence(data.records):
        kind = "sequences"
    columns = 0
    if kind == "sequences":
        columns = sequence_views(data.records[0], sequence_root(trial))[0].shape[1]
    elif kind == "features":
        columns = data.features.views["frame"].shape[2]
    video = kind == "videos"
    sampling = trial.clip_sampling or (default_sampling(trial.dataset) if video else "windows")
    return Input(
        kind=kind,
        dataset=trial.dataset,
        columns=columns,
        sampling=sampling,
        size=trial.size,
        boxes="whole" if trial.boxes == "whole" else "detected",
        backbone=trial.backbone if video else "",
        weights=backbone_weights(trial.backbone) if video else "",
        simulated=trial.is_twin,
    )


def _raw_features(trial: Trial, data: TrialData) -> Tensor:
    """The features (N, S, C) of whole frames before any scaling; of sequences, their statistics in the columns' own
    units and their length, zero-padded."""
    if trial.source == "features" or not is_sequence(data.records):
        return data.features.views["frame"]
    root, sampling = sequence_root(trial), trial.clip_sampling or "windows"
    return torch.stack([sequence_steps(sequence_views(r, root)[0], sampling) for r in data.records])


def sequence_steps(rows: Tensor, sampling: str) -> Tensor:
    """The statistics and the length of a sequence (T, C) in its own units, zero-padded: (S, C'), as
    `sequences.sequence_features` computes them before it scales them."""
    x = with_length(SAMPLINGS[sampling](rows), len(rows))
    return torch.nn.functional.pad(x, (0, -x.shape[1] % CHANNELS))


def _scale(trial: Trial, data: TrialData, learn: Tensor) -> tuple[Tensor, Tensor]:
    """Mean and deviation (period, C) that standardize the raw features of whole frames.

    Features of sequences were divided by their deviation over all records before they were standardized by the
    training videos (`sequences.sequence_features`): both steps are one affine map, which is solved for here.
    """
    mean, deviation = view_scale(data.features, learn, "frame")
    if trial.source == "features" or not is_sequence(data.records):
        return mean, deviation
    raw, unit = _raw_features(trial, data).double().flatten(0, 1), data.features.views["frame"].double().flatten(0, 1)
    center, spread = raw.mean(0), raw.std(0, correction=0)
    constant = unit.std(0, correction=0) == 0
    own_mean = torch.where(constant, center, center + mean.double() * spread)
    own_deviation = torch.where(constant, torch.inf, deviation.double() * spread)
    return own_mean.float(), own_deviation.float()


def read_model(path: Path | str) -> Model:
    """The network in a file of `export_model`; the file may be untrusted.

    Raises:
        FileNotFoundError: no such file.
        ValueError: the file is no model, is damaged or edited, or has weights that do not fit its settings; one line
            names the file, the fault and the remedy.
    """
    path = Path(path)
    if path.is_file() and path.stat().st_size > LARGEST:
        raise ValueError(f"{path}: has more than {LARGEST >> 20} MiB, which no model has: {AGAIN}")
    try:
        tensors, metadata = read_sealed(path, SEALED_AS)
    except Damaged as error:
        raise ValueError(f"{error}: it is not a whole file of `sapnet export`: {AGAIN}") from None
    try:
        told = Told.model_validate(metadata)
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        key = ".".join(str(part)[:40] for part in first["loc"]) or "its content"
        raise ValueError(f"{path}: key {key!r}: {first['msg'][:80]}: {AGAIN}") from None
    try:
        known = {f.name for f in fields(SAPNetSettings)}
        if unknown := sorted(set(told.settings) - known):
            raise ValueError(f"has no setting {unknown[0][:40]!r}")
        settings = SAPNetSettings(**told.settings)
    except (ValueError, TypeError) as error:
        raise ValueError(f"{path}: settings of another network ({str(error)[:100]}): {AGAIN}") from None
    state = {name.removeprefix("net."): value for name, value in tensors.items() if name.startswith("net.")}
    if bad := [name for name, value in tensors.items() if not _usable(name, value)]:
        raise ValueError(f"{path}: entry {bad[0][:60]!r} is not finite or no real number: {AGAIN}")
    if settings.channels > sum(value.numel() for value in state.values()) or any(
        getattr(settings, name) > MOST for name in COUNTS
    ):
        raise ValueError(f"{path}: its settings ask for more weights than it has: {AGAIN}")
    with torch.device("meta"):
        empty = SAPNet(settings)
    check_weights(empty.state_dict(), state, path)
    scale = (told.period, settings.channels)
    shapes = {"positions": (settings.clips,), "mean": scale, "deviation": scale}
    for name, shape in shapes.items():
        if name not in tensors or tuple(tensors[name].shape) != shape:
            raise ValueError(f"{path}: entry {name!r} is not of shape {shape}: {AGAIN}")
    if settings.clips % told.period:
        raise ValueError(f"{path}: {settings.clips} steps are no multiple of {told.period} a clip: {AGAIN}")
    net = SAPNet(settings)
    net.load_state_dict(state)
    return Model(
        net.eval().requires_grad_(False),
        tensors["positions"].float(),
        tensors["mean"].float(),
        tensors["deviation"].float(),
        told.input,
        told.target,
        told.tested,
        told.trial,
        told.provenance,
    )


def _usable(name: str, value: Tensor) -> bool:
    """Whether a tensor holds finite real numbers; a deviation may be infinite, where a channel is constant."""
    if value.is_complex() or value.is_quantized:
        return False
    if name == "deviation":
        return bool((value > 0).all())
    return bool(value.isfinite().all()) if value.is_floating_point() else True
