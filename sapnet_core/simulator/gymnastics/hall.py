"""The hall of a Rhythmic Gymnastics competition: carpet, boards with adverts, judges at their table, and stands.

The camera looks down on the floor y = 0 by the scene's pitch: a point z meters nearer is z sin(pitch) lower in the
image, and vertical lengths are shortened by cos(pitch).
"""

import math

import torch
import torch.nn.functional as F
from torch import Tensor

from sapnet_core.simulator.floor import FloorScene, draw_floor
from sapnet_core.simulator.settings import SimSettings

__all__ = ["draw_hall", "paint_hall"]

LEFT, RIGHT, BOTTOM, TOP = -13.0, 13.0, -4.6, 7.0  # extent of the background in the image plane, meters
CARPET, BORDER, BOARDS, STANDS = 6.5, 7.1, -8.6, -10.0  # half sides of carpet and border; z of boards and stands
# colors of: carpet, border, floor, back wall, seats, table, line, shirts of the judges, skin, suit, hair, boards
PALETTE = torch.tensor(
    [
        [0.74, 0.72, 0.74],
        [0.35, 0.42, 0.62],
        [0.52, 0.47, 0.42],
        [0.13, 0.13, 0.17],
        [0.30, 0.28, 0.36],
        [0.78, 0.78, 0.80],
        [0.90, 0.90, 0.88],
        [0.22, 0.24, 0.34],
        [0.86, 0.66, 0.54],
        [0.60, 0.12, 0.42],
        [0.18, 0.12, 0.09],
        [0.25, 0.30, 0.60],
    ]
)
HUE = torch.tensor([0.28, 0.55, 0.26, 0.10, 0.30, 0.25, 0.10, 0.25, 0.0, 0.9, 0.15, 0.7])
SPOTS = torch.tensor(  # positions of bystanders: beside the boards and at the corners, off the carpet
    [
        [-10.5, -8.0],
        [10.5, -8.0],
        [-9.0, -5.0],
        [9.0, -5.0],
        [-9.5, 0.0],
        [9.5, 0.0],
        [-8.8, 4.0],
        [8.8, 4.0],
        [-11.5, -6.0],
        [11.5, -6.0],
        [-7.9, -8.1],
        [7.9, -8.1],
    ]
)


def draw_hall(settings: SimSettings, generator: torch.Generator, *, frames: int) -> FloorScene:
    """Draw the hall around a routine of `frames` frames: lighting, colors, camera and people."""
    return draw_floor(
        settings,
        generator,
        frames=frames,
        painter=paint_hall,
        base=PALETTE,
        hue=HUE,
        view=3.7,
        pitch=math.radians(15),
        spots=SPOTS,
    )


