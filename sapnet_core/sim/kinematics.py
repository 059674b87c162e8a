"""From a record to a moving figure: 16 joints per frame, all frames at once.

The figure is bent in its own sagittal plane (hips, knees, shoulders, elbows), spread sideways (legs, arms), turned
about its long axis by the twist angle, then about the lateral axis of the dive by the somersault angle, and placed so
that its center of mass flies a parabola. Time runs in u: 0 at take-off, 1 where the figure meets the water.

Somersault speed follows the position, as in a real dive: the figure spins faster while folded, and the sum is fixed by
the dive number. Faults are 1 - factor (times visibility), each with an effect of its own that grows with the fault.
"""

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from sapnet_core.data.records import Record
from sapnet_core.sim.dives import Dive, board_height, parse_dive
from sapnet_core.sim.quality import FACTORS
from sapnet_core.sim.settings import SimSettings

__all__ = ["JOINTS", "Motion", "dive_motion", "flight_times"]

PAIRED = ("shoulder", "elbow", "wrist", "hip", "knee", "ankle", "toe")
JOINTS = ("head", "neck", *(f"{side} {part}" for part in PAIRED for side in ("left", "right")))
GRAVITY = 9.81  # m/s2
CONTACT = 0.08  # the water is met this share of the flight after the entry begins, which the reach for it belongs to
TWIST_IDS = {*range(29, 36), 41, 42}  # FineDiving's subaction ids of twists
SPIN = {"A": 0.3, "B": 2.2, "C": 3.0, "D": 2.2}  # how much faster the figure turns when folded
# Pose: angles in radians, 0 = standing straight with the arms down; elevation and flexion turn toward the front.
ANGLES = (
    "hip", "knee", "ankle", "neck", "split", "scissor", "spread",
    "left_shoulder", "right_shoulder", "left_elbow", "right_elbow",
)  # fmt: skip
POSES = {
    "stand": (0.0, 0.0, 1.57, 0.0, -0.02, 0.0, 0.10, 0.05, 0.05, 0.15, 0.15),
    "reach": (0.0, 0.0, 0.50, 0.0, -0.05, 0.0, -0.15, 2.90, 2.90, 0.10, 0.10),
    "handstand": (0.0, 0.0, 0.0, -0.3, -0.08, 0.0, -0.10, 3.14, 3.14, 0.0, 0.0),
    "A": (0.0, 0.0, 0.0, 0.0, -0.08, 0.0, 0.10, 0.25, 0.25, 0.20, 0.20),
    "B": (2.55, 0.0, 0.0, 0.4, -0.08, 0.0, -0.10, 2.10, 2.10, 0.35, 0.35),
    "C": (2.45, 2.55, 0.1, 0.6, -0.02, 0.0, -0.10, 0.00, 0.00, 1.30, 1.30),
    "D": (2.10, 0.0, 0.0, 0.3, -0.08, 0.0, 0.30, 1.80, 1.80, 0.10, 0.10),
    "twist": (0.15, 0.0, 0.0, 0.2, -0.08, 0.0, -0.30, 2.60, 0.90, 1.70, 1.90),
    "head first": (0.0, 0.0, 0.0, 0.0, -0.09, 0.0, -0.30, 3.14, 3.14, 0.0, 0.0),
    "feet first": (0.0, 0.0, 0.0, 0.0, -0.09, 0.0, 0.03, 0.05, 0.05, 0.05, 0.05),
}
# Lengths (m) of a figure 1.75 m tall, and shares of the body's mass at the joints that carry it (two sides together).
BONES = {"trunk": 0.50, "head": 0.22, "upper arm": 0.29, "forearm": 0.34, "thigh": 0.43, "shank": 0.43, "foot": 0.22}
WIDTHS = {"shoulders": 0.18, "hips": 0.09}
MASS = torch.tensor([0.07, 0.10, 0.13, 0.13, 0.03, 0.03, 0.02, 0.02, 0.13, 0.13, 0.06, 0.06, 0.035, 0.035, 0.01, 0.01])
# What differs between athletes and says nothing of the score, and which way a fault goes: uniform draws, in this order.
DRAWS = (
    "height", "legs", "arms", "tempo", "approach", "arm_style", "stance", "opening", "reach", "lean", "sink", "cadence",
    "lead_in", "flight", "phases", "phase", "over", "bend", "far", "drift", "foremost", "side",
)  # fmt: skip


