"""k-means against scikit-learn, Algorithm 1 against loops and brute force, labels against their definition."""

import itertools

import pytest
import torch

from sapnet_core.sapnet.parsing import interpolation_matrix
from sapnet_core.sapnet.pseudo_labels import (
    _nearest,
    dataset_pseudo_labels,
    gram_pseudo_labels,
    kmeans,
    present,
    pseudo_labels,
    select_states,
)


def video(*shape, seed=0, walk=True):
    x = torch.randn(*shape, generator=torch.Generator().manual_seed(seed))
    return x.cumsum(-2) if walk else x


def cost(x, centers, chosen):
    """Z(Γ) of Eq. 3 for one video, frame by frame."""
    return sum(min(float((f - centers[i]).double().norm()) for i in chosen) for f in x) / len(x)


def greedy(x, centers, K, better=lambda new, old: new < old - 1e-9):
    """Algorithm 1 as printed; `better(new, old)` decides whether a state's cost replaces the best so far."""
    chosen = []
    for _ in range(K):
        best = None
        for z in sorted(set(range(len(centers))) - set(chosen)):
            value = cost(x, centers, [*chosen, z])
            if best is None or better(value, best[0]):
                best = (value, z)
        chosen.append(best[1])
    return chosen


def inertia(x, centers):
    return torch.cdist(x, centers).square().amin(2).sum(1)


def test_kmeans_is_as_good_as_scikit_learns():
    from sklearn.cluster import KMeans

    x = video(6, 96, 16)
    centers, assign = kmeans(x, 8, iterations=30)
    reference = torch.tensor([KMeans(8, n_init=10, random_state=0).fit(v.numpy()).inertia_ for v in x])
    ratio = inertia(x, centers) / reference
    assert ratio.mean() < 1.03 and ratio.max() < 1.10
    assert ratio.min() > 0.97  # far below the best of ten, it would be measured wrongly


def test_kmeans_ends_at_a_fixed_point_of_lloyd():
    x = video(3, 40, 5)
    centers, assign = kmeans(x, 6, iterations=40)
    for b in range(3):
        for m in range(6):
            assert torch.allclose(centers[b, m], x[b][assign[b] == m].mean(0), atol=1e-4)
        for t in range(40):
            own = (x[b, t] - centers[b, assign[b, t]]).norm()
            assert own <= min((x[b, t] - c).norm() for c in centers[b]) + 1e-4


