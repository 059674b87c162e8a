"""The diver performs the dive of its number, with the record's timing and the quality of the factors."""

import json
import math
import time
from dataclasses import replace

import numpy as np
import pytest
import torch

from sapnet_core.datasets.dive_numbers import DIVES, parse_dive
from sapnet_core.datasets.records import Record
from sapnet_core.experiments.metrics import spearman
from sapnet_core.features.source import source_records
from sapnet_core.runtime.seeds import seed_of
from sapnet_core.simulator.diving.kinematics import dive_motion
from sapnet_core.simulator.figure import JOINTS, MASS
from sapnet_core.simulator.quality import FACTORS, PARTS, draw_factors, judged_quality
from sapnet_core.simulator.settings import SimSettings, settings_for

NUMBERS = sorted({fact.number for fact in DIVES})
PERFECT = torch.ones(len(FACTORS))
AT = {name: i for i, name in enumerate(JOINTS)}
BONES = [
    ("neck", "head"),
    ("left shoulder", "right shoulder"),
    ("left hip", "right hip"),
    *(
        (f"{side} {a}", f"{side} {b}")
        for side in ("left", "right")
        for a, b in [("shoulder", "elbow"), ("elbow", "wrist"), ("hip", "knee"), ("knee", "ankle"), ("ankle", "toe")]
    ),
]


def record(action="107B", transitions=(30, 67), frames=100, **changes):
    values = {
        "dataset": "finediving",
        "key": "a",
        "event": "e",
        "path": "p",
        "start": 50,
        "end": 50 + frames,
        "score": 70.0,
        "difficulty": 3.0,
        "action": action,
        "judges": (),
        "transitions": tuple(transitions),
        "subactions": (),
        "split": "train",
    }
    return Record(**(values | changes))


def move(rec, factors=PERFECT, seed=0, offsets=None, **settings):
    offsets = torch.arange(rec.frames) if offsets is None else offsets
    return dive_motion(rec, offsets, factors, SimSettings(**settings), torch.Generator().manual_seed(seed))


def middle(joints, part):
    return (joints[:, AT[f"left {part}"]] + joints[:, AT[f"right {part}"]]) / 2


def slow(action):
    """A record of 1000 frames, so that angles can be followed from frame to frame."""
    dive = parse_dive(action)
    inner = [] if not dive.half_twists else [400, 560] if action.startswith("51") else [460]
    return record(action, (300, *inner, 700), 1000)


def unwrapped(y, x):
    turned = np.unwrap(torch.atan2(y, x).double().numpy())
    return turned[-1] - turned[0]


@pytest.mark.parametrize("action", NUMBERS)
@pytest.mark.parametrize("nuisance", [0.0, 1.0])
def test_somersaults_and_twists_are_those_of_the_number(action, nuisance):
    dive, joints = parse_dive(action), move(slow(action), nuisance=nuisance).joints
    trunk = joints[:, AT["neck"]] - middle(joints, "hip")
    somersault = unwrapped(trunk[:, 1], trunk[:, 0])
    clockwise = dive.direction in ("forward", "back") if not dive.armstand else dive.direction != "reverse"
    assert somersault == pytest.approx((-1 if clockwise else 1) * dive.half_somersaults * math.pi, abs=0.02)
    # The shoulder axis turns about the trunk: its angle is measured from z toward the direction in the image plane that
    # is perpendicular to the trunk.
    axis = joints[:, AT["left shoulder"]] - joints[:, AT["right shoulder"]]
    across = torch.stack([trunk[:, 1], -trunk[:, 0]], -1)
    across = (axis[:, :2] * across).sum(1) / across.norm(dim=1)
    assert abs(unwrapped(across, axis[:, 2])) == pytest.approx(dive.half_twists * math.pi, abs=0.02)
    # At the entry, the hands are lowest in head-first dives, else the feet.
    entry = math.ceil(move(slow(action), nuisance=nuisance).entry)
    low = joints[entry, :, 1].argmin().item()
    head_first = (dive.half_somersaults + dive.armstand) % 2 == 1
    assert JOINTS[low].split()[1] == ("wrist" if head_first else "toe")


def test_facing_follows_the_group():
    """Before take-off, toes point to the water in forward and reverse dives, to the board in back and inward dives."""
    for action, outward in {"107B": 1, "207B": -1, "307C": 1, "407C": -1, "5253B": -1, "5353B": 1}.items():
        joints = move(record(action, (30, 50, 67) if action[0] == "5" else (30, 67))).joints[5]
        assert outward * (joints[AT["left toe"], 0] - joints[AT["left ankle"], 0]) > 0.1, action
    handstand = move(record("626C")).joints[10]
    assert handstand[AT["left wrist"], 1] == pytest.approx(10, abs=0.01) and handstand[AT["left toe"], 1] > 11.5


