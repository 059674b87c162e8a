"""Photometric augmentation changes the colors and not the geometry, and its seed alone decides how."""

import pytest
import torch
from torch.nn.functional import conv2d

from sapnet_core.features.photometric import photometric

SEEDS = range(8)


def scene(frames: int = 4) -> torch.Tensor:
    """A bright square that moves right over a dark, slightly noisy background, (T, 3, 24, 32) uint8."""
    rough = torch.randint(40, 60, (1, 3, 24, 32), generator=torch.Generator().manual_seed(0), dtype=torch.uint8)
    video = rough.repeat(frames, 1, 1, 1)
    for t in range(frames):
        video[t, :, 8:16, 4 + 4 * t : 12 + 4 * t] = torch.tensor([200, 150, 120], dtype=torch.uint8)[:, None, None]
    return video


def test_shape_and_type_stay_and_the_input_is_left_alone():
    video = scene()
    before = video.clone()
    out = photometric(video, 0)
    assert out.shape == video.shape and out.dtype == torch.uint8
    assert torch.equal(video, before) and not torch.equal(out, video)


def test_the_seed_alone_decides():
    video = scene()
    torch.manual_seed(1)
    first = photometric(video, 3)
    state = torch.get_rng_state()
    assert torch.equal(first, photometric(video, 3))
    assert torch.equal(torch.get_rng_state(), state)  # the global RNG is not used
    others = [photometric(video, seed) for seed in SEEDS]
    assert all(not torch.equal(others[i], others[j]) for i in SEEDS for j in range(i))


@pytest.mark.parametrize("seed", SEEDS)
def test_frames_of_a_video_change_alike(seed):
    """Equal frames stay equal. (Contrast depends on each frame's own mean, so only equal frames can be compared.)"""
    still = scene(1).repeat(5, 1, 1, 1)
    out = photometric(still, seed)
    assert torch.equal(out, out[:1].expand_as(out))
    assert torch.equal(out[0], photometric(still[:1], seed)[0])  # the length of the video does not matter


def edges(video: torch.Tensor) -> torch.Tensor:
    """Columns of the square's left and right edge, (T, 2): the steepest rise and fall of brightness in its rows."""
    gray = video.float().mean(1, keepdim=True)[:, :, 9:15]
    steps = conv2d(gray, torch.tensor([[[[-1.0, 1.0]]]])).mean(2)[:, 0]  # (T, W-1)
    return torch.stack([steps.argmax(1), steps.argmin(1)], 1)


@pytest.mark.parametrize("seed", SEEDS)
def test_nothing_moves(seed):
    video = scene()
    assert edges(video).tolist() == [[3 + 4 * t, 11 + 4 * t] for t in range(4)]
    assert torch.equal(edges(photometric(video, seed)), edges(video))


def test_the_change_is_of_the_size_that_is_said():
    """A gray video does not change with hue and saturation: its mean is scaled by 0.6 … 1.4.

    Each of the four steps may round down by one.
    """
    gray = torch.full((1, 3, 16, 16), 100, dtype=torch.uint8)
    means = [float(photometric(gray, seed).float().mean()) for seed in range(30)]
    assert 56 <= min(means) < 80 and 120 < max(means) <= 141
