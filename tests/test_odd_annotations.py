"""Whatever an annotation file contains, its reader gives correct records, or one line with the file's name."""

import json
import math
import pickle
import shutil
from functools import partial

import numpy as np
import pytest

from sapnet_core.datasets import AnnotationError, finediving, load_records, mtl_aqa, rhythmic_gymnastics
from sapnet_core.simulator.draw_annotations import write_annotations


@pytest.fixture(scope="module")
def drawn(tmp_path_factory):
    """A small synthetic set of each dataset: (root, {dataset: records})."""
    root = tmp_path_factory.mktemp("drawn")
    for name in ("mtl-aqa", "finediving", "finefs"):
        write_annotations(name, root, 6, 2, seed=1)
    write_annotations("rg", root, 8, 4, seed=1)
    return root, {name: load_records(name, root) for name in ("mtl-aqa", "finediving", "rg", "finefs")}


@pytest.fixture
def copy(drawn, tmp_path):
    """A function that copies one dataset's folder; it returns (root, records before any change)."""

    def make(name, folder):
        shutil.copytree(drawn[0] / folder, tmp_path / folder)
        return tmp_path, drawn[1][name]

    return make


def refused(name, root, file, *words):
    with pytest.raises(AnnotationError) as error:
        load_records(name, root)
    text = str(error.value)
    assert file in text and text.isprintable() and len(text) < 600, text
    assert all(word in text for word in words), text


def deep(levels=200):
    value = []
    for _ in range(levels):
        value = [value]
    return value


NOT_A_NUMBER = {
    "nan": math.nan,
    "infinite": math.inf,
    "negative": -1.0,
    "text": "88.0",
    "word": "high",
    "none": None,
    "true": True,
    "list": [88.0],
    "dict": {"a": 1},
    "array": np.array([88.0, 1.0]),
    "huge": 10**40,
    "complex": 2j,
    "bytes": b"88",
    "large": 1e300,
    "np.nan": np.float64("nan"),
    "deep": deep(),
}
NOT_A_FRAME = {
    "negative": -1,
    "half": 10.5,
    "nan": math.nan,
    "infinite": math.inf,
    "beyond": 10**9 + 1,
    "huge": 10**40,
    "text": "100",
    "none": None,
    "true": True,
    "list": [100],
    "np.nan": np.float32("nan"),
    "negative zero .5": -0.5,
}
NOT_A_PANEL = {
    "text": "9.0 8.5 9.0",
    "none": None,
    "number": 9.0,
    "nan": [9.0, math.nan],
    "words": ["a", "b"],
    "nested": [[9.0]],
    "table": np.ones((2, 3)),
    "dict": {0: 9.0},
    "negative": [-1.0, 3.0],
    "objects": np.array(["a", None], object),
    "set": {9.0, 8.0},
}
NOT_AN_ACTION = {
    "number": 107,
    "none": None,
    "empty": "",
    "lines": "107\nB",
    "long": "1" * 400,
    "bytes": b"107B",
    "list": ["107B"],
    "blank": "  ",
}
NOT_LABELS = {
    "none": None,
    "text": "1 1 2",
    "empty": [],
    "number": 3,
    "table": np.ones((4, 2), int),
    "halves": np.full(9, 1.5),
    "words": np.array(["a", "b"]),
    "objects": np.array([1, None], object),
    "ragged": [[1], [1, 2]],
    "negative": [-1, 2],
    "truth": np.array([True, False]),
    "nan": np.array([1.0, math.nan]),
    "huge": [10**30, 1],
    "dict": {0: 1},
    "deep": deep(),
}
NOT_A_LIST = {
    "none": None,
    "number": 3,
    "text": "train",
    "dict": {(1, 1): 0},
    "empty": [],
    "empty array": np.empty((0, 2), int),
    "scalar array": np.array(3),
    "bytes": b"abc",
    "true": True,
}
BAD_KEYS = {  # wrong entries in place of a key in a split list
    "one part": (1,),
    "three parts": (1, 2, 3),
    "none": None,
    "number": 7,
    "text": "ab",
    "list in it": (1, [2]),
    "dict in it": ({"a": 1}, 2),
    "nan": (math.nan, 1),
    "true": (True, 1),
    "negative": (1, -1),
    "half": (1, 1.5),
    "huge": (10**40, 1),
    "absent": (99_999, 99_999),
    "deep": deep(),
    "array": np.ones((2, 2)),
    "empty": (),
}
OUTSIDE = [
    "../x",
    "/etc",
    "..",
    ".",
    "a/b",
    "a\\b",
    "C:x",
    "a\0b",
    "a\nb",
    "",
    "x" * 300,
    "é" * 150,
    b"01",
    1,
    None,
    "\ud800",
]


