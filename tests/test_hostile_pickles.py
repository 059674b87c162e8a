"""Hostile pickles: each is refused in one line that names the file, and the reading process survives."""

import pickle
import struct

import numpy as np
import pytest
from hostile import MEMORY, called, is_refusal, named, number, outcomes, pile, raw, shared, text

from sapnet_core.datasets.annotation_pickles import AnnotationError, read_pickle

DTYPE, NDARRAY = named("numpy", "dtype"), named("numpy", "ndarray")
NONE, TRUE, FALSE = b"N", b"\x88", b"\x89"
CORE = "numpy._core"
RECONSTRUCT = named(f"{CORE}.multiarray", "_reconstruct")
SCALAR, FROM_BUFFER = named(f"{CORE}.multiarray", "scalar"), named(f"{CORE}.numeric", "_frombuffer")
POINTER = b"\x41" * 8


def kind(name: str, *state: bytes) -> bytes:
    """Instructions for a NumPy dtype, with its state if given."""
    made = called(DTYPE, text(name), FALSE, TRUE)
    return made + pile(*state) + b"b" if state else made


def plain(order: str = "|", names: bytes = NONE, fields: bytes = NONE, size: int = -1, flags: int = 0) -> list[bytes]:
    return [number(3), text(order), NONE, names, fields, number(size), number(-1), number(flags)]


def field(of: str, offset: int) -> bytes:
    """Instructions for the fields of a structured dtype: one field "a", at an offset in bytes."""
    return b"}(" + text("a") + pile(kind(of), number(offset)) + b"u"


# Dtypes by which 8 raw bytes would be taken for an object, or for a field beyond their end.
FORGED = kind("V8", *plain(flags=63, size=8))
FORGED_FIELD = kind("V8", *plain(names=pile(text("a")), fields=field("O8", 0), size=8, flags=0))
BEYOND = kind("V8", *plain(names=pile(text("a")), fields=field("i8", 2**30), size=8))
FLAGGED = kind("f8", number(3), text("<"), NONE, pile(text("a")), NONE, number(8), number(8), number(63))
OF_ONE_OBJECT = pile(kind("O8"), pile(number(1)))
PARTS = kind("V8", number(3), text("|"), OF_ONE_OBJECT, NONE, NONE, number(8), number(1), number(63))


def array(shape: bytes, of: bytes, content: bytes) -> bytes:
    empty = called(RECONSTRUCT, NDARRAY, pile(number(0)), raw(b"b"))
    return empty + pile(number(1), shape, of, FALSE, content) + b"b"


def collisions(first: int, second: int) -> bytes:
    """A dict of 2^14 keys, tuples of 15 numbers out of two: if the two have the same hash, all keys do."""
    keys = (pile(*[b"h\x01" if place >> bit & 1 else b"h\x02" for bit in range(15)]) for place in range(2**14))
    kept = number(first) + b"q\x010" + number(second) + b"q\x020"
    return kept + b"}(" + b"".join(key + NONE for key in keys) + b"u"


def nested_arrays(levels: int) -> bytes:
    """An array of one object, which is an array of one object, and so on: freeing them must not overflow the stack."""
    kept = RECONSTRUCT + b"q\x000" + NDARRAY + b"q\x010" + kind("O8") + b"q\x020" + ONE + b"q\x030"
    kept += raw(b"b") + b"q\x040" + pile(number(0)) + b"q\x050" + b"K\x01"
    return kept + b"q\x060h\x00(h\x01h\x05h\x04tR(K\x01h\x03h\x02\x89(h\x06ltb" * levels


ONE = pile(number(1))
HUGE = b"\x8a\x05" + (2**38).to_bytes(5, "little")
MEGABYTE = raw(bytes(2**20))