@dataclass(frozen=True)
class Motion:
    """A dive as it moves.

    Attributes:
        joints: (T, 16, 3) meters, order `JOINTS`; x away from the board, y up from the water, z to the camera.
        subactions: (T,) int64: 0 take-off, 1.. the phases of flight in order, the largest number the entry.
        entry: where the lowest point of the figure meets the water, as a fractional index into the T frames.
        splash: 0 none to 1 heavy.
        board: height of the board above the water, meters.
        springboard: whether it is one; otherwise a platform.
    """

    joints: Tensor
    subactions: Tensor
    entry: float
    splash: float
    board: float
    springboard: bool


def _step(u: Tensor, start: float, end: float) -> Tensor:
    """Smooth step 3x^2 - 2x^3 from 0 at `start` to 1 at `end`."""
    x = ((u - start) / (end - start)).clamp(0, 1)
    return x * x * (3 - 2 * x)


def _step_integral(u: Tensor, start: float, end: float) -> Tensor:
    """Integral of `_step` up to u: (end - start)(x^3 - x^4/2) inside, growing by 1 per unit beyond."""
    x = ((u - start) / (end - start)).clamp(0, 1)
    return (end - start) * (x**3 - x**4 / 2) + (u - end).clamp(min=0)


def _twist_phases(record: Record, dive: Dive, count: int) -> list[bool]:
    """For each of `count` phases of flight, whether the figure twists in it."""
    if len(record.subactions) == count + 2:
        twists = [number in TWIST_IDS for number in record.subactions[1:-1]]
        if any(twists) and dive.half_twists:
            return twists
    parted = dive.group == 5 and dive.direction == "forward" and count > 2  # somersault, twist, somersault
    return [dive.half_twists > 0 and i == int(parted) and count > 1 for i in range(count)]


def flight_times(record: Record, dive: Dive, settings: SimSettings, uniform: dict[str, float]) -> list[float]:
    """Frames from `record.start` at which the phases of flight and, last, the entry begin, strictly increasing.

    The record's transitions where it has them, else drawn near the typical shares of the clip (sd `settings.timing`).
    What a clip has beyond 110 frames is approach: a dive does not take longer because its clip does.
    """
    if len(record.transitions) >= 2:
        times = [float(t) for t in record.transitions]
        return [max(t, times[0] + 2.0 * i) for i, t in enumerate(times)]
    jitter = 12**0.5 * settings.timing  # a uniform draw of sd 1 spans sqrt(12)
    start = max(settings.lead_in + jitter * (uniform["lead_in"] - 0.5), 0.02)
    share = settings.flight + 0.5 * jitter * (uniform["flight"] - 0.5)
    inner = [] if not dive.half_twists else [0.38, 0.72] if dive.group == 5 and dive.direction == "forward" else [0.5]
    inner = [i + 0.08 * (uniform["phases"] - 0.5) for i in inner]
    span = min(record.frames, 110)
    return [record.frames - span + span * (start + share * i) for i in (0.0, *inner, 1.0)]


def _windows(bounds: list[float], twisting: list[bool], dive: Dive, late: float) -> tuple[list, tuple | None, float]:
    """When the figure is folded, when it twists and when it opens for the entry, in u.

    Returns the folded spans as (from, folded, opening, open), the twisting span (from, to) or None, and the opening's
    start.
    """
    short = dive.half_somersaults <= 2
    ramp = 0.25 if short else 0.13
    opened = min(bounds[-1] - (0.38 if short else 0.13) + (0.0 if short else late), 0.92)
    if dive.half_twists and not any(twisting):
        bounds, twisting = [0.0, 0.5, 1.0], [True, False]
    folds, twist = [], None
    for i, (start, end) in enumerate(zip(bounds, [*bounds[1:-1], opened], strict=False)):
        if twisting[i]:
            twist = (max(start - 0.02, 0.03), min(end + 0.06, 0.95))
            continue
        start = max(start, 0.04)
        last = i == len(twisting) - 1
        end = opened if last else end - 0.08
        grow = min(ramp, max(0.6 * (end - start), 0.06))
        end = max(end, start + grow)
        folds.append((start, start + grow, end, min(end + ramp, 1.1) if last else end + 0.1))
    return folds, twist, opened


