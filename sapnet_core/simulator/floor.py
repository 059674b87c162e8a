"""Scenes with a floor (a hall or a rink): everything in view that is independent of the score.

The camera looks down by `pitch` and is orthographic: a world point (x, y, z) appears at x' = x, y' = y cos pitch - z
sin pitch, so that the floor y = 0 is a band of the image. Each sport paints its own background (`paint_hall`,
`paint_rink`); lighting, camera, people and noise are drawn here, as `simulator/diving/scene.py` does for the pool.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from sapnet_core.simulator.diving.scene import bystander_joints
from sapnet_core.simulator.settings import SimSettings

__all__ = ["FloorScene", "draw_floor"]


@dataclass(frozen=True)
class FloorScene:
    """A floor with its lighting, camera and people. Lengths are in meters, colors RGB in [0, 1]."""

    painter: Callable  # (scene, scale, device) -> canvas (3, Hc, Wc), its upper left (x', y') in meters
    pitch: float  # downward angle of the camera, radians
    view: float  # height of the image, m
    mirrored: bool
    lag: float  # delay of the camera behind the actor, in units of 0.16 s
    zoom: tuple[float, float, float]  # amplitude, frequency, phase of the slow zoom
    shake: float  # sd of the camera's shake, m
    jitter: Tensor  # (T, 2) noise that shakes the camera
    gain: Tensor  # (T, 3) brightness of each frame and color channel
    sensor: float  # sd of the sensor noise, as a fraction of full scale
    grain: Tensor  # (L,) bank of noise samples, read from a different position for each frame
    starts: Tensor  # (T,) relative position in `grain` at which each frame starts to read, in [0, 1)
    palette: Tensor  # (12, 3): eight colors for the painter, then skin, suit, hair, and one more for the painter
    whole_suit: bool  # the suit covers the trunk; otherwise only the hips
    people: Tensor  # (B, 17) bystanders: columns as for the pool, but 4 (y) is ignored and 16 is the position z
    texture: float  # contrast of crowd, floor and walls
    nuisance: float  # size of the differences between scenes
    draws: Tensor  # (64,) uniform numbers for the painter
    noise: Tensor  # (6, 40, 160) uniform grids for the painter's textures
    yaw = 0.0  # the camera does not turn about the vertical, so that the floor's edges stay level

    def paint(self, scale: float, device) -> tuple[Tensor, tuple[float, float]]:
        """The static background (3, Hc, Wc) in [0, 1] at `scale` pixels per meter, and (x', y') of its upper left
        corner in meters."""
        return self.painter(self, scale, device)

    def standing(self, frames: int) -> Tensor:
        """Joints of the bystanders, (B, T, 16, 3) in meters."""
        people = self.people.clone()
        people[:, 4] = 0
        joints = bystander_joints(people, frames)
        joints[..., 2] += people[:, 16, None, None]
        return joints


def draw_floor(
    settings: SimSettings,
    generator: torch.Generator,
    *,
    frames: int,
    painter: Callable,
    base: Tensor,
    hue: Tensor,
    view: float,
    pitch: float,
    spots: Tensor,
) -> FloorScene:
    """Draw a scene from `settings` and a CPU `generator`, independently of the quality of the performance.

    Args:
        frames: T, the number of sampled frames.
        painter: function that paints the background.
        base, hue: (12, 3) colors, and (12,) range over which each varies.
        view, pitch: image height in meters and downward angle in radians, both varied slightly.
        spots: (P, 2) possible positions (x, z) of bystanders; `settings.bystanders` of them are used.
    """

    def u(*shape):
        return torch.rand(*shape, generator=generator)

    def n(*shape):
        return torch.randn(*shape, generator=generator)

    nuisance, camera = settings.nuisance, settings.camera
    palette = base + nuisance * hue[:, None] * ((u(12, 1) - 0.5) + 0.7 * (u(12, 3) - 0.5))
    palette[8] *= 1 - 0.5 * nuisance * u(()) ** 1.5
    people = u(settings.bystanders, 17)
    place = spots[torch.randperm(len(spots), generator=generator)[: len(people)]]
    people, place = people[: len(place)], place[: len(people)]
    people[:, 0] = torch.where(people[:, 0] < 0.7, 0.0, 2.0)  # most wait, some wave
    people[:, 3], people[:, 16], people[:, 5] = place[:, 0], place[:, 1], 0.0
    people[:, 6] = 0.9 + 0.15 * people[:, 6]
    people[:, 9:12] = 0.1 + 0.7 * people[:, 9:12]
    people[:, 12:15] *= 0.5 * people[:, 12:13]
    return FloorScene(
        painter=painter,
        pitch=pitch * (1 + 0.15 * nuisance * (2 * u(()).item() - 1)),
        view=view * (1 + 0.08 * nuisance * (2 * u(()).item() - 1)),
        mirrored=u(()).item() < 0.5,
        lag=0.3 + 1.5 * camera * u(()).item(),
        zoom=(0.1 * camera * u(()).item(), 0.01 + 0.02 * u(()).item(), 2 * math.pi * u(()).item()),
        shake=0.03 * camera,
        jitter=n(frames, 2),
        gain=(1 + 0.02 * nuisance * n(frames, 1)) * (1 + nuisance * (0.1 * (u(1, 1) * 2 - 1) + 0.04 * n(1, 3))),
        sensor=settings.sensor_noise,
        grain=n(1 << 17),
        starts=u(frames),
        palette=palette.clamp(0.02, 0.98),
        whole_suit=True,
        people=people,
        texture=settings.texture,
        nuisance=nuisance,
        draws=u(64),
        noise=u(6, 40, 160),
    )
