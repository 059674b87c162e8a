"""Intervals and differences against SciPy and loops over resamples, their coverage, and the rule for verdicts."""

import matplotlib

matplotlib.use("Agg")

import math
import zlib

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import pytest
import torch
from scipy import stats
from wording import in_order

from sapnet_core.experiments.intervals import (
    Interval,
    Paired,
    SeedScores,
    bootstrap_interval,
    correlation_interval,
    mean_interval,
    paired_difference,
    seed_scores,
    within_range,
)
from sapnet_core.experiments.metrics import fisher_mean, relative_l2, spearman
from sapnet_core.experiments.resampling import Cell, resampled, rho_of_draws
from sapnet_core.experiments.statistics import (
    ARITHMETIC,
    EVERY_SEED,
    NO_TEST,
    Evidence,
    Hypothesis,
    all_above,
    all_seeds_in_words,
    comparable,
    compare,
    compare_over_videos,
    equivalence,
    evidence_of,
    holm,
    hypothesis_of,
    in_words,
    judge,
    seeds_to_decide,
    size_beside,
    weakest,
)
from sapnet_core.reporting import plots


def draw(n, noise, seed=0):
    generator = torch.Generator().manual_seed(seed)
    true = torch.randn(n, generator=generator)
    return true + noise * torch.randn(n, generator=generator), true


# ---- intervals ------------------------------------------------------------------------------------------------------
def test_bootstrap_is_the_loop_over_resamples():
    pred, true = draw(40, 0.7)
    low, high = bootstrap_interval(pred, true, resamples=300, seed=5)
    index = torch.randint(40, (300, 40), generator=torch.Generator().manual_seed(5))
    loop = [stats.spearmanr(pred[i].numpy(), true[i].numpy()).statistic for i in index]
    assert (low, high) == pytest.approx(tuple(np.quantile(loop, [0.025, 0.975])), abs=1e-12)
    assert low < spearman(pred, true) < high
    assert (low, high) == bootstrap_interval(pred, true, resamples=300, seed=5)
    assert (low, high) != bootstrap_interval(pred, true, resamples=300, seed=6)


def test_bootstrap_interval_covers_about_as_often_as_it_says():
    truth = (6 / math.pi) * math.asin(math.sqrt(0.5) / 2)  # Spearman of a normal pair with Pearson sqrt(0.5)
    hits = 0
    for seed in range(100):
        low, high = bootstrap_interval(*draw(80, 1.0, seed), resamples=200, seed=seed, level=0.8)
        hits += low <= truth <= high
    assert 66 <= hits <= 92


def test_paired_difference_uses_the_same_videos_for_both():
    pred, true = draw(100, 0.6)
    worse = pred + 0.4 * torch.randn(100, generator=torch.Generator().manual_seed(9))
    result = paired_difference(pred, worse, true, resamples=500)
    assert result.value == pytest.approx(float(spearman(pred, true) - spearman(worse, true)))
    assert 0 < result.low < result.value < result.high
    back = paired_difference(worse, pred, true, resamples=500)
    assert (back.value, back.low, back.high) == pytest.approx((-result.value, -result.high, -result.low))
    same = paired_difference(pred, pred * 2 + 1, true, resamples=500)  # unpaired resamples would give a width
    assert same == (0, 0, 0)


def test_mean_interval_is_scipys_t_interval():
    values = [0.70, 0.74, 0.71, 0.69, 0.75]
    expected = stats.t.interval(0.9, 4, loc=np.mean(values), scale=stats.sem(values))
    mean, low, high = mean_interval(values, level=0.9)
    assert mean == pytest.approx(np.mean(values)) and (low, high) == pytest.approx(expected)
    assert mean_interval([0.5]).value == 0.5 and math.isnan(mean_interval([0.5]).low)


def test_no_bound_of_a_correlation_lies_beyond_one():
    wide = [0.9, 0.2, -0.5]  # Student's interval reaches 1.94
    found = correlation_interval(wide)
    assert mean_interval(wide).high > 1 > found.high > found.value > found.low > -1
    assert found.value == mean_interval(wide).value  # the mean is unchanged
    half = mean_interval(wide).high - found.value  # by the delta method, in z
    z, spread = math.atanh(found.value), half / (1 - found.value**2)
    assert (math.atanh(found.low), math.atanh(found.high)) == pytest.approx((z - spread, z + spread))
    near = [0.70, 0.74, 0.71]
    assert correlation_interval(near) == mean_interval(near)  # inside [-1, 1], Student's interval is kept
    apart = mean_interval([1.9, 0.5, 1.5], limit=2)
    assert apart.low > -2 and apart.value < apart.high < 2
    assert within_range(0.5, 9.0, math.inf) == (-8.5, 9.5)
    assert all(math.isnan(x) for x in correlation_interval([0.5])[1:])


