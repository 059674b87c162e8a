"""Files of `torch.save` give the tensors that PyTorch reads; hostile ones are refused in one line that names them."""

import os
import pickle
import zipfile
from collections import OrderedDict
from pathlib import Path

import pytest
import torch
from hostile import called, named, number, pile, shared, text
from refusal import refused
from torch import nn

from sapnet_core.runtime.files import read_weights

OLD = {"_use_new_zipfile_serialization": False}  # the legacy format, which published weights of 2017 have


def states() -> dict[str, torch.Tensor]:
    base = torch.arange(24.0)
    names = ("float64", "float16", "bfloat16", "int64", "int32", "int16", "int8", "uint8", "bool")
    kinds = {name: torch.ones(2, 3).to(getattr(torch, name)) for name in names}
    return {
        "plain": base,
        "part": base[4:10],
        "turned": base.view(4, 6).T,
        "single": torch.tensor(2.5),
        "none": torch.zeros(0, 3),
        "last": torch.ones(2, 3, 4, 5).contiguous(memory_format=torch.channels_last),
        "parameter": nn.Parameter(torch.ones(3)),
        **kinds,
    }


@pytest.mark.parametrize("options", [{}, OLD], ids=["zip", "2017"])
def test_tensors_come_back_as_pytorch_reads_them(tmp_path, options):
    file = tmp_path / "a.pt"
    for content in (states(), {"state_dict": OrderedDict(states()), "epoch": 3, "loss": [0.5, None]}):
        torch.save(content, file, **options)
        found, _ = read_weights(file)
        expected = torch.load(file, weights_only=True)
        expected = expected.get("state_dict", expected)
        assert found.keys() == expected.keys()
        for name, tensor in expected.items():
            mine = found[name]
            assert mine.dtype == tensor.dtype and torch.equal(mine, tensor) and mine.stride() == tensor.stride(), name


@pytest.mark.parametrize("options", [{}, OLD], ids=["zip", "2017"])
def test_the_state_of_a_network_comes_back(tmp_path, options):
    net = nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4))
    torch.save(net.state_dict(), tmp_path / "a.pt", **options)
    again = nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4))
    again.load_state_dict(read_weights(tmp_path / "a.pt")[0])
    assert all(torch.equal(a, b) for a, b in zip(net.state_dict().values(), again.state_dict().values(), strict=True))


def archive(file: Path, program: bytes, numbers: dict[str, bytes], how: int = zipfile.ZIP_STORED) -> Path:
    """Write a file as `torch.save` does: a zip archive of a pickle `program` and storages, name -> bytes."""
    with zipfile.ZipFile(file, "w", how) as out:
        out.writestr("a/data.pkl", program)
        out.writestr("a/byteorder", b"little")
        for name, content in numbers.items():
            out.writestr(f"a/data/{name}", content)
    return file


def storage(count: int, name: str = "0", kind: str = "FloatStorage") -> bytes:
    """Instructions for a storage of `count` elements, read from the archive's member of this name."""
    size = b"\x8a\x08" + count.to_bytes(8, "little", signed=True)
    return pile(text("storage"), named("torch", kind), text(name), text("cpu"), size) + b"Q"


def tensor(stored: bytes, shape: bytes, strides: bytes, offset: int = 0) -> bytes:
    """Instructions for a tensor that views a storage from an offset in elements."""
    return called(named("torch._utils", "_rebuild_tensor_v2"), stored, number(offset), shape, strides, b"\x89", b"N")


def state(*values: bytes) -> bytes:
    """A pickle of a state dict with the entries w0, w1, and so on."""
    return b"\x80\x02}(" + b"".join(text(f"w{i}") + value for i, value in enumerate(values)) + b"u."


FOUR, ONE = pile(number(4)), pile(number(1))
ATTACKS = {
    "more numbers than are stored": state(tensor(storage(4), pile(number(10**9)), ONE)),
    "one number a billion times": state(tensor(storage(4), pile(number(10**9)), pile(number(0)))),
    "beyond the end": state(tensor(storage(4), FOUR, ONE, offset=1)),
    "before the start": state(tensor(storage(4), FOUR, ONE, offset=-1)),
    "negative stride": state(tensor(storage(4), FOUR, pile(number(-1)))),
    "storage of 2^60": state(tensor(storage(2**60), FOUR, ONE)),
    "storage of -1": state(tensor(storage(-1), FOUR, ONE)),
    "storage of two sizes": state(tensor(storage(4), FOUR, ONE), tensor(storage(3), FOUR, ONE)),
    "storage that is not there": state(tensor(storage(4, "7"), FOUR, ONE)),
    "storage of another size": state(tensor(storage(2), pile(number(2)), ONE)),
    "storage elsewhere": state(tensor(storage(4, "../../x"), FOUR, ONE)),
    "shape of text": state(tensor(storage(4), text("abc"), ONE)),
    "bytearray of 4e9": state(called(named("builtins", "bytearray"), b"\x8a\x05\x00\x28\x6b\xee\x00")),
    "persistent id of text": state(text("x") + b"Q"),
    "quantized": state(called(named("torch._utils", "_rebuild_qtensor"), storage(4))),
    "sparse": state(called(named("torch._utils", "_rebuild_sparse_tensor"), storage(4))),
    "device memory": state(called(named("torch._utils", "_rebuild_device_tensor_from_numpy"), storage(4))),
    "system": state(called(named("os", "system"), text("true"))),
    "pairs of pairs as a key": b"\x80\x02}(" + shared(60) + b"Nu.",
    "no dict": b"\x80\x02" + tensor(storage(4), FOUR, ONE) + b".",
    "no program": b"",
}


