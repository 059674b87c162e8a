"""From joints to pixels: antialiased capsules, drawn only where the figure is, over a still background that is panned.

Every drawing step handles all frames at once. Places in a picture are continuous pixels: (0, 0) is the upper left
corner of the picture and the pixel (i, j) covers [j, j + 1] x [i, i + 1], so its centre lies at +0.5.
"""

import math
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor

from sapnet_core.sim.scene import Scene, bystander_joints, paint_canvas

__all__ = ["Camera", "follow", "render_frames"]

SKIN, SUIT, HAIR = 8, 9, 10
CHEST, WAIST, PELVIS = 16, 17, 18  # joints added to the 16: middle of the shoulders, of the trunk, of the hips
# Capsules: from joint, to joint, radius at both ends (m), color, bias of depth (m, positive is nearer).
PARTS = (
    (0, 0, 0.105, 0.105, SKIN, 0.00), (0, 0, 0.09, 0.09, HAIR, 0.01), (1, 0, 0.055, 0.05, SKIN, -0.02),
    (2, 3, 0.075, 0.075, SUIT, 0.0), (CHEST, WAIST, 0.135, 0.115, SUIT, 0.01), (WAIST, PELVIS, 0.115, 0.12, SUIT, 0.01),
    (8, 9, 0.10, 0.10, SUIT, 0.12), (2, 4, 0.05, 0.042, SKIN, 0.0), (3, 5, 0.05, 0.042, SKIN, 0.0),
    (4, 6, 0.042, 0.032, SKIN, 0.0), (5, 7, 0.042, 0.032, SKIN, 0.0), (8, 10, 0.085, 0.06, SKIN, 0.0),
    (9, 11, 0.085, 0.06, SKIN, 0.0), (10, 12, 0.058, 0.04, SKIN, 0.0), (11, 13, 0.058, 0.04, SKIN, 0.0),
    (12, 14, 0.042, 0.028, SKIN, 0.0), (13, 15, 0.042, 0.028, SKIN, 0.0),
)  # fmt: skip
TRUNK = (3, 4, 5)  # the parts that are bare where the suit covers the hips alone
SIGHT = 0.7  # depth in metres at which a body in the water can no longer be seen, while the water is clear


class Camera(NamedTuple):
    """Where the camera looks in each frame: `centre` (T, 2) in metres, `scale` (T,) in pixels per metre, `side` +1 or
    -1 (mirrored), `size` of the picture in pixels."""

    centre: Tensor
    scale: Tensor
    side: int
    size: int

    def project(self, points: Tensor) -> Tensor:
        """Points (T, ..., 2) in metres of the picture's plane to continuous pixels."""
        middle = (-1,) + (1,) * (points.dim() - 2)
        scale = self.scale.view(*middle)
        x = self.size / 2 + self.side * scale * (points[..., 0] - self.centre[:, 0].view(middle))
        y = self.size / 2 - scale * (points[..., 1] - self.centre[:, 1].view(middle))
        return torch.stack([x, y], -1)


def follow(joints: Tensor, scene: Scene, size: int, entry: float) -> Camera:
    """The camera's path: it follows the figure (T, J, 2) with lag, zooms and shakes, never loses it, and from the frame
    of `entry` stays with the place of entry."""
    device = joints.device
    t = torch.arange(len(joints), device=device)
    amplitude, frequency, phase = scene.zoom
    view = scene.view * (1 + amplitude * torch.sin(6.28 * (frequency * t + phase)))  # (T,) metres
    seen = torch.stack([joints[..., 0], joints[..., 1].clamp(min=-0.5)], -1)
    low, high = seen.amin(1), seen.amax(1)
    target = (low + high) / 2
    target = torch.stack([target[t.clamp(max=max(int(entry), 0)), 0], target[:, 1].clamp(min=0.3)], 1)
    age = (t[:, None] - t[None]).float()
    kernel = torch.where(age >= 0, torch.exp(-age / scene.lag), torch.zeros(()))
    centre = (kernel / kernel.sum(1, keepdim=True)) @ target  # (T, T) @ (T, 2)
    near = F.normalize(torch.exp(-age.square() / 4))  # rows of length 1: the shake has sd `scene.shake`
    centre = centre + scene.shake * near @ scene.jitter.to(device)
    room = (view[:, None] / 2 - 0.3).clamp(min=0)
    centre = centre.clamp(min=high - room, max=low + room)
    return Camera(centre, size / view, -1 if scene.mirrored else 1, size)


