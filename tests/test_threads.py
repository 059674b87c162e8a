"""Devices and numbers of threads, as command lines name them."""

import pytest
import torch

from sapnet_core.__main__ import main
from sapnet_core.runtime.devices import torch_threads, usable_device


def test_threads_are_lent_and_given_back():
    before = torch.get_num_threads()
    with torch_threads(before + 1):
        assert torch.get_num_threads() == before + 1
    with pytest.raises(KeyError), torch_threads(before + 2):
        raise KeyError
    assert torch.get_num_threads() == before
    for count in (0, -1, 1.5, "2", True):
        with pytest.raises(ValueError, match="threads"), torch_threads(count):
            pass


@pytest.mark.parametrize("command", ["trials", "benchmark"])
def test_a_device_that_is_not_here_is_named_before_any_work(command, capsys):
    assert usable_device("cpu") == "cpu" and main([command, "--device", "cuda:99"]) == 2
    said = capsys.readouterr().err
    assert "cuda:99" in said and said.count("\n") == 1


@pytest.mark.parametrize("command", ["trials", "benchmark"])
@pytest.mark.parametrize("device", ["gpu", "cuda:-1", "", "meta"])
def test_what_is_no_device_is_refused_as_it_is_typed(command, device, capsys):
    with pytest.raises(SystemExit):
        main([command, "--device", device])
    assert f"--device: {device!r}" in capsys.readouterr().err