def test_intervals_of_three_correlations_cover_more_often_than_students():
    """Most of Student's intervals extend beyond 1 here; those in Fisher's z come closer to their stated coverage."""
    draws = np.random.default_rng(0)
    rhos = np.tanh(math.atanh(0.5) + 0.6 * draws.standard_normal((40_000, 3)))
    truth, cover, beyond = rhos.mean(), {correlation_interval: 0, mean_interval: 0}, 0
    for row in rhos[:1000]:
        for interval in cover:
            _, low, high = interval(row)
            cover[interval] += low <= truth <= high
            beyond += interval is correlation_interval and high > 1
    assert (
        beyond == 0 and cover[mean_interval] < cover[correlation_interval] and 920 <= cover[correlation_interval] <= 970
    )


# ---- differences ----------------------------------------------------------------------------------------------------


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
    # The seeds agree exactly, so that only the noise of the videos is left, as in the bootstrap of one seed.
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
    """Without a difference between two ways of training, 5 % of comparisons are significant, even if the seeds of a
    side share noise over the videos, or the noise of a seed's training varies."""
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
    # 0.01 x 4, 0.02 x 3, 0.03 x 2, 0.04 x 1, none below its predecessor; NaN does not count
    assert holm([0.04, 0.01, math.nan, 0.03, 0.02]) == pytest.approx([0.06, 0.04, math.nan, 0.06, 0.06], nan_ok=True)
    assert holm([0.6, 0.7]) == [1.0, 1.0] and holm([]) == []


def test_all_of_several_is_as_sure_as_the_weakest():
    up, down = (Evidence(v, 0, 0, 0, 0, p, 1, 9, ()) for v, p in ((0.1, 0.02), (-0.1, 0.02)))
    assert weakest([up, up._replace(p=0.3)])[1] == 0.3
    assert weakest([up, down]) == (down, 0.04)


# ---- verdicts -------------------------------------------------------------------------------------------------------
def test_paired_t_test_is_scipys():
    by_seed = [0.03, 0.05, 0.01, 0.04]
    found, scipys = evidence_of(by_seed), stats.ttest_1samp(by_seed, 0)
    assert found.p == pytest.approx(scipys.pvalue) and found.df == 3
    ends = scipys.confidence_interval(0.95)
    assert (found.low, found.high) == pytest.approx((ends.low, ends.high))
    assert found[1:5] == pytest.approx((found.seed_low, found.seed_high) * 2)


def test_the_rule_by_hand():
    family = [
        Hypothesis(True, 0.001),  # times 4
        Hypothesis(False, 0.008),  # times 3: below 0.025
        Hypothesis(True, 0.02, 0.9),  # times 2: above 0.025
        Hypothesis(False, 0.9, 0.012),  # no difference found, and equivalence shown: 0.012 times 2
    ]
    assert [v.word for v in judge(family)] == ["supported", "contradicted", "undecided", "no difference"]
    assert [v.p_holm for v in judge(family)] == pytest.approx([0.004, 0.024, 0.04, 0.9])
    alone = judge([Hypothesis(True, math.nan)])[0]  # one seed has no p value
    assert alone.word == "undecided" and math.isnan(alone.p_holm)
    assert judge([]) == []


def test_two_networks_of_one_seed_are_compared_over_the_test_videos_alone():
    draws = torch.Generator().manual_seed(0)
    true = torch.randn(300, generator=draws).double()
    near, far = (Cell((true + s * torch.randn(300, generator=draws))[None], true, "v") for s in (0.5, 2.0))
    found = compare_over_videos(resampled(near)[0], resampled(far)[0], limit=2.0)
    paired = paired_difference(near.predicted[0], far.predicted[0], true)
    assert found[:3] == pytest.approx(paired, abs=0.02) and found.value == pytest.approx(paired.value)
    assert judge([hypothesis_of(found)])[0].word == "supported"
    assert compare_over_videos(resampled(far)[0], resampled(near)[0]).p == pytest.approx(found.p)
    same = judge([hypothesis_of(compare_over_videos(resampled(near)[0], resampled(near)[0] + 0.001))])
    vague = judge([hypothesis_of(found._replace(value=0.03, p=0.4, se=0.04))])
    assert same[0].word != "undecided" and str(vague[0]) == in_words("undecided")


