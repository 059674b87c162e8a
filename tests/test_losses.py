"""Every loss equals a loop over its printed sum, and differs from the same loop with one thing wrong."""

import math

import pytest
import torch

from sapnet_core.sapnet import losses

GENERATOR = torch.Generator().manual_seed(0)
STUDENT, TEACHER, CONFIDENCE = torch.rand(3, 9, generator=GENERATOR)
LOGITS = torch.randn(4, 10, 3, generator=GENERATOR)
LABELS = torch.randint(0, 3, (4, 10), generator=GENERATOR)


def test_l_reg():
    expected = sum((float(s) - float(t)) ** 2 for s, t in zip(STUDENT, TEACHER, strict=True)) / 9
    assert losses.l_reg(STUDENT, TEACHER).item() == pytest.approx(expected, rel=1e-5)
    assert losses.l_reg(torch.tensor([1.0, 3.0]), torch.tensor([0.0, 1.0])).item() == 2.5
    with pytest.raises(ValueError, match="labeled"):
        losses.l_reg(STUDENT, torch.full((9,), torch.nan))


def naive_un(tau, mean_over_all=True, above=True, sign=1.0):
    """L_un as a loop; each other value of an option is one error."""
    total, sure = 0.0, 0
    for s, t, c in zip(STUDENT.tolist(), TEACHER.tolist(), CONFIDENCE.tolist(), strict=True):
        if (c >= tau) == above:
            total, sure = total + (s - t) ** 2, sure + 1
    return sign * total / (9 if mean_over_all else sure)


def test_l_un():
    value = losses.l_un(STUDENT, TEACHER, CONFIDENCE, 0.5).item()
    assert value == pytest.approx(naive_un(0.5), rel=1e-5) and value > 0
    for wrong in ({"mean_over_all": False}, {"above": False}, {"sign": -1.0}):
        assert value != pytest.approx(naive_un(0.5, **wrong), rel=1e-3)
    assert losses.l_un(STUDENT, TEACHER, CONFIDENCE, 1.01).item() == 0.0
    # a confidence equal to the threshold counts
    assert losses.l_un(STUDENT, TEACHER, torch.full((9,), 0.7), 0.7).item() > 0


def test_l_un_teaches_the_student_alone():
    student, teacher = STUDENT.clone().requires_grad_(), TEACHER.clone().requires_grad_()
    confidence = CONFIDENCE.clone().requires_grad_()
    losses.l_un(student, teacher, confidence, 0.0).backward()
    assert torch.allclose(student.grad, 2 * (STUDENT - TEACHER) / 9)
    assert teacher.grad is None and confidence.grad is None


def naive_ubc(reduction, both_terms=True, sign=-1.0):
    """L_ubc as a loop; each other value of `both_terms` or `sign` is one error."""
    total = 0.0
    for i in range(4):
        for t in range(10):
            for k in range(3):
                a, p = 1 / (1 + math.exp(-float(LOGITS[i, t, k]))), float(LABELS[i, t] == k)
                total += sign * (p * math.log(a) + both_terms * (1 - p) * math.log(1 - a))
    return total / (4 * 10 * 3 if reduction == "mean" else 4)


@pytest.mark.parametrize("reduction", ["mean", "sum"])
def test_l_ubc(reduction):
    value = losses.l_ubc(LOGITS, LABELS, reduction).item()
    assert value == pytest.approx(naive_ubc(reduction), rel=1e-5)
    for wrong in ({"both_terms": False}, {"sign": 1.0}):
        assert value != pytest.approx(naive_ubc(reduction, **wrong), rel=1e-3)
    assert losses.l_ubc(100 * LOGITS, LABELS, reduction).isfinite()


def test_l_ubc_refuses_an_unknown_reduction():
    with pytest.raises(ValueError, match="mean"):
        losses.l_ubc(LOGITS, LABELS, "median")


def test_l_all_weighs_each_term_with_its_own_lambda():
    terms = [torch.tensor(v) for v in (1.0, 10.0, 100.0, 1000.0)]
    assert losses.l_all(*terms).item() == 1111
    assert losses.l_all(*terms, lambdas=(2, 3, 4)).item() == 1 + 20 + 300 + 4000


def test_grades_have_equal_mass():
    scores = torch.rand(100, generator=torch.Generator().manual_seed(1)) ** 2
    edges = losses.grade_edges(scores, 5)
    assert edges.shape == (4,) and torch.bucketize(scores, edges).bincount().tolist() == [20] * 5


def test_l_grade():
    edges, target = torch.tensor([0.3, 0.6]), torch.tensor([0.1, 0.5, 0.9, 0.95])
    logits, grades = LOGITS[:, 0], [0, 1, 2, 2]
    expected = [math.log(sum(math.exp(v) for v in z)) - z[g] for z, g in zip(logits.tolist(), grades, strict=True)]
    assert losses.l_grade(logits, target, edges).item() == pytest.approx(sum(expected) / 4, rel=1e-5)


def test_confidences():
    grade = losses.grade_confidence(LOGITS[:, 0])
    for z, value in zip(LOGITS[:, 0].tolist(), grade.tolist(), strict=True):
        assert value == pytest.approx(math.exp(max(z)) / sum(math.exp(v) for v in z), rel=1e-5)
    agreement = losses.agreement_confidence(STUDENT, TEACHER, 0.2)
    assert agreement[0].item() == pytest.approx(math.exp(-abs(float(STUDENT[0] - TEACHER[0])) / 0.2), rel=1e-5)
    assert losses.agreement_confidence(STUDENT, STUDENT).eq(1).all()


def test_empty_batches_give_zero():
    none = torch.zeros(0)
    assert losses.l_reg(none, none) == 0 and losses.l_un(none, none, none) == 0
    assert losses.l_ubc(torch.zeros(0, 10, 3), torch.zeros(0, 10, dtype=torch.long)) == 0
