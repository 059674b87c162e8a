"""Pre-train the backbones that come with the package: they classify simulated dives, and never see a score.

The dives are drawn for this purpose alone (with their own seeds and dataset tag), in scenes from easy to hard, and
trimmed to the flight. From one 16-frame clip of one view, whole frame or actor crop, four linear heads on the averaged
feature predict what the dive number encodes: rotation (direction, armstand or not), half somersaults, half twists and
position. All backbones see the same dives.

    python -m sapnet_core recipe pretrain_backbones c3d c3d_sim.safetensors
"""

import json
import math
from argparse import Namespace
from collections.abc import Callable
from dataclasses import asdict, dataclass, replace
from pathlib import Path

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from sapnet_core.backbones.c3d import C3D
from sapnet_core.backbones.i3d import I3D, state_digest, training_dtype
from sapnet_core.backbones.video_swin import VideoSwin, small_form
from sapnet_core.datasets import Record, load_records
from sapnet_core.datasets.clips import CLIP, sample_frames
from sapnet_core.datasets.dive_numbers import DIRECTIONS, parse_dive
from sapnet_core.detection.crops import crop_track, square_track
from sapnet_core.features.video_source import simulator_digest
from sapnet_core.features.views import VIEWS
from sapnet_core.runtime import environment, values
from sapnet_core.runtime.arguments import check_environment
from sapnet_core.runtime.files import read_tensors, write_tensors
from sapnet_core.runtime.progress import waiting
from sapnet_core.runtime.workers import WorkerPool
from sapnet_core.simulator import simulate
from sapnet_core.simulator.draw_annotations import write_annotations
from sapnet_core.simulator.settings import SimSettings

__all__ = ["HEADS", "RECIPES", "Recipe", "dive_classes", "pretrain", "pretrain_records", "pretrain_settings"]

HEADS = {"rotation": 7, "somersaults": 12, "twists": 10, "position": 4}  # head -> number of classes
TAG = "pretrain"  # replaces the dataset's name where seeds are derived
SHOWN = 48  # number of sampled frames kept per dive; the last six follow the start of the entry
STARTS = (14, 28)  # first and last start of a 16-frame clip among these frames, so that it lies in the flight
MARGIN = 8  # largest shift of a clip, in pixels
ANNOTATION_SEED = 900_000  # seeds of annotation sets from here on are reserved for pre-training


@dataclass(frozen=True)
class Recipe:
    """All settings that determine the weights.

    Attributes:
        videos: number of rendered dives; the last `held_out` share is never trained on.
        epochs: passes over the dives; each shows one 16-frame clip of every dive, in one view.
        width: factor on the channels of the published network.
        seed: seed of annotations, scenes, initial weights and batches.
        size: height and width of the rendered frames in pixels.
        crop: height and width of the clips that the network is trained on, in pixels.
        batch, rate: clips per step, and AdamW's largest learning rate (warm-up, then cosine to 0).
        held_out: share of the dives on which accuracy is measured.
        backbone: "i3d", "c3d" or "swin".
        decay: weight decay of AdamW.
    """

    videos: int = 1600
    epochs: int = 20
    width: float = 0.25
    seed: int = 0
    size: int = 112
    crop: int = 64
    batch: int = 24
    rate: float = 2e-3
    held_out: float = 0.1
    backbone: str = "i3d"
    decay: float = 0.0

    def __post_init__(self):
        for name in ("videos", "epochs", "size", "crop", "batch"):
            values.whole(name, getattr(self, name))
        for name, limits in {
            "width": (0, 1, "least"),
            "rate": (0, math.inf, "least"),
            "held_out": (0, 1),
            "decay": (),
        }.items():
            values.number(name, getattr(self, name), *limits)


# the recipes of the weights in the package
RECIPES = {
    "i3d": Recipe(),
    "c3d": Recipe(backbone="c3d", epochs=14, width=0.125, crop=56),
    "swin": Recipe(backbone="swin", epochs=12, width=0.25, crop=56, decay=0.05),
}


