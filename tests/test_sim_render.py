"""The renderer: what it draws, where it draws it, and that the score does not show in the scene."""

import time
from dataclasses import fields, replace

import pytest
import torch

from sapnet_core.datasets.records import Record
from sapnet_core.detection.crops import points_to_crop, square_track
from sapnet_core.simulator import simulate
from sapnet_core.simulator.diving.kinematics import dive_motion
from sapnet_core.simulator.diving.scene import bystander_joints, draw_scene, paint_canvas
from sapnet_core.simulator.quality import FACTORS
from sapnet_core.simulator.render import SIGHT, follow, render_frames
from sapnet_core.simulator.settings import SimSettings

FRAMES, SIZE = 96, 112


def record(action="107B", score=70.0, **changes):
    values = dict(
        dataset="finediving",
        key="t-1",
        event="e",
        path="p",
        start=0,
        end=100,
        score=score,
        difficulty=3.0,
        action=action,
        judges=(),
        transitions=(30, 62),
        subactions=(),
        split="train",
    )
    return Record(**(values | changes))


def scene_of(settings=None, seed=0, height=10.0, springboard=False):
    generator = torch.Generator().manual_seed(seed)
    return draw_scene(settings or SimSettings(), generator, frames=FRAMES, height=height, springboard=springboard)


def motion_of(action="107B", quality=0.7, seed=0, **changes):
    factors = torch.full((len(FACTORS),), quality)
    offsets = torch.linspace(0, 99, FRAMES).long()
    generator = torch.Generator().manual_seed(seed)
    return replace(dive_motion(record(action), offsets, factors, SimSettings(), generator), **changes)


def same(a, b) -> bool:
    """Whether two values of a scene are bit-identical."""
    if isinstance(a, torch.Tensor):
        return torch.equal(a, b)
    return len(a) == len(b) and all(map(same, a, b)) if isinstance(a, tuple) else a == b


@pytest.fixture(scope="module")
def twin():
    return simulate(record())


def test_twin_has_the_promised_shapes(twin):
    assert twin.video.shape == (FRAMES, 3, SIZE, SIZE) and twin.video.dtype == torch.uint8
    assert twin.boxes.shape == (FRAMES, 4) and twin.boxes.dtype == torch.float32
    assert twin.joints.shape == (FRAMES, 16, 2) and twin.subactions.shape == (FRAMES,)
    assert twin.factors.shape == (len(FACTORS),) and 0 < twin.entry < FRAMES


def test_boxes_lie_in_the_picture_and_are_never_empty(twin):
    assert (twin.boxes >= 0).all() and (twin.boxes <= SIZE).all()
    assert (twin.boxes[:, 2:] - twin.boxes[:, :2] >= 2).all()


def test_same_key_and_seed_give_the_same_twin_bit_for_bit(twin):
    again = simulate(record())
    assert all(same(getattr(twin, f.name), getattr(again, f.name)) for f in fields(twin))
    for other in (simulate(record(), seed=1), simulate(record(key="t-2"))):
        assert not torch.equal(twin.video, other.video)


def test_the_score_changes_neither_scene_nor_start(twin):
    worse = simulate(record(score=20.0))
    assert not torch.equal(twin.factors, worse.factors) and not torch.equal(twin.video, worse.video)
    # Until the diver swings for the take-off, the athlete, the position, the background and the noise are the same.
    assert torch.equal(twin.joints[:10], worse.joints[:10])
    assert torch.equal(twin.video[:10], worse.video[:10])


def test_scene_is_drawn_without_the_score():
    assert all(same(getattr(scene_of(), f.name), getattr(scene_of(), f.name)) for f in fields(scene_of()))
    names = {f.name for f in fields(scene_of())}
    assert not names & {"score", "quality", "factors", "splash"}


