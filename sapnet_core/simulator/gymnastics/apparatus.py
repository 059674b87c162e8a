"""A gymnast's apparatus: motion of ball, clubs, hoop and ribbon, given the hands and the throws, as capsules.

Held apparatus follows the hand; thrown apparatus flies a parabola from hand to hand; dropped apparatus falls, bounces
and rolls to a place where it lies until it is picked up. Tracks are computed at the full frame rate over the whole
routine, so that a frame does not depend on which other frames are sampled. A ribbon follows the path of the tip of its
stick with a delay that grows along it, carried on by its momentum and pulled down by its weight.
"""

import math

import torch
import torch.nn.functional as F
from torch import Tensor

from sapnet_core.simulator.figure import JOINTS, smooth_step
from sapnet_core.simulator.gymnastics.elements import Routine, Throw
from sapnet_core.simulator.motion import Props

__all__ = ["APPARATUS", "carry", "sample"]

APPARATUS = ("Ball", "Clubs", "Hoop", "Ribbon")
GRAVITY = 9.81  # m/s2
BALL, HOOP, CLUB, STICK = 0.095, 0.42, 0.45, 0.55  # radius, radius, length, length in meters
RIBBON, POINTS, DELAY = 5.6, 28, 0.04  # length in meters; number of capsules; delay from one to the next in seconds
BRIGHT = torch.tensor(
    [
        [0.93, 0.13, 0.20],
        [0.98, 0.80, 0.08],
        [0.10, 0.75, 0.30],
        [0.95, 0.25, 0.70],
        [0.98, 0.50, 0.05],
        [0.20, 0.85, 0.90],
        [0.55, 0.20, 0.85],
        [0.96, 0.96, 0.94],
    ]
)
AT = {name: i for i, name in enumerate(JOINTS)}
UP = torch.tensor([0.0, 1.0, 0.0])


def sample(track: Tensor, at: Tensor) -> Tensor:
    """Rows of a track (R, ...) at fractional indices of any shape: linear interpolation, clamped at both ends."""
    at = at.clamp(0, len(track) - 1)
    low = at.floor().long()
    share = at - low
    if not share.any():
        return track[low]
    share = share.view(*share.shape, *(1,) * (track.dim() - 1))
    return torch.lerp(track[low], track[(low + 1).clamp(max=len(track) - 1)], share)


def _unit(v: Tensor) -> Tensor:
    return F.normalize(v, dim=-1)


def _about(v: Tensor, axis: Tensor, angle: Tensor) -> Tensor:
    """Rotate vectors (R, 3) about perpendicular unit axes (R, 3) or (3,) by angles (R,)."""
    return v * angle.cos()[:, None] + torch.linalg.cross(axis.expand_as(v), v) * angle.sin()[:, None]


def _parabola(start: Tensor, stop: Tensor, share: Tensor, seconds: float) -> Tensor:
    """Free flight between two points (3,): start + (stop - start) s + g T^2 s (1 - s) / 2 upward, at shares s (R,)."""
    s = share[:, None]
    return start + (stop - start) * s + 0.5 * GRAVITY * seconds**2 * s * (1 - s) * UP


def _fly(place: Tensor, axis: Tensor, throw: Throw, rate: float, first: float, low: float, flat: float) -> None:
    """Replace the held track by a thrown one, in place: positions `place` and unit vectors `axis`, both (R, 3), with
    row 0 at `first` seconds and `rate` rows per second.

    `low` is the height of the apparatus's center in meters when it bounces, `flat` when it lies on the floor.
    """
    a, b = (round((time - first) * rate) for time in (throw.start, throw.end))
    a, b = max(a, 0), min(b, len(place) - 1)
    if b - a < 2:
        return
    last, n = (b - a) / rate, torch.arange(a, b + 1)
    share = (n - a) / (b - a)
    held, caught = place[a].clone(), place[b].clone()
    if throw.bounced:
        spot = (held + caught) / 2 * torch.tensor([1.0, 0.0, 1.0]) + low * UP
        m = (a + b) // 2
        down, up = (n[: m - a + 1] - a) / (m - a), (n[m - a :] - m) / (b - m)
        place[a : m + 1] = _parabola(held, spot, down, (m - a) / rate)
        place[m : b + 1] = _parabola(spot, caught, up, (b - m) / rate)
        return
    lies = torch.tensor([throw.place[0], 0.0, throw.place[1]])
    if throw.pick:
        past = lies - caught
        caught = caught + 0.3 * _unit(past * torch.tensor([1.0, 0.0, 1.0])) - 0.1 * UP
    place[a : b + 1] = _parabola(held, caught, share, last)
    # the axis tumbles about a horizontal line and ends in the orientation in which the hand catches it
    level = _unit(torch.linalg.cross(axis[a], UP + 1e-3))
    from_, to = axis[a].clone(), axis[b].clone()
    turned = _about(from_.expand(len(n), 3), level, 2 * math.pi * throw.spins * share)
    axis[a : b + 1] = _unit(turned + share[:, None] * (to - from_))
    if throw.pick:
        c = min(round((throw.pick - first) * rate), len(place) - 1)
        _fall(place, axis, caught, (caught[1] - held[1]) / last - 0.5 * GRAVITY * last, lies, b, c, rate, low, flat)


