"""What PyTorch computes with, as a command line names it."""

import pytest
import torch

from sapnet_core.experiments import tables
from sapnet_core.recipes import benchmark
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


@pytest.mark.parametrize("main", [tables.main, benchmark.main])
@pytest.mark.parametrize("device", ["cuda:99", "gpu", "cuda:-1", ""])
def test_a_device_that_is_not_here_is_named_before_any_work(main, device, capsys):
    assert usable_device("cpu") == "cpu"
    with pytest.raises(SystemExit):
        main(["--device", device])
    said = capsys.readouterr().err
    assert f"argument --device: no device '{device}' here" in said and "Traceback" not in said