@pytest.mark.parametrize("name", ATTACKS)
def test_hostile_archives_are_refused(tmp_path, name):
    refused(read_weights, archive(tmp_path / "a.pt", ATTACKS[name], {"0": bytes(16)}))


def test_an_archive_is_not_unpacked(tmp_path, monkeypatch):
    """100 MB of zeros, compressed to 100 kB or less."""
    program = state(tensor(storage(25_000_000), pile(number(25_000_000)), ONE))
    files = [
        archive(tmp_path / f"{how}.pt", program, {"0": bytes(100_000_000)}, how)
        for how in (zipfile.ZIP_DEFLATED, zipfile.ZIP_BZIP2)
    ]
    monkeypatch.setattr(zipfile.ZipFile, "open", lambda *_: pytest.fail("unpacked"))
    for file in files:
        refused(read_weights, file, "compressed")


def test_many_views_of_one_storage_are_refused(tmp_path):
    """Each view is small, but copies of all of them, as in a network, would take thousands of times the file's size."""
    many = state(*[tensor(storage(10_000), pile(number(10_000)), ONE)] * 2000)
    refused(read_weights, archive(tmp_path / "a.pt", many, {"0": bytes(40_000)}))


def test_two_programs_or_none_are_refused(tmp_path):
    for names in (["a/data.pkl", "b/data.pkl"], ["a/other"], []):
        with zipfile.ZipFile(tmp_path / "a.pt", "w") as out:
            for name in names:
                out.writestr(name, state(tensor(storage(4), FOUR, ONE)))
        refused(read_weights, tmp_path / "a.pt")


@pytest.mark.parametrize("end", [0, 10, 200, -20, -1])
def test_files_of_2017_cut_short_are_refused(tmp_path, end):
    torch.save(states(), tmp_path / "a.pt", **OLD)
    (tmp_path / "a.pt").write_bytes((tmp_path / "a.pt").read_bytes()[:end])
    refused(read_weights, tmp_path / "a.pt")


def test_files_of_2017_are_believed_in_nothing(tmp_path):
    magic = pickle.dumps(0x1950A86A20F9469CFC6C, 2)
    system = pickle.dumps({"protocol_version": 1001, "little_endian": True, "type_sizes": {}}, 2)
    good = [magic, pickle.dumps(1001, 2), system, state(tensor(storage(4), FOUR, ONE)), pickle.dumps(["0"], 2)]
    numbers = (4).to_bytes(8, "little") + bytes(16)
    file = tmp_path / "a.pt"
    file.write_bytes(b"".join(good) + numbers)
    assert read_weights(file)[0]["w0"].tolist() == [0.0] * 4
    wrong = {
        0: pickle.dumps(5, 2),
        1: pickle.dumps(9, 2),
        2: pickle.dumps({"little_endian": False}, 2),
        4: pickle.dumps(["1"], 2),
    }
    for place, part in wrong.items():
        file.write_bytes(b"".join([*good[:place], part, *good[place + 1 :]]) + numbers)
        refused(read_weights, file)
    for count in (-1, 3, 5, 2**62):
        file.write_bytes(b"".join(good) + count.to_bytes(8, "little", signed=True) + bytes(16))
        refused(read_weights, file)


def test_what_is_no_regular_file_is_refused(tmp_path):
    os.mkfifo(tmp_path / "pipe.pt")
    (tmp_path / "folder.pt").mkdir()
    for name in ("pipe.pt", "folder.pt"):
        refused(read_weights, tmp_path / name, "not a regular file")
    for name in ("a.safetensors", "a.pt"):
        for content in (
            b"",
            b"x",
            b"\xff" * 8,
            (2**40).to_bytes(8, "little") + b"{}",
            (60).to_bytes(8, "little") + b'{"x":{"dtype":"F32","shape":[9],"data_offsets":[0,36]}}     ',
        ):
            (tmp_path / name).write_bytes(content)
            refused(read_weights, tmp_path / name)
