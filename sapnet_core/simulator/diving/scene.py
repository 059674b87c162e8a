"""The scene around a dive: everything in view that is independent of the score.

A `Scene` depends only on its own generator and the settings, so that two dives that differ only in quality have
bit-identical scenes. Lengths are meters in the image plane: x away from the board, y up, the water at y = 0. Random
numbers come from a CPU generator and are then moved to a device, so that a scene is the same on every device.
"""

import math
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from sapnet_core.simulator.figure import BONES, pose_joints

__all__ = ["Scene", "draw_scene", "paint_canvas", "bystander_joints"]

LEFT, RIGHT, BOTTOM, HEADROOM = -7.0, 8.0, -4.0, 5.5  # extent of the background in meters; headroom is above the board

# Postures of bystanders, in the pose angles of the figure: mean and amplitude of a slow oscillation.
POSTURES = torch.tensor(
    [
        [[0.1, 0.0, 1.5, 0, 0.0, 0.00, 0.1, 0.0, 0.0, 0.2, 0.2], [0.1, 0.0, 0, 0.2, 0, 0.00, 0, 0.05, 0.05, 0.1, 0.1]],
        [[0.1, 0.3, 1.5, 0, 0.0, 0.00, 0.1, 0.0, 0.0, 0.4, 0.4], [0.0, 0.3, 0, 0.0, 0, 0.45, 0, -0.5, 0.50, 0.1, 0.1]],
        [[0.0, 0.0, 1.5, 0, 0.0, 0.05, 0.1, 2.6, 0.1, 0.3, 0.2], [0.1, 0.0, 0, 0.1, 0, 0.00, 0, 0.50, 0.05, 0.5, 0.0]],
        [[2.0, 2.0, 1.5, 0, 0.1, 0.00, 0.1, 1.0, 1.1, 0.8, 0.8], [0.1, 0.1, 0, 0.2, 0, 0.00, 0, 0.20, 0.20, 0.2, 0.2]],
        [[0.3, 0.1, 1.5, 0, 0.0, 0.00, 0.1, 2.8, 2.9, 0.1, 0.1], [0.5, 0.1, 0, 0.1, 0, 0.10, 0, 0.30, 0.25, 0.2, 0.2]],
    ]
)  # waits, walks, waves, crouches, stretches
WALK = 1


@dataclass(frozen=True)
class Scene:
    """A pool with its lighting, camera and people. Colors are RGB in [0, 1]; unit-free noise is standard normal."""

    height: float  # height of the board above the water, m
    springboard: bool  # True for a springboard, False for a platform
    view: float  # height of the image, m
    yaw: float  # rotation of the camera about the vertical, radians
    mirrored: bool  # the dive goes to the left
    lag: float  # delay of the camera behind the diver, in sampled frames
    zoom: tuple[float, float, float]  # amplitude, frequency (1/frame), phase of the slow zoom
    shake: float  # sd of the camera's shake, m
    jitter: Tensor  # (T, 2) noise that shakes the camera
    gain: Tensor  # (T, 3) brightness of each frame and color channel
    sensor: float  # sd of the sensor noise, as a fraction of full scale
    grain: Tensor  # (L,) bank of noise samples, read from a different position for each frame
    starts: Tensor  # (T,) relative position in `grain` at which each frame starts to read, in [0, 1)
    palette: Tensor  # (12, 3): wall, upper wall, seat, tower, deck, far and near water, foam, skin, suit, hair, board
    whole_suit: bool  # the suit covers the trunk; otherwise only the hips
    edge: float  # y of the pool's far edge in the image plane, m
    tiles: Tensor  # (4,): width and height of a tile in m, phase, darkness of the joint
    crowd: Tensor  # (3,): bottom and top of the stands in m, opacity
    panels: Tensor  # (P, 8): x, y, half width, half height in m, RGB, opacity
    texture: float  # contrast of wall, crowd and water
    noise: tuple[Tensor, ...]  # noise grids of the textures: clouds, grain, people on the stands, ripples
    # (B, 17) bystanders: posture, frequency, phase, x, y, walk in m/frame, size, side, skin tone, RGB of the suit, RGB
    # of the hair, whether on a balcony, and the draw that chose the place
    people: Tensor
    spray: Tensor  # (D, 4) noise of the droplets
    pitch = 0.0  # the camera looks level

    def paint(self, scale: float, device) -> tuple[Tensor, tuple[float, float]]:
        """The static background, see `paint_canvas`."""
        return paint_canvas(self, scale, device)

    def standing(self, frames: int) -> Tensor:
        """Joints of the bystanders, (B, T, 16, 3) in meters."""
        return bystander_joints(self.people, frames)


