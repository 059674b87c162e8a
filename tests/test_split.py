"""Labels are spread along the score axis, and hidden scores stay hidden."""

from dataclasses import replace

import pytest
import torch

from sapnet_core.datasets import load_records
from sapnet_core.datasets.label_split import label_split, visible_scores
from sapnet_core.simulator.draw_annotations import write_annotations


@pytest.mark.parametrize("total, share, count", [(1059, 0.1, 106), (2251, 0.05, 113), (7, 0.5, 4), (5, 0.01, 1)])
def test_each_stratum_holds_one_labeled_sample(total, share, count):
    scores = torch.randn(total, generator=torch.Generator().manual_seed(total))  # no ties, so the ranks are unique
    labeled = label_split(scores, share, seed=3)
    assert labeled.dtype == torch.bool and labeled.shape == (total,) and int(labeled.sum()) == count
    ranks = sorted(scores.argsort().argsort()[labeled].tolist())
    for i, rank in enumerate(ranks):
        assert i * total // count <= rank < (i + 1) * total // count


def test_every_video_can_be_drawn_and_seeds_decide():
    scores = torch.arange(20.0).flip(0)
    draws = torch.stack([label_split(scores, 0.2, seed) for seed in range(200)])
    assert draws.any(0).all() and 20 < draws.sum(0).min() and draws.sum(0).max() < 65  # 40 of 200 expected
    assert torch.equal(label_split(scores, 0.2, 1), draws[1]) and not torch.equal(draws[1], draws[2])


def test_equal_scores_are_drawn_in_no_files_order():
    draws = torch.stack([label_split(torch.zeros(40), 0.5, seed) for seed in range(50)])
    # in file order, each pair would hold one label
    assert (draws[:, :2].sum(1) == 2).any() and (draws[:, :2].sum(1) == 0).any()


def test_all_labels_and_bad_shares():
    assert label_split(torch.randn(9), 1.0, 0).all()
    for share in (0, -0.1, 1.1):
        with pytest.raises(ValueError, match="outside"):
            label_split(torch.randn(9), share, 0)


def test_hidden_scores_are_nan_and_changing_them_changes_nothing(tmp_path):
    write_annotations("mtl-aqa", tmp_path, 40, 5, seed=0)
    records = [record for record in load_records("mtl-aqa", tmp_path) if record.split == "train"]
    labeled = label_split(torch.tensor([record.score for record in records]), 0.25, seed=0)
    seen = visible_scores(records, labeled)
    assert seen.isnan().tolist() == (~labeled).tolist()
    assert seen[labeled].tolist() == pytest.approx([r.score for r, l in zip(records, labeled, strict=True) if l])  # noqa: E741
    other = [r if keep else replace(r, score=-1.0) for r, keep in zip(records, labeled.tolist(), strict=True)]
    assert torch.equal(visible_scores(other, labeled).nan_to_num(-7), seen.nan_to_num(-7))
