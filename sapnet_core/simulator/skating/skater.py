"""The skater: quality factors, motion and scene of a skating program, as `simulator.simulate` calls them.

The record gives the elements and their times, the quality factors how well they are performed. Two blocks of factors
are drawn separately: element factors follow the grades of execution (technical score, TES) and show within elements,
component factors follow the five program components (component score, PCS) and show between elements.
"""

import math
from dataclasses import replace

import torch
from torch import Tensor

from sapnet_core.datasets.records import Element, Record
from sapnet_core.simulator.body import ANGLES, body_joints, oriented
from sapnet_core.simulator.figure import smooth_step
from sapnet_core.simulator.floor import FloorScene
from sapnet_core.simulator.motion import Motion
from sapnet_core.simulator.quality import draw_factors
from sapnet_core.simulator.settings import SimSettings
from sapnet_core.simulator.skating.costume import costume
from sapnet_core.simulator.skating.elements import SkatingElement, draw_elements, read_element, worth
from sapnet_core.simulator.skating.poses import CHANNELS
from sapnet_core.simulator.skating.program import GRAVITY, write_script
from sapnet_core.simulator.skating.rink import draw_rink

__all__ = [
    "FACTORS",
    "ELEMENT_FACTORS",
    "COMPONENT_FACTORS",
    "quality_factors",
    "shown_scores",
    "perform",
    "draw_scene",
]

# Element factors by kind of element, and component factors by program component.
BLOCKS = {"jump": ("height", "rotation", "landing"), "spin": ("spin", "position"), "sequence": ("steps", "turns")}
COMPONENTS = {
    "skating_skills": "speed",
    "transitions": "flow",
    "performance": "posture",
    "composition": "extension",
    "interpretation": "gesture",
}
ELEMENT_FACTORS = tuple(name for block in BLOCKS.values() for name in block)
COMPONENT_FACTORS = tuple(COMPONENTS.values())
FACTORS = ELEMENT_FACTORS + COMPONENT_FACTORS
SWAPPED = {"left": "right", "right": "left"}
MIRROR = [CHANNELS.index("_".join(SWAPPED.get(part, part) for part in name.split("_"))) for name in CHANNELS]
TYPICAL = {"SP": 60.0, "FS": 110.0}  # technical score at a quality of 1/2, for records without a list of elements
DRAWS = 240  # number of uniform draws: 36 for a list of elements, 14 for the athlete, 190 for the program
SOLE = 0.115  # height of the lowest joint of a standing foot above the ice in meters: boot and blade
FELL = 0.1  # quality of an element (grade -4) at or below which the skater falls


def _graded(record: Record, elements: tuple[Element, ...]) -> list[tuple[Element, SkatingElement, float, float]]:
    """Each element with its parsed name, the points between its worst and best grade, and its quality."""
    return [(element, read_element(element.name, element.kind), *worth(element)) for element in elements]


def _element_quality(record: Record) -> tuple[float, dict[str, float]]:
    """Mean quality in [0, 1] of all elements, and by kind, weighted by the points between worst and best grade; without
    graded elements, the quality that the technical score implies, and {}."""
    graded = [(read.kind, span, q) for _, read, span, q in _graded(record, record.elements) if span > 0]
    if not graded:
        tes = dict(record.sub_scores).get("tes", math.nan)
        whole = tes / (2 * TYPICAL.get(record.group, 80.0)) if not math.isnan(tes) else 0.5
        return min(max(whole, 0.0), 1.0), {}
    by_kind = {
        kind: sum(span * q for k, span, q in graded if k == kind) / total
        for kind in BLOCKS
        if (total := sum(span for k, span, _ in graded if k == kind)) > 0
    }
    return sum(span * q for _, span, q in graded) / sum(span for _, span, _ in graded), by_kind


def _components(record: Record) -> list[float]:
    """The five program components over ten, in [0, 1]; an unknown one is the mean that the component score implies, or
    0.7 without a component score."""
    marks = dict(record.sub_scores)
    whole = marks.get("pcs", math.nan) / (50 * (marks.get("factor") or 1.0))
    whole = 0.7 if math.isnan(whole) else whole
    known = [marks.get(name, math.nan) / 10 for name in COMPONENTS]
    return [min(max(whole if math.isnan(value) else value, 0.0), 1.0) for value in known]


def quality_factors(record: Record, settings: SimSettings, generator: torch.Generator) -> Tensor:
    """Draw a program's factors (F,) in [0, 1], order `FACTORS`: element factors around the mean quality of the elements
    of their kind (0 is grade -5, 1 is grade 5), component factors around the components over ten."""
    whole, by_kind = _element_quality(record)
    blocks = [
        draw_factors(by_kind.get(kind, whole), settings, generator, (0,) * len(names)) for kind, names in BLOCKS.items()
    ]
    marks = torch.tensor(_components(record))
    components = draw_factors(float(marks.mean()), settings, generator, (0,) * len(marks))
    return torch.cat([*blocks, (components + marks - marks.mean()).clamp(0, 1)])