def network(backbone: str, width: float) -> nn.Module:
    """Build an untrained backbone of `RECIPES`: (B, 3, T, H, W) to (B, C, T', H', W')."""
    if backbone != "swin":
        return I3D(width) if backbone == "i3d" else C3D(width, norm=True)
    net = VideoSwin(**small_form(width))
    for module in net.modules():
        if isinstance(module, nn.Linear):  # torchvision's deviation of 0.02 suits four times the width
            nn.init.xavier_uniform_(module.weight)
    return net


def dive_classes(record: Record) -> tuple[int, int, int, int]:
    """Class of a dive for each head, in the order of `HEADS`; in "rotation" the armstand dives follow the others."""
    dive = parse_dive(record.action)
    rotation = DIRECTIONS.index(dive.direction) + len(DIRECTIONS) * dive.armstand
    return rotation, dive.half_somersaults, dive.half_twists, "ABCD".index(dive.position)


def pretrain_records(recipe: Recipe, folder: Path) -> list[tuple[Record, Tensor]]:
    """Draw the dives, in FineDiving's schema: pairs of a record and the sampled frames that show its flight, (48,)."""
    root = write_annotations("finediving", folder, recipe.videos, 1, ANNOTATION_SEED + recipe.seed).parent
    records = load_records("finediving", root)
    order = torch.randperm(len(records), generator=torch.Generator().manual_seed(recipe.seed)).tolist()
    dives = []
    for record in (records[i] for i in order[: recipe.videos]):
        offsets = sample_frames(record)
        end = int(torch.searchsorted(offsets, record.transitions[-1])) + 6
        end = min(max(end, SHOWN), len(offsets))
        dives.append((replace(record, dataset=TAG), offsets[end - SHOWN : end]))
    return dives


def pretrain_settings(generator: torch.Generator) -> SimSettings:
    """Draw the scene of one dive from wide ranges, so that features suit whatever difficulty calibration arrives at."""
    u = torch.rand(6, generator=generator).tolist()
    return SimSettings(
        visibility=0.3 + 0.9 * u[0],
        nuisance=0.2 + u[1],
        bystanders=int(4 * u[2]),
        sensor_noise=0.06 * u[3],
        texture=1.5 * u[4],
        camera=1.2 * u[5],
    )


def render_dive(path: Path, record: Record, offsets: Tensor | list[int], recipe: Recipe, number: int) -> None:
    """Render one dive and write it to `path`: uint8 video and the actor's square track."""
    generator = torch.Generator().manual_seed(1_000_003 * recipe.seed + number)
    settings = pretrain_settings(generator)
    twin = simulate(record, seed=recipe.seed, size=recipe.size, settings=settings, offsets=torch.as_tensor(offsets))
    write_tensors(path, {"video": twin.video, "track": square_track(twin.boxes)})


def load_views(files: list[Path], recipe: Recipe) -> Tensor:
    """Load both views of all dives, (N, 2, 48, 3, E, E) uint8 with E = crop + 8, in the order of `VIEWS`.

    The whole frame is cut to a square around the actor without scaling, so that people keep their size.
    """
    edge, out = recipe.crop + MARGIN, []
    for file in files:
        tensors, _ = read_tensors(file)
        video, track = tensors["video"], tensors["track"]
        center = (track[:, :2] + track[:, 2:]) / 2
        near = torch.cat([center - edge / 2, center + edge / 2], 1)
        out.append(torch.stack([crop_track(video, near, edge), crop_track(video, track, edge)]))
    return torch.stack(out)


def clips_of(views: Tensor, view: Tensor, starts: Tensor, corner: tuple[int, int], recipe: Recipe) -> Tensor:
    """Cut a 16-frame clip (N, 3, 16, H, W) from the views (N, 2, 48, 3, E, E) of each dive: of view (N,), from frame
    starts (N,) on.

    The window is shifted by up to 8 pixels (`corner`), but never mirrored or reversed, which would change the dive.
    """
    top, left = corner
    frames = starts[:, None] + torch.arange(CLIP)
    clips = views[torch.arange(len(views))[:, None], view[:, None], frames]  # (N, 16, 3, E, E)
    return clips[..., top : top + recipe.crop, left : left + recipe.crop].transpose(1, 2)


