"""The skater performs the elements of the score sheet, at their times, as well as grades and components say."""

import math
import time
from dataclasses import replace

import numpy as np
import pytest
import torch

from sapnet_core.datasets.records import Element, Record
from sapnet_core.simulator.body import ANGLES, body_joints, oriented
from sapnet_core.simulator.figure import JOINTS
from sapnet_core.simulator.render import render_frames
from sapnet_core.simulator.settings import SimSettings
from sapnet_core.simulator.skating.elements import draw_elements, parse_element, read_element, worth
from sapnet_core.simulator.skating.poses import CHANNELS, POSES
from sapnet_core.simulator.skating.rink import paint_rink
from sapnet_core.simulator.skating.skater import (
    COMPONENT_FACTORS,
    ELEMENT_FACTORS,
    FACTORS,
    SOLE,
    _leveled,
    draw_scene,
    perform,
    quality_factors,
    shown_scores,
)

PERFECT = torch.ones(len(FACTORS))
AT = {name: i for i, name in enumerate(JOINTS)}
BONES = [
    ("neck", "head"),
    ("left hip", "right hip"),
    *(
        (f"{side} {a}", f"{side} {b}")
        for side in ("left", "right")
        for a, b in [("shoulder", "elbow"), ("elbow", "wrist"), ("hip", "knee"), ("knee", "ankle"), ("ankle", "toe")]
    ),
]
PROGRAM = (
    Element("3Lz+3T", "jump", 400, 520, 10.1, 0.6),
    Element("2A", "jump", 700, 800, 3.3, 0.33),
    Element("FCSp4", "spin", 950, 1200, 3.2, 0.3),
    Element("3F", "jump", 1400, 1500, 5.3, 0.5),
    Element("CSSp4", "spin", 1700, 1950, 3.0, 0.3),
    Element("StSq4", "sequence", 2200, 2900, 3.9, 0.5),
    Element("CCoSp4", "spin", 3300, 3650, 3.5, 0.35),
)
MARKS = {
    "tes": 40.0,
    "pcs": 32.0,
    "factor": 0.8,
    "deductions": 0.0,
    "skating_skills": 8.0,
    "transitions": 8.0,
    "performance": 8.0,
    "composition": 8.0,
    "interpretation": 8.0,
}


def record(elements=PROGRAM, marks=None, **changes):
    values = {
        "dataset": "finefs",
        "key": "0007",
        "event": "e",
        "path": "video/7.mp4",
        "start": 0,
        "end": 4000,
        "score": 72.0,
        "difficulty": 1.0,
        "action": "women SP",
        "judges": (),
        "transitions": (),
        "subactions": (),
        "split": "train",
        "group": "SP",
        "sub_scores": tuple((MARKS | (marks or {})).items()),
        "elements": elements,
    }
    return Record(**(values | changes))


def alone(name, goe=0.0, base=5.0, start=200, end=320):
    return record((Element(name, "jump" if "Sp" not in name else "spin", start, end, base, goe),), end=500)


def move(rec, factors=PERFECT, seed=0, offsets=None, **settings):
    offsets = torch.arange(rec.frames) if offsets is None else offsets
    return perform(rec, offsets, factors, SimSettings(**settings), torch.Generator().manual_seed(seed))


def with_factors(**changes):
    factors = PERFECT.clone()
    for name, value in changes.items():
        factors[FACTORS.index(name)] = value
    return factors


def within(joints):
    """Joints in the figure's own frame: relative to the hips, turned about the vertical so that the hips lie on x."""
    hips = joints[:, 8:10].mean(1, keepdim=True)
    across = joints[:, AT["left hip"]] - joints[:, AT["right hip"]]
    angle = torch.atan2(across[:, 2], across[:, 0])
    c, s = angle.cos()[:, None], angle.sin()[:, None]
    x, y, z = (joints - hips).unbind(-1)
    return torch.stack([c * x + s * z, y, c * z - s * x], -1)


def lowest(joints):
    return joints[..., 1].amin(1)


