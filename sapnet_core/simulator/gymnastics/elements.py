"""The elements of a Rhythmic Gymnastics routine as keyframes of the body.

Between keyframes the body moves by smooth steps. Faults of amplitude, balance, turns and handling change the keyframes;
other faults are added to the motion in `simulator/gymnastics/gymnast.py`. Times are seconds from the start of the
routine, angles radians, positions meters on the floor.
"""

import math
from dataclasses import dataclass, field

import torch
from torch import Tensor

from sapnet_core.simulator.body import ANGLES

__all__ = ["CHANNELS", "SIDEWARD", "Composer", "Routine", "Throw"]

# Columns of a keyframe: the body's angles; amounts of walking (legs) and handling (arms); direction of the body.
CHANNELS = (*ANGLES, "walk", "handle", "facing_x", "facing_z")
SIDEWARD = 0.75  # form draws from this value on lift the leg to the side


@dataclass(frozen=True)
class Throw:
    """A throw: the apparatus leaves the hand at `start` and is caught at `end`. If `pick` is set, the catch is missed,
    and the apparatus lies at `place` (x, z) until it is picked up at the time `pick`."""

    start: float
    end: float
    spins: int = 1  # rotations of the apparatus in the air
    both: bool = False  # both clubs are thrown
    bounced: bool = False  # the apparatus bounces off the floor on its way
    pick: float | None = None
    place: tuple[float, float] = (0.0, 0.0)


@dataclass
class Routine:
    """A composed routine: keyframes (time, row of `CHANNELS`), path (time, x, z, vx, vz), and timed events."""

    keys: list = field(default_factory=list)
    path: list = field(default_factory=list)
    turns: list = field(default_factory=list)  # (start, end, angle) about the vertical
    rolls: list = field(default_factory=list)  # (start, end, angle) forward
    leaps: list = field(default_factory=list)  # (take-off, landing)
    throws: list = field(default_factory=list)
    plays: list = field(default_factory=list)  # intervals (start, end) in which the apparatus is spun in the hand
    unsteady: list = field(default_factory=list)  # intervals (start, end, amount) in which balance may be lost
    spans: list = field(default_factory=list)  # (start, end, kind) of the elements
    patterns: list = field(default_factory=list)  # (time, 0 spirals or 1 snakes) of a ribbon

    def rows(self, t: Tensor, jerk: float) -> dict[str, Tensor]:
        """Every channel at the times t (R,); with `jerk`, in [0, 0.4], limbs start late and move faster."""
        times, rows = t.new_tensor([time for time, _ in self.keys]), t.new_tensor([row for _, row in self.keys])
        k = (torch.searchsorted(times, t, right=True) - 1).clamp(0, len(times) - 2)
        x = ((t - times[k]) / (times[k + 1] - times[k])).clamp(0, 1)
        x = ((x - jerk) / (1 - 2 * jerk)).clamp(0, 1)
        at = torch.lerp(rows[k], rows[k + 1], (x * x * (3 - 2 * x))[:, None])  # (R, C)
        return dict(zip(CHANNELS, at.unbind(1), strict=True))

    def place(self, t: Tensor, jerk: float) -> Tensor:
        """Position of the gymnast, (R, 2) as (x, z): cubic curves through the points of the path."""
        knots = t.new_tensor(self.path)  # (W, 5)
        k = (torch.searchsorted(knots[:, 0].contiguous(), t, right=True) - 1).clamp(0, len(knots) - 2)
        start, stop = knots[k], knots[k + 1]
        last = (stop[:, :1] - start[:, :1]).clamp(min=1e-3)
        x = ((t[:, None] - start[:, :1]) / last).clamp(0, 1)
        x = ((x - jerk) / (1 - 2 * jerk)).clamp(0, 1)
        rest = 1 - x
        near = rest * rest * ((1 + 2 * x) * start[:, 1:3] + x * last * start[:, 3:])
        return near + x * x * ((3 - 2 * x) * stop[:, 1:3] - rest * last * stop[:, 3:])

    def sum_of(self, steps: list, t: Tensor) -> Tensor:
        """Sum of the smooth steps (start, end, amount) at times t (R,)."""
        if not steps:
            return torch.zeros_like(t)
        start, end, amount = t.new_tensor(steps).unbind(1)
        x = ((t[:, None] - start) / (end - start)).clamp_(0, 1)  # (R, S)
        return (x * x * (3 - 2 * x)) @ amount


