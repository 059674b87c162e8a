"""Eqs. 7 and 8 equal loops over their sums, and differ from loops with one term wrong."""

import math

import pytest
import torch

from sapnet_core.sapnet.group_contrast import ProjectionHead, group_contrast, group_means, subaction_groups

K, IOTA = 3, 0.5


def projections(seed=0, batch=6):
    generator = torch.Generator().manual_seed(seed)
    h_u, h_a = torch.randn(2, batch, K, 4, generator=generator)
    groups_u, groups_a = torch.randint(0, K, (2, batch, K), generator=generator)
    return h_u, groups_u, h_a, groups_a


def naive_groups(h, groups, divide_by=None):
    """Group label -> mean of its projections (Eq. 7), or their sum divided by `divide_by`."""
    out = {}
    for p in range(K):
        members = [h[b, k] for b in range(len(h)) for k in range(K) if groups[b, k] == p]
        if members:
            out[p] = sum(members) / (divide_by or len(members))
    return out


def naive_contrast(h_u, groups_u, h_a, groups_a, negatives="ua", keep_positive=True, exponential=True, sign=-1.0):
    """Eq. 8 as a loop; each other value of an option is one error."""
    groups = {"u": naive_groups(h_u, groups_u), "a": naive_groups(h_a, groups_a)}
    common = sorted(set(groups["u"]) & set(groups["a"]))
    f = math.exp if exponential else (lambda v: v)
    score = lambda v, w: f(float(torch.cosine_similarity(v, w, 0)) / IOTA)  # noqa: E731
    losses = []
    for own, other in ("ua", "au"):
        for p in common:
            anchor = groups[own][p]
            positive = score(anchor, groups[other][p])
            below = sum(score(anchor, groups[w][q]) for q in common if q != p for w in negatives)
            losses.append(sign * math.log(positive / (below + keep_positive * positive)))
    return sum(losses) / max(len(losses), 1)


def test_group_means_divide_by_their_members():
    h, groups, _, _ = projections(batch=4)
    groups[groups == 2] = 0
    means, count = group_means(h, groups, K)
    expected = naive_groups(h, groups)
    for p in (0, 1):
        assert torch.allclose(means[p], expected[p], atol=1e-6)
    assert not torch.allclose(means[0], naive_groups(h, groups, divide_by=len(h))[0])  # T_B = batch size (E9)
    assert count[2] == 0 and (means[2] == 0).all()


@pytest.mark.parametrize("seed", range(4))
def test_contrast_equals_the_loop_and_no_wrong_one(seed):
    data = projections(seed)
    value = float(group_contrast(*data, K, IOTA))
    assert value == pytest.approx(naive_contrast(*data), rel=1e-4)
    for wrong in ({"negatives": "u"}, {"negatives": "a"}, {"keep_positive": False}, {"sign": 1.0}):
        assert value != pytest.approx(naive_contrast(*data, **wrong), rel=1e-3)
    assert value != pytest.approx(float(group_contrast(*data, K, 0.9)), rel=1e-3)


def test_labels_of_one_branch_alone_are_left_out():
    h_u, groups_u, h_a, groups_a = projections(2)
    groups_u[groups_u == 2] = 1
    groups_a[0, 0], groups_a[0, 1], groups_a[0, 2] = 0, 1, 2
    value = float(group_contrast(h_u, groups_u, h_a, groups_a, K, IOTA))
    assert value == pytest.approx(naive_contrast(h_u, groups_u, h_a, groups_a), rel=1e-4)
    h_a[groups_a == 2] += 100
    assert value == float(group_contrast(h_u, groups_u, h_a, groups_a, K, IOTA))


def test_one_common_label_or_none_gives_exactly_zero_and_finite_gradients():
    h_u, groups_u, h_a, groups_a = projections()
    for labels in ((1, 1), (0, 2)):
        h = h_u.clone().requires_grad_()
        loss = group_contrast(h, torch.full_like(groups_u, labels[0]), h_a, torch.full_like(groups_a, labels[1]), K)
        assert loss.item() == 0.0
        loss.backward()
        assert torch.isfinite(h.grad).all()
    empty = torch.zeros(0, K, 4), torch.zeros(0, K, dtype=torch.long)
    assert group_contrast(*empty, *empty, K).item() == 0.0


def test_no_gradient_reaches_the_teacher_unless_asked():
    h_u, groups_u, h_a, groups_a = projections()
    for detach in (True, False):
        u, a = h_u.clone().requires_grad_(), h_a.clone().requires_grad_()
        group_contrast(u, groups_u, a, groups_a, K, IOTA, detach).backward()
        assert u.grad.abs().sum() > 0
        assert (a.grad is None or a.grad.abs().sum() == 0) == detach


def test_descent_brings_equal_labels_together():
    h_u, _, h_a, _ = projections()
    groups = torch.arange(K).expand(6, K)
    h = h_u.clone().requires_grad_()

    def margin():
        u, a = (torch.nn.functional.normalize(group_means(v, groups, K)[0], dim=1) for v in (h, h_a))
        similarity = u @ a.T
        return (2 * similarity.diagonal().sum() - similarity.sum()).item()  # equal labels minus different ones

    before = margin()
    for _ in range(20):
        (gradient,) = torch.autograd.grad(group_contrast(h, groups, h_a, groups, K), h)
        h = (h - 5 * gradient).detach().requires_grad_()
    assert margin() > before + 0.1


def test_a_subaction_is_the_class_of_maximum_activation():
    activations = torch.rand(2, 12, K, generator=torch.Generator().manual_seed(0))
    sampling = torch.zeros(2, K * 2, 12)
    for row in range(K * 2):
        sampling[:, row, 2 * row] = 1.0
    groups = subaction_groups(activations, sampling, K)
    for b in range(2):
        for k in range(K):
            mean = (activations[b, 4 * k] + activations[b, 4 * k + 2]) / 2
            assert groups[b, k] == max(range(K), key=lambda c: float(mean[c]))


def test_the_head_has_three_linear_layers_and_pools_over_steps():
    torch.manual_seed(0)
    head, parsed = ProjectionHead(5, 8, 4), torch.randn(2, K, 6, 5)
    assert sum(isinstance(layer, torch.nn.Linear) for layer in head.modules()) == 3
    expected = torch.stack([head.layers(parsed[:, :, j]) for j in range(6)]).mean(0)
    assert head(parsed).shape == (2, K, 4) and torch.allclose(head(parsed), expected, atol=1e-6)
