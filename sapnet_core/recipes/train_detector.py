"""Train the detector that comes with the package: it learns the boxes of simulated people, including bystanders.

The frames come from twins drawn for this purpose alone, of all sports, half of them in the scenes of the tables and
half in wilder ones; their annotations and twins have seeds that no table, tuning, calibration or backbone uses. An
optimizer step shows windows of frames, randomly cut, squeezed, mirrored, blurred and relit, to torchvision's SSD and
minimizes its loss: smooth L1 on the codes of anchors matched to a person (IoU of 0.5 or the best), cross-entropy on
those and on three times as many of the worst other anchors.

    python -m sapnet_core recipe train_detector --out FILE
"""

import math
import time
from argparse import Namespace
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from sapnet_core.datasets import Record, load_records
from sapnet_core.datasets.clips import sample_frames
from sapnet_core.detection.crops import crop_track
from sapnet_core.detection.detector import SHIPPED, Detector, detection_scores, looked_at, small_ssd
from sapnet_core.detection.tracking import actor_boxes, track_scores
from sapnet_core.experiments.profiles import DATASETS, DIVES
from sapnet_core.runtime import environment, values
from sapnet_core.runtime.arguments import check_environment
from sapnet_core.runtime.environment import jobs
from sapnet_core.runtime.files import write_tensors
from sapnet_core.runtime.progress import waiting
from sapnet_core.runtime.workers import WorkerPool
from sapnet_core.simulator import Twin, simulate
from sapnet_core.simulator.draw_annotations import write_annotations
from sapnet_core.simulator.settings import SimSettings, settings_for

__all__ = [
    "Recipe",
    "actor_shown",
    "carry_boxes",
    "draw_batch",
    "draw_twin",
    "draw_windows",
    "evaluate",
    "people_boxes",
    "recipe_records",
    "train_detector",
    "wild_settings",
]

SEED = 9_000  # seeds of twins from here on are reserved for the detector
ANNOTATION_SEED = 910_000  # seeds of annotation sets from here on are reserved for the detector
PEOPLE = 8  # maximum number of boxes kept per frame
TESTED = 12  # number of held-out twins that are scored per dataset


@dataclass(frozen=True)
class Recipe:
    """All settings that determine the weights.

    Attributes:
        sports: datasets whose twins are shown.
        dives, routines: number of twins per dataset of dives and per dataset of routines; the last `held_out` share is
            never trained on.
        frames: number of frames rendered for each dataset, spread evenly over its twins.
        epochs: passes over all frames.
        width, size: width of the network, as of `small_ssd`, and edge of its input in pixels.
        rendered: edge of the rendered frames in pixels.
        seed: seed of annotations, twins, initial weights and windows.
        batch, rate: frames per step, and AdamW's largest learning rate (warm-up, then cosine to 0).
        held_out: share of the twins on which the detector is scored.
    """

    sports: tuple[str, ...] = DATASETS
    dives: int = 400
    routines: int = 120
    frames: int = 4000
    epochs: int = 3
    width: float = 0.75
    size: int = 160
    rendered: int = 144
    seed: int = 0
    batch: int = 16
    rate: float = 2e-3
    held_out: float = 0.1

    def __post_init__(self):
        for sport in self.sports:
            values.choice("sports", sport, DATASETS)
        for name in ("dives", "routines", "frames", "epochs", "size", "rendered", "batch"):
            values.whole(name, getattr(self, name))
        for name, limits in {"width": (0, 1, "least"), "rate": (0, math.inf, "least"), "held_out": (0, 1)}.items():
            values.number(name, getattr(self, name), *limits)

    def twins(self, sport: str) -> int:
        """Number of twins of a dataset."""
        return self.dives if sport in DIVES else self.routines


def wild_settings(generator: torch.Generator) -> SimSettings:
    """Draw the scene of one twin from wide ranges: light, wall and camera of any quality, and up to five bystanders."""
    u = torch.rand(6, generator=generator).tolist()
    return SimSettings(
        visibility=0.3 + 2.5 * u[0],
        nuisance=0.1 + 1.1 * u[1],
        bystanders=int(6 * u[2]),
        sensor_noise=0.05 * u[3],
        texture=1.5 * u[4],
        camera=1.2 * u[5],
    )