def test_what_needs_no_p_value_has_the_verdict_that_is_seen_and_does_not_count():
    seen = [(ARITHMETIC, True), (EVERY_SEED, False), (EVERY_SEED, None), (NO_TEST, None)]
    family = [Hypothesis(said, 1.0, 1.0, test=test) for test, said in seen]
    verdicts = judge([*family, Hypothesis(True, 0.02)])
    assert [v.word for v in verdicts] == ["supported", "contradicted", "undecided", "not testable here", "supported"]
    assert verdicts[-1].p_holm == 0.02 and all(math.isnan(v.p_holm) for v in verdicts[:-1])


def test_an_undecided_claim_says_how_many_seeds_would_decide_it():
    near, far = evidence_of([0.01, 0.03, 0.05]), evidence_of([0.30, 0.31, 0.32])
    first, second = judge([hypothesis_of(near), hypothesis_of(far)])
    assert first.to_decide == seeds_to_decide(near, 2) and str(first) == in_words("undecided", first.to_decide)
    assert str(second) == second.word == "supported" and math.isnan(second.to_decide)
    assert math.isnan(judge([hypothesis_of(near)._replace(evidence=None)])[0].to_decide)


def test_a_part_of_several_differences_contradicts_but_does_not_support():
    up, down = evidence_of([0.10, 0.11, 0.12]), evidence_of([-0.10, -0.11, -0.12])
    for found, whole, part in (([up, up], "supported", "not testable here"), ([up, down], *["contradicted"] * 2)):
        assert [judge([all_above(found, partly=partly)])[0].word for partly in (False, True)] == [whole, part]
    assert all_above([up, down]).p == min(1.0, 2 * down.p) and all_above([up, down]).evidence == down
    # without a margin there is no test of "no difference", and nothing to correct the tests of other claims for
    assert math.isnan(all_above([up, down], margin=math.nan).p_equal)


def test_what_is_said_to_be_comparable_is_judged_by_its_margin():
    near, far = evidence_of([0.001, -0.001, 0.0005, -0.0005]), evidence_of([-0.10, -0.11, -0.12, -0.11])
    assert [judge([comparable(one, 0.02)])[0].word for one in (near, far)] == ["supported", "contradicted"]
    assert comparable(near, 0.02).p == equivalence(near, 0.02)[0]
    assert comparable(far, 0.02).p == 2 * equivalence(far, 0.02)[1]
    assert comparable(far, 0.02).evidence.value == pytest.approx(0.09)  # its excess over the margin


def test_an_interval_is_held_against_a_printed_size():
    sizes = [size_beside(0.05, low, high, True) for low, high in ((-0.1, 0.04), (0.0, 0.1), (0.06, 0.2), (0.11, 0.2))]
    assert sizes == ["smaller", "as printed", "larger", "suspiciously larger"]
    assert size_beside(0.05, 0.11, 0.2, False) == "larger"


def test_the_seeds_of_several_undecided_claims_in_one_phrase():
    assert all_seeds_in_words([12, 58]) == "12 to 58 seeds would decide" and all_seeds_in_words([]) == ""
    assert all_seeds_in_words([12]) == "12 seeds would decide" and all_seeds_in_words([math.nan]) == ""
    assert in_order(all_seeds_in_words([12, math.inf, 58, math.inf]), "12 to 58", "decide 2", "1000", "not", 2)
    assert in_order(all_seeds_in_words([math.inf]), "1000 seeds", "not")


def test_a_side_of_the_claim_and_its_margin():
    up = hypothesis_of(evidence_of([0.10, 0.11, 0.12]))
    assert up.said and up.p < 0.05 < up.p_equal and not hypothesis_of(evidence_of([-0.1, -0.11, -0.12])).said
    same = evidence_of([0.001, -0.001, 0.0005, -0.0005])
    assert judge([hypothesis_of(same)])[0].word == "no difference"
    assert judge([hypothesis_of(same, margin=1e-4)])[0].word == "undecided"
    assert math.isnan(hypothesis_of(same, math.nan).p_equal)


