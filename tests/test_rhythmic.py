"""Rhythmic Gymnastics's two lists become records; truncated, foreign or inconsistent ones become one-line errors."""

import shutil
from collections import Counter

import pytest

from sapnet_core.datasets import AnnotationError, load_records, rhythmic_gymnastics
from sapnet_core.datasets.rhythmic_gymnastics import read_rhythmic
from sapnet_core.simulator.draw_annotations import write_annotations

HEAD = "Video_Name\tDifficulty_Score    Execution_Score Total_Score\tPenalty\tVideo_length\n"


@pytest.fixture
def lists(tmp_path):
    """A function that applies `change` to the text of a small set's training list, and reads the set."""
    write_annotations("rg", tmp_path, 12, 4, seed=0)

    def read(change):
        file = tmp_path / "RG" / "train.txt"
        changed = change(file.read_bytes().decode(errors="replace"))
        file.write_bytes(changed if isinstance(changed, bytes) else changed.encode())
        return read_rhythmic(tmp_path)

    return read


def test_official_lists(official):
    records = load_records("rg", official)
    assert Counter(record.split for record in records) == {"train": 800, "test": 200}
    by_class = Counter((record.group, record.split) for record in records)
    assert by_class == {
        (name, part): n for name in rhythmic_gymnastics.APPARATUS for part, n in (("train", 200), ("test", 50))
    }
    first = records[0]
    assert (first.key, first.path, first.start, first.end) == ("Ball_001", "videos/Ball_001.mp4", 0, 92 * 25)
    assert [first.sub_score(name) for name in ("score", "difficulty", "execution", "penalty")] == [18.8, 10.5, 8.3, 0]
    assert first.action == first.group == "Ball" and first.rate == 25 and first.difficulty == 1
    numbers = {int(record.key[5:]) for record in records if record.group == "Ball"}
    assert numbers == set(range(1, 252)) - {134}
    for record in records:
        points = record.sub_score("difficulty") + record.sub_score("execution") - record.sub_score("penalty")
        assert record.score == pytest.approx(points, abs=0.0101)  # the penalty is subtracted
    assert any(record.sub_score("penalty") for record in records)


def test_the_same_from_every_place(official, tmp_path):
    records = load_records("rg", official)
    assert load_records("rg", official / "RG") == records
    shutil.copytree(official / "RG", tmp_path / "RG" / "data")
    assert load_records("rg", tmp_path) == load_records("rg", tmp_path / "RG") == records


def test_columns_are_found_by_name_and_split_at_any_white_space(lists):
    def turned(text):
        rows = [line.split() for line in text.splitlines()]
        return b"\xef\xbb\xbf" + "\r\n".join("   ".join(reversed(row)) for row in rows).encode()

    before = lists(lambda text: text)
    assert lists(turned) == before and len(before) == 16


@pytest.mark.parametrize(
    "line, fault",
    [
        ("Ball_900 10.0 8.0 18.5 0.0 92", "Total_Score 18.5 .*10 . 8 - 0"),
        ("Ball_900 10.0 8.0 18.0 0.3 92", "Total_Score 18 .*10 . 8 - 0.3"),
        ("Rope_001 10.0 8.0 18.0 0.0 92", "'Rope_001' "),
        ("Ball_../x 10.0 8.0 18.0 0.0 92", "'Ball_../x' "),
        ("Ball_900 ten 8.0 18.0 0.0 92", "Difficulty_Score 'ten'"),
        ("Ball_900 nan 8.0 18.0 0.0 92", "Difficulty_Score 'nan'"),
        ("Ball_900 10.0 8.0 18.0 0.0 inf", "Video_length 'inf'"),
        ("Ball_900 10.0 8.0 18.0 0.0 -5", "Video_length '-5'"),
        ("Ball_900 10.0 8.0 18.0 0.0 0", "Video_length 0 "),
        ("Ball_900 10.0 8.0 18.0 0.0", "5 .* 6"),
        ("Ball_001 10.0 8.0 18.0 0.0 92", "Ball_001"),
    ],
)
def test_a_bad_line_is_named(lists, line, fault):
    with pytest.raises(AnnotationError, match=f"train.txt: line 14: .*{fault}") as error:
        lists(lambda text: text + line + "\n")
    assert "\n" not in str(error.value) and "ACTION-NET" in str(error.value)


def test_bad_files_are_named(lists, tmp_path):
    for content, fault in (
        (HEAD.replace("Penalty", "Fine"), "line 1 .*Penalty"),
        ("", "line 1 .*Video_Name"),
        ("\n\n", "line 1 .*Video_Name"),
        (b"\x80\x04\x95" + bytes(range(128, 256)), ".*text"),
        (HEAD.encode("utf-16"), ".*text"),
    ):
        with pytest.raises(AnnotationError, match=f"train.txt: {fault}") as error:
            lists(lambda _, content=content: content)
        assert "\n" not in str(error.value)
    (tmp_path / "RG" / "train.txt").unlink()
    with pytest.raises(AnnotationError, match="train.txt: .*download"):
        read_rhythmic(tmp_path)


def test_a_list_far_too_large_is_not_read(tmp_path, monkeypatch):
    write_annotations("rg", tmp_path, 12, 4, seed=0)
    monkeypatch.setattr(rhythmic_gymnastics, "LARGEST", 100)
    with pytest.raises(AnnotationError, match="train.txt: .* MiB"):
        read_rhythmic(tmp_path)