def changed(path, change):
    """Rewrite a pickle with what `change` returns for its content, or, if that is None, has changed in place."""
    content = pickle.loads(path.read_bytes())
    result = change(content)
    path.write_bytes(pickle.dumps(content if result is None else result))


def put(content, name, value):
    content[next(iter(content))][name] = value


def leave_out(content, name):
    content[next(iter(content))].pop(name)


MTL = [
    *[
        (field, kind, partial(put, name=field, value=value))
        for field in ("final_score", "difficulty")
        for kind, value in NOT_A_NUMBER.items()
    ],
    ("difficulty", "zero", partial(put, name="difficulty", value=0)),
    *[
        (field, kind, partial(put, name=field, value=value))
        for field in ("start_frame", "end_frame")
        for kind, value in NOT_A_FRAME.items()
    ],
    ("end_frame", "before start", lambda c: c[next(iter(c))].update(start_frame=90, end_frame=80)),
    ("end_frame", "at start", lambda c: c[next(iter(c))].update(start_frame=90, end_frame=90)),
    *[("judge", kind, partial(put, name="judge_scores", value=value)) for kind, value in NOT_A_PANEL.items()],
    *[("dive_number", kind, partial(put, name="dive_number", value=value)) for kind, value in NOT_AN_ACTION.items()],
    *[
        (field, "absent", partial(leave_out, name=field))
        for field in ("final_score", "difficulty", "start_frame", "end_frame", "judge_scores", "dive_number")
    ],
    *[
        ("key", kind, lambda c, value=value: c.update({next(iter(c)): value}))
        for kind, value in (
            ("none", None),
            ("list", [1, 2]),
            ("text", "a"),
            ("empty", {}),
            ("number", 3),
            ("deep", deep()),
        )
    ],
    *[
        ("dict", kind, lambda c, value=value: value)
        for kind, value in (
            ("list", [1]),
            ("text", "a"),
            ("number", 1),
            ("nan", math.nan),
            ("array", np.ones(3)),
            ("set", {1}),
        )
    ],
]
FINE = [
    *[("dive_score", kind, partial(put, name=1, value=value)) for kind, value in NOT_A_NUMBER.items()],
    *[("difficulty", kind, partial(put, name=2, value=value)) for kind, value in NOT_A_NUMBER.items()],
    ("difficulty", "zero", partial(put, name=2, value=0.0)),
    *[("action", kind, partial(put, name=0, value=value)) for kind, value in NOT_AN_ACTION.items()],
    *[("labels", kind, partial(put, name=4, value=value)) for kind, value in NOT_LABELS.items()],
    ("fields", "four", partial(leave_out, name=-1)),
    ("fields", "six", lambda c: c[next(iter(c))].append(1)),
    ("key", "dict", lambda c: c.update({next(iter(c)): {"dive_score": 1}})),
    ("dict", "list", lambda c: list(c)),
]
COARSE = [
    *[("start_frame", kind, partial(put, name="start_frame", value=value)) for kind, value in NOT_A_FRAME.items()],
    ("start_frame", "zero", partial(put, name="start_frame", value=0)),
    ("end_frame", "moved", lambda c: put(c, "end_frame", c[next(iter(c))]["end_frame"] + 1)),
    *[("dive_score", kind, partial(put, name="dive_score", value=value)) for kind, value in NOT_A_NUMBER.items()],
    ("score", "another", partial(put, name="dive_score", value=1.25)),
    *[("judge", kind, partial(put, name="judge_scores", value=value)) for kind, value in NOT_A_PANEL.items()],
    *[
        (field, "absent", partial(leave_out, name=field))
        for field in ("start_frame", "end_frame", "dive_score", "judge_scores")
    ],
    ("key", "list", lambda c: c.update({next(iter(c)): [1]})),
    ("dict", "list", lambda c: list(c)),
]


