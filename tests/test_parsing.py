"""Interpolation, both decoders, the windows of Eq. 5 and the resampling of subactions, against loops."""

import numpy as np
import pytest
import torch

from sapnet_core.sapnet.parsing import (
    AttentionRefinement,
    PSNetDecoder,
    SubactionParser,
    TemporalDecoder,
    doubling,
    interpolation_matrix,
    key_frames,
    resampling_matrix,
)

POSITIONS = torch.tensor([0.04, 0.1, 0.3, 0.32, 0.5, 0.66, 0.9, 0.95])


@pytest.mark.parametrize("steps", [96, 12])
def test_interpolation_equals_numpy(steps):
    values = torch.randn(8, generator=torch.Generator().manual_seed(0))
    centers = (np.arange(steps) + 0.5) * 96 / steps - 0.5
    expected = np.interp(centers / 95, POSITIONS.numpy(), values.numpy())
    matrix = interpolation_matrix(POSITIONS, steps, 96)
    assert np.allclose((matrix @ values).numpy(), expected, atol=1e-5)
    assert torch.allclose(matrix.sum(1), torch.ones(steps)) and ((matrix > 0).sum(1) <= 2).all()


def test_interpolation_does_not_ask_for_order():
    shuffle = torch.tensor([3, 1, 0, 2, 7, 5, 6, 4])
    sorted_, shuffled = interpolation_matrix(POSITIONS, 96, 96), interpolation_matrix(POSITIONS[shuffle], 96, 96)
    assert torch.allclose(sorted_[:, shuffle], shuffled)
    assert torch.isfinite(interpolation_matrix(torch.tensor([0.2, 0.2, 0.7]), 16, 16)).all()


def test_attention_refinement_is_one_weight_per_channel_and_video():
    torch.manual_seed(0)
    attention, x = AttentionRefinement(6), torch.randn(2, 5, 6)
    refined, weights, biases = attention(x), attention.conv.weight[:, :, 0].tolist(), attention.conv.bias.tolist()
    for b in range(2):
        pooled = [float(x[b, :, c].mean()) for c in range(6)]
        for c in range(6):
            z = sum(weights[c][j] * pooled[j] for j in range(6)) + biases[c]
            weight = 1 / (1 + np.exp(-z))
            for s in range(5):
                assert float(refined[b, s, c].detach()) == pytest.approx(float(x[b, s, c]) * weight, abs=1e-5)