def test_background_is_the_same_for_two_qualities_where_the_camera_is():
    scene = replace(scene_of(SimSettings(camera=0.0)), sensor=0.0)
    good, bad = motion_of(quality=0.95), motion_of(quality=0.2)
    bad = replace(bad, joints=good.joints, entry=good.entry)  # only the splash differs
    a, b = (render_frames(m, scene, SIZE)[0] for m in (good, bad))
    before = int(good.entry)
    assert torch.equal(a[:before], b[:before]) and not torch.equal(a[before + 1 :], b[before + 1 :])


@pytest.mark.parametrize("action", ["107B", "5253B", "614B", "405C"])
def test_pixels_of_the_figure_lie_in_its_box_and_fill_it(action):
    scene, motion = scene_of(seed=3), motion_of(action)
    with_actor, boxes, *_ = render_frames(motion, scene, SIZE)
    without, *_ = render_frames(motion, scene, SIZE, actor=False)
    before = int(motion.entry)  # from then on, the splash is drawn with the actor
    changed = (with_actor.int() - without.int()).abs().amax(1)[:before] > 4  # (t, H, W)
    rows, columns = changed.any(2), changed.any(1)
    first = torch.stack([columns.int().argmax(1), rows.int().argmax(1)], 1)
    last = SIZE - torch.stack([columns.flip(1).int().argmax(1), rows.flip(1).int().argmax(1)], 1)
    drawn = torch.cat([first, last], 1).float()
    assert changed.flatten(1).any(1).all()
    assert (boxes[:before] - drawn).abs().amax() < 4 and (boxes[:before] - drawn).abs().mean() < 1.2


def test_joints_lie_on_the_figure_and_in_the_crop(twin):
    before = int(twin.entry)
    inside = (twin.joints >= twin.boxes[:, None, :2] - 1) & (twin.joints <= twin.boxes[:, None, 2:] + 1)
    assert inside[:before].all()
    crop = points_to_crop(twin.joints, square_track(twin.boxes), SIZE)[:before]
    assert ((crop >= 0) & (crop <= SIZE)).float().mean() > 0.99


@pytest.mark.parametrize("seed", range(4))
def test_figure_stays_in_the_picture_at_a_fit_size(seed):
    motion, scene = motion_of(quality=0.5, seed=seed), scene_of(SimSettings(camera=2.0), seed)
    _, boxes, joints, _ = render_frames(motion, scene, SIZE)
    flying = joints[: int(motion.entry)]
    assert flying.min() > 0 and flying.max() < SIZE
    assert 0.25 < (boxes[:10, 3] - boxes[:10, 1]).mean() / SIZE < 0.55


def test_body_vanishes_in_the_water_and_its_box_stays_at_the_splash():
    motion, scene = motion_of(), scene_of(SimSettings(bystanders=0))
    deep = motion.joints.clone()
    deep[int(motion.entry) + 4 :, :, 1] -= 2 * SIGHT + 2
    video, boxes, *_ = render_frames(replace(motion, joints=deep, splash=0.0, entry=motion.entry), scene, SIZE)
    empty = render_frames(replace(motion, joints=deep), scene, SIZE, actor=False)[0]
    assert (video[-1].int() - empty[-1].int()).abs().float().mean() < 2
    centre = (boxes[-1, :2] + boxes[-1, 2:]) / 2
    assert 0.3 * SIZE < centre[0] < 0.7 * SIZE and 0 < boxes[-1, 0] < boxes[-1, 2] < SIZE


def test_heavier_splash_whitens_more_and_longer():
    scene, motion = scene_of(), motion_of()
    clean = render_frames(motion, scene, SIZE, actor=False)[0].float()
    first = int(motion.entry) + 1
    white = []
    for splash in (0.0, 0.5, 1.0):
        seen = render_frames(replace(motion, splash=splash), scene, SIZE)[0].float()
        white.append((seen - clean)[first:].clamp(min=0).mean((1, 2, 3)))
    assert white[0].sum() < 0.5 * white[1].sum() < 0.5 * white[2].sum()
    assert (white[0] > 0.3).sum() < (white[1] > 0.3).sum() <= (white[2] > 0.3).sum()