# ---- the grammar ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "jumps"),
    [
        ("2A", [("A", 2.5, 0)]),
        ("4T", [("T", 4, 0)]),
        ("3Lz+3T", [("Lz", 3, 0), ("T", 3, 0)]),
        ("3F+1Eu+3S", [("F", 3, 0), ("Eu", 1, 0), ("S", 3, 0)]),
        ("3Lo<", [("Lo", 3, 0.33)]),
        ("3Lz<+2T<<", [("Lz", 3, 0.33), ("T", 2, 0.6)]),
        ("3Lzq", [("Lz", 3, 0.2)]),
        ("3F!q", [("F", 3, 0.2)]),
        ("3Lze<", [("Lz", 3, 0.33)]),
        ("3A+1T+SEQ", [("A", 3.5, 0), ("T", 1, 0)]),
        ("4S+REP", [("S", 4, 0)]),
        ("3Lz+COMBO", [("Lz", 3, 0)]),
        ("A", [("A", 1.5, 0)]),
        ("3Tx", [("T", 3, 0)]),
        (" 2Lo* ", [("Lo", 2, 0)]),
    ],
)
def test_jumps_are_read(name, jumps):
    read = parse_element(name)
    assert read.kind == "jump"
    assert [(jump.kind, jump.turns, jump.missing) for jump in read.jumps] == jumps
    assert any(jump.edge for jump in read.jumps) == ("e" in name or "!" in name)


@pytest.mark.parametrize(
    ("name", "positions", "level", "flying", "change"),
    [
        ("LSp4", "layback", 4, 0, 0),
        ("CSSp3", "sit sit", 3, 0, 1),
        ("FSSp4", "sit", 4, 1, 0),
        ("USpB", "upright", 0, 0, 0),
        ("CCoSp4", "camel sit upright sit upright", 4, 0, 1),
        ("FCSp2", "camel", 2, 1, 0),
        ("CSp1", "camel", 1, 0, 0),
        ("CCSp3V", "camel camel", 3, 0, 1),
        ("CoSp3", "camel sit upright", 3, 0, 0),
        ("SSp", "sit", 0, 0, 0),
        ("FCCoSp3*", "camel sit upright sit upright", 3, 1, 1),
    ],
)
def test_spins_are_read(name, positions, level, flying, change):
    read = parse_element(name)
    assert (read.kind, " ".join(read.positions), read.level) == ("spin", positions, level)
    assert (read.flying, read.change) == (flying, change)


def test_sequences_and_odd_names():
    assert parse_element("StSq3") == parse_element("StSq3V") and parse_element("StSq3").level == 3
    assert parse_element("ChSq1").choreographic and not parse_element("StSqB").choreographic
    for odd in ("", "3", "Lz3", "3Lz-3T", "XSp4", "StSq9", "6T"):
        with pytest.raises(ValueError, match=f"'{odd}'"):
            parse_element(odd)
    assert read_element("3Lz", "spin").kind == "jump"  # a valid name counts more than the class
    assert [jump.turns for jump in read_element("3 Lutz/2 Toe", "Jump").jumps] == [3, 2]
    assert read_element("?", "jump").jumps[0].turns == 2
    assert read_element("??4", "spin").level == 4 and read_element("step", "Step sequence").kind == "sequence"
    assert read_element("?", "choreographic sequence").choreographic
    with pytest.raises(ValueError, match="class 'pose'"):
        read_element("?", "pose")


def test_execution_is_a_share_of_the_base_value():
    assert worth(Element("3Lz", "jump", 0, 1, 5.9, 2.95)) == pytest.approx((5.9, 1.0))
    assert worth(Element("3Lz", "jump", 0, 1, 5.9, -2.95)) == pytest.approx((5.9, 0.0))
    span, quality = worth(Element("3Lz+3T", "jump", 0, 1, 10.1, 0.0))
    assert quality == 0.5 and span == pytest.approx(5.9, abs=0.01)  # a combination counts as its best jump
    assert worth(Element("3Lz*", "jump", 0, 1, 0.0, 0.0)) == (0.0, 0.5)


# ---- times -----------------------------------------------------------------------------------------------------------


def test_element_times_and_order_are_kept():
    offsets = torch.arange(0, 4000, 3)
    numbers = move(record(), offsets=offsets).subactions
    for frame, number in zip(offsets.tolist(), numbers.tolist(), strict=True):
        inside = [i for i, element in enumerate(PROGRAM, 1) if element.start <= frame < element.end]
        assert number == (inside or [0])[0]
    joints = move(record()).joints
    for element in PROGRAM:  # the skater is in the air in jumps and flying spins only
        flown = (lowest(joints)[element.start : element.end] > SOLE + 0.1).sum()
        assert (flown > 6) == (element.kind == "jump" or element.name.startswith("F")), element
    on_ice = torch.ones(4000, dtype=torch.bool)
    for element in PROGRAM:
        on_ice[element.start : element.end] = False
    assert torch.allclose(lowest(joints)[on_ice], torch.tensor(SOLE), atol=1e-5)