def paint_hall(scene: FloorScene, scale: float, device) -> tuple[Tensor, tuple[float, float]]:
    """Paint the hall, see `FloorScene.paint`."""
    size = round((TOP - BOTTOM) * scale), round((RIGHT - LEFT) * scale)
    y = (TOP - (torch.arange(size[0], device=device) + 0.5) / scale)[:, None]  # (Hc, 1)
    x = (LEFT + (torch.arange(size[1], device=device) + 0.5) / scale)[None]  # (1, Wc)
    carpet, border, floor, back, seat, table, line, shirt, skin, *_, board = scene.palette.to(device)[:, :, None, None]
    tall, deep = math.cos(scene.pitch), math.sin(scene.pitch)
    noise, draws = scene.noise.to(device), scene.draws.tolist()
    alike = min(scene.nuisance, 1.0)

    def part(left: float, right: float, low: float, high: float) -> tuple[slice, slice]:  # arguments in meters
        rows = slice(max(round((TOP - high) * scale), 0), max(round((TOP - low) * scale), 0))
        return rows, slice(max(round((left - LEFT) * scale), 0), max(round((right - LEFT) * scale), 0))

    def fill(left: float, right: float, low: float, high: float, color: Tensor) -> None:
        rows, columns = part(left, right, low, high)
        canvas[:, rows, columns] = color

    coarse = F.interpolate(noise[None, :1, :9, :20] - 0.5, size=size, mode="bilinear", align_corners=False)[0]
    fine = F.interpolate(noise[None, 1:2] - 0.5, size=size, mode="bilinear", align_corners=False)[0]
    cloth = scene.texture * (0.07 * coarse + 0.035 * fine)  # (1, Hc, Wc)
    canvas = (floor + 1.4 * cloth).contiguous()
    z = -y / deep  # z of the floor at this height in the image
    if draws[0] < 0.6:  # planks
        joint = ((x / 0.18) % 1 < 0.12) | ((z / 2.4 + 0.5 * ((x / 0.18).floor() % 2)) % 1 < 0.01)
        canvas *= 1 - 0.10 * scene.texture * joint
    for half, color in ((BORDER, border), (CARPET + 0.05, line), (CARPET - 0.06, carpet)):
        fill(-half, half, -half * deep, half * deep, color)
    rows, columns = part(-BORDER, BORDER, -BORDER * deep, BORDER * deep)
    strips = ((x[:, columns] / 2.17).floor() + (z[rows] / 2.17).floor()).remainder(2)
    canvas[:, rows, columns] = (canvas[:, rows, columns] + cloth[:, rows, columns]) * (1 - 0.03 * alike * strips)

    foot = -STANDS * deep
    rows, _ = part(LEFT, RIGHT, foot + 0.7 * tall, TOP)
    canvas[:, rows] = _stands(x, y[rows] - foot - 0.7 * tall, scene, noise, seat, back)
    fill(LEFT, RIGHT, foot, foot + 0.7 * tall, 0.55 * seat + 0.2 * board)
    low = -(BOARDS - 0.7) * deep  # y' of the judges' table: the judges sit behind it, the boards are in front
    for judge in range(14):
        place = 1.15 * (judge - 6.5) + 0.25 * (draws[judge] - 0.5)
        if draws[judge + 14] > 0.12:
            rows, columns = part(place - 0.3, place + 0.3, low + 0.7 * tall, low + 1.45 * tall)
            seen = canvas[:, rows, columns]
            across, up = x[:, columns] - place, (y[rows] - low) / tall
            tone = 0.6 + 0.7 * draws[judge + 28]
            head = (across / 0.11).square() + ((up - 1.22) / 0.14).square() < 1
            seen = torch.where((across / 0.24).square() + ((up - 0.78) / 0.36).square() < 1, shirt * tone, seen)
            seen = torch.where(head, skin * (0.75 + 0.4 * draws[judge + 42]), seen)
            canvas[:, rows, columns] = torch.where(head & (up > 1.26), 0.25 * tone * skin, seen)
    fill(-8.6, 8.6, low, low + 0.74 * tall, table)
    low = -BOARDS * deep
    fill(-10.5, 10.5, low - 0.12, low, 0.5 * floor)
    for k in range(8):  # boards of 2.55 m with adverts
        left, kind = 2.6 * k - 10.4, draws[5 * k + 2]
        color = board if kind < 0.5 else 1.2 * board.flip(0) if kind < 0.75 else 0.85 + 0 * board
        rows, columns = part(left, left + 2.55, low, low + 0.62 * tall)
        word = _word(x[:, columns] - left, (y[rows] - low) / (0.62 * tall), 4 + int(5 * draws[k + 9]), noise[3][k])
        canvas[:, rows, columns] = torch.where(word, 0.95 - 0.85 * (color.mean() > 0.5).float(), color)
    canvas *= 1 - 0.18 * alike * (x / RIGHT).square()  # darker toward the sides and the top
    canvas *= 1 - 0.10 * ((y - 1) / 6).clamp(0, 1)
    return canvas.clamp_(0, 1), (LEFT, TOP)


def _stands(x: Tensor, up: Tensor, scene: FloorScene, noise: Tensor, seat: Tensor, back: Tensor) -> Tensor:
    """Tiers of spectators at heights `up` (H, 1), darker toward the top; some seats are empty."""
    across, tier = x / 0.5, up / 0.62  # one seat is 0.5 m wide, one tier 0.62 m high
    row, column = tier.floor().long().clamp(0, 39), (across.floor().long() + 60).clamp(0, 159)
    full = noise[2][row, column] < 0.25 + 0.6 * scene.draws[1].item()
    aside, inside = (across % 1 - 0.5).abs(), tier % 1
    head = (aside.square() + (0.8 * (inside - 0.72)).square() < 0.03) & full
    skin = scene.palette[8].to(x)[:, None, None] * (0.5 + 0.6 * noise[5][row, column])
    tint = 0.15 + 0.7 * noise[2:5][:, row, (column + 7).clamp(max=159)]
    stand = torch.where((aside < 0.36) & (inside < 0.55) & full, tint, seat * (0.6 + 0.4 * inside))
    stand = torch.lerp(0.7 * seat, torch.where(head, skin, stand), min(0.9 * scene.texture, 1.0))
    light = (0.75 - 0.09 * tier.clamp(0, 6)).clamp(min=0.2)
    return torch.lerp(back, stand * light, (1 - 0.1 * tier).clamp(0.15, 1))


def _word(across: Tensor, up: Tensor, letters: int, noise: Tensor) -> Tensor:
    """Mask of an advert's text: `letters` blocks at `across` (1, W) meters and relative heights `up` (H, 1)."""
    place = (across - 0.3) / 0.22
    letter = place.floor().long()
    tick = noise[(7 * letter.clamp(0, 20)) % 160]  # (1, W)
    inside = (place >= 0) & (letter < letters) & (place % 1 < 0.72) & (up > 0.3) & (up < 0.52 + 0.2 * (tick > 0.5))
    return inside & ~((place % 1 > 0.25) & (up > 0.42) & (tick < 0.7))