def folding(joints, above, hinge, below):
    """Flexion (T,) in radians: 0 where the three points lie on a line."""
    a, b = above - hinge, below - hinge
    return math.pi - torch.acos((torch.nn.functional.cosine_similarity(a, b, dim=-1)).clamp(-1, 1))


def hip_flexion(joints):
    return folding(joints, joints[:, AT["neck"]], middle(joints, "hip"), middle(joints, "knee"))


def knee_flexion(joints):
    return folding(joints, joints[:, AT["left hip"]], joints[:, AT["left knee"]], joints[:, AT["left ankle"]])


def test_position_is_that_of_the_letter():
    folded = {action: move(record(action)).joints[42:56] for action in ("107B", "107C", "101A")}
    hips = {action: hip_flexion(joints).mean() for action, joints in folded.items()}
    knees = {action: knee_flexion(joints).mean() for action, joints in folded.items()}
    assert hips["107B"] > 2.2 and knees["107B"] < 0.1
    assert hips["107C"] > 2.0 and knees["107C"] > 2.2
    assert hips["101A"] < 0.2 and knees["101A"] < 0.1


@pytest.mark.parametrize("transitions", [(30, 67), (10, 50), (2, 34), (19, 40, 51), (76, 90, 99, 116)])
def test_transitions_are_kept(transitions):
    rec = record("5152B", transitions, 150)
    offsets = torch.arange(-10, 150)
    motion = move(rec, offsets=offsets)
    for frame, phase in zip(offsets.tolist(), motion.subactions.tolist(), strict=True):
        assert phase == sum(frame >= t for t in transitions)
    lowest = motion.joints[..., 1].amin(1)
    take_off = transitions[0] + 10  # index in `offsets`
    assert torch.allclose(lowest[: take_off + 1], lowest.new_tensor(motion.board), atol=0.2)  # a small hop is allowed
    assert torch.allclose(lowest[take_off - 3 : take_off + 1], lowest.new_tensor(motion.board), atol=1e-3)
    feet = motion.joints[:, 14:, 1].amin(1)
    assert feet[take_off + 2] > motion.board + 0.05
    contact = motion.entry - 10
    assert transitions[-1] < contact < transitions[-1] + 0.12 * (transitions[-1] - transitions[0])
    assert lowest[math.floor(motion.entry)] >= -1e-3 > lowest[math.ceil(motion.entry)]
    assert (lowest[: math.floor(motion.entry)] > 0).all() and (motion.joints[-1, :, 1] < 0).all()


def test_official_subaction_ids_say_which_phase_twists():
    """The phase with a twist's id turns the shoulders, whatever its position in the dive."""
    for ids, phase in {(2, 31, 15, 36): 1, (2, 15, 31, 36): 2}.items():
        motion = move(record("5253B", (300, 500, 700), 1000, subactions=ids))
        axis = motion.joints[:, AT["left shoulder"], 2] - motion.joints[:, AT["right shoulder"], 2]
        moved = axis.diff().abs()
        share = moved[motion.subactions[1:] == phase].sum() / moved.sum()
        assert share > 0.8


def test_drawn_timing_is_typical_and_the_end_is_kept():
    rec = record("407C", (), 100, dataset="mtl-aqa")
    offsets = torch.arange(-3, 100)
    motions = [move(rec, seed=seed, offsets=offsets) for seed in range(40)]
    begins = torch.tensor([(m.subactions == 0).sum() - 3 for m in motions]).float()
    ends = torch.tensor([m.entry for m in motions]) - 3
    assert 22 < begins.mean() < 34 and begins.std() > 2
    assert 60 < ends.mean() < 75 and ends.std() > 2 and ends.max() < 99
    assert move(replace(rec, start=0, end=273), offsets=torch.arange(170, 273)).entry > 30


def test_the_centre_of_mass_flies_a_parabola():
    joints = move(record("207C")).joints[30:69]
    height = torch.einsum("tjk,j->tk", joints, MASS)[:, 1].double()
    bend = height.diff().diff()
    assert torch.allclose(bend, bend.mean(), atol=2e-4) and bend.mean() < -0.01
    assert float(MASS.sum()) == pytest.approx(1)
    # With gravity in the clip's own time, the flight from 10 m takes 1.5 to 1.95 s.
    seconds = math.sqrt(-bend.mean() / 9.81) * (37 * 1.08)
    assert 1.5 < seconds < 1.95


@pytest.mark.parametrize("level", [0.0, 0.6, 1.0])
@pytest.mark.parametrize("action", ["107B", "5154B", "6243D", "201A", "305C"])
def test_limbs_keep_their_lengths(action, level):
    joints = move(record(action, (30, 45, 60, 67)), level * PERFECT).joints
    for a, b in BONES:
        length = (joints[:, AT[a]] - joints[:, AT[b]]).norm(dim=-1)
        assert float(length.max() - length.min()) < 1e-4, (a, b)
    assert float((joints[:, AT["neck"]] - middle(joints, "hip")).norm(dim=-1).std()) < 1e-4
    assert float((joints[1:] - joints[:-1]).norm(dim=-1).max()) < 2.5  # no joint jumps