@pytest.mark.parametrize("name", ["1T", "2A", "3Lz", "3F", "3Lo", "3S", "4T", "3A"])
@pytest.mark.parametrize("factors", [PERFECT, with_factors(rotation=0.3)])
def test_turns_in_the_air_are_those_of_the_jump(name, factors):
    rec = alone(name)
    offsets = torch.arange(200, 330, 0.1, dtype=torch.float64)
    joints = move(rec, factors, offsets=offsets, nuisance=0.0).joints
    flying = (lowest(joints) > SOLE + 1e-4).nonzero()[:, 0]
    axis = joints[:, AT["left shoulder"]] - joints[:, AT["right shoulder"]]
    angle = np.unwrap(torch.atan2(-axis[:, 2], axis[:, 0]).double().numpy())
    turned = (angle[flying[-1]] - angle[flying[0]]) / (2 * math.pi)
    missing = 0.2 * 0.7 if factors is not PERFECT else 0.0
    assert turned == pytest.approx(parse_element(name).jumps[0].turns - missing, abs=0.1)


def test_marks_of_missing_turns_are_seen():
    turned = {}
    for name in ("3Lo", "3Loq", "3Lo<", "3Lo<<"):
        joints = move(alone(name), offsets=torch.arange(200, 330, 0.1), nuisance=0.0).joints
        flying = lowest(joints) > SOLE + 1e-4
        axis = joints[flying, AT["left shoulder"]] - joints[flying, AT["right shoulder"]]
        angle = np.unwrap(torch.atan2(-axis[:, 2], axis[:, 0]).double().numpy())
        turned[name] = (angle[-1] - angle[0]) / (2 * math.pi)
    short = [turned["3Lo"] - turned[name] for name in ("3Loq", "3Lo<", "3Lo<<")]
    assert short == pytest.approx([0.2, 0.33, 0.6], abs=0.03)


def test_a_combination_has_its_jumps_and_an_axel_starts_forward():
    for name, count in {"3Lz+3T": 2, "3F+1Eu+3S": 3, "2A": 1}.items():
        off = (lowest(move(alone(name, end=360)).joints) > SOLE + 0.05).int()
        assert (off.diff() == 1).sum() == count
    for name, forward in {"2A": True, "3Lz": False, "3F": False, "3T": False, "3S": False, "3Lo": False}.items():
        joints = move(alone(name), nuisance=0.0).joints
        off = int((lowest(joints) > SOLE + 0.02).nonzero()[0]) - 2
        foot = max(("left", "right"), key=lambda side, j=joints[off]: -float(j[AT[f"{side} ankle"], 1]))
        points = joints[off, AT[f"{foot} toe"]] - joints[off, AT[f"{foot} ankle"]]
        moves = joints[off, 8:10].mean(0) - joints[off - 4, 8:10].mean(0)
        assert (float(points @ moves) > 0) == forward, name


# ---- quality ---------------------------------------------------------------------------------------------------------


def height(rec, factors=PERFECT, **settings):
    return float(lowest(move(rec, factors, nuisance=0.0, **settings).joints).max()) - SOLE


def test_height_follows_turns_and_factor():
    rises = [height(alone(name)) for name in ("1T", "2T", "3T", "4T")]
    assert (np.diff(rises) > 0.03).all() and 0.35 < rises[2] < 0.5
    fading = [height(alone("3T"), with_factors(height=value)) for value in (1, 0.75, 0.5, 0.25, 0)]
    assert (np.diff(fading) < -0.02).all()
    assert height(alone("3T"), 0 * PERFECT, visibility=0.0) == pytest.approx(rises[2], abs=1e-6)


SHOWN = {  # element factor -> frames of the program in which it is measured
    "height": (400, 520),
    "rotation": (400, 520),
    "landing": (1476, 1490),
    "spin": (1740, 1930),
    "position": (1790, 1900),
    "steps": (2210, 2890),
    "turns": (2200, 2900),
}


