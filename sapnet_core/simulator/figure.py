"""The articulated figure of a diver: its joints, and its pose at any time of a dive.

Hips, knees, shoulders and elbows bend in the sagittal plane; legs and arms also spread sideways. Time is u: 0 at
take-off, 1 at contact with the water. The pose is a sum of smooth steps in u, to which faults are added.
"""

import math

import torch
from torch import Tensor

from sapnet_core.datasets.dive_numbers import Dive

__all__ = ["JOINTS", "BONES", "MASS", "smooth_step", "approach", "pose_track", "pose_joints"]

PAIRED = ("shoulder", "elbow", "wrist", "hip", "knee", "ankle", "toe")
JOINTS = ("head", "neck", *(f"{side} {part}" for part in PAIRED for side in ("left", "right")))
# Pose angles in radians, 0 = standing straight with the arms down; elevation and flexion are positive to the front.
ANGLES = (
    "hip",
    "knee",
    "ankle",
    "neck",
    "split",
    "scissor",
    "spread",
    "left_shoulder",
    "right_shoulder",
    "left_elbow",
    "right_elbow",
)
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
# Lengths in meters of a figure 1.75 m tall; `MASS` is the fraction of the body mass at each joint, in sum 1.
BONES = {"trunk": 0.50, "head": 0.22, "upper arm": 0.29, "forearm": 0.34, "thigh": 0.43, "shank": 0.43, "foot": 0.22}
WIDTHS = {"shoulders": 0.18, "hips": 0.09}
MASS = torch.tensor([0.07, 0.10, 0.13, 0.13, 0.03, 0.03, 0.02, 0.02, 0.13, 0.13, 0.06, 0.06, 0.035, 0.035, 0.01, 0.01])


def smooth_step(u: Tensor, start: float, end: float) -> Tensor:
    """Smooth step 3x^2 - 2x^3 from 0 at `start` to 1 at `end`."""
    x = ((u - start) / (end - start)).clamp(0, 1)
    return x * x * (3 - 2 * x)


def approach(dive: Dive, uniform: dict, nuisance: float) -> float:
    """Meters walked along the board before a forward or reverse dive; 0 for other dives, which start at its edge."""
    walks = not dive.armstand and dive.direction in ("forward", "reverse")
    return 2.5 * nuisance * max(uniform["approach"] - 0.3, 0.0) if walks else 0.0


