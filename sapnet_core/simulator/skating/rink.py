"""The rink: white ice with markings, boards with adverts, the judges' tables, and stands with spectators."""

import math

import torch
import torch.nn.functional as F
from torch import Tensor

from sapnet_core.simulator.floor import FloorScene, draw_floor
from sapnet_core.simulator.settings import SimSettings

__all__ = ["draw_rink", "paint_rink"]

HALF = 30.0, 15.0  # meters from the middle to the boards, along and across
CORNER = 8.0  # radius of the rink's corners, meters
BOARD = 1.05  # height of the boards, meters
AROUND = 1.6  # distance from the boards to the stands, meters
TIERS, RISE, DEPTH = 6, 0.55, 0.45  # number of tiers of the stands; height and depth of each, meters
VIEW, PITCH = 3.5, math.radians(14)
# colors of: far and near ice, dark and light stands, boards, two adverts, judges' table, skin, suit, hair, cuts in ice
BASE = torch.tensor(
    [
        [0.86, 0.91, 0.96],
        [0.93, 0.96, 0.99],
        [0.10, 0.12, 0.20],
        [0.16, 0.18, 0.26],
        [0.92, 0.93, 0.95],
        [0.15, 0.30, 0.62],
        [0.80, 0.20, 0.22],
        [0.30, 0.31, 0.36],
        [0.85, 0.66, 0.54],
        [0.30, 0.15, 0.40],
        [0.20, 0.13, 0.09],
        [0.55, 0.62, 0.72],
    ]
)
HUE = torch.tensor([0.05, 0.04, 0.12, 0.14, 0.08, 0.5, 0.5, 0.2, 0.0, 0.4, 0.2, 0.15])
YELLOW = (0.95, 0.85, 0.30)  # the kick plate of the boards


def draw_rink(settings: SimSettings, generator: torch.Generator, *, frames: int) -> FloorScene:
    """Draw a rink around a program of `frames` frames from `settings` and a CPU `generator`.

    Bystanders stand behind the boards, which hide the floor up to `BOARD / tan(PITCH)` meters behind them.
    """
    behind = -HALF[1] - BOARD / math.tan(PITCH) - 0.3
    spots = torch.stack([torch.linspace(-21, 21, 15), torch.full((15,), behind)], 1)
    return draw_floor(
        settings, generator, frames=frames, painter=paint_rink, base=BASE, hue=HUE, view=VIEW, pitch=PITCH, spots=spots
    )