def measured(factor, joints):
    """What a judge would measure for an element factor in its frames of the program: larger is worse."""
    own, low = within(joints), lowest(joints)
    if factor == "height":
        return -float(low.max())
    if factor == "rotation":  # distance of the hands from the chest in the air
        flown = own[low > SOLE + 0.25]
        return float((flown[:, 6:8] - flown[:, 1:2]).norm(dim=-1).mean())
    if factor == "landing":  # the free leg stays low
        return -float((joints[:, AT["left ankle"], 1] - joints[:, AT["right ankle"], 1]).mean())
    if factor == "position":  # the hips stay high in a sit spin
        return float(joints[:, 8:10, 1].mean())
    if factor == "steps":  # the body moves less
        return -float(own[:, 2:].std(0).mean())
    axis = joints[:, AT["left hip"]] - joints[:, AT["right hip"]]
    turned = np.diff(np.unwrap(torch.atan2(-axis[:, 2], axis[:, 0]).double().numpy()))
    return -float(np.abs(turned).sum())  # spin, turns: a smaller total turn


@pytest.mark.parametrize("factor", ELEMENT_FACTORS)
def test_each_element_factor_shows_and_more_of_it_shows_more(factor):
    offsets = torch.arange(*SHOWN[factor])
    for seed in range(2):
        shown = [
            measured(factor, move(record(), with_factors(**{factor: level}), seed, offsets, nuisance=0.0).joints)
            for level in (1, 0.75, 0.5, 0.25, 0)
        ]
        assert (np.diff(shown) > 0).all(), shown


def test_the_two_blocks_are_seen_in_different_places():
    """Element factors change the pose in elements only; component factors hardly change it in jumps and spins."""
    rec = record()
    best = move(rec)
    between = best.subactions == 0
    worse = move(rec, torch.where(torch.arange(len(FACTORS)) < len(ELEMENT_FACTORS), 0.3, 1.0))
    assert torch.allclose(best.joints[between], worse.joints[between], atol=1e-4)
    moved = (within(best.joints) - within(worse.joints)).norm(dim=-1).amax(1)
    for number in range(1, len(PROGRAM) + 1):
        assert moved[best.subactions == number].mean() > 0.05, PROGRAM[number - 1]

    looser = move(rec, torch.where(torch.arange(len(FACTORS)) < len(ELEMENT_FACTORS), 1.0, 0.3))
    moved = (within(best.joints) - within(looser.joints)).norm(dim=-1).amax(1)
    assert moved[between].mean() > 0.15
    for low, high in ((450, 500), (1010, 1190), (1445, 1500), (1760, 1940), (3370, 3640)):
        # the lean into the curve depends on the speed
        assert moved[low:high].median() < 0.15, (low, high)
    flown = [lowest(motion.joints)[400:1500].max() for motion in (best, looser)]
    assert flown[0] == pytest.approx(float(flown[1]), abs=1e-3)


def between_elements(factor, joints):
    """What a judge would measure for a component factor: larger is worse."""
    own = within(joints)
    if factor == "speed":
        return -float(joints[:, 8:10].mean(1).diff(dim=0).norm(dim=-1).median())
    if factor == "flow":  # the skater coasts on two feet
        return -float((own[:, 12] - own[:, 13]).norm(dim=-1).mean())
    if factor == "posture":  # the neck is not above the hips
        return -float((own[:, 1, 1] / own[:, 1].norm(dim=-1)).mean())
    if factor == "extension":  # bent elbows and knees bring hands and feet closer to the body
        reach = (own[:, 6:8] - own[:, 2:4]).norm(dim=-1).mean() + (own[:, 12:14] - own[:, 8:10]).norm(dim=-1).mean()
        return -float(reach)
    return -float(own[:, 6:8, 1].std(0).mean())  # gesture: the hands move less up and down


@pytest.mark.parametrize("factor", COMPONENT_FACTORS)
def test_each_component_factor_shows_and_more_of_it_shows_more(factor):
    offsets = torch.cat([torch.arange(100, 390), torch.arange(540, 690), torch.arange(2950, 3290)])
    for seed in range(2):
        levels = [with_factors(**{factor: level}) for level in (1, 0.75, 0.5, 0.25, 0)]
        shown = [between_elements(factor, move(record(), f, seed, offsets, nuisance=0.0).joints) for f in levels]
        assert (np.diff(shown) > 0).all(), shown


