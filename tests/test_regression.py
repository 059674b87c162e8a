"""The regressor of Eq. 9, and the grade head."""

import torch

from sapnet_core.sapnet.regression import GradeHead, Regressor


def test_the_regressor_has_three_layers_and_sees_order():
    torch.manual_seed(0)
    regressor, parsed = Regressor(3 * 5 * 4, (16, 8)), torch.randn(7, 3, 5, 4)
    assert sum(isinstance(layer, torch.nn.Linear) for layer in regressor.modules()) == 3
    assert regressor(parsed).shape == (7,)
    assert not torch.allclose(regressor(parsed), regressor(parsed.flip(1)))
    first, second, third = (layer for layer in regressor.layers if isinstance(layer, torch.nn.Linear))
    by_hand = third(second(first(parsed.reshape(7, -1)).clamp(min=0)).clamp(min=0))[:, 0]
    assert torch.allclose(regressor(parsed), by_hand)


def test_dropout_acts_in_training_alone():
    torch.manual_seed(0)
    regressor, parsed = Regressor(60, (16, 8), dropout=0.5), torch.randn(4, 3, 5, 4)
    assert not torch.equal(regressor(parsed), regressor(parsed))
    regressor.eval()
    assert torch.equal(regressor(parsed), regressor(parsed))


def test_the_grade_head_watches_without_shaping():
    torch.manual_seed(0)
    for detach in (True, False):
        parsed = torch.randn(4, 3, 5, 4, requires_grad=True)
        logits = GradeHead(60, 5, detach=detach)(parsed)
        assert logits.shape == (4, 5)
        logits.square().sum().backward()
        assert (parsed.grad is None) == detach
