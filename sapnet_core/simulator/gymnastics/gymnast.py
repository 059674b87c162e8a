"""The gymnast: quality factors, motion and scene of a Rhythmic Gymnastics routine, as `simulator.simulate` calls them.

The record's group gives the apparatus, its difficulty the number and level of elements
(`simulator/gymnastics/routine.py`), its penalty whether the gymnast steps over the border. Each quality factor has its
own fault, which grows with 1 - factor. The whole routine is computed at the video's frame rate, then sampled.
"""

import math

import torch
import torch.nn.functional as F
from torch import Tensor

from sapnet_core.datasets.records import Record
from sapnet_core.simulator.body import ANGLES, body_joints, grounded, oriented
from sapnet_core.simulator.figure import smooth_step
from sapnet_core.simulator.floor import FloorScene
from sapnet_core.simulator.gymnastics.apparatus import APPARATUS, carry, sample
from sapnet_core.simulator.gymnastics.elements import Routine
from sapnet_core.simulator.gymnastics.hall import draw_hall
from sapnet_core.simulator.gymnastics.routine import COLUMNS, ELEMENTS, compose
from sapnet_core.simulator.motion import Motion
from sapnet_core.simulator.quality import draw_factors
from sapnet_core.simulator.settings import SimSettings

__all__ = ["FACTORS", "quality_factors", "shown_scores", "perform", "draw_scene", "gymnast_routine"]

# The factors stand for: amplitude of splits, leaps and bends; knees, feet and back; free arm; balance and landings;
# complete turns; clean handling and catches; no drop of the apparatus; fluent movement.
FACTORS = ("amplitude", "posture", "arms", "balance", "turns", "handling", "drops", "flow")
PART_OF = (0, 0, 0, 1, 1, 2, 2, 0)  # of each factor: lines and movement; balance and turns; apparatus
TEN = 10.0  # execution score of a perfect performance
GRAVITY = 9.81  # m/s2
SHORTEST = 10.0  # shortest routine in seconds that has room for an element
PAD = 1.6  # seconds computed before the start, for motion that lags behind, such as a ribbon's
STEP = 0.62  # length of a running step, m
DRAWS = ("tall", "hand", "opening", "closing", "start", "outside", "color", "second", "phase", "gait", "swing")


def quality_factors(record: Record, settings: SimSettings, generator: torch.Generator) -> Tensor:
    """Draw the quality factors (F,) of a record in the order of `FACTORS`, around its execution score over ten."""
    quality = min(max(record.sub_score("execution") / TEN, 0.0), 1.0)
    return draw_factors(quality, settings, generator, PART_OF)


def shown_scores(record: Record, factors: Tensor) -> dict[str, float]:
    """Scores that the simulated quality is worth, in points: "score", which is difficulty + 10 * mean(factors) -
    penalty, and its parts "difficulty" and "execution"."""
    difficulty, execution = record.sub_score("difficulty"), TEN * float(factors.mean())
    return {
        "score": difficulty + execution - record.sub_score("penalty"),
        "difficulty": difficulty,
        "execution": execution,
    }


def _read(record: Record, factors: Tensor, settings: SimSettings, generator: torch.Generator) -> tuple:
    """Random draws by name, faults by factor, and the routine composed from them. Raises as `perform`."""
    if record.group not in APPARATUS:
        raise ValueError(f"record {record.key} has group {record.group!r}: give one of {', '.join(APPARATUS)}")
    if factors.shape != (len(FACTORS),):
        raise ValueError(f"factors have shape {tuple(factors.shape)}: give one for each of {', '.join(FACTORS)}")
    if record.frames < SHORTEST * record.rate:
        seconds = record.frames / record.rate
        raise ValueError(f"record {record.key} lasts {seconds:.1f} s: a routine takes {SHORTEST:.0f} seconds or more")
    drawn = torch.rand(len(DRAWS) + ELEMENTS * len(COLUMNS), generator=generator, device=generator.device).cpu()
    drawn = (0.5 + settings.nuisance * (drawn - 0.5)).clamp(0, 0.9999).tolist()
    uniform = dict(zip(DRAWS, drawn, strict=False))
    rows = [
        dict(zip(COLUMNS, drawn[first : first + len(COLUMNS)], strict=True))
        for first in range(len(DRAWS), len(drawn), len(COLUMNS))
    ]
    fault = {k: min(settings.visibility * (1 - f), 1.6) for k, f in zip(FACTORS, factors.tolist(), strict=True)}
    marks = record.sub_score("difficulty"), record.sub_score("penalty")
    return uniform, fault, compose(record.frames / record.rate, *marks, record.group, rows, uniform, fault)