def ids(cases):
    return [f"{field} {kind}" for field, kind, _ in cases]


@pytest.mark.parametrize("field, kind, change", MTL, ids=ids(MTL))
def test_mtl_aqa(copy, field, kind, change):
    root, _ = copy("mtl-aqa", mtl_aqa.FOLDER)
    changed(root / mtl_aqa.FOLDER / mtl_aqa.ANNOTATIONS, change)
    refused("mtl-aqa", root, mtl_aqa.ANNOTATIONS)


@pytest.mark.parametrize("field, kind, change", FINE, ids=ids(FINE))
def test_finediving(copy, field, kind, change):
    root, _ = copy("finediving", finediving.FOLDER)
    changed(root / finediving.FOLDER / finediving.ANNOTATIONS, change)
    refused("finediving", root, finediving.ANNOTATIONS)


@pytest.mark.parametrize("field, kind, change", COARSE, ids=ids(COARSE))
def test_the_coarse_file(copy, field, kind, change):
    root, _ = copy("finediving", finediving.FOLDER)
    changed(root / finediving.FOLDER / finediving.COARSE, change)
    refused("finediving", root, finediving.COARSE)


@pytest.mark.parametrize("reader", [mtl_aqa, finediving], ids=["mtl-aqa", "finediving"])
@pytest.mark.parametrize("part", ["train", "test"])
@pytest.mark.parametrize("kind", NOT_A_LIST)
def test_split_files_of_another_kind(copy, reader, part, kind):
    name = "mtl-aqa" if reader is mtl_aqa else "finediving"
    root, _ = copy(name, reader.FOLDER)
    changed(root / reader.FOLDER / reader.SPLITS[part], lambda _: [] if kind == "empty" else NOT_A_LIST[kind])
    if NOT_A_LIST[kind] is None:  # `changed` would keep the content
        (root / reader.FOLDER / reader.SPLITS[part]).write_bytes(pickle.dumps(None))
    refused(name, root, reader.SPLITS[part])


@pytest.mark.parametrize("reader", [mtl_aqa, finediving], ids=["mtl-aqa", "finediving"])
@pytest.mark.parametrize("kind", BAD_KEYS)
def test_keys_of_another_kind(copy, reader, kind):
    name = "mtl-aqa" if reader is mtl_aqa else "finediving"
    root, _ = copy(name, reader.FOLDER)
    changed(root / reader.FOLDER / reader.SPLITS["train"], lambda keys: keys.append(BAD_KEYS[kind]))
    refused(name, root, reader.SPLITS["train"])


@pytest.mark.parametrize("twice", ["train train", "train test", "test test"])
@pytest.mark.parametrize("reader", [mtl_aqa, finediving], ids=["mtl-aqa", "finediving"])
def test_a_key_twice(copy, reader, twice):
    name = "mtl-aqa" if reader is mtl_aqa else "finediving"
    root, _ = copy(name, reader.FOLDER)
    source, target = twice.split()
    key = pickle.loads((root / reader.FOLDER / reader.SPLITS[source]).read_bytes())[0]
    changed(root / reader.FOLDER / reader.SPLITS[target], lambda keys: keys.append(key))
    refused(name, root, reader.SPLITS[target], "twice")


@pytest.mark.parametrize("event", OUTSIDE, ids=ascii)
def test_an_event_that_would_lead_out_of_the_folder(copy, event):
    root, _ = copy("finediving", finediving.FOLDER)
    folder = root / finediving.FOLDER
    fine, test = (pickle.loads((folder / n).read_bytes()) for n in (finediving.ANNOTATIONS, finediving.SPLITS["test"]))
    fine[event, 7] = fine[test[0]]
    (folder / finediving.ANNOTATIONS).write_bytes(pickle.dumps(fine))
    (folder / finediving.SPLITS["test"]).write_bytes(pickle.dumps([*test, (event, 7)]))
    (folder / finediving.COARSE).unlink()
    with pytest.raises(AnnotationError, match=finediving.SPLITS["test"].replace(".", "[.]")) as error:
        load_records("finediving", root)
    assert str(error.value).isprintable()


