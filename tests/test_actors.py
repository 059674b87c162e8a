"""Actor tracks, actor crops, and the mapping of points between frame and crop."""

import time

import pytest
import torch

from sapnet_core.detection.crops import (
    crop_track,
    points_from_crop,
    points_to_crop,
    resize_boxes,
    resize_video,
    square_track,
)


@pytest.fixture
def fall():
    """Boxes (30, 4) of a figure that falls and tucks."""
    t = torch.linspace(0, 1, 30)
    centre = torch.stack([40 + 15 * t, 20 + 70 * t**2], 1)
    half = torch.stack([5 + 6 * torch.sin(6 * t) ** 2, 18 - 8 * torch.sin(6 * t) ** 2], 1)
    return torch.cat([centre - half, centre + half], 1)


def test_track_is_square_enlarged_and_covers_the_actor(fall):
    track = square_track(fall, enlarge=1.3)
    side = track[:, 2:] - track[:, :2]
    torch.testing.assert_close(side[:, 0], side[:, 1])
    assert (side[:, 0] >= (fall[:, 2:] - fall[:, :2]).amax(1)).all()
    assert (track[:, :2] <= fall[:, :2] + 1e-4).all() and (track[:, 2:] >= fall[:, 2:] - 1e-4).all()


def test_track_without_smoothing_is_the_enlarged_square(fall):
    track = square_track(fall, enlarge=1.5, smooth=0, least=0)
    torch.testing.assert_close((track[:, 2:] + track[:, :2]) / 2, (fall[:, 2:] + fall[:, :2]) / 2)
    torch.testing.assert_close((track[:, 2:] - track[:, :2])[:, 0], 1.5 * (fall[:, 2:] - fall[:, :2]).amax(1))


def test_track_is_steadier_than_trembling_boxes(fall):
    shaken = fall + 3 * torch.randn(30, 1, generator=torch.Generator().manual_seed(0))
    jump = [square_track(b, smooth=s).diff(n=2, dim=0).abs().mean() for b, s in ((shaken, 3.0), (shaken, 0))]
    assert jump[0] < 0.25 * jump[1]


def test_vanishing_box_keeps_half_of_the_largest_side(fall):
    fall[20:, 2:] = fall[20:, :2] + 2.0
    side = square_track(fall, enlarge=1.0, smooth=0)[:, 2:] - square_track(fall, enlarge=1.0, smooth=0)[:, :2]
    torch.testing.assert_close(side[25, 0], 0.5 * side.max())


def test_whole_frame_as_crop_is_the_identity():
    video = torch.randint(0, 256, (3, 3, 20, 20), dtype=torch.uint8, generator=torch.Generator().manual_seed(1))
    assert torch.equal(crop_track(video, torch.tensor([0.0, 0, 20, 20]).expand(3, 4), 20), video)


def test_whole_pixels_are_cut_out_unchanged():
    video = torch.randint(0, 256, (2, 3, 30, 40), dtype=torch.uint8, generator=torch.Generator().manual_seed(2))
    crop = crop_track(video, torch.tensor([[7.0, 3, 23, 19], [24.0, 14, 40, 30]]), 16)
    assert torch.equal(crop[0], video[0, :, 3:19, 7:23])
    assert torch.equal(crop[1], video[1, :, 14:30, 24:40])


def test_drawn_dot_lands_where_its_point_is_carried():
    rows, columns = torch.tensor([10, 33, 50]), torch.tensor([12, 40, 5])
    video = torch.zeros(3, 3, 64, 64, dtype=torch.uint8)
    video[torch.arange(3), :, rows, columns] = 255
    boxes = torch.tensor([[5.3, 4.1, 26.3, 25.1], [20.0, 20.7, 50.0, 50.7], [-6.0, 40.0, 18.0, 64.0]])
    crop = crop_track(video, boxes, 96)[:, 0].float()  # (3, 96, 96)
    weight = crop / crop.sum((1, 2), keepdim=True)
    grid = torch.arange(96) + 0.5
    found = torch.stack([(weight.sum(1) * grid).sum(1), (weight.sum(2) * grid).sum(1)], 1)  # center of mass
    dots = torch.stack([columns + 0.5, rows + 0.5], 1)[:, None]  # (x, y) of the pixels' centers
    torch.testing.assert_close(points_to_crop(dots, boxes, 96)[:, 0], found, atol=0.15, rtol=0)


def test_points_go_to_the_crop_and_back(fall):
    points = 112 * torch.rand(30, 16, 2, generator=torch.Generator().manual_seed(3))
    track = square_track(fall)
    torch.testing.assert_close(points_from_crop(points_to_crop(points, track, 96), track, 96), points)


def test_beyond_the_picture_its_border_goes_on():
    video = torch.zeros(1, 3, 8, 8, dtype=torch.uint8)
    video[..., -1] = 200
    crop = crop_track(video, torch.tensor([[8.0, 0.0, 16.0, 8.0]]), 8)
    assert (crop == 200).all()


def test_box_and_picture_are_resized_alike():
    video = torch.zeros(1, 3, 60, 80, dtype=torch.uint8)
    video[..., 12:30, 20:48] = 255
    boxes = resize_boxes(torch.tensor([[20.0, 12.0, 48.0, 30.0]]), (60, 80), (30, 20))
    torch.testing.assert_close(boxes, torch.tensor([[5.0, 6.0, 12.0, 15.0]]))
    small = resize_video(video, (30, 20))[0, 0]
    assert small.shape == (30, 20)
    assert (small[7:14, 6:11] == 255).all() and small[:5].max() == 0 and small[:, :4].max() == 0


def test_wrong_number_of_boxes_is_named():
    with pytest.raises(ValueError, match="2 frames.*3 boxes"):
        crop_track(torch.zeros(2, 3, 8, 8, dtype=torch.uint8), torch.zeros(3, 4), 8)


@pytest.mark.speed
def test_crop_is_quick(fall):
    video = torch.zeros(96, 3, 112, 112, dtype=torch.uint8)
    track = square_track(fall.repeat(4, 1)[:96])
    took = []
    for _ in range(5):
        start = time.process_time()
        crop = crop_track(video, track, 112)
        took.append(time.process_time() - start)
    assert crop.shape == video.shape and crop.dtype == torch.uint8
    assert min(took) < 0.2  # processor time, which other processes do not change; about 0.012 s
