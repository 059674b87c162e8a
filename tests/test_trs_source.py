"""TRS has the parts of its source: a teacher that follows the student, a reference, memories of the surest scores."""

import pytest
import torch
from test_methods import easy_set

from sapnet_core.methods import trs


def made(**settings):
    return trs.training(easy_set()[0], settings, torch.Generator().manual_seed(0))


def test_a_memory_keeps_the_surest():
    memory = torch.tensor([0.0, torch.inf]).repeat(4, 1)
    trs.keep_surest(memory, torch.tensor([2, 0]), torch.tensor([0.3, 0.5]), torch.tensor([0.1, 0.2]))
    trs.keep_surest(memory, torch.tensor([0, 2]), torch.tensor([0.9, 0.7]), torch.tensor([0.1, 0.4]))
    assert memory[:3].flatten().tolist() == pytest.approx([0.9, 0.1, 0.0, torch.inf, 0.3, 0.1])


def test_the_sizes_are_those_of_the_source():
    layer = trs.MixerLayer(10, 1024)
    assert layer.clips[0].out_features == 512 and layer.channels[0].out_features == 2048
    assert len(trs.Mixer(10, 16, 8).mix) == 9  # eight layers and a normalization
    score, variance = trs.Mixer(10, 16, 8)(torch.randn(3, 10, 16))
    assert score.shape == variance.shape == (3,) and (variance > 0).all()


def test_clips_and_channels_are_mixed():
    mixer = trs.MixerLayer(6, 16)
    x = torch.randn(1, 6, 16, generator=torch.Generator().manual_seed(0), requires_grad=True)
    mixer(x)[0, 2, 3].backward()
    assert (x.grad.abs().sum((0, 2)) > 0).all() and (x.grad.abs().sum((0, 1)) > 0).all()


def test_the_teacher_begins_as_the_student_and_follows_it():
    run = made(steps=10, warmup=0.2, decay=0.5)
    student = dict(run.network["student"].named_parameters())
    run.loss(2)
    first = {name: p.detach().clone() for name, p in student.items()}
    assert all(torch.equal(run.memory[f"teacher.{name}"], p) for name, p in first.items())
    with torch.no_grad():
        for p in student.values():
            p.add_(1.0)
    run.loss(3)
    for name, p in first.items():
        assert torch.allclose(run.memory[f"teacher.{name}"], p + 0.5, atol=1e-6)


def test_no_unlabeled_video_counts_before_the_burn_in_ends():
    run = made(steps=10, warmup=0.5)
    assert "L_un" not in run.loss(4) and run.memory["teacher"][:, 1].isinf().all()
    assert "L_un" in run.loss(5)
    held = run.memory["teacher"][:, 1].isfinite()
    assert held.sum() == 16 and not held[:40].any()  # of labeled videos nothing is remembered


def test_a_pseudo_score_teaches_the_student_alone():
    run = made(steps=10, warmup=0.0)
    run.loss(0)["L_un"].backward()
    assert all(p.grad is None for p in run.network["reference"].parameters())
    assert run.network["student"].out.weight.grad.abs().max() > 0


def test_predictions_see_the_student_alone():
    run, x = made(), easy_set()[1]
    before = run.score(x)
    with torch.no_grad():
        for p in run.network["reference"].parameters():
            p.zero_()
    assert torch.equal(run.score(x), before)