def draw_scene(settings, generator: torch.Generator, *, frames: int, height: float, springboard: bool) -> Scene:
    """Draw the scene around one dive from `settings` and a CPU `generator`, independently of the dive's quality.

    `frames` is the number of sampled frames, `height` the height of the board in meters.
    """

    def u(*shape):
        return torch.rand(*shape, generator=generator)

    def n(*shape):
        return torch.randn(*shape, generator=generator)

    nuisance, camera = settings.nuisance, settings.camera
    base = torch.tensor(
        [
            [0.55, 0.58, 0.62],
            [0.62, 0.64, 0.67],
            [0.45, 0.42, 0.42],
            [0.66, 0.66, 0.64],
            [0.70, 0.68, 0.64],
            [0.25, 0.56, 0.70],
            [0.10, 0.40, 0.58],
            [0.92, 0.96, 0.98],
            [0.80, 0.60, 0.47],
            [0.20, 0.16, 0.42],
            [0.20, 0.14, 0.10],
            [0.42, 0.50, 0.58],
        ]
    )
    tone = torch.tensor([0.40, 0.40, 0.25, 0.35, 0.25, 0.15, 0.12, 0.03, 0.0, 0.4, 0.2, 0.3])[:, None]
    hue = torch.tensor([0.16, 0.16, 0.20, 0.06, 0.05, 0.14, 0.12, 0.02, 0.0, 0.7, 0.1, 0.3])[:, None]
    palette = base + nuisance * (tone * (u(12, 1) - 0.5) + hue * (u(12, 3) - 0.5))
    palette[8] *= 1 - 0.5 * nuisance * u(()) ** 1.5  # skin tone from light to dark
    tall, wide = height + HEADROOM - BOTTOM, RIGHT - LEFT
    coarse = math.ceil(tall * 0.8), math.ceil(wide * 0.8)
    edge = 0.5 + 0.9 * u(()).item()
    people = u(settings.bystanders, 17)
    tower, deck = people[:, 16] < 0.25, people[:, 16] > 0.6  # the other bystanders are on balconies
    people[:, 4] = torch.where(tower, height, torch.where(deck, edge + 0.15, 1.5 + (height + 0.5) * people[:, 4]))
    people[:, 3] = torch.where(tower, -1.4 - 2.5 * people[:, 3], -3.0 + 7.0 * people[:, 3])
    people[:, 0] = (people[:, 0] * len(POSTURES)).floor()
    people[:, 5] = torch.where(people[:, 0] == WALK, 0.035 * (0.5 + people[:, 5]), torch.zeros(()))
    people[:, 6] = torch.where(tower, 0.95, 0.7) + 0.2 * people[:, 6]
    people[:, 9:12] = 0.1 + 0.7 * people[:, 9:12]
    people[:, 12:15] *= 0.5 * people[:, 12:13]
    people[:, 15] = ~(tower | deck)
    panels = torch.tensor([LEFT, 1.5, 0.3, 0.15, 0, 0, 0, 0.3]) + u(5, 8) * torch.tensor(
        [wide, height + 3, 1.2, 0.6, 1, 1, 1, 0.5]
    )
    panels[:, 4:7] = 0.5 + nuisance * (panels[:, 4:7] - 0.5)
    low, high, crowded = 1.8 + 2 * u(()).item(), 1.5 + 3.5 * u(()).item(), u(()).item() < 0.75
    return Scene(
        height=height,
        springboard=springboard,
        view=4.9 + 0.5 * nuisance * (2 * u(()).item() - 1),
        yaw=nuisance * math.radians(22) * (2 * u(()).item() - 1),
        mirrored=u(()).item() < 0.5,
        lag=0.4 + camera * 2.2 * u(()).item(),
        zoom=(camera * 0.08 * u(()).item(), 0.01 + 0.02 * u(()).item(), 6.28 * u(()).item()),
        shake=0.03 * camera,
        jitter=n(frames, 2),
        gain=(1 + 0.02 * nuisance * n(frames, 1)) * (1 + nuisance * (0.12 * (u(1, 1) * 2 - 1) + 0.05 * n(1, 3))),
        sensor=settings.sensor_noise,
        grain=n(1 << 17),
        starts=u(frames),
        palette=palette.clamp(0.02, 0.98),
        whole_suit=u(()).item() < 0.5,
        edge=edge,
        tiles=torch.stack([0.4 + 1.2 * u(()), 0.3 + 0.9 * u(()), u(()), 0.12 * nuisance * u(())]),
        crowd=torch.tensor([low, low + high, 0.9 * min(1.0, settings.texture) * crowded]),
        panels=panels,
        texture=settings.texture,
        noise=(
            n(1, 1, *coarse) + 0.25 * n(1, 3, *coarse),
            n(1, 1, math.ceil(tall * 6), math.ceil(wide * 6)),
            0.15 + 0.65 * (0.6 * u(1, 1, 10, 40) + 0.4 * u(1, 4, 10, 40)),
            n(1, 1, math.ceil(tall * 7), math.ceil(wide * 1.6)),
        ),
        people=people,
        spray=torch.cat([n(80, 2), u(80, 2)], 1),
    )


