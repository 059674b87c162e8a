"""SGN has the parts of its source: a teacher who reads with words, a student who reads with queries, and the pairs."""

from dataclasses import replace

import pytest
import torch
from test_methods import easy_set

from sapnet_core.methods import get_method, sgn
from sapnet_core.methods.building_blocks import clips


def made(**settings):
    run = sgn.training(easy_set()[0], settings, torch.Generator().manual_seed(0))
    run.network.eval()
    return run


def test_words_are_the_parts_of_the_dive_number():
    train, _, _ = easy_set()
    net = made().network
    v, parts = net.watch(clips(train.frame[:4])), train.attributes[:4]
    h, attention = net.describe(v, parts)
    assert h.shape == (4, 5, 128) and attention.shape == (4, 5, 6)
    assert torch.allclose(attention.sum(2), torch.ones(4, 5), atol=1e-5)
    for k in range(5):
        other = parts.clone()
        other[:, k] = (other[:, k] + 1) % 2
        assert not torch.allclose(net.describe(v, other)[0], h, atol=1e-4)
    assert net.describe(v, torch.full_like(parts, -1))[0].isfinite().all()  # a number that is not known


def test_a_prediction_reads_no_words():
    train, x, _ = easy_set()
    fitted = get_method("sgn")(train, {"steps": 5}, torch.Generator().manual_seed(0))
    before = fitted.predict(x)
    with torch.no_grad():
        for words in fitted.network.words:
            words.weight.zero_()
        for p in fitted.network.teacher.parameters():
            p.zero_()
    assert torch.equal(fitted.predict(x), before)


def test_the_terms_are_those_of_the_source():
    terms = made().loss(0)
    names = {"L_score", "L_score_teacher", "L_attn", "L_cons", "L_c-score"}
    assert set(terms) == names | {"L_all"}
    assert float(terms["L_all"].detach()) == pytest.approx(sum(float(terms[name].detach()) for name in names), rel=1e-5)
    assert set(made(text=False).loss(0)) == {"L_score", "L_all"}
    bare = replace(easy_set()[0], attributes=None)
    alone = sgn.training(bare, {}, torch.Generator().manual_seed(0))
    assert set(alone.loss(0)) == {"L_score", "L_all"}


def test_alignment_is_least_where_each_is_nearest_to_its_own():
    own = torch.eye(4)
    assert float(sgn.align(own, own)) < 1e-3
    assert float(sgn.align(own, own.roll(1, 0))) > 5


def test_the_teacher_teaches_the_student_where_it_looks():
    run = made()
    run.loss(0)["L_attn"].backward()
    grads = {name: p.grad for name, p in run.network.named_parameters()}
    assert grads["queries"].abs().max() > 0 and grads["teacher.query.weight"].abs().max() > 0


def test_every_part_learns():
    run = made()
    run.loss(0)["L_all"].backward()
    for name, p in run.network.named_parameters():
        if not name.endswith(("key.bias", "in_proj_bias")):  # a softmax over time does not see the bias of its keys
            assert p.grad is not None and p.grad.abs().max() > 0, name
