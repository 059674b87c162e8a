"""The poses of a skater, from which a program (`simulator/skating/program.py`) is made, with blends and faulty forms.

The poses are those of a skater who turns to the left; each has a mirror image under its name with " right" appended.
"""

from sapnet_core.simulator.body import ANGLES

__all__ = ["CHANNELS", "POSES", "between", "worse_spin"]

# Channels besides the pose angles: the weight on each foot (a foot with weight has a level blade, and the figure stands
# over it), pitch and roll of the whole body in radians, and an offset along the path in meters.
CHANNELS = (*ANGLES, "left_down", "right_down", "pitch", "roll", "drift")


def _pose(**angles: float) -> dict[str, float]:
    """A pose from its nonzero channels. `arms=(elevation, spread, elbow)` and `legs=(hip, abduct, knee)` set both
    sides; `left_arm`, `right_leg` and so on set one limb, a single leg with an optional ankle angle."""
    pose = {}
    for part, names in (("arms", ("shoulder", "spread", "elbow")), ("legs", ("hip", "abduct", "knee"))):
        for name, value in zip(names, angles.pop(part, ()), strict=False):
            pose |= {f"left_{name}": value, f"right_{name}": value}
    for side in ("left", "right"):
        for part, names in (("arm", ("shoulder", "spread", "elbow")), ("leg", ("hip", "abduct", "knee", "ankle"))):
            for name, value in zip(names, angles.pop(f"{side}_{part}", ()), strict=False):
                pose[f"{side}_{name}"] = value
    return pose | angles


def _mirrored(pose: dict[str, float]) -> dict[str, float]:
    swapped = {"left": "right", "right": "left"}
    turned = {}
    for name, value in pose.items():
        side, _, part = name.partition("_")
        name = f"{swapped[side]}_{part}" if side in swapped else name
        turned[name] = -value if name in ("bend", "roll") else value
    return turned


