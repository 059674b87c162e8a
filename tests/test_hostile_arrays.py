"""Hostile arrays, tables and weights: each is refused in one line, within the limits of time and memory."""

import io
import json
import os
import socket
import struct
import zipfile
from pathlib import Path

import numpy as np
import pytest
import torch
from hostile import called, is_refusal, named, number, outcomes, outcomes_of, pile, text
from refusal import refused
from safetensors.torch import save_file
from test_torch_files import ONE, archive, state, storage, tensor

from sapnet_core.datasets import array_files, sequence_files
from sapnet_core.datasets.sequence_files import read_sequence
from sapnet_core.features.windows import moments
from sapnet_core.runtime import archives
from sapnet_core.runtime.files import read_weights

READABLE = np.arange(24, dtype=np.float32).reshape(6, 4)


def npy(header: str, content: bytes = bytes(96), version: tuple[int, int] = (1, 0), length: int | None = None) -> bytes:
    size = struct.pack("<H" if version == (1, 0) else "<I", len(header) if length is None else length)
    return b"\x93NUMPY" + bytes(version) + size + header.encode() + content


def header(shape: str = "(6, 4)", kind: str = "'<f4'", order: str = "False") -> str:
    return f"{{'descr': {kind}, 'fortran_order': {order}, 'shape': {shape}, }}\n"


def saved(array: np.ndarray = READABLE) -> bytes:
    stream = io.BytesIO()
    np.save(stream, array)
    return stream.getvalue()


ARRAYS = {
    "a shape of 400 digits": npy(header(f"({10**400}, 4)")),
    "a shape of 4000 digits": npy(header(f"({10**4000}, 4)")),
    "a thousand axes": npy(header(f"({'1, ' * 1000})")),
    "a shape that is none": npy(header("(6, -4)")),
    "a shape of floats": npy(header("(6.0, 4)")),
    "a shape that is a text": npy(header("'64'")),
    "two to the power of 62 steps": npy(header(f"({2**62}, 2)")),
    "two to the power of 63 features": npy(header(f"(2, {2**63})")),
    "five thousand brackets": npy("(" * 5000),
    "five thousand signs": npy("{'descr': " + "-" * 5000 + "1}"),
    "a header of ten million": npy(header() + " " * 10_000_000, version=(2, 0)),
    "a header of four billion": npy(header(), version=(2, 0), length=2**32 - 1),
    "an expression": npy("{'descr': '<f4', 'fortran_order': False, 'shape': (6, __import__('os').getpid())}"),
    "numbers that are repeated": npy(header("(10**9,) * 2")),
    "a version to come": npy(header(), version=(3, 0)),
    "a version of nine": npy(header(), version=(9, 9)),
    "objects": npy(header(kind="'|O'")),
    "fields": npy(header(kind="[('a', '<f4'), ('b', '|O')]")),
    "fields in fields": npy(header(kind="[('a', " * 90 + "'<f4'" + ")]" * 90)),
    "an array of arrays": npy(header(kind="('<f4', (1000000000,))")),
    "a type of three numbers": npy(header(kind="'<f4,<f4,<f4'")),
    "dates": npy(header(kind="'<M8[s]'")),
    "text": npy(header(kind="'<U1000000'")),
    "no type": npy(header(kind="''")),
    "a type that is a number": npy(header(kind="7")),
    "an order that is none": npy(header(order="2")),
    "more keys": npy(header()[:-2] + "'x': 1}"),
    "nothing behind the header": npy(header(), b""),
    "one byte too few": npy(header(), bytes(95)),
    "one byte too many": npy(header(), bytes(97)),
    "not finite": npy(header(), b"\xff" * 96),
    "numbers of 16 bytes that are none": npy(header("(6, 1)", "'<f16'"), b"\xff" * 96),
}


def packed(content: bytes = saved(), name: str = "features.npy", how: int = zipfile.ZIP_DEFLATED) -> bytes:
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w", how) as out:
        out.writestr(name, content)
    return stream.getvalue()


