"""Official annotation files become records; hostile, truncated and foreign files become one-line errors."""

import os
import pickle
import shutil

import numpy as np
import pytest

from sapnet_core.datasets import AnnotationError, Record, finediving, load_records, mtl_aqa
from sapnet_core.datasets.annotation_pickles import read_pickle
from sapnet_core.simulator.draw_annotations import write_annotations


@pytest.fixture(scope="module")
def drawn(tmp_path_factory):
    root = tmp_path_factory.mktemp("drawn")
    for name in ("mtl-aqa", "finediving"):
        write_annotations(name, root, 30, 10, seed=1)
    return root


def rewrite(path, change):
    """Apply `change` to the content of a pickle file, in place."""
    content = read_pickle(path)
    change(content)
    path.write_bytes(pickle.dumps(content))


# ---- the restricted reader


@pytest.mark.parametrize("protocol", (3, 4, 5))  # those of the official files, and the newest
def test_arrays_scalars_and_containers_come_back(tmp_path, protocol):
    values = [np.arange(6).reshape(2, 3), np.float64(2.5), {1, 2}, (None, True, b"x")]
    value = {("a", 1): values, "o": np.array([1, "x"], object)}
    path = tmp_path / "a.pkl"
    path.write_bytes(pickle.dumps(value, protocol=protocol))
    back = read_pickle(path)
    assert np.array_equal(back["a", 1][0], value["a", 1][0]) and back["a", 1][1:] == value["a", 1][1:]
    assert back["o"].tolist() == [1, "x"]


@pytest.mark.parametrize("package", [b"numpy.core.multiarray", b"numpy._core.multiarray"])
def test_numpy_1_and_2_name_their_constructors_differently(tmp_path, package):
    content = pickle.dumps(np.arange(3), protocol=3)
    (module,) = (name for name in (b"numpy.core.multiarray", b"numpy._core.multiarray") if name in content)
    (tmp_path / "a.pkl").write_bytes(content.replace(module, package))
    assert read_pickle(tmp_path / "a.pkl").tolist() == [0, 1, 2]


class Hostile:
    def __init__(self, *call):
        self.call = call

    def __reduce__(self):
        return self.call[0], self.call[1:]


@pytest.mark.parametrize("protocol", range(pickle.HIGHEST_PROTOCOL + 1))
@pytest.mark.parametrize("where", [lambda x: x, lambda x: {(1, 1): [x]}, lambda x: np.array([x], object)])
def test_a_hostile_pickle_is_refused_and_does_nothing(tmp_path, protocol, where):
    trace = tmp_path / "was-here"
    path = tmp_path / "labels.pkl"
    path.write_bytes(pickle.dumps(where(Hostile(os.system, f"touch {trace}")), protocol=protocol))
    with pytest.raises(AnnotationError) as error:
        read_pickle(path, "example.org")
    message = str(error.value)
    assert "labels.pkl" in message and "example.org" in message and "\n" not in message
    assert "system" in message or protocol < 3  # protocols 0 to 2 write bytes as a call, which may be refused first
    assert not trace.exists()
    pickle.loads(path.read_bytes())  # plain unpickling does run it
    assert trace.exists()


@pytest.mark.parametrize("call", [(eval, "1"), (getattr, 1, "real"), (pickle.loads, b"N."), (np.load, "x")])
def test_other_globals_are_refused_by_name(tmp_path, call):
    path = tmp_path / "labels.pkl"
    path.write_bytes(pickle.dumps(Hostile(*call)))
    with pytest.raises(AnnotationError, match=f"labels.pkl: .*{call[0].__name__}"):
        read_pickle(path)


def test_dotted_names_do_not_reach_through_an_allowed_one(tmp_path):
    path = tmp_path / "labels.pkl"
    path.write_bytes(b"\x80\x04\x8c\x05numpy\x8c\x0endarray.tofile\x93.")
    with pytest.raises(AnnotationError, match="numpy.ndarray.tofile"):
        read_pickle(path)