def pose_track(
    u: Tensor, folds: list, twist: tuple | None, opened: float, dive: Dive, fault: dict, uniform: dict, nuisance: float
) -> Tensor:
    """Pose angles (R, A), in the order of `ANGLES`, with the faults of height, line, tightness, legs and entry.

    Args:
        u: (R,) times, 0 at take-off and 1 at contact with the water.
        folds: intervals of tuck or pike: (start of folding, folded, start of opening, open) in u.
        twist: interval of the twists (start, end) in u, or None.
        opened: time u at which the opening for the entry begins.
        dive: the parsed dive number.
        fault: size of each fault by quality factor, from 0 (none) to 1.6.
        uniform: random draws in [0, 1) by name.
        nuisance: scale of the individual differences that judges ignore.
    """
    at = {name: i for i, name in enumerate(ANGLES)}
    table = {name: u.new_tensor(values) for name, values in POSES.items()}
    sway = {name: nuisance * (2 * value - 1) for name, value in uniform.items()}
    bend = 1.0 if uniform["bend"] < 0.6 else -0.7  # piked hips (60 %) or an arched back
    air = smooth_step(u, 0.0, 0.12)

    folded = table[dive.position].clone()
    if dive.position == "A":
        folded[at["hip"]] += 0.5 * fault["tightness"]
        folded[at["left_shoulder"] : at["left_elbow"]] += max(sway["arm_style"], 0.0)
    else:  # a loose tuck or pike: hips and knees are more open, and the arms follow
        folded[at["hip"]] -= 0.75 * fault["tightness"]
        if dive.position == "C":
            folded[at["knee"]] -= 0.75 * fault["tightness"]
            folded[at["left_elbow"] :] -= 0.5 * fault["tightness"]
        else:
            folded[at["left_shoulder"] : at["left_elbow"]] -= 0.35 * fault["tightness"]
    folded[at["hip"]] += 0.08 * sway["reach"]
    wrapped = table["twist"].clone()
    if uniform["foremost"] < 0.5:
        wrapped[[7, 8, 9, 10]] = wrapped[[8, 7, 10, 9]]  # exchange the arms: the other one is in front
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
        low = smooth_step(u, -0.34 * tempo, -0.15 * tempo) - smooth_step(u, -0.15 * tempo, -0.01)
        swing = smooth_step(u, -0.6 * tempo, -0.4 * tempo) - smooth_step(u, -0.34 * tempo, -0.17 * tempo)
        drive = math.exp(-0.6 * fault["height"])  # legs and arms that drive little lift the diver little
        depth = (1 + 0.25 * sway["reach"]) * drive
        pose[:, at["knee"]] += 1.3 * depth * low
        pose[:, at["hip"]] += 1.1 * depth * low
        pose[:, at["ankle"]] += 0.75 * depth * low
        raised = (2.2 + 0.7 * sway["arm_style"]) * drive * swing - 0.6 * low
        pose[:, at["left_shoulder"] : at["left_elbow"]] += raised[:, None]
        pose[:, at["spread"]] += 0.6 * swing
        walking = smooth_step(u, -1.4, -1.2) - smooth_step(u, -0.55, -0.42)
        swung = torch.sin(2 * math.pi * ((4 + 1.5 * sway["cadence"]) * u + uniform["phase"]))
        stride = min(approach(dive, uniform, nuisance), 1.0) * walking * swung
        pose[:, at["scissor"]] += 0.4 * stride
        pose[:, at["knee"]] += 0.5 * stride.abs()
        pose[:, at["left_shoulder"] : at["left_elbow"]] += 0.4 * stride[:, None] * u.new_tensor([-1.0, 1.0])
        reach = table["reach"].clone()
        reach[at["left_shoulder"] : at["left_elbow"]] -= 0.6 * fault["height"]
        reach[at["left_elbow"] :] += 0.5 * fault["height"]
        pose = torch.lerp(pose, reach, smooth_step(u, -0.15 * tempo, 0.0)[:, None])
        pose[:, at["left_shoulder"] : at["left_elbow"]] += (0.25 * sway["reach"] * air)[:, None]
    if twist:
        weight = smooth_step(u, twist[0], twist[0] + 0.1) - smooth_step(u, twist[1] - 0.08, twist[1] + 0.02)
        pose = torch.lerp(pose, wrapped, weight[:, None])
    fold = torch.zeros_like(u)
    for start, full, opening, end in folds:
        weight = smooth_step(u, start, full) - smooth_step(u, opening, end)
        pose = torch.lerp(pose, folded, weight[:, None])
        fold = fold + weight
    pose = torch.lerp(pose, entry, smooth_step(u, opened + 0.01, opened + 0.15)[:, None])

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


def pose_joints(pose: Tensor, bones: dict[str, float], scale: float) -> Tensor:
    """Pose angles (R, A) to joints (R, 16, 3) in body coordinates: (front, up, left), hips at the origin.

    `bones` maps the names of `BONES` to lengths in meters; `scale` multiplies the `WIDTHS` of shoulders and hips.
    """
    hip, knee, ankle, neck, split, scissor, spread, *arm = pose.unbind(1)
    elevation, elbow = torch.stack(arm[:2], 1), torch.stack(arm[2:], 1)  # (R, 2) left, right
    side = pose.new_tensor([1.0, -1.0])
    # When the hips flex, trunk and legs each turn by half of the angle from the body's long axis to the front.
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
