"""FineFS's JSON files become records, split as the user chooses; hostile files become one-line errors."""

import json
import shutil
from collections import Counter

import numpy as np
import pytest

from sapnet_core.datasets import AnnotationError, Element, finefs, load_records
from sapnet_core.datasets.finefs import read_finefs, split_of
from sapnet_core.simulator.draw_annotations import write_annotations

# An annotation file as the authors' appendix describes it, with the spelling of the published files.
JUMP = {
    "element": "3F+1Eu+3S",
    "coarse_class": "jump",
    "jump_comb": 2,
    "bv": 11.11,
    "goe": 0.45,
    "judge_score": [2, 0, 0, 1, -1, 1, 1, 1, 2],
    "score_of_pannel": 11.56,
    "linfo": ["x"],
    "minfo": 0,
    "rinfo": ["<"],
    "time": "0-25,0-29",
}
SPIN = {
    "element": "CCoSp4",
    "coarse_class": None,
    "bv": 3.5,
    "goe": 0.7,
    "score_of_pannel": 4.2,
    "linfo": -1,
    "minfo": -1,
    "rinfo": -1,
    "judge_score": [2] * 9,
    "time": "2-30,2-30",
}
ENTRY = {
    "competition": "fs_gpf_2018_men",
    "competition_index": 46,
    "total_segment_score": 189.43,
    "total_element_score": 101.79,
    "total_program_component_score(factored)": 88.64,
    "factor": 2.0,
    "total_program_component_score_not_factored": 44.32,
    "deductions": -1.0,
    "element_score": [11.56, 4.2],
    "component_score_not_factored": [9.04, 8.64, 8.82, 8.93, 8.89],
    "executed_element": {"element1": SPIN, "element2": JUMP},
    "program_component": {name: {"judge_score": [9.0] * 9, "score_of_pannel": 9.04} for name in finefs.COMPONENTS},
}


def write(root, number=729, **changes):
    folder = root / "FineFS" / "data" / "annotation"
    folder.mkdir(parents=True, exist_ok=True)
    (folder / f"{number}.json").write_text(json.dumps(ENTRY | changes))
    return folder / f"{number}.json"


@pytest.fixture(scope="module")
def drawn(tmp_path_factory):
    root = tmp_path_factory.mktemp("drawn")
    write_annotations("finefs", root, 30, 10, seed=1)
    return root


# ---- reading


def test_a_file_as_published(tmp_path):
    write(tmp_path)
    (record,) = load_records("finefs", tmp_path)
    assert (record.key, record.path, record.group, record.action) == ("0729", "data/video/729.mp4", "FS", "men FS")
    assert [record.sub_score(name) for name in ("score", "tes", "pcs", "deductions")] == [189.43, 101.79, 88.64, -1]
    assert (
        record.sub_score("factor") == 2
        and record.sub_score("skating_skills") == 9.04
        and record.event == "fs_gpf_2018_men"
    )
    jump, spin = record.elements  # sorted by time, whatever the order in the file
    assert jump == Element("3F+1Eu+3S<", "jump", 625, 725, 11.11, 0.45)
    assert (spin.name, spin.kind, spin.start, spin.end) == ("CCoSp4", "spin", 150 * 25, 151 * 25)  # at least one second
    assert (record.start, record.end, record.rate) == (0, (151 + 5) * 25, 25)


@pytest.mark.parametrize(
    "number, factor, action",
    [
        (0, 1.0, "men SP"),
        (728, 0.8, "women SP"),
        (729, 1.6, "women FS"),
        (1166, 2, "men FS"),
    ],
)
def test_program_from_the_number_and_sex_from_the_factor(tmp_path, number, factor, action):
    write(tmp_path, number, factor=factor)
    (record,) = read_finefs(tmp_path)
    assert record.action == action and record.group == action[-2:] and record.key == f"{number:04d}"


def test_both_spellings_and_files_without_marks(tmp_path):
    plain = {key: value for key, value in JUMP.items() if not key.endswith("info")}
    components = {name: {"score_of_panel": 8.5} for name in finefs.COMPONENTS}
    write(tmp_path, executed_element={"element1": plain}, program_component=components)
    (record,) = read_finefs(tmp_path)
    assert record.sub_score("interpretation") == 8.5 and record.elements[0].name == "3F+1Eu+3S"


@pytest.mark.parametrize(
    "infos, name",
    [
        ((["e"], 0, 0), "3Fe+3T"),
        ((0, 0, ["<<", "x"]), "3F+3T<<"),
        ((["q"], 0, ["!", "<"]), "3Fq+3T<!"),
        ((0, 0, 0), "3F+3T"),
        (("<<", 0, None), "3F<<+3T"),
    ],
)
def test_marks_stand_behind_their_jump(tmp_path, infos, name):
    jump = JUMP | {"element": "3F+3T"} | dict(zip(("linfo", "minfo", "rinfo"), infos, strict=True))
    write(tmp_path, executed_element={"element1": jump})
    assert read_finefs(tmp_path)[0].elements[0].name == name


