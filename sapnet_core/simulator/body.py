"""The asymmetric figure: forward kinematics for gymnasts and skaters.

Unlike a diver's pose (`simulator/figure.py`), left and right limbs have separate angles, and the trunk bends sideways
and backward. All angles are in radians; 0 is standing straight with the arms down.
"""

import torch
from torch import Tensor

from sapnet_core.simulator.figure import BONES, WIDTHS

__all__ = ["ANGLES", "body_joints", "oriented", "grounded"]

# Pose angles in radians. trunk: lean forward (+) or backward (-) relative to the pelvis; bend: lean to the left (+);
# neck: nod forward. hip: flexion, the thigh forward (+) or backward (-); abduct: the thigh out to its own side; knee:
# flexion (heel back); ankle: 0 is a stretched foot, pi / 2 a flat one. shoulder: elevation of the arm to the front (pi:
# overhead); spread: the arm out to its own side; elbow: flexion. The arms follow half of the trunk's lean and all of
# its bend.
ANGLES = (
    "trunk",
    "bend",
    "neck",
    "left_hip",
    "right_hip",
    "left_abduct",
    "right_abduct",
    "left_knee",
    "right_knee",
    "left_ankle",
    "right_ankle",
    "left_shoulder",
    "right_shoulder",
    "left_spread",
    "right_spread",
    "left_elbow",
    "right_elbow",
)


def body_joints(pose: Tensor, scale: float = 1.0) -> Tensor:
    """Pose angles (R, A), order `ANGLES`, to joints (R, 16, 3), order `figure.JOINTS`.

    Coordinates are relative to the body: (front, up, left) in meters, hips at the origin. `scale` 1 is 1.75 m tall.
    """
    trunk, bend, neck = pose[:, :3].unbind(1)
    hip, abduct, knee, ankle, shoulder, spread, elbow = pose[:, 3:].unflatten(1, (7, 2)).unbind(1)  # (R, 2) left, right
    size = {name: scale * length for name, length in BONES.items()}
    side = pose.new_tensor([1.0, -1.0])

    def limb(angle: Tensor, out: Tensor, length: float) -> Tensor:  # (R, 2) angles: 0 hangs down, + is to the front
        c = out.cos() * length
        return torch.stack([angle.sin() * c, -angle.cos() * c, side * out.sin() * length], -1)  # (R, 2, 3)

    def tilted(arm: Tensor) -> Tensor:  # arms (R, 2, 3) turned by half of the trunk's lean and all of its bend
        front, up, left = arm.unbind(-1)
        c, s = (0.5 * trunk)[:, None].cos(), (0.5 * trunk)[:, None].sin()
        front, up = front * c + up * s, up * c - front * s
        c, s = bend[:, None].cos(), bend[:, None].sin()
        return torch.stack([front, up * c - left * s, left * c + up * s], -1)

    def upward(lean: Tensor, length: float) -> Tensor:  # vectors (R, 3) along the spine for a lean (R,)
        return length * torch.stack([lean.sin() * bend.cos(), lean.cos() * bend.cos(), bend.sin()], -1)

    top = upward(trunk, size["trunk"])  # (R, 3) hips to neck
    head = top + upward(trunk + neck, size["head"])
    across = torch.stack([torch.zeros_like(bend), -bend.sin(), bend.cos()], -1)  # (R, 3) toward the left shoulder
    shoulders = 0.92 * top[:, None] + WIDTHS["shoulders"] * scale * side[:, None] * across[:, None]
    elbows = shoulders + tilted(limb(shoulder, spread, size["upper arm"]))
    wrists = elbows + tilted(limb(shoulder + elbow, spread, size["forearm"]))
    hips = (WIDTHS["hips"] * scale * side[:, None] * pose.new_tensor([0.0, 0.0, 1.0])).expand(len(pose), 2, 3)
    knees = hips + limb(hip, abduct, size["thigh"])
    ankles = knees + limb(hip - knee, abduct, size["shank"])
    toes = ankles + limb(hip - knee + ankle, abduct, size["foot"])
    return torch.cat([head[:, None], top[:, None], shoulders, elbows, wrists, hips, knees, ankles, toes], 1)


def oriented(joints: Tensor, heading: Tensor, pitch: Tensor | float = 0.0, roll: Tensor | float = 0.0) -> Tensor:
    """Rotate joints (R, 16, 3) from body coordinates to world axes: x right, y up, z toward the camera.

    Args:
        heading: (R,) direction of the front: 0 to the right of the image, pi / 2 away from the camera.
        pitch, roll: (R,) or a number; rotation of the whole body about the hips in radians, forward and to its left.
    """
    front, up, left = joints.unbind(-1)
    pitch, roll = (torch.as_tensor(angle).to(joints).expand(len(joints))[:, None] for angle in (pitch, roll))
    front, up = front * pitch.cos() + up * pitch.sin(), up * pitch.cos() - front * pitch.sin()
    left, up = left * roll.cos() + up * roll.sin(), up * roll.cos() - left * roll.sin()
    c, s = heading.cos()[:, None], heading.sin()[:, None]
    # heading 0: front is +x and left is -z (away); a turn to the left moves the front from +x to -z
    return torch.stack([front * c - left * s, up, -front * s - left * c], -1)


def grounded(joints: Tensor, lift: Tensor | float = 0.0, sole: float = 0.03) -> Tensor:
    """Move figures (R, 16, 3) vertically so that the lowest joint is `sole` + `lift` meters above the floor y = 0."""
    joints = joints.clone()
    joints[..., 1] += (sole + lift - joints[..., 1].amin(1))[:, None]
    return joints
