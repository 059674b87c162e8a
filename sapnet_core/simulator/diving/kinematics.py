"""The motion of a diver: 16 joints per frame for a record, computed for all frames at once.

The figure (`simulator/figure.py`) takes its pose, is rotated about its long axis by the twist angle, then about the
lateral axis of the dive by the somersault angle, and placed so that its center of mass flies a parabola. Time is u: 0
at take-off, 1 at contact with the water.

Somersault speed depends on the position, as in a real dive: the figure rotates faster while folded, and the dive number
fixes the total angle. Faults are 1 - factor (times visibility); each has its own effect, which grows with the fault.
"""

import math

import torch
from torch import Tensor

from sapnet_core.datasets.dive_numbers import Dive, board_height, parse_dive
from sapnet_core.datasets.records import Record
from sapnet_core.simulator.figure import BONES, JOINTS, MASS, approach, pose_joints, pose_track, smooth_step
from sapnet_core.simulator.motion import Motion
from sapnet_core.simulator.quality import FACTORS
from sapnet_core.simulator.settings import SimSettings

__all__ = ["JOINTS", "Motion", "dive_motion", "flight_times"]

GRAVITY = 9.81  # m/s2
# time from the annotated start of the entry, which includes the reach, to contact with the water, as a fraction of the
# time from take-off to that start
CONTACT = 0.08
TWIST_IDS = {*range(29, 36), 41, 42}  # FineDiving's subaction ids of twists
SPIN = {"A": 0.3, "B": 2.2, "C": 3.0, "D": 2.2}  # relative increase of the rotation speed when folded, by position
# Names of the uniform draws, in this order: individual differences independent of the score, and directions of faults.
DRAWS = (
    "height",
    "legs",
    "arms",
    "tempo",
    "approach",
    "arm_style",
    "stance",
    "opening",
    "reach",
    "lean",
    "sink",
    "cadence",
    "lead_in",
    "flight",
    "phases",
    "phase",
    "over",
    "bend",
    "far",
    "drift",
    "foremost",
    "side",
)


def _step_integral(u: Tensor, start: float, end: float) -> Tensor:
    """Integral of `smooth_step` up to u: (end - start)(x^3 - x^4/2) from `start` to `end`, with slope 1 beyond."""
    x = ((u - start) / (end - start)).clamp(0, 1)
    return (end - start) * (x**3 - x**4 / 2) + (u - end).clamp(min=0)


def _twist_phases(record: Record, dive: Dive, count: int) -> list[bool]:
    """Whether the figure twists, for each of the `count` phases of the flight."""
    if len(record.subactions) == count + 2:
        twists = [number in TWIST_IDS for number in record.subactions[1:-1]]
        if any(twists) and dive.half_twists:
            return twists
    parted = dive.group == 5 and dive.direction == "forward" and count > 2  # somersault, twist, somersault
    return [dive.half_twists > 0 and i == int(parted) and count > 1 for i in range(count)]


def flight_times(record: Record, dive: Dive, settings: SimSettings, uniform: dict[str, float]) -> list[float]:
    """Frames from `record.start` at which the phases of flight and finally the entry begin, strictly increasing.

    These are the record's transitions if it has at least two; otherwise take-off and entry follow from fractions of the
    clip around `settings.lead_in` (sd `settings.timing`) and `settings.flight` (half that sd). The fractions are of at
    most 110 frames at the end of the clip: a longer clip does not make a longer dive.
    """
    if len(record.transitions) >= 2:
        times = [float(t) for t in record.transitions]
        return [max(t, times[0] + 2.0 * i) for i, t in enumerate(times)]
    jitter = 12**0.5 * settings.timing  # a uniform distribution of sd 1 has a width of sqrt(12)
    start = max(settings.lead_in + jitter * (uniform["lead_in"] - 0.5), 0.02)
    share = settings.flight + 0.5 * jitter * (uniform["flight"] - 0.5)
    inner = [] if not dive.half_twists else [0.38, 0.72] if dive.group == 5 and dive.direction == "forward" else [0.5]
    inner = [i + 0.08 * (uniform["phases"] - 0.5) for i in inner]
    span = min(record.frames, 110)
    return [record.frames - span + span * (start + share * i) for i in (0.0, *inner, 1.0)]