HARMLESS = {
    "splits as tuples": lambda keys: tuple(keys),
    "keys as lists": lambda keys: [list(key) for key in keys],
    "splits as sets": lambda keys: set(keys),
    "numpy numbers": lambda keys: [tuple(np.int64(p) if isinstance(p, int) else p for p in key) for key in keys],
}


@pytest.mark.parametrize("kind", HARMLESS)
@pytest.mark.parametrize("reader", [mtl_aqa, finediving], ids=["mtl-aqa", "finediving"])
def test_harmless_forms_read_alike(copy, reader, kind):
    name = "mtl-aqa" if reader is mtl_aqa else "finediving"
    root, before = copy(name, reader.FOLDER)
    for part in reader.SPLITS.values():
        changed(root / reader.FOLDER / part, HARMLESS[kind])
    assert load_records(name, root) == before


def test_other_harmless_forms(copy):
    root, before = copy("mtl-aqa", mtl_aqa.FOLDER)
    changed(root / "MTL-AQA" / mtl_aqa.SPLITS["train"], lambda keys: np.array(keys))

    def change(content):
        for entry in content.values():
            entry.update(
                extra=deep(9),
                start_frame=np.float64(entry["start_frame"]),
                note="a\nb",
                end_frame=np.int32(entry["end_frame"]),
                judge_scores=tuple(entry["judge_scores"]),
                final_score=np.array(entry["final_score"]),
            )
        content["not in a split"] = None

    changed(root / "MTL-AQA" / mtl_aqa.ANNOTATIONS, change)
    assert load_records("mtl-aqa", root) == before
    assert all(type(record.start) is int and type(record.score) is float for record in load_records("mtl-aqa", root))
    root, before = copy("finediving", finediving.FOLDER)

    def whole(content):
        for entry in content.values():
            entry[3], entry[4] = None, entry[4].astype(np.float32)  # transitions follow from the frame labels

    changed(root / "FineDiving" / finediving.ANNOTATIONS, whole)
    assert load_records("finediving", root) == before


HEAD = "\t".join(rhythmic_gymnastics.COLUMNS)
LISTS = {
    "commas": lambda text: text.replace("\t", ","),
    "no head": lambda text: "\n".join(text.splitlines()[1:]),
    "head alone": lambda text: text.splitlines()[0],
    "semicolons": lambda text: text.replace("\t", ";"),
    "two heads": lambda text: HEAD + "\n" + HEAD + "\n",
    "column twice": lambda text: text.replace("Penalty", "Total_Score", 1),
    "column renamed": lambda text: text.replace("Penalty", "penalty", 1),
    "empty": lambda text: "",
    "blank": lambda text: "\n \n\t\n",
    "no text": lambda text: b"\x89PNG\r\n\x1a\n\xff\xfe",
    "wide text": lambda text: text.encode("utf-16"),
    "zeros": lambda text: bytes(300),
    **{
        f"row {row!r}": lambda text, row=row: text + row + "\n"
        for row in (
            "Ball_900 10 8 18 0",
            "Ball_900 10 8 18 0 92 1",
            "Ball_900 nan 8 18 0 92",
            "Ball_900 10 8 inf 0 92",
            "Ball_900 10 8 18 0 1e9",
            "Ball_900 -10 8 -2 0 92",
            "Ball_900 1_0 8 18 0 92",
            "Ball_900 10 8 ١٨ 0 92",
            "Ball_900 10,0 8 18 0 92",
            "Ball_900 0x10 8 24 0 92",
            "../Ball_900 10 8 18 0 92",
            "Ball_../../x 10 8 18 0 92",
            "Ball_9/1 10 8 18 0 92",
            "Ball_9\\1 10 8 18 0 92",
            "Ball_ 10 8 18 0 92",
            "Ball_-1 10 8 18 0 92",
            "Ball_٣ 10 8 18 0 92",
            "Ball_" + "9" * 300 + " 10 8 18 0 92",
            "ball_900 10 8 18 0 92",
            "C:Ball_900 10 8 18 0 92",
            "Ball_900\0 10 8 18 0 92",
            "Ball_900 10 8 18 0 0",
            "Ball_900 10 8 18 0 -92",
            "Ball_900 10 8 19 0 92",
            "Ball_900 10 8 18 0 92s",
            "Ball_900 10 8 18 - 92",
        )
    },
}