def _turn(joints: Tensor, yaw: float) -> Tensor:
    """Turn joints (..., 3) about the vertical, so that the third axis shows: x' = x cos + z sin, z' = z cos - x sin."""
    x, y, z = joints.unbind(-1)
    c, s = math.cos(yaw), math.sin(yaw)
    return torch.stack([c * x + s * z, y, c * z - s * x], -1)


def _capsules(joints: Tensor, camera: Camera) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Joints (T, 16, 3) to the parts' ends (T, P, 2, 2) and radii (T, P, 2) in pixels and depth (T, P) in metres:
    to be sorted by, and from the pelvis."""
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
    """Lay capsules over frames (T, 3, H, W) in place, the farthest first.

    The coverage of a pixel at distance d from a segment is clip(r + 1/2 - d, 0, 1), r being the radius at the nearest
    point of the segment. Each part is drawn in a small square of its own. In `water`, its surface (T,) and how far one
    sees below it (T,), both in pixels, a body fades with depth.
    """
    count, _, height, width = frames.shape
    order = depth.argsort(1)  # (T, P)
    ends = ends.gather(1, order[..., None, None].expand_as(ends))
    radii = radii.gather(1, order[..., None].expand_as(radii))
    shade = 1 + 0.5 * lift.gather(1, order).clamp(-0.4, 0.4)  # what is nearer is lighter
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
    light = (shade[..., None, None] - 0.22 * (away / r0)).flatten(2)  # from above
    cover = cover.flatten(2)
    columns, rows = (corner[..., None] + steps).unbind(2)  # (T, P, S)
    pixel = (rows[..., None] * width + columns[:, :, None]).flatten(2)  # (T, P, S * S)
    flat = frames.view(count, 3, -1)
    for k in range(pixel.shape[1]):  # the parts of a body lie over each other
        place = pixel[:, k, None].expand(-1, 3, -1)
        paint = colors[:, k, :, None] * light[:, k, None]  # (T, 3, S * S)
        flat.scatter_(2, place, torch.lerp(flat.gather(2, place), paint, cover[:, k, None]))


def _boxes(ends: Tensor, radii: Tensor, camera: Camera, depth: Tensor, place: Tensor) -> Tensor:
    """Tight boxes (T, 4), xyxy, of what can be seen of the parts above the line `depth` (T,); where nothing can, half a
    metre around `place` (2,), where they went under."""
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


def _splash(frames: Tensor, motion, scene: Scene, camera: Camera, place: Tensor, dt: float) -> None:
    """Spray, plume and foam over frames (T, 3, H, W) in place: sums of Gaussians, alpha = 1 - exp(-density).

    Drops fly on parabolas from `place` (2,), the point of entry in metres; their number, speed and size grow with
    `motion.splash`.
    """
    device, heavy = frames.device, float(motion.splash)
    first = max(math.floor(motion.entry), 0)
    if first >= len(frames):
        return
    shown = slice(first, first + math.ceil(1.6 / dt))  # it has settled after that
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
    foam = torch.cat([foam, plume], 1) * (age > 0)  # (T, 2): what lies on the water, what stands above it
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


def _stand_by(frames: Tensor, person: Tensor, joints: Tensor, camera: Camera, skin: Tensor) -> None:
    """Draw one of the scene's people (17,) with joints (T, 16, 3) where the camera sees it."""
    ends, radii, depth, lift = _capsules(joints, camera)
    shown = ((ends.amax((1, 2)) > -4) & (ends.amin((1, 2)) < camera.size + 4)).all(1).nonzero()[:, 0].tolist()
    if shown:
        part = slice(shown[0], shown[-1] + 1)
        wear = {SKIN: skin * (0.7 + 0.6 * person[8]), SUIT: person[9:12], HAIR: person[12:15]}
        colors = torch.stack([wear[part[4]] for part in PARTS])
        _draw(frames[part], ends[part], radii[part], depth[part], lift[part], colors, None)