WRAPPED = {"arms": (0.75, -0.30, 1.75)}
POSES = {
    "open": _pose(
        left_arm=(2.7, 0.35, 0.3),
        right_arm=(0.2, 1.15, 0.2),
        bend=0.12,
        right_leg=(-0.45, 0.12, 0.45, 0.3),
        left_down=1,
    ),
    "final": _pose(
        arms=(2.6, 0.75, 0.15),
        trunk=-0.25,
        neck=-0.25,
        left_leg=(0.75, 0.1, 0.2, 0.4),
        right_leg=(0.25, 0.0, 0.5),
        right_down=1,
    ),
    "gather": _pose(arms=(0.3, 0.95, 0.3), legs=(0.4, 0.05, 0.7), trunk=0.28, left_down=0.5, right_down=0.5),
    "push": _pose(
        left_leg=(0.65, 0.0, 1.05),
        right_leg=(-0.15, 0.8, 0.15, 0.9),
        left_arm=(0.0, 0.95, 0.15),
        right_arm=(0.9, 0.75, 0.3),
        trunk=0.45,
        neck=-0.3,
        left_down=1,
    ),
    "glide": _pose(
        left_leg=(0.35, 0.0, 0.6),
        right_leg=(-0.9, 0.25, 0.1, 0.45),
        left_arm=(0.7, 1.15, 0.1),
        right_arm=(-0.15, 1.3, 0.1),
        trunk=0.3,
        neck=-0.25,
        left_down=1,
    ),
    "cross": _pose(
        left_leg=(-0.55, -0.5, 0.4, 0.9),
        right_leg=(0.75, -0.1, 1.0),
        left_arm=(-0.2, 1.3, 0.1),
        right_arm=(0.9, 0.9, 0.2),
        trunk=0.4,
        neck=-0.2,
        right_down=1,
    ),
    "back": _pose(
        left_leg=(0.35, 0.0, 0.65),
        right_leg=(0.75, 0.35, 0.15, 0.4),
        left_arm=(0.3, 1.3, 0.1),
        right_arm=(0.5, 1.15, 0.1),
        trunk=0.12,
        left_down=1,
    ),
    "both": _pose(arms=(0.15, 0.5, 0.35), legs=(0.25, 0.08, 0.45), trunk=0.15, left_down=0.5, right_down=0.5),
    # before a jump: the long glide, then the take-offs
    "wait": _pose(
        left_leg=(0.4, 0.0, 0.75),
        right_leg=(-0.75, 0.1, 0.1, 0.4),
        left_arm=(0.9, 0.8, 0.1),
        right_arm=(-0.5, 0.9, 0.1),
        trunk=0.45,
        neck=-0.2,
        left_down=1,
    ),
    "Lz": _pose(
        left_leg=(0.8, 0.0, 1.25),
        right_leg=(-0.92, -0.05, 0.1, 0.5),
        left_arm=(1.1, 0.5, 0.1),
        right_arm=(-0.8, 0.5, 0.1),
        trunk=0.65,
        neck=-0.3,
        left_down=1,
    ),
    "T": _pose(
        right_leg=(0.75, 0.0, 1.2),
        left_leg=(-0.9, 0.05, 0.12, 0.5),
        right_arm=(-0.5, 0.7, 0.1),
        left_arm=(1.0, 0.7, 0.1),
        trunk=0.55,
        neck=-0.3,
        right_down=1,
    ),
    "Lo": _pose(
        right_leg=(0.95, 0.0, 1.5),
        left_leg=(1.4, -0.3, 1.15, 0.5),
        right_arm=(-0.2, 0.9, 0.2),
        left_arm=(0.9, 0.7, 0.3),
        trunk=0.35,
        right_down=1,
    ),
    "S": _pose(
        left_leg=(0.75, 0.0, 1.2),
        right_leg=(-0.46, 0.7, 0.3, 0.6),
        left_arm=(0.9, 0.8, 0.2),
        right_arm=(-0.6, 0.9, 0.2),
        trunk=0.35,
        left_down=1,
    ),
    "A": _pose(
        left_leg=(0.85, 0.0, 1.35),
        right_leg=(-0.8, 0.15, 0.35, 0.5),
        arms=(-0.9, 0.4, 0.1),
        trunk=0.45,
        neck=-0.3,
        left_down=1,
    ),
    "spring": _pose(arms=(1.35, 0.15, 0.6), trunk=0.05, left_ankle=0.4, right_ankle=0.4, left_down=0.3, right_down=0.3),
    "swing": _pose(
        arms=(1.5, 0.3, 0.5), right_leg=(1.1, 0.0, 1.0, 0.4), left_leg=(-0.1, 0.0, 0.05, 0.4), left_down=0.5
    ),
    "air": _pose(**WRAPPED, left_leg=(0.16, -0.13, 0.16, 0.3), right_leg=(0.0, -0.13, 0.05, 0.3), neck=0.05),
    "check": _pose(
        arms=(0.9, 0.5, 0.7), left_leg=(0.55, 0.1, 0.8, 0.5), right_leg=(0.25, 0.0, 0.3, 0.6), trunk=0.1, right_down=0.5
    ),
    "touch": _pose(
        arms=(0.5, 1.0, 0.3),
        right_leg=(0.85, 0.0, 1.3),
        left_leg=(-0.4, 0.35, 0.85, 0.5),
        trunk=0.45,
        neck=-0.2,
        right_down=1,
    ),
    "landing": _pose(
        right_leg=(0.3, 0.0, 0.55),
        left_leg=(-1.2, 0.25, 0.05, 0.3),
        left_arm=(-0.1, 1.4, 0.05),
        right_arm=(0.8, 1.15, 0.05),
        trunk=0.4,
        neck=-0.45,
        right_down=1,
    ),
    "step out": _pose(
        left_leg=(0.35, 0.3, 0.25),
        right_leg=(0.15, 0.2, 0.55, 0.9),
        arms=(0.9, 1.1, 0.4),
        trunk=0.7,
        left_down=0.6,
        right_down=0.4,
    ),
    "tumble": _pose(
        right_leg=(1.2, 0.1, 1.5), left_leg=(1.0, 0.4, 0.7, 0.8), arms=(0.4, 1.3, 0.3), trunk=0.2, roll=-0.75
    ),
    "seat": _pose(
        right_leg=(1.62, 0.1, 0.15, 0.7),
        left_leg=(1.75, 0.4, 0.45, 0.7),
        left_arm=(0.5, 1.0, 0.3),
        right_arm=(-1.1, 0.5, 0.1),
        trunk=-0.45,
        neck=0.3,
        roll=-0.2,
    ),
    "curl": _pose(right_leg=(2.0, 0.3, 2.5, 0.9), left_leg=(2.3, 0.1, 2.4, 1.2), arms=(0.7, 0.4, 0.2), trunk=0.3),
    "kneel": _pose(
        left_leg=(1.45, 0.1, 1.5), right_leg=(-0.11, 0.1, 1.57, 0.6), arms=(1.0, 0.3, 0.4), trunk=0.6, left_down=1
    ),
    # spins on the left foot
    "wind up": _pose(
        left_leg=(0.8, 0.0, 1.2),
        right_leg=(-0.79, 0.4, 0.18, 0.5),
        left_arm=(0.9, 0.9, 0.1),
        right_arm=(-0.6, 1.0, 0.1),
        trunk=0.4,
        bend=-0.1,
        left_down=1,
    ),
    "upright": _pose(arms=(0.9, -0.25, 2.0), right_leg=(0.83, -0.3, 1.3, 0.4), left_down=1),
    "overhead": _pose(arms=(3.0, -0.08, 0.15), right_leg=(0.83, -0.3, 1.25, 0.4), left_down=1),
    "layback": _pose(
        arms=(2.5, 0.55, 0.5),
        trunk=-1.0,
        neck=-0.5,
        left_leg=(0.12, 0.0, 0.15),
        right_leg=(-0.7, 0.35, 1.0, 0.2),
        left_down=1,
    ),
    "camel": _pose(
        arms=(0.9, 1.25, 0.05),
        trunk=1.4,
        neck=-0.8,
        left_leg=(0.08, 0.0, 0.1),
        right_leg=(-1.65, 0.05, 0.05, 0.15),
        left_down=1,
    ),
    "sit": _pose(
        arms=(1.75, 0.05, 0.15),
        trunk=0.8,
        neck=-0.15,
        left_leg=(1.85, 0.0, 2.25),
        right_leg=(1.5, 0.12, 0.05, 0.3),
        left_down=1,
    ),
    # sequences
    "twizzle": _pose(arms=(0.6, 1.25, 0.2), left_leg=(0.2, 0.0, 0.35), right_leg=(0.95, -0.15, 1.37, 0.4), left_down=1),
    "lunge": _pose(
        left_leg=(1.25, 0.0, 1.75), right_leg=(-1.18, 0.1, 0.08, 1.0), arms=(0.3, 1.3, 0.1), trunk=0.25, left_down=1
    ),
    "kick": _pose(
        left_leg=(0.35, 0.0, 0.6),
        right_leg=(1.25, 0.2, 0.1, 0.3),
        left_arm=(2.3, 0.5, 0.2),
        right_arm=(0.2, 1.35, 0.1),
        trunk=-0.05,
        left_down=1,
    ),
    "sway": _pose(
        left_leg=(0.55, 0.0, 0.95),
        right_leg=(-0.4, 0.65, 0.3, 0.5),
        left_arm=(2.4, 0.7, 0.3),
        right_arm=(0.3, 1.2, 0.2),
        trunk=0.15,
        bend=0.45,
        left_down=1,
    ),
    "spiral": _pose(
        left_leg=(0.02, 0.0, 0.04),
        right_leg=(-1.85, 0.1, 0.03, 0.15),
        arms=(1.0, 1.35, 0.0),
        trunk=1.15,
        neck=-0.8,
        left_down=1,
    ),
    "eagle": _pose(
        left_leg=(0.0, 0.62, 0.05),
        right_leg=(0.0, 0.62, 0.05),
        arms=(0.3, 1.5, 0.0),
        trunk=-0.3,
        neck=-0.2,
        left_down=0.5,
        right_down=0.5,
    ),
}
POSES |= {f"{name} right": _mirrored(pose) for name, pose in POSES.items()}


