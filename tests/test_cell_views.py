"""Maps and boxes of TSA-Net: their averages are the features, and a box lies where the actor is in the frame."""

from dataclasses import replace

import pytest
import torch

from sapnet_core.datasets.clips import clip_starts
from sapnet_core.experiments.cell_views import CELL_VIEWS, boxes_by_step, cell_views
from sapnet_core.experiments.fit import training_task
from sapnet_core.experiments.trial import Trial
from sapnet_core.experiments.trial_data import prepare_trials, trial_data, trial_records, trial_video_source
from sapnet_core.experiments.trial_hash import trial_hash
from sapnet_core.features.views import boxes_in_cells, view_of
from sapnet_core.methods import tsa_net

pytestmark = pytest.mark.usefixtures("own_runs")

DIVES = Trial("mtl-aqa", "drawn", "tsa-net", 0.5, 0, "execution", 6, 3, steps=2, size=48)


def test_averages_of_the_maps_are_the_features_bit_for_bit():
    views = trial_data(DIVES).features.views
    assert set(views) == {"frame", "actor", *CELL_VIEWS}
    assert views["maps"].shape == (9, 20, 2, 2, 256) and views["boxes"].shape == (9, 20, 8, 4)
    assert torch.equal(views["maps"].float().mean((2, 3)), views["frame"])


def test_only_tsa_net_on_frozen_i3d_has_them():
    assert set(trial_data(replace(DIVES, method="mlp")).features.views) == {"frame", "actor"}
    assert cell_views(DIVES) == CELL_VIEWS
    for other in ({"method": "mlp"}, {"backbone": "c3d"}, {"source": "features"}, {"dataset": "folder"}):
        assert cell_views(replace(DIVES, **other)) == ()


def test_boxes_are_those_of_the_frames_of_each_step():
    """By a plain loop over clips, steps and frames."""
    source, records = trial_video_source(DIVES), trial_records(DIVES)
    found, starts = trial_data(DIVES).features.views["boxes"], clip_starts("10x16", 103).tolist()
    for row in (0, 5):
        video = source.load(records[row])
        cells = view_of(video, records[row], "boxes", 48)
        for step in range(20):
            for frame in range(8):
                own = cells[starts[step // 2] + 8 * (step % 2) + frame]
                assert torch.equal(found[row, step, frame], own)
        inside = video.boxes[0].clamp(0, 32) / 32  # one cell of 32 pixels, and one of the 16 that are left
        assert torch.allclose(cells[0], inside + (video.boxes[0].clamp(32, 48) - 32) / 16)


def test_boxes_in_cells_by_hand():
    boxes = torch.tensor([[0.0, 16, 32, 112], [-5, 40, 104, 130]])
    expected = [[0, 0.5, 1, 4], [0, 1.25, 3.5, 4]]  # 112 pixels are three cells of 32 pixels and one of 16
    assert torch.allclose(boxes_in_cells(boxes, 112, 112), torch.tensor(expected))
    expected = [[0, 0.5, 1, 3.5], [0, 1.25, 3, 4]]  # no cell is cut; the frame ends after 3 x 4 cells
    assert torch.allclose(boxes_in_cells(boxes, 128, 96), torch.tensor(expected))


def test_a_frame_on_disk_is_wider_and_boxes_keep_their_place():
    record, source = trial_records(DIVES)[0], trial_video_source(DIVES)
    video = source.load(record)
    wide = video._replace(video=video.video.repeat_interleave(2, 2).repeat_interleave(4, 3))
    boxes = video.boxes * torch.tensor([4.0, 2, 4, 2])  # of 96 x 192 pixels, which the student sees at 48 x 96
    found = view_of(wide._replace(boxes=boxes), record, "boxes", 48)
    assert torch.allclose(found[:, 0::2], (video.boxes[:, 0::2] * 2 / 32).clamp(0, 3))
    assert torch.equal(found[:, 1::2], view_of(video, record, "boxes", 48)[:, 1::2])


def test_one_dense_clip_has_the_boxes_of_every_frame():
    boxes = torch.arange(103.0)[None, :, None].expand(1, 103, 4)
    steps = boxes_by_step(boxes, "dense")
    assert steps.shape == (1, 13, 8, 4)
    assert steps[0, :, :, 0].flatten().tolist() == [*range(103), 102]
    views = trial_data(replace(DIVES, clip_sampling="dense")).features.views
    assert views["maps"].shape[:2] == views["boxes"].shape[:2] == (9, 13)


def test_nine_clips_are_the_first_nine_of_ten():
    ten, nine = (trial_data(replace(DIVES, clip_sampling=s)).features.views for s in ("", "9x16"))
    for name in CELL_VIEWS:
        assert torch.equal(nine[name], ten[name][:, :18])


def test_the_batch_holds_them_and_every_video_has_a_tube():
    task = training_task(DIVES, trial_data(DIVES))
    for batch, count in ((task.videos, 9), (task.train.videos, 6)):
        tube = tsa_net.tube_cells(batch.boxes, *batch.maps.shape[2:4])
        assert tube.shape == (count, 20, 2, 2) and tube.flatten(2).any(2).all() and not tube.all()
    whole = replace(DIVES, boxes="whole")
    boxes = training_task(whole, trial_data(whole)).videos.boxes
    assert tsa_net.tube_cells(boxes, 2, 2).all()


def test_prepared_features_are_read_and_not_computed_again(monkeypatch):
    prepare_trials([DIVES])
    monkeypatch.setattr("sapnet_core.features.extraction._compute", None)
    trial_data.__globals__["_data"].cache_clear()
    assert set(trial_data(DIVES).features.views) == {"frame", "actor", *CELL_VIEWS}


def test_the_code_of_cells_is_in_the_hash_of_their_trials_alone(monkeypatch):
    trials = DIVES, replace(DIVES, method="mlp")
    before = [trial_hash(trial) for trial in trials]
    monkeypatch.setattr("sapnet_core.experiments.trial_hash.cell_views", lambda trial: ())
    trial_hash.__globals__["_twins_hash"].cache_clear()
    assert [trial_hash(trial) == old for trial, old in zip(trials, before, strict=True)] == [False, True]
    trial_hash.__globals__["_twins_hash"].cache_clear()