def shown_scores(record: Record, factors: Tensor) -> dict[str, float]:
    """Scores that the simulated quality is worth, in points: "tes", "pcs", and "score", their sum minus deductions.

    tes = sum over elements of base + span * (quality - 1/2), where an element's quality is the mean of the factors of
    its kind plus the element's deviation from its kind; pcs = factor * 50 * mean of the component factors.
    """
    shown = dict(zip(FACTORS, factors.tolist(), strict=True))
    whole, by_kind = _element_quality(record)
    drawn = {kind: sum(shown[name] for name in names) / len(names) for kind, names in BLOCKS.items()}
    if record.elements:
        tes = sum(
            element.base + span * (q + drawn[read.kind] - by_kind.get(read.kind, whole) - 0.5)
            for element, read, span, q in _graded(record, record.elements)
        )
    else:
        tes = 2 * TYPICAL.get(record.group, 80.0) * sum(shown[name] for name in ELEMENT_FACTORS) / len(ELEMENT_FACTORS)
    marks = dict(record.sub_scores)
    factor = marks.get("factor") or 1.0
    pcs = factor * 50 * sum(shown[name] for name in COMPONENT_FACTORS) / len(COMPONENT_FACTORS)
    return {"score": tes + pcs - abs(marks.get("deductions", 0.0)), "tes": tes, "pcs": pcs}


def _faults(record: Record, factors: Tensor, settings: SimSettings, elements: tuple[Element, ...]) -> list:
    """Elements as arguments of `write_script`: each with its faults, and whether the skater falls."""
    shown = dict(zip(FACTORS, factors.tolist(), strict=True))
    whole, by_kind = _element_quality(record)
    graded = _graded(record, elements)
    jumps = sorted(q for _, read, span, q in graded if read.kind == "jump" and span > 0)
    falls = round(abs(dict(record.sub_scores).get("deductions", 0.0)))
    # jumps with a grade of -4 or less are falls; so are the poorest jumps, one for each point of deductions, if their
    # grade is -3 or less
    limit = max(FELL, min(jumps[falls - 1], 2 * FELL)) if 0 < falls <= len(jumps) else FELL
    rows = []
    for element, read, span, q in graded:
        own = q - by_kind.get(read.kind, whole) if record.elements and span > 0 else 0.0
        fault = {
            name: min(settings.visibility * (1 - min(max(shown[name] + own, 0.0), 1.0)), 1.6)
            for name in BLOCKS[read.kind]
        }
        fallen = read.kind == "jump" and span > 0 and q <= limit + 1e-9 and settings.visibility > 0
        rows.append((element, read, fault | {"seen": settings.visibility}, fallen))
    return rows


