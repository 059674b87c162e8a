"""Composition of a Rhythmic Gymnastics routine with a given difficulty.

The number and the level of the elements follow the difficulty; their order and their positions on the carpet come from
uniform draws that do not depend on the quality. Times are in seconds, positions (x, z) in meters.
"""

import math

from sapnet_core.simulator.gymnastics.elements import SIDEWARD, Composer, Routine, Throw

__all__ = ["CARPET", "COLUMNS", "ELEMENTS", "KINDS", "compose", "element_count"]

KINDS = ("leap", "throw", "pivot", "balance", "throw", "wave")  # kinds of six elements, shuffled for every six
ELEMENTS = 20  # number of rows of random draws, enough for the elements of any routine
COLUMNS = ("order", "level", "leg", "x", "z", "bow", "yaw", "form", "under", "drop", "aside", "play", "pattern")
OPENING, CLOSING = 1.6, 2.6  # duration of the opening and of the closing pose in seconds
SHORTEST = 4.3  # minimum time for an element and the way to it, seconds
PACE = 2.2  # maximum mean speed between elements, m/s
CARPET = 6.5  # half of the carpet's side, m


def element_count(difficulty: float, seconds: float) -> int:
    """Number of elements: from 8 at a difficulty of 2 points to 18 at 14 points, limited by the available time."""
    wanted = round(8 + 10 * _level(difficulty))
    return max(1, min(wanted, int((seconds - OPENING - CLOSING) / SHORTEST)))


def compose(
    seconds: float,
    difficulty: float,
    penalty: float,
    apparatus: str,
    draws: list[dict],
    uniform: dict[str, float],
    fault: dict[str, float],
) -> Routine:
    """Compose the routine of a record.

    Args:
        seconds: duration of the video.
        difficulty, penalty: points of the record; a penalty becomes a step over the border of the carpet.
        apparatus: "Ball", "Clubs", "Hoop" or "Ribbon".
        draws: `ELEMENTS` rows of uniform draws by the names of `COLUMNS`.
        uniform: random draws "hand", "opening", "closing", "start", "outside".
        fault: size of each fault by quality factor, from 0 (none) to 1.6.
    """
    routine = Routine()
    composer = Composer(routine, 1 if uniform["hand"] < 0.8 else 0, fault)
    count = element_count(difficulty, seconds)
    kinds, slot = _kinds(draws, count), (seconds - OPENING - CLOSING) / count
    levels = [min(max(_level(difficulty) + 0.3 * (row["level"] - 0.5), 0.0), 1.0) for row in draws[:count]]
    starts = [OPENING + slot * (i + 1) - _seconds(kinds[i], levels[i]) for i in range(count)]
    throws = [i for i, kind in enumerate(kinds) if kind == "throw"]
    ranks = sorted(throws, key=lambda i: (draws[i]["drop"], i))  # a growing fault drops the throws in this order
    outside = int(uniform["outside"] * count) if penalty > 0 else -1

    place = (4 * uniform["start"] - 2, 4 * uniform["closing"] - 2)
    composer.facing = (1.0 if place[0] < 0 else -1.0, 0.3)
    for time in (-2.0, OPENING - 0.4):
        composer.pose(time, uniform["opening"])
    routine.path += [(-2.0, *place, 0.0, 0.0), (OPENING, *place, 0.0, 0.0)]
    last = OPENING
    for i, (kind, level, start) in enumerate(zip(kinds, levels, starts, strict=True)):
        row = draws[i]
        goal = _goal(place, start - last, row, penalty if i == outside else 0.0)
        composer.work = int(row["leg"] < 0.5)
        composer.facing = _facing(kind, place, goal, row)
        _travel(composer, apparatus, last, start, place, goal, row)
        routine.patterns.append((0.5 * (last + start), float(row["pattern"] < 0.4)))
        last, place = _perform(composer, kind, level, start, goal, row)
        if kind == "throw":
            threshold = 1.15 * (ranks.index(i) + 0.3 + 0.5 * row["aside"]) / len(throws)
            if fault["drops"] > threshold:
                last, place = _drop(composer, place, row, starts[i + 1])
    composer.facing = (composer.facing[0], 0.4)
    routine.path += [(seconds - CLOSING + 0.6, *place, 0.0, 0.0), (seconds + 9.0, *place, 0.0, 0.0)]
    for time in (seconds - CLOSING + 1.2, seconds + 9.0):
        composer.pose(time, uniform["closing"])
    return routine


def _level(difficulty: float) -> float:
    return min(max((difficulty - 2) / 12, 0.0), 1.0)


def _kinds(draws: list[dict], count: int) -> list[str]:
    """Kinds of the elements: each group of six has all `KINDS` in random order, and the last element is no throw."""
    kinds = []
    for first in range(0, count, len(KINDS)):
        rows = [row["order"] for row in draws[first : first + len(KINDS)]]
        kinds += [KINDS[i] for i in sorted(range(len(rows)), key=lambda i: (rows[i], i))]
    return [*kinds[: count - 1], "balance" if kinds[count - 1] == "throw" else kinds[count - 1]]


def _seconds(kind: str, level: float) -> float:
    """Duration of a well-performed element in seconds."""
    return {
        "leap": 1.38 + 0.16 * level,
        "pivot": 1.3 + 0.4 * round(1 + 2.6 * level),
        "balance": 2.5 + 0.8 * level,
        "wave": 2.5,
        "throw": 2.63 + 0.5 * level,
    }[kind]