def test_kmeans_matches_a_naive_loop_step_by_step():
    x = video(1, 20, 3, seed=3)
    centers = torch.stack([x[0, [t for t in range(20) if t * 4 // 20 == m]].mean(0) for m in range(4)])
    for iterations in range(4):
        nearest = [min(range(4), key=lambda m: float((f - centers[m]).norm())) for f in x[0]]
        got, assign = kmeans(x, 4, iterations)
        assert assign[0].tolist() == nearest
        assert torch.allclose(got[0], centers, atol=1e-4)
        centers = torch.stack([x[0, [t for t in range(20) if nearest[t] == m]].mean(0) for m in range(4)])


def test_an_empty_cluster_restarts_at_the_farthest_frame():
    # The centers start at the means of three windows of time, 0, 5 and 10.5: the cluster at 5 loses all its frames, and
    # 12 is the frame farthest from its center.
    x = torch.tensor([0.0, 0, 0, 0, 0, 0, 10, 10, 10, 10, 10, 12]).reshape(1, 12, 1)
    centers, assign = kmeans(x, 3, iterations=10)
    assert assign.tolist() == [[0] * 6 + [2] * 5 + [1]]
    assert torch.allclose(centers[0, :, 0], torch.tensor([0.0, 12.0, 10.0]), atol=1e-4)


def test_kmeans_survives_fewer_distinct_frames_than_clusters():
    x = torch.cat([torch.zeros(2, 10, 3), torch.ones(2, 10, 3)], 1)
    centers, assign = kmeans(x, 5)
    assert torch.isfinite(centers).all()
    assert torch.allclose(centers.gather(1, assign[:, :, None].expand(-1, -1, 3)), x, atol=1e-5)


def test_selection_equals_algorithm_1_and_a_wrong_criterion_does_not():
    x, differs = video(8, 24, 4, seed=1), False
    centers, _ = kmeans(x, 6)
    chosen = select_states(x, centers, 3)
    for b in range(8):
        assert chosen[b].tolist() == greedy(x[b], centers[b], 3)
        differs |= chosen[b].tolist() != greedy(x[b], centers[b], 3, better=lambda new, old: new > old)
    assert differs  # a criterion of the wrong sign is noticed


def test_selection_uses_the_distance_and_not_its_square():
    x, centers = video(60, 12, 2, seed=5, walk=False), video(60, 5, 2, seed=6, walk=False)
    chosen = select_states(x, centers, 1)[:, 0]
    assert torch.equal(chosen, torch.cdist(x, centers).mean(1).argmin(1))
    assert not torch.equal(chosen, torch.cdist(x, centers).square().mean(1).argmin(1))


def test_selection_against_brute_force():
    x = video(10, 20, 3, seed=2)
    centers, _ = kmeans(x, 6)
    for K in (1, 2, 3):
        chosen = select_states(x, centers, K)
        for b in range(10):
            optimum = min(cost(x[b], centers[b], c) for c in itertools.combinations(range(6), K))
            empty = max(cost(x[b], centers[b], [i]) for i in range(6))  # Z(∅), the worst single state, as the base
            value = cost(x[b], centers[b], chosen[b].tolist())
            if K == 1:
                assert value == pytest.approx(optimum)
            # The gain is submodular, so greedy selection reaches at least 1 - 1/e of the best gain.
            assert empty - value >= (1 - 1 / 2.71828) * (empty - optimum) - 1e-6


def test_ties_go_to_the_lowest_index():
    x = torch.zeros(1, 4, 2)
    assert select_states(x, torch.ones(1, 5, 2), 3).tolist() == [[0, 1, 2]]


def test_labels_are_the_nearest_selected_states_numbered_by_mean_time():
    x = video(5, 48, 6, seed=7)
    centers, _ = kmeans(x, 8)
    chosen, labels = select_states(x, centers, 3), pseudo_labels(x, 8, 3)
    for b in range(5):
        nearest = [min(range(3), key=lambda j: float((f - centers[b, chosen[b, j]]).norm())) for f in x[b]]
        when = [sum(t for t in range(48) if nearest[t] == j) / max(nearest.count(j), 1) for j in range(3)]
        number = {j: r for r, j in enumerate(sorted(range(3), key=lambda j: when[j]))}
        assert labels[b].tolist() == [number[j] for j in nearest]
    first = [(labels == k).float().mul(torch.arange(48.0)).sum(1) / (labels == k).sum(1) for k in range(3)]
    assert (first[0] < first[1]).all() and (first[1] < first[2]).all()


def test_planted_subactions_are_found():
    means = 5 * torch.eye(3)
    truth = torch.tensor([0] * 30 + [1] * 40 + [2] * 26)
    x = means[truth] + 0.3 * video(4, 96, 3, walk=False)
    assert (pseudo_labels(x, 8, 3) == truth).float().mean() > 0.98
    assert (dataset_pseudo_labels(x, 8, 3) == truth).float().mean() > 0.98


def test_gram_space_loses_nothing():
    x = video(4, 96, 32) + 50  # far from the origin
    assert torch.equal(pseudo_labels(x, 8, 3), pseudo_labels(x - 50, 8, 3))
    centered = x - x.mean(1, keepdim=True)
    assert torch.equal(pseudo_labels(x, 8, 3), gram_pseudo_labels(centered @ centered.transpose(1, 2), 8, 3))


def test_steps_serve_in_place_of_the_frames_between_them():
    x = video(4, 20, 32)
    x = x - x.mean(1, keepdim=True)
    mix = interpolation_matrix(torch.linspace(0, 1, 20), 96, 96)
    expected = gram_pseudo_labels((mix @ x) @ (mix @ x).transpose(1, 2), 8, 3)
    assert torch.equal(gram_pseudo_labels(x @ x.transpose(1, 2), 8, 3, mix=mix), expected)
    assert len(expected.unique(dim=0)) == 4


def test_of_equally_near_centers_the_first_takes_the_frame():
    near = torch.tensor([[[1.0, 2.0, 0.5], [1.0, 0.0, 0.5], [3.0, 0.0, 0.5]]])  # (B, M, T)
    assert _nearest(near).tolist() == [[[1, 0, 1], [0, 1, 0], [0, 0, 0]]]


def test_states_without_frames_take_the_last_numbers():
    x = torch.cat([torch.zeros(1, 10, 2), torch.ones(1, 10, 2)], 1)
    labels = pseudo_labels(x, 6, 4)
    assert labels.tolist() == [[0] * 10 + [1] * 10]
    assert present(labels, 4).tolist() == [[True, True, False, False]]


def test_dataset_scope_gives_one_meaning_to_a_label():
    # Two videos of two phases each: the second phase of one is the first phase of the other.
    a, b, c = torch.zeros(12, 2), torch.tensor([[9.0, 0.0]]).repeat(12, 1), torch.tensor([[0.0, 9.0]]).repeat(12, 1)
    x = torch.stack([torch.cat([a, b]), torch.cat([b, c])]) + 0.01 * video(2, 24, 2, walk=False)
    alone, together = pseudo_labels(x, 6, 2), dataset_pseudo_labels(x, 6, 3)
    assert alone[0, 20] == 1 and alone[1, 4] == 0
    assert together[0, 20] == together[1, 4]
    assert sorted(together.unique().tolist()) == [0, 1, 2]


def test_dataset_scope_of_one_video_is_that_video():
    x = video(5, 96, 8)
    for one in x.split(1):
        assert torch.equal(dataset_pseudo_labels(one, 8, 3), pseudo_labels(one, 8, 3))
    assert torch.equal(dataset_pseudo_labels(x[:1].repeat(2, 1, 1), 8, 3)[1:], pseudo_labels(x[:1], 8, 3))


def test_dataset_scope_numbers_by_time_in_the_video():
    early, middle, late = 9 * torch.eye(3)[:, None].expand(-1, 12, -1)
    x = torch.stack([torch.cat([middle, late]), torch.cat([early, middle])])
    assert dataset_pseudo_labels(x, 6, 3).tolist() == [[1] * 12 + [2] * 12, [0] * 12 + [1] * 12]


def test_videos_do_not_touch_each_other_and_runs_repeat():
    x = video(6, 96, 8)
    labels = pseudo_labels(x, 8, 3)
    assert torch.equal(labels, pseudo_labels(x.clone(), 8, 3))
    assert torch.equal(labels[2:3], pseudo_labels(x[2:3], 8, 3))


def test_too_many_states_are_refused():
    with pytest.raises(ValueError, match="M = 6"):
        kmeans(video(1, 5, 2), 6)
    with pytest.raises(ValueError, match="K = 4"):
        pseudo_labels(video(1, 9, 2), 3, 4)
