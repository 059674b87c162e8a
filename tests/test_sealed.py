"""Sealed files of tensors: a file that differs from what was written under its name is never read silently."""

import errno
import json
import os
import resource

import pytest
import torch

from sapnet_core.runtime.disk import DiskFault
from sapnet_core.runtime.files import read_tensors, write_tensors
from sapnet_core.runtime.sealed import Damaged, Unsealed, read_sealed, write_sealed

META = {"keys": ["a", "b"], "skipped": {"c": "torn"}, "pair": (1, 2.5)}


@pytest.fixture
def file(tmp_path):
    tensors = {
        "x": torch.arange(6.0).reshape(2, 3),
        "n": torch.ones(2, dtype=torch.int8),
        "none": torch.empty(0, 3),
        "one": torch.tensor(3.5),
        "half": torch.ones(2, 2).bfloat16().T,
    }
    return write_sealed(tmp_path / "a.safetensors", tensors, META)


def test_what_was_written_comes_back(file):
    tensors, metadata = read_sealed(file)
    assert metadata == {**META, "pair": [1, 2.5]}
    assert tensors["n"].dtype == torch.int8 and tensors["none"].shape == (0, 3) and tensors["one"] == 3.5
    link = file.with_name("deep") / file.name
    link.parent.mkdir()
    link.symlink_to(file)
    assert torch.equal(read_sealed(link)[0]["x"], tensors["x"])  # a link of the same name, as to another disk


def test_every_bit_counts(file):
    whole = file.read_bytes()
    for at in range(0, 8 * len(whole), 53):
        content = bytearray(whole)
        content[at // 8] ^= 1 << at % 8
        file.write_bytes(content)
        with pytest.raises(Damaged, match="a.safetensors: "):
            read_sealed(file)


def rewritten(change):
    def damage(file):
        tensors, metadata = read_tensors(file)
        write_tensors(file, *change(tensors, metadata))

    return damage


def torn(file):
    file.write_bytes(file.read_bytes()[:-4])


def longer(file):
    file.write_bytes(file.read_bytes() + b"\0")


def huge(file):
    """A sparse file of 4 TiB, which must not be read."""
    file.write_bytes(b"")
    os.truncate(file, 1 << 42)


def huge_header(file):
    file.write_bytes((1 << 41).to_bytes(8, "little"))
    os.truncate(file, 1 << 42)


def deep(file):
    text = ('{"__metadata__": {"json": "' + "[" * 100_000 + '"}}').encode()
    file.write_bytes(len(text).to_bytes(8, "little") + text)


def of_another_name(file):
    write_sealed(file.with_name("b.safetensors"), {"x": torch.ones(2, 3)}, META).rename(file)


def a_folder(file):
    file.unlink()
    (file / "deep").mkdir(parents=True)


def a_link_that_leads_nowhere(file):
    file.unlink()
    file.symlink_to("nowhere")


def a_link_to_itself(file):
    file.unlink()
    file.symlink_to(file)


def a_pipe(file):
    file.unlink()
    os.mkfifo(file)


def a_device(file):
    file.unlink()
    file.symlink_to("/dev/zero")


DAMAGE = {
    "torn": torn,
    "longer": longer,
    "huge": huge,
    "huge header": huge_header,
    "deep": deep,
    "empty": lambda file: file.write_bytes(b""),
    "text": lambda file: file.write_bytes(b"no tensors" * 9),
    "not UTF-8": lambda file: file.write_bytes((8).to_bytes(8, "little") + b"\xff" * 8),
    "a header of another kind": lambda file: file.write_bytes((2).to_bytes(8, "little") + b"[]"),
    "NaN": lambda file: file.write_bytes((3).to_bytes(8, "little") + b"NaN"),
    "an entry of another kind": lambda file: file.write_bytes((9).to_bytes(8, "little") + b'{"x": [] }'[:9]),
    "a value changed": rewritten(lambda t, m: ({**t, "x": t["x"] + 1}, m)),
    "another type": rewritten(lambda t, m: ({**t, "n": t["n"].float()}, m)),
    "another shape": rewritten(lambda t, m: ({**t, "x": t["x"].T.contiguous()}, m)),
    "a tensor less": rewritten(lambda t, m: ({"x": t["x"]}, m)),
    "a tensor more": rewritten(lambda t, m: ({**t, "y": t["x"].clone()}, m)),
    "metadata edited": rewritten(lambda t, m: (t, {**m, "keys": ["a", "z"]})),
    "metadata of another kind": rewritten(lambda t, m: (t, [1])),
    "a seal of another kind": rewritten(lambda t, m: (t, {**m, "seal": 1})),
    "of another name": of_another_name,
    "a folder": a_folder,
    "a pipe": a_pipe,
    "a device": a_device,
    "a link that leads nowhere": a_link_that_leads_nowhere,
    "a link to itself": a_link_to_itself,
}


@pytest.mark.parametrize("name", DAMAGE)
def test_damage_is_named_in_one_line(file, name):
    DAMAGE[name](file)
    with pytest.raises(Damaged) as error:
        read_sealed(file)
    assert str(error.value).startswith(f"{file}: ") and "\n" not in str(error.value)
    assert not isinstance(error.value, Unsealed)


def test_what_has_no_seal_is_told_from_damage(tmp_path):
    file = write_tensors(tmp_path / "a.safetensors", {"x": torch.ones(3)}, {"digest": "0"})
    with pytest.raises(Unsealed, match="a.safetensors: "):
        read_sealed(file)


def test_what_is_not_there_and_what_cannot_be_read_is_no_damage(file, tmp_path):
    for path in (tmp_path / "b", tmp_path / "no" / "a", file / "a"):
        with pytest.raises(FileNotFoundError):
            read_sealed(path)
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    first = os.dup(0)
    os.close(first)
    resource.setrlimit(resource.RLIMIT_NOFILE, (first, hard))  # no further file can be opened
    try:
        with pytest.raises(DiskFault, match="a.safetensors: .*ulimit") as error:
            read_sealed(file)
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
    assert error.value.errno == errno.EMFILE and read_sealed(file)


def test_the_seal_does_not_hang_on_the_order_of_names(tmp_path):
    one = write_sealed(tmp_path / "x", {"a": torch.ones(1), "b": torch.zeros(1)}, {"m": 1, "k": 2}).read_bytes()
    two = write_sealed(tmp_path / "x", {"b": torch.zeros(1), "a": torch.ones(1)}, {"k": 2, "m": 1}).read_bytes()
    assert one == two and json.loads(one[8 : 8 + int.from_bytes(one[:8], "little")])