@pytest.mark.parametrize("norm", ["batch", "group", "none"])
@pytest.mark.parametrize(("clips", "channels"), [(18, 64), (20, 32), (12, 64)])
def test_decoders_reach_the_printed_sizes(clips, channels, norm):
    torch.manual_seed(0)
    x, positions = torch.randn(3, clips, channels), torch.linspace(0, 1, clips)
    sizes = []
    temporal, psnet = TemporalDecoder(channels, 96, norm), PSNetDecoder(channels, 96, clips, norm)
    for module in [*temporal.convs, *psnet.blocks]:
        module.register_forward_hook(lambda m, i, o: sizes.append(tuple(o.shape[1:])))
    for decoder in (temporal, psnet):
        out = decoder(x, positions)
        assert out.shape == (3, 96, channels // 8) and torch.isfinite(out).all()
    scale = channels // 8
    # The convolutions run before time is doubled; after doubling, the sizes are (C, 12), (C/2, 24), (C/4, 48) and
    # (C/8, 96).
    assert sizes[:4] == [(8 * scale, 12), (4 * scale, 12), (2 * scale, 24), (scale, 48)]
    assert sizes[4:] == [(12, 8 * scale), (24, 4 * scale), (48, 2 * scale), (96, scale)]


def test_the_temporal_decoder_keeps_time_and_psnet_keeps_the_order_of_clips():
    torch.manual_seed(0)
    x, positions = torch.zeros(1, 12, 64), (torch.arange(12) * 8 + 3.5) / 95
    late = x.clone()
    late[0, 11] = 1.0
    temporal = TemporalDecoder(64, 96, "none")
    change = (temporal(late, positions) - temporal(x, positions)).abs().sum(2)[0]
    assert change[:48].max() == 0 and change[88:].max() > 0  # the last clip changes no frame of the first half
    psnet, x = PSNetDecoder(64, 96, 12), torch.randn(2, 12, 64)
    assert not torch.allclose(psnet(x, positions), psnet(x.flip(1), positions))


def test_psnet_sees_clips_and_not_their_halves():
    x = torch.randn(2, 20, 64)
    swapped = x.unflatten(1, (10, 2)).flip(2).flatten(1, 2)  # both halves of every clip exchanged
    psnet = PSNetDecoder(64, 96, 20).eval()
    assert psnet.blocks[0][0].in_channels == 10
    positions = torch.linspace(0, 1, 20)
    assert torch.allclose(psnet(x, positions), psnet(swapped, positions), atol=1e-6)


def test_attention_can_differ_between_steps():
    attention, x = AttentionRefinement(6, per_step=True), torch.randn(2, 5, 6)
    alone = torch.stack([attention(x[:, s : s + 1])[:, 0] for s in range(5)], 1)  # every step as a video of its own
    assert torch.allclose(attention(x), alone, atol=1e-6)
    decoder = TemporalDecoder(64, 96)
    x, positions = torch.randn(2, 18, 64), torch.linspace(0, 1, 18)
    weights = torch.rand(2, 18, 64)
    assert torch.allclose(decoder(x, positions, weights), decoder(x * weights, positions), atol=1e-5)


def test_time_is_doubled_as_torch_interpolates():
    x = torch.randn(2, 5, 12)
    expected = torch.nn.functional.interpolate(x, scale_factor=2, mode="linear", align_corners=False)
    assert torch.allclose(x @ doubling(12, x.device), expected, atol=1e-6)


def test_decoder_base_narrows():
    assert TemporalDecoder(64, 96, base=16)(torch.randn(1, 12, 64), torch.linspace(0, 1, 12)).shape == (1, 96, 2)


@pytest.mark.parametrize(("frames", "K"), [(96, 3), (96, 5), (16, 4), (10, 1)])
def test_key_frames_are_the_argmax_of_their_window(frames, K):
    a = torch.rand(20, frames, K, generator=torch.Generator().manual_seed(K))
    times, unbounded = key_frames(a), a.argmax(1)
    for b in range(20):
        for k in range(K):
            window = [t for t in range(frames) if frames / K * k <= t < frames / K * (k + 1)]
            assert times[b, k] == max(window, key=lambda t: float(a[b, t, k]))
    assert (times.diff(dim=1) > 0).all()
    assert K == 1 or not torch.equal(times, unbounded)  # without its windows, Eq. 5 gives other key frames
    assert torch.equal(times, key_frames(a.logit()))


def test_resampling_reads_between_the_midpoints():
    times, steps, frames = torch.tensor([[4, 20, 30], [0, 16, 47]]), 5, 48
    x = torch.randn(2, frames, 7, generator=torch.Generator().manual_seed(0))
    got = (resampling_matrix(times, frames, steps) @ x).unflatten(1, (3, steps))
    for b in range(2):
        t = times[b].tolist()
        edges = [-0.5, (t[0] + t[1]) / 2, (t[1] + t[2]) / 2, frames - 0.5]
        for k in range(3):
            for j in range(steps):
                place = edges[k] + (j + 0.5) / steps * (edges[k + 1] - edges[k])
                for d in range(7):
                    expected = np.interp(place, np.arange(frames), x[b, :, d].numpy())
                    assert float(got[b, k, j, d]) == pytest.approx(expected, abs=1e-4)


def test_parsed_features_come_in_order_and_carry_gradients():
    x = torch.arange(96.0).reshape(1, 96, 1).requires_grad_()
    parsed = resampling_matrix(torch.tensor([[10, 40, 90]]), 96, 5) @ x
    assert (parsed[0, :, 0].diff() > 0).all()
    parsed.sum().backward()
    assert float(x.grad.sum()) == pytest.approx(15, abs=1e-4) and (x.grad != 0).sum() >= 15


def test_the_parser_gives_one_logit_per_frame_and_state():
    torch.manual_seed(0)
    parser = SubactionParser(TemporalDecoder(32, 96), K=3)
    features, logits = parser(torch.randn(2, 18, 32), torch.linspace(0, 1, 18))
    assert features.shape == (2, 96, 4) and logits.shape == (2, 96, 3)
    alone = parser.mlp(features[1, 17])  # the MLP sees one frame at a time
    assert torch.allclose(alone, logits[1, 17], atol=1e-6)