def test_a_fall_is_seen_where_the_grade_says_so():
    spoiled = tuple(replace(e, goe=-0.45 * e.base) if e.name == "3F" else e for e in PROGRAM)
    upright = move(record()).joints[..., 1].amax(1)
    fallen = move(record(spoiled, {"deductions": -1.0})).joints[..., 1].amax(1)
    assert upright[1400:1560].min() > 1.05 and fallen[1440:1530].min() < 0.85
    assert fallen[400:1400].min() == pytest.approx(float(upright[400:1400].min()), abs=0.3)
    assert fallen[1560:1690].min() > 1.05  # the skater stands again
    assert move(record(spoiled), visibility=0.0).joints[1400:1560, :, 1].amax(1).min() > 1.05


def test_elements_differ_by_their_own_grade():
    """Of two jumps in one program, the one with the lower grade is lower and lands worse."""
    pair = (Element("3T", "jump", 400, 500, 4.2, 1.6), Element("3T", "jump", 900, 1000, 4.2, -1.0))
    rec = record(pair, end=1300)
    factors = quality_factors(rec, SimSettings(factor_spread=0.0, judge_noise=0.0), torch.Generator().manual_seed(0))
    joints = move(rec, factors).joints
    assert lowest(joints)[400:500].max() > lowest(joints)[900:1000].max() + 0.04


# ---- factors and scores ----------------------------------------------------------------------------------------------


def test_factors_follow_grades_and_components():
    quiet = SimSettings(factor_spread=0.0, judge_noise=0.0)
    rec = record(marks={"skating_skills": 9.0, "transitions": 7.0})
    drawn = quality_factors(rec, quiet, torch.Generator().manual_seed(0))
    factors = dict(zip(FACTORS, drawn.tolist(), strict=True))
    spans = {"3Lz+3T": 5.9, "2A": 3.3, "3F": 5.3}
    goes = {e.name: e.goe for e in PROGRAM}
    jumps = 0.5 + sum(goes[name] for name in spans) / sum(spans.values())
    assert factors["height"] == factors["landing"] == pytest.approx(jumps, abs=1e-3)
    assert factors["speed"] == pytest.approx(0.9) and factors["flow"] == pytest.approx(0.7)
    assert factors["posture"] == pytest.approx(0.8)
    shown = shown_scores(rec, drawn)
    assert shown["tes"] == pytest.approx(sum(e.base + e.goe for e in PROGRAM), abs=1e-3)
    assert shown["pcs"] == pytest.approx(0.8 * 40.0, abs=1e-3)
    assert shown["score"] == pytest.approx(shown["tes"] + shown["pcs"])
    fell = replace(rec, sub_scores=tuple((dict(rec.sub_scores) | {"deductions": -2.0}).items()))
    assert shown_scores(fell, drawn)["score"] == pytest.approx(shown["score"] - 2)


def test_judge_noise_is_what_parts_shown_from_given():
    rec, noisy = record(), SimSettings(factor_spread=0.1, judge_noise=0.05)
    tes, pcs = [], []
    for seed in range(120):
        shown = shown_scores(rec, quality_factors(rec, noisy, torch.Generator().manual_seed(seed)))
        tes.append(shown["tes"])
        pcs.append(shown["pcs"])
    assert np.std(pcs) == pytest.approx(40 * 0.05, rel=0.2)
    assert abs(np.corrcoef(tes, pcs)[0, 1]) < 0.25  # drawn independently
    assert 0.5 < np.std(tes) < 2.5


def test_records_without_marks_or_elements_are_skated():
    rec = record((), marks={}, group="FS", action="men FS", end=6000)
    rec = replace(rec, sub_scores=())
    factors = quality_factors(rec, SimSettings(), torch.Generator().manual_seed(0))
    motion = move(rec, factors, offsets=torch.arange(0, 6000, 5))
    assert motion.subactions.max() == 12 and torch.isfinite(motion.joints).all()
    assert set(shown_scores(rec, factors)) == {"score", "tes", "pcs"}
    short = replace(rec, end=300)
    assert torch.isfinite(move(short).joints).all()
    for group, count in (("SP", 7), ("FS", 12)):
        drawn = draw_elements(group, 4000 if group == "SP" else 6000, 25.0, torch.rand(36))
        assert len(drawn) == count and all(a.end <= b.start for a, b in zip(drawn, drawn[1:], strict=False))
        assert 20 < sum(element.base for element in drawn) < 80