class Namer(nn.Module):
    """The backbone and the four heads on its feature, averaged over space and time."""

    def __init__(self, backbone: nn.Module):
        super().__init__()
        self.backbone = backbone
        self.heads = nn.Linear(self.backbone.channels, sum(HEADS.values()))

    def forward(self, clips: Tensor) -> tuple[Tensor, ...]:
        """Map uint8 clips (B, 3, 16, H, W) to the logits of the four heads, (B, classes) each."""
        dtype = training_dtype(clips.device)
        with torch.autocast(clips.device.type, dtype, enabled=dtype != torch.float32):
            maps = self.backbone(clips.to(dtype).mul_(2 / 255).sub_(1))
        return self.heads(maps.float().mean((2, 3, 4))).split(tuple(HEADS.values()), 1)


def _render_all(dives: list, files: list[Path], recipe: Recipe, jobs: int, progress: Callable) -> None:
    todo = [number for number, file in enumerate(files) if not file.is_file()]
    if todo:
        with WorkerPool(jobs) as pool:
            asked = []
            for number in todo:
                record, offsets = dives[number]  # sent as numbers: a tensor would be fetched from this process
                asked.append(pool.submit(render_dive, files[number], record, offsets.tolist(), recipe, number))
            for done, dive in enumerate(asked, 1):
                dive.result()
                if done % 100 == 0 or done == len(asked):
                    progress({"rendered": done, "of": len(asked)})


