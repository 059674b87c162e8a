"""How the backbone that comes with the package was made: it learned to name simulated dives, and never saw a score.

The dives are drawn for this purpose alone (their own seeds, their own dataset tag), in scenes from easy to hard. From
the clips of one view, whole frame or actor crop, four linear heads on the time-averaged feature tell what the dive
number says: rotation (direction, armstand or not), half somersaults, half twists, position.
"""

import math
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor, ThreadPoolExecutor
from dataclasses import asdict, dataclass, replace
from multiprocessing import get_context
from pathlib import Path

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from sapnet_core import paths
from sapnet_core.actors import crop_track, square_track
from sapnet_core.backbone import I3D, fast_dtype, state_digest
from sapnet_core.data import Record, load_records
from sapnet_core.data.clips import CLIP, sample_frames
from sapnet_core.data.features import VIEWS, simulator_digest
from sapnet_core.sim import simulate
from sapnet_core.sim.annotations import write_annotations
from sapnet_core.sim.dives import DIRECTIONS, parse_dive
from sapnet_core.sim.settings import SimSettings
from sapnet_core.storage import read_tensors, write_tensors

__all__ = ["HEADS", "Recipe", "dive_classes", "pretrain", "pretrain_records", "pretrain_settings"]

HEADS = {"rotation": 7, "somersaults": 12, "twists": 10, "position": 4}  # number of classes
TAG = "pretrain"  # takes the place of the dataset's name where seeds are made
SHOWN = 96  # frames of a dive that windows are taken from
ANNOTATION_SEED = 900_000  # annotation sets from here on belong to pre-training


@dataclass(frozen=True)
class Recipe:
    """All that decides the weights.

    Attributes:
        videos: dives rendered; the last `held_out` share is never trained on.
        epochs: passes; each shows every dive once per view, in a window of its own.
        width: of the network.
        seed: draws annotations, scenes, initial weights and batches.
        size: height and width of the rendered frames; `crop` of what the network sees of them in training.
        frames: consecutive frames shown, cut into clips of 16; where they start varies about the middle of the dive.
        batch, rate: windows in a step, and Adam's largest learning rate (cosine to 0).
    """

    videos: int = 1600
    epochs: int = 3
    width: float = 0.25
    seed: int = 0
    size: int = 112
    crop: int = 96
    frames: int = 48
    batch: int = 16
    rate: float = 1e-3
    held_out: float = 0.1


def dive_classes(record: Record) -> tuple[int, int, int, int]:
    """Class of each head in the order of `HEADS`; armstand dives follow the four directions in "rotation"."""
    dive = parse_dive(record.action)
    rotation = DIRECTIONS.index(dive.direction) + len(DIRECTIONS) * dive.armstand
    return rotation, dive.half_somersaults, dive.half_twists, "ABCD".index(dive.position)


