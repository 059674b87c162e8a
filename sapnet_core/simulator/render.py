"""Rendering: antialiased capsules along the bones, over a static background that pans with the camera.

Every drawing step handles many frames at once, and a capsule only the pixels around it. Image coordinates are
continuous pixels: (0, 0) is the upper left corner of the image, and pixel (i, j) covers [j, j + 1] x [i, i + 1], with
its center at +0.5.
"""

import math
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor

from sapnet_core.simulator.motion import Motion, Props

__all__ = ["Camera", "Film", "follow", "render_frames"]

SKIN, SUIT, HAIR = 8, 9, 10
CHEST, WAIST, PELVIS = 16, 17, 18  # three joints added to the 16: center of the shoulders, of the trunk, of the hips
# Capsules: from joint, to joint, radius at both ends (m), color, depth bias (m, positive is nearer).
PARTS = (
    (0, 0, 0.105, 0.105, SKIN, 0.00),
    (0, 0, 0.09, 0.09, HAIR, 0.01),
    (1, 0, 0.055, 0.05, SKIN, -0.02),
    (2, 3, 0.075, 0.075, SUIT, 0.0),
    (CHEST, WAIST, 0.135, 0.115, SUIT, 0.01),
    (WAIST, PELVIS, 0.115, 0.12, SUIT, 0.01),
    (8, 9, 0.10, 0.10, SUIT, 0.12),
    (2, 4, 0.05, 0.042, SKIN, 0.0),
    (3, 5, 0.05, 0.042, SKIN, 0.0),
    (4, 6, 0.042, 0.032, SKIN, 0.0),
    (5, 7, 0.042, 0.032, SKIN, 0.0),
    (8, 10, 0.085, 0.06, SKIN, 0.0),
    (9, 11, 0.085, 0.06, SKIN, 0.0),
    (10, 12, 0.058, 0.04, SKIN, 0.0),
    (11, 13, 0.058, 0.04, SKIN, 0.0),
    (12, 14, 0.042, 0.028, SKIN, 0.0),
    (13, 15, 0.042, 0.028, SKIN, 0.0),
)
TRUNK = (3, 4, 5)  # indices in `PARTS` of the parts that show skin if the suit covers only the hips
CHUNK = 32  # number of frames of a routine drawn together, to fit a CPU's cache; a dive is drawn as a whole
SIGHT = 0.7  # depth in meters below which a body in clear water is invisible


class Film(NamedTuple):
    """A rendered video with its ground truth: `video` (T, 3, H, W) uint8; `boxes` (T, 4) of the actor, xyxy, inside the
    image and never empty; `joints` (T, 16, 2), which may lie outside; `people` (T, B, 4), boxes of bystanders, NaN
    where they are out of view. All in continuous pixels."""

    video: Tensor
    boxes: Tensor
    joints: Tensor
    people: Tensor


class Camera(NamedTuple):
    """The camera in each frame: `centre` (T, 2) of the view in meters, `scale` (T,) in pixels per meter, `side` +1 or
    -1 (mirrored), `size` of the image in pixels."""

    centre: Tensor
    scale: Tensor
    side: int
    size: int

    def project(self, points: Tensor) -> Tensor:
        """Project points (T, ..., 2), in meters in the image plane, to continuous pixels."""
        middle = (-1,) + (1,) * (points.dim() - 2)
        scale = self.scale.view(*middle)
        x = self.size / 2 + self.side * scale * (points[..., 0] - self.centre[:, 0].view(middle))
        y = self.size / 2 - scale * (points[..., 1] - self.centre[:, 1].view(middle))
        return torch.stack([x, y], -1)


def follow(joints: Tensor, scene, size: int, entry: float, clock: Tensor | None = None) -> Camera:
    """The camera's path: it follows the figure (T, J, 2) with lag, zoom and shake, always keeps it in view, and stays
    at the point of entry from a diver's `entry` frame on. `clock` (T,) has the times of unevenly spaced frames in units
    of 0.16 s; None counts frames."""
    device = joints.device
    t = torch.arange(len(joints), device=device) if clock is None else clock.to(device)
    amplitude, frequency, phase = scene.zoom
    view = scene.view * (1 + amplitude * torch.sin(6.28 * (frequency * t + phase)))  # (T,) meters
    diver = not math.isnan(entry)
    seen = torch.stack([joints[..., 0], joints[..., 1].clamp(min=-0.5)], -1) if diver else joints
    low, high = seen.amin(1), seen.amax(1)
    target = (low + high) / 2
    if diver:
        target = torch.stack([target[t.clamp(max=max(int(entry), 0)), 0], target[:, 1].clamp(min=0.3)], 1)
    age = (t[:, None] - t[None]).float()
    kernel = torch.where(age >= 0, torch.exp(-age / scene.lag), torch.zeros(()))
    centre = (kernel / kernel.sum(1, keepdim=True)) @ target  # (T, T) @ (T, 2)
    near = F.normalize(torch.exp(-age.square() / 4))  # rows of length 1: the shake has sd `scene.shake`
    centre = centre + scene.shake * near @ scene.jitter.to(device)
    room = (view[:, None] / 2 - 0.3).clamp(min=0)
    centre = centre.clamp(min=high - room, max=low + room)
    return Camera(centre, size / view, -1 if scene.mirrored else 1, size)


