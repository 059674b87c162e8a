"""A gymnast's routine follows its difficulty, her faults follow the factors, and thrown apparatus obeys gravity."""

import time
from dataclasses import replace
from functools import cache

import pytest
import torch

from sapnet_core.datasets.records import Record
from sapnet_core.simulator.figure import JOINTS
from sapnet_core.simulator.gymnastics.apparatus import APPARATUS, HOOP, RIBBON
from sapnet_core.simulator.gymnastics.gymnast import (
    FACTORS,
    draw_scene,
    gymnast_routine,
    perform,
    quality_factors,
    shown_scores,
)
from sapnet_core.simulator.gymnastics.routine import CARPET, element_count
from sapnet_core.simulator.render import render_frames
from sapnet_core.simulator.settings import SimSettings

PERFECT = torch.ones(len(FACTORS))
AT = {name: i for i, name in enumerate(JOINTS)}
RATE = 25.0


def record(group="Ball", difficulty=9.0, execution=7.0, penalty=0.0, seconds=88, **changes):
    values = {
        "dataset": "rg",
        "key": f"{group}_001",
        "event": "",
        "path": "",
        "start": 0,
        "end": round(seconds * RATE),
        "score": difficulty + execution - penalty,
        "difficulty": 1.0,
        "action": group,
        "judges": (),
        "transitions": (),
        "subactions": (),
        "split": "train",
        "group": group,
        "rate": RATE,
        "sub_scores": (("difficulty", difficulty), ("execution", execution), ("penalty", penalty)),
    }
    return Record(**(values | changes))


def factors(**levels):
    return torch.tensor([levels.get(name, 1.0) for name in FACTORS])


def move(rec, shown=PERFECT, seed=0, offsets=None, **settings):
    offsets = torch.arange(rec.frames) if offsets is None else offsets
    return perform(rec, offsets, shown, SimSettings(**settings), torch.Generator().manual_seed(seed))


@cache
def perfect(rec, seed=0):
    return move(rec, PERFECT, seed)


def plan(rec, shown=PERFECT, seed=0, **settings):
    return gymnast_routine(rec, shown, SimSettings(**settings), torch.Generator().manual_seed(seed))


def frames(span, late=0.0):
    return slice(round(span[0] * RATE) + 1, round((span[1] + late) * RATE))


def angle(a, b):
    return torch.acos(torch.nn.functional.cosine_similarity(a, b, dim=-1).clamp(-1, 1))


def flexion(joints, upper, middle, lower):
    joints = joints[:, [[AT[f"{side} {part}"] for part in (upper, middle, lower)] for side in ("left", "right")]]
    return angle(joints[:, :, 1] - joints[:, :, 0], joints[:, :, 2] - joints[:, :, 1])  # (T, 2)


def high(routine):
    """The throws that are elements, longer than 0.9 s; tosses and bounces are shorter."""
    return [throw for throw in routine.throws if throw.end - throw.start > 0.9]


def split(joints):
    thighs = joints[:, [AT["left knee"], AT["right knee"]]] - joints[:, [AT["left hip"], AT["right hip"]]]
    return angle(thighs[:, 0], thighs[:, 1])


def hips(joints):
    return joints[:, [AT["left hip"], AT["right hip"]]].mean(1)


@pytest.mark.parametrize("group", APPARATUS)
def test_quality_changes_neither_elements_nor_their_times(group):
    rec = record(group)
    for seed in range(3):
        good, bad = plan(rec, seed=seed), plan(rec, 0 * PERFECT, seed)
        assert [kind for *_, kind in good.spans] == [kind for *_, kind in bad.spans]
        assert [start for start, *_ in good.spans] == [start for start, *_ in bad.spans]
        assert [throw.start for throw in high(good)] == [throw.start for throw in high(bad)]
        assert all(a[0] < b[0] for a, b in zip(bad.keys, bad.keys[1:], strict=False))
        assert all(a[0] < b[0] for a, b in zip(bad.path, bad.path[1:], strict=False))
        assert len(good.turns) == len(bad.turns)
    assert plan(rec, seed=1).spans != plan(rec, seed=2).spans
    unseen = move(rec, 0 * PERFECT, visibility=0.0)
    assert torch.equal(unseen.joints, perfect(rec).joints) and torch.equal(unseen.props.ends, perfect(rec).props.ends)
    judged = replace(rec, score=3.0, sub_scores=(("difficulty", 9.0), ("execution", 1.0), ("penalty", 0.0)))
    assert torch.equal(move(judged).joints, perfect(rec).joints)
    alike = [move(rec, seed=seed, offsets=torch.arange(0, 2000, 40), nuisance=0.0).joints for seed in (1, 2)]
    assert torch.equal(*alike)