def _windows(bounds: list[float], twisting: list[bool], dive: Dive, late: float) -> tuple[list, tuple | None, float]:
    """Intervals of the flight in u: when the figure is folded, when it twists, when it opens for the entry.

    Returns the folded intervals as (start of folding, folded, start of opening, open), the twisting interval (start,
    end) or None, and the start of the opening for the entry.
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


def _turn(joints: Tensor, somersault: Tensor, twist: Tensor, facing: float) -> Tensor:
    """Rotate joints (R, 16, 3) from body to world axes: twist about the long axis, then somersault about z (x to y)."""
    front, up, left = joints.unbind(-1)
    c, s = twist.cos()[:, None], twist.sin()[:, None]
    # facing +x with the head up, the left side is the cross product y x x = -z
    x, z = facing * (front * c + left * s), -facing * (left * c - front * s)
    c, s = somersault.cos()[:, None], somersault.sin()[:, None]
    return torch.stack([x * c - up * s, x * s + up * c, z], -1)


def _fly(joints: Tensor, u: Tensor, dive: Dive, board: float, fault: dict, uniform: dict, nuisance: float) -> Tensor:
    """Place the rotated joints (R, 16, 3): on the board, on a parabola, in the water. The last two rows are the times
    u = 0 and u = 1."""
    sway = {name: nuisance * (2 * value - 1) for name, value in uniform.items()}
    center = torch.einsum("rjk,j->rk", joints, MASS.to(joints))
    joints = joints - center[:, None]
    hold = joints[:, 6:8] if dive.armstand else joints[:, 14:16]  # (R, 2, 3) hands or toes on the board
    walked = approach(dive, uniform, nuisance)
    x = -0.06 + 0.06 * sway["stance"] - walked * (1 - smooth_step(u, -1.4, -0.42)) - hold[..., 0].mean(1)
    hop = ((u + 0.56) * (-0.3 - u) / 0.13**2).clamp(min=0) * 0.12 * min(walked, 1.5)
    y = board + hop - hold[..., 1].amin(1)
    x0, y0 = x[-2], y[-2]

    spring = board < 5
    most = 0.35 if dive.armstand else 1.6 if spring else 0.75
    # apex = y0 + rise, which decreases with the fault; v0 = sqrt(2 g rise); y0 + v0 D - g D^2 / 2 = height at contact
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
    """Fractional index at which the non-decreasing frame numbers `offsets` (T,) pass `frame`, extrapolated."""
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
    """The motion of a figure that performs a record.

    Args:
        record: its dive number gives the elements, its transitions their times, its dive number and difficulty the
            height of the board. Its score is ignored.
        offsets: (T,) frames to show, counted from `record.start`, non-decreasing; negative ones show the approach.
        factors: (F,) quality factors in [0, 1], in the order of `FACTORS`.
        settings: `visibility` scales the faults, `nuisance` the individual differences that judges ignore.
        generator: generator of the individual differences; the number of draws is constant, so that they do not depend
            on record or factors.

    Raises:
        ValueError: the record has no valid dive number, or an argument has a wrong shape.
    """
    if factors.shape != (len(FACTORS),):
        raise ValueError(f"factors have shape {tuple(factors.shape)}: give one for each of {', '.join(FACTORS)}")
    if offsets.dim() != 1 or not len(offsets):
        raise ValueError(f"offsets have shape {tuple(offsets.shape)}: give the frames as one row")
    dive = parse_dive(record.action)
    drawn = torch.rand(len(DRAWS), generator=generator, device=generator.device).tolist()
    uniform = dict(zip(DRAWS, drawn, strict=True))
    sway = {name: settings.nuisance * (2 * value - 1) for name, value in uniform.items()}
    # faults beyond 1.6 would bend joints beyond their anatomical range
    fault = {k: min(settings.visibility * (1 - f), 1.6) for k, f in zip(FACTORS, factors.tolist(), strict=True)}
    height = 10 if dive.armstand else board_height(record.action, record.difficulty)

    times = flight_times(record, dive, settings, uniform)
    begin, contact = times[0], times[-1] + CONTACT * (times[-1] - times[0])
    frames = torch.cat([offsets.cpu().float(), torch.tensor([begin, contact])])  # (R,) = T frames, take-off, contact
    u = (frames - begin) / (contact - begin)
    bounds = [(t - begin) / (contact - begin) for t in times]
    late = 0.07 * fault["rotation"] + 0.02 * sway["opening"]
    folds, twist, opened = _windows(bounds, _twist_phases(record, dive, len(times) - 1), dive, late)
    pose = pose_track(u, folds, twist, opened, dive, fault, uniform, settings.nuisance)

    # total = half_somersaults * pi, plus or minus under- or over-rotation by the faults of rotation and entry
    sense = -1.0 if dive.direction in ("forward", "back") else 1.0
    if dive.armstand:
        sense = 1.0 if dive.direction == "reverse" else -1.0
    over = uniform["over"] < 0.25
    missed = 0.42 * fault["rotation"] + (0.15 if over else 0.6) * fault["rotation"] ** 2 + 0.25 * fault["entry"]
    total = dive.half_somersaults * math.pi + (missed if over else -missed)
    # angle so far = integral of 1 + spin * fold, scaled to the total; the figure leaves the board leaning outward
    spun = u.clamp(0, 1)
    for start, full, opening, end in folds:
        inside = u.clamp(0, 1)
        spun = spun + SPIN[dive.position] * (_step_integral(inside, start, full) - _step_integral(inside, opening, end))
    lean = (0.25 if dive.armstand else 0.14 + 0.04 * sway["lean"]) if sense < 0 else 0.02
    turned = lean * smooth_step(u, -0.22, 0.0) + (total - lean) * spun / spun[-1]
    about = torch.zeros_like(u)
    if twist:
        about = (math.pi * dive.half_twists - 0.4 * fault["rotation"]) * smooth_step(u, *twist)
        about = about if uniform["foremost"] < 0.5 else -about
    facing = -1.0 if dive.direction in ("back", "inward") else 1.0
    start = math.pi if dive.armstand else 0.0

    tall = 1 + 0.06 * sway["height"]
    shares = dict.fromkeys(BONES, tall)
    shares |= {bone: tall * (1 + 0.05 * sway["legs"]) for bone in ("thigh", "shank")}
    shares |= {bone: tall * (1 + 0.05 * sway["arms"]) for bone in ("upper arm", "forearm")}
    bones = {bone: length * shares[bone] for bone, length in BONES.items()}
    joints = _turn(pose_joints(pose, bones, tall), start + sense * turned, about, facing)
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
