"""The views of a trial: what the teacher sees, the clips that I3D reads, and the rotated frames of S4L."""

from dataclasses import replace

import pytest
import torch

from sapnet_core.experiments.fit import train_set, view_scale
from sapnet_core.experiments.profiles import PROFILES
from sapnet_core.experiments.trial import TEACHERS, Trial
from sapnet_core.experiments.trial_data import trial_data
from sapnet_core.experiments.trial_hash import trial_hash
from sapnet_core.features.rotated import ROTATED, rotated
from sapnet_core.training.trainable_backbone import standardized

pytestmark = pytest.mark.usefixtures("own_runs")

DIVES = Trial("mtl-aqa", "drawn", "sap-net", 0.5, 0, "execution", 6, 3, steps=2, size=48)
FINE = replace(DIVES, dataset="finediving")


def views(trial: Trial) -> tuple[torch.Tensor, torch.Tensor]:
    found = trial_data(trial).features.views
    assert set(found) == {"frame", "actor"}
    return found["frame"], found["actor"]


def test_the_student_always_sees_the_whole_frame():
    frames = [views(replace(DIVES, teacher=teacher))[0] for teacher in TEACHERS]
    assert all(torch.equal(frame, frames[0]) for frame in frames)


def test_each_teacher_sees_what_it_is_named_after():
    frame, crop = views(DIVES)
    assert torch.equal(views(replace(DIVES, teacher="frame"))[1], frame)
    other = views(replace(DIVES, teacher="photometric"))[1]
    assert other.shape == frame.shape
    train = trial_data(DIVES).train
    for seen in (frame, crop):  # they differ in every video
        assert bool(((other - seen).abs().amax((1, 2)) > 1e-3)[train].all())
    assert bool(other[~train].isnan().all())  # test videos have no teacher's view
    assert not torch.equal(crop, frame)


def test_a_photometric_view_stays_near_its_frame():
    """In most videos, the features of the recolored frames are closest to those of the video's own frames."""
    train = trial_data(DIVES).train
    seen = views(DIVES)[0], views(replace(DIVES, teacher="photometric"))[1]
    frame, other = (view[train].flatten(1) for view in seen)
    assert float((torch.cdist(other, frame).argmin(1) == torch.arange(len(frame))).float().mean()) > 0.5


def test_only_s4l_learns_from_rotated_frames():
    """For every other trial, `views` asserts that there is no rotated view."""
    trial = replace(DIVES, method="s4l")
    data, plain = trial_data(trial), trial_data(DIVES)
    found, train = data.features.views, data.train
    assert set(found) == {"frame", "actor", *ROTATED} and set(plain.features.views) == {"frame", "actor"}
    assert all(torch.equal(found[view], plain.features.views[view]) for view in ("frame", "actor"))
    for view in ROTATED:
        assert bool(found[view][~train].isnan().all())  # only training videos are rotated
        assert bool(((found[view] - found["frame"]).abs().amax((1, 2)) > 1e-3)[train].all())
    learn = torch.nonzero(train).flatten()
    labeled = torch.ones(len(learn), dtype=torch.bool)
    given, other = (train_set(t, trial_data(t), learn, labeled) for t in (trial, DIVES))
    assert given.rotated.shape == (len(learn), 3, *given.frame.shape[1:]) and other.rotated is None
    scale = view_scale(data.features, learn, "frame")  # that of the whole frames, so that a rotation stays visible
    assert torch.equal(given.rotated[:, 0], standardized(found["rotated90"][learn], *scale))


@pytest.mark.parametrize(("view", "turns"), ROTATED.items())
def test_a_rotated_view_is_the_turned_frame(view, turns):
    video = torch.arange(2 * 3 * 4 * 6, dtype=torch.uint8).reshape(2, 3, 4, 6)
    found = rotated(video, view)
    assert found.shape == ((2, 3, 4, 6) if turns == 2 else (2, 3, 6, 4))
    corner = {1: video[..., 0, -1], 2: video[..., -1, -1], 3: video[..., -1, 0]}[turns]  # that becomes the first one
    assert torch.equal(found[..., 0, 0], corner)
    again = found
    for _ in range(3):
        again = rotated(again, view)
    assert torch.equal(again, video)


def test_nine_clips_of_mtl_aqa_are_the_first_nine_of_its_ten():
    ten, nine = trial_data(DIVES).features, trial_data(replace(DIVES, clip_sampling="9x16")).features
    assert ten.views["frame"].shape[1] == 20 and nine.views["frame"].shape[1] == 18
    assert torch.equal(nine.positions, ten.positions[:18])
    for view in ("frame", "actor"):
        assert torch.equal(nine.views[view], ten.views[view][:, :18])


def test_a_clip_sampling_that_is_the_protocol_gives_the_protocols_features():
    for trial, own in ((DIVES, "10x16"), (FINE, "9x16")):
        named, default = views(replace(trial, clip_sampling=own)), views(trial)
        assert all(torch.equal(a, b) for a, b in zip(named, default, strict=True))


def test_one_dense_pass_has_its_own_steps():
    dense = trial_data(replace(FINE, clip_sampling="dense")).features
    assert dense.views["frame"].shape[1] == 12 == len(dense.positions) and dense.period == 1


UNKNOWN = [("teacher", "crop"), ("teacher", ""), ("clip_sampling", "9"), ("select", "best"), ("select", "")]


@pytest.mark.parametrize(("field", "value"), UNKNOWN)
def test_unknown_names_are_refused(field, value):
    with pytest.raises(ValueError, match=f"{field}={value!r} is unknown"):
        replace(DIVES, **{field: value})


def test_each_choice_is_a_trial_of_its_own():
    changes = [
        {"teacher": "photometric"},
        {"teacher": "frame"},
        {"clip_sampling": "9x16"},
        {"clip_sampling": "dense"},
        {"select": "validation"},
        {"select": "test-best"},
    ]
    some = [DIVES, *(replace(DIVES, **change) for change in changes)]
    assert len({trial_hash(trial) for trial in some}) == len(some)


def test_the_middle_of_a_sweep_is_the_trial_of_the_tables():
    from sapnet_core.experiments.systems import OURS
    from sapnet_core.experiments.tables import SHARES, column_name, figure_trials, table_trials

    quick = PROFILES["quick"]
    tables = {**table_trials("I", quick), **{("II", *k): t for k, t in table_trials("II", quick).items()}}
    swept = {**figure_trials("fig07", quick), **figure_trials("fig09", quick)}
    for seed in quick.seeds:
        middle = tables["II", OURS, "15%", seed]
        assert all(swept[place + (seed,)] == middle for place in (("tau", 0.7), ("K", 3), ("M", 8)))
        for share in map(column_name, SHARES):
            actor = figure_trials("fig10", quick)["actor region", share, seed]
            assert actor == tables[OURS, share, seed] == figure_trials("fig08", quick)[OURS, share, seed]
