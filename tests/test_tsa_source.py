"""TSA has the parts of its source: PSNet, three attention blocks, its own transitions, exemplars of the same action."""

from dataclasses import replace

import torch
from test_methods import easy_set

from sapnet_core.methods import Training, tsa


def made(train=None, steps: int = 40, **settings) -> Training:
    train = easy_set()[0] if train is None else train
    return tsa.training(train, {"steps": steps, "width": 8, **settings}, torch.Generator().manual_seed(0))


def test_the_max_pools_leave_the_width_of_the_source():
    for channels, width, left in ((1024, 64, 64), (256, 64, 64), (256, 16, 16), (768, 64, 96), (16, 64, 16)):
        net = tsa.PSNet(9, channels, width)
        z, logits = net(torch.randn(2, 9, channels))
        assert z.shape == (2, 96, left) == (2, 96, net.width) and logits.shape == (2, 96, 2)


def test_every_block_learns_from_the_relative_score():
    run = made()
    assert len(run.network.blocks) == 3
    run.loss(0)["L_reg"].backward()
    for name, p in run.network.named_parameters():
        # the segmentation has a loss of its own; a constant added to all of its inputs changes nothing after BatchNorm
        if "weight" in name and "transitions" not in name:
            assert p.grad.abs().max() > 0, name


def test_the_segmentation_loss_falls():
    run = made()
    adam, seen = torch.optim.Adam(run.network.parameters(), 1e-3), []
    for step in range(40):
        adam.zero_grad()
        terms = run.loss(step)
        terms["L_all"].backward()
        adam.step()
        seen.append(float(terms["L_parse"].detach()))
    assert seen[-1] < 0.3 * seen[0]


def test_stages_begin_at_annotated_transitions_in_the_first_quarter_alone():
    train = easy_set()[0]
    moved = replace(train, transitions=train.transitions + 0.15)
    for step, same in ((0, False), (9, False), (10, True), (39, True)):
        a, b = (made(one).loss(step) for one in (train, moved))
        assert torch.equal(a["L_reg"], b["L_reg"]) == same
        assert not torch.equal(a["L_parse"], b["L_parse"])  # the segmentation always learns from them


def test_a_prediction_reads_no_annotated_transition():
    train, x, _ = easy_set()
    runs = [made(one) for one in (train, replace(train, transitions=train.transitions + 0.15))]
    for run in runs:
        run.network.eval()
    assert torch.equal(*(run.score(x) for run in runs))


def test_no_stage_is_empty():
    x = torch.arange(20.0).reshape(1, 20, 1).expand(3, -1, -1)
    found = tsa.stages(x, torch.tensor([[0, 0], [19, 19], [7, 7]])).squeeze(3)
    assert found[:, :, [0, -1]].tolist() == [
        [[0, 0], [1, 1], [2, 19]],
        [[0, 17], [18, 18], [19, 19]],
        [[0, 6], [7, 7], [8, 19]],
    ]


def test_the_vote_does_not_depend_on_the_order_of_exemplars():
    net = made().network.eval()
    q, e, y = torch.randn(4, 3, 5, 8), torch.randn(4, 6, 3, 5, 8), torch.randn(4, 6)
    order = torch.randperm(6, generator=torch.Generator().manual_seed(1))
    vote = net.vote(q, e, y)
    assert torch.allclose(vote, net.vote(q, e[:, order], y[:, order]), atol=1e-6)
    assert torch.allclose(net.vote(q, e, y + 2), vote + 2, atol=1e-5)
    assert not torch.allclose(net.vote(q, e.roll(1, 4), y), vote, atol=1e-5)  # the exemplars' features count


def test_a_stage_attends_to_the_same_stage_alone():
    net = made().network.eval()
    q, e = torch.randn(2, 3, 5, 8), torch.randn(2, 3, 5, 8)
    together = net.relative(q, e)
    alone = [net.relative(q[:, [k] * 3], e[:, [k] * 3]) for k in range(3)]
    assert torch.allclose(together, torch.stack(alone).mean(0), atol=1e-6)


def test_exemplars_are_of_the_same_action_and_then_the_nearest():
    train, x, _ = easy_set()
    run = made()
    with torch.no_grad():
        for p in run.network.regressor.parameters():
            p.zero_()  # every relative score is predicted to be 0, and the vote is the mean of the exemplars' scores
    far = torch.cdist(x.frame.mean(1), train.frame[:40].mean(1))
    other = train.action[:40] != x.action[:, None]
    for count in (10, 14):  # ten labeled videos of each of the four actions, and the nearest of others
        one = made(exemplars=count)
        one.network.load_state_dict(run.network.state_dict())
        one.network.eval()
        order = (far + 1e3 * other).argsort(1)[:, :count]
        assert torch.allclose(one.score(x), train.y[order].mean(1), atol=1e-5)


def test_a_video_of_unknown_action_is_compared_with_the_nearest():
    train, x, _ = easy_set()
    run = made(exemplars=3)
    run.network.eval()
    with torch.no_grad():
        for p in run.network.regressor.parameters():
            p.zero_()
    near = torch.cdist(x.frame.mean(1), train.frame[:40].mean(1)).argsort(1)[:, :3]
    for action in (None, torch.full_like(x.action, -1)):
        assert torch.allclose(run.score(replace(x, action=action)), train.y[near].mean(1), atol=1e-5)


def test_partners_in_training_are_of_the_same_action():
    train, _, _ = easy_set()
    high = train.action == 1
    y = train.y.clone()
    y[train.labeled] = high[train.labeled].float()  # all scores of an action are equal, so no pair differs
    run = made(replace(train, y=y), unit_targets=False)
    mixed = made(replace(train, y=y, action=None), unit_targets=False)
    with torch.no_grad():
        for p in [p for one in (run, mixed) for p in one.network.regressor.parameters()]:
            p.zero_()  # every relative score is predicted to be 0
    assert all(float(run.loss(step)["L_reg"].detach()) == 0 for step in range(8))
    assert any(float(mixed.loss(step)["L_reg"].detach()) > 0.1 for step in range(8))