def test_the_generator_gives_the_same_count_of_numbers_whatever_is_shown():
    left = set()
    for rec in (record("Ball"), record("Clubs", 14.0, penalty=0.6), record("Ribbon", 2.0, seconds=95)):
        for shown in (PERFECT, 0 * PERFECT):
            generator = torch.Generator().manual_seed(3)
            perform(rec, torch.arange(4), shown, SimSettings(), generator)
            left.add(torch.rand((), generator=generator).item())
    assert len(left) == 1


def test_more_difficulty_is_more_and_harder_elements():
    counts = [element_count(difficulty, 90) for difficulty in (2, 5, 8, 11, 14)]
    assert counts == sorted(set(counts)) and counts[0] == 8 and counts[-1] == 18
    assert element_count(20, 90) == element_count(14, 90) and element_count(14, 30) <= 6
    hard, easy = ([plan(record(difficulty=d), seed=s) for s in range(8)] for d in (13.0, 4.0))

    def mean(routines, value):
        found = [value(r) for r in routines]
        return sum(found) / len(found)

    assert mean(hard, lambda r: len(r.spans)) > mean(easy, lambda r: len(r.spans)) + 5
    for events in ("leaps", "turns"):
        assert mean(hard, lambda r, e=events: len(getattr(r, e))) > mean(easy, lambda r, e=events: len(getattr(r, e)))
    for most in (lambda r: 30 * max(end - start for start, end in r.leaps), lambda r: max(turn[2] for turn in r.turns)):
        assert mean(hard, most) > mean(easy, most) + 2
    assert sum(len(r.rolls) for r in hard) > 4 and not any(r.rolls for r in easy)
    for routine in hard + easy:
        assert {kind for *_, kind in routine.spans} == {"leap", "throw", "pivot", "balance", "wave"}


@pytest.mark.parametrize("seconds", [75, 92, 99])
def test_subactions_number_the_elements_in_order(seconds):
    rec = record("Hoop", seconds=seconds)
    shown = move(rec).subactions
    count = len(plan(rec).spans)
    assert shown.dtype == torch.int64 and sorted(set(shown.tolist())) == list(range(count + 1))
    numbers = shown[shown > 0]
    assert (numbers.diff() >= 0).all() and 0.3 < len(numbers) / len(shown) < 0.75


def measured(factor, rec, shown, seed):
    """Size of the fault of a factor in the motion: it grows as the factor falls."""
    routine, motion = plan(rec, shown, seed, nuisance=1.0), move(rec, shown, seed)
    joints = motion.joints
    if factor == "amplitude":
        return -sum(float(split(joints[frames(leap)]).max()) for leap in routine.leaps)
    if factor == "posture":
        return float(flexion(joints, "hip", "knee", "ankle").mean())
    if factor == "arms":
        return float(flexion(joints, "shoulder", "elbow", "wrist").mean())
    if factor == "balance":
        still = perfect(rec, seed).joints
        off = (joints - hips(joints)[:, None] - still + hips(still)[:, None]).abs().mean((1, 2))
        return sum(float(off[frames(span, -0.4)].mean()) for span in routine.spans if span[2] == "balance")
    if factor == "turns":
        return -sum(abs(turn) for *_, turn in routine.turns[::2])
    if factor == "handling":
        ends = [round(throw.end * RATE) for throw in high(routine)]
        return -float(joints[ends, AT["right wrist"], 1].maximum(joints[ends, AT["left wrist"], 1]).mean())
    if factor == "drops":
        return sum(throw.pick is not None for throw in routine.throws)
    return float(joints.diff(dim=0).diff(dim=0).norm(dim=-1).mean())  # flow: jerky motion


@pytest.mark.parametrize("factor", FACTORS)
def test_each_factor_shows_and_more_of_it_shows_more(factor):
    rec = record("Hoop", difficulty=11.0)
    for seed in range(2):
        shown = [measured(factor, rec, factors(**{factor: level}), seed) for level in (1.0, 0.7, 0.35, 0.0)]
        assert all(a <= b if factor == "drops" else a < b for a, b in zip(shown, shown[1:], strict=False)), shown
        assert shown[-1] > shown[0]
    for group in APPARATUS:
        rec = record(group)
        good, bad = perfect(rec), move(rec, factors(**{factor: 0.2}))
        assert float((good.joints - bad.joints).norm(dim=-1).mean()) > 0.004
        assert float((good.props.ends - bad.props.ends).norm(dim=-1).mean()) > 0.01


def test_faults_may_be_larger_than_one_and_the_body_stays_whole():
    motion = move(record("Clubs"), 0 * PERFECT, visibility=5.0)
    assert torch.isfinite(motion.joints).all() and torch.isfinite(motion.props.ends).all()
    assert float(motion.joints.diff(dim=0).norm(dim=-1).max()) * RATE < 40