def gymnast_routine(record: Record, factors: Tensor, settings: SimSettings, generator: torch.Generator) -> Routine:
    """The routine that `perform` shows for the same arguments: elements, throws and drops with their times."""
    return _read(record, factors, settings, generator)[2]


def _smoothed(track: Tensor, sd: float) -> Tensor:
    """A track (R, C) smoothed along its rows by a Gaussian of `sd` rows."""
    reach = math.ceil(3 * sd)
    kernel = torch.exp(-0.5 * (torch.arange(-reach, reach + 1) / sd) ** 2)
    padded = F.pad(track.T[:, None], (reach, reach), mode="replicate")  # (C, 1, R + 2 reach)
    return F.conv1d(padded, (kernel / kernel.sum()).view(1, 1, -1))[:, 0].T


def _walked(routine: Routine, t: Tensor, walk: Tensor, faces: Tensor, rate: float, jerk: float) -> tuple:
    """Path on the floor (R, 2), heading (R,), speed (R,) and phase of the steps (R,)."""
    path = routine.place(t, 0.6 * jerk)
    moved = F.pad((path[2:] - path[:-2]) * (0.5 * rate), (0, 0, 1, 1))  # (R, 2) m/s
    speed = moved.norm(dim=1)
    along = smooth_step(speed, 0.2, 1.3) * walk
    way = moved * torch.tensor([1.0, -1.0]) / speed.clamp(min=1e-3)[:, None]  # heading 90 degrees is -z
    faces = torch.lerp(F.normalize(faces, dim=1), way, along[:, None])
    angle = torch.atan2(faces[:, 1], faces[:, 0])
    step = (angle.diff() + math.pi).remainder(2 * math.pi) - math.pi  # in (-pi, pi]
    heading = _smoothed((angle[0] + F.pad(step, (1, 0)).cumsum(0))[:, None], 0.2 * rate)[:, 0]
    phase = math.pi / STEP * (speed * walk).cumsum(0) / rate
    return path, heading, speed * walk, phase


def _posed(
    t: Tensor,
    rows: dict,
    routine: Routine,
    speed: Tensor,
    phase: Tensor,
    hand: int,
    both: bool,
    fault: dict,
    uniform: dict,
    unsteady: Tensor,
) -> Tensor:
    """Pose (R, 17) from keyframes, steps, swings of the handling arm, and faults of posture, arms and balance."""
    pose = torch.stack([rows[name] for name in ANGLES], 1)
    at = {name: i for i, name in enumerate(ANGLES)}
    legs, knees, feet, lift, spread, elbows = (
        slice(at[f"left_{part}"], at[f"left_{part}"] + 2)
        for part in ("hip", "knee", "ankle", "shoulder", "spread", "elbow")
    )
    # steps: the legs swing in opposition, and the knee bends as its leg swings forward
    pace = smooth_step(speed, 0.1, 1.6)[:, None]
    beat = phase[:, None] + torch.tensor([0.0, math.pi])
    swing = (beat.cos() + 0.2).clamp(min=0)
    pose[:, legs] += pace * (0.62 * beat.sin() + 0.1 + 0.25 * swing)
    pose[:, knees] += pace * (0.15 + 0.95 * swing)
    pose[:, feet] += pace * (0.5 * swing - 0.45)
    pose[:, at["trunk"]] += 0.08 * pace[:, 0]
    # arms: the handling arm swings; with clubs, both do
    clean = 1 - 0.5 * min(fault["handling"], 1.3)
    turn = 2 * math.pi * ((0.5 + 0.2 * uniform["swing"]) * t + uniform["gait"])
    turn = turn + 0.8 * fault["handling"] * torch.sin(2 * math.pi * 0.37 * t)
    for arm in (hand, 1 - hand) if both else (hand,):
        wave = turn if arm == hand else turn + 2.2
        pose[:, lift.start + arm] += rows["handle"] * clean * (0.5 + 1.1 * wave.sin())
        pose[:, spread.start + arm] += rows["handle"] * clean * 0.45 * wave.cos()
    # posture: bent knees, flexed feet, a round back
    soft = fault["posture"]
    pointed = (1 - pose[:, feet] / 0.9).clamp(0, 1)
    pose[:, feet] += soft * (0.2 + 0.95 * pointed)
    pose[:, knees] += 0.42 * soft
    pose[:, legs] += 0.21 * soft
    pose[:, at["trunk"]] += 0.22 * soft
    pose[:, at["neck"]] += 0.25 * soft
    # arms: bent and hanging, most of all the free one
    limp = torch.full((2,), 0.35)
    limp[1 - hand] = 1.0
    limp = limp * min(fault["arms"], 1.4)
    pose[:, elbows] += 0.75 * limp
    pose[:, spread] *= 1 - 0.5 * limp
    pose[:, lift] *= 1 - 0.3 * limp
    # balance: arms and trunk sway
    shaken = unsteady * fault["balance"]
    pose[:, spread] += (0.45 * shaken * torch.sin(2 * math.pi * 1.5 * t))[:, None] * torch.tensor([1.0, -0.8])
    pose[:, at["bend"]] += 0.2 * shaken * torch.sin(2 * math.pi * 1.3 * t + 1)
    return pose