def changed(content: bytes, sign: bytes, at: int, new: bytes) -> bytes:
    """A zip archive with the bytes `new` at offset `at` from the last occurrence of the signature `sign`."""
    place = content.rindex(sign) + at
    return content[:place] + new + content[place + len(new) :]


def overlapping() -> bytes:
    """A zip archive whose directory lists the same entry twice."""
    one = packed()
    start, end = one.rindex(b"PK\1\2"), one.rindex(b"PK\5\6")
    entry = one[start:end]
    tail = struct.pack("<4s4H2IH", b"PK\5\6", 0, 0, 2, 2, 2 * len(entry), start, 0)
    return one[:start] + entry * 2 + tail


def long_list(entries: int) -> bytes:
    """A zip directory of entries that do not exist."""
    one = struct.pack("<4s6H3I5H2I", b"PK\1\2", 20, 20, 0, 0, 0, 0, 0, 0, 0, 1, 0, 0, 0, 0, 0, 0) + b"a"
    end = struct.pack("<4s4H2IH", b"PK\5\6", 0, 0, 65535, 65535, len(one) * entries, 0, 0)
    return one * entries + end


DAMAGED = bytearray(packed(how=zipfile.ZIP_LZMA))
DAMAGED[60:80] = b"\xff" * 20
LIST, LOCAL = b"PK\1\2", b"PK\3\4"
ARCHIVES = {
    "nothing": b"",
    "an end alone": b"PK\5\6" + bytes(18),
    "an empty archive": packed()[:0] + b"PK\5\6" + bytes(18),
    "a torn one": packed()[:-10],
    "packed as numpy does not (lzma)": packed(how=zipfile.ZIP_LZMA),
    "packed as numpy does not (bzip2)": packed(how=zipfile.ZIP_BZIP2),
    "damaged lzma": bytes(DAMAGED),
    "packed in an unknown way": changed(changed(packed(), LIST, 10, b"\x09\0"), LOCAL, 8, b"\x09\0"),
    "encrypted": changed(changed(packed(), LIST, 8, b"\1\0"), LOCAL, 6, b"\1\0"),
    "another name at its place": changed(packed(), LOCAL, 30, b"g"),
    "a name that is no text": changed(changed(packed(), LIST, 46, b"\xff"), LIST, 8, b"\0\x08"),
    "a name that is no text at its place": changed(changed(packed(), LOCAL, 30, b"\xff"), LOCAL, 6, b"\0\x08"),
    "begins behind its end": changed(packed(), LIST, 42, struct.pack("<I", len(packed()) - 5)),
    "begins far behind its end": changed(packed(), LIST, 42, struct.pack("<I", 2**31)),
    "says it is smaller": changed(packed(), LIST, 24, struct.pack("<I", 10)),
    "says it has four billion": changed(packed(), LIST, 20, struct.pack("<2I", 2**32 - 1, 2**32 - 1)),
    "another sum": changed(packed(), LIST, 16, b"abcd"),
    "needs a version to come": changed(packed(), LIST, 6, b"\xff\0"),
    "a list longer than the file": changed(packed(), b"PK\5\6", 12, struct.pack("<I", 2**31)),
    "twice the same": overlapping(),
    "a long list": long_list(600_000),
    "a folder": packed(b"", "features.npy/"),
    "an archive in it": packed(packed(), "features.npz"),
    "a text in it": packed(b"1,2,3\n"),
    "objects in it": packed(npy(header(kind="'|O'"))),
    "zeros": packed(npy(header("(40000000, 4)", "'|i1'"), bytes(160_000_000))),
    "zeros that are not claimed": changed(
        packed(npy(header("(40000000, 4)", "'|i1'"), bytes(160_000_000))), LIST, 24, struct.pack("<I", 200)
    ),
}