def test_torn_and_foreign_files_are_one_line_errors(tmp_path):
    path, whole = tmp_path / "labels.pkl", pickle.dumps({(1, 1): np.arange(500)})
    for content in (whole[:-1], whole[: len(whole) // 2], b"", b"version https://git-lfs", bytes(range(256))):
        path.write_bytes(content)
        with pytest.raises(AnnotationError, match="labels.pkl: .*download") as error:
            read_pickle(path)
        assert "\n" not in str(error.value)
    with pytest.raises(AnnotationError, match="absent.pkl: .*download"):
        read_pickle(tmp_path / "absent.pkl")


# ---- readers


def test_official_mtl_aqa(official):
    records = load_records("mtl-aqa", official)
    assert [sum(record.split == split for record in records) for split in ("train", "test")] == [1059, 353]
    scores = [record.score for record in records]
    assert (min(scores), max(scores)) == (0, 104.5) and len({record.difficulty for record in records}) == 23
    assert [record.key for record in records] == sorted({record.key for record in records})
    first = records[0]
    assert first == Record(
        "mtl-aqa",
        "01-001",
        "01",
        "new/new_total_frames_256s/01",
        7377,
        7462,
        88.0,
        3.2,
        "407C",
        (9.5, 9, 9.5, 9, 8.5, 9.5, 8.5),
        (),
        (),
        "test",
    )
    assert first.frames == 85 and first.execution == 27.5 and first.quality == pytest.approx(27.5 / 30)
    assert {len(record.judges) for record in records} == {7} and all(record.action.isupper() for record in records)
    assert (min(record.frames for record in records), max(record.frames for record in records)) == (54, 273)


def test_official_finediving(official):
    records = load_records("finediving", official)
    assert [sum(record.split == split for record in records) for split in ("train", "test")] == [2251, 749]
    assert len({record.key for record in records}) == 3000 and len({record.action for record in records}) == 52
    assert {len(record.transitions) for record in records} == {2, 3, 4}
    assert {len(record.judges) for record in records} == {3, 5, 7}
    numbers = {number for record in records for number in record.subactions}
    assert len({record.difficulty for record in records}) == 23 and len(numbers) == 29
    for record in records:
        steps = (0, *record.transitions, record.frames)
        assert all(a < b for a, b in zip(steps, steps[1:], strict=False))
        assert len(record.subactions) == len(record.transitions) + 1


def test_finediving_transitions_are_where_the_frame_labels_change(official):
    path = official / finediving.FOLDER / finediving.ANNOTATIONS
    stored = read_pickle(path)
    read = {(r.event, int(r.path.split("/")[-1])): r.transitions for r in load_records("finediving", official)}
    # The published list holds the last frame before each change, except for ten damaged dives.
    assert sum(transitions == tuple(stored[key][3] + 1) for key, transitions in read.items()) == 2990
    assert stored["03", 24][3].tolist() == [-1, 47] and read["03", 24] == (9, 48)


def test_dives_in_both_sets_are_the_same_dives(official):
    mtl = {record.key: record for record in load_records("mtl-aqa", official)}
    fine = [record for record in load_records("finediving", official) if record.key in mtl]
    assert len(fine) == 1369 and all(record.score == mtl[record.key].score for record in fine)
    spans = [(record.start, record.end) == (mtl[record.key].start, mtl[record.key].end) for record in fine]
    assert sum(spans) == 972  # if either counted frames from 1, hardly any spans would agree
    train_to_test = [(record.split, mtl[record.key].split) for record in fine]
    assert train_to_test.count(("train", "test")) == 268 and train_to_test.count(("test", "train")) == 249


def test_files_may_lie_in_the_dataset_folder_its_own_folders_or_the_root(drawn, tmp_path):
    for name, folder, inner in (("mtl-aqa", "MTL-AQA", "info"), ("finediving", "FineDiving", "Annotations")):
        expected = load_records(name, drawn)
        assert load_records(name, drawn / folder) == expected
        shutil.copytree(drawn / folder, tmp_path / folder / inner)
        assert load_records(name, tmp_path) == expected


def test_without_the_coarse_file_judges_are_unknown_and_spans_start_at_zero(drawn, tmp_path):
    shutil.copytree(drawn / "FineDiving", tmp_path / "FineDiving")
    (tmp_path / "FineDiving" / finediving.COARSE).unlink()
    pairs = zip(load_records("finediving", drawn), load_records("finediving", tmp_path), strict=True)
    for judged, bare in pairs:
        assert judged.judges and bare.judges == () and bare.start == 0
        assert (bare.frames, bare.score) == (judged.frames, judged.score)


def broken_copy(drawn, tmp_path):
    shutil.copytree(drawn, tmp_path / "copy")
    return tmp_path / "copy"


@pytest.mark.parametrize(
    "name, file",
    [
        ("mtl-aqa", mtl_aqa.ANNOTATIONS),
        ("mtl-aqa", mtl_aqa.SPLITS["test"]),
        ("finediving", finediving.ANNOTATIONS),
        ("finediving", finediving.SPLITS["train"]),
    ],
)
def test_a_missing_file_is_named_with_its_source(drawn, tmp_path, name, file):
    root = broken_copy(drawn, tmp_path)
    next(root.rglob(file)).unlink()
    with pytest.raises(AnnotationError, match=f"{file}: .*download.*github.com"):
        load_records(name, root)


def test_missing_keys_and_fields_are_named(drawn, tmp_path):
    root = broken_copy(drawn, tmp_path)
    mtl, fine = root / "MTL-AQA" / mtl_aqa.ANNOTATIONS, root / "FineDiving" / finediving.ANNOTATIONS
    key = next(iter(read_pickle(mtl)))
    rewrite(mtl, lambda content: content[key].pop("final_score"))
    with pytest.raises(AnnotationError, match=rf"key \({key[0]}, {key[1]}\): .*'final_score'"):
        load_records("mtl-aqa", root)
    rewrite(mtl, lambda content: content.pop(key))
    with pytest.raises(AnnotationError, match=rf"split_0.pkl: key \({key[0]}, {key[1]}\) .*download"):
        load_records("mtl-aqa", root)
    key = next(iter(read_pickle(fine)))
    rewrite(fine, lambda content: content[key].pop())
    with pytest.raises(AnnotationError, match=rf"{fine.name}: key \('{key[0]}', {key[1]}\)"):
        load_records("finediving", root)


def test_a_coarse_file_of_other_dives_is_refused(drawn, tmp_path):
    root = broken_copy(drawn, tmp_path)
    coarse = root / "FineDiving" / finediving.COARSE
    key = next(iter(read_pickle(coarse)))
    rewrite(coarse, lambda content: content[key].update(end_frame=content[key]["end_frame"] + 3))
    with pytest.raises(AnnotationError, match="another span or score"):
        load_records("finediving", root)


def test_a_key_in_both_splits_is_refused(drawn, tmp_path):
    root = broken_copy(drawn, tmp_path)
    train = read_pickle(root / "MTL-AQA" / mtl_aqa.SPLITS["train"])
    rewrite(root / "MTL-AQA" / mtl_aqa.SPLITS["test"], lambda content: content.append(train[0]))
    with pytest.raises(AnnotationError, match="appears twice in the splits"):
        load_records("mtl-aqa", root)


def test_an_unknown_dataset_is_refused_with_the_known_ones():
    with pytest.raises(ValueError, match="'aqa-7'.*mtl-aqa, finediving"):
        load_records("aqa-7", ".")