@torch.no_grad()
def _accuracy(model: Namer, views: Tensor, classes: Tensor, recipe: Recipe, device) -> dict:
    """Share of correct predictions per view and head; a dive's prediction averages three clips of its flight."""
    model.eval()
    result, corner = {}, (MARGIN // 2, MARGIN // 2)
    for number, view in enumerate(VIEWS):
        right = torch.zeros(len(HEADS))
        for part, truth in zip(views.split(recipe.batch), classes.split(recipe.batch), strict=True):
            which = torch.full((len(part),), number)
            answers = [
                model(clips_of(part, which, torch.full_like(which, start), corner, recipe).to(device))
                for start in torch.linspace(*STARTS, 3).long().tolist()
            ]
            means = [torch.stack([a.softmax(1) for a in head]).mean(0).cpu() for head in zip(*answers, strict=True)]
            right += torch.stack([(m.argmax(1) == y).sum() for m, y in zip(means, truth.T, strict=True)])
        result[view] = {name: round(float(n) / len(views), 4) for name, n in zip(HEADS, right, strict=True)}
    return result


def pretrain(
    out: Path,
    recipe: Recipe = Recipe(),
    *,
    device="cpu",
    jobs: int = 2,
    folder: Path | None = None,
    progress: Callable[[dict], None] = lambda news: None,
) -> dict:
    """Render the dives, train, and write the backbone as safetensors with recipe and accuracies in its metadata.

    Args:
        out: file to write. Weights are stored in float16, biases and BatchNorm's tensors in float32; integer buffers
            are left out.
        device: where the backbone is trained.
        jobs: worker processes that render; training on a CPU uses PyTorch's own threads.
        folder: cache of rendered dives (about 2 MB each); `runs()/pretrain` if None.
        progress: called with a dict of counts, and in training the loss, now and then.

    Returns:
        {"loss": mean loss of each twentieth of the run, "accuracy": view -> head -> share correct on held-out dives,
        "chance": head -> share of the most frequent class there, "digest": digest of the weights}.

    Raises:
        ValueError: too few videos to hold any out, or an unknown backbone.
    """
    if recipe.backbone not in RECIPES:
        raise ValueError(f"backbone {recipe.backbone!r} is unknown: choose one of {', '.join(RECIPES)}")
    n_train = recipe.videos - math.ceil(recipe.videos * recipe.held_out)
    if not 0 < n_train < recipe.videos:
        raise ValueError(f"{recipe}: no video is held out, or none is left to train on: change videos or held_out")
    folder = Path(folder or environment.runs() / "pretrain")
    folder /= f"{recipe.videos}-{recipe.seed}-{recipe.size}-{simulator_digest('finediving')}"
    dives = pretrain_records(recipe, folder)
    files = [folder / f"{i:05d}.safetensors" for i in range(len(dives))]
    _render_all(dives, files, recipe, jobs, progress)
    classes = torch.tensor([dive_classes(record) for record, _ in dives])  # (N, 4)

    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(recipe.seed)  # initial weights
        model = Namer(network(recipe.backbone, recipe.width))
    model = model.to(device, memory_format=torch.channels_last_3d).train()
    draw = torch.Generator().manual_seed(recipe.seed)
    views = load_views(files, recipe)
    order = torch.cat([torch.randperm(n_train, generator=draw) for _ in range(recipe.epochs)]).split(recipe.batch)
    optimizer = torch.optim.AdamW(model.parameters(), lr=recipe.rate, weight_decay=recipe.decay)
    schedule = torch.optim.lr_scheduler.OneCycleLR(
        optimizer, recipe.rate, total_steps=len(order), pct_start=0.1, cycle_momentum=False
    )
    losses, every = [], max(1, len(order) // 20)
    for step, chosen in enumerate(order):
        view = torch.arange(len(chosen)) % len(VIEWS)
        starts = torch.randint(STARTS[0], STARTS[1] + 1, (len(chosen),), generator=draw)
        corner = tuple(torch.randint(0, MARGIN + 1, (2,), generator=draw).tolist())
        logits = model(clips_of(views[chosen], view, starts, corner, recipe).to(device))
        loss = sum(F.cross_entropy(x, t) for x, t in zip(logits, classes[chosen].to(device).T, strict=True))
        optimizer.zero_grad(set_to_none=True)
        loss.backward()
        optimizer.step()
        schedule.step()
        losses.append(loss.item())
        if (step + 1) % every == 0:
            progress({"step": step + 1, "of": len(order), "loss": sum(losses[-every:]) / every})

    if recipe.backbone == "c3d":
        model.backbone = model.backbone.published()
    state = model.backbone.state_dict()
    for name, tensor in state.items():  # round as in the file, to measure what is stored
        if _is_large(tensor):
            tensor.copy_(tensor.half())
        elif name.endswith("num_batches_tracked"):  # not stored, and 0 when loaded
            tensor.zero_()
    held = slice(n_train, None)
    most = [column.bincount().max().item() / len(column) for column in classes[held].T]
    history = {
        "loss": [round(float(part.mean()), 4) for part in torch.tensor(losses).split(every)],
        "accuracy": _accuracy(model, views[held], classes[held], recipe, device),
        "chance": {name: round(share, 4) for name, share in zip(HEADS, most, strict=True)},
        "digest": state_digest(state),
    }
    tensors = {n: t.half() if _is_large(t) else t for n, t in state.items() if t.is_floating_point()}
    metadata = {"format": 1, "width": recipe.width, "recipe": asdict(recipe), **history}
    write_tensors(out, tensors, metadata)
    return history


def _is_large(tensor: Tensor) -> bool:
    return tensor.ndim > 1 and tensor.is_floating_point()


def main(asked: Namespace) -> None:
    """Train one backbone by its recipe, and print its losses and accuracies."""
    check_environment()
    jobs = asked.jobs or environment.jobs()
    with waiting(f"making {asked.out.name}") as say:
        history = pretrain(asked.out, RECIPES[asked.backbone], jobs=jobs, progress=lambda news: say(str(news)))
    print(json.dumps(history, indent=1))
