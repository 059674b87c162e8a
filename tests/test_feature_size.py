"""The disk that features take follows from their shapes, which are those of the networks in the package."""

import torch

from sapnet_core.backbones.registry import load_backbone
from sapnet_core.experiments.profiles import get_profile
from sapnet_core.experiments.tables import declared_trials
from sapnet_core.reporting.feature_size import CHANNELS, FeatureSet, feature_megabytes, feature_sets


def test_channels_are_those_of_the_shipped_backbones():
    video = torch.zeros(1, 103, 3, 64, 64, dtype=torch.uint8)
    for name, channels in CHANNELS.items():
        assert load_backbone(name, numbers=torch.float32).features(video, "10x16").shape == (1, 20, channels)


def test_a_dataset_takes_its_videos_times_steps_times_channels():
    frame = FeatureSet("i3d", "frame", "10x16", "true")
    assert feature_megabytes("mtl-aqa", [frame]) == 1412 * 20 * 256 * 4 / 1e6
    other = [frame._replace(clip_sampling="9x16"), frame._replace(boxes="whole")]
    assert feature_megabytes("mtl-aqa", other) == 1412 * (18 + 20) * 256 * 4 / 1e6
    maps = frame._replace(view="maps")
    assert feature_megabytes("mtl-aqa", [maps]) == 1412 * 20 * 16 * 208 * 2 / 1e6
    both = [FeatureSet(*what, "segments", "true") for what in (("i3d", "frame"), ("i3d", "actor"), ("swin", "frame"))]
    assert feature_megabytes("finefs", both) == 1167 * 32 * (256 + 256 + 192) * 4 / 1e6


def test_passes_are_those_that_trials_learn_from():
    study = get_profile("study")
    usual = ("10x16", "true")
    both = {("i3d", "frame", *usual), ("i3d", "actor", *usual)}
    assert feature_sets(declared_trials("I", study).values()) == {"mtl-aqa": both}
    found = {needed[:2] for needed in feature_sets(declared_trials("IV", study).values())["mtl-aqa"]}
    assert {("c3d", "frame"), ("i3d", "rotated90"), ("i3d", "maps")} <= found and ("c3d", "actor") not in found
    assert ("i3d", "photometric", *usual) in feature_sets(declared_trials("fig10", study).values())["mtl-aqa"]


def test_other_clips_and_other_boxes_are_passes_of_their_own():
    study = get_profile("study")
    sampled = {one.clip_sampling for one in feature_sets(declared_trials("decisions", study).values())["mtl-aqa"]}
    boxes = {one.boxes for found in feature_sets(declared_trials("boxes", study).values()).values() for one in found}
    assert sampled == {"9x16", "10x16", "dense"} and {"true", "whole", "detected"} <= boxes