def test_all_places(drawn, tmp_path):
    records = load_records("finefs", drawn)
    assert load_records("finefs", drawn / "FineFS") == records and {r.path[:6] for r in records} == {"video/"}
    for place in finefs.PLACES:
        shutil.rmtree(tmp_path / "FineFS", ignore_errors=True)
        shutil.copytree(drawn / "FineFS" / "annotation", tmp_path / "FineFS" / place)
        assert [record.key for record in load_records("finefs", tmp_path)] == [record.key for record in records]
        videos = "data/video/" if "data" in place else "video/"
        assert load_records("finefs", tmp_path / "FineFS")[0].path.startswith(videos)


# ---- splits


def test_rules_give_the_published_sizes():
    numbers = list(range(1167))
    for rule in ("random", "ordered", "interleaved"):
        parts = split_of(numbers, rule)
        sizes = Counter((number >= 729, part) for number, part in parts.items())
        assert sizes == {(False, "train"): 583, (False, "test"): 146, (True, "train"): 350, (True, "test"): 88}, rule
    assert split_of(numbers, "random") != split_of(numbers, "random", seed=1)

    def test_ids(rule, ids):
        return {number for number, part in split_of(ids, rule).items() if part == "test"}

    assert test_ids("ordered", numbers) == {*range(583, 729), *numbers[-88:]}
    assert {number % 5 for number in test_ids("interleaved", numbers[:729])} == {0}


def test_random_is_the_shuffle_of_public_code():
    short, free = np.arange(729), np.arange(729, 1167)
    state = np.random.get_state()
    try:
        for ids in (short, free):
            np.random.seed(42)
            np.random.shuffle(ids)
    finally:
        np.random.set_state(state)
    parts = split_of(list(range(1167)), "random")
    assert {n for n, part in parts.items() if part == "test"} == {*short[583:].tolist(), *free[350:].tolist()}


def test_a_subset_keeps_each_video_in_its_split(drawn, tmp_path):
    before = {record.key: record.split for record in load_records("finefs", drawn)}
    shutil.copytree(drawn / "FineFS", tmp_path / "FineFS")
    for file in sorted((tmp_path / "FineFS" / "annotation").iterdir())[::2]:
        file.unlink()
    after = {record.key: record.split for record in load_records("finefs", tmp_path)}
    assert len(after) == 20 and after.items() <= before.items()


def test_splits_of_ones_own(drawn, tmp_path):
    shutil.copytree(drawn / "FineFS", tmp_path / "FineFS")
    numbers = [int(record.key) for record in load_records("finefs", drawn)]
    (tmp_path / "FineFS" / "train.txt").write_text("\n".join(map(str, numbers[:35])))
    (tmp_path / "FineFS" / "test.txt").write_text(" ".join(f"{n}.json" for n in numbers[35:]))
    records = load_records("finefs", tmp_path, split="files")
    assert [record.split for record in records] == ["train"] * 35 + ["test"] * 5

    def refused(name, text, fault):
        file = tmp_path / "FineFS" / name
        kept = file.read_text()
        file.write_text(text)
        with pytest.raises(AnnotationError, match=fault) as error:
            read_finefs(tmp_path, split="files")
        assert "\n" not in str(error.value)
        file.write_text(kept)

    refused("test.txt", str(numbers[0]), f"test.txt: .*id {numbers[0]} ")
    refused("test.txt", "1 two", "test.txt: .*ids")
    refused("test.txt", "", f"{numbers[35]}.json: .*id {numbers[35]} ")
    (tmp_path / "FineFS" / "test.txt").unlink()
    with pytest.raises(AnnotationError, match="test.txt: no such file"):
        read_finefs(tmp_path, split="files")


def test_unknown_rules_and_options(drawn):
    with pytest.raises(ValueError, match="split 'mine'.*random, ordered, interleaved, files"):
        load_records("finefs", drawn, split="mine")
    with pytest.raises(ValueError, match="finefs .*'rule'.*split, seed"):
        load_records("finefs", drawn, rule="mine")
    with pytest.raises(ValueError, match="rg .*'split'"):
        load_records("rg", drawn, split="ordered")


# ---- hostile files


def without(*keys):
    entry = json.loads(json.dumps(ENTRY))
    inner = entry
    for key in keys[:-1]:
        inner = inner[key]
    del inner[keys[-1]]
    return json.dumps(entry)