def recipe_records(recipe: Recipe, folder: Path | None = None) -> dict[str, tuple[list, list]]:
    """Draw the records of the detector: dataset -> (training, held out), each a list of (number of the twin, record).

    Annotation sets are written to `folder`, `runs()/detector` if None.

    Raises:
        ValueError: no twin of a dataset would be held out, or all would be.
    """
    folder, drawn = Path(folder or environment.runs() / "detector"), {}
    for place, sport in enumerate(recipe.sports):
        count = recipe.twins(sport)
        held = round(count * recipe.held_out)
        if not 0 < held < count:
            raise ValueError(
                f"{sport}, {count} twins: no twin is held out, or none is left to train on: change twins or held_out"
            )
        path = folder / f"{sport}-{count}-{recipe.seed}"
        root = write_annotations(sport, path, count, 4, ANNOTATION_SEED + recipe.seed).parent
        records = list(enumerate(load_records(sport, root)[:count], 100_003 * place))
        drawn[sport] = records[:-held], records[-held:]
    return drawn


def actor_shown(twin: Twin) -> Tensor:
    """Whether the actor is visible in each frame, (T,) bool: at least half of the joints lie in the box.

    A diver under water, for example, is not.
    """
    low, high = twin.boxes[:, None, :2] - 1, twin.boxes[:, None, 2:] + 1
    return ((twin.joints >= low) & (twin.joints <= high)).all(2).float().mean(1) >= 0.5


def people_boxes(twin: Twin) -> Tensor:
    """Boxes (T, 1 + B, 4) of all people in a twin's frames, the actor's first; NaN for those who are not visible."""
    actor = torch.where(actor_shown(twin)[:, None], twin.boxes, torch.nan)
    return torch.cat([actor[:, None], twin.people.to(actor)], 1)


def draw_twin(
    number: int, record: Record, recipe: Recipe, size: int, offsets: Tensor, wild: bool | None = None
) -> Twin:
    """Render the twin of a record, with a seed from `SEED` on, in a scene of the tables or, if `wild`, in a wild one.

    If `wild` is None, twins with odd numbers get wild scenes.
    """
    drawn = wild_settings(torch.Generator().manual_seed(1_000_003 * (recipe.seed + SEED) + number))
    settings = drawn if (number % 2 if wild is None else wild) else settings_for(record.dataset)
    return simulate(record, seed=SEED + recipe.seed, size=size, settings=settings, offsets=offsets)


