"""The network and its losses: every setting acts, gradients go only where they should, no unlabeled score can enter."""

import inspect
import json
import math
from dataclasses import asdict, replace

import pytest
import torch

from sapnet_core.sapnet.group_contrast import group_contrast
from sapnet_core.sapnet.losses import agreement_confidence, grade_confidence, grade_edges, l_ubc, l_un, sapnet_losses
from sapnet_core.sapnet.network import SAPNet
from sapnet_core.sapnet.parsing import interpolation_matrix
from sapnet_core.sapnet.pseudo_labels import kmeans, pseudo_labels, select_states
from sapnet_core.sapnet.settings import SAPNetSettings

# Groups are named by pseudo-labels, since an untrained parser's activations give all groups one label, and L_gc is 0.
BASE = SAPNetSettings(
    channels=32, clips=18, hidden=(16, 8), projection=8, tau=0.0, group_by="pseudo", confidence="grade"
)
POSITIONS = torch.linspace(0.03, 0.97, 18)
TARGETS = torch.rand(4, generator=torch.Generator().manual_seed(1))
EDGES = grade_edges(torch.linspace(0, 1, 50), 5)
X_L, X_LA, X_U, X_A = torch.rand(20, 18, 32, generator=torch.Generator().manual_seed(0)).split((4, 4, 6, 6))


def network(settings):
    torch.manual_seed(0)
    return SAPNet(settings)


def losses_of(settings=BASE, net=None, **options):
    net = net or network(settings)
    output = net(X_L, X_U, X_A, POSITIONS, X_LA)
    return net, output, sapnet_losses(settings, output, TARGETS, EDGES, **options)


def gradients(net, loss):
    """Names of the parameters for which the loss has a nonzero gradient."""
    found = torch.autograd.grad(loss, list(net.parameters()), allow_unused=True)
    pairs = zip(net.named_parameters(), found, strict=True)
    return {name for (name, _), g in pairs if g is not None and g.abs().sum() > 0}


def test_settings_round_trip_through_json():
    settings = replace(BASE, decoder="psnet", hidden=(7, 5), tau=0.3, decoder_channels=16)
    assert SAPNetSettings(**json.loads(json.dumps(asdict(settings)))) == settings


@pytest.mark.parametrize(
    "wrong", [{"decoder": "other"}, {"channels": 30}, {"K": 9}, {"confidence": "none"}, {"decoder_channels": 4}]
)
def test_settings_refuse_what_cannot_be(wrong):
    with pytest.raises(ValueError, match=next(iter(wrong))):
        SAPNetSettings(**wrong)


@pytest.mark.parametrize("decoder", ["temporal", "psnet"])
def test_shapes_and_ranges(decoder):
    _, output, terms = losses_of(replace(BASE, decoder=decoder))
    for branch, size in ((output.l, 4), (output.u, 6), (output.a, 6), (output.la, 4)):
        assert branch.refined.shape == (size, 18, 32) and branch.activations.shape == (size, 96, 3)
        assert branch.parsed.shape == (size, 3, 5, 4) and branch.score.shape == (size,)
        assert ((branch.activations > 0) & (branch.activations < 1)).all()
        assert (branch.times.diff(dim=1) > 0).all()
    assert output.labels.shape == (12, 96) and output.h_u.shape == (6, 3, 8)
    assert all(torch.isfinite(value) for value in terms.values())


@pytest.mark.parametrize("decoder", ["temporal", "psnet"])
def test_every_parameter_learns(decoder):
    net, _, terms = losses_of(replace(BASE, decoder=decoder))
    assert gradients(net, terms["L_all"]) == {name for name, _ in net.named_parameters()}


def test_terms_are_their_equations():
    settings = replace(BASE, lambda_ubc=0.5, lambda_un=2.0, lambda_gc=3.0)
    _, o, terms = losses_of(settings)
    both = torch.cat([o.l.score, o.la.score])
    assert torch.allclose(terms["L_reg"], ((both - TARGETS.repeat(2)) ** 2).mean())
    assert torch.allclose(terms["L_ubc"], l_ubc(torch.cat([o.u.logits, o.a.logits]), o.labels))
    assert torch.allclose(terms["L_un"], l_un(o.u.score, o.a.score, grade_confidence(o.a.grade_logits), 0.0))
    assert torch.allclose(terms["confidence"], grade_confidence(o.a.grade_logits).mean())
    assert torch.allclose(terms["L_gc"], group_contrast(o.h_u, o.groups_u, o.h_a, o.groups_a, 3, 0.5))
    expected = terms["L_reg"] + 0.5 * terms["L_ubc"] + 2 * terms["L_un"] + 3 * terms["L_gc"] + terms["L_grade"]
    assert torch.allclose(terms["L_all"], expected)
    assert all(terms[name] > 0 for name in ("L_reg", "L_ubc", "L_un", "L_gc", "L_grade"))