def pretrain_records(recipe: Recipe, folder: Path) -> list[tuple[Record, Tensor]]:
    """The dives and their sampled frames: half follow FineDiving's protocol, half MTL-AQA's, alternating."""
    halves = []
    for name in ("finediving", "mtl-aqa"):
        root = write_annotations(name, folder, -(-recipe.videos // 2), 1, ANNOTATION_SEED + recipe.seed).parent
        records = load_records(name, root)
        order = torch.randperm(len(records), generator=torch.Generator().manual_seed(recipe.seed))
        halves.append([records[i] for i in order.tolist()])
    chosen = [record for pair in zip(*halves, strict=True) for record in pair][: recipe.videos]
    return [(replace(r, dataset=TAG, key=f"{r.dataset}/{r.key}"), sample_frames(r)) for r in chosen]


def pretrain_settings(generator: torch.Generator) -> SimSettings:
    """Settings of one dive, drawn wide, so that features hold whatever the difficulty is calibrated to."""
    u = torch.rand(6, generator=generator).tolist()
    return SimSettings(
        visibility=0.6 + 0.8 * u[0],
        nuisance=0.5 + u[1],
        bystanders=int(5 * u[2]),
        sensor_noise=0.08 * u[3],
        texture=0.3 + 1.5 * u[4],
        camera=0.3 + 1.2 * u[5],
    )


def render_dive(path: Path, record: Record, offsets: Tensor, recipe: Recipe, number: int) -> None:
    """Render one dive to `path`: uint8 video and the actor's square track."""
    generator = torch.Generator().manual_seed(1_000_003 * recipe.seed + number)
    settings = pretrain_settings(generator)
    twin = simulate(record, seed=recipe.seed, size=recipe.size, settings=settings, offsets=offsets)
    write_tensors(path, {"video": twin.video, "track": square_track(twin.boxes)})


def window(path: Path, view: str, start: int, recipe: Recipe, jitter: Tensor | None) -> Tensor:
    """Read `frames` frames from `start` on as clips (clips, 3, 16, H, W) uint8.

    With `jitter` (5,) uniform numbers, the crop's track is moved and scaled by up to a tenth, and a random
    `crop` x `crop` part is kept; the picture is never mirrored or played backward, for that would change the dive.
    """
    tensors, _ = read_tensors(path)
    video, track = (tensors[name][start : start + recipe.frames] for name in ("video", "track"))
    if view == "actor":
        if jitter is not None:
            side = (track[:, 2:] - track[:, :2]).repeat(1, 2)
            moved, scaled = 0.2 * (jitter[:2] - 0.5).repeat(2), 0.2 * (jitter[2] - 0.5) * torch.tensor([-1, -1, 1, 1])
            track = track + side * (moved + scaled)
        video = crop_track(video, track, recipe.size)
    if jitter is not None:
        top, left = (jitter[3:] * (recipe.size - recipe.crop + 1)).long().tolist()
        video = video[:, :, top : top + recipe.crop, left : left + recipe.crop]
    return video.unflatten(0, (-1, CLIP)).transpose(1, 2)  # (clips, 16, 3, H, W) -> (clips, 3, 16, H, W)


class Namer(nn.Module):
    """The backbone and the four heads on its feature, averaged over space, clips and time."""

    def __init__(self, width: float):
        super().__init__()
        self.backbone = I3D(width)
        self.heads = nn.Linear(self.backbone.channels, sum(HEADS.values()))

    def forward(self, clips: Tensor) -> tuple[Tensor, ...]:
        """uint8 clips (B, clips, 3, 16, H, W) to the four heads' logits, each (B, classes)."""
        x = clips.flatten(0, 1)  # (B*clips, 3, 16, H, W)
        dtype = fast_dtype(x.device)
        with torch.autocast(x.device.type, dtype, enabled=dtype != torch.float32):
            maps = self.backbone(x.to(dtype).mul_(2 / 255).sub_(1))
        feature = maps.float().mean((2, 3, 4)).unflatten(0, clips.shape[:2]).mean(1)  # (B, C)
        return self.heads(feature).split(tuple(HEADS.values()), 1)


def _render_all(dives: list, files: list[Path], recipe: Recipe, jobs: int, progress: Callable) -> None:
    todo = [number for number, file in enumerate(files) if not file.is_file()]
    if todo:
        with ProcessPoolExecutor(jobs, get_context("spawn"), torch.set_num_threads, (1,)) as pool:
            asked = [pool.submit(render_dive, files[number], *dives[number], recipe, number) for number in todo]
            for done, dive in enumerate(asked, 1):
                dive.result()
                if done % 100 == 0 or done == len(asked):
                    progress({"rendered": done, "of": len(asked)})


@torch.no_grad()
def _accuracy(model: Namer, files: list[Path], classes: Tensor, recipe: Recipe, device) -> dict:
    """Share of right answers per view and head, in the middle window."""
    model.eval()
    result = {}
    for view in VIEWS:
        right = torch.zeros(len(HEADS))
        for first in range(0, len(files), recipe.batch):
            part = slice(first, first + recipe.batch)
            clips = torch.stack([window(f, view, (SHOWN - recipe.frames) // 2, recipe, None) for f in files[part]])
            logits = model(clips.to(device))
            right += torch.stack([(x.argmax(1).cpu() == y).sum() for x, y in zip(logits, classes[part].T, strict=True)])
        result[view] = {name: round(float(n) / len(files), 4) for name, n in zip(HEADS, right, strict=True)}
    return result


def pretrain(
    out: Path, recipe: Recipe = Recipe(), *, device="cpu", jobs: int = 2, folder: Path | None = None,
    progress: Callable[[dict], None] = lambda news: None,
) -> dict:  # fmt: skip
    """Render the dives, train, and write the backbone as safetensors with recipe and accuracies in its metadata.

    Args:
        out: file to write; convolutions are stored in float16, the rest in float32.
        folder: where rendered dives are kept (about 4 MB each) and looked for; `runs()/pretrain` if None.
        jobs: worker processes that render; training on a CPU takes the threads that torch has.
        progress: called with a dict now and then.

    Returns:
        {"loss": mean loss of each tenth of an epoch, "accuracy": view -> head -> share right on held-out dives,
        "chance": head -> share of the most frequent class, "digest": of the weights}.

    Raises:
        ValueError: too few videos to hold any out, or frames that are no multiple of 16 below 96.
    """
    n_train = recipe.videos - math.ceil(recipe.videos * recipe.held_out)
    if recipe.frames % CLIP or recipe.frames > SHOWN or not 0 < n_train < recipe.videos:
        raise ValueError(f"{recipe}: give frames that are a multiple of {CLIP} up to {SHOWN}, and hold a video out")
    folder = Path(folder or paths.runs() / "pretrain")
    folder /= f"{recipe.videos}-{recipe.seed}-{recipe.size}-{simulator_digest()}"
    dives = pretrain_records(recipe, folder)
    files = [folder / f"{i:05d}.safetensors" for i in range(len(dives))]
    _render_all(dives, files, recipe, jobs, progress)
    classes = torch.tensor([dive_classes(record) for record, _ in dives])  # (N, 4)

    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(recipe.seed)  # initial weights
        model = Namer(recipe.width)
    model = model.to(device, memory_format=torch.channels_last_3d).train()
    draw = torch.Generator().manual_seed(recipe.seed)
    samples = n_train * len(VIEWS)
    order = torch.cat([torch.randperm(samples, generator=draw) for _ in range(recipe.epochs)])
    middle = (SHOWN - recipe.frames) // 2
    starts = torch.randint(middle // 2, 3 * middle // 2 + 1, order.shape, generator=draw).tolist()
    jitters = torch.rand(len(order), 5, generator=draw)
    batches = torch.arange(len(order)).split(recipe.batch)
    optimizer = torch.optim.Adam(model.parameters(), lr=recipe.rate)
    schedule = torch.optim.lr_scheduler.OneCycleLR(
        optimizer, recipe.rate, total_steps=len(batches), pct_start=0.05, cycle_momentum=False
    )

    def load(batch: Tensor) -> tuple[Tensor, Tensor]:
        chosen = [divmod(order[i].item(), len(VIEWS)) for i in batch.tolist()]
        clips = [
            window(files[n], VIEWS[v], starts[i], recipe, jitters[i])
            for i, (n, v) in zip(batch.tolist(), chosen, strict=True)
        ]
        return torch.stack(clips), classes[[n for n, _ in chosen]]

    losses, every = [], max(1, len(batches) // (10 * recipe.epochs))
    with ThreadPoolExecutor(1) as reader:  # reads the next batch while this one trains
        coming = reader.submit(load, batches[0])
        for step in range(len(batches)):
            clips, y = coming.result()
            coming = reader.submit(load, batches[min(step + 1, len(batches) - 1)])
            logits = model(clips.to(device))
            loss = sum(F.cross_entropy(x, t) for x, t in zip(logits, y.to(device).T, strict=True))
            optimizer.zero_grad(set_to_none=True)
            loss.backward()
            optimizer.step()
            schedule.step()
            losses.append(loss.item())
            if (step + 1) % every == 0:
                progress({"step": step + 1, "of": len(batches), "loss": sum(losses[-every:]) / every})

    state = model.backbone.state_dict()
    for name, tensor in state.items():  # what is measured is what is stored
        if name.endswith("conv3d.weight"):
            tensor.copy_(tensor.half())
        elif not tensor.is_floating_point():  # batches seen: left out, and 0 when loaded
            tensor.zero_()
    held = slice(n_train, None)
    most = [column.bincount().max().item() / len(column) for column in classes[held].T]
    history = {
        "loss": [round(float(part.mean()), 4) for part in torch.tensor(losses).split(every)],
        "accuracy": _accuracy(model, files[held], classes[held], recipe, device),
        "chance": {name: round(share, 4) for name, share in zip(HEADS, most, strict=True)},
        "digest": state_digest(state),
    }
    tensors = {n: t.half() if n.endswith("conv3d.weight") else t for n, t in state.items() if t.is_floating_point()}
    metadata = {"format": 1, "width": recipe.width, "recipe": asdict(recipe), **history}
    write_tensors(out, tensors, metadata)
    return history