def _frames(number: int, record: Record, recipe: Recipe) -> tuple[Tensor, Tensor]:
    """Frames (F, 3, S, S) uint8 spread over one twin, and boxes (F, 8, 4) of the people in them, padded with NaN."""
    count = max(1, recipe.frames // recipe.twins(record.dataset))
    places = (torch.arange(count) + torch.rand(count, generator=torch.Generator().manual_seed(number))) / count
    twin = draw_twin(number, record, recipe, recipe.rendered, (places * (record.frames - 1)).long())
    boxes = people_boxes(twin)[:, :PEOPLE]
    return twin.video, F.pad(boxes, (0, 0, 0, PEOPLE - boxes.shape[1]), value=torch.nan)


def _frames_as_arrays(*task) -> tuple[np.ndarray, np.ndarray]:
    """`_frames` for a worker: tensors would lie in shared memory, and be fetched from a process that may have ended."""
    frames, boxes = _frames(*task)
    return frames.numpy(), boxes.numpy()


def _render_all(twins: list, recipe: Recipe, workers: int, progress: Callable) -> list[tuple[Tensor, Tensor]]:
    if workers == 1:
        return [_frames(number, record, recipe) for number, record in twins]
    rendered = []
    with WorkerPool(workers) as pool:
        asked = deque(pool.submit(_frames_as_arrays, number, record, recipe) for number, record in twins)
        while asked:
            rendered.append(tuple(map(torch.from_numpy, asked.popleft().result())))
            if len(rendered) % 200 == 0 or len(rendered) == len(twins):
                progress({"rendered": len(rendered), "of": len(twins)})
    return rendered


def draw_windows(boxes: Tensor, edge: int, generator: torch.Generator) -> Tensor:
    """Draw a window (B, 4) xyxy for each frame: 0.5 to 1.2 of its edge, squeezed, and around the actor (the first of
    its boxes (B, P, 4)) if it is visible. Half of the windows have x1 > x2, which mirrors the cut."""
    count = len(boxes)
    u = torch.rand(count, 5, generator=generator)
    squeeze = (0.25 * torch.randn(count, generator=generator)).clamp(-0.6, 0.6).exp()
    side = edge * (0.5 + 0.7 * u[:, :1]) * torch.stack([squeeze, 1 / squeeze], 1)  # (B, 2)
    actor = (boxes[:, 0, :2] + boxes[:, 0, 2:]) / 2
    center = torch.where(actor.isnan(), edge * u[:, 1:3], actor + 0.9 * (u[:, 1:3] - 0.5) * side)
    room = (side / 2 - 0.1 * edge).clamp(max=edge / 2)
    center = torch.minimum(torch.maximum(center, room), edge - room)
    low, high = center - side / 2, center + side / 2
    mirrored = u[:, 3] < 0.5
    low[:, 0], high[:, 0] = torch.where(mirrored, high[:, 0], low[:, 0]), torch.where(mirrored, low[:, 0], high[:, 0])
    return torch.cat([low, high], 1)


def carry_boxes(boxes: Tensor, windows: Tensor, size: int) -> list[Tensor]:
    """Map boxes (B, P, 4) of frames to boxes (n, 4) of their windows (B, 4) cut to size x size.

    The map is that of `crops.points_to_crop`; boxes are clipped at the edge, and kept if more than a third of the area
    and more than 3 pixels per side remain.
    """
    low, run = windows[:, None, :2], (windows[:, 2:] - windows[:, :2])[:, None]
    one, two = ((boxes[..., i : i + 2] - low) * (size / run) for i in (0, 2))
    whole = torch.cat([torch.minimum(one, two), torch.maximum(one, two)], 2)
    inside = whole.clamp(0, size)
    sides = inside[..., 2:] - inside[..., :2]
    kept = (sides.amin(2) > 3) & (sides.prod(2) > (whole[..., 2:] - whole[..., :2]).prod(2) / 3)  # NaN: not kept
    return [part[keep] for part, keep in zip(inside, kept, strict=True)]


def draw_batch(frames: Tensor, boxes: Tensor, size: int, generator: torch.Generator) -> tuple[Tensor, list[Tensor]]:
    """Cut random windows from frames (B, 3, S, S) uint8 and relight them: (B, 3, size, size) in [0, 1], and the boxes
    (n, 4) of each window."""
    windows = draw_windows(boxes, frames.shape[-1], generator)
    coarse = int(torch.randint(size // 2, size + 1, (), generator=generator))  # imitates a low-resolution video
    x = crop_track(frames, windows, coarse).float().div_(255)
    x = F.interpolate(x, (size, size), mode="bilinear", align_corners=False)
    n = torch.randn(len(x), 8, 1, 1, generator=generator)
    level = x.mean((1, 2, 3), keepdim=True)
    x = level + (x - level) * (0.25 * n[:, :1]).exp()  # contrast
    x = x * (0.2 * n[:, 1:2] + 0.08 * n[:, 2:5]).exp()  # brightness and color of the light
    x = torch.where(n[:, 5:6] > 1.6, x.mean(1, keepdim=True), x)  # some frames in gray
    x = x + 0.03 * n[:, 6:7].abs() * torch.randn(x.shape, generator=generator)
    return x.clamp_(0, 1), carry_boxes(boxes, windows, size)


def evaluate(
    detector: Detector,
    records: Sequence[tuple[int, Record]],
    recipe: Recipe,
    *,
    wild: bool,
    size: int = 112,
    frames: int = 96,
    every: int = 4,
) -> dict[str, float]:
    """Score how well a detector finds people and follows the actor on twins of (number, record), one clip of each.

    Args:
        wild: render the twins in wild scenes instead of those of the tables.
        size: edge of the rendered frames in pixels.
        frames: number of sampled frames per clip.
        every: the detector searches each `every`-th frame and the last (`looked_at`).

    Returns:
        AP and AP50 over the searched frames, then, over the frames in which the actor is visible, mean track IoU and
        the shares of frames found and lost (`track_scores`), and `fps`, searched frames per second on this machine.
    """
    found, truth, tracks, seconds = [], [], [], 0.0
    for number, record in records:
        offsets = sample_frames(record)
        first = (number * 37) % max(len(offsets) - frames, 1)  # only a part of a long routine
        twin = draw_twin(number, record, recipe, size, offsets[first : first + frames], wild)
        start = time.perf_counter()
        found += detector.detect(twin.video, every)
        seconds += time.perf_counter() - start
        people = people_boxes(twin)[looked_at(len(twin.video), every)]
        truth += [part[~part.isnan().any(1)] for part in people]
        boxes, lost = actor_boxes(twin.video, detector, every)
        tracks.append(track_scores(boxes, lost, twin.boxes, actor_shown(twin)))
    scores = detection_scores(found, truth)
    mean = {name: sum(t[name] for t in tracks) / len(tracks) for name in tracks[0]}
    rounded = {name: round(value, 4) for name, value in {**scores, **mean}.items()}
    return {**rounded, "fps": round(len(found) / seconds, 1)}


def train_detector(
    out: Path,
    recipe: Recipe = Recipe(),
    *,
    workers: int = 2,
    folder: Path | None = None,
    progress: Callable[[dict], None] = lambda news: None,
) -> dict:
    """Render the frames, train on the CPU, and write the weights in float16 with recipe and scores.

    Args:
        out: file to write.
        workers: processes that render; with 1, this process renders. Training uses PyTorch's own threads.
        folder: where annotation sets are written; `runs()/detector` if None.
        progress: called with a dict of counts, and in training the loss, now and then.

    Returns:
        {"loss": mean loss of each twentieth of the run, "held_out": dataset -> "plain" (scenes of the tables) and
        "wild" -> scores of `evaluate` on held-out twins, without fps, "seconds": of rendering and of training}.

    Raises:
        ValueError: too few twins to hold any out.
    """
    records, start = recipe_records(recipe, folder), time.perf_counter()
    shown = [entry for train, _ in records.values() for entry in train]
    frames, boxes = (torch.cat(part) for part in zip(*_render_all(shown, recipe, workers, progress), strict=True))
    rendered = time.perf_counter()

    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(recipe.seed)  # initial weights
        net = small_ssd(recipe.width, recipe.size)
    net = net.to(memory_format=torch.channels_last).train()
    draw = torch.Generator().manual_seed(recipe.seed)
    order = torch.cat([torch.randperm(len(frames), generator=draw) for _ in range(recipe.epochs)]).split(recipe.batch)
    optimizer = torch.optim.AdamW(net.parameters(), lr=recipe.rate, weight_decay=1e-2)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, recipe.rate, total_steps=len(order), pct_start=0.1)
    losses, every = [], max(1, len(order) // 20)
    for step, chosen in enumerate(order):
        x, people = draw_batch(frames[chosen], boxes[chosen], recipe.size, draw)
        targets = [{"boxes": b, "labels": torch.ones(len(b), dtype=torch.int64)} for b in people]
        loss = sum(net(list(x), targets).values())
        optimizer.zero_grad(set_to_none=True)
        loss.backward()
        torch.nn.utils.clip_grad_norm_(net.parameters(), 5.0)
        optimizer.step()
        schedule.step()
        losses.append(loss.item())
        if (step + 1) % every == 0:
            progress({"step": step + 1, "of": len(order), "loss": round(sum(losses[-every:]) / every, 4)})
    seconds = {"rendering": round(rendered - start), "training": round(time.perf_counter() - rendered)}

    tensors = {n: t.half() for n, t in net.state_dict().items() if t.is_floating_point()}
    net.load_state_dict(net.state_dict() | {n: t.float() for n, t in tensors.items()})  # to score what is stored
    detector = Detector(net, "shipped")
    scores = {
        sport: {kind: evaluate(detector, held[:TESTED], recipe, wild=kind == "wild") for kind in ("plain", "wild")}
        for sport, (_, held) in records.items()
    }
    history = {
        "loss": [round(float(part.mean()), 4) for part in torch.tensor(losses).split(every)],
        "held_out": {
            sport: {kind: dict(list(figures.items())[:-1]) for kind, figures in kinds.items()}
            for sport, kinds in scores.items()
        },
    }
    write_tensors(out, tensors, {"format": 1, "recipe": asdict(recipe), **history})
    return {**history, "seconds": seconds}


def main(asked: Namespace) -> None:
    """Make the shipped weights again, or those of a smaller recipe."""
    check_environment()
    out, recipe = asked.out or SHIPPED, Recipe(epochs=asked.epochs or Recipe.epochs)
    with waiting(f"making {out.name}") as say:
        history = train_detector(out, recipe, workers=asked.jobs or jobs(), progress=lambda news: say(str(news)))
    print(history["seconds"])
    for sport, scores in history["held_out"].items():
        for kind, figures in scores.items():
            print(sport, kind, figures)