def test_pseudo_labels_come_from_frames_between_clip_steps():
    net, output, _ = losses_of()
    frames = interpolation_matrix(POSITIONS, 96, 96) @ output.u.refined.detach()
    assert torch.equal(output.labels[:6], pseudo_labels(frames, 8, 3))
    assert torch.equal(output.labels[6:], net.pseudo_labels(X_A, POSITIONS))


def test_precomputed_labels_are_taken():
    net, output, _ = losses_of()
    again = net(X_L, X_U, X_A, POSITIONS, X_LA, labels=output.labels)
    assert torch.equal(again.labels, output.labels)
    turned = (output.labels + 1) % 3
    first = sapnet_losses(BASE, output, TARGETS, EDGES)["L_ubc"]
    assert sapnet_losses(BASE, net(X_L, X_U, X_A, POSITIONS, X_LA, labels=turned), TARGETS, EDGES)["L_ubc"] != first


@pytest.mark.parametrize(
    ("change", "term"),
    [
        ({"decoder": "psnet"}, "L_reg"),
        ({"decoder_channels": 16}, "L_reg"),
        ({"norm": "batch"}, "L_reg"),
        ({"norm": "none"}, "L_reg"),
        ({"decoder": "psnet", "norm": "group"}, "L_reg"),
        ({"attention_in_parsing": False}, "L_reg"),
        ({"attention_per_step": True}, "L_reg"),
        ({"attention_per_step": True, "decoder": "psnet"}, "L_reg"),
        ({"cut_by": "equal"}, "L_reg"),
        ({"attention_in_pseudo_labels": False}, "L_ubc"),
        ({"cluster_scope": "dataset"}, "L_ubc"),
        ({"M": 4}, "L_ubc"),
        ({"K": 2}, "L_ubc"),
        ({"steps": 3}, "L_reg"),
        ({"kmeans_iterations": 0}, "L_ubc"),
        ({"group_by": "activation"}, "L_gc"),
        ({"parse_labeled": True}, "L_ubc"),
        ({"confidence": "agreement"}, "confidence"),
        ({"confidence": "agreement", "agreement_sigma": 0.01}, "confidence"),
        ({"grades": 3}, "confidence"),
        ({"tau": 0.99}, "L_un"),
        ({"iota": 0.1}, "L_gc"),
        ({"supervise_teacher": False}, "L_reg"),
        ({"ubc_reduction": "sum"}, "L_ubc"),
        ({"dropout": 0.5}, "L_reg"),
        ({"hidden": (8, 8)}, "L_reg"),
        ({"projection": 4}, "L_gc"),
        ({"lambda_ubc": 0.0}, "L_all"),
        ({"lambda_un": 0.0}, "L_all"),
        ({"lambda_gc": 0.0}, "L_all"),
    ],
    ids=str,
)
def test_every_switch_changes_something(change, term):
    settings = replace(BASE, **change)
    edges = grade_edges(torch.linspace(0, 1, 50), settings.grades)
    net = network(settings)
    after = sapnet_losses(settings, net(X_L, X_U, X_A, POSITIONS, X_LA), TARGETS, edges)
    assert all(torch.isfinite(value) for value in after.values())
    assert after[term] != losses_of()[2][term]
    after["L_all"].backward()


def test_agreement_confidence_compares_the_two_scores():
    settings = replace(BASE, confidence="agreement")
    _, o, terms = losses_of(settings)
    assert torch.allclose(terms["confidence"], agreement_confidence(o.u.score, o.a.score, 0.5).mean())
    assert terms["L_grade"] == 0


def test_a_term_of_weight_zero_is_off():
    _, output, terms = losses_of(replace(BASE, lambda_ubc=0.0, lambda_un=0.0, lambda_gc=0.0))
    assert terms["L_ubc"] == terms["L_un"] == terms["L_gc"] == terms["L_grade"] == 0
    assert terms["L_all"] == terms["L_reg"] and output.labels is None