def _fall(
    place: Tensor,
    axis: Tensor,
    missed: Tensor,
    speed: Tensor,
    lies: Tensor,
    b: int,
    c: int,
    rate: float,
    low: float,
    flat: float,
) -> None:
    """Add the fall, in place: from the point where the catch was `missed` at row b, with upward `speed`, to where the
    apparatus `lies` until it is picked up at row c."""
    stop = min(c + 6, len(place))
    u = (torch.arange(b, stop) - b) / rate
    drop = float(missed[1]) - low
    hit = (float(speed) + math.sqrt(float(speed) ** 2 + 2 * GRAVITY * max(drop, 0.0))) / GRAVITY
    y = missed[1] + speed * u - 0.5 * GRAVITY * u * u
    y = torch.where(u < hit, y, torch.full_like(y, low))
    bounce, begin = (0.4 if low == flat else 0.25) * abs(float(speed) - GRAVITY * hit), hit
    for _ in range(3):  # each bounce is lower
        last = 2 * bounce / GRAVITY
        inside = (u >= begin) & (u < begin + last)
        y = torch.where(inside, low + bounce * (u - begin) - 0.5 * GRAVITY * (u - begin) ** 2, y)
        begin, bounce = begin + last, 0.5 * bounce
    y = y - (low - flat) * smooth_step(u, hit + 0.15, hit + 0.6)
    rest = (c - b) / rate
    y = torch.lerp(y, torch.full_like(y, flat), smooth_step(u, max(rest - 0.45, hit), max(rest - 0.15, hit + 0.1)))
    slow = (1 - torch.exp(-(u - hit).clamp(min=0) / 0.4)) / (1 - math.exp(-max((c - b) / rate - hit, 0.2) / 0.4))
    gone = (0.15 * (u / max(hit, 1e-3)).clamp(max=1) + 0.85 * slow).clamp(max=1)
    path = torch.lerp(missed, lies, gone[:, None])
    path[:, 1] = y.clamp(min=flat)
    lying = UP if low != flat and low > 0.2 else _unit((lies - missed) * torch.tensor([1.0, 0.0, 1.0]) + 1e-3)
    tilted = _unit(torch.lerp(axis[b], lying + 0.02, smooth_step(u, hit, hit + 0.5)[:, None]))
    picked = smooth_step(torch.arange(b, stop).float(), c - 2, c + 5)[:, None]
    place[b:stop] = torch.lerp(path, place[b:stop], picked)
    axis[b:stop] = _unit(torch.lerp(tilted, axis[b:stop], picked))


def _above(place: Tensor, room: Tensor) -> None:
    """Raise positions (R, 3), in place, to at least `room` (R,) above the floor."""
    place[:, 1] = torch.maximum(place[:, 1], room)


def _raised(axis: Tensor, grip: Tensor, length: float, front: Tensor) -> Tensor:
    """Tilt unit vectors `axis` (R, 3) up until an apparatus of this length, held at `grip` by one end, is above the
    floor."""
    up = torch.maximum(axis[:, 1:2], (0.04 - grip[:, 1:2]) / length).clamp(-1, 1)
    level = _unit((axis + 0.02 * front) * torch.tensor([1.0, 0.0, 1.0]))
    return level * (1 - up * up).sqrt() + up * UP