def _goal(place: tuple, seconds: float, row: dict, penalty: float) -> tuple[float, float]:
    """Position of the next element: across the carpet as far as the time allows, or over its border."""
    goal = (9 * row["x"] - 4.5, 8.4 * row["z"] - 4.2)
    share = min(1.0, PACE * seconds / max(math.dist(goal, place), 1e-6))
    goal = tuple(p + share * (g - p) for p, g in zip(place, goal, strict=True))
    if penalty:
        beyond = CARPET + 0.35 + 0.5 * min(penalty, 1.2)
        across = abs(goal[1]) > abs(goal[0])
        return (goal[0], math.copysign(beyond, goal[1])) if across else (math.copysign(beyond, goal[0]), goal[1])
    return goal


def _facing(kind: str, place: tuple, goal: tuple, row: dict) -> tuple[float, float]:
    """Cosine and sine of the heading in an element: leaps follow the path, other elements are seen from the side."""
    yaw = 1.1 * (row["yaw"] - 0.5)
    if kind in ("pivot", "balance") and row["form"] >= SIDEWARD:
        yaw -= 0.5 * math.pi  # face the camera, since a leg lifted sideward is hidden in a side view
    ahead = goal[0] > place[0] if kind == "leap" else row["aside"] < 0.5
    return (math.cos(yaw) if ahead else -math.cos(yaw), math.sin(yaw))


def _perform(composer: Composer, kind: str, level: float, start: float, goal: tuple, row: dict) -> tuple:
    """Add an element at `goal` and return time and position of its end. Leaps and lost balances move the gymnast."""
    path, (x, z) = composer.routine.path, composer.facing
    z = -z  # a heading of 90 degrees points away from the camera
    run, fast, slow = (1.3, 2.9, 2.2) if kind == "leap" else (0.0, 0.0, 0.0)
    path.append((start, goal[0] - run * x, goal[1] - run * z, fast * x, fast * z))
    end = getattr(composer, kind)(start, level, row)
    step = 0.35 * composer.fault["balance"] if kind in ("balance", "pivot") else 0.0
    if step:
        path.append((start + 0.62 * (end - start), *goal, 0.0, 0.0))
    place = (goal[0] + (run + step) * x, goal[1] + (run + step) * z)
    path.append((end, *place, slow * x, slow * z))
    composer.routine.spans.append((start, end, kind))
    return end, place


def _travel(composer: Composer, apparatus: str, last: float, start: float, place, goal, row: dict) -> None:
    """Add steps from one element to the next along a curve, during which the apparatus is bounced, tossed or spun."""
    routine, gap = composer.routine, start - last
    if gap > 0.7:
        for time in (last + 0.3, start - 0.3):
            composer.key(time, walk=1.0, handle=1.0, h=(1.1, 0.6, 0.2))
    if gap > 1.2:
        bow = 1.2 * (2 * row["bow"] - 1) * min(1.0, gap / 3)
        across = goal[1] - place[1], place[0] - goal[0]
        far = max(math.hypot(*across), 1.0)
        middle = [0.5 * (p + g) + bow * a / far for p, g, a in zip(place, goal, across, strict=True)]
        middle = [min(max(m, 1.3 - CARPET), CARPET - 1.3) for m in middle]
        speed = [1.2 * (g - p) / gap for p, g in zip(place, goal, strict=True)]
        routine.path.append((last + 0.5 * gap, *middle, *speed))
    for play in range(int((gap - 0.3) / 1.5)):
        middle, chosen = last + 1.0 + 1.5 * play, (row["play"] + 0.37 * play) % 1
        if apparatus == "Ball" and chosen < 0.5:
            routine.throws.append(Throw(middle - 0.38, middle + 0.42, bounced=True))
        elif apparatus in ("Ball", "Clubs") and chosen < 0.75:
            routine.throws.append(Throw(middle - 0.3, middle + 0.35))
        else:
            routine.plays.append((middle - 0.5, middle + 0.6))


def _drop(composer: Composer, place: tuple, row: dict, after: float) -> tuple:
    """Add a missed catch: the apparatus falls and rolls, and the gymnast retrieves it before the time `after`.

    Returns the time and the gymnast's position at which she has it again.
    """
    routine, size = composer.routine, composer.fault["drops"]
    thrown = routine.throws.pop()
    angle, far = 2 * math.pi * row["drop"] * 7.3, 0.7 + 0.9 * size
    lies = [min(max(p + far * a, 0.4 - CARPET), CARPET - 0.4) for p, a in zip(place, _point(angle), strict=True)]
    routine.keys = [key for key in routine.keys if key[0] <= thrown.end]
    pick = min(thrown.end + 0.95 + 0.3 * size, after - 0.55)
    composer.key(thrown.end + 0.35, trunk=0.2, neck=0.2, walk=1.0, handle=0.0, h=(0.8, 0.4, 0.3))
    composer.key(pick - 0.3, trunk=0.4, walk=1.0, handle=0.0, h=(0.9, 0.3, 0.2))
    for time in (pick, pick + 0.12):
        composer.key(time, trunk=1.15, neck=-0.2, s=(1.3, 0.0, 1.9), w=(1.0, 0.1, 2.0), h=(0.75, 0.1, 0.05), handle=0.0)
    composer.key(pick + 0.45, walk=1.0)
    near = tuple(x - 0.45 * (x - p) / far for x, p in zip(lies, place, strict=True))
    routine.path[-1] = (thrown.end + 0.1, *place, 0.0, 0.0)
    routine.path += [(pick - 0.05, *near, 0.0, 0.0), (pick + 0.25, *near, 0.0, 0.0)]
    held = Throw(thrown.start, thrown.end, thrown.spins, thrown.both, pick=pick, place=(lies[0], lies[1]))
    routine.throws.append(held)
    return pick + 0.3, near


def _point(angle: float) -> tuple[float, float]:
    return math.cos(angle), math.sin(angle)
