"""A skater's costume: boots and blades, a skirt, or trousers and sleeves, as capsules over the figure's joints."""

import torch
import torch.nn.functional as F
from torch import Tensor

from sapnet_core.simulator.motion import Props

__all__ = ["costume"]


def costume(joints: Tensor, woman: bool, drawn: list[float], nuisance: float) -> Props:
    """Boots and blades with a woman's skirt or a man's trousers and sleeves, over the joints (T, 16, 3) in meters.

    The first three values of `drawn`, uniform in [0, 1), give the color; `nuisance` scales how much it varies.
    """
    knee, ankle, toe = joints[:, 10:12], joints[:, 12:14], joints[:, 14:16]  # (T, 2, 3)
    foot = F.normalize(toe - ankle, dim=-1)
    shank = F.normalize(ankle - knee, dim=-1)
    below = F.normalize(shank - (shank * foot).sum(-1, keepdim=True) * foot, dim=-1)
    near = joints.new_tensor([0.0, 0.02, 0.06])  # offset that puts a capsule in front of the limb that it covers
    heel, tip = ankle - 0.05 * foot + 0.085 * below, toe + 0.02 * foot + 0.085 * below
    capsules = [(heel + near, tip + near, 0.016, 0.016, (0.35, 0.37, 0.42))]
    boot = (0.93, 0.91, 0.87) if woman else (0.08, 0.08, 0.09)
    sole, front = ankle - 0.02 * foot + 0.02 * below, toe - 0.03 * foot + 0.025 * below
    capsules.append((sole + near, front + near, 0.06, 0.048, boot))
    capsules.append((ankle - 0.13 * shank + near, ankle + near, 0.055, 0.058, boot))
    hue = torch.tensor(drawn[:3])
    if woman:
        color = 0.08 + 0.8 * (0.5 + nuisance * (hue - 0.5)).clamp(0, 1)
        color = color * torch.tensor([1.0, 0.45, 0.7])
        hips, neck = joints[:, 8:10].mean(1, keepdim=True), joints[:, 1:2]
        spine = F.normalize(neck - hips, dim=-1)
        thighs = F.normalize(knee - joints[:, 8:10], dim=-1).mean(1, keepdim=True)
        hem = hips + 0.13 * thighs - 0.02 * spine
        capsules.insert(0, (hips + 0.1 * spine + near, hem + 2 * near, 0.125, 0.20, tuple(color.tolist())))
    else:
        color = 0.04 + 0.3 * (0.5 + nuisance * (hue - 0.5)).clamp(0, 1)
        hip, color = joints[:, 8:10], tuple((color * torch.tensor([0.8, 0.8, 1.1])).tolist())
        shoulder, elbow, wrist = joints[:, 2:4], joints[:, 4:6], joints[:, 6:8]
        limbs = (hip, knee, 0.095, 0.075), (knee, ankle - 0.04 * shank, 0.075, 0.06), (shoulder, elbow, 0.06, 0.05)
        for a, b, *radii in (*limbs, (elbow, elbow + 0.85 * (wrist - elbow), 0.05, 0.042)):
            capsules.insert(0, (a + near, b + near, *radii, color))
    ends = torch.cat([torch.stack([a, b], 2) for a, b, *_ in capsules], 1)
    each = [(radii, color) for a, _, *radii, color in capsules for _ in range(a.shape[1])]
    return Props(ends, torch.tensor([radii for radii, _ in each]), torch.tensor([color for _, color in each]))