def carry(
    apparatus: str,
    joints: Tensor,
    heading: Tensor,
    routine: Routine,
    at: Tensor,
    *,
    rate: float,
    first: float,
    hand: int,
    fault: dict[str, float],
    uniform: dict[str, float],
) -> Props:
    """The motion of an apparatus through a routine.

    Args:
        apparatus: one of `APPARATUS`.
        joints, heading: joints (R, 16, 3) in meters and heading (R,) in radians of the gymnast.
        routine: gives the times at which the apparatus is thrown, bounced, spun or dropped.
        at: (T,) fractional rows to show.
        rate, first: rows per second, and time of row 0 in seconds.
        hand: the handling hand, 0 left or 1 right.
        fault: faults by quality factor, of which only "handling" is used; drops come from the routine.
        uniform: random draws "color", "second" and "phase".
    """
    loose = fault["handling"]
    t = first + torch.arange(len(joints)) / rate
    forearm, grip = [], []
    for side in ("left", "right"):
        wrist = joints[:, AT[f"{side} wrist"]]
        forearm.append(_unit(wrist - joints[:, AT[f"{side} elbow"]]))
        grip.append(wrist + 0.08 * forearm[-1])
    c, s = heading.cos(), heading.sin()
    zero = torch.zeros_like(c)
    front, left = torch.stack([c, zero, -s], 1), torch.stack([-s, zero, -c], 1)
    colors = BRIGHT[[int(uniform["color"] * 7), 7 if uniform["second"] < 0.5 else int(uniform["second"] * 7)]]
    spun = routine.sum_of([(start, end, 2 * math.pi) for start, end in routine.plays], t)
    spun = spun + 0.35 * loose * torch.sin(2 * math.pi * 1.1 * t)
    thrown = {"rate": rate, "first": first}

    if apparatus == "Ball":
        place, axis = grip[hand] + 0.07 * UP, front.clone()
        for throw in routine.throws:
            _fly(place, axis, throw, low=BALL, flat=BALL, **thrown)
        place[:, 1].clamp_(min=BALL)
        shown = sample(place, at)
        return Props(shown[:, None, None].expand(-1, 1, 2, 3).clone(), torch.full((1, 2), BALL), colors[:1])

    if apparatus == "Clubs":
        ends, radii, dyes = [], [], []
        for side in (hand, 1 - hand):
            swing = 0.8 * torch.sin(2 * math.pi * 1.2 * t + 6.28 * uniform["phase"] + 0.6 * loose * (side == hand))
            swing = swing * (1 - 0.4 * min(loose, 1.0)) + spun * (1 if side == hand else -1)
            level = _unit(forearm[side] - (forearm[side] * left).sum(1, keepdim=True) * left + 0.02 * front)
            axis = _unit(_about(level, left, swing) + 0.4 * (forearm[side] * left).sum(1, keepdim=True) * left)
            axis = _raised(axis, grip[side], CLUB, front)
            place = grip[side] + 0.5 * CLUB * axis
            for throw in routine.throws:
                if side == hand or throw.both:
                    _fly(place, axis, throw, low=0.08, flat=0.035, **thrown)
            _above(place, 0.5 * CLUB * axis[:, 1].abs() + 0.035)
            place, axis = sample(place, at), sample(axis, at)
            for low, high, thin, thick, dye in ((-0.5, 0.0, 0.016, 0.018, 0), (0.0, 0.5, 0.022, 0.04, 0)):
                ends.append(torch.stack([place + low * CLUB * axis, place + high * CLUB * axis], 1))
                radii.append((thin, thick))
                dyes.append(colors[dye])
            ends.append((place - 0.5 * CLUB * axis)[:, None].expand(-1, 2, -1))
            radii.append((0.025, 0.025))
            dyes.append(colors[1])
        return Props(torch.stack(ends, 1), torch.tensor(radii), torch.stack(dyes))

    if apparatus == "Hoop":
        arm = forearm[hand]
        # `away` points from the hand to the hoop's center: along the arm, or up from the floor where the arm hangs; the
        # hoop's plane contains `away`, and its axis points to the left
        away = _unit(arm + 1.3 * (-arm[:, 1:2]).clamp(min=0) * UP + 0.02 * front)
        side = left + 0.3 * front + 0.5 * loose * torch.sin(2 * math.pi * 0.9 * t)[:, None] * UP
        axis = _unit(side - (side * away).sum(1, keepdim=True) * away)
        place = grip[hand] + HOOP * _about(away, axis, spun)
        _above(place, HOOP * (1 - axis[:, 1].square()).clamp(min=0).sqrt() + 0.02)
        for throw in routine.throws:
            _fly(place, axis, throw, low=HOOP, flat=0.02, **thrown)
        _above(place, HOOP * (1 - axis[:, 1].square()).clamp(min=0).sqrt() + 0.02)
        place, axis = sample(place, at), _unit(sample(axis, at))
        lean = torch.where(axis[:, 1:2].abs() > 0.9, torch.tensor([1.0, 0.0, 0.0]), UP)
        one = _unit(torch.linalg.cross(axis, lean))
        two = torch.linalg.cross(axis, one)
        angle = 2 * math.pi * torch.arange(17)[:, None, None] / 16
        rim = (place + HOOP * (angle.cos() * one + angle.sin() * two)).transpose(0, 1)  # (T, 17, 3)
        dyes = colors[[0, 0, 0, 1] * 4]
        return Props(torch.stack([rim[:, :-1], rim[:, 1:]], 2), torch.full((16, 2), 0.02), dyes)

    return _ribbon(joints, forearm[hand], grip[hand], front, routine, at, t, colors, loose, uniform["phase"], thrown)