@pytest.mark.parametrize("level", [1.0, 0.0])
@pytest.mark.parametrize("seed", [0, 5])
def test_feet_are_on_the_floor_but_in_leaps_and_limbs_keep_their_lengths(level, seed):
    rec = record("Ball", difficulty=12.0)
    motion, routine = move(rec, level * PERFECT, seed), plan(rec, level * PERFECT, seed)
    joints = motion.joints
    low = joints[..., 1].amin(1)
    air = torch.zeros(rec.frames, dtype=torch.bool)
    for start, end in routine.leaps:
        air[frames((start, end))] = True
        assert float(low[frames((start, end))].max()) > 0.25
        y = hips(joints)[frames((start + 0.08, end - 0.08)), 1]
        assert y.diff().diff() == pytest.approx(-9.81 / RATE**2, abs=1e-4)
    for start, end, _ in routine.rolls:
        air[frames((start, end))] = True
    assert float(low.min()) > 0.029 and float(low[~air].max()) < 0.1
    for side in ("left", "right"):
        limb = [AT[f"{side} {part}"] for part in ("shoulder", "elbow", "wrist", "hip", "knee", "ankle", "toe")]
        lengths = joints[:, limb].diff(dim=1).norm(dim=-1)[:, [0, 1, 3, 4, 5]]
        assert float((lengths - lengths[0]).abs().max()) < 1e-4


def held_apart(motion, routine, rec, group):
    """(Distance (T,) from the apparatus to the nearest wrist, mask (T,) of the frames in which no hand holds it)."""
    ends, wrists = motion.props.ends, motion.joints[:, [AT["left wrist"], AT["right wrist"]]]
    near = ends[:, :, 0] if group == "Hoop" else ends[:, :1, 0]
    apart = (near[:, :, None] - wrists[:, None]).norm(dim=-1).amin((1, 2))
    free = torch.zeros(rec.frames, dtype=torch.bool)
    for throw in routine.throws:
        free[max(round(throw.start * RATE), 0) : round((throw.pick or throw.end) * RATE) + 7 * bool(throw.pick)] = True
    return apart, free


@pytest.mark.parametrize("group", APPARATUS)
def test_what_is_thrown_is_caught_unless_it_is_dropped(group):
    rec = record(group)
    for seed in range(3):
        motion, routine = move(rec, seed=seed), plan(rec, seed=seed)
        apart, free = held_apart(motion, routine, rec, group)
        assert not any(throw.pick for throw in routine.throws) and len(high(routine)) >= 3
        assert float(apart[~free].max()) < 0.5 if group == "Hoop" else float(apart[~free].max()) < 0.2
        assert float(apart[~free].mean()) < 0.2 and float(apart[free].max()) > 1.0
        dropped = plan(rec, factors(drops=0.0), seed)
        motion = move(rec, factors(drops=0.0), seed)
        apart, free = held_apart(motion, dropped, rec, group)
        picks = [throw for throw in dropped.throws if throw.pick]
        assert len(picks) >= 3
        for throw in picks:  # first it lies on the floor, then it is in the hand again
            lying, got = round((throw.pick - 0.1) * RATE), round((throw.pick + 0.4) * RATE)
            assert float(motion.props.ends[lying, :3, :, 1].amin()) < 0.12
            assert apart[got] < 0.5
        assert not (motion.props.ends[..., 1] < 0).any()