def _leapt(joints: Tensor, routine: Routine, rate: float) -> Tensor:
    """Lift joints (R, 16, 3), which stand on the floor, so that the hips fly a parabola in each leap; in place."""
    for start, end in routine.leaps:
        a, b = (round((time + PAD) * rate) for time in (start, end))
        if b - a < 2 or b >= len(joints):
            continue
        s = torch.arange(b - a + 1) / (b - a)
        hips = joints[a : b + 1, 8:10, 1].mean(1)
        flown = torch.lerp(hips[0], hips[-1], s) + 0.5 * GRAVITY * ((b - a) / rate) ** 2 * s * (1 - s)
        joints[a : b + 1, :, 1] += (flown - hips).clamp(min=0)[:, None]
    return joints


@torch.no_grad()
def perform(
    record: Record, offsets: Tensor, factors: Tensor, settings: SimSettings, generator: torch.Generator
) -> Motion:
    """The motion of a gymnast who performs a record.

    Args:
        record: its group is the apparatus; its duration and its sub-scores "difficulty" and "penalty" determine the
            routine. Its score and its sub-score "execution" are ignored.
        offsets: (T,) frames to show, counted from `record.start`, non-decreasing, gaps allowed.
        factors: (F,) quality factors in [0, 1], in the order of `FACTORS`.
        settings: `visibility` scales the faults, `nuisance` the differences between routines and gymnasts.
        generator: generator of the individual differences; the number of draws is constant.

    Raises:
        ValueError: the apparatus is unknown, the record is shorter than `SHORTEST` seconds, or an argument has a wrong
            shape.
    """
    if offsets.dim() != 1 or not len(offsets):
        raise ValueError(f"offsets have shape {tuple(offsets.shape)}: give the frames as one row")
    uniform, fault, routine = _read(record, factors, settings, generator)
    rate, hand = record.rate, 1 if uniform["hand"] < 0.8 else 0
    pad = round(PAD * rate)
    t = (torch.arange(record.frames + pad) - pad) / rate  # (R,) seconds
    jerk = 0.22 * fault["flow"]
    rows = routine.rows(t, jerk)
    faces = torch.stack([rows["facing_x"], rows["facing_z"]], 1)
    path, heading, speed, phase = _walked(routine, t, rows["walk"], faces, rate, jerk)
    edges = [((a, a + 0.25, share), (b - 0.25, b, -share)) for a, b, share in routine.unsteady]
    unsteady = routine.sum_of([edge for pair in edges for edge in pair], t)
    pose = _posed(t, rows, routine, speed, phase, hand, record.group == "Clubs", fault, uniform, unsteady)
    shaken = unsteady * fault["balance"]
    roll = shaken * (0.13 * torch.sin(2 * math.pi * 1.1 * t + 2) + 0.06 * torch.sin(2 * math.pi * 2.3 * t))
    pitch = routine.sum_of(routine.rolls, t) + 0.1 * shaken * torch.sin(2 * math.pi * 0.9 * t)
    turned = heading + routine.sum_of(routine.turns, t)
    tall = 0.95 * (1 + 0.05 * settings.nuisance * (2 * uniform["tall"] - 1))
    lift = 0.05 * smooth_step(speed, 0.5, 2.0) * phase.sin().square() + 0.07 * (1 - pitch.cos()).clamp(max=1)
    joints = grounded(oriented(body_joints(pose, tall), turned, pitch, roll), lift)
    joints = _leapt(joints, routine, rate)
    joints[..., ::2] += path[:, None]
    at = offsets.cpu().float().clamp(0, record.frames - 1) + pad
    props = carry(
        record.group, joints, heading, routine, at, rate=rate, first=-PAD, hand=hand, fault=fault, uniform=uniform
    )
    now = sample(t, at)
    subactions = torch.zeros(len(at), dtype=torch.int64)
    for number, (start, end, _) in enumerate(routine.spans, 1):
        subactions[(now >= start) & (now < end)] = number
    clock = offsets.cpu().float() / (0.16 * rate)
    return Motion(joints=sample(joints, at), subactions=subactions, props=props, clock=clock)


def draw_scene(settings: SimSettings, generator: torch.Generator, *, frames: int, motion: Motion) -> FloorScene:
    """Draw the hall around a routine of `frames` frames; `motion` is ignored."""
    return draw_hall(settings, generator, frames=frames)