def measured(factor, motion):
    """What a judge would measure for a factor: larger is worse."""
    joints = motion.joints
    last = round(motion.entry)
    flight = slice(31, last)
    if factor == "height":
        return -float(torch.einsum("tjk,j->tk", joints, MASS)[:, 1].max())
    if factor == "line":
        return float(knee_flexion(joints)[last])
    if factor == "tightness":
        return -float(hip_flexion(joints)[flight].max())
    if factor == "legs":
        return float((joints[flight, AT["left ankle"]] - joints[flight, AT["right ankle"]]).norm(dim=-1).mean())
    if factor == "rotation":
        trunk = joints[last, AT["neck"]] - middle(joints, "hip")[last]
        return float(torch.acos(-trunk[1] / trunk.norm()))
    if factor == "entry":
        return float((joints[last, AT["left wrist"]] - joints[last, AT["right wrist"]]).norm())
    if factor == "splash":
        return motion.splash
    return float((joints[last, :, 0].mean() - 1.5).abs())


@pytest.mark.parametrize("action", ["107B", "305C", "5253B", "626C"])
@pytest.mark.parametrize("factor", FACTORS)
def test_each_factor_shows_and_more_of_it_shows_more(factor, action):
    rec, levels = record(action, (30, 49, 67) if action[0] == "5" else (30, 67)), torch.linspace(1, 0, 9)
    for seed in range(3):
        shown = []
        for level in levels.tolist():
            factors = PERFECT.clone()
            factors[FACTORS.index(factor)] = level
            shown.append(measured(factor, move(rec, factors, seed, nuisance=0.0)))
        change = np.diff(shown)
        assert (change > 0).all(), (factor, shown)
        assert change.max() < 0.5 * change.sum(), "no sudden jump"
        assert measured(factor, move(rec, 0 * PERFECT, seed, visibility=0.0)) == pytest.approx(
            measured(factor, move(rec, seed=seed)), abs=1e-6
        )
        factors[FACTORS.index(factor)] = 0.5
        faint = measured(factor, move(rec, factors, seed, nuisance=0.0, visibility=0.5))
        assert faint < measured(factor, move(rec, factors, seed, nuisance=0.0))


def test_a_failed_dive_looks_like_one():
    for seed in range(8):
        motion = move(record("407C"), 0 * PERFECT, seed)
        joints = motion.joints[round(motion.entry)]
        body = joints[AT["neck"]] - (joints[AT["left ankle"]] + joints[AT["right ankle"]]) / 2
        assert abs(float(body[1])) < 0.75 * float(body.norm())  # more than 40 degrees from the vertical
        assert motion.splash == 1


def test_both_signs_of_a_fault_occur():
    factors = PERFECT.clone()
    factors[FACTORS.index("rotation")] = 0.4
    factors[FACTORS.index("distance")] = 0.2
    entries = torch.stack([(m := move(record(), factors, s, nuisance=0.0)).joints[round(m.entry)] for s in range(24)])
    lean = entries[:, AT["neck"], 0] - middle(entries, "hip")[:, 0]
    assert 3 < (lean < 0).sum() < 21
    far = entries[..., 0].mean(1)
    assert (far < 1.2).any() and (far > 2).any()


def test_same_seed_same_motion_and_the_score_is_not_read():
    rec, factors = record("5253B", (30, 50, 67)), torch.linspace(0.2, 0.9, len(FACTORS))
    first, again = move(rec, factors), move(replace(rec, score=12.0, judges=(1.0,) * 7, split="test"), factors)
    assert torch.equal(first.joints, again.joints) and first.entry == again.entry
    assert torch.equal(move(rec, seed=1, nuisance=0.0).joints[:29], move(rec, seed=2, nuisance=0.0).joints[:29])
    assert not torch.allclose(move(rec, seed=1).joints[:29], move(rec, seed=2).joints[:29])
    shown = torch.tensor([3, 40, 40, 66])
    assert torch.allclose(move(rec, factors, offsets=shown).joints, first.joints[shown], atol=1e-5)


def test_the_board_follows_the_difficulty():
    assert move(record("107B", difficulty=3.1)).board == 3 and move(record("107B", difficulty=3.1)).springboard
    assert move(record("107B", difficulty=3.0)).board == 10 and not move(record("626C", difficulty=3.0)).springboard