def between(one: dict[str, float], other: dict[str, float], weight: float) -> dict[str, float]:
    """Linear blend from one pose (`weight` 0) to the other (1)."""
    if weight == 0:
        return one
    names = {**one, **other}
    return {name: (1 - weight) * one.get(name, 0.0) + weight * other.get(name, 0.0) for name in names}


def worse_spin(pose: dict[str, float], name: str, foot: str, poor: float) -> dict[str, float]:
    """A poor form of a spin position: a camel with a low, bent leg, a sit spin too high, a layback too upright.

    `name` is the position, `foot` " right" for a spin on the right foot and "" for one on the left, `poor` the size of
    the fault, from 0 (none) to 1.6.
    """
    carries, free = ("right", "left") if foot else ("left", "right")
    changes = {
        "camel": {
            f"{free}_hip": 0.7,
            f"{free}_knee": 0.75,
            "trunk": -0.3,
            f"{carries}_knee": 0.2,
            f"{carries}_hip": 0.1,
        },
        "sit": {f"{carries}_hip": -0.62, f"{carries}_knee": -0.85, f"{free}_hip": -0.35, f"{free}_knee": 0.35},
        "layback": {"trunk": 0.5, "neck": 0.3, f"{free}_hip": 0.3, "left_elbow": 0.4, "right_elbow": 0.4},
    }.get(name, {f"{free}_abduct": 0.35, "left_spread": 0.3, "right_spread": 0.3, "trunk": 0.15})
    return pose | {key: pose.get(key, 0.0) + value * poor for key, value in changes.items()}