def paint_rink(scene: FloorScene, scale: float, device) -> tuple[Tensor, tuple[float, float]]:
    """Paint the static background as the camera sees it, looking down by the scene's pitch.

    Returns (3, Hc, Wc) in [0, 1] at `scale` pixels per meter, and (x', y') of its upper left corner in meters.
    """
    c, s = math.cos(scene.pitch), math.sin(scene.pitch)
    back = HALF[1] + AROUND  # meters from the rink's center to the stands
    top = back * s + TIERS * (RISE * c + DEPTH * s)
    bottom, left, right = -HALF[1] * s, -HALF[0], HALF[0]
    size = math.ceil((top - bottom) * scale), math.ceil((right - left) * scale)
    rows = top - (torch.arange(size[0], device=device) + 0.5) / scale  # y' of each row
    x = (left + (torch.arange(size[1], device=device) + 0.5) / scale)[None]
    z = (-rows / s)[:, None]  # on the ice, y = 0
    far, near, dark, light, board, advert, other, table, _, _, _, mark = scene.palette.to(device)[:, :, None, None]
    noise, seed, texture, pixel = scene.noise.to(device), scene.draws.tolist(), scene.texture, 1 / scale

    def band(low: float, high: float) -> slice:  # rows between two y'
        return slice(max(round((top - high) * scale), 0), min(max(round((top - low) * scale), 0), size[0]))

    def columns(low: float, high: float) -> slice:  # columns between two x
        return slice(max(round((low - left) * scale), 0), min(max(round((high - left) * scale), 0), size[1]))

    def ring(px: float, pz: float, radius: float, width: float, color: Tensor, opacity: float) -> None:
        reach = radius + width + 3 * pixel
        part = band(-(pz + reach) * s, -(pz - reach) * s), columns(px - reach, px + reach)
        away = ((x[:, part[1]] - px).square() + (z[part[0]] - pz).square()).sqrt_()
        cover = 1 - ((away - radius).abs_() - width).clamp_(min=0) / (width + pixel)
        spot = canvas[:, part[0], part[1]]
        spot.add_(opacity * cover.clamp_(min=0) * (color - spot))

    depth = ((z + HALF[1]) / (2 * HALF[1])).clamp(0, 1)
    lamps = torch.exp(-((((x - 14 * seed[0]) / 14) % 1 - 0.5) * 14 / 1.6).square())  # reflections of lamps in the ice
    mirrored = torch.exp(-(z + HALF[1]).clamp(min=0) / 2.0)  # reflection of the far boards in the ice
    cloudy = F.interpolate(noise[:1, None], size=size, mode="bilinear", align_corners=False)[0]  # (1, Hc, Wc)
    canvas = (far + depth * (near - far) - 0.07 * mirrored).expand(-1, -1, size[1]) + cloudy.mul_(0.04 + 0.06 * texture)
    canvas.add_((0.05 * lamps * (0.5 + depth)) - (0.02 + 0.03 * texture))
    for px, pz, color in ((0, 0, advert), (-20, 7, other), (20, 7, other), (-20, -7, other), (20, -7, other)):
        ring(px, pz, 4.5, 0.07, color, 0.4)
    for at, color in ((-8.7, advert), (0.0, other), (8.7, advert), (-26.0, other), (26.0, other)):
        part = columns(at - 0.15, at + 0.15)
        canvas[:, :, part] += 0.35 * (color - canvas[:, :, part])
    for k in range(14):  # cuts of the blades: circles and loops
        at = (seed[k] * 2 - 1) * 26, (seed[k + 14] * 2 - 1) * 12
        ring(*at, 0.6 + 4 * seed[k + 28], 0.02, mark, 0.25 + 0.25 * texture)

    # stands: each tier of people is above and behind the tier in front
    stands = band(back * s, top)
    up = (rows[stands] - back * s)[:, None] / (RISE * c + DEPTH * s)  # tiers
    across = x / 0.5 + 0.5 * (up.floor() % 2)
    row, seat = up.long().clamp(0, 39), across.floor().long() % 160
    aside, high = (across % 1 - 0.5).abs_(), up % 1
    person = noise[2:6][:, row, seat]  # (4, rows, Wc): shirt, skin
    shirt, head = (aside < 0.42) & (high < 0.55), (aside < 0.2) & (high >= 0.5) & (high < 0.88)
    taken = person[3] > 0.18
    skin = torch.tensor([0.85, 0.64, 0.52], device=device)[:, None, None] * (0.4 + 0.6 * person[3])
    cloth = torch.lerp(dark.expand_as(person[:3]), 0.7 * person[:3], 0.25 + 0.75 * min(texture, 1.0))
    crowd = torch.where(head & taken, skin, torch.where(shirt & taken, cloth, dark + (light - dark) * high))
    canvas[:, stands] = (0.85 - 0.05 * up) * crowd  # the stands are dimmer than the ice

    # rounded corners: `round_off` is how much closer the far boards are at x; the floor behind them is visible
    round_off = CORNER - (CORNER**2 - (x.abs() - (HALF[0] - CORNER)).clamp(0, CORNER).square()).sqrt()
    foot = (HALF[1] - round_off) * s  # (1, Wc) y' of the boards' foot
    low = band((HALF[1] - CORNER) * s, HALF[1] * s + (BOARD + 0.3) * c)
    relative = (rows[low, None] - foot) / (c * BOARD)  # 0 at the foot, 1 at the top of the boards
    behind = (relative > 1) & (rows[low, None] < back * s)
    strip = torch.where(behind, 0.8 * dark + 0.08, canvas[:, low])
    strip = torch.where((relative >= 0) & (relative <= 1), _boards(scene, x, relative, board, advert, other), strip)
    canvas[:, low] = torch.where((relative > 0.95) & (relative <= 1.03), 0.75 * board, strip)

    # the judges' tables stand behind the boards, their tops a little above them
    tables = band((HALF[1] + 1.0) * s + BOARD * c, (HALF[1] + 1.0) * s + (BOARD + 0.22) * c)
    canvas[:, tables] = torch.where((x.abs() < 9) & ((x % 2.2) < 2.0), table, canvas[:, tables])
    return canvas.clamp_(0, 1), (left, top)


def _boards(scene: FloorScene, x: Tensor, relative: Tensor, board: Tensor, advert: Tensor, other: Tensor) -> Tensor:
    """Color of the boards (3, R, W) at x (1, W) and relative heights (R, W), 0 at the foot and 1 at the top.

    The boards show adverts 3.2 m long in different colors, with letters too small to read.
    """
    noise = scene.noise.to(x.device)
    along = (x[0] + 60) / 3.2
    panel = (along.floor().long() * 7 + int(20 * scene.draws[50])) % 40  # (W,)
    paint = 0.9 * noise[2:5, panel, 3]  # (3, W)
    paint = torch.where(panel % 3 == 0, advert[:, 0], torch.where(panel % 3 == 1, other[:, 0], paint))[:, None]
    within = along % 1
    letters = (noise[5, panel * 3 % 40, (within * 24).long() * 5 % 160] > 0.5) & (within > 0.12) & (within < 0.88)
    ink = torch.where(paint.mean(0) > 0.5, 0.1, 0.95)  # (1, W)
    face = torch.where((relative > 0.2) & (relative < 0.88), paint, board)
    face = torch.where(letters & (relative > 0.36) & (relative < 0.72), ink, face)
    return torch.where(relative < 0.2, face * face.new_tensor(YELLOW)[:, None, None], face)
