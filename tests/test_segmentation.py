"""Segmentation against loops: the best partition, temporal IoU, boundary error, and the constant prediction."""

import itertools
from dataclasses import replace

import pytest
import torch

from sapnet_core.datasets import Record
from sapnet_core.datasets.clips import sample_frames
from sapnet_core.experiments.segmentation import (
    best_partition,
    boundary_error,
    bounds_of_activations,
    bounds_of_key_frames,
    bounds_of_labels,
    mean_positions,
    source_bounds,
    temporal_iou,
    tiou_accuracy,
    transition_bounds,
)

RECORD = Record(
    dataset="finediving",
    key="01-001",
    event="01",
    path="x",
    start=100,
    end=185,
    score=80.0,
    difficulty=3.2,
    action="407C",
    judges=(),
    transitions=(20, 60),
    subactions=(4, 25, 36),
    split="train",
)


def draw(*shape, seed=0):
    return torch.rand(*shape, generator=torch.Generator().manual_seed(seed))


def naive_partition(value):
    """The best partition of one video (T, K) over all choices of bounds: the highest sum; ties take the earliest last
    bound, then the earliest last but one, and so on."""
    frames, K = value.shape
    best = None
    for bounds in itertools.combinations(range(1, frames), K - 1):
        edges = (0, *bounds, frames)
        total = sum(float(value[t, k]) for k in range(K) for t in range(edges[k], edges[k + 1]))
        order = (-round(total, 9), bounds[::-1])
        best = min(best or order, order)
    return list(best[1][::-1])


@pytest.mark.parametrize(("frames", "K"), [(9, 1), (9, 2), (10, 3), (11, 4), (4, 4), (5, 4)])
def test_best_partition_equals_every_choice(frames, K):
    for value in (draw(12, frames, K), draw(12, frames, K).logit(), (draw(12, frames, K) * 3).floor()):  # last: ties
        assert best_partition(value).tolist() == [naive_partition(one) for one in value]


def test_ties_take_the_earliest_bounds():
    assert best_partition(torch.zeros(2, 8, 3)).tolist() == [[1, 2]] * 2
    labels = torch.tensor([[0, 0, 1, 0, 1, 1]])  # bounds 2 and 4 both leave one wrong label
    assert bounds_of_labels(labels, 2).tolist() == [[2]]


def test_labels_in_order_give_their_changes():
    for b1, b2 in ((1, 2), (1, 95), (40, 41), (32, 64), (94, 95)):
        labels = (torch.arange(96) >= b1).long() + (torch.arange(96) >= b2)
        assert bounds_of_labels(labels[None], 3).tolist() == [[b1, b2]]
    assert bounds_of_labels(torch.zeros(3, 7, dtype=torch.int64), 1).shape == (3, 0)


def test_labels_out_of_order_keep_most_frames():
    labels = torch.tensor([[0, 0, 2, 0, 1, 1, 0, 1, 2, 2], [1, 1, 1, 0, 0, 0, 2, 2, 2, 2]])
    assert bounds_of_labels(labels, 3).tolist() == [[4, 8], [1, 3]]  # [5, 6] keeps six frames too, but is later
    random = torch.randint(3, (40, 11), generator=torch.Generator().manual_seed(1))
    expected = [naive_partition(torch.nn.functional.one_hot(row, 3)) for row in random]
    assert bounds_of_labels(random, 3).tolist() == expected


def test_a_missing_label_still_gives_k_segments():
    bounds = bounds_of_labels(torch.tensor([[0, 0, 0, 1, 1, 1], [0] * 6, [2] * 6]), 3)
    assert bounds[0, 0] == 3
    assert (torch.nn.functional.pad(bounds, (1, 0)).diff(dim=1) >= 1).all() and (bounds[:, -1] < 6).all()
    assert bounds[1:].tolist() == [[4, 5], [1, 2]]


def test_activations_maximize_the_likelihood_of_eq_6():
    a = draw(6, 9, 3, seed=2)
    likelihood = torch.stack([a[..., k].log() - (1 - a[..., k]).log() for k in range(3)], 2)
    likelihood = likelihood + (1 - a).log().sum(2, keepdim=True)  # Π_j of Bernoulli: this factor is common to all k
    assert bounds_of_activations(a).tolist() == [naive_partition(one) for one in likelihood]
    sure = torch.nn.functional.one_hot((torch.arange(10) >= 3).long() + (torch.arange(10) >= 7), 3).float()
    assert bounds_of_activations(sure[None]).tolist() == [[3, 7]]  # activations 0 and 1 have infinite logits


def test_a_batch_is_its_videos_one_by_one():
    value = draw(5, 96, 3)
    assert torch.equal(best_partition(value), torch.cat([best_partition(one[None]) for one in value]))
    assert best_partition(value[:0]).shape == (0, 2)


def test_temporal_iou_by_hand():
    assert float(temporal_iou(0, 10, 5, 15)) == pytest.approx(5 / 15)
    assert temporal_iou(
        torch.tensor([0, 3, 0, 4]), torch.tensor([5, 3, 4, 8]), torch.tensor([0, 3, 4, 5]), torch.tensor([5, 3, 8, 6])
    ).tolist() == [1, 0, 0, 0.25]


