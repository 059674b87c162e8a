"""Pickles made to harm the reader: each ends as one line that names the file, in a process that lives on.

They are put together instruction by instruction, since no honest program writes them. All are read in one process of
its own, whose memory is bounded: a reader that follows a forged pointer, or takes what a file asks for, dies there.
"""

import json
import pickle
import resource
import struct
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from sapnet_core.data.unpickle import AnnotationError, read_pickle

ROOT = Path(__file__).resolve().parent.parent
MEMORY = 1024  # MiB that reading may take beside what the program itself has


def text(value: str) -> bytes:
    return b"\x8c" + bytes([len(value)]) + value.encode()


def raw(content: bytes) -> bytes:
    return b"B" + struct.pack("<I", len(content)) + content


def number(value: int) -> bytes:
    return b"J" + struct.pack("<i", value)


def named(module: str, name: str) -> bytes:
    return text(module) + text(name) + b"\x93"


def pile(*parts: bytes) -> bytes:
    return b"(" + b"".join(parts) + b"t"


def called(function: bytes, *arguments: bytes) -> bytes:
    return function + pile(*arguments) + b"R"


DTYPE, NDARRAY = named("numpy", "dtype"), named("numpy", "ndarray")
NONE, TRUE, FALSE = b"N", b"\x88", b"\x89"
CORE = "numpy._core"
RECONSTRUCT = named(f"{CORE}.multiarray", "_reconstruct")
SCALAR, FROM_BUFFER = named(f"{CORE}.multiarray", "scalar"), named(f"{CORE}.numeric", "_frombuffer")
POINTER = b"\x41" * 8


def kind(name: str, *state: bytes) -> bytes:
    """A numpy type, with the state that follows it where one is given."""
    made = called(DTYPE, text(name), FALSE, TRUE)
    return made + pile(*state) + b"b" if state else made


def plain(order: str = "|", names: bytes = NONE, fields: bytes = NONE, size: int = -1, flags: int = 0) -> list[bytes]:
    return [number(3), text(order), NONE, names, fields, number(size), number(-1), number(flags)]


def field(of: str, offset: int) -> bytes:
    """The fields of a type with one, "a", at an offset in bytes."""
    return b"}(" + text("a") + pile(kind(of), number(offset)) + b"u"


# 8 raw bytes whose type says that they are an object, in three ways, or that there is more behind them
FORGED = kind("V8", *plain(flags=63, size=8))
FORGED_FIELD = kind("V8", *plain(names=pile(text("a")), fields=field("O8", 0), size=8, flags=0))
BEYOND = kind("V8", *plain(names=pile(text("a")), fields=field("i8", 2**30), size=8))
FLAGGED = kind("f8", number(3), text("<"), NONE, pile(text("a")), NONE, number(8), number(8), number(63))
OF_ONE_OBJECT = pile(kind("O8"), pile(number(1)))
PARTS = kind("V8", number(3), text("|"), OF_ONE_OBJECT, NONE, NONE, number(8), number(1), number(63))


def array(shape: bytes, of: bytes, content: bytes) -> bytes:
    empty = called(RECONSTRUCT, NDARRAY, pile(number(0)), raw(b"b"))
    return empty + pile(number(1), shape, of, FALSE, content) + b"b"


def shared(levels: int, close: bytes = b"t") -> bytes:
    """A pair of the pair of the pair of ...: small in memory, endless on paper."""
    made = b"K\x01"
    for level in range(levels):
        made += b"q" + bytes([level]) + b"0" + b"(" + b"h" + bytes([level]) + b"h" + bytes([level]) + close
    return made


ONE = pile(number(1))
HUGE = b"\x8a\x05" + (2**38).to_bytes(5, "little")
MEGABYTE = raw(bytes(2**20))

