"""GDLT has the parts of its source: a response layer per grade, a normalized projection and final normalizations."""

import pytest
import torch
from test_methods import easy_set

from sapnet_core.methods import gdlt


def net() -> gdlt.LikertTransformer:
    torch.manual_seed(0)
    return gdlt.LikertTransformer(16, width=8, grades=4, dropout=0.0)


def test_each_grade_has_a_response_of_its_own():
    model, x = net().eval(), torch.randn(3, 6, 16)
    with torch.no_grad():
        model.respond.weight.zero_()
        model.respond.bias.copy_(torch.tensor([-20.0, -20.0, 20.0, -20.0]))  # only the third grade responds
    assert torch.allclose(model(x)[0], torch.full((3,), 2 / 3), atol=1e-5)  # its weight among 0, 1/3, 2/3, 1


def test_the_response_of_a_grade_reads_that_grade_alone():
    model, x = net().eval(), torch.randn(3, 6, 16)
    score, e = model(x)
    share = torch.stack([torch.sigmoid(e[:, i] @ model.respond.weight[i] + model.respond.bias[i]) for i in range(4)], 1)
    assert torch.allclose(score, (share * torch.tensor([0, 1 / 3, 2 / 3, 1])).sum(1) / share.sum(1), atol=1e-6)


def test_the_projection_is_normalized_over_the_batch():
    model, x = net().train(), 50 + 10 * torch.randn(8, 6, 16)
    z = model.project(x.transpose(1, 2))
    assert torch.allclose(z.mean((0, 2)), torch.zeros(8), atol=1e-4)
    assert torch.allclose(z.var((0, 2), correction=0), torch.ones(8), atol=1e-2)


def test_encoder_and_decoder_end_in_a_normalization_and_widen_threefold():
    model = net().eval()
    memory = model.encoder(torch.randn(2, 6, 8))
    for end in (memory, model(torch.randn(2, 6, 16))[1]):  # as long as the final gains are 1 and the shifts 0
        assert torch.allclose(end.mean(2), torch.zeros(end.shape[:2]), atol=1e-5)
    assert {layer.linear1.out_features for layer in (*model.encoder.layers, *model.decoder.layers)} == {24}
    first, second = (layer.linear1.weight for layer in model.decoder.layers)
    assert not torch.equal(first, second)


def test_the_triplet_loss_falls_and_every_part_learns():
    made = gdlt.training(easy_set()[0], {"steps": 40, "dropout": 0.0}, torch.Generator().manual_seed(0))
    made.network.train()
    rate = torch.optim.Adam(made.network.parameters(), 1e-3)
    seen = []
    for step in range(40):
        rate.zero_grad()
        terms = made.loss(step)
        terms["L_all"].backward()
        rate.step()
        seen.append(float(terms["L_triplet"].detach()))
    assert seen[-1] < 0.7 * seen[0]
    assert all(p.grad.abs().max() > 0 for name, p in made.network.named_parameters() if "weight" in name)


def test_the_range_reaches_a_tenth_beyond_the_labels():
    train = easy_set()[0]
    known = train.y[train.labeled]
    low, size = gdlt.score_range(train)
    assert low == pytest.approx(float(known.min() - 0.1 * (known.max() - known.min())), abs=1e-6)
    assert size == pytest.approx(1.2 * float(known.max() - known.min()), abs=1e-6)
    assert gdlt.score_range(easy_set(labeled=1)[0])[1] == pytest.approx(1.2)