def _pose_joints(pose: Tensor, bones: dict[str, float], scale: float) -> Tensor:
    """Pose angles (R, A) to joints (R, 16, 3) in the body's frame: (front, up, left), hips at the origin."""
    hip, knee, ankle, neck, split, scissor, spread, *arm = pose.unbind(1)
    elevation, elbow = torch.stack(arm[:2], 1), torch.stack(arm[2:], 1)  # (R, 2) left, right
    side = pose.new_tensor([1.0, -1.0])
    # In a fold the trunk goes half the way and the legs the other half: angles from the body's long axis to the front.
    trunk = 0.5 * hip
    thigh = (0.5 * hip)[:, None] + scissor[:, None] * side
    shank = thigh - knee[:, None]
    foot = shank + ankle[:, None]

    def limb(angle: Tensor, abduction: Tensor, length: float) -> Tensor:  # (R, 2) angles -> (R, 2, 3)
        c = abduction.cos() * length
        return torch.stack([angle.sin() * c, -angle.cos() * c, abduction.sin() * length], -1)

    axis = torch.stack([trunk.sin(), trunk.cos(), torch.zeros_like(trunk)], -1)  # (R, 3) hips to neck
    nod = trunk + neck
    top = bones["trunk"] * axis
    head = top + bones["head"] * torch.stack([nod.sin(), nod.cos(), torch.zeros_like(nod)], -1)
    lateral = pose.new_tensor([[0.0, 0.0, 1.0], [0.0, 0.0, -1.0]])
    outward = spread[:, None] * side
    shoulder = 0.92 * top[:, None] + WIDTHS["shoulders"] * scale * lateral
    elbows = shoulder + limb(elevation - trunk[:, None], outward, bones["upper arm"])
    wrist = elbows + limb(elevation + elbow - trunk[:, None], outward, bones["forearm"])
    apart = split[:, None] * side
    hips = (WIDTHS["hips"] * scale * lateral).expand_as(shoulder)
    knees = hips + limb(thigh, apart, bones["thigh"])
    ankles = knees + limb(shank, apart, bones["shank"])
    toe = ankles + limb(foot, apart, bones["foot"])
    pairs = torch.cat([shoulder, elbows, wrist, hips, knees, ankles, toe], 1)  # (R, 14, 3)
    return torch.cat([head[:, None], top[:, None], pairs], 1)


def _approach(dive: Dive, uniform: dict, nuisance: float) -> float:
    """Meters walked along the board before a forward or reverse dive; the others start from the edge."""
    walks = not dive.armstand and dive.direction in ("forward", "reverse")
    return 2.5 * nuisance * max(uniform["approach"] - 0.3, 0.0) if walks else 0.0


