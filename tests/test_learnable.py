"""Own videos that a run cannot learn from are refused before it starts, with the reason."""

import numpy as np
import pytest

from sapnet_core.datasets import AnnotationError, load_records
from sapnet_core.features.source import source_records

HEAD = "id,path,score,split,group,difficulty\n"


@pytest.fixture
def own(tmp_path):
    """A function that writes records.csv with these training and test scores, and loads the records for a run."""
    for name, columns in (("a", 4), ("b", 4), ("wide", 5)):
        np.save(tmp_path / f"{name}.npy", np.zeros((9, columns), np.float32))

    def read(train, test=(1, 2), difficulty="", more=""):
        rows = [(score, "train") for score in train] + [(score, "test") for score in test]
        lines = [f"r{i},{'ab'[i % 2]}.npy,{score},{part},,{difficulty}\n" for i, (score, part) in enumerate(rows)]
        (tmp_path / "records.csv").write_text(HEAD + "".join(lines) + more)
        return source_records("folder", None, None, 0, tmp_path, tmp_path)

    return read


def refused(call, *words):
    with pytest.raises(AnnotationError) as error:
        call()
    text = str(error.value)
    assert "\n" not in text and "records.csv: " in text and all(word in text for word in words), text


def test_a_little_is_enough(own):
    assert len(own((1, 2))) == 4
    assert len(own((-3, 0.5, "", ""), (7.25, 7.5))) == 6


@pytest.mark.parametrize(
    "train, test, words",
    [
        ((1,), (1, 2), ("two different train scores", "only one row has")),
        ((1, "", ""), (1, 2), ("two different train scores", "only one row has")),
        ((1, 2), (1,), ("two different test scores", "only one row has")),
        ((5, 5, 5), (1, 2), ("two different train scores", "all are 5")),
        ((1, 2), (5, 5), ("two different test scores", "all are 5")),
        ((1, 2), (), ("no test row has a score",)),
        (("", ""), (1, 2), ("no train row has a score",)),
        ((), (1, 2), ("no train row has a score",)),
        ((), (), ("no rows",)),
    ],
)
def test_too_few_different_scores(own, train, test, words):
    refused(lambda: own(train, test), *words)


@pytest.mark.parametrize(
    "train, test, word",
    [
        ((1e9 + 1, 1e9 + 2, 1e9 + 3), (1, 2), "all become 1e+09 in float32"),
        ((1, 2), (1e9 + 1, 1e9 + 2), "all become 1e+09 in float32"),
        (range(10**9, 10**9 + 1000, 100), (1, 2), "too close"),
        ((1e6 + 1, 1e6 + 6), (1, 2), "too close"),
        ((1e-8, 9e-8), (1, 2), "too close"),
    ],
)
def test_scores_that_computing_makes_equal(own, train, test, word):
    refused(lambda: own(train, test), word, "subtract a constant, or rescale")
    if "too close" in word:
        assert own([1e8 * (value - min(train)) for value in train], test)  # the advice in the message works


def test_scores_over_difficulty_are_learned_where_there_is_one(own):
    assert own((20, 80), difficulty="2.5")
    refused(lambda: own((20, 80), difficulty="1e6"), "train scores over difficulty lie between")


def test_groups_are_learned_by_themselves(own):
    rows = "x,a.npy,1,train,beam,\ny,a.npy,2,train,beam,\nz,a.npy,2,test,beam,\n"
    refused(lambda: own((1, 2), more=rows), "row 'r0' has no group, but others have")
    refused(lambda: own((), (), more=rows), "two different test scores of group 'beam'", "only one row has")
    refused(
        lambda: own((), (), more=rows + "w,b.npy,3,test,beam,\nv,b.npy,3,test,floor,\nu,b.npy,4,test,floor,\n"),
        "two different train scores of group 'floor'",
        "no row has a score",
    )


def test_all_are_of_one_kind(own, tmp_path):
    refused(lambda: own((1, 2), more="x,wide.npy,1,train,,\n"), "wide.npy has 5 columns, but a.npy has 4")
    (tmp_path / "records.csv").write_text("id,path,score,split,end_frame\na,a.npy,1,train,\nb,b.mp4,2,test,5\n")
    (tmp_path / "b.mp4").touch()
    assert len(load_records("folder", tmp_path)) == 2
    refused(
        lambda: source_records("folder", None, None, 0, tmp_path, tmp_path),
        "some paths are videos and others sequences (row 'b' and row 'a')",
    )