def test_groups_are_named_by_activation_or_by_pseudo_label():
    def groups(**change):
        settings = replace(BASE, **change)
        output = network(settings)(X_L, X_U, X_A, POSITIONS, X_LA)
        return output, torch.cat([output.groups_u, output.groups_a])

    output, activation = groups(group_by="activation")
    branches = zip((output.u, output.a), activation.split(6), output.labels.split(6), strict=True)
    _, pseudo = groups(group_by="pseudo")
    for (branch, by_activation, labels), by_pseudo in zip(branches, pseudo.split(6), strict=True):
        for b in range(6):
            for k in range(3):
                rows = branch.sampling[b].unflatten(0, (3, 5))[k]  # the five positions of subaction k
                assert by_activation[b, k] == (rows @ branch.activations[b]).mean(0).argmax()
                votes = rows @ torch.nn.functional.one_hot(labels[b], 3).float()
                assert by_pseudo[b, k] == votes.mean(0).argmax()
    assert torch.equal(groups(group_by="auto")[1], activation)  # the parser is trained
    untrained, found = groups(group_by="auto", lambda_ubc=0.0)
    assert torch.equal(found, groups(group_by="pseudo", cut_by="equal")[1])
    # no loss trains the parser then, and a video is cut in three: the middles of 96 frames in thirds
    assert untrained.u.times.tolist() == [[16, 48, 80]] * 6
    assert torch.equal(groups(cut_by="activation", lambda_ubc=0.0)[0].u.times, output.u.times)


def test_warm_up_leaves_consistency_out():
    _, _, on = losses_of()
    _, _, off = losses_of(consistency_on=False)
    assert off["L_un"] == 0 and torch.allclose(off["L_all"], on["L_all"] - on["L_un"])


def test_no_gradient_of_consistency_reaches_the_teacher():
    x_u, x_a = X_U.clone().requires_grad_(), X_A.clone().requires_grad_()
    net = network(BASE)
    sapnet_losses(BASE, net(X_L, x_u, x_a, POSITIONS, X_LA), TARGETS, EDGES)["L_un"].backward()
    assert x_u.grad.abs().sum() > 0
    assert x_a.grad is None or x_a.grad.abs().sum() == 0
    assert all(p.grad is None or not p.grad.any() for p in net.grade_head.parameters())


@pytest.mark.parametrize("detach", [True, False])
def test_the_contrast_leaves_the_teacher_alone_unless_asked(detach):
    settings = replace(BASE, detach_teacher_groups=detach)
    x_a = X_A.clone().requires_grad_()
    sapnet_losses(settings, network(settings)(X_L, X_U, x_a, POSITIONS, X_LA), TARGETS, EDGES)["L_gc"].backward()
    assert (x_a.grad is None or x_a.grad.abs().sum() == 0) == detach


@pytest.mark.parametrize("shapes", [True, False])
def test_the_grade_head_watches_unless_asked(shapes):
    settings = replace(BASE, grade_shapes_features=shapes)
    net, _, terms = losses_of(settings)
    assert any("parser" in name for name in gradients(net, terms["L_grade"])) == shapes


def test_pseudo_labels_carry_no_gradient():
    net, _, _ = losses_of(replace(BASE, attention_in_parsing=False))
    x = X_U.clone().requires_grad_()
    assert not net.pseudo_labels(x, POSITIONS).requires_grad
    output = net(X_L, X_U, X_A, POSITIONS, X_LA)
    terms = sapnet_losses(replace(BASE, attention_in_parsing=False), output, TARGETS, EDGES)
    assert not any("attention" in name for name in gradients(net, terms["L_all"]))


def test_no_argument_takes_an_unlabeled_score():
    assert "y_l" in inspect.signature(sapnet_losses).parameters
    names = [*inspect.signature(sapnet_losses).parameters, *inspect.signature(SAPNet.forward).parameters]
    assert [name for name in names if name.startswith("y")] == ["y_l"]
    _, output, _ = losses_of()
    with pytest.raises(ValueError, match="labeled"):
        sapnet_losses(BASE, output, TARGETS.index_fill(0, torch.tensor([2]), torch.nan), EDGES)
    with pytest.raises(ValueError, match="labeled"):
        sapnet_losses(BASE, output, torch.rand(10), EDGES)  # more scores than labeled clips


def test_unlabeled_views_are_optional_together():
    net = network(BASE)
    terms = sapnet_losses(BASE, net(X_L, None, None, POSITIONS), TARGETS, EDGES)
    assert terms["L_un"] == terms["L_ubc"] == terms["L_gc"] == 0
    assert torch.allclose(terms["L_reg"], ((net(X_L, None, None, POSITIONS).l.score - TARGETS) ** 2).mean())
    wide = replace(BASE, cluster_scope="dataset")
    assert sapnet_losses(wide, network(wide)(X_L, None, None, POSITIONS), TARGETS, EDGES)["L_ubc"] == 0
    with pytest.raises(ValueError, match="two views"):
        net(X_L, X_U, None, POSITIONS)


@pytest.mark.parametrize("decoder", ["temporal", "psnet"])
def test_prediction_is_the_student_in_evaluation_mode(decoder):
    net = network(replace(BASE, decoder=decoder, dropout=0.5))
    before = {name: value.clone() for name, value in net.state_dict().items()}
    score = net.predict(X_U, POSITIONS)
    assert net.training and not score.requires_grad
    assert all(torch.equal(value, before[name]) for name, value in net.state_dict().items())
    assert torch.allclose(score[2:3], net.predict(X_U[2:3], POSITIONS), atol=1e-6)  # the same score for a video alone
    net.eval()
    assert torch.allclose(score, net(X_L, X_U, X_A, POSITIONS).u.score, atol=1e-6)