def _pose_track(u, folds, twist, opened, dive: Dive, fault: dict, uniform: dict, nuisance: float) -> Tensor:
    """Pose angles (R, A) at times u (R,), faults of line, tightness, legs and entry included."""
    at = {name: i for i, name in enumerate(ANGLES)}
    table = {name: u.new_tensor(values) for name, values in POSES.items()}
    sway = {name: nuisance * (2 * value - 1) for name, value in uniform.items()}
    bend = 1.0 if uniform["bend"] < 0.6 else -0.7  # hips piked or back arched
    air = _step(u, 0.0, 0.12)

    folded = table[dive.position].clone()
    if dive.position == "A":
        folded[at["hip"]] += 0.5 * fault["tightness"]
        folded[at["left_shoulder"] : at["left_elbow"]] += max(1.0 * sway["arm_style"], 0.0)
    else:  # a loose tuck or pike: hips and knees open, the arms follow
        folded[at["hip"]] -= 0.75 * fault["tightness"]
        if dive.position == "C":
            folded[at["knee"]] -= 0.75 * fault["tightness"]
            folded[at["left_elbow"] :] -= 0.5 * fault["tightness"]
        else:
            folded[at["left_shoulder"] : at["left_elbow"]] -= 0.35 * fault["tightness"]
    folded[at["hip"]] += 0.08 * sway["reach"]
    wrapped = table["twist"].clone()
    if uniform["foremost"] < 0.5:
        wrapped[[7, 8, 9, 10]] = wrapped[[8, 7, 10, 9]]
    wrapped[at["hip"]] += 0.35 * fault["tightness"]
    wrapped[at["spread"]] += 0.7 * fault["tightness"]
    head_first = (dive.half_somersaults + dive.armstand) % 2 == 1
    entry = table["head first" if head_first else "feet first"].clone()
    entry[at["hip"]] += 0.5 * bend * fault["entry"]
    entry[at["spread"]] += 0.5 * fault["entry"]
    entry[at["left_shoulder"] : at["left_elbow"]] += (-0.6 if head_first else 0.6) * fault["entry"]
    entry[at["left_elbow"] :] += 0.45 * fault["entry"]

    pose = table["handstand" if dive.armstand else "stand"].expand(len(u), -1).clone()
    tempo = 1 + 0.25 * sway["tempo"]
    if not dive.armstand:
        low = _step(u, -0.34 * tempo, -0.15 * tempo) - _step(u, -0.15 * tempo, -0.01)
        swing = _step(u, -0.6 * tempo, -0.4 * tempo) - _step(u, -0.34 * tempo, -0.17 * tempo)
        depth = 1 + 0.25 * sway["reach"]
        pose[:, at["knee"]] += 1.3 * depth * low
        pose[:, at["hip"]] += 1.1 * depth * low
        pose[:, at["ankle"]] += 0.75 * depth * low
        raised = (2.2 + 0.7 * sway["arm_style"]) * swing - 0.6 * low
        pose[:, at["left_shoulder"] : at["left_elbow"]] += raised[:, None]
        pose[:, at["spread"]] += 0.6 * swing
        walking = min(_approach(dive, uniform, nuisance), 1.0) * (_step(u, -1.4, -1.2) - _step(u, -0.55, -0.42))
        stride = walking * torch.sin(2 * math.pi * ((4 + 1.5 * sway["cadence"]) * u + uniform["phase"]))
        pose[:, at["scissor"]] += 0.4 * stride
        pose[:, at["knee"]] += 0.5 * stride.abs()
        pose[:, at["left_shoulder"] : at["left_elbow"]] += 0.4 * stride[:, None] * u.new_tensor([-1.0, 1.0])
        pose = torch.lerp(pose, table["reach"], _step(u, -0.15 * tempo, 0.0)[:, None])
        pose[:, at["left_shoulder"] : at["left_elbow"]] += (0.25 * sway["reach"] * air)[:, None]
    if twist:
        weight = _step(u, twist[0], twist[0] + 0.1) - _step(u, twist[1] - 0.08, twist[1] + 0.02)
        pose = torch.lerp(pose, wrapped, weight[:, None])
    fold = torch.zeros_like(u)
    for start, full, opening, end in folds:
        weight = _step(u, start, full) - _step(u, opening, end)
        pose = torch.lerp(pose, folded, weight[:, None])
        fold = fold + weight
    pose = torch.lerp(pose, entry, _step(u, opened + 0.01, opened + 0.15)[:, None])

    bent = fold if dive.position != "A" else torch.zeros_like(u)
    straight = (1 - bent).clamp(0, 1) * air
    wave = torch.sin(2 * math.pi * (3 * u + uniform["phase"]))
    pose[:, at["hip"]] += straight * fault["line"] * (0.35 * bend + 0.12 * wave)
    pose[:, at["knee"]] += fault["line"] * (0.55 * straight + (0.45 * air * bent if dive.position in "BD" else 0))
    pose[:, at["ankle"]] += 0.9 * fault["line"] * air
    pose[:, at["left_elbow"] :] += (0.5 * fault["line"] * straight)[:, None]
    pose[:, at["split"]] += 0.32 * fault["legs"] * air
    pose[:, at["scissor"]] += (0.3 if uniform["side"] < 0.5 else -0.3) * fault["legs"] * air
    return pose