@pytest.mark.parametrize(("mean", "spread", "rest"), [(0.03, 0.04, 0.0), (0.05, 0.05, 0.012), (0.001, 0.03, 0.0)])
def test_the_named_number_of_seeds_decides_four_times_in_five(mean, spread, rest):
    """Of experiments with the named number of seeds, about 80 % are decided."""
    pilot = mean + spread * np.array([-1.0, 0.0, 1.0])  # three seeds with this mean and standard deviation
    se = math.sqrt(rest**2 + spread**2 / 3)
    n = int(seeds_to_decide(evidence_of(pilot, se, 2 * se**4 / (spread**2 / 3) ** 2)))
    assert 3 < n < 200
    draws, decided, runs = np.random.default_rng(0), 0, 1000
    for _ in range(runs):
        seeds = mean + rest * draws.standard_normal() + spread * draws.standard_normal(n)
        term = seeds.var(ddof=1) / n
        found = evidence_of(seeds, math.sqrt(rest**2 + term), (n - 1) * (rest**2 + term) ** 2 / term**2)
        decided += judge([hypothesis_of(found)._replace(evidence=None)])[0].word != "undecided"
    assert 0.76 <= decided / runs <= 0.85, (n, decided / runs)


def test_seeds_that_would_decide():
    vague = evidence_of([0.1, -0.1, 0.02])
    assert seeds_to_decide(vague) == math.inf or seeds_to_decide(vague) > 100
    near = evidence_of([0.01, 0.03, 0.05])
    assert 3 < seeds_to_decide(near) < seeds_to_decide(near, claims=10)  # correcting for ten claims costs seeds
    assert math.isnan(seeds_to_decide(evidence_of([0.3])))
    # More seeds do not help against the noise of the test videos.
    assert seeds_to_decide(evidence_of([0.01, 0.03, 0.05], se=0.05, df=50.0)) == math.inf
    assert in_order(in_words("undecided", 27), "undecided", "27 seeds") and "not" not in in_words("undecided", 27)
    assert in_order(in_words("undecided", math.inf), "undecided", "1000 seeds", "not")
    assert in_order(in_words("undecided"), "undecided", "one seed") and in_words("supported") == "supported"


# ---- figures --------------------------------------------------------------------------------------------------------
VIDEOS, SEEDS = 40, 3


@pytest.fixture
def stored():
    """Predictions of two systems in two columns: A follows the truth more closely than B."""
    draw = np.random.default_rng(0)
    true = draw.normal(size=VIDEOS)
    tables = {
        (system, column, seed): pd.DataFrame(
            {"key": range(VIDEOS), "score": true, "predicted": true + noise * draw.normal(size=VIDEOS)}
        )
        for system, noise in (("A", 0.3), ("B", 1.5))
        for column in ("10%", "20%")
        for seed in range(SEEDS)
    }
    return tables


def test_differences_are_those_of_the_metrics(stored):
    scores = seed_scores(stored, resamples=300)
    true = torch.tensor(stored["A", "10%", 0]["score"].to_numpy())
    A, B = ([torch.tensor(stored[s, "10%", i]["predicted"].to_numpy()) for i in range(SEEDS)] for s in "AB")
    found = scores.difference([("A", "10%")], [("B", "10%")])
    by_seed = [float(spearman(a, true) - spearman(b, true)) for a, b in zip(A, B, strict=True)]
    assert found[:3] == pytest.approx(mean_interval(by_seed))
    one = SeedScores({k: v[:1] for k, v in scores.rho.items()}, {k: v[:1] for k, v in scores.again.items()})
    core = paired_difference(A[0], B[0], true, resamples=300)
    assert one.difference([("A", "10%")], [("B", "10%")])[3:] == pytest.approx((core.low, core.high))


def test_the_mean_over_columns_is_taken_within_a_seed(stored):
    scores = seed_scores(stored, resamples=50)
    found = scores.difference([("A", "10%"), ("A", "20%")], [("B", "10%"), ("B", "20%")])
    by_seed = sum(scores.rho["A", c] - scores.rho["B", c] for c in ("10%", "20%")) / 2
    assert found[:3] == pytest.approx(mean_interval(by_seed))
    same = scores.difference([("A", "10%")], [("A", "10%")])
    assert same == pytest.approx((0, 0, 0, 0, 0))