def _turn(joints: Tensor, yaw: float, pitch: float = 0.0) -> Tensor:
    """Rotate joints (..., 3) to the camera's axes: by `yaw` about the vertical, x' = x cos + z sin, z' = z cos - x sin,
    then by its downward `pitch`, y' = y cos - z' sin, z'' = z' cos + y sin."""
    x, y, z = joints.unbind(-1)
    c, s = math.cos(yaw), math.sin(yaw)
    x, z = c * x + s * z, c * z - s * x
    c, s = math.cos(pitch), math.sin(pitch)
    return torch.stack([x, c * y - s * z, c * z + s * y], -1)


def _capsules(joints: Tensor, camera: Camera) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Joints (T, 16, 3) to ends (T, P, 2, 2) and radii (T, P, 2) of the body parts in pixels, and two depths (T, P) in
    meters: one to sort parts by, one relative to the pelvis."""
    chest, pelvis = joints[:, 2:4].mean(1), joints[:, 8:10].mean(1)
    joints = torch.cat([joints, torch.stack([chest, (chest + pelvis) / 2, pelvis], 1)], 1)
    table = torch.tensor(PARTS, device=joints.device)
    ends = joints[:, table[:, :2].long()]  # (T, P, 2, 3)
    crown = ends[:, 1, :, :] + 0.05 * F.normalize(joints[:, :1] - joints[:, 1:2], dim=-1)
    ends = torch.cat([ends[:, :1], crown[:, None], ends[:, 2:]], 1)  # hair sits on the crown of the head
    depth = ends[..., 2].mean(-1)
    radii = table[:, 2:4] * camera.scale[:, None, None]
    return camera.project(ends[..., :2]), radii, depth + table[:, 5], depth - pelvis[:, None, 2]


def _draw(frames: Tensor, ends, radii, depth, lift, colors: Tensor, water: tuple[Tensor, Tensor] | None) -> None:
    """Draw capsules over frames (T, 3, H, W) in place, the farthest first.

    The coverage of a pixel at distance d from a segment is clip(r + 1/2 - d, 0, 1), r being the radius at the nearest
    point of the segment. Each part is drawn in a small square around it. `water` is its surface (T,) and the visible
    depth below it (T,), both in pixels; a body fades with depth.
    """
    count, _, height, width = frames.shape
    order = depth.argsort(1)  # (T, P)
    ends = ends.gather(1, order[..., None, None].expand_as(ends))
    radii = radii.gather(1, order[..., None].expand_as(radii))
    shade = 1 + 0.5 * lift.gather(1, order).clamp(-0.4, 0.4)  # nearer parts are lighter
    colors = colors[order]  # (T, P, 3)
    middle, run = ends.mean(2), ends[:, :, 1] - ends[:, :, 0]
    reach = (run.abs().amax(-1) + 2 * radii.amax(-1)).amax().item() + 3
    side = min(math.ceil(reach), height, width)
    limit = torch.tensor([width - side, height - side], device=frames.device)
    corner = torch.minimum((middle - side / 2).round().clamp(min=0), limit).long()  # (T, P, 2)
    steps = torch.arange(side, device=frames.device)
    offset = corner[..., None] + steps + 0.5 - ends[:, :, 0, :, None]  # (T, P, 2, S) from the capsule's start
    px, py = offset[:, :, 0, None, :], offset[:, :, 1, :, None]
    dx, dy = run[..., 0, None, None], run[..., 1, None, None]
    share = ((px * dx + py * dy) / (dx * dx + dy * dy + 1e-6)).clamp(0, 1)  # (T, P, S, S) along the segment
    away = py - share * dy
    distance = (px - share * dx).square().addcmul_(away, away).sqrt_()
    r0, r1 = radii[:, :, 0, None, None], radii[:, :, 1, None, None]
    cover = (r0 + 0.5 - distance).add_(share * (r1 - r0)).clamp_(0, 1)
    if water is not None:
        surface, sight = (line[:, None, None] for line in water)
        sunk = (corner[:, :, 1, None] + steps + 0.5 - surface) / sight.clamp(min=1e-3)  # (T, P, S)
        fade = torch.where(sunk < 0, 1.0, 0.55 * (1 - sunk).clamp(min=0).square())
        cover = cover * fade[..., None]
    light = (shade[..., None, None] - 0.22 * (away / r0)).flatten(2)  # light comes from above
    cover = cover.flatten(2)
    columns, rows = (corner[..., None] + steps).unbind(2)  # (T, P, S)
    pixel = (rows[..., None] * width + columns[:, :, None]).flatten(2)  # (T, P, S * S)
    flat = frames.view(count, 3, -1)
    for k in range(pixel.shape[1]):  # one part after the other, since they overlap
        place = pixel[:, k, None].expand(-1, 3, -1)
        paint = colors[:, k, :, None] * light[:, k, None]  # (T, 3, S * S)
        flat.scatter_(2, place, torch.lerp(flat.gather(2, place), paint, cover[:, k, None]))


def _boxes(ends: Tensor, radii: Tensor, camera: Camera, depth: Tensor, place: Tensor) -> Tensor:
    """Tight boxes (T, 4), xyxy, around the parts above the line `depth` (T,); where none is visible, half a meter
    around `place` (2,), the point of entry."""
    start, stop = ends[:, :, 0], ends[:, :, 1]
    low = torch.minimum(start - radii[..., :1], stop - radii[..., 1:])
    high = torch.maximum(start + radii[..., :1], stop + radii[..., 1:])
    seen = (low[..., 1] < depth[:, None])[..., None]
    low = torch.where(seen, low, torch.inf).amin(1)
    high = torch.where(seen, high, -torch.inf).amax(1)
    high[:, 1] = torch.minimum(high[:, 1], depth)
    gone = ~seen.any(1)[:, 0]
    around = camera.project(place.expand(len(depth), 2)).repeat(1, 2)  # (T, 4)
    under = around + camera.scale[:, None] * place.new_tensor([-0.25, -0.25, 0.25, 0.25])
    boxes = torch.where(gone[:, None], under, torch.cat([low, high], 1))
    corner = boxes[:, :2].clamp(0, camera.size - 2)
    return torch.cat([corner, torch.maximum(boxes[:, 2:].clamp(max=camera.size), corner + 2)], 1)


def _splash(frames: Tensor, motion, scene, camera: Camera, place: Tensor, dt: float) -> None:
    """Draw spray, plume and foam over frames (T, 3, H, W) in place: sums of Gaussians, alpha = 1 - exp(-density).

    Drops fly on parabolas from `place` (2,), the point of entry in meters; their density, speed and size grow with
    `motion.splash`. `dt` is the time between frames in seconds.
    """
    device, heavy = frames.device, float(motion.splash)
    first = max(math.floor(motion.entry), 0)
    if first >= len(frames):
        return
    shown = slice(first, first + math.ceil(1.6 / dt))  # the splash lasts 1.6 s
    frames = frames[shown]
    age = torch.arange(first, first + len(frames), device=device) - motion.entry
    age = age.clamp(min=0)[:, None] * dt  # (T, 1) seconds
    a, b, c, d = scene.spray.to(device).unbind(1)
    climb = (0.8 + (1.0 + 4.4 * heavy) * c) * (1 - 0.25 * b.abs()).clamp(min=0.3)  # (D,) m/s upward
    x = 0.12 * b + (0.25 + 0.9 * heavy) * a * age  # (T, D)
    y = climb * age - 4.9 * age.square()
    spread = (0.02 + 0.035 * heavy * d) * (1 + 1.5 * age)
    alive = (y > -0.1) * torch.exp(-age / (0.25 + 0.35 * heavy)) * (0.35 + 2.2 * heavy) * (age > 0)
    foam, plume = (0.6 + 1.2 * heavy) * torch.exp(-age / 0.45), 2.5 * heavy * torch.exp(-age / 0.35)
    foam = torch.cat([foam, plume], 1) * (age > 0)  # (T, 2): foam on the water, plume above it
    wide = torch.cat([0.25 + 1.1 * (0.2 + heavy) * age, 0.16 + 0.5 * (0.2 + heavy) * age], 1)
    tall = torch.cat([torch.full_like(age, 0.07), 0.12 + 1.5 * heavy * age * torch.exp(-4 * age)], 1)
    x, y = torch.cat([x, torch.zeros_like(wide)], 1), torch.cat([y, torch.zeros_like(tall)], 1)
    sx, sy = torch.cat([spread, wide], 1), torch.cat([spread * 1.3, tall], 1)
    weight = torch.cat([alive, foam], 1)  # (T, D + 2)
    here = Camera(camera.centre[shown], camera.scale[shown], camera.side, camera.size)
    drops = here.project(torch.stack([x, y], -1) + place)  # (T, D + 2, 2)
    scale = here.scale[:, None]
    grid = torch.arange(camera.size, device=device) + 0.5

    def bump(centre, sd):  # (T, D, size); clamped, since denormal numbers are slow to multiply
        away = (grid - centre[..., None]) / (sd * scale).clamp(min=0.6)[..., None]
        return torch.exp(away.square_().mul_(-0.5).clamp_(min=-20))

    density = (weight[..., None] * bump(drops[..., 1], sy)).mT @ bump(drops[..., 0], sx)  # (T, H, D) @ (T, D, W)
    cover = (1 - torch.exp(-density))[:, None] * 0.9
    frames.lerp_(scene.palette[7].to(device)[:, None, None], cover)


def _handled(props: Props, camera: Camera, scene, pelvis: Tensor) -> tuple[Tensor, ...]:
    """Props as arguments of `_draw`: ends (T, Q, 2, 2), radii (T, Q, 2), depth and lift (T, Q), colors (Q, 3)."""
    ends = _turn(props.ends.to(pelvis), scene.yaw, scene.pitch)
    depth = ends[..., 2].mean(-1)
    radii = props.radii.to(pelvis) * camera.scale[:, None, None]
    return camera.project(ends[..., :2]), radii, depth, depth - pelvis[:, None], props.colors.to(pelvis)


def _stand_by(frames: Tensor, person: Tensor, capsules: tuple[Tensor, ...], size: int, skin: Tensor) -> None:
    """Draw one bystander of the scene, `person` (17,), over frames (T, 3, H, W) in place, where in view."""
    ends, radii, depth, lift = capsules
    shown = ((ends.amax((1, 2)) > -4) & (ends.amin((1, 2)) < size + 4)).all(1).nonzero()[:, 0].tolist()
    if shown:
        part = slice(shown[0], shown[-1] + 1)
        wear = {SKIN: skin * (0.7 + 0.6 * person[8]), SUIT: person[9:12], HAIR: person[12:15]}
        colors = torch.stack([wear[part[4]] for part in PARTS])
        _draw(frames[part], ends[part], radii[part], depth[part], lift[part], colors, None)


def _people_boxes(ends: Tensor, radii: Tensor, size: int) -> Tensor:
    """Boxes (T, 4) of a person's parts, clipped to the image; NaN where less than a quarter of the box is inside."""
    low = (ends - radii[..., None]).amin((1, 2))
    high = (ends + radii[..., None]).amax((1, 2))
    inside = torch.cat([low.clamp(0, size), high.clamp(0, size)], 1)
    area, seen = (high - low).prod(1), (inside[:, 2:] - inside[:, :2]).prod(1)
    return torch.where((seen > 0.25 * area)[:, None], inside, torch.nan)