def test_wrong_arguments_are_named():
    with pytest.raises(ValueError, match="factors.*height"):
        move(record(), torch.ones(3))
    with pytest.raises(ValueError, match="offsets"):
        move(record(), offsets=torch.zeros(2, 2))
    with pytest.raises(ValueError, match="dive number"):
        move(record("907B"))


@pytest.mark.speed
def test_a_dive_takes_milliseconds():
    threads, rec = torch.get_num_threads(), record("5154B", (30, 45, 60, 67), 96)
    torch.set_num_threads(1)
    try:
        taken = []
        for _ in range(20):
            began = time.process_time()
            move(rec)
            taken.append(time.process_time() - began)
    finally:
        torch.set_num_threads(threads)
    assert min(taken) < 0.010


def test_factors_have_the_stated_mean_and_spread():
    generator = torch.Generator().manual_seed(0)
    settings = SimSettings(part_spread=0.05, factor_spread=0.03, judge_noise=0.04)
    factors = torch.stack([draw_factors(0.5, settings, generator) for _ in range(3000)])
    judged = judged_quality(factors)
    assert float(judged.mean()) == pytest.approx(0.5, abs=0.005)
    assert float(judged.std()) == pytest.approx(0.04, rel=0.06)
    # a part's deviation loses the mean over all factors: parts hold 2, 4 and 2 of the 8
    share = torch.tensor([2.0, 4, 2]) / 8
    part = 0.05**2 * (1 - float((share**2).sum()))
    assert float((factors - judged[:, None]).square().mean()) == pytest.approx(part + 0.03**2 * 7 / 8, rel=0.05)
    with pytest.raises(ValueError, match="quality"):
        draw_factors(1.2, settings, generator)


@pytest.mark.parametrize("quality", [0.0, 0.03, 0.5, 0.96, 1.0])
def test_factors_stay_within_bounds_and_keep_their_mean(quality):
    generator = torch.Generator().manual_seed(1)
    for _ in range(50):
        factors = draw_factors(quality, SimSettings(judge_noise=0.0, part_spread=0.2), generator)
        assert factors.shape == (len(FACTORS),) and factors.min() >= 0 and factors.max() <= 1
        assert float(judged_quality(factors)) == pytest.approx(quality, abs=1e-6)
        assert quality in (0.0, 1.0) or float(factors.std()) > 0.01


# FineDiving's parts and factors spread less, since its frozen features told too little of the score
@pytest.mark.parametrize(("dataset", "alike"), [("mtl-aqa", (0.8, 0.6)), ("finediving", (0.85, 0.7))])
def test_no_single_factor_tells_the_score(dataset, alike, tmp_path):
    """Parts succeed partly independently; all factors together are worth the score up to the judges' noise."""
    records = source_records(dataset, 600, 400, 5, None, tmp_path)
    execution, score = (torch.tensor([getattr(r, name) for r in records]) for name in ("execution", "score"))
    settings, generator = settings_for(dataset), torch.Generator().manual_seed(0)
    factors = torch.stack([draw_factors(record.quality, settings, generator) for record in records])
    assert max(float(spearman(one, score)) for one in factors.T) <= 0.75
    assert max(float(spearman(one, execution)) for one in factors.T) <= alike[0]
    assert float(spearman(judged_quality(factors), execution)) > 0.96
    parts = torch.stack([factors[:, [FACTORS.index(n) for n in names]].mean(1) for names in PARTS.values()])
    between = torch.corrcoef(parts)[*torch.triu_indices(3, 3, 1)]
    assert 0.2 < float(between.min()) and float(between.max()) < alike[1]


def test_seeds_are_stable_and_apart():
    assert seed_of("finediving", "01-001", 0) == 1410512618868510918
    seeds = {seed_of(d, k, s) for d in ("a", "b") for k in ("1", "2", "12") for s in (0, 1, 2)}
    assert len(seeds) == 18 and all(0 <= s < 2**63 for s in seeds)


def test_settings_survive_json_and_name_what_is_wrong():
    settings = SimSettings(visibility=0.7, bystanders=3)
    assert SimSettings.from_json(settings.to_json()) == settings
    assert settings.digest() == SimSettings(bystanders=3, visibility=0.7).digest() != SimSettings().digest()
    assert SimSettings(visibility=1) == SimSettings() and SimSettings(visibility=1).digest() == SimSettings().digest()
    wrong = {"visibility": -1, "bystanders": 1.5, "sensor_noise": "much", "judge_noise": math.nan, "lead_in": 0.9}
    for field, value in wrong.items():
        with pytest.raises(ValueError, match=field):
            SimSettings(**{field: value})
    with pytest.raises(ValueError, match="colour"):
        SimSettings.from_json(json.dumps({"colour": 1}))
    for dataset in ("finediving", "mtl-aqa"):
        assert isinstance(settings_for(dataset), SimSettings)
    with pytest.raises(ValueError, match="finediving"):
        settings_for("gymnastics")