ATTACKS = {
    # raw bytes taken for pointers to objects, and forged sizes
    "forged type, reconstruct": array(ONE, FORGED, raw(POINTER)),
    "forged type, scalar": called(SCALAR, FORGED, raw(POINTER)),
    "forged type, from buffer": called(FROM_BUFFER, raw(POINTER), FORGED, ONE, text("C")),
    "forged type, ndarray": called(NDARRAY, ONE, FORGED, raw(POINTER)),
    "void with an object field": array(ONE, FORGED_FIELD, raw(POINTER)),
    "field beyond the value": array(ONE, BEYOND, raw(POINTER)),
    "object type, raw bytes": array(ONE, kind("O8"), raw(POINTER)),
    "object scalar": called(SCALAR, kind("O8"), raw(POINTER)),
    "object from buffer": called(FROM_BUFFER, raw(POINTER), kind("O8"), ONE, text("C")),
    "object flag on numbers": array(ONE, FLAGGED, raw(POINTER)),
    "type with parts": array(ONE, PARTS, raw(POINTER)),
    "type as text of fields": array(ONE, called(DTYPE, text("O,O"), FALSE, TRUE), raw(POINTER * 2)),
    "type as a list": array(ONE, called(DTYPE, b"](" + pile(text("a"), text("O")) + b"e", FALSE, TRUE), raw(POINTER)),
    "date": array(ONE, kind("M8"), raw(POINTER)),
    "array of a class of its own": called(RECONSTRUCT, DTYPE, pile(number(0)), raw(b"b")),
    "complex numbers": array(ONE, kind("c8"), raw(POINTER)),
    "objects in an array that are lists": array(ONE, kind("O8"), b"]]a"),
    "a set of 2^38": called(named("builtins", "set"), HUGE),
    "content alone": b"\x96" + struct.pack("<Q", 8) + POINTER,
    "state of a list": b"]" + pile(number(1)) + b"b",
    "state of a dict": b"}" + b"}(" + text("__class__") + number(1) + b"ub",
    "content too short": array(pile(number(9)), kind("f8"), raw(POINTER)),
    "content too long": array(ONE, kind("f8"), raw(POINTER * 2)),
    "objects missing": array(pile(number(3)), kind("O8"), b"]"),
    "negative shape": array(pile(number(-1)), kind("f8"), raw(POINTER)),
    "shape that overflows": array(pile(*[HUGE] * 4), kind("f8"), raw(b"")),
    "33 axes": array(pile(*[number(1)] * 33), kind("f8"), raw(POINTER)),
    "shape of lists": array(pile(b"]"), kind("f8"), raw(POINTER)),
    # small files that take much memory
    "bytearray of 4e9": called(named("builtins", "bytearray"), b"\x8a\x05\x00\x28\x6b\xee\x00"),
    "bytes of 4e9": called(named("builtins", "bytes"), b"\x8a\x05\x00\x28\x6b\xee\x00"),
    "array of 2^38 numbers": called(NDARRAY, pile(HUGE), kind("f8")),
    "text of 2^38": called(named("builtins", "str"), HUGE),
    "list of a list": called(named("builtins", "list"), b"]"),
    "memory at 2^32": b"]r\xff\xff\xff\xff" + b"j\xfe\xff\xff\xff",
    "one content, a thousand arrays": MEGABYTE
    + b"q\x000"
    + b"]("
    + b"".join(called(FROM_BUFFER, b"h\x00", kind("u1"), pile(number(2**20)), text("C")) for _ in range(1000))
    + b"e",
    "one content, a thousand states": MEGABYTE
    + b"q\x000"
    + b"]("
    + b"".join(array(pile(number(2**20)), kind("u1"), b"h\x00") for _ in range(1000))
    + b"e",
    "one content, a thousand bytearrays": MEGABYTE
    + b"q\x000"
    + b"]("
    + b"".join(called(named("builtins", "bytearray"), b"h\x00") for _ in range(1000))
    + b"e",
    "millions of lists": b"(" + b"]" * 5_000_000 + b"t",
    "millions of sets": b"(" + b"\x8f" * 5_000_000 + b"t",
    "millions of marks": b"(" * 5_000_000,
    "frame of 2^62 bytes": b"\x95" + struct.pack("<Q", 2**62) + b"\x8e" + struct.pack("<Q", 2**62),
    "text of 2^31 that is not there": b"X" + struct.pack("<I", 2**31) + b"a",
    # files that take much time
    "pairs of pairs": shared(60),
    "pairs of pairs as a key": b"}" + b"(" + shared(60) + NONE + b"u",
    "lists of lists": shared(60, b"l"),
    "number of a million digits": b"L" + b"9" * 1_000_000 + b"L\n",
    "int of text": called(named("builtins", "int"), text("9" * 200)),
    "keys that clash": b"}("
    + b"".join(b"\x8a\x0b" + ((2**61 - 1) * i).to_bytes(11, "little") + NONE for i in range(1, 50_000))
    + b"u",
    "keys of two numbers of equal hash": collisions(-1, -2),
    "keys of halves and of powers of two": collisions(0, 0).replace(number(0), b"G" + struct.pack(">d", 0.5), 1),
    "complex keys": b"}(" + called(named("builtins", "complex"), *[b"G" + struct.pack(">d", 1)] * 2) + NONE + b"u",
    "places in memory that clash": b"]" + b"".join(b"p%d\n" % ((2**61 - 1) * i) for i in range(1, 50_000)),
    "one long text a million times": b"X"
    + struct.pack("<I", 10**6)
    + b"a" * 10**6
    + b"q\x00]("
    + b"h\x00" * 900_000
    + b"e",
    "one array a million times": array(pile(number(10**6)), kind("u1"), raw(bytes(10**6)))
    + b"q\x00]("
    + b"h\x00" * 100_000
    + b"e",
    "number of 30 MB": b"F" + b"\x01" * 30_000_000 + b"\n",
    "name of 30 MB": b"c" + b"a" * 30_000_000 + b"\nb\n",
    "number without an end": b"I" + b"1" * 1_000_000,
    "one list, a thousand sets": b"]("
    + b"K\x01" * 100_000
    + b"eq\x000]("
    + called(named("builtins", "set"), b"h\x00") * 1000
    + b"e",
    "one pile of arguments, a thousand calls": pile(b"K\x01" * 100_000)
    + b"q\x000]("
    + (named("builtins", "set") + b"h\x00R") * 1000
    + b"e",
    # values that later code cannot handle
    "sign beyond Unicode": array(ONE, kind("U1"), raw(b"\xff\xff\xff\x7f")),
    "truth value of 7": array(ONE, kind("b1"), raw(b"\x07")),
    # deep nesting
    "fifty thousand arrays in each other": nested_arrays(50_000),
    "a hundred thousand lists in each other": b"](" * 100_000 + b"e" * 100_000,
    "a hundred thousand tuples in each other": b"K\x01" + b"\x85" * 100_000,
    "a list in itself": b"]q\x00h\x00a",
    "a dict in itself": b"}q\x00" + text("a") + b"h\x00s",
    # other instructions and names
    "object by class": b"(" + named("builtins", "eval") + text("1") + b"o",
    "instance": b"(ibuiltins\neval\n",
    "new object": NDARRAY + pile(ONE) + b"\x81",
    "new object with names": NDARRAY + pile() + b"}" + b"\x92",
    "persistent name": b"Phello\n",
    "persistent value": text("x") + b"Q",
    "extension": b"\x82\x01",
    "buffer from outside": b"\x97",
    "system": called(named("os", "system"), text("true")),
    "dotted name": called(named("numpy", "dtype.__class__"), text("x")),
    "name that is no text": number(1) + number(2) + b"\x93",
    "call of a text": called(text("x"), number(1)),
    "call without arguments": DTYPE + b"R",
    "leaves a function": DTYPE,
    "leaves a type": kind("f8"),
    "leaves a class": NDARRAY,
    "nothing at all": b"",
    "no end": b"]",
    "pop of nothing": b"0",
    "reads what was not kept": b"h\x05",
}