def test_a_planted_score_is_learned():
    generator = torch.Generator().manual_seed(0)
    y = torch.rand(82, generator=generator)
    phases = torch.randn(3, 32, generator=generator).repeat_interleave(6, 0)
    x = phases + 0.3 * torch.randn(82, 18, 32, generator=generator)
    x[:, 12:, :4] += 2 * y[:, None, None]  # quality shows in the last clips, in four channels
    labeled, unlabeled, test = x.split((32, 16, 34))
    settings = replace(BASE, group_by="activation")
    net, curve = network(settings), []
    optimizer = torch.optim.Adam(net.parameters(), 3e-3)
    for _ in range(120):
        output = net(labeled, unlabeled, unlabeled + 0.1, POSITIONS, labeled)
        curve.append(sapnet_losses(settings, output, y[:32], grade_edges(y[:32], 5)))
        optimizer.zero_grad()
        curve[-1]["L_all"].backward()
        optimizer.step()
    score = net.predict(test, POSITIONS)
    assert torch.corrcoef(torch.stack([score, y[48:]]))[0, 1] > 0.8
    for term in ("L_reg", "L_ubc", "L_grade"):
        assert curve[-1][term] < 0.9 * curve[0][term]


@pytest.mark.parametrize(
    "name, values",
    {
        "K": (0, -1, 3.5, 3.0, "3", True, None),
        "M": (2, 97, 8.0),
        "frames": (0, 95, 8.5),
        "steps": (0, -5, "5"),
        "grades": (0, -1, 2.5),
        "kmeans_iterations": (-1, 1.5),
        "channels": (0, "256"),
        "clips": (0,),
        "projection": (0, 1.0),
        "tau": (-0.1, 1.1, math.nan, math.inf, "0.7", None, True),
        "iota": (0, -1.0, math.nan),
        "agreement_sigma": (0.0, -1),
        "lambda_ubc": (-1.0, math.nan, math.inf, "1"),
        "lambda_un": (-0.1, None),
        "lambda_gc": (-1, math.inf),
        "dropout": (1.0, -0.1, math.nan),
        "decoder_channels": (0, 12, 8.0),
        "hidden": ((128,), (128, 0), 128, None, (1.5, 2), "ab"),
        "parse_labeled": (1, "no", None),
        "supervise_teacher": (0,),
        "detach_teacher_groups": ("yes",),
        "decoder": (None, ["psnet"]),
    }.items(),
)
def test_settings_of_the_wrong_kind_or_size_are_named(name, values):
    for value in values:
        with pytest.raises(ValueError) as refusal:
            SAPNetSettings(**{name: value})
        assert name in str(refusal.value) and "\n" not in str(refusal.value), value


@pytest.mark.parametrize(
    "change",
    [
        {"tau": 0},
        {"tau": 1},
        {"K": 1, "M": 1},
        {"grades": 1},
        {"frames": 8},
        {"steps": 1},
        {"kmeans_iterations": 0},
        {"iota": 1},
        {"lambda_un": 3},
    ],
)
def test_the_ends_of_the_limits_can_be_used(change):
    settings = replace(BASE, **change)
    edges = grade_edges(torch.linspace(0, 1, 50), settings.grades)
    output = network(settings)(X_L, X_U, X_A, POSITIONS, X_LA)
    assert all(torch.isfinite(value) for value in sapnet_losses(settings, output, TARGETS, edges).values())


def test_parts_refuse_what_settings_would():
    x, centers = torch.rand(2, 10, 4), torch.rand(2, 5, 4)
    groups = torch.zeros(2, 3, dtype=torch.long)
    for call in (
        lambda: pseudo_labels(x, 0, 3),
        lambda: pseudo_labels(x, 8.0, 3),
        lambda: pseudo_labels(x, 8, 0),
        lambda: pseudo_labels(x, 8, 2.5),
        lambda: pseudo_labels(x, 4, 5),
        lambda: kmeans(x, 3, -1),
        lambda: select_states(x, centers, True),
        lambda: grade_edges(torch.rand(5), 0),
        lambda: agreement_confidence(torch.rand(3), torch.rand(3), 0.0),
        lambda: l_un(torch.rand(3), torch.rand(3), torch.rand(3), math.nan),
        lambda: group_contrast(X_U[:2, :3], groups, X_A[:2, :3], groups, 3, iota=0.0),
    ):
        with pytest.raises(ValueError) as refusal:
            call()
        assert "\n" not in str(refusal.value)