@pytest.mark.parametrize("kind", LISTS)
def test_lists_of_rhythmic_gymnastics(copy, kind):
    root, _ = copy("rg", rhythmic_gymnastics.FOLDER)
    file = root / rhythmic_gymnastics.FOLDER / rhythmic_gymnastics.SPLITS["test"]
    content = LISTS[kind](file.read_text())
    file.write_bytes(content if isinstance(content, bytes) else content.encode())
    refused("rg", root, rhythmic_gymnastics.SPLITS["test"])


@pytest.mark.parametrize("target", ["train.txt", "test.txt"])
def test_a_routine_twice(copy, target):
    root, before = copy("rg", rhythmic_gymnastics.FOLDER)
    row = (root / "RG" / "train.txt").read_text().splitlines()[1]
    with (root / "RG" / target).open("a") as file:
        file.write(row + "\n")
    refused("rg", root, target, "twice")


def test_harmless_forms_of_lists(copy):
    root, before = copy("rg", rhythmic_gymnastics.FOLDER)
    for name in rhythmic_gymnastics.SPLITS.values():
        rows = [line.split() for line in (root / "RG" / name).read_text().splitlines()]
        lines = [" ".join([*row, "more" if not i else "7", ""]) for i, row in enumerate(rows)]
        (root / "RG" / name).write_bytes(b"\xef\xbb\xbf" + "\r\n".join([*lines, "", ""]).encode())
    assert load_records("rg", root) == before
    file = root / "RG" / rhythmic_gymnastics.SPLITS["test"]
    file.write_bytes(file.read_bytes().replace(b"\r\n", b"\r"))
    assert load_records("rg", root) == before


def set_(path, value):
    """A function that sets the value at the keys `path` of a JSON object."""

    def change(entry):
        for key in path[:-1]:
            entry = entry[key]
        entry[path[-1]] = value

    return change