ATTACKS = {
    # raw bytes become pointers to objects
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
    "state of a list": b"]" + pile(number(1)) + b"b",
    "state of a dict": b"}" + b"}(" + text("__class__") + number(1) + b"ub",
    "content too short": array(pile(number(9)), kind("f8"), raw(POINTER)),
    "content too long": array(ONE, kind("f8"), raw(POINTER * 2)),
    "objects missing": array(pile(number(3)), kind("O8"), b"]"),
    "negative shape": array(pile(number(-1)), kind("f8"), raw(POINTER)),
    "shape that overflows": array(pile(*[HUGE] * 4), kind("f8"), raw(b"")),
    "33 axes": array(pile(*[number(1)] * 33), kind("f8"), raw(POINTER)),
    "shape of lists": array(pile(b"]"), kind("f8"), raw(POINTER)),
    # memory from nothing
    "bytearray of 4e9": called(named("builtins", "bytearray"), b"\x8a\x05\x00\x28\x6b\xee\x00"),
    "bytes of 4e9": called(named("builtins", "bytes"), b"\x8a\x05\x00\x28\x6b\xee\x00"),
    "array of 2^38 numbers": called(NDARRAY, pile(HUGE), kind("f8")),
    "text of 2^38": called(named("builtins", "str"), HUGE),
    "list of a list": called(named("builtins", "list"), b"]"),
    "memory at 2^32": b"]r\xff\xff\xff\xff" + b"j\xfe\xff\xff\xff",
    "one content, a thousand arrays": MEGABYTE + b"q\x000" + b"](" + b"".join(
        called(FROM_BUFFER, b"h\x00", kind("u1"), pile(number(2**20)), text("C")) for _ in range(1000)) + b"e",
    "one content, a thousand states": MEGABYTE + b"q\x000" + b"](" + b"".join(
        array(pile(number(2**20)), kind("u1"), b"h\x00") for _ in range(1000)) + b"e",
    "one content, a thousand bytearrays": MEGABYTE + b"q\x000" + b"](" + b"".join(
        called(named("builtins", "bytearray"), b"h\x00") for _ in range(1000)) + b"e",
    "millions of lists": b"(" + b"]" * 30_000_000 + b"t",
    "millions of sets": b"(" + b"\x8f" * 30_000_000 + b"t",
    "millions of marks": b"(" * 30_000_000,
    "frame of 2^62 bytes": b"\x95" + struct.pack("<Q", 2**62) + b"\x8e" + struct.pack("<Q", 2**62),
    "text of 2^31 that is not there": b"X" + struct.pack("<I", 2**31) + b"a",
    # time from nothing
    "pairs of pairs": shared(60),
    "pairs of pairs as a key": b"}" + b"(" + shared(60) + NONE + b"u",
    "lists of lists": shared(60, b"l"),
    "number of a million digits": b"L" + b"9" * 1_000_000 + b"L\n",
    "int of text": called(named("builtins", "int"), text("9" * 200)),
    "keys that clash": b"}(" + b"".join(b"\x8a\x0b" + ((2**61 - 1) * i).to_bytes(11, "little") + NONE
                                         for i in range(1, 50_000)) + b"u",
    # depth
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
}  # fmt: skip


@pytest.fixture(scope="module")
def outcome(tmp_path_factory) -> dict[str, list]:
    """What became of each attack: the error's class, its text, and by how many MiB memory has grown at its peak."""
    folder = tmp_path_factory.mktemp("hostile")
    for number_, (name, program) in enumerate(ATTACKS.items()):
        stop = b"" if name in ("no end", "nothing at all") else b"."
        (folder / f"{number_:03d}.pkl").write_bytes(b"\x80\x04" + program + stop)
    done = subprocess.run(
        [sys.executable, __file__, str(folder)], cwd=ROOT, capture_output=True, text=True, check=False, timeout=300
    )
    assert done.returncode == 0, (
        f"the reader died with {done.returncode} after {done.stdout[-300:]} {done.stderr[-300:]}"
    )
    return dict(zip(ATTACKS, map(json.loads, done.stdout.splitlines()), strict=True))


@pytest.mark.parametrize("name", ATTACKS)
def test_the_reader_refuses_in_one_line(outcome, name):
    kind_, said, peak = outcome[name]
    assert kind_ == "AnnotationError", said
    assert said.split(": ")[0].endswith(".pkl") and "\n" not in said and len(said) < 500
    assert peak < MEMORY


def test_big_endian_text_and_object_arrays_still_come_back(tmp_path):
    values = [np.array([1.5, 2], ">f8"), np.array(["a", "bcd"]), np.array([b"x", b"yz"]), np.float32(2), np.bool_(True),
              np.array([1, "x", None], object), np.zeros((0, 3)), np.asfortranarray(np.arange(6.0).reshape(2, 3)),
              np.array(3), np.str_("é"), np.array([1 + 2j])]  # fmt: skip
    for protocol in (3, 4, 5):
        (tmp_path / "a.pkl").write_bytes(pickle.dumps(values, protocol=protocol))
        plain_way = pickle.loads((tmp_path / "a.pkl").read_bytes())
        for mine, back in zip(plain_way, read_pickle(tmp_path / "a.pkl"), strict=True):
            assert type(mine) is type(back) and mine.dtype == back.dtype and np.array_equal(mine, back)


def test_a_folder_whose_name_holds_a_line_end_is_told_in_one_line(tmp_path):
    (tmp_path / "a\nb").mkdir()
    with pytest.raises(AnnotationError) as error:
        read_pickle(tmp_path / "a\nb" / "absent.pkl")
    assert "\n" not in str(error.value) and "absent.pkl" in str(error.value)


def test_what_old_protocols_write_comes_back(tmp_path):
    value = {"a": [1, 2.5, True, None, -7, 2**40], (1, "b"): ("x", ()), 3: {"y": [[]]}}
    for protocol in range(6):
        (tmp_path / "a.pkl").write_bytes(pickle.dumps(value, protocol=protocol))
        assert read_pickle(tmp_path / "a.pkl") == value


def peak() -> float:
    """The most memory that this process ever had, in MiB."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / (2**20 if sys.platform == "darwin" else 2**10)


if __name__ == "__main__":
    before = peak()
    if (sizes := Path("/proc/self/statm")).is_file():  # elsewhere the peak alone is compared
        limit = int(sizes.read_text().split()[0]) * resource.getpagesize() + 2 * MEMORY * 2**20
        resource.setrlimit(resource.RLIMIT_AS, (limit, limit))
    for file in sorted(Path(sys.argv[1]).iterdir()):
        try:
            found = ["read", type(read_pickle(file)).__name__]
        except BaseException as error:
            found = [type(error).__name__, str(error)]
        print(json.dumps([*found, peak() - before]), flush=True)