def test_mirrored_dive_is_the_mirror_image():
    scene, motion = replace(scene_of(SimSettings(bystanders=0)), sensor=0.0), motion_of()
    left, right = (render_frames(motion, replace(scene, mirrored=m), SIZE) for m in (True, False))
    assert (left[0].flip(-1).int() - right[0].int()).abs().float().mean() < 0.6
    torch.testing.assert_close(SIZE - left[2][..., 0], right[2][..., 0], atol=1e-3, rtol=0)


def test_settings_switch_nuisance_off():
    calm = SimSettings(nuisance=0.0, bystanders=0, sensor_noise=0.0, texture=0.0, camera=0.0)
    a, b = scene_of(calm, 0), scene_of(calm, 1)
    assert torch.equal(a.palette, b.palette) and a.yaw == b.yaw == 0 and a.shake == 0
    assert (a.gain == 1).all() and bystander_joints(a.people, FRAMES).shape == (0, FRAMES, 16, 3)
    quiet, loud = (render_frames(motion_of(), scene_of(s), SIZE)[0].float() for s in (calm, SimSettings()))
    assert loud[:, :, :, :30].std() > 1.5 * quiet[:, :, :, :30].std()


def test_noise_has_the_asked_strength_and_changes_from_frame_to_frame():
    scene = scene_of(SimSettings(camera=0.0, bystanders=0, nuisance=0.0))
    clean = render_frames(motion_of(), replace(scene, sensor=0.0), SIZE)[0].float()
    noise = render_frames(motion_of(), replace(scene, sensor=0.05), SIZE)[0].float() - clean
    assert 0.9 * 12.75 < noise.std() < 1.1 * 12.75
    a, b = noise[10].flatten(), noise[11].flatten()
    assert abs(torch.corrcoef(torch.stack([a, b]))[0, 1]) < 0.05


def test_bystanders_move_and_stand_on_their_feet():
    scene = scene_of(SimSettings(bystanders=12))
    joints = bystander_joints(scene.people, FRAMES)
    assert joints.shape == (12, FRAMES, 16, 3) and (joints.diff(dim=1).abs().amax((1, 2, 3)) > 0).all()
    torch.testing.assert_close(joints[..., 1].amin(2), scene.people[:, 4:5].expand(-1, FRAMES))


def test_larger_picture_shows_the_same_scene():
    scene, motion = replace(scene_of(), sensor=0.0), motion_of()
    small, boxes, *_ = render_frames(motion, scene, SIZE)
    large, twice, *_ = render_frames(motion, scene, 2 * SIZE)
    shrunk = torch.nn.functional.avg_pool2d(large.float(), 2)
    assert (shrunk - small.float()).abs().mean() < 6
    torch.testing.assert_close(twice / 2, boxes, atol=1.1, rtol=0)


def test_canvas_reaches_as_far_as_the_camera():
    scene, motion = scene_of(height=10.0), motion_of()
    canvas, (left, top) = paint_canvas(scene, 20.0, "cpu")
    camera = follow(motion.joints[..., :2], scene, SIZE, motion.entry)
    half = SIZE / 2 / camera.scale
    assert (camera.centre[:, 1] + half).max() < top and (camera.centre[:, 0] - half).min() > left
    assert (camera.centre[:, 0] + half).max() < left + canvas.shape[2] / 20
    assert 0 <= canvas.min() and canvas.max() <= 1


def test_device_argument_moves_the_work():
    device = "cuda" if torch.cuda.is_available() else "cpu"
    moved, here = simulate(record(), device=device), simulate(record())
    assert moved.video.device.type == device and moved.boxes.device.type == device
    assert (moved.video.cpu().int() - here.video.int()).abs().float().mean() < 0.5


@pytest.mark.speed
def test_rendering_is_quick():
    simulate(record())
    start = time.process_time()
    for seed in range(3):
        simulate(record(), seed=seed)
    assert (time.process_time() - start) / 3 < 0.6  # processor time, which other processes do not change; about 0.08 s