ROW = b"0.25,0.5,0.75,1.5\n"
TABLES = {
    "one line of 90 MB": b"10," * 30_000_000 + b"1",
    "one line of 12 MB": b"10," * 4_000_000 + b"1",
    "line ends in marks": b'"1\n",' * 5_000_000,
    "a mark without its end": b'"' + ROW * 1_000_000,
    "a cell of 100,000 digits and a letter": b"1" * 100_000 + b"x,1\n" + ROW,
    "a cell of 100,000 points and a letter": b"0x" + b"." * 100_000 + b"!z,1\n" + ROW,
    "a cell of 100,000 lines below": b"_" * 100_000 + b",1\n" + ROW,
    "a name of 100,000 wide signs": "\ufdfa".encode() * 30_000 + b",x\n" + ROW,
    "a cell of 10 MB": b"1" * 10_000_000 + b",2\n",
    "an exponent of 100,000 digits": b"1e" + b"9" * 100_000 + b",1\n",
    "a number of 100,000 digits": b"9" * 100_000 + b",1\n",
    "a million empty lines": b"\n" * 1_000_000 + ROW,
    "many lines and one short": ROW * 30_000 + b"1,2\n",
    "zeros": bytes(1_000_000),
    "an archive": packed(),
    "bytes": bytes(range(128, 256)) * 1000,
    "UTF-32": ROW.decode().encode("utf-32"),
    "a million commas": b"," * 1_000_000,
    "a million marks": b'"' * 1_000_000,
}


@pytest.fixture(scope="module")
def found(tmp_path_factory) -> dict[str, tuple[Path, dict]]:
    folder, files = tmp_path_factory.mktemp("hostile"), {}
    for kind, group in ((".npy", ARRAYS), (".npz", ARCHIVES), (".csv", TABLES)):
        for place, (name, content) in enumerate(group.items()):
            files[kind, name] = folder / f"{place:03d}{kind}"
            files[kind, name].write_bytes(content)
    became = outcomes("sequence", files.values())
    return {name: (file, what) for (name, file), what in zip(files.items(), became, strict=True)}


@pytest.mark.parametrize(
    "kind, name",
    [(kind, name) for kind, group in ((".npy", ARRAYS), (".npz", ARCHIVES), (".csv", TABLES)) for name in group],
)
def test_a_sequence_is_refused_in_one_line(found, kind, name):
    file, what = found[kind, name]
    is_refusal(what, file, ("AnnotationError",))


@pytest.mark.parametrize("kind", [".npy", ".npz", ".csv", ".pt", ".safetensors"])
def test_what_is_no_regular_file_is_refused(tmp_path, kind):
    read = read_sequence if kind in sequence_files.SEQUENCES else read_weights
    os.mkfifo(tmp_path / f"pipe{kind}")
    (tmp_path / f"folder{kind}").mkdir()
    (tmp_path / f"zero{kind}").symlink_to("/dev/zero")
    (tmp_path / f"gone{kind}").symlink_to("nowhere")
    (tmp_path / f"round{kind}").symlink_to(f"round{kind}")
    with socket.socket(socket.AF_UNIX) as end:
        before = os.getcwd()
        os.chdir(tmp_path)  # the path of a socket must be short
        try:
            end.bind(f"end{kind}")
        finally:
            os.chdir(before)
        for name in ("pipe", "folder", "zero", "end"):
            refused(read, tmp_path / f"{name}{kind}")
    for name in ("gone", "round"):
        with pytest.raises((ValueError, OSError)):
            read(tmp_path / f"{name}{kind}")


