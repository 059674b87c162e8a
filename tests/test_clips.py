"""Clip sampling: which frames are read, and the positions of the feature steps in time."""

import numpy as np
import pytest
import torch

from sapnet_core.datasets import Record
from sapnet_core.datasets.clips import clip_starts, default_sampling, sample_frames, step_positions


def record(dataset, frames):
    return Record(dataset, "k", "e", "p", 500, 500 + frames, 60.0, 3.0, "107B", (), (), (), "train")


@pytest.mark.parametrize("frames", [54, 96, 101, 273])
def test_finediving_samples_96_frames_evenly(frames):
    offsets = sample_frames(record("finediving", frames))
    assert offsets.dtype == torch.int64 and offsets.shape == (96,)
    exact = np.linspace(0, frames - 1, 96)
    assert np.abs(offsets.numpy() - exact).max() <= 0.5 and (offsets.diff() >= 0).all()
    assert (offsets[0], offsets[-1]) == (0, frames - 1)


@pytest.mark.parametrize("frames", [54, 103, 273])
def test_mtl_aqa_samples_the_last_103_frames_even_from_before_the_dive(frames):
    assert sample_frames(record("mtl-aqa", frames)).tolist() == list(range(frames - 103, frames))


def test_clips_stand_where_the_protocols_put_them():
    assert clip_starts("9x16", 96).tolist() == [0, 10, 20, 30, 40, 50, 60, 70, 80]
    assert clip_starts("10x16", 103).tolist() == [0, 10, 20, 30, 40, 50, 60, 70, 80, 86]
    assert clip_starts("dense", 96).tolist() == [0]
    assert (default_sampling("finediving"), default_sampling("mtl-aqa")) == ("9x16", "10x16")
    for clip_sampling, frames in (("9x16", 95), ("10x16", 96), ("8x16", 96)):
        with pytest.raises(ValueError, match=repr(clip_sampling)):
            clip_starts(clip_sampling, frames)
    with pytest.raises(ValueError, match="unknown"):
        default_sampling("golf")
    assert default_sampling("rg") == default_sampling("finefs") == "segments"
    assert clip_starts("segments", 48).tolist() == [0, 16, 32]
    with pytest.raises(ValueError, match="multiple of 16"):
        clip_starts("segments", 40)


@pytest.mark.parametrize("dataset, frames, segments, stride", [("rg", 2300, 26, 5), ("finefs", 6000, 32, 6)])
def test_routines_are_read_as_segments_evenly_over_the_video(dataset, frames, segments, stride):
    index = sample_frames(record(dataset, frames)).view(segments, 16)
    assert (index.diff(dim=1) == stride).all() and index[0, 0] == 0
    assert frames - 1 - 2 * stride < index[-1, -1] <= frames - 1  # the last segment ends with the video
    apart = index[:, 0].diff()
    assert apart.max() - apart.min() <= 1
    short = sample_frames(record(dataset, 40))
    assert short.min() == 0 and short.max() < 40 and len(short) == segments * 16
    middles = step_positions("segments", segments * 16)
    assert middles.shape == (segments,) and middles[0] == pytest.approx(7.5 / (segments * 16 - 1))


@pytest.mark.parametrize("clip_sampling, frames, steps", [("9x16", 96, 18), ("10x16", 103, 20), ("dense", 96, 12)])
def test_steps_lie_at_the_middle_of_their_eight_frames(clip_sampling, frames, steps):
    positions = step_positions(clip_sampling, frames)
    assert positions.dtype == torch.float32 and positions.shape == (steps,)
    clips = [(start, start + 8) for start in clip_starts(clip_sampling, frames).tolist()]
    firsts = range(0, frames, 8) if clip_sampling == "dense" else [first for clip in clips for first in clip]
    middles = [np.mean(range(first, first + 8)) for first in firsts]
    assert positions.tolist() == pytest.approx([middle / (frames - 1) for middle in middles])
    assert positions.min() > 0 and positions.max() < 1