def paint_canvas(scene: Scene, scale: float, device) -> tuple[Tensor, tuple[float, float]]:
    """Paint the static background, larger than any view of it: wall, stands, tower, deck and water.

    Returns (3, Hc, Wc) in [0, 1] at `scale` pixels per meter, and (x, y) of its upper left corner in meters.
    """
    top = scene.height + HEADROOM
    size = round((top - BOTTOM) * scale), round((RIGHT - LEFT) * scale)
    y = (top - (torch.arange(size[0], device=device) + 0.5) / scale)[:, None]
    x = (LEFT + (torch.arange(size[1], device=device) + 0.5) / scale)[None]
    wall, upper, seat, tower, deck, far, near, _, _, _, _, board = scene.palette.to(device)[:, :, None, None]
    tint, *grids = (grid.to(device) for grid in scene.noise)
    cloudy, grainy, ripples = (
        F.interpolate(g, size=size, mode="bilinear", align_corners=False)[0] for g in (tint, grids[0], grids[2])
    )

    def part(left, right, low, high):  # rows and columns of the rectangle between these coordinates in meters
        rows = slice(max(round((top - high) * scale), 0), max(round((top - low) * scale), 0))
        return rows, slice(max(round((left - LEFT) * scale), 0), max(round((right - LEFT) * scale), 0))

    def fill(left, right, low, high, color, opacity=1.0):
        rows, columns = part(left, right, low, high)
        canvas[:, rows, columns] += opacity * (color - canvas[:, rows, columns])

    canvas = wall + ((y - 1) / (top - 1)).clamp(0, 1) * (upper - wall)
    canvas = canvas + scene.texture * (0.05 * cloudy + 0.03 * grainy)
    wide, tall, phase, dark = scene.tiles.tolist()
    canvas *= 1 - dark * torch.maximum(((x / wide + phase) % 1 < 0.06).float(), ((y / tall) % 1 < 0.08).float())
    for px, py, dx, dy, *color, opacity in scene.panels.tolist():
        fill(px - dx, px + dx, py - dy, py + dy, canvas.new_tensor(color)[:, None, None], opacity)

    low, high, opacity = scene.crowd.tolist()
    rows, _ = part(0, 0, low, high)
    across, up = x / 0.42, (y[rows] - low) / 0.8  # one seat is 0.42 m wide, one tier 0.8 m high
    people = grids[1][0][:, up.long(), across.floor().long() - math.floor(LEFT / 0.42)]  # (4, rows, Wc): shirt, skin
    aside, up = (across % 1 - 0.5).abs(), up % 1
    shirt, head = (aside < 0.4) & (up < 0.55), (aside < 0.2) & (up >= 0.55) & (up < 0.9)
    skin = torch.tensor([0.85, 0.62, 0.5], device=device)[:, None, None] * (0.45 + 0.55 * people[3])
    stand = torch.where(head, skin, torch.where(shirt, people[:3], seat * (0.5 + 0.5 * up)))
    canvas[:, rows] += opacity * (stand - canvas[:, rows])

    h, springy = scene.height, scene.springboard
    fill(-4.6, -3.2 if springy else -2.4, -4, h - 0.1, tower * 0.8)
    for level in (h,) if springy else (h, 0.75 * h, 0.5 * h):
        thick, tip, color = (0.08, 0.0, board) if springy else (0.3, 0.0 if level == h else -0.9, tower)
        fill(LEFT, tip, level - thick, level, color * 0.65)
        fill(LEFT, tip, level - 0.3 * thick, level, color * 1.15)
        for rail in (0.5, 1.0):
            fill(LEFT, -1.6, level + rail - 0.05, level + rail, tower * 0.45, 0.8)
    for person in scene.people[scene.people[:, 15] > 0].tolist():
        fill(person[3] - 0.9, person[3] + 0.9, person[4] - 0.15, person[4] + 0.02, tower * 0.55)
    fill(LEFT, RIGHT, scene.edge, scene.edge + 0.35, deck)
    rows, _ = part(0, 0, BOTTOM, scene.edge)
    depth = ((scene.edge - y[rows]) / (scene.edge - BOTTOM)).clamp(0, 1)
    water = far + depth * (near - far) + (0.04 + 0.05 * scene.texture) * ripples[:, rows] * (0.4 + depth)
    canvas[:, rows] = water + 0.03 * cloudy[:, rows]
    return canvas.clamp_(0, 1), (LEFT, top)


def bystander_joints(people: Tensor, frames: int) -> Tensor:
    """Joints (B, T, 16, 3) of the bystanders `people` (B, 17), in meters; they face along the image plane."""
    t = torch.arange(frames)
    mean, swing = POSTURES[people[:, 0].long(), :, None].unbind(1)  # (B, 1, A) each
    wave = torch.sin(6.28 * ((0.01 + 0.02 * people[:, 1:2]) * t + people[:, 2:3]))  # (B, T)
    pose = mean + swing * wave[..., None]  # (B, T, A)
    joints = pose_joints(pose.flatten(0, 1), BONES, 1.0).view(*pose.shape[:2], 16, 3)
    joints[..., 1] -= joints[..., 1].amin(2, keepdim=True)  # their lowest point is on the ground
    joints *= people[:, 6, None, None, None]
    side = torch.where(people[:, 7:8] < 0.5, -1.0, 1.0)  # (B, 1)
    joints[..., 0] = side[..., None] * joints[..., 0] + (people[:, 3:4] + side * people[:, 5:6] * t)[..., None]
    joints[..., 1] += people[:, 4, None, None]
    return joints