def test_reading_takes_what_is_counted(tmp_path):
    counted = {}
    for kind, order, shape in (
        ("|i1", "C", (400_000, 40)),
        ("<f8", "F", (200_000, 10, 3)),
        ("<f2", "F", (300_000, 20)),
        (">i4", "C", (200_000, 20, 2)),
    ):
        values = np.asarray(np.arange(np.prod(shape)).reshape(shape) % 100, kind, order=order)
        turned = values.itemsize if order == "F" and len(shape) == 3 else 0
        for file in (tmp_path / f"{len(counted)}.npy", tmp_path / f"{len(counted)}.npz"):
            np.save(file, values) if file.suffix == ".npy" else np.savez(file, values)
            counted[file] = values.size * (values.itemsize + turned + 5) / 2**20
            assert torch.equal(read_sequence(file), torch.tensor(values.astype(np.float32).reshape(shape[0], -1)))
    for (file, most), what in zip(counted.items(), outcomes("sequence", counted), strict=True):
        assert what["said"] == "Tensor" and what["peak"] < most + 24, (file, most, what)


def test_an_array_is_counted_as_what_it_becomes(tmp_path, monkeypatch):
    """Reading a small file of int8 values takes six bytes for each value."""
    np.savez_compressed(tmp_path / "a.npz", np.random.default_rng(0).integers(0, 2, (1000, 4)).astype(np.int8))
    monkeypatch.setattr(array_files, "LIMIT", 5 * 4000)
    refused(read_sequence, tmp_path / "a.npz", "would take")
    monkeypatch.setattr(array_files, "LIMIT", 6 * 4000)
    assert read_sequence(tmp_path / "a.npz").shape == (1000, 4)


def test_a_long_sequence_takes_no_long_matrix():
    """Each resampled step is the weighted mean of the two time steps around it, even out of a million."""
    x = torch.linspace(0, 1, 1_000_001).unsqueeze(1)
    assert torch.allclose(moments(x, 24).squeeze(1), (torch.arange(24) + 0.5) / 24, atol=1e-5)
    few = torch.rand(5, 3)
    assert torch.allclose(moments(few, 5), few)
    assert torch.equal(moments(few[:1], 4), few[:1].expand(4, -1))


def test_what_a_list_says_of_sizes_is_not_needed(tmp_path):
    path = tmp_path / "a.npz"
    path.write_bytes(changed(packed(), LIST, 24, struct.pack("<I", 10_000)))
    assert torch.equal(read_sequence(path), torch.from_numpy(READABLE))
    path.write_bytes(changed(packed(), LIST, 20, struct.pack("<I", 2**31)))
    try:
        assert torch.equal(read_sequence(path), torch.from_numpy(READABLE))
    except ValueError as error:  # some versions of Python's zipfile refuse an entry that reaches into the next one
        assert str(error).startswith(f"{path}: ") and "\n" not in str(error)


def test_a_list_of_entries_is_bounded(tmp_path, monkeypatch):
    (tmp_path / "a.npz").write_bytes(packed())
    assert torch.equal(read_sequence(tmp_path / "a.npz"), torch.from_numpy(READABLE))
    monkeypatch.setattr(archives, "LIST", 20)
    refused(read_sequence, tmp_path / "a.npz", "too many entries")
    torch.save({"a": torch.ones(3)}, tmp_path / "a.pt")
    refused(read_weights, tmp_path / "a.pt")


# ---- weights

FOUR = pile(number(4))
MANY = 150_000
VIEW = tensor(storage(1_000_000, kind="ByteStorage"), pile(number(1_000_000)), ONE)


def many(entry: bytes, count: int = MANY) -> bytes:
    """A state dict whose entries are all the same object."""
    names = b"".join(text(f"w{place}") + b"h\x00" for place in range(count))
    return b"\x80\x02" + entry + b"q\x000}(" + names + b"u."


def safetensors_file(said: dict | bytes, content: bytes = b"") -> bytes:
    """A safetensors file with the header `said`."""
    said = said if isinstance(said, bytes) else json.dumps(said).encode()
    return struct.pack("<Q", len(said)) + said + content


def entry(shape: list, start: int, end: int, kind: str = "F32") -> dict:
    """A tensor's entry in the header of a safetensors file."""
    return {"dtype": kind, "shape": shape, "data_offsets": [start, end]}