class _Path:
    """The skater's path: a smooth curve (x, z) over the whole rink, a fast circle on a slow one in the same direction.

    x = X (0.46 cos(f p + a) + 0.54 cos(g p + b)), z likewise with sines: the velocity is never zero, so that the
    curvature is bounded, and the curve reaches from the center of the ice to the boards. `side` is the sign of Z.
    """

    SIZE = 21.5, 10.8  # X, Z in meters
    SHARE = 0.46, 0.54
    LENGTH, SAMPLES = 110.0, 3000  # range and samples of the parameter p

    def __init__(self, drawn: list[float], side: float):
        self.phase = 2 * math.pi * torch.tensor(drawn[:2], dtype=torch.float64)
        self.pace = torch.tensor([1.62, 0.30 + 0.12 * drawn[2]], dtype=torch.float64)
        self.size = torch.tensor([self.SIZE[0], side * self.SIZE[1]], dtype=torch.float64)
        self.parameter = torch.linspace(0, self.LENGTH, self.SAMPLES, dtype=torch.float64)
        _, step, bend = self.at(self.parameter)
        pace = step.norm(dim=1)
        self.meters = torch.cat([pace.new_zeros(1), ((pace[1:] + pace[:-1]) / 2).cumsum(0)]) * float(self.parameter[1])
        self.curve = bend[torch.searchsorted(self.meters, torch.arange(int(self.meters[-1]), dtype=torch.float64))]

    def at(self, parameter: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Positions (R, 2) in meters, derivatives (R, 2) and curvature (R,), positive where the skater turns left."""
        phase = self.pace * parameter[:, None] + self.phase  # (R, 2) phases of the two circles
        share = self.pace.new_tensor(self.SHARE)
        cos, sin = share * phase.cos(), share * phase.sin()
        place = torch.stack([cos.sum(1), sin.sum(1)], 1) * self.size
        step = torch.stack([-(self.pace * sin).sum(1), (self.pace * cos).sum(1)], 1) * self.size
        more = -torch.stack([(self.pace**2 * cos).sum(1), (self.pace**2 * sin).sum(1)], 1) * self.size
        # left of (dx, dz) is (dz, -dx), since z points toward the camera
        bend = (step[:, 1] * more[:, 0] - step[:, 0] * more[:, 1]) / step.norm(dim=1) ** 3
        return place, step, bend

    def after(self, meters: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Like `at`, for distances skated (R,) in meters."""
        i = torch.searchsorted(self.meters, meters.clamp(min=0)).clamp(1, len(self.meters) - 1)
        share = (meters - self.meters[i - 1]) / (self.meters[i] - self.meters[i - 1])
        return self.at(torch.lerp(self.parameter[i - 1], self.parameter[i], share))


def _keyed(keys: list[tuple[float, list[float]]], seconds: Tensor) -> Tensor:
    """Evaluate keyframes at times (R,): (R, C), with smooth steps from one to the next."""
    times = torch.tensor([time for time, _ in keys], dtype=torch.float64)
    poses = torch.tensor([row for _, row in keys])
    i = torch.searchsorted(times, seconds).clamp(1, len(times) - 1)
    share = (seconds - times[i - 1]) / (times[i] - times[i - 1]).clamp(min=1e-6)
    return torch.lerp(poses[i - 1], poses[i], smooth_step(share, 0.0, 1.0).float()[:, None])


def _integrated(knots: list[tuple[float, float]], seconds: Tensor) -> tuple[Tensor, Tensor]:
    """Linear interpolation between knots (time, value), and its integral from the first knot, at times (R,)."""
    if not knots:
        return torch.zeros_like(seconds), torch.zeros_like(seconds)
    times, values = torch.tensor(knots, dtype=torch.float64).T.contiguous()
    area = torch.cat([times.new_zeros(1), ((values[1:] + values[:-1]) / 2 * times.diff()).cumsum(0)])
    i = torch.searchsorted(times, seconds).clamp(1, len(times) - 1)
    span = (times[i] - times[i - 1]).clamp(min=1e-6)
    share = ((seconds - times[i - 1]) / span).clamp(0, 1)
    value = torch.lerp(values[i - 1], values[i], share)
    return value, area[i - 1] + span * share * (values[i - 1] + value) / 2


def _turned(script, seconds: Tensor) -> Tensor:
    """Rotation to the left relative to the path in radians, at times (R,): turns on the ice, in the air, in spins."""
    angle = _integrated(script.rates, seconds)[1]
    if script.turns:
        start, end, by = torch.tensor(script.turns, dtype=torch.float64).unbind(1)
        share = ((seconds[:, None] - start) / (end - start)).clamp(0, 1)
        angle = angle + ((0.4 * smooth_step(share, 0.0, 1.0) + 0.6 * share) * by).sum(1)
    return angle


def _lifted(script, seconds: Tensor) -> Tensor:
    """Height in meters gained in flights, at times (R,): g / 2 * (t - off) (down - t) from take-off to landing."""
    lift = torch.zeros_like(seconds)
    for off, down in script.flights:
        lift += (GRAVITY / 2 * (seconds - off) * (down - seconds)).clamp(min=0)
    return lift


def _leveled(pose: Tensor, pitch: Tensor) -> Tensor:
    """Rotate the ankles of poses (R, A) so that the blade of a weight-bearing foot is level."""
    pose = pose.clone()
    for side in ("left", "right"):
        hip, knee, ankle = (ANGLES.index(f"{side}_{part}") for part in ("hip", "knee", "ankle"))
        down = pose[:, CHANNELS.index(f"{side}_down")].clamp(0, 1)
        free = torch.where(down < 1, pose[:, ankle].clamp(min=0.15), 0.0)
        level = (math.pi / 2 + pitch - pose[:, hip] + pose[:, knee]).clamp(0.15, 2.5)
        pose[:, ankle] = torch.lerp(free, level, (2 * down).clamp(max=1))
    return pose


@torch.no_grad()
def perform(
    record: Record, offsets: Tensor, factors: Tensor, settings: SimSettings, generator: torch.Generator
) -> Motion:
    """The motion of a figure that skates a record.

    Args:
        record: gives the elements, their times and grades (a typical list is drawn if it has none), and the skater's
            sex by its action; of its sub-scores only the deductions are used, which tell the falls.
        offsets: (T,) frames to show, counted from `record.start`, non-decreasing, gaps allowed.
        factors: (F,) quality factors in [0, 1], in the order of `FACTORS`.
        settings: `visibility` scales the faults, `nuisance` the individual differences that judges ignore.
        generator: generator of the individual differences; the number of draws is constant.

    Raises:
        ValueError: an argument has a wrong shape, or an element cannot be parsed.
    """
    if factors.shape != (len(FACTORS),):
        raise ValueError(f"factors have shape {tuple(factors.shape)}: give one for each of {', '.join(FACTORS)}")
    if offsets.dim() != 1 or not len(offsets):
        raise ValueError(f"offsets have shape {tuple(offsets.shape)}: give the frames as one row")
    drawn = torch.rand(DRAWS, generator=generator, device=generator.device).cpu()
    listed, athlete, u = drawn[:36], drawn[36:50].tolist(), drawn[50:].tolist()
    nuisance = settings.nuisance
    sway = [nuisance * (2 * value - 1) for value in athlete]
    woman = "women" in record.action.lower() or ("men" not in record.action.lower() and athlete[0] < 0.5)
    elements = record.elements or draw_elements(record.group, record.frames, record.rate, listed)
    fault = {
        name: min(settings.visibility * (1 - value), 1.6)
        for name, value in zip(FACTORS, factors.tolist(), strict=True)
        if name in COMPONENT_FACTORS
    }
    lefty = nuisance > 0 and athlete[7] < 0.15  # whether the skater jumps and spins to the right
    path = _Path(athlete[1:4], 1.0 if lefty else -1.0)
    cruise = (5.2 + 0.4 * sway[5]) * (1 - 0.36 * fault["speed"])
    script = write_script(
        _faults(record, factors, settings, elements),
        record.frames / record.rate,
        record.rate,
        fault,
        u,
        path.curve.tolist(),
        cruise,
        (0.86 if woman else 1.0) * (1 + 0.08 * sway[6]),
    )

    frames = offsets.cpu().double()
    seconds = frames / record.rate
    pose = _keyed(script.keys, seconds)
    speed, meters = _integrated(script.speeds, seconds)
    turned, lift = _turned(script, seconds), _lifted(script, seconds).float()
    place, step, bend = path.after(meters)
    ahead = step / step.norm(dim=1, keepdim=True)
    if lefty:
        pose, turned = pose[:, MIRROR], -turned
        pose[:, [1, 20]] *= -1  # a mirror image has the opposite bend and roll
    # lean = atan(v^2 * curvature / g) into the curve: toward the figure's front or left, depending on its rotation
    down = pose[:, 17:19].clamp(0, 1)
    lean = torch.atan(speed.square() * bend / GRAVITY).clamp(-0.32, 0.32).float() * down.sum(1).clamp(max=1)
    pitch = pose[:, 19] + lean * turned.sin().float()
    roll = pose[:, 20] + lean * turned.cos().float()
    heading = torch.atan2(-ahead[:, 1], ahead[:, 0]) + turned
    tall = (0.95 if woman else 1.02) * (1 + 0.05 * sway[8])
    joints = body_joints(_leveled(pose, pitch)[:, : len(ANGLES)], tall)
    joints = oriented(joints, heading.float(), pitch, roll)
    joints = _standing(joints, down, lift)
    floor = (place + pose[:, 21:22] * ahead).float()
    joints[..., 0] += floor[:, :1]
    joints[..., 2] += floor[:, 1:]
    subactions = torch.zeros(len(frames), dtype=torch.int64)
    for number, element in enumerate(elements, 1):
        subactions[(frames >= element.start) & (frames < element.end)] = number
    props = costume(joints, woman, athlete[9:14], nuisance)
    return Motion(joints, subactions, props=props, clock=(seconds / 0.16).float())


def _standing(joints: Tensor, down: Tensor, lift: Tensor) -> Tensor:
    """Move figures (R, 16, 3) over the weight-bearing foot, with the lowest joint `SOLE` + `lift` meters above the ice.

    `down` (R, 2) is the weight on each foot; without any, the hips are over the path.
    """
    feet = (joints[:, 12:14] + joints[:, 14:16]) / 2  # (R, 2, 3)
    under = (down[..., None] * feet).sum(1) / down.sum(1).clamp(min=1)[:, None]
    joints = joints - under[:, None] * under.new_tensor([1.0, 0.0, 1.0])
    joints[..., 1] += (SOLE + lift - joints[..., 1].amin(1))[:, None]
    return joints


def draw_scene(settings: SimSettings, generator: torch.Generator, *, frames: int, motion: Motion) -> FloorScene:
    """Draw the rink around a program of `frames` frames; the suit has the color of the skirt or the trousers."""
    scene = draw_rink(settings, generator, frames=frames)
    palette = scene.palette.clone()
    palette[9] = motion.props.colors[0] if motion.props is not None else palette[9]
    return replace(scene, palette=palette)
