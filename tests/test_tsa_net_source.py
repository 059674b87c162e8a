"""TSA-Net has the attention of its source: cells of the tube attend to each other, all others stay as they are."""

from dataclasses import replace

import pytest
import torch
from plain_numbers import filled, numbers, softmax, tensors
from test_methods import easy_set

from sapnet_core.methods import get_method, tsa_net


def drawn(*shape: int, seed: int = 0) -> torch.Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


def test_attention_follows_the_equation_inside_the_tube_alone():
    """Equal to plain loops over the cells of two videos, whose tubes differ in size."""
    attention = tsa_net.TubeAttention(8, 0.5)
    torch.nn.init.normal_(attention.out.weight)
    torch.nn.init.normal_(attention.out.bias)
    x = drawn(2, 6, 8)
    tube = torch.tensor([[1, 0, 1, 1, 0, 0], [0, 1, 1, 1, 1, 1]], dtype=torch.bool)
    found = attention(x, tube)
    for b in range(2):
        inside = [j for j in range(6) if tube[b, j]]
        for i in range(6):
            if i not in inside:
                assert not found[b, i].any()  # z_i = x_i
                continue
            weights = torch.tensor([0.5 * float(x[b, i] @ x[b, j]) for j in inside]).softmax(0)
            y = sum(w * attention.value(x[b, j]) for w, j in zip(weights, inside, strict=True))
            assert torch.allclose(found[b, i], attention.out(y), atol=1e-4)


def test_an_empty_tube_changes_nothing_and_breaks_no_gradient():
    attention = tsa_net.TubeAttention(8)
    torch.nn.init.normal_(attention.out.weight)
    tube = torch.tensor([[False] * 3, [True, True, False]])
    found = attention(drawn(2, 3, 8), tube)
    found.square().sum().backward()
    assert not found[0].any() and found[1, :2].all()
    assert all(p.grad.isfinite().all() for p in attention.parameters())


def test_the_tube_holds_what_boxes_cover_by_half_and_the_middle_of_each():
    """By hand, on 2 x 3 cells, two frames in the first step and one that is repeated in the second."""
    boxes = torch.tensor([[[[0.0, 0, 1, 0.5], [1.1, 1.2, 1.5, 1.6]], [[1.4, 0.1, 3, 1.9], [1.4, 0.1, 3, 1.9]]]])
    assert tsa_net.tube_cells(boxes, 2, 3).int().tolist() == [
        [
            [[1, 0, 0], [0, 1, 0]],  # half of the first cell; and a small box inside a cell
            [[0, 1, 1], [0, 1, 1]],  # it covers 0.6 x 0.9 of the cells in the middle
        ]
    ]


def test_the_tube_follows_plain_loops():
    boxes = torch.rand(2, 3, 4, 4, generator=torch.Generator().manual_seed(3)) * 2.5
    boxes[..., 2:] += boxes[..., :2]
    boxes = boxes.clamp(max=3.0)
    found = tsa_net.tube_cells(boxes, 3, 3)
    for b in range(2):
        for s in range(3):
            expected = torch.zeros(3, 3, dtype=torch.bool)
            for x1, y1, x2, y2 in boxes[b, s].tolist():
                for i in range(3):
                    for j in range(3):
                        across = max(0.0, min(x2, j + 1) - max(x1, j))
                        down = max(0.0, min(y2, i + 1) - max(y1, i))
                        middle = (min(int((y1 + y2) / 2), 2), min(int((x1 + x2) / 2), 2))
                        expected[i, j] |= across * down >= 0.5 or middle == (i, j)
            assert torch.equal(found[b, s], expected)


def test_it_begins_as_the_mean_of_the_frames():
    train, x, _ = easy_set()
    score = [
        tsa_net.training(train, {"attend": attend}, torch.Generator().manual_seed(0)).score(x)
        for attend in (True, False)
    ]
    assert torch.equal(*score)


@pytest.mark.parametrize("tube", [True, False])
def test_the_tube_is_where_the_actor_is_and_changes_predictions(tube):
    train, x, _ = easy_set()
    fitted = get_method("tsa-net")(train, {"steps": 60, "tube": tube}, torch.Generator().manual_seed(0))
    elsewhere = replace(x, boxes=x.boxes + torch.tensor([1.0, 0, 1, 0]))
    assert torch.allclose(fitted.predict(x), fitted.predict(elsewhere), atol=1e-4) != tube


def test_cells_outside_the_tube_count_in_the_mean_alone():
    """What is moved from one cell outside the tube to another changes nothing, but from a cell inside it does."""
    train, x, _ = easy_set()
    fitted = get_method("tsa-net")(train, {"steps": 60}, torch.Generator().manual_seed(0))
    moved = drawn(*x.maps.shape[:2], x.maps.shape[-1])
    for cell, same in (((0, 1), True), ((0, 0), False)):
        maps = x.maps.float()
        maps[:, :, cell[0], cell[1]] += moved
        maps[:, :, 1, 1] -= moved
        plain = replace(x, maps=x.maps.float())
        assert torch.allclose(fitted.predict(plain), fitted.predict(replace(x, maps=maps)), atol=1e-4) == same


def test_predictions_do_not_depend_on_how_many_videos_are_taken_at_once(monkeypatch):
    train, x, _ = easy_set()
    fitted = get_method("tsa-net")(train, {"steps": 30}, torch.Generator().manual_seed(0))
    every = fitted.predict(x)
    monkeypatch.setattr(tsa_net, "AT_ONCE", 7)
    assert torch.allclose(fitted.predict(x), every, atol=1e-5)


@pytest.mark.parametrize("maps", [True, False])
def test_videos_without_maps_have_the_steps_of_the_actor_as_their_tube(maps):
    train, x, _ = easy_set()
    if not maps:
        train, x = (replace(some, maps=None, boxes=None) for some in (train, x))
    fitted = get_method("tsa-net")(train, {"steps": 60}, torch.Generator().manual_seed(0))
    turned = replace(x, actor=x.actor.flip(1) * 2)
    assert torch.allclose(fitted.predict(x), fitted.predict(turned), atol=1e-4) == maps


def test_the_attention_learns():
    train, _, _ = easy_set()
    run = tsa_net.training(train, {}, torch.Generator().manual_seed(0))
    run.loss(0)["L_all"].backward()
    assert run.network["tube"].out.weight.grad.abs().max() > 0


def test_the_loss_has_its_value():
    """Cells of the tube attend to each other, their mean is scored, and the error is squared."""
    attention, w = filled(tsa_net.TubeAttention(8), 10)
    x, head, y = numbers(5, 4, 6, 8), numbers(6, 8), numbers(7, 4)
    g = x @ w["value.weight"].T + w["value.bias"]
    seen = x + softmax(x @ x.transpose(0, 2, 1)) @ g @ w["out.weight"].T + w["out.bias"]
    value = ((seen.mean(1) @ head - y) ** 2).mean()
    assert value == pytest.approx(4.2566686224562265, rel=1e-12)
    x, head, y = tensors(x, head, y)
    changes = attention(x, torch.ones(4, 6, dtype=torch.bool))
    assert float(((x + changes).mean(1) @ head - y).square().mean().detach()) == pytest.approx(value, rel=1e-12)