@pytest.fixture(scope="module")
def found(tmp_path_factory) -> dict[str, tuple]:
    """Attack -> (its file, the outcome of reading it)."""
    folder, files = tmp_path_factory.mktemp("hostile"), {}
    for place, (name, program) in enumerate(ATTACKS.items()):
        stop = b"" if name in ("no end", "nothing at all") else b"."
        files[name] = folder / f"{place:03d}.pkl"
        files[name].write_bytes(b"\x80\x04" + program + stop)
    became = outcomes("pickle", files.values())
    return {name: (file, what) for (name, file), what in zip(files.items(), became, strict=True)}


@pytest.mark.parametrize("name", ATTACKS)
def test_the_reader_refuses_in_one_line(found, name):
    file, what = found[name]
    is_refusal(what, file, ("AnnotationError",))


MANY, LARGE = 300_000, 60 * 2**20
HEAVY = {
    "many lists": b"(" + b"]" * MANY + b"l",
    "many sets": b"(" + b"\x8f" * MANY + b"l",
    "one large array": array(pile(number(LARGE)), kind("u1"), raw(bytes(LARGE))),
    "one large text": b"X" + struct.pack("<I", LARGE) + b"a" * LARGE,
    "one sign from afar": b"X" + struct.pack("<I", LARGE + 4) + b"a" * LARGE + "😀".encode(),
    "one sign from afar, escaped": b"V" + b"a" * LARGE + b"\\U0001F600\n",
}


