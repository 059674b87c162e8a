"""Differences with both of their noises: against the loop over resamples, and as often wrong as they say."""

import math
import zlib

import pytest
import torch

from sapnet_core.experiments.evidence import Cell, compare, equivalence, holm, resampled
from sapnet_core.experiments.metrics import fisher_mean, mean_interval, relative_l2, spearman


def cell(noise=1.0, seeds=3, n=60, seed=0, ties=False, videos="v"):
    draw = torch.Generator().manual_seed(seed)
    true = torch.randn(n, generator=torch.Generator().manual_seed(99)).double()
    predicted = true + noise * torch.randn(seeds, n, generator=draw).double()
    return Cell((2 * predicted).round() if ties else predicted, (3 * true).round() if ties else true, videos)


def drawn(videos, n, resamples):
    return torch.randint(n, (resamples, n), generator=torch.Generator().manual_seed(zlib.crc32(videos.encode())))


@pytest.mark.parametrize("ties", [False, True])
def test_resampling_by_counts_is_sorting_every_resample(ties):
    c = cell(ties=ties)
    index = drawn("v", 60, 40)
    for metric, plain in (
        ("rho", spearman),
        ("closeness", lambda p, y: -100 * relative_l2(p, y, float(c.true.min()), float(c.true.max()))),
        ("spread", lambda p, y: p.std(-1) / y.std(-1)),
    ):
        found = resampled(c, metric, 40)
        assert found.shape == (3, 41)
        for mine, predicted in zip(found, c.predicted, strict=True):
            assert mine[0].item() == pytest.approx(float(plain(predicted, c.true)), abs=1e-9)
            assert torch.allclose(mine[1:], plain(predicted[index], c.true[index]), atol=1e-9)


def test_nan_and_unequal_seeds_are_refused():
    c = cell()
    with pytest.raises(ValueError, match="NaN"):
        resampled(Cell(c.predicted * math.nan, c.true, "v"))
    with pytest.raises(ValueError, match="same seeds"):
        compare([resampled(c)], [resampled(cell(seeds=2))])


def test_a_constant_prediction_ranks_nothing():
    assert (resampled(Cell(torch.ones(2, 9), torch.arange(9.0), "v"), resamples=5) == 0).all()


def test_difference_by_hand():
    a, b = cell(0.5, seed=1), cell(1.5, seed=2)
    found = compare([resampled(a)], [resampled(b)])
    own = spearman(a.predicted, a.true) - spearman(b.predicted, b.true)
    assert found.by_seed == pytest.approx(own.tolist()) and found.value == pytest.approx(own.mean().item())
    assert (found.seed_low, found.seed_high) == pytest.approx(mean_interval(own)[1:])
    assert found.low < found.value < found.high and found.p < 0.01
    back = compare([resampled(b)], [resampled(a)])
    assert (back.value, back.low, back.p) == pytest.approx((-found.value, -found.high, found.p))
    # seeds agree exactly: what is left is the noise of the videos, which the bootstrap of one seed has as well
    same = [Cell(c.predicted[:1].expand(3, -1), c.true, "v") for c in (a, b)]
    bootstrap = (resampled(same[0]) - resampled(same[1]))[0, 1:]
    assert compare(*([resampled(c)] for c in same)).se == pytest.approx(bootstrap.std().item(), rel=1e-6)
    alone = compare([resampled(cell(seeds=1))], [resampled(cell(seeds=1, seed=3))])
    assert math.isnan(alone.p) and math.isnan(alone.low)


def test_classes_are_averaged_as_correlations():
    cells = [cell(noise, seed=i, videos=str(i)) for i, noise in enumerate((0.3, 1.0, 2.0, 3.0))]
    a, b = [resampled(c) for c in cells[:2]], [resampled(c) for c in cells[2:]]
    rho = [spearman(c.predicted, c.true) for c in cells]
    expected = [fisher_mean([w, x]) - fisher_mean([y, z]) for w, x, y, z in zip(*rho, strict=True)]
    assert compare(a, b, fisher=True).by_seed == pytest.approx(expected)
    assert compare(a, b).by_seed == pytest.approx(((rho[0] + rho[1] - rho[2] - rho[3]) / 2).tolist())


@pytest.mark.parametrize("shared, own", [(0.0, 0.0), (1.0, 0.0), (0.3, 0.35)], ids=["chance", "videos", "seeds"])
def test_false_alarms_come_about_as_often_as_they_say(shared, own):
    """No difference between two ways of training, but noise that all seeds of a side share over the videos, or that a
    seed's whole training has: five in a hundred are called significant."""
    wrong, runs = 0, 400
    draw = torch.Generator().manual_seed(0)
    for run in range(runs):
        true = torch.randn(80, generator=draw).double()
        sides = []
        for _ in range(2):
            noise = 1 + own * torch.randn(3, 1, generator=draw).abs()
            noise = noise * torch.randn(3, 80, generator=draw) + shared * torch.randn(80, generator=draw)
            sides.append([resampled(Cell(true + noise.double(), true, f"{run}"), resamples=100)])
        wrong += compare(*sides).p < 0.05
    assert 0.02 <= wrong / runs <= 0.08, wrong / runs


def test_comparable_needs_a_narrow_interval_within_the_margin():
    alike = compare([resampled(cell(0.1, seed=1, n=400))], [resampled(cell(0.1, seed=2, n=400))])
    assert equivalence(alike, 0.05)[0] < 0.01 < 0.99 < equivalence(alike, 0.05)[1]
    apart = compare([resampled(cell(0.1, seed=1, n=400))], [resampled(cell(2.0, seed=2, n=400))])
    assert equivalence(apart, 0.05)[1] < 0.01
    vague = compare([resampled(cell(1.0, seed=1, n=20))], [resampled(cell(1.0, seed=2, n=20))])
    assert min(equivalence(vague, 0.05)) > 0.05


def test_holm_by_hand():
    # 0.01 x 4, 0.02 x 3, 0.03 x 2, 0.04 x 1 -> the last two are lifted to their predecessor; NaN does not count
    assert holm([0.04, 0.01, math.nan, 0.03, 0.02]) == pytest.approx([0.06, 0.04, math.nan, 0.06, 0.06], nan_ok=True)
    assert holm([0.6, 0.7]) == [1.0, 1.0] and holm([]) == []