DEEP = b"K\x01" + b"\x85" * 300_000
PROGRAMS = {
    "a dict of deep keys": state(called(named("collections", "OrderedDict"), b"](" + b"](" + DEEP + b"Nee")),
    "a storage of a deep kind": state(pile(text("storage"), DEEP, text("0"), text("cpu"), number(4)) + b"Q"),
    "a storage of a deep name": state(
        pile(text("storage"), named("torch", "FloatStorage"), DEEP, text("cpu"), number(4)) + b"Q"
    ),
    "shapes of a million": b"\x80\x02]("
    + b"N" * 500_000
    + b"eq\x000]("
    + b"".join([called(named("torch", "Size"), b"h\x00")] * 20_000)
    + b"e.",
    "dicts of a million": b"\x80\x02]("
    + b"](K\x01Ne" * 100_000
    + b"eq\x000]("
    + b"".join([called(named("collections", "OrderedDict"), b"h\x00")] * 20_000)
    + b"e.",
    "a million axes": state(
        tensor(storage(4), pile(b"\x8a\x05\xff\xff\xff\xff\x40" * 300_000), pile(b"K\x00" * 300_000))
    ),
    "one tensor under many names": many(VIEW),
    "one pile of arguments, many calls": b"\x80\x02"
    + pile(VIEW, b"N" * 200_000)
    + b"q\x00]("
    + (named("torch._utils", "_rebuild_parameter") + b"h\x00R") * 20_000
    + b"e.",
    "a name of a megabyte": b"\x80\x02}(X" + struct.pack("<I", 10**6) + b"a" * 10**6 + b"K\x01u.",
    "a long name": b"\x80\x02}(X" + struct.pack("<I", 10**6) + b"a" * 10**6 + tensor(storage(1, "1"), ONE, ONE) + b"u.",
}
OTHERS = {
    "a list of 60 MB": safetensors_file(b'{"__metadata__":{"json":"[' + b"[]," * 20_000_000 + b'[]]"}}'),
    "a deep list": safetensors_file({"__metadata__": {"json": "[" * 100_000}}),
    "entries that overlap": safetensors_file({"a": entry([2], 0, 8), "b": entry([2], 4, 12)}, bytes(12)),
    "more than there is": safetensors_file({"a": entry([2**40], 0, 2**42)}, bytes(12)),
    "a product that overflows": safetensors_file({"a": entry([2**33, 2**33], 0, 0)}),
    "less than it says": safetensors_file({"a": entry([3], 0, 8)}, bytes(8)),
    "a hole": safetensors_file({"a": entry([2], 4, 12)}, bytes(12)),
    "more behind": safetensors_file({"a": entry([2], 0, 8)}, bytes(12)),
    "an unknown kind": safetensors_file({"a": entry([2], 0, 8, "F99")}, bytes(8)),
    "not finite": safetensors_file({"a": entry([1], 0, 4)}, b"\0\0\x80\x7f"),
    "beyond float32": safetensors_file({"a": entry([1], 0, 8, "F64")}, struct.pack("<d", 1e39)),
    "numbers of eight bits": safetensors_file({"a": entry([4], 0, 4, "F8_E4M3")}, bytes(4)),
    "the same name twice": safetensors_file(
        b'{"a":' + json.dumps(entry([1], 0, 4)).encode() + b',"a":' + json.dumps(entry([2], 0, 4)).encode() + b"}",
        bytes(4),
    ),
    "a deep header": safetensors_file(b'{"a":' + b"[" * 100_000),
    "a header of 2^63": struct.pack("<Q", 2**63) + b"{}",
}