def _turn(joints: Tensor, somersault: Tensor, twist: Tensor, facing: float) -> Tensor:
    """Body frame (R, 16, 3) to the world's axes: twist about the long axis, then somersault about z (from x to y)."""
    front, up, left = joints.unbind(-1)
    c, s = twist.cos()[:, None], twist.sin()[:, None]
    # facing +x with the head up, the left side is y x x = -z
    x, z = facing * (front * c + left * s), -facing * (left * c - front * s)
    c, s = somersault.cos()[:, None], somersault.sin()[:, None]
    return torch.stack([x * c - up * s, x * s + up * c, z], -1)


def _fly(joints: Tensor, u: Tensor, dive: Dive, board: float, fault: dict, uniform: dict, nuisance: float) -> Tensor:
    """Place the turned joints (R, 16, 3): on the board, on a parabola, in the water. The last two rows are u = 0, 1."""
    sway = {name: nuisance * (2 * value - 1) for name, value in uniform.items()}
    center = torch.einsum("rjk,j->rk", joints, MASS.to(joints))
    joints = joints - center[:, None]
    hold = joints[:, 6:8] if dive.armstand else joints[:, 14:16]  # (R, 2, 3) hands or toes on the board
    approach = _approach(dive, uniform, nuisance)
    x = -0.06 + 0.06 * sway["stance"] - approach * (1 - _step(u, -1.4, -0.42)) - hold[..., 0].mean(1)
    hop = ((u + 0.56) * (-0.3 - u) / 0.13**2).clamp(min=0) * 0.12 * min(approach, 1.5)
    y = board + hop - hold[..., 1].amin(1)
    x0, y0 = x[-2], y[-2]

    spring = board < 5
    most = 0.35 if dive.armstand else 1.6 if spring else 0.75
    # apex = y0 + rise, falling off with the fault; v0 = sqrt(2 g rise); y0 + v0 D - g D^2 / 2 = height at the contact
    rise = 0.06 + most * math.exp(-1.3 * fault["height"]) * (1 + 0.06 * sway["lean"])
    speed = math.sqrt(2 * GRAVITY * rise)
    contact = -joints[-1, :, 1].amin()
    last = speed / GRAVITY + (2 * (y0 + rise - contact).clamp(min=0.5) / GRAVITY).sqrt()
    out = 1.5 + 0.15 * sway["stance"]
    far = out + 1.7 * fault["distance"] if uniform["far"] < 0.6 else out * math.exp(-0.85 * fault["distance"])
    side = (0.6 if uniform["drift"] < 0.5 else -0.6) * fault["distance"]

    s = u * last  # seconds since take-off
    depth = 2.5 + 0.5 * sway["sink"]
    sunk = 1 - torch.exp(-(GRAVITY * last - speed) * (s - last).clamp(min=0) / depth)
    flying = y0 + speed * s - GRAVITY * s * s / 2
    y = torch.where(u < 0, y, torch.where(u <= 1, flying, contact - depth * sunk))
    x = torch.where(u < 0, x, x0 + (far - x0) * (u.clamp(max=1) + 0.15 * sunk))
    path = torch.stack([x, y, side * u.clamp(0, 1)], -1)
    return joints + path[:, None]


def _entry_index(offsets: Tensor, frame: float) -> float:
    """The fractional index at which the frame numbers `offsets` (T,), not decreasing, pass `frame`."""
    before = int((offsets <= frame).sum()) - 1
    low, high = max(before, 0), min(before + 1, len(offsets) - 1)
    if low < high and before >= 0:
        return low + (frame - float(offsets[low])) / float(offsets[high] - offsets[low])
    step = max(float(offsets[-1] - offsets[0]) / max(len(offsets) - 1, 1), 1e-6)
    return low + (frame - float(offsets[low])) / step