def test_scores_equal_loops():
    frames = torch.tensor([90.0, 60.0, 101.0, 77.0])
    pred, true = ((draw(4, 2, seed=s) * frames[:, None]).sort(1).values for s in (3, 4))
    for threshold in (0.25, 0.5, 0.75):
        for b in range(4):
            hits = 0
            p, t = ([0, *x[b].tolist(), float(frames[b])] for x in (pred, true))
            for k in range(3):
                shared = max(0, min(p[k + 1], t[k + 1]) - max(p[k], t[k]))
                hits += shared / (p[k + 1] - p[k] + t[k + 1] - t[k] - shared) >= threshold
            assert float(tiou_accuracy(pred, true, frames, threshold)[b]) == pytest.approx(hits / 3)
    expected = [sum(abs(float(p - t)) for p, t in zip(*pair, strict=True)) / 2 for pair in zip(pred, true, strict=True)]
    assert boundary_error(pred, true).tolist() == pytest.approx(expected, abs=1e-4)


def test_perfect_and_hopeless_bounds():
    true = torch.tensor([[30, 60]])
    assert tiou_accuracy(true, true, 90, 1.0).tolist() == [1.0] and boundary_error(true, true).tolist() == [0.0]
    assert tiou_accuracy(torch.tensor([[1, 2]]), true, 90, 0.5).tolist() == [0.0]
    half = torch.tensor([[15, 60]])  # temporal IoU 15/30, 30/45 and 1
    assert [float(tiou_accuracy(half, true, 90, th)) for th in (0.5, 0.6, 0.75)] == pytest.approx([1, 2 / 3, 1 / 3])
    none = torch.zeros(2, 0)
    assert tiou_accuracy(none, none, 50, 0.75).tolist() == [1, 1] and boundary_error(none, none).tolist() == [0, 0]


@pytest.mark.parametrize("length", [40, 96, 97, 191, 333])
def test_sampled_bounds_lead_back_to_the_transitions(length):
    """Bounds from the true labels of the sampled frames, mapped back to the video, differ from the transitions by at
    most half a sampling step and half a frame."""
    for first, last in ((1, 2), (3, length // 2), (length // 3, length - 1), (length // 2, length // 2 + 4)):
        record = replace(RECORD, end=RECORD.start + length, transitions=(first, last))
        offsets = sample_frames(record)
        labels = torch.searchsorted(torch.tensor(record.transitions), offsets, right=True)
        if len(labels.unique()) < 3:
            continue  # a subaction contains no sampled frame
        found = source_bounds(bounds_of_labels(labels[None], 3), 96, torch.tensor([length]))
        assert (found - torch.tensor([[first, last]])).abs().max() <= 0.5 * max(1, (length - 1) / 95) + 0.5
    assert source_bounds(torch.tensor([[0, 96]]), 96, torch.tensor([length])).clamp(0.3, length - 0.3).shape == (1, 2)
    edge = source_bounds(torch.tensor([[0, 48, 96]]), 96, torch.tensor([length]))
    assert edge[0, 1] == pytest.approx(length / 2) and (edge >= 0).all() and (edge <= length).all()


def test_key_frames_cut_where_the_network_resamples():
    assert bounds_of_key_frames(torch.tensor([[10, 40, 80]])).tolist() == [[25.5, 60.5]]
    assert bounds_of_key_frames(torch.tensor([[7]])).shape == (1, 0)


def test_only_records_with_k_subactions_are_kept():
    records = [
        RECORD,
        replace(RECORD, transitions=(3, 9, 70)),
        replace(RECORD, transitions=()),
        replace(RECORD, transitions=(5, 70), end=200),
    ]
    kept, bounds, frames = transition_bounds(records, 3)
    assert kept.tolist() == [True, False, False, True]
    assert bounds.tolist() == [[20, 60], [5, 70]] and frames.tolist() == [85, 100]
    assert [len(x) for x in transition_bounds(records, 5)] == [4, 0, 0]
    assert not transition_bounds(records, 1)[0].any()  # records without transitions never count
    assert mean_positions(bounds, frames).tolist() == pytest.approx([(20 / 85 + 5 / 100) / 2, (60 / 85 + 0.7) / 2])
    with pytest.raises(ValueError, match="01-001.*transitions"):
        transition_bounds([replace(RECORD, transitions=(60, 20))], 3)
    with pytest.raises(ValueError, match="01-001.*transitions"):
        transition_bounds([replace(RECORD, transitions=(60, 86))], 3)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: best_partition(torch.zeros(2, 3)), r"\(B, T, K\)"),
        (lambda: best_partition(torch.zeros(1, 2, 3)), "K <= T"),
        (lambda: best_partition(torch.full((1, 4, 2), torch.nan)), "NaN"),
        (lambda: bounds_of_labels(torch.tensor([[0, 1, 3]]), 3), "0 … 2"),
        (lambda: bounds_of_labels(torch.tensor([[0.0, 1.0]]), 2), "whole numbers"),
        (lambda: bounds_of_labels(torch.tensor([0, 1]), 2), "whole numbers"),
        (lambda: bounds_of_labels(torch.tensor([[0, 1]]), 3), "K <= T"),
        (lambda: bounds_of_activations(torch.full((1, 4, 2), 1.5)), "probabilities"),
        (lambda: tiou_accuracy(torch.zeros(2, 2), torch.zeros(2, 3), 9, 0.5), r"\(B, K-1\)"),
        (lambda: boundary_error(torch.zeros(2), torch.zeros(2)), r"\(B, K-1\)"),
    ],
)
def test_wrong_input_is_named(call, message):
    with pytest.raises(ValueError, match=message) as error:
        call()
    assert "\n" not in str(error.value)