@pytest.fixture(scope="module")
def weights(tmp_path_factory) -> dict[str, tuple[Path, dict]]:
    folder, files = tmp_path_factory.mktemp("weights"), {}
    for place, (name, program) in enumerate(PROGRAMS.items()):
        numbers = {"0": bytes(1_000_000 if VIEW in program else 16), "1": b"\0\0\x80\x7f"}
        files[name] = archive(folder / f"{place}.pt", program, numbers)
    for place, (name, content) in enumerate(OTHERS.items()):
        files[name] = folder / f"{place}.safetensors"
        files[name].write_bytes(content)
    files["a long list"] = folder / "list.pt"
    files["a long list"].write_bytes(long_list(600_000))
    files["an entry before its start"] = folder / "before.pt"
    whole = archive(folder / "whole.pt", state(VIEW), {"0": bytes(1_000_000)}).read_bytes()
    size = struct.unpack_from("<I", whole, whole.rindex(b"PK\5\6") + 12)[0]
    files["an entry before its start"].write_bytes(changed(whole, b"PK\5\6", 12, struct.pack("<2I", size, 2**30)))
    became = outcomes("weights", files.values())
    return {name: (file, what) for (name, file), what in zip(files.items(), became, strict=True)}


@pytest.mark.parametrize("name", [*PROGRAMS, *OTHERS, "a long list", "an entry before its start"])
def test_weights_are_refused_in_one_line(weights, name):
    file, what = weights[name]
    is_refusal(what, file, ("ValueError",))


# Sizes of a network as a file claims them: each would take gigabytes, or is impossible.
LOADERS = {
    "i3d": {
        "three million classes": {"logits.conv3d.bias": entry([3_000_000], 0, 3_000_000, "I8")},
        "classes without numbers": {"logits.conv3d.weight": entry([2**40, 0, 1, 1, 1], 0, 0)},
        "classes of a single number": {"logits.conv3d.bias": entry([], 0, 4)},
    },
    "c3d": {
        "a wide first layer": {"conv1.weight": entry([40_000, 3, 3, 3, 3], 0, 81 * 40_000, "I8")},
        "a first layer without numbers": {"conv1.weight": entry([2**30, 0], 0, 0)},
        "a first layer without channels": {"conv1.weight": entry([0, 3, 3, 3, 3], 0, 0)},
        "a first layer of a single number": {"conv1.weight": entry([], 0, 4)},
    },
    "swin": {
        "a wide first layer": {
            "patch_embed.proj.bias": entry([60_000], 0, 60_000, "I8"),
            "__metadata__": {"json": '{"recipe": 1, "width": 0.25}'},
        },
        "a wide network": {"__metadata__": {"json": '{"recipe": {}, "width": 1e9}'}},
        "a width that is none": {"__metadata__": {"json": '{"recipe": {}, "width": "wide"}'}},
        "no width": {"__metadata__": {"json": '{"recipe": {}}'}},
        "metadata that are a number": {"__metadata__": {"json": "5"}},
        "metadata that are a list": {"__metadata__": {"json": '["recipe"]'}},
        "a first layer of a single number": {"patch_embed.proj.bias": entry([], 0, 4)},
    },
}


def test_no_network_is_made_as_large_as_a_file_claims(tmp_path):
    asked = []
    for loader, claims in LOADERS.items():
        for place, said in enumerate(claims.values()):
            size = max((e["data_offsets"][1] for e in said.values() if "dtype" in e), default=0)
            asked.append((loader, tmp_path / f"{loader}-{place}.safetensors"))
            asked[-1][1].write_bytes(safetensors_file(said, bytes(size)))
    for (_, file), what in zip(asked, outcomes_of(asked), strict=True):
        is_refusal(what, file, ("ValueError",))


def test_reading_weights_takes_at_most_four_times_the_file(tmp_path):
    files = []
    for dtype in (torch.uint8, torch.float16, torch.float32):
        tensors = {"a": torch.ones(40_000_000 // dtype.itemsize, dtype=dtype)}
        some = [tmp_path / f"{dtype}{name}" for name in (".pt", ".2017.pt", ".safetensors")]
        torch.save(tensors, some[0])
        torch.save(tensors, some[1], _use_new_zipfile_serialization=False)
        save_file(tensors, some[2])
        files += some
    for file, what in zip(files, outcomes("weights", files), strict=True):
        assert what["said"] == "tuple" and what["peak"] * 2**20 < 4 * file.stat().st_size, (file, what)