@torch.no_grad()
def dive_motion(
    record: Record, offsets: Tensor, factors: Tensor, settings: SimSettings, generator: torch.Generator
) -> Motion:
    """Let a figure perform a record.

    Args:
        record: its dive number says what is done, its transitions when, its difficulty from which board. Its score is
            not read.
        offsets: (T,) frames to show, counted from `record.start`, not decreasing; negative ones show the approach.
        factors: (F,) quality factors in [0, 1], in the order of `FACTORS`.
        settings: `visibility` scales the faults, `nuisance` what athletes differ in besides.
        generator: always read for the same count of numbers, so that equal factors give equal motions.

    Raises:
        ValueError: no dive number, or arguments of a wrong shape.
    """
    if factors.shape != (len(FACTORS),):
        raise ValueError(f"factors have shape {tuple(factors.shape)}: give one for each of {', '.join(FACTORS)}")
    if offsets.dim() != 1 or not len(offsets):
        raise ValueError(f"offsets have shape {tuple(offsets.shape)}: give the frames as one row")
    dive = parse_dive(record.action)
    drawn = torch.rand(len(DRAWS), generator=generator, device=generator.device).tolist()
    uniform = dict(zip(DRAWS, drawn, strict=True))
    sway = {name: settings.nuisance * (2 * value - 1) for name, value in uniform.items()}
    # beyond a fault of 1.6 joints would bend where none can
    fault = {k: min(settings.visibility * (1 - f), 1.6) for k, f in zip(FACTORS, factors.tolist(), strict=True)}
    height = 10 if dive.armstand else board_height(record.action, record.difficulty)

    times = flight_times(record, dive, settings, uniform)
    begin, contact = times[0], times[-1] + CONTACT * (times[-1] - times[0])
    frames = torch.cat([offsets.cpu().float(), torch.tensor([begin, contact])])  # (R,) = T frames, take-off, contact
    u = (frames - begin) / (contact - begin)
    bounds = [(t - begin) / (contact - begin) for t in times]
    late = 0.07 * fault["rotation"] + 0.02 * sway["opening"]
    folds, twist, opened = _windows(bounds, _twist_phases(record, dive, len(times) - 1), dive, late)
    pose = _pose_track(u, folds, twist, opened, dive, fault, uniform, settings.nuisance)

    # total = half_somersaults * pi, short of it or over it by the faults of rotation and entry
    sense = -1.0 if dive.direction in ("forward", "back") else 1.0
    if dive.armstand:
        sense = 1.0 if dive.direction == "reverse" else -1.0
    over = uniform["over"] < 0.25
    missed = 0.42 * fault["rotation"] + (0.15 if over else 0.6) * fault["rotation"] ** 2 + 0.25 * fault["entry"]
    total = dive.half_somersaults * math.pi + (missed if over else -missed)
    # turned so far = integral of 1 + spin * fold, scaled to the total; the figure leaves the board leaning outward
    spun = u.clamp(0, 1)
    for start, full, opening, end in folds:
        inside = u.clamp(0, 1)
        spun = spun + SPIN[dive.position] * (_step_integral(inside, start, full) - _step_integral(inside, opening, end))
    lean = (0.25 if dive.armstand else 0.14 + 0.04 * sway["lean"]) if sense < 0 else 0.02
    turned = lean * _step(u, -0.22, 0.0) + (total - lean) * spun / spun[-1]
    about = torch.zeros_like(u)
    if twist:
        about = (math.pi * dive.half_twists - 0.4 * fault["rotation"]) * _step(u, *twist)
        about = about if uniform["foremost"] < 0.5 else -about
    facing = -1.0 if dive.direction in ("back", "inward") else 1.0
    start = math.pi if dive.armstand else 0.0

    tall = 1 + 0.06 * sway["height"]
    shares = dict.fromkeys(BONES, tall)
    shares |= {bone: tall * (1 + 0.05 * sway["legs"]) for bone in ("thigh", "shank")}
    shares |= {bone: tall * (1 + 0.05 * sway["arms"]) for bone in ("upper arm", "forearm")}
    bones = {bone: length * shares[bone] for bone, length in BONES.items()}
    joints = _turn(_pose_joints(pose, bones, tall), start + sense * turned, about, facing)
    joints = _fly(joints, u, dive, float(height), fault, uniform, settings.nuisance)
    subactions = torch.searchsorted(torch.tensor(record.transitions or times), offsets.cpu(), right=True)
    return Motion(
        joints=joints[:-2],
        subactions=subactions,
        entry=_entry_index(offsets.cpu(), contact),
        splash=min(fault["splash"], 1.0),
        board=float(height),
        springboard=height < 10,
    )
