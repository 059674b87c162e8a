"""Grad-CAM against its formula, receptive-field centers, the share of heat in a box, and heat from crop to frame."""

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from sapnet_core.backbones.i3d import I3D
from sapnet_core.detection.crops import crop_track, points_to_crop
from sapnet_core.reporting.grad_cam import cell_centers, grad_cam, heat_from_crop, heat_on_pixels, share_inside

SMALL = dict(channels=256, decoder_channels=32, frames=32, M=4)


def test_grad_cam_is_the_formula():
    torch.manual_seed(0)
    layer, head = nn.Conv3d(3, 5, 3, padding=1), nn.Linear(5, 1)
    x = torch.randn(2, 3, 4, 6, 7)

    def score(x):
        return head(layer(x).tanh().square().mean((2, 3, 4)))[:, 0]

    found = grad_cam(score, layer, x)
    maps = layer(x).detach().requires_grad_()
    (slope,) = torch.autograd.grad(head(maps.tanh().square().mean((2, 3, 4))).sum(), maps)
    expected = torch.einsum("nc,ncthw->nthw", slope.mean((2, 3, 4)), maps).detach()
    torch.testing.assert_close(found, expected)
    assert found.min() < 0 < found.max()  # signed: there is no ReLU
    torch.testing.assert_close(grad_cam(lambda x: -score(x), layer, x), -expected)


def test_at_the_last_layer_it_is_the_class_activation_map():
    """Mixed_5c is followed by an average, so every cell has the same gradient and the map sums to the score exactly."""
    torch.manual_seed(0)
    net = I3D(0.125).eval()
    weights = torch.randn(net.channels)
    x = torch.randn(1, 3, 16, 64, 64)
    found = grad_cam(lambda x: net(x).mean((2, 3, 4)) @ weights, net.Mixed_5c, x)
    torch.testing.assert_close(found.sum(), (net(x).mean((2, 3, 4)) @ weights).sum().detach(), rtol=1e-3, atol=1e-6)


@pytest.mark.parametrize(
    ("layer", "shape", "axis", "shift"),
    [("Mixed_3c", (96, 40, 40), 0, 0.5), ("Mixed_3c", (16, 320, 40), 1, 3.5), ("Mixed_4f", (16, 64, 960), 2, 7.5)],
)
def test_cells_look_where_said(layer, shape, axis, shift):
    """In an I3D with positive weights, the gradient of a cell with respect to the pixels has its center of mass at the
    stated center, for cells whose receptive field no border cuts; the middle of the cell's own patch of the clip is
    `shift` frames or pixels before it."""
    torch.manual_seed(0)
    net, seen = I3D(0.015625).eval(), {}
    with torch.no_grad():
        for name, p in net.named_parameters():
            p.fill_(0.0 if name.endswith("bias") else 1 / p[0].numel())
    getattr(net, layer).register_forward_hook(lambda m, i, o: seen.update(maps=o))
    x = (1 + torch.rand(6, 3, *shape)).requires_grad_()  # random values, so that no max-pool has a tie
    net(x)
    center = cell_centers(layer, shape[axis], axis)
    assert seen["maps"].shape[2 + axis] == len(center)
    some = slice(len(center) // 2 - 8, len(center) // 2 + 8)
    (slope,) = torch.autograd.grad(seen["maps"].narrow(2 + axis, some.start, 16).sum(), x)
    mass = slope.sum([a for a in range(5) if a != 2 + axis])
    found = (mass * torch.arange(len(mass))).sum() / mass.sum()
    assert abs(found - center[some].mean()) < 0.3 * shift


def test_centers_of_the_usual_sizes():
    assert cell_centers("Mixed_4f", 112, 2).tolist() == [15 + 16 * i for i in range(7)]
    assert cell_centers("Mixed_4f", 16, 0).tolist() == [3 + 4 * i for i in range(4)]
    with pytest.raises(ValueError, match="Mixed_9z"):
        cell_centers("Mixed_9z", 112, 1)


def test_heat_goes_to_the_pixels_that_cells_look_at():
    heat = torch.zeros(1, 4, 7, 7)
    heat[0, 1, 2, 3] = 1
    full = heat_on_pixels(heat, "Mixed_4f", 16, 112, 112)
    assert full.shape == (1, 16, 112, 112)
    peak = [cell_centers("Mixed_4f", size, axis)[i] for axis, (size, i) in enumerate(((16, 1), (112, 2), (112, 3)))]
    where = (full[0] == full.max()).nonzero().double().mean(0)
    torch.testing.assert_close(where, torch.stack(peak).double(), atol=0.51, rtol=0)
    even = heat_on_pixels(torch.ones(1, 4, 7, 7), "Mixed_4f", 16, 112, 112)
    torch.testing.assert_close(even, torch.ones_like(even))
    with pytest.raises(ValueError, match="7 cells over 112"):
        heat_on_pixels(torch.ones(1, 4, 6, 7), "Mixed_4f", 16, 112, 112)


def test_share_inside_counts_pixels():
    heat = torch.ones(2, 8, 10)
    boxes = torch.tensor([[2.0, 1.0, 5.0, 3.0], [0.0, 0.0, 10.0, 8.0]])
    torch.testing.assert_close(share_inside(heat, boxes), torch.tensor((6 + 80) / 160))
    heat[1] = 0
    heat[0, 2, 4] += 10  # pixel (row 2, column 4) lies inside
    torch.testing.assert_close(share_inside(heat, boxes), torch.tensor(16 / 90))
    assert share_inside(torch.zeros(2, 8, 10), boxes).isnan()
    torch.testing.assert_close(share_inside(heat.expand(3, 2, 8, 10), boxes), torch.full((3,), 16 / 90))


def test_heat_comes_back_from_the_crop():
    torch.manual_seed(0)
    blobs = F.interpolate(torch.rand(2, 1, 9, 9), size=(80, 80), mode="bicubic").clamp(0, 1)
    video = (255 * blobs).to(torch.uint8).expand(2, 3, 80, 80)
    track = torch.tensor([[10.3, 5.1, 50.3, 45.1], [-8.0, 30.5, 40.0, 78.5]])
    crop = crop_track(video, track, 60)[:, 0].float()
    back = heat_from_crop(crop, track, 80, 80)
    x = torch.arange(80) + 0.5
    inside = torch.stack([((x >= t[0]) & (x < t[2]))[None, :] & ((x >= t[1]) & (x < t[3]))[:, None] for t in track])
    assert (back[~inside] == 0).all()
    assert (back - video[:, 0])[inside].abs().mean() < 2
    # The share in a box is the same in crop and frame, since the box is mapped by its corners.
    boxes = torch.tensor([[20.0, 15.0, 40.0, 40.0], [5.0, 40.0, 30.0, 70.0]])
    there = points_to_crop(boxes.view(2, 2, 2), track, 60).flatten(1)
    for t in range(2):
        one = share_inside(crop[t : t + 1], there[t : t + 1]), share_inside(back[t : t + 1], boxes[t : t + 1])
        # The second crop extends beyond the frame, where it repeats the border: its share is less exact.
        assert abs(one[0] - one[1]) < (0.01 if t == 0 else 0.1)