HOSTILE = {
    "no readable JSON": ["", "{", "{'a': 1}", "\x00", '{"factor": 1' + "1" * 5000 + "}", "version https://git-lfs"],
    "nests lists or objects too deep": ["[" * 200_000, '{"a":' * 100_000],
    "the file is not a JSON object": ["[]", "1", '"text"', "null"],
    "no key 'factor'": ["{}", without("factor")],
    "no key 'executed_element'": [without("executed_element")],
    "no key 'total_element_score'": [without("total_element_score")],
    "no key 'deductions'": [without("deductions")],
    "no key 'program_component.transitions'": [without("program_component", "transitions")],
    "no key 'program_component.performance.score_of_panel'": [
        without("program_component", "performance", "score_of_pannel")
    ],
    "no key 'executed_element.element2.time'": [without("executed_element", "element2", "time")],
    "no key 'executed_element.element1.bv'": [without("executed_element", "element1", "bv")],
}


@pytest.mark.parametrize("fault", HOSTILE)
def test_torn_and_foreign_files_are_one_line_errors(tmp_path, fault):
    file = write(tmp_path)
    for content in HOSTILE[fault]:
        file.write_text(content)
        with pytest.raises(AnnotationError, match=f"729.json: {fault}.*download") as error:
            read_finefs(tmp_path)
        assert "\n" not in str(error.value) and len(str(error.value)) < 400


@pytest.mark.parametrize(
    "changes, fault",
    [
        ({"factor": 1.0}, "'factor' is 1,.* 2 .*1.6"),
        ({"factor": None}, "'factor' is None"),
        ({"factor": True}, "'factor' is True"),
        ({"total_segment_score": "NaN"}, "'total_segment_score' is 'NaN'"),
        ({"total_segment_score": 1e300}, "'total_segment_score' is 1e.300"),
        ({"total_segment_score": -1}, "'total_segment_score' is -1"),
        ({"total_segment_score": "1_0"}, "'total_segment_score' is '1_0'"),
        ({"total_program_component_score(factored)": "much"}, r"'total_program_component_score\(factored\)' is 'much'"),
        ({"total_element_score": {"a": 1}}, "'total_element_score' is {'a': 1}"),
        ({"deductions": [1]}, "'deductions' is .*1"),
        ({"executed_element": {}}, "'executed_element'"),
        ({"executed_element": []}, r"'executed_element' is \[\]"),
        ({"executed_element": {"element1": "3A"}}, "'executed_element.element1' is '3A'"),
        ({"executed_element": {"element1": JUMP | {"time": "25-29"}}}, "'executed_element.element1.time' is '25-29'"),
        ({"executed_element": {"element1": JUMP | {"time": 25}}}, "'executed_element.element1.time' is 25"),
        ({"executed_element": {"element1": JUMP | {"time": "0-25,999999999-29"}}}, "'executed_element.element1.time'"),
        ({"executed_element": {"element1": JUMP | {"element": 7}}}, "'executed_element.element1.element' is 7"),
        ({"executed_element": {"element1": JUMP | {"element": " "}}}, "'executed_element.element1.element' is ' '"),
        ({"executed_element": {"element1": JUMP | {"element": "\ud800"}}}, "'executed_element.element1.element' is"),
        ({"executed_element": {"\n\x1b\ud800" * 99: JUMP | {"bv": -1.0}}}, "'executed_element.*bv' is -1.0"),
        ({"executed_element": {"element1": JUMP | {"bv": "much"}}}, "'executed_element.element1.bv' is 'much'"),
        ({"executed_element": {"e": JUMP | {"bv": [1] * 9, "goe": "x" * 999}}}, "'executed_element.e.bv' .*and 1 more"),
        ({"program_component": 3}, "'program_component' is 3"),
    ],
)
def test_values_of_another_kind_are_named(tmp_path, changes, fault):
    write(tmp_path, **changes)
    with pytest.raises(AnnotationError, match=f"729.json: .*{fault}.*download") as error:
        read_finefs(tmp_path)
    assert str(error.value).isprintable() and len(str(error.value)) < 600


def test_sizes_and_names(tmp_path, monkeypatch):
    file = write(tmp_path)
    monkeypatch.setattr(finefs, "LARGEST", 100)
    with pytest.raises(AnnotationError, match="729.json: .* MiB"):
        read_finefs(tmp_path)
    for name in ("1167", "-1", "notes", "007", "٣"):
        other = file.rename(file.with_name(f"{name}.json"))
        with pytest.raises(AnnotationError, match=f"{name}.json: no video"):
            read_finefs(tmp_path)
        file = other
    file.unlink()
    with pytest.raises(AnnotationError, match="annotation: .*download"):
        read_finefs(tmp_path)
    with pytest.raises(AnnotationError, match="absent.*: "):
        read_finefs(tmp_path / "absent")