def _background(scene: Scene, camera: Camera) -> Tensor:
    """The painted canvas as each frame's camera sees it, (T, 3, H, W)."""
    device, size = camera.centre.device, camera.size
    canvas, (left, top) = paint_canvas(scene, size / scene.view, device)
    high, wide = (side / (size / scene.view) for side in canvas.shape[1:])  # metres
    step = (torch.arange(size, device=device) + 0.5 - size / 2) / camera.scale[:, None]  # (T, size) metres
    gx = (camera.centre[:, :1] + camera.side * step - left) * (2 / wide) - 1
    gy = (top - camera.centre[:, 1:] + step) * (2 / high) - 1
    grid = gx.new_empty(len(gx), size, size, 2)
    grid[..., 0], grid[..., 1] = gx[:, None], gy[:, :, None]
    canvas = canvas.expand(len(gx), -1, -1, -1)
    return F.grid_sample(canvas, grid, mode="bilinear", padding_mode="border", align_corners=False)


@torch.no_grad()
def render_frames(
    motion, scene: Scene, size: int = 112, device="cpu", *, dt: float = 0.04, actor: bool = True
) -> tuple[Tensor, Tensor, Tensor]:
    """Film a motion in a scene.

    Returns the video (T, 3, size, size) uint8, the actor's boxes (T, 4) xyxy in continuous pixels (never empty, inside
    the picture) and the joints (T, 16, 2) in continuous pixels (they may lie outside). `dt` is the time between two
    sampled frames in seconds; `actor=False` leaves the figure and its splash out.
    """
    joints = _turn(motion.joints.to(device=device, dtype=torch.float32), scene.yaw)
    camera = follow(joints[..., :2], scene, size, motion.entry)
    entered = joints[min(max(round(motion.entry), 0), len(joints) - 1)]
    place = torch.stack([entered[entered[:, 1].argmin(), 0], entered.new_zeros(())])  # (2,) where it meets the water
    surface = size / 2 + camera.scale * camera.centre[:, 1]  # (T,) the line y = 0 in pixels
    age = (torch.arange(len(joints), device=device) - motion.entry) * dt
    sight = SIGHT * camera.scale * (1.5 - 2.5 * age).clamp(0, 1)  # (T,) in pixels; bubbles cloud the water in 0.6 s
    frames = _background(scene, camera)
    palette = scene.palette.to(device)
    for person, path in zip(scene.people, bystander_joints(scene, len(frames)), strict=True):
        _stand_by(frames, person.to(device), _turn(path.to(device), 0.4 * scene.yaw), camera, palette[SKIN])
    ends, radii, depth, lift = _capsules(joints, camera)
    if actor:
        bare = () if scene.whole_suit else TRUNK
        colors = palette[[SKIN if k in bare else part[4] for k, part in enumerate(PARTS)]]
        _draw(frames, ends, radii, depth, lift, colors, (surface, sight))
        _splash(frames, motion, scene, camera, place, dt)
    frames.mul_(255 * scene.gain[..., None, None].to(device))
    if scene.sensor > 0:  # every frame reads one bank of noise from a place of its own
        count = frames[0].numel()
        bank = (255 * scene.sensor * scene.grain).repeat(1 + count // len(scene.grain)).to(device)
        start = (scene.starts * (len(bank) - count)).long().to(device)
        frames.add_(bank.unfold(0, count, 1)[start].view_as(frames))
    video = frames.add_(0.5).clamp_(0, 255).to(torch.uint8)
    return video, _boxes(ends, radii, camera, surface + sight, place), camera.project(joints[..., :2])