def _shade(frames: Tensor, feet: Tensor, camera: Camera, pitch: float) -> None:
    """Draw a soft shadow on the floor around `feet` (T, 2), in meters in the image plane, over frames in place."""
    grid = torch.arange(camera.size, device=frames.device) + 0.5
    place = camera.project(feet)  # (T, 2)
    wide, tall = (length * camera.scale[:, None] for length in (0.3, 0.3 * max(math.sin(pitch), 0.2)))
    x, y = (torch.exp(-0.5 * ((grid - place[:, i, None]) / sd).square()) for i, sd in ((0, wide), (1, tall)))  # (T, S)
    frames.mul_(1 - 0.4 * (y[:, :, None] * x[:, None, :])[:, None])


def _background(painted: tuple, scene, camera: Camera) -> Tensor:
    """The painted background as seen by the camera in each frame, (T, 3, H, W)."""
    device, size = camera.centre.device, camera.size
    canvas, (left, top) = painted
    high, wide = (side / (size / scene.view) for side in canvas.shape[1:])  # meters
    step = (torch.arange(size, device=device) + 0.5 - size / 2) / camera.scale[:, None]  # (T, size) meters
    gx = (camera.centre[:, :1] + camera.side * step - left) * (2 / wide) - 1
    gy = (top - camera.centre[:, 1:] + step) * (2 / high) - 1
    grid = gx.new_empty(len(gx), size, size, 2)
    grid[..., 0], grid[..., 1] = gx[:, None], gy[:, :, None]
    canvas = canvas.expand(len(gx), -1, -1, -1)
    return F.grid_sample(canvas, grid, mode="bilinear", padding_mode="border", align_corners=False)