# ---- the figure ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("level", [0.0, 0.6, 1.0])
def test_limbs_keep_their_lengths_and_feet_the_ice(level):
    motion = move(record(), level * PERFECT)
    assert torch.isfinite(motion.joints).all()
    for a, b in BONES:
        length = (motion.joints[:, AT[a]] - motion.joints[:, AT[b]]).norm(dim=-1)
        assert float(length.max() - length.min()) < 1e-4, (a, b)
    low = lowest(motion.joints)
    assert low.min() > SOLE - 1e-5 and (low < SOLE + 0.005).float().mean() > 0.95
    step = motion.joints.diff(dim=0)[100:]  # no joint jumps; a loose hand in a jump moves at about 25 m/s
    assert float(step.norm(dim=-1).max()) < 1.2


def test_every_pose_stands_on_the_foot_that_carries():
    rows = torch.zeros(len(POSES), len(CHANNELS))
    for row, pose in zip(rows, POSES.values(), strict=True):
        for name, value in pose.items():
            row[CHANNELS.index(name)] = value
    joints = body_joints(_leveled(rows, rows[:, 19])[:, : len(ANGLES)])
    joints = oriented(joints, torch.zeros(len(rows)), rows[:, 19], rows[:, 20])
    for name, row, figure in zip(POSES, rows, joints, strict=True):
        for side, down in enumerate(row[17:19].tolist()):
            if down >= 0.9:
                assert figure[12 + side, 1] - figure[:, 1].min() < 0.03, name


def test_the_path_is_the_same_whatever_the_quality():
    """A slower skater is behind on the same curve, and the curve covers the whole rink."""
    offsets = torch.arange(0, 4000, 2)
    places = {level: move(record(), level * PERFECT, offsets=offsets).joints[:, 8:10].mean(1) for level in (1.0, 0.6)}
    fast, slow = places[1.0][:, [0, 2]], places[0.6][::10, [0, 2]]
    assert torch.cdist(slow, fast).amin(1).max() < 1.0  # the hips are beside the foot that follows the curve
    assert fast[:, 0].max() - fast[:, 0].min() > 30 and fast[:, 1].max() - fast[:, 1].min() > 15
    assert fast[:, 0].abs().max() < 28 and fast[:, 1].abs().max() < 13.5
    assert not torch.allclose(places[1.0], move(record(), offsets=offsets, seed=1).joints[:, 8:10].mean(1))


def test_any_frames_look_as_they_do_among_all():
    rec, factors = record(), torch.linspace(0.2, 0.9, len(FACTORS))
    whole = move(rec, factors)
    some = torch.tensor([0, 7, 455, 456, 456, 1040, 1790, 2500, 3999])
    part = move(rec, factors, offsets=some)
    assert torch.allclose(part.joints, whole.joints[some], atol=1e-5)
    assert torch.allclose(part.props.ends, whole.props.ends[some], atol=1e-5)
    assert torch.equal(part.subactions, whole.subactions[some])
    assert torch.allclose(part.clock, whole.clock[some])
    again = move(replace(rec, score=3.0, split="test"), factors)
    assert torch.equal(again.joints, whole.joints)  # the score is not read


def test_who_turns_to_the_right_is_a_mirror_image():
    signs = set()
    for seed in range(24):
        joints = move(alone("3T"), seed=seed, offsets=torch.arange(200, 330)).joints
        axis = joints[:, AT["left shoulder"]] - joints[:, AT["right shoulder"]]
        flying = lowest(joints) > SOLE + 0.1
        angle = np.unwrap(torch.atan2(-axis[flying, 2], axis[flying, 0]).numpy() * 1.0)
        signs.add(angle[-1] > angle[0])
    assert signs == {True, False}


def test_men_and_women_wear_what_they_wear():
    woman, man = move(record()).props, move(record(action="men SP")).props
    assert woman.ends.shape[2:] == (2, 3) and len(woman.radii) == woman.ends.shape[1] == len(woman.colors)
    assert woman.radii.max() > 0.18 and man.radii.max() < 0.1  # a skirt, trousers
    assert woman.colors[-1].mean() > 0.8 and man.colors[-1].mean() < 0.2  # white boots, black boots