def test_unlike_test_videos_and_missing_seeds_are_refused(stored):
    with pytest.raises(ValueError, match="seeds"):
        seed_scores({key: table for key, table in stored.items() if key != ("B", "20%", 2)}, 10)
    stored["B", "20%", 2] = stored["B", "20%", 2].assign(score=0.5)
    with pytest.raises(ValueError, match="test videos"):
        seed_scores(stored, 10)


def test_keys_of_two_parts_give_their_first(stored):
    flat = {(key[0], key[2]): table for key, table in stored.items() if key[1] == "10%"}
    assert set(seed_scores(flat, 10).rho) == {"A", "B"}


def test_drawings_show_the_numbers_they_are_given():
    rows = {"10%": Paired(0.1, 0.0, 0.2, 0.05, 0.15), "mean": Paired(-0.1, -0.3, 0.1, -0.2, 0.0)}
    fig, (a, b, c, d) = plt.subplots(1, 4)
    plots.forest(a, rows, gap_before="mean")
    assert [t.get_text() for t in a.get_yticklabels()] == list(rows) and a.get_yticks().tolist() == [0.0, 1.3]
    over_seeds, over_videos = (np.array([line[:, 0] for line in part.get_segments()]) for part in a.collections)
    assert over_seeds.tolist() == [[0.0, 0.2], [-0.3, 0.1]] and over_videos.tolist() == [[0.05, 0.15], [-0.2, 0.0]]
    plots.stems(b, dict(zip((1, 2), rows.values(), strict=True)))
    assert b.lines[-1].get_ydata().tolist() == [0.1, -0.1]
    values = [[0.5, 0.7], [0.6, 0.6]]
    plots.seed_curve(c, (1, 2), values)
    assert c.lines[-1].get_ydata() == pytest.approx([0.6, 0.6]) and sorted(c.lines[0].get_ydata()) == [
        0.5,
        0.6,
        0.6,
        0.7,
    ]
    plots.seed_marks(d, (1, 2), values, "gray")
    assert d.lines[-1].get_ydata() == pytest.approx([0.6, 0.6]) and len(set(d.lines[0].get_xdata())) == 4
    plt.close(fig)


def test_an_interval_and_evidence_are_written_alike():
    interval = Interval(0.01234, -0.1, 0.25)
    found = Evidence(*interval, math.nan, math.nan, 0.5, 0.1, 3.0, (0.0, 0.02468))
    for one in (interval, found):
        assert str(one) == f"{one}" == "+0.012 [-0.100, +0.250]"
        assert f"{one:+.2f}" == "+0.01 [-0.10, +0.25]" and f"{one:.1f}" == "0.0 [-0.1, 0.2]"
    assert str(mean_interval([0.5])) == "+0.500 [+nan, +nan]"


@pytest.mark.parametrize(("axis", "markers"), [("x", "<>"), ("y", "v^")])
def test_an_arrow_stands_at_every_edge_that_an_interval_leaves(axis, markers):
    fig, ax = plt.subplots()
    ax.set(xlim=(-1, 1), ylim=(-1, 1))
    for at, ends in (
        (0.1, (-0.5, 0.5)),
        (0.2, (-1.5, 0.5)),
        (0.3, (-0.5, 1.5)),
        (0.4, (-2, 2)),
        (0.5, (math.nan,) * 2),
    ):
        plots.beyond(ax, at, *ends, "gray", axis)
    places = [(float(line.get_xdata()[0]), float(line.get_ydata()[0]), line.get_marker()) for line in ax.lines]
    along = [(-1.0, 0.2, markers[0]), (1.0, 0.3, markers[1]), (-1.0, 0.4, markers[0]), (1.0, 0.4, markers[1])]
    assert places == (along if axis == "x" else [(at, end, marker) for end, at, marker in along])
    plt.close(fig)


def test_rho_of_draws_is_spearman_of_every_draw():
    generator = torch.Generator().manual_seed(0)
    predicted = torch.randn(3, 40, generator=generator).round(decimals=1)  # with ties
    true = torch.randn(40, generator=generator).round(decimals=1)
    draws = torch.randint(40, (25, 40), generator=generator)
    expected = spearman(predicted[:, draws], true[draws])
    torch.testing.assert_close(rho_of_draws(predicted, true, draws), expected.double(), rtol=0, atol=1e-6)
    predicted[0] = 1.0  # a constant ranks nothing
    assert not rho_of_draws(predicted, true, draws)[0].any() and not spearman(predicted[:1, draws], true[draws]).any()