def test_what_is_largest_takes_no_more_than_a_gigabyte(tmp_path):
    files = [tmp_path / f"{name}.pkl" for name in HEAVY]
    for file in files:
        file.write_bytes(b"\x80\x04" + HEAVY[file.stem] + b".")
    became = outcomes("pickle", files)
    for file, what in zip(files, became, strict=True):
        if "afar" in file.stem:  # each of its characters would take four bytes
            is_refusal(what, file, ("AnnotationError",))
        # scaled from the reader's limit of a million objects
        most = MEMORY * MANY / 1e6 if "many" in file.stem else MEMORY
        assert what["peak"] < most, (file.stem, what)
    assert [what["said"] for what in became[:4]] == ["list", "list", "ndarray", "str"]


def test_official_files_give_what_the_ordinary_way_gives(official):
    files = [file for file in sorted(official.rglob("*.pkl")) if file.is_file()]
    assert files
    for file in files:
        same(read_pickle(file), pickle.loads(file.read_bytes()))


def same(mine: object, theirs: object) -> None:
    assert type(mine) is type(theirs)
    if isinstance(mine, dict):
        assert list(mine) == list(theirs)
        mine, theirs = list(mine.values()), list(theirs.values())
    if isinstance(mine, list | tuple):
        assert len(mine) == len(theirs)
        for a, b in zip(mine, theirs, strict=True):
            same(a, b)
    elif isinstance(mine, np.ndarray):
        assert mine.dtype == theirs.dtype and np.array_equal(mine, theirs)
    else:
        assert mine == theirs


def test_arrays_and_numpy_numbers_come_back(tmp_path):
    arrays = [
        np.array([1.5, 2], ">f8"),
        np.array(["a", "bcd"]),
        np.array(["a", "bcd"], ">U3"),
        np.array([b"x", b"yz"]),
        np.zeros((0, 3)),
        np.array([True, False]),
        np.array([1, "x", None], object),
        np.array(3),
        np.asfortranarray(np.arange(6.0).reshape(2, 3)),
    ]
    values = [*arrays, np.float32(2), np.bool_(True), np.str_("é"), {"a", 1}, frozenset({2.5})]
    for protocol in (3, 4, 5):
        content = pickle.dumps(values, protocol=protocol)
        (tmp_path / "a.pkl").write_bytes(content)
        same(read_pickle(tmp_path / "a.pkl"), pickle.loads(content))


def test_what_old_protocols_write_comes_back(tmp_path):
    value = {"a": [1, 2.5, True, None, -7, 2**40], (1, "b"): ("é", "Ω\n", "\U0001f600", ()), 3: {"y": [[]]}}
    for protocol in range(6):
        (tmp_path / "a.pkl").write_bytes(pickle.dumps(value, protocol=protocol))
        assert read_pickle(tmp_path / "a.pkl") == value


def test_a_folder_whose_name_holds_a_line_end_is_told_in_one_line(tmp_path):
    (tmp_path / "a\nb").mkdir()
    with pytest.raises(AnnotationError) as error:
        read_pickle(tmp_path / "a\nb" / "absent.pkl")
    assert "\n" not in str(error.value) and "absent.pkl" in str(error.value)