class Composer:
    """Appends elements to a routine. The working leg is lifted, the supporting leg stands; one hand handles the
    apparatus.

    The methods `leap`, `pivot`, `balance`, `wave` and `throw` add an element that begins at time t, with a level in
    [0, 1] and a row of uniform draws, and return the time of its end.

    Args:
        routine: routine to which elements are appended.
        hand: the handling hand, 0 left or 1 right.
        fault: size of each fault by quality factor, from 0 (none) to 1.6.
    """

    def __init__(self, routine: Routine, hand: int, fault: dict[str, float]):
        self.routine, self.hand, self.fault = routine, hand, fault
        self.work, self.facing = 0, (1.0, 0.0)
        self.size = 1 - 0.42 * fault["amplitude"]  # amplitude of splits and bends
        self.wide = 0.6 + 0.4 * self.size

    def key(
        self,
        time: float,
        trunk=0.06,
        bend=0.0,
        neck=0.0,
        s=(0.0, 0.03, 0.05),
        w=(0.0, 0.03, 0.05),
        h=(0.9, 0.7, 0.25),
        f=(0.1, 1.2, 0.2),
        *,
        walk=0.0,
        handle=0.25,
    ) -> None:
        """Add a keyframe: hip, abduction, knee and ankle of the supporting (s) and the working leg (w); elevation,
        spread and elbow of the handling (h) and the free arm (f). A foot without an ankle angle is flat."""
        row = [0.0] * len(CHANNELS)
        side = 1.0 if self.work else -1.0  # away from the working leg
        row[:3] = trunk, side * bend, neck
        for leg, values in ((self.work, w), (1 - self.work, s)):
            ankle = values[3] if len(values) > 3 else math.pi / 2 - values[0] + values[2]
            row[3 + leg], row[5 + leg], row[7 + leg], row[9 + leg] = *values[:3], ankle
        for arm, values in ((self.hand, h), (1 - self.hand, f)):
            row[11 + arm], row[13 + arm], row[15 + arm] = values
        row[17:] = walk, handle, *self.facing
        keys = self.routine.keys
        if keys and time <= keys[-1][0]:
            time = keys[-1][0] + 0.02
        keys.append((time, row))

    def leap(self, t: float, level: float, row: dict) -> float:
        """Split leap, stag leap or, at a high level, ring leap: take-off from one leg, landing on the other."""
        split = (2.35 + 0.8 * level) * self.size
        flight = (0.46 + 0.16 * level) * (1 - 0.2 * min(self.fault["amplitude"], 1.2))
        form = "ring" if level > 0.7 and row["form"] < 0.6 else "stag" if row["form"] > 0.65 else "split"
        front = (0.55 * split + (0.25 if form == "stag" else 0.0), 0.0, 1.9 if form == "stag" else 0.0, 0.0)
        back = (-0.5 * split, 0.0, 1.25 * self.size if form == "ring" else 0.0, 0.0)
        trunk = -0.75 * self.size if form == "ring" else -0.12
        up, down, shaky = t + 0.36, t + 0.36 + flight, self.fault["balance"]
        arms = {"h": (2.4, 0.5, 0.1), "f": (0.2, 1.5, 0.05)}
        self.key(t, w=(0.5, 0.0, 0.5, 0.6), h=(0.3, 0.6, 0.3), f=(0.2, 0.9, 0.3), walk=1.0)
        swung = {"h": (-0.4, 0.4, 0.2), "f": (-0.4, 0.5, 0.2)}
        self.key(t + 0.2, trunk=0.2, s=(0.5, 0.0, 0.85), w=(-0.3, 0.0, 0.5, 0.4), **swung)
        self.key(up, trunk=0.0, s=(-0.35, 0.0, 0.05, 0.3), w=(0.6 * front[0], 0.0, 0.5, 0.0), **arms)
        self.key(up + 0.38 * flight, trunk=trunk, neck=-0.2, s=back, w=front, **arms)
        self.key(up + 0.66 * flight, trunk=trunk, neck=-0.2, s=back, w=(0.95 * front[0], *front[1:]), **arms)
        self.key(down, s=(-0.75 * self.wide, 0.0, 0.1, 0.0), w=(0.35, 0.0, 0.25, 0.9), h=(1.6, 0.7, 0.1))
        low = 0.6 + 0.5 * shaky
        self.key(down + 0.2, trunk=0.15 + 0.4 * shaky, w=(0.55 * low + 0.1, 0.0, low), s=(-0.6, 0.0, 0.5, 0.2))
        self.key(down + 0.55, walk=1.0)
        self.routine.leaps.append((up, down))
        self.routine.unsteady.append((down, down + 0.9, 0.8))
        return down + 0.55

    def lifted(self, form: float, level: float) -> dict:
        """Pose with a leg lifted for a pivot or a balance, backward, forward or sideward by `form`; the higher the
        level, the higher the leg. Below level 0.3, the foot stays at the other knee."""
        high = (0.75 + 0.35 * level) * self.size
        if level < 0.3:
            return {"w": (1.45 * self.wide, 0.35, 2.3, 0.1), "trunk": 0.0}
        if form < 0.35:  # arabesque
            return {"w": (-1.75 * high, 0.0, 0.0, 0.0), "trunk": 0.45, "neck": -0.3}
        if form < 0.55:  # attitude
            return {"w": (-1.55 * high, 0.15, 0.9, 0.0), "trunk": 0.15, "neck": -0.3}
        if form < SIDEWARD:  # forward
            return {"w": (2.1 * high, 0.1, 0.0, 0.0), "trunk": -0.1}
        return {"w": (0.15, 2.3 * high, 0.0, 0.0), "trunk": 0.0, "bend": 0.35 * self.size}

    def pivot(self, t: float, level: float, row: dict) -> float:
        """One to four turns on the ball of one foot; steps complete the turns that a fault leaves incomplete."""
        turns, missed = round(1 + 2.6 * level), self.fault["turns"]
        up, end = t + 0.5, t + 0.75 + 0.4 * turns
        shape = self.lifted(row["form"], level - 0.15)
        arms = {"h": (2.7, 0.35, 0.2), "f": (0.6, 1.2, 0.35)}
        heel = (0.05, 0.0, 0.1, 0.45 + 0.9 * min(missed, 1.0))
        self.key(t, walk=0.5)
        begun = {"h": (0.9, 0.4, 0.4), "f": (0.2, 1.4, 0.2)}
        self.key(t + 0.35, trunk=0.15, s=(0.4, 0.0, 0.8), w=(-0.25, 0.1, 0.5, 1.2), **begun)
        self.key(up + 0.25, s=(0.0, 0.0, 0.0, 0.45), **shape, **arms)
        self.key(end - 0.2 * min(missed, 1.5), s=heel, **shape, **arms)
        self.key(end + 0.28, trunk=0.15, s=(0.35, 0.0, 0.7), w=(-0.3, 0.15, 0.2, 0.5))
        self.key(end + 0.55, walk=0.5)
        whole, sense = 2 * math.pi * turns, 1.0 if self.work else -1.0
        short = min(0.28 * missed * whole, 0.9 * math.pi * (0.4 + missed))
        self.routine.turns.append((t + 0.38, end, sense * (whole - short)))
        self.routine.turns.append((end + 0.3, end + 1.0, sense * short))
        self.routine.unsteady.append((up, end + 0.4, 0.7))
        return end + 0.55

    def balance(self, t: float, level: float, row: dict) -> float:
        """A pose held on one foot: leg low, arabesque, attitude, leg forward or sideward, or a penché, head down."""
        hold, shaky = 1.1 + 0.8 * level, self.fault["balance"]
        shape = self.lifted(row["form"], level + 0.1)
        arms = {"h": (1.9, 0.35, 0.05), "f": (0.0, 1.55, 0.05)}
        if level > 0.55 and row["form"] < 0.3:  # penché
            shape = {"w": (-2.75 * self.wide, 0.0, 0.0, 0.0), "trunk": 1.35 * self.wide, "neck": -0.5}
            arms = {"h": (1.7, 0.3, 0.0), "f": (-0.5, 1.3, 0.0)}
        half = {"w": (0.7 * shape["w"][0], 0.6 * shape["w"][1], 1.0, 0.0), "trunk": 0.5 * shape["trunk"]}
        full, end = t + 0.95, t + 0.95 + hold
        foot = (0.0, 0.0, 0.02, 0.5 if level > 0.35 else math.pi / 2)
        self.key(t, walk=0.5)
        self.key(t + 0.45, s=(0.15, 0.0, 0.3), **half)
        self.key(full, s=foot, **shape, **arms, handle=0.12)
        early = hold * (1 - 0.55 * min(shaky, 1.3))  # the leg comes down early
        self.key(full + 0.9 * early, s=foot, **shape, **arms, handle=0.12)
        if shaky > 0.05:
            low = min(shaky, 1.3)
            down = tuple(a * (1 - 0.6 * low) for a in shape["w"])
            self.key(
                min(full + 0.9 * early + 0.3, end - 0.05),
                trunk=0.3 + 0.3 * low,
                s=(0.3 * low, 0.0, 0.6 * low),
                w=down,
                h=(1.2, 1.0, 0.4),
                f=(0.6, 1.4, 0.5),
            )
        self.key(end + 0.12, trunk=0.1, s=(0.2, 0.0, 0.4), w=tuple(0.3 * a for a in shape["w"][:3]))
        self.key(end + 0.45, walk=0.5)
        self.routine.unsteady.append((t + 0.6, end + 0.2, 1.0))
        return end + 0.45

    def wave(self, t: float, level: float, row: dict) -> float:
        """A wave of the body from a deep fold over the knees into a back bend."""
        deep = (0.8 + 0.35 * level) * self.size
        self.key(t, walk=0.5)
        self.key(
            t + 0.6,
            trunk=1.35 * deep,
            neck=0.5,
            s=(0.6, 0.0, 0.7),
            w=(0.4, 0.0, 0.9),
            h=(0.7, 0.15, 0.1),
            f=(0.5, 0.15, 0.1),
        )
        self.key(
            t + 1.15,
            trunk=0.1,
            neck=0.4,
            s=(0.45, 0.0, 1.1),
            w=(0.2, 0.0, 0.9, 1.6),
            h=(1.2, 0.2, 0.2),
            f=(1.0, 0.2, 0.2),
        )
        self.key(
            t + 1.75,
            trunk=-1.15 * deep,
            neck=-0.5,
            s=(0.15, 0.0, 0.3, 0.9),
            w=(-0.5, 0.0, 0.1, 0.2),
            h=(2.9, 0.2, 0.05),
            f=(2.7, 0.4, 0.05),
        )
        self.key(
            t + 2.0,
            trunk=-1.1 * deep,
            neck=-0.5,
            s=(0.15, 0.0, 0.3, 0.9),
            w=(-0.5, 0.0, 0.1, 0.2),
            h=(3.0, 0.3, 0.05),
            f=(2.0, 1.0, 0.05),
        )
        self.key(t + 2.5, walk=0.5)
        self.routine.unsteady.append((t + 1.4, t + 2.4, 0.6))
        return t + 2.5

    def throw(self, t: float, level: float, row: dict) -> float:
        """A high throw: the gymnast turns or rolls while the apparatus is in the air, then catches it."""
        flight, loose = 1.05 + 0.5 * level, self.fault["handling"]
        out, back = t + 0.78, t + 0.78 + flight + 0.18 * min(loose, 1.5)
        rolls = level > 0.6 and row["under"] < 0.55
        dip = {"s": (0.4, 0.0, 0.8), "w": (0.3, 0.1, 0.7), "trunk": 0.25}
        self.key(t, walk=0.5)
        self.key(t + 0.45, **dip, h=(-0.5, 0.35, 0.1), f=(0.9, 0.5, 0.2), handle=0.0)
        self.key(
            out,
            trunk=-0.15,
            neck=-0.3,
            s=(0.0, 0.0, 0.0, 0.5),
            w=(-0.3, 0.1, 0.1, 0.4),
            h=(2.6, 0.15, 0.05),
            f=(0.3, 1.2, 0.1),
            handle=0.0,
        )
        begin, end = out + 0.18, out + flight - 0.3
        if rolls:
            leg, arm = (2.1, 0.0, 2.3), (1.3, 0.3, 0.6)
            for time in (begin + 0.12, end):
                self.key(time, trunk=1.0, neck=0.6, s=leg, w=leg, h=arm, f=arm, handle=0.0)
            self.routine.rolls.append((begin, end + 0.05, 2 * math.pi))
        else:
            turns, missed = 1 + round(1.4 * level), 0.2 * self.fault["turns"]
            leg, arm = (0.1, 0.05, 0.1, 0.6), (1.5, 0.2, 1.0)
            for time in (begin + 0.1, end - 0.05):
                self.key(time, neck=-0.2, s=leg, w=leg, h=arm, f=arm, handle=0.0)
            whole = 2 * math.pi * turns
            self.routine.turns.append((out + 0.1, end + 0.1, whole * (1 - missed)))
            self.routine.turns.append((back + 0.2, back + 0.9, whole * missed))
        self.key(
            back,
            trunk=-0.1 + 0.55 * loose,
            neck=-0.25,
            h=(2.35 - 1.2 * loose, 0.2, 0.1),
            f=(0.5, 1.2, 0.15),
            s=(0.15 + 0.5 * loose, 0.0, 0.2 + 0.8 * loose),
            w=(-0.2 - 0.3 * loose, 0.1, 0.2, 0.6),
            handle=0.0,
        )
        self.key(back + 0.4, s=(0.3, 0.0, 0.6), w=(-0.3, 0.1, 0.4, 0.8), h=(0.4, 0.5, 0.2), trunk=0.15)
        self.key(back + 0.8, walk=0.8)
        both = level > 0.5 and row["play"] < 0.6
        self.routine.throws.append(Throw(out, back, spins=2 + round(level), both=both))
        return back + 0.8

    def pose(self, t: float, form: float) -> None:
        """Pose at the start or the end of a routine, by `form`: kneeling, arched, or bent forward."""
        if form < 0.35:
            self.key(
                t, trunk=-0.25, neck=-0.3, s=(0.0, 0.0, 1.6, 0.0), w=(1.5, 0.1, 1.5), h=(2.6, 0.5, 0.2), handle=0.1
            )
        elif form < 0.7:
            self.key(
                t,
                trunk=-0.4,
                neck=-0.3,
                s=(0.1, 0.0, 0.1),
                w=(-0.4, 0.1, 0.1, 0.1),
                h=(2.8, 0.3, 0.1),
                f=(0.0, 1.4, 0.2),
                handle=0.1,
            )
        else:
            self.key(
                t,
                trunk=0.8,
                neck=0.4,
                s=(0.5, 0.0, 0.6),
                w=(0.7, 0.1, 0.0, 0.9),
                h=(1.2, 0.6, 0.1),
                f=(-0.3, 1.3, 0.1),
                handle=0.1,
            )
