"""Atomic writes: files are complete or absent, and are read back as they were written."""

import os
from concurrent.futures import ThreadPoolExecutor

import pytest
import torch

from sapnet_core.runtime import files


def test_json_and_text_come_back(tmp_path):
    value = {"b": [1, 2.5, None], "a": {"x": "ü"}}
    path = files.write_json(tmp_path / "deep" / "er" / "v.json", value)
    assert files.read_json(path) == value
    again = files.write_json(tmp_path / "w.json", dict(reversed(value.items())))
    assert path.read_bytes() == again.read_bytes()  # insertion order does not matter
    assert files.write_text(tmp_path / "t", "ü\n").read_bytes() == "ü\n".encode()


def test_tensors_and_metadata_come_back(tmp_path):
    whole = torch.arange(12.0).reshape(3, 4)
    tensors = {"view": whole.T, "int8": torch.ones(2, 2, dtype=torch.int8), "grad": torch.ones(2, requires_grad=True)}
    path = files.write_tensors(tmp_path / "a.safetensors", tensors, {"n": 3, "list": [1.5, "x"], "none": None})
    back, metadata = files.read_tensors(path)
    assert metadata == {"n": 3, "list": [1.5, "x"], "none": None}
    assert back.keys() == tensors.keys()
    for name, tensor in tensors.items():
        assert back[name].dtype == tensor.dtype and torch.equal(back[name], tensor.detach())


def test_torn_files_are_named(tmp_path):
    path = files.write_tensors(tmp_path / "a.safetensors", {"x": torch.ones(100)})
    for content in (path.read_bytes()[:-8], b"", b"garbage"):
        path.write_bytes(content)
        with pytest.raises(ValueError, match="a.safetensors: .*delete"):
            files.read_tensors(path)
    for text in ('{"a": 1', "[" * 100_000):
        (tmp_path / "j.json").write_text(text)
        with pytest.raises(ValueError, match="j.json: .*delete"):
            files.read_json(tmp_path / "j.json")


def test_a_failed_write_leaves_the_old_file_and_nothing_else(tmp_path, monkeypatch):
    path = files.write_text(tmp_path / "a.txt", "old")

    def full(_):
        raise OSError("disk full")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(OSError, match="disk full"):
        files.write_text(path, "new")
    assert path.read_text() == "old" and [p.name for p in tmp_path.iterdir()] == ["a.txt"]


def test_many_writers_at_once_leave_one_whole_file(tmp_path):
    path, contents = tmp_path / "a.bin", [bytes([i]) * 200_000 for i in range(16)]
    with ThreadPoolExecutor(8) as pool:
        list(pool.map(lambda content: files.write_bytes(path, content), contents))
    assert path.read_bytes() in contents and [p.name for p in tmp_path.iterdir()] == ["a.bin"]