ELEMENT = ("executed_element", "element1")
OBJECTS = [
    *[
        (".".join(path), kind, set_(path, value))
        for path in (
            ("total_segment_score",),
            ("total_element_score",),
            ("factor",),
            (*ELEMENT, "bv"),
            (*ELEMENT, "goe"),
            ("program_component", "performance", "score_of_pannel"),
        )
        for kind, value in NOT_A_NUMBER.items()
        if isinstance(value, int | float | str | list | dict | None)
        and kind != "text"  # a number in quotes is valid
        and (kind, path[-1]) != ("negative", "goe")
    ],
    *[
        ("time", kind, set_((*ELEMENT, "time"), value))
        for kind, value in (
            ("none", None),
            ("number", 25),
            ("reversed", "25-0"),
            ("words", "a-b,c-d"),
            ("long", "1" * 500 + "-1,1-2"),
            ("negative", "0--5,0-9"),
            ("digits", "٠-٥,٠-٩"),
            ("empty", ""),
            ("list", ["0-5", "0-9"]),
        )
    ],
    *[
        ("element", kind, set_((*ELEMENT, "element"), value))
        for kind, value in (
            ("none", None),
            ("number", 3),
            ("empty", ""),
            ("lines", "3A\n+2T"),
            ("blank", " "),
            ("half a letter", "\ud800"),
        )
    ],
    *[
        (name, kind, set_((name,), value))
        for name in ("executed_element", "program_component")
        for kind, value in (
            ("none", None),
            ("list", []),
            ("text", "a"),
            ("empty", {}),
            ("inside", {"element1": [], "performance": 3}),
        )
    ],
]
TEXTS = {
    "twice": lambda text: text.replace('"factor":', '"factor": 7, "factor":', 1),
    "twice inside": lambda text: text.replace('"bv":', '"bv": 99.5, "bv":', 1),
    "nan": lambda text: text.replace('"total_segment_score": ', '"total_segment_score": NaN, "x": ', 1),
    "infinity": lambda text: text.replace('"total_segment_score": ', '"total_segment_score": Infinity, "x": ', 1),
    "1e999": lambda text: text.replace('"total_segment_score": ', '"total_segment_score": 1e999, "x": ', 1),
    "digits": lambda text: text.replace('"factor": ', f'"factor": {"1" * 5000}, "x": ', 1),
    "deep": lambda text: text.replace('"factor": ', '"x": ' + "[" * 100_000 + "]" * 100_000 + ', "factor": ', 1),
    "more": lambda text: text + "{}",
    "cut": lambda text: text[: len(text) // 2],
    "empty": lambda text: "",
    "latin": lambda text: text.replace('"competition": "', '"competition": "é', 1).encode("latin-1"),
    "wide": lambda text: text.encode("utf-16"),
    "comment": lambda text: "// a\n" + text,
    "zeros": lambda text: bytes(99),
    "list": lambda text: f"[{text}]",
    "quotes": lambda text: text.replace('"', "'"),
}


@pytest.mark.parametrize("field, kind, change", OBJECTS, ids=ids(OBJECTS))
def test_finefs(copy, field, kind, change):
    root, _ = copy("finefs", "FineFS")
    file = sorted((root / "FineFS" / "annotation").iterdir())[0]
    entry = json.loads(file.read_text())
    change(entry)
    file.write_text(json.dumps(entry))
    refused("finefs", root, file.name)


@pytest.mark.parametrize("kind", TEXTS)
def test_texts_of_finefs(copy, kind):
    root, _ = copy("finefs", "FineFS")
    file = sorted((root / "FineFS" / "annotation").iterdir())[0]
    text = file.read_text()
    content = TEXTS[kind](text)
    assert content != text
    file.write_bytes(content if isinstance(content, bytes) else content.encode())
    refused("finefs", root, file.name)


def test_harmless_forms_of_finefs(copy):
    root, before = copy("finefs", "FineFS")
    for file in (root / "FineFS" / "annotation").iterdir():
        text = file.read_text()
        entry = json.loads(text) | {"more": {"nan": math.nan, "deep": deep(50)}, "total_segment_score": None}
        score = str(json.loads(text)["total_segment_score"])
        entry["total_segment_score"] = score  # a number in quotes is valid
        text = json.dumps(entry).replace('"factor":', f'"factor": {entry["factor"]}, "factor":', 1)
        file.write_bytes(b"\xef\xbb\xbf" + text.encode())
    assert load_records("finefs", root) == before


@pytest.mark.parametrize("text", ["1 two", "-1", "1_0", "٣", "1.5", "../1", "99999", "\0", "1" * 5000, b"\xff\xfe1"])
def test_ids_of_finefs_that_are_none(copy, text):
    root, before = copy("finefs", "FineFS")
    ids = " ".join(str(int(record.key)) for record in before)
    (root / "FineFS" / "train.txt").write_text(ids)
    (root / "FineFS" / "test.txt").write_bytes(text if isinstance(text, bytes) else text.encode())
    with pytest.raises(AnnotationError, match="test.txt") as error:
        load_records("finefs", root, split="files")
    assert str(error.value).isprintable()
    (root / "FineFS" / "test.txt").write_bytes(b"\xef\xbb\xbf")
    assert {record.split for record in load_records("finefs", root, split="files")} == {"train"}


@pytest.mark.parametrize("name", ["mtl-aqa", "finediving", "rg", "finefs"])
@pytest.mark.parametrize("root", ["x" * 5000, "a\0b", "loop"], ids=["long", "zero", "loop"])
def test_a_folder_whose_name_is_none(tmp_path, name, root):
    (tmp_path / "loop").symlink_to(tmp_path / "loop")
    with pytest.raises(AnnotationError) as error:
        load_records(name, tmp_path / root)
    assert "\n" not in str(error.value) and len(str(error.value)) < 600