def _ribbon(
    joints: Tensor,
    forearm: Tensor,
    grip: Tensor,
    front: Tensor,
    routine: Routine,
    at: Tensor,
    t: Tensor,
    colors: Tensor,
    loose: float,
    phase: float,
    thrown: dict,
) -> Props:
    """The motion of the stick, whose tip draws spirals and snakes, and of the ribbon that follows it."""
    out = (grip - joints[:, 8:10].mean(1)) * torch.tensor([1.0, 0.0, 1.0])
    out = _unit(_unit(out) - 0.25 * front)
    main = _unit(forearm + 0.5 * out)
    rise = _unit(UP - (main * UP).sum(1, keepdim=True) * main + 0.05 * out)
    aside = torch.linalg.cross(main, rise)
    knots = sorted({0.0: 0.0, **dict(routine.patterns)}.items())
    steps = [(time - 0.3, time + 0.3, now - before) for (_, before), (time, now) in zip(knots, knots[1:], strict=False)]
    snake = (knots[0][1] + routine.sum_of(steps, t))[:, None].clamp(0, 1)
    wide = 0.62 * (1 - 0.45 * min(loose, 1.3))
    angle = (2 * math.pi * (2.6 * t + phase) + 0.9 * loose * torch.sin(2 * math.pi * 0.7 * t))[:, None]
    circle = angle.cos() * rise + angle.sin() * aside
    wag = torch.sin(0.72 * angle) * rise * 1.15
    axis = _unit(main + wide * torch.lerp(circle, wag, snake))
    axis = _raised(axis, grip, STICK, out)
    place = grip + 0.3 * STICK * axis
    for throw in routine.throws:
        _fly(place, axis, throw, low=0.05, flat=0.02, **thrown)
    _above(place, 0.7 * STICK * axis[:, 1].abs() + 0.02)
    tip = place + 0.7 * STICK * axis
    rows = at[:, None] - thrown["rate"] * DELAY * torch.arange(POINTS + 1)  # (T, 29) earlier rows of the tip
    age = DELAY * torch.arange(POINTS + 1)[:, None]
    drift = 1.5 * out + 0.25 * UP
    trail = sample(tip, rows) + sample(drift, rows) * (0.8 * (1 - torch.exp(-age / 0.8)))
    trail = trail - (0.6 + 1.3 * loose) * age.square() * UP
    run = _unit(trail[:, 1:] - trail[:, :-1]) * (RIBBON / POINTS)  # segments of fixed length
    trail = torch.cat([trail[:, :1], trail[:, :1] + run.cumsum(1)], 1)
    trail[..., 1].clamp_(min=0.02)
    hold = sample(place - 0.3 * STICK * axis, at)
    stick = torch.stack([hold, trail[:, 0]], 1)[:, None]
    ends = torch.cat([stick, torch.stack([trail[:, :-1], trail[:, 1:]], 2)], 1)
    radii = torch.full((POINTS + 1, 2), 0.028)
    radii[0] = torch.tensor([0.012, 0.009])
    share = torch.linspace(0, 1, POINTS)[:, None]
    return Props(ends, radii, torch.cat([BRIGHT[7:], torch.lerp(colors[:1], colors[1:], 0.6 * share)]))