def test_throws_and_bounces_follow_gravity():
    rec = record("Ball", difficulty=11.0)
    for seed, shown in ((0, PERFECT), (1, 0.3 * PERFECT)):
        motion, routine = move(rec, shown, seed), plan(rec, shown, seed)
        center = motion.props.ends[:, 0, 0]
        assert torch.equal(center, motion.props.ends[:, 0, 1]) and float(center[:, 1].min()) >= 0.09
        assert {t.bounced for t in routine.throws} == {True, False}
        for throw in routine.throws:
            a, b = round(throw.start * RATE), round(throw.end * RATE)
            whole = [(a, (a + b) // 2), ((a + b) // 2, b)] if throw.bounced else [(a, b)]
            for start, end in whole:
                second = center[start : end + 1].diff(dim=0).diff(dim=0) * RATE**2
                assert second[:, 1] == pytest.approx(-9.81, abs=0.05)
                assert float(second[:, ::2].abs().max()) < 0.05


def test_apparatus_have_their_sizes():
    shown = {group: move(record(group), 0.5 * PERFECT, offsets=torch.arange(0, 2200, 3)).props for group in APPARATUS}
    for props in shown.values():
        count = props.ends.shape[1]
        assert props.ends.shape[2:] == (2, 3) and props.radii.shape == (count, 2) and props.colors.shape == (count, 3)
        assert float(props.colors.min()) >= 0 and float(props.colors.max()) <= 1
    rim = shown["Hoop"].ends[:, :, 0]
    assert float(((rim - rim.mean(1, keepdim=True)).norm(dim=-1) - HOOP).abs().max()) < 1e-3
    clubs = shown["Clubs"].ends
    for first in (0, 3):
        assert (clubs[:, first, 0] - clubs[:, first + 1, 1]).norm(dim=-1) == pytest.approx(0.45, abs=1e-3)
    stick, ribbon = shown["Ribbon"].ends[:, 0], shown["Ribbon"].ends[:, 1:]
    assert (stick[:, 0] - stick[:, 1]).norm(dim=-1) == pytest.approx(0.55, abs=0.02)
    assert float((stick[:, 1] - ribbon[:, 0, 0]).norm(dim=-1).max()) < 1e-4
    length = (ribbon[:, :, 0] - ribbon[:, :, 1]).norm(dim=-1).sum(1)
    assert float(length.max()) < RIBBON + 0.01 and float(length.median()) > 0.8 * RIBBON


@pytest.mark.parametrize("group", APPARATUS)
def test_any_frames_show_the_same_as_all(group):
    rec = record(group, difficulty=10.0)
    whole, shown = move(rec, 0.6 * PERFECT), torch.tensor([0, 0, 3, 700, 701, 1500, 1999, rec.frames - 1])
    some = move(rec, 0.6 * PERFECT, offsets=shown)
    assert torch.equal(some.joints, whole.joints[shown]) and torch.equal(some.subactions, whole.subactions[shown])
    assert torch.allclose(some.props.ends, whole.props.ends[shown], atol=1e-5)
    assert some.clock[3] == pytest.approx(700 / RATE / 0.16)


def test_a_penalty_leads_over_the_border():
    for seed in range(4):
        assert float(hips(move(record(), seed=seed).joints)[:, ::2].abs().max()) < CARPET
        assert float(hips(move(record(penalty=0.3), seed=seed).joints)[:, ::2].abs().max()) > CARPET
        assert float(hips(move(record(), 0.2 * PERFECT, seed).joints)[:, ::2].abs().max()) < CARPET + 0.3


def test_factors_follow_the_execution_and_scores_are_told():
    rec, quiet = record(difficulty=8.0, execution=6.0, penalty=0.3), SimSettings(judge_noise=0.0, factor_spread=0.1)
    drawn = quality_factors(rec, quiet, torch.Generator().manual_seed(0))
    assert drawn.shape == (len(FACTORS),) and float(drawn.mean()) == pytest.approx(0.6, abs=1e-6)
    assert shown_scores(rec, drawn) == pytest.approx({"score": 13.7, "difficulty": 8.0, "execution": 6.0}, abs=1e-5)


def test_the_gymnast_is_seen_in_a_hall_that_quality_does_not_change():
    settings, offsets = SimSettings(sensor_noise=0.0), torch.arange(500, 756, 16)
    for group in APPARATUS:
        scenes = []
        for level in (1.0, 0.2):
            motion = move(record(group), level * PERFECT, offsets=offsets)
            scenes.append(draw_scene(settings, torch.Generator().manual_seed(1), frames=len(offsets), motion=motion))
        assert torch.equal(scenes[0].palette, scenes[1].palette) and torch.equal(scenes[0].jitter, scenes[1].jitter)
        canvas, corner = scenes[0].paint(20.0, "cpu")
        assert torch.equal(canvas, scenes[1].paint(20.0, "cpu")[0]) and canvas.min() >= 0 and canvas.max() <= 1
        assert canvas.shape[1] > 180 and corner[0] < -CARPET
        film = render_frames(motion, scenes[1], 64)
        empty = render_frames(motion, scenes[1], 64, actor=False)
        assert film.boxes.isfinite().all() and ((film.video != empty.video).float().mean((1, 2, 3)) > 0.01).all()


def test_wrong_arguments_are_named():
    with pytest.raises(ValueError, match="factors.*amplitude"):
        move(record(), torch.ones(3))
    with pytest.raises(ValueError, match="offsets"):
        move(record(), offsets=torch.zeros(2, 2))
    with pytest.raises(ValueError, match="Rope.*Ball, Clubs, Hoop, Ribbon"):
        move(record("Rope"))
    with pytest.raises(ValueError, match="seconds"):
        move(record(seconds=5))


@pytest.mark.speed
def test_a_routine_takes_milliseconds():
    threads, rec = torch.get_num_threads(), record("Ribbon", difficulty=12.0)
    offsets = torch.linspace(0, rec.frames - 1, 768).long()
    torch.set_num_threads(1)
    try:
        taken = []
        for _ in range(12):
            began = time.process_time()
            move(rec, 0.5 * PERFECT, offsets=offsets)
            taken.append(time.process_time() - began)
    finally:
        torch.set_num_threads(threads)
    assert min(taken) < 0.060
