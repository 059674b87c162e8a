"""BASL has the parts of its source: consistency of two sides, candidates at both ends, anchors after three passes."""

import numpy as np
import pytest
import torch
from plain_numbers import log_softmax, numbers, softmax, tensors
from test_methods import easy_set

from sapnet_core.methods import basl


def made(**settings):
    return basl.training(easy_set()[0], settings, torch.Generator().manual_seed(0))


def test_candidates_are_the_ends_that_agree():
    scores = torch.linspace(0, 1, 20).unsqueeze(1).repeat(1, 3)
    scores[1] += torch.tensor([-0.2, 0.0, 0.2])  # does not agree with itself
    scores[5] = torch.nan
    assert torch.nonzero(basl.candidates(scores, 0.11, 0.05)).flatten().tolist() == [0, 18, 19]
    assert torch.nonzero(basl.candidates(scores, 0.11, 0.5)).flatten().tolist() == [0, 1, 18, 19]
    assert basl.candidates(scores, 0.0, 0.5).sum() == 2  # at least one at either end
    assert not basl.candidates(torch.full((4, 3), torch.nan), 0.1, 0.05).any()


def test_nothing_is_learned_by_the_weak_side():
    s_w, f_w, s_s, f_s = (torch.rand(4, requires_grad=True) for _ in range(4))
    loss = basl.consistency((s_w, f_w.outer(torch.ones(3))), (s_s, f_s.outer(torch.arange(3.0))))
    loss.backward()
    assert s_w.grad is None and f_w.grad is None and s_s.grad.abs().max() > 0 and loss > 0
    same = torch.rand(4), torch.rand(4, 3)
    assert float(basl.consistency(same, same)) == pytest.approx(0, abs=1e-6)


def test_an_anchor_was_a_candidate_in_three_passes_running():
    run = made(steps=160, agreement=1.0, dropout=0.0)
    run.network.eval()  # scores stay the same
    passes, counts = 50 // 16, []
    for step in range(60):
        run.loss(step)
        if (step + 1) % passes == 0:
            counts.append(int(run.memory["running"].max()))
            assert (run.memory["anchors"].isfinite() == (run.memory["running"] >= 3)).all()
    begin = 10 // passes
    assert counts[:begin] == [0] * begin and counts[begin : begin + 4] == [1, 2, 3, 4]
    anchors = run.memory["anchors"].isfinite()
    assert 0 < anchors.sum() <= 10 and not anchors[:40].any()  # two tenths of 50; labeled videos are none
    run.loss(60)  # the third stage counts anew
    assert not run.memory["running"].any() and not run.memory["anchors"].isfinite().any()
    for step in range(61, 160):
        run.loss(step)
    assert run.memory["anchors"].isfinite().sum() > anchors.sum()  # up to 0.3 at either end


def test_the_share_of_candidates_grows_four_times():
    parts = (0.0, 0.29, 0.3, 0.59, 0.6, 0.89, 0.9, 1.0)
    assert [basl.grown(0.1, part) for part in parts] == pytest.approx([0.15, 0.15, 0.2, 0.2, 0.25, 0.25, 0.3, 0.3])
    assert basl.grown(0.4, 0.9) == 0.5  # the ends cannot overlap


def test_anchors_teach_their_own_score():
    run = made(steps=160)
    run.memory["anchors"][40:] = 0.25
    term = run.loss(12)["L_anchor"]
    assert term.requires_grad and float(term.detach()) > 0
    run.memory["anchors"].fill_(torch.nan)
    assert float(run.loss(13)["L_anchor"].detach()) == 0 and "L_anchor" not in made(steps=160).loss(5)


def test_the_sizes_are_those_of_the_source():
    net = basl.BASL(1024, 256, 0.3)
    assert len(net.encoder.layers) == 3 and net.encoder.layers[0].self_attn.num_heads == 2
    assert net.encoder.layers[0].linear1.out_features == 1024
    score, projected = net(torch.randn(2, 10, 1024))
    assert score.shape == (2,) and projected.shape == (2, 128) and ((score > 0) & (score < 1)).all()


@pytest.mark.parametrize("width", [1, 5, 64])
def test_any_width_will_do(width):
    assert basl.BASL(16, width, 0.0)(torch.randn(2, 6, 16))[0].isfinite().all()


def test_the_consistency_has_its_value():
    """The squared error of the strong side's scores, and a tenth of the divergence of the projections of length 1."""
    (s_w, s_s), (f_w, f_s) = numbers(13, 2, 12), numbers(14, 2, 12, 8)
    p, log_q = (f / np.linalg.norm(f, axis=1, keepdims=True) for f in (f_w, f_s))
    p, log_q = softmax(p), log_softmax(log_q)
    value = ((s_s - s_w) ** 2).mean() + 0.1 * (p * (np.log(p) - log_q)).sum() / 12
    assert value == pytest.approx(1.939183135124674, rel=1e-12)
    s_w, f_w, s_s, f_s = tensors(s_w, f_w, s_s, f_s)
    assert float(basl.consistency((s_w, f_w), (s_s, f_s))) == pytest.approx(value, rel=1e-12)