@torch.no_grad()
def render_frames(
    motion: Motion, scene, size: int = 112, device="cpu", *, dt: float = 0.04, actor: bool = True
) -> Film:
    """Render a motion of T frames in a scene (`diving.scene.Scene`, a pool, or `floor.FloorScene`).

    `size` is the height and width of the video in pixels, `dt` the time between two sampled frames in seconds;
    `actor=False` leaves out the figure, its shadow, its props and its splash.
    """
    joints = _turn(motion.joints.to(device=device, dtype=torch.float32), scene.yaw, scene.pitch)
    camera = follow(joints[..., :2], scene, size, motion.entry, motion.clock)
    people = [_turn(path.to(device), 0.4 * scene.yaw, scene.pitch) for path in scene.standing(len(joints))]
    crowd = [_capsules(path, camera) for path in people]
    body = _capsules(joints, camera)
    if math.isnan(motion.entry):
        place = depth = water = None
        boxes = _boxes(*body[:2], camera, torch.full_like(camera.scale, torch.inf), joints.new_zeros(2))
    else:
        entered = joints[min(max(round(motion.entry), 0), len(joints) - 1)]
        place = torch.stack([entered[entered[:, 1].argmin(), 0], entered.new_zeros(())])  # (2,) point of entry
        surface = size / 2 + camera.scale * camera.centre[:, 1]  # (T,) the line y = 0 in pixels
        age = (torch.arange(len(joints), device=device) - motion.entry) * dt
        depth = SIGHT * camera.scale * (1.5 - 2.5 * age).clamp(0, 1)  # (T,) pixels; bubbles cloud the water in 0.6 s
        water = surface, depth
        boxes = _boxes(*body[:2], camera, surface + depth, place)

    palette, painted = scene.palette.to(device), scene.paint(size / scene.view, device)
    bare = () if scene.whole_suit else TRUNK
    colors = palette[[SKIN if k in bare else part[4] for k, part in enumerate(PARTS)]]
    if motion.props is not None:
        *held, dyes = _handled(motion.props, camera, scene, joints[:, 8:10, 2].mean(1))
        body = tuple(torch.cat(pair, 1) for pair in zip(body, held, strict=True))
        colors = torch.cat([colors, dyes])
    if scene.pitch:  # scenes with a floor have a shadow under the hips
        hips = motion.joints.to(joints)[:, 8:10].mean(1)
        feet = _turn(hips * hips.new_tensor([1.0, 0.0, 1.0]), scene.yaw, scene.pitch)[:, :2]
    video = torch.empty(len(joints), 3, size, size, dtype=torch.uint8, device=device)
    step = len(joints) if water else CHUNK
    for first in range(0, len(joints), step):
        part = slice(first, first + step)
        here = Camera(camera.centre[part], camera.scale[part], camera.side, size)
        frames = _background(painted, scene, here)
        for person, capsules in zip(scene.people, crowd, strict=True):
            _stand_by(frames, person.to(device), tuple(x[part] for x in capsules), size, palette[SKIN])
        if actor:
            if scene.pitch:
                _shade(frames, feet[part], here, scene.pitch)
            _draw(frames, *(x[part] for x in body), colors, water and tuple(x[part] for x in water))
            if water:
                _splash(frames, motion, scene, camera, place, dt)
        video[part] = _developed(frames, scene, part)
    shown = [_people_boxes(ends, radii, size) for ends, radii, *_ in crowd]
    people_boxes = torch.stack(shown, 1) if shown else boxes.new_empty(len(boxes), 0, 4)
    return Film(video, boxes, camera.project(joints[..., :2]), people_boxes)


def _developed(frames: Tensor, scene, part: slice) -> Tensor:
    """Apply brightness and sensor noise to frames (T, 3, H, W) in [0, 1], which are overwritten; returns uint8."""
    device = frames.device
    frames.mul_(255 * scene.gain[part, :, None, None].to(device))
    if scene.sensor > 0:  # each frame reads the noise bank from a different position
        count = frames[0].numel()
        bank = (255 * scene.sensor * scene.grain).repeat(1 + count // len(scene.grain)).to(device)
        start = (scene.starts[part] * (len(bank) - count)).long().to(device)
        frames.add_(bank.unfold(0, count, 1)[start].view_as(frames))
    return frames.add_(0.5).clamp_(0, 255).to(torch.uint8)