def test_odd_times_are_skated():
    """Score sheets contain elements of zero length, overlapping ones, and ones at the start or beyond the video."""
    times = ((0, 0), (10, 12), (40, 300), (200, 260), (255, 256), (390, 900))
    odd = tuple(replace(e, start=a, end=b, goe=-3.0) for e, (a, b) in zip(PROGRAM, times, strict=False))
    motion = move(record(odd, end=400), 0.3 * PERFECT, offsets=torch.arange(-20, 450))
    assert torch.isfinite(motion.joints).all() and lowest(motion.joints).min() > SOLE - 1e-5
    assert set(motion.subactions.tolist()) == {0, 2, 3, 4, 5, 6}


def test_wrong_arguments_are_named():
    with pytest.raises(ValueError, match="factors.*height"):
        move(record(), torch.ones(3))
    with pytest.raises(ValueError, match="offsets"):
        move(record(), offsets=torch.zeros(2, 2))
    with pytest.raises(ValueError, match=r"'\?\?'"):
        move(record((Element("??", "?", 100, 200, 1.0, 0.0),)))


@pytest.mark.speed
def test_a_program_takes_milliseconds():
    threads, rec, offsets = torch.get_num_threads(), record(), torch.arange(0, 3840, 5)
    torch.set_num_threads(1)
    try:
        taken = []
        for _ in range(10):
            began = time.process_time()
            move(rec, 0.7 * PERFECT, offsets=offsets)
            taken.append(time.process_time() - began)
    finally:
        torch.set_num_threads(threads)
    assert len(offsets) == 768 and min(taken) < 0.060


# ---- the rink --------------------------------------------------------------------------------------------------------


def test_the_rink_is_white_with_boards_and_stands():
    motion = move(record(), offsets=torch.arange(0, 400, 50))
    scene = draw_scene(SimSettings(), torch.Generator().manual_seed(1), frames=8, motion=motion)
    assert torch.equal(scene.palette[9], motion.props.colors[0])
    canvas, (left, top) = paint_rink(scene, 24.0, "cpu")
    assert canvas.shape[0] == 3 and canvas.min() >= 0 and canvas.max() <= 1
    sin, cos = math.sin(scene.pitch), math.cos(scene.pitch)

    def at(x, y, z):  # mean color around a point
        row, column = round((top - (y * cos - z * sin)) * 24), round((x - left) * 24)
        return canvas[:, row - 3 : row + 4, column - 12 : column + 13]

    for x, z in ((-10, 3), (5, -8), (14, 10)):
        ice = at(x, 0, z).mean((1, 2))
        assert ice.min() > 0.6 and ice.max() - ice.min() < 0.2
    adverts = torch.stack([at(x, 0.55, -15).mean((1, 2)) for x in range(-20, 21, 2)])
    assert adverts.std(0).max() > 0.12  # of many colors
    assert at(0, 3, -18).mean() < 0.6 and at(0, 3, -18).std() > 0.05  # dark stands with people
    other = draw_scene(SimSettings(), torch.Generator().manual_seed(2), frames=8, motion=motion)
    assert not torch.allclose(paint_rink(other, 24.0, "cpu")[0][:, :50, :50], canvas[:, :50, :50])


def test_a_film_of_it_shows_the_skater():
    settings = SimSettings(bystanders=2, texture=0.3, camera=0.3)
    offsets = torch.tensor([0, 60, 120, 180, 460, 470, 1100, 1800])
    motion = move(record(), offsets=offsets, bystanders=2)
    scene = draw_scene(settings, torch.Generator().manual_seed(1), frames=8, motion=motion)
    film = render_frames(motion, scene, 112)
    empty = render_frames(motion, scene, 112, actor=False)
    for shown, bare, box in zip(film.video, empty.video, film.boxes, strict=True):
        changed = (shown.int() - bare.int()).abs().amax(0) > 25
        left, top, right, bottom = box.tolist()
        rows, columns = changed.nonzero().unbind(1)
        inside = (columns >= left - 4) & (columns <= right + 4) & (rows >= top - 4) & (rows <= bottom + 6)
        assert changed.sum() > 150 and inside.float().mean() > 0.8
