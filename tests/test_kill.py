"""A run that is killed at any moment resumes to the same bits, and no partial file is ever read."""

import errno
import json
import os
import random
import shutil
import signal
import subprocess
import sys
import time
from dataclasses import replace

import pytest
import torch
from interruption import Killed, Mortal
from wording import in_order

from sapnet_core.experiments import results
from sapnet_core.experiments.fit import fit_trial, training_task
from sapnet_core.experiments.run import run_trial, run_trials
from sapnet_core.experiments.trial import Trial
from sapnet_core.experiments.trial_data import trial_data
from sapnet_core.methods import get_method, get_stack
from sapnet_core.runtime import environment
from sapnet_core.runtime.disk import REMEDIES
from sapnet_core.training import checkpoint
from sapnet_core.training.checkpoint import Checkpoint
from sapnet_core.training.state import TrainingState

SMALL = Trial("finediving", "drawn", "sap-net", 0.5, 0, "score", 24, 12, steps=25, size=64)
SWEEP = [
    replace(SMALL, method="mlp"),
    SMALL,
    replace(SMALL, seed=1, overrides=(("dropout", 0.3),)),
    replace(SMALL, select="validation"),
]
SAME = ("config.json", "metrics.json", "predictions.csv", "curves.csv")
KINDS = [  # test_trainer.py resumes every method with its defaults
    pytest.param("mlp", {}, marks=pytest.mark.slow),
    pytest.param("mlp-ordered", {"unit_targets": True}, marks=pytest.mark.slow),
    pytest.param("sap-net", {}, marks=pytest.mark.slow),
    ("sap-net", {"decoder": "psnet"}),  # batch normalization: its running statistics change without a gradient
    ("sap-net", {"dropout": 0.5}),  # drawn from PyTorch's global RNG
]


@pytest.fixture(scope="module", autouse=True)
def computed(own_runs):
    """(Runs folder with the features alone, results of an undisturbed run by trial, its duration in seconds)."""
    trial_data(SMALL)
    begun = time.monotonic()
    alone = {folder.name: contents(folder) for folder in run_trials(SWEEP)}
    seconds = time.monotonic() - begun
    shutil.rmtree(own_runs / "trials")
    return own_runs, alone, seconds


def contents(folder):
    """File name -> content of a result's files that do not depend on time."""
    return {name: (folder / name).read_bytes() for name in SAME}


@pytest.fixture
def runs(computed, tmp_path, monkeypatch):
    shutil.copytree(computed[0], tmp_path / "runs", symlinks=True)
    monkeypatch.setenv("SAPNET_RUNS", str(tmp_path / "runs"))
    return tmp_path / "runs"


def trained(method, settings, file, dies):
    """Train for 25 optimizer steps, resuming from `file`, and die after step `dies`, if not 0.

    Returns:
        (weights, curve, snapshots)
    """
    trial = replace(SMALL, method=method, overrides=tuple(settings.items()))
    task = training_task(trial, trial_data(trial))
    fitted = get_method(method)(task.train, task.settings, task.generator(), Mortal(file, 5, dies))
    return fitted.network.state_dict(), fitted.curves, fitted.snapshots


@pytest.mark.parametrize(("method", "settings"), KINDS)
def test_a_training_goes_on_to_the_same_bits(method, settings, tmp_path):
    weights, curve, snapshots = trained(method, settings, None, 0)
    file = tmp_path / ".training-x.safetensors"
    for dies in (7, 13, 14):  # killed three times
        with pytest.raises(Killed):
            trained(method, settings, file, dies)
    rest, rest_curve, rest_snapshots = trained(method, settings, file, 0)
    assert [[*row.items()] for row in rest_curve] == [[*row.items()] for row in curve]
    assert [step for step, _ in rest_snapshots] == [5, 10, 15, 20, 25]
    assert all(torch.equal(rest[name], value) for name, value in weights.items())
    for (_, one), (_, other) in zip(snapshots, rest_snapshots, strict=True):
        assert all(torch.equal(one[name], other[name]) for name in one)


def test_it_does_go_on_and_does_not_begin_again(tmp_path, monkeypatch):
    file = tmp_path / ".training-x.safetensors"
    with pytest.raises(Killed):
        trained("mlp", {}, file, 15)
    computed = []
    after = Checkpoint.after_step
    monkeypatch.setattr(
        Checkpoint, "after_step", lambda self, done, *rest: computed.append(done) or after(self, done, *rest)
    )
    trained("mlp", {}, file, 0)
    assert computed == [*range(16, 26)]


def test_a_stack_goes_on_to_the_same_bits(tmp_path):
    def stack(file, dies):
        tasks = [training_task(replace(SMALL, seed=seed), trial_data(SMALL)) for seed in (0, 1)]
        trains, generators = [task.train for task in tasks], [task.generator() for task in tasks]
        return get_stack("sap-net")(trains, tasks[0].settings, generators, Mortal(file, dies=dies))

    file = tmp_path / ".training-x.safetensors"
    with pytest.raises(Killed):
        stack(file, 17)
    for one, other in zip(stack(None, 0), stack(file, 0), strict=True):
        assert one.curves == other.curves
        for name, value in one.network.state_dict().items():
            assert torch.equal(value, other.network.state_dict()[name])


@pytest.mark.parametrize("harm", ["flip a bit", "cut", "empty", "text", "of another trial", "by other code"])
def test_a_damaged_or_foreign_file_is_named_and_not_used(harm, tmp_path, monkeypatch, capsys):
    file = tmp_path / ".training-x.safetensors"
    with pytest.raises(Killed):
        trained("mlp", {}, file, 20)
    whole = bytearray(file.read_bytes())
    if harm == "flip a bit":
        whole[len(whole) // 2] ^= 4
    elif harm == "of another trial":
        file.rename(file := tmp_path / ".training-y.safetensors")
    elif harm == "by other code":
        monkeypatch.setattr(checkpoint, "_code", lambda: "other")
    file.write_bytes({"cut": whole[:-100], "empty": b"", "text": b"no tensors" * 9}.get(harm, bytes(whole)))
    net = torch.nn.Linear(1, 1)
    state = TrainingState(net.state_dict(keep_vars=True))
    begin = Checkpoint(file).resume(state, torch.optim.Adam(net.parameters(), fused=True))
    assert begin == (0, [])
    said = capsys.readouterr().err
    assert said.startswith(f"{file}: ") and said.count("\n") == 1
    weights, rest = trained("mlp", {}, None, 0)[0], trained("mlp", {}, file, 0)[0]
    assert all(torch.equal(rest[name], value) for name, value in weights.items())


def test_quick_trainings_write_no_file(runs, monkeypatch):
    monkeypatch.setattr(checkpoint, "write_sealed", lambda *_: pytest.fail("a minute has not passed"))
    run_trial(SMALL)
    assert not [f.name for f in (runs / "trials").iterdir() if f.name.startswith(".")]


def test_dropout_repeats_and_uses_no_one_elses_numbers():
    trial = replace(SMALL, overrides=(("dropout", 0.5),))
    torch.manual_seed(5)
    state = torch.get_rng_state()
    one = fit_trial(trial, trial_data(trial))[3]
    assert torch.equal(torch.get_rng_state(), state)
    torch.rand(3)
    assert torch.equal(fit_trial(trial, trial_data(trial))[3], one)


def start(runs, **variables):
    """Start the sweep in a process of its own, with a checkpoint after nearly every optimizer step."""
    keeps = {k: v for k, v in os.environ.items() if not k.startswith("SAPNET")}
    given = {
        "SAPNET_RUNS": str(runs),
        "SAPNET_CHECKPOINT": "0.01",
        "PYTHONPATH": str(environment.root()),
        **variables,
    }
    return subprocess.Popen(
        [sys.executable, __file__], env={**keeps, **given}, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )


def kill_often(runs, computed, moments: int, seed: int) -> int:
    """Kill the sweep at `moments` random moments, and then let it finish.

    Asserts after each kill that all results so far are complete and correct. A process lives for up to 1.6 equal shares
    of the undisturbed duration. Returns the number of kills that hit a living process.
    """
    draw, hits = random.Random(seed), 0
    for _ in range(moments):
        process = start(runs)
        process.stdout.readline()  # printed once the imports are done
        time.sleep(draw.uniform(0, 1.6) * computed[2] / moments)
        process.send_signal(signal.SIGKILL)
        hits += process.wait() == -signal.SIGKILL
        for folder in (runs / "trials").glob("finediving*"):
            assert contents(folder) == computed[1][folder.name]
    last = start(runs)
    assert last.wait() == 0, last.stderr.read()
    assert {f.name: contents(f) for f in (runs / "trials").glob("finediving*")} == computed[1]
    assert not list((runs / "trials").glob(".training-*"))
    return hits


def test_kill_it_at_a_moment(runs, computed):
    kill_often(runs, computed, moments=1, seed=0)


@pytest.mark.slow
def test_kill_it_at_many_moments(runs, computed):
    assert kill_often(runs, computed, moments=12, seed=1) >= 6


@pytest.mark.slow
def test_two_runs_at_once_on_one_folder(runs, computed):
    both = [start(runs), start(runs)]
    assert [process.wait() for process in both] == [0, 0]
    assert {f.name: contents(f) for f in (runs / "trials").iterdir()} == computed[1]


def test_what_killed_runs_left_is_removed_when_old(runs):
    folder = runs / "trials"
    there = run_trial(SWEEP[0])
    for name in (".writing-old", ".writing-young"):
        (folder / name).mkdir()
    for name in (
        ".x.1.a.tmp",
        f".training-{there.name}.safetensors",
        ".training-gone.safetensors",
        ".training-old.safetensors",
    ):
        (folder / name).write_bytes(b"")
    for name, days in (
        (".writing-old", 0.1),
        (".x.1.a.tmp", 0.1),
        (".training-gone.safetensors", 30),
        (".training-old.safetensors", 90),
    ):
        os.utime(folder / name, (time.time() - days * 86400,) * 2)
    run_trials([SWEEP[0]])
    assert {f.name for f in folder.iterdir()} == {there.name, ".writing-young", ".training-gone.safetensors"}


def test_a_full_disk_is_said_with_a_remedy(runs):
    """The disk is a tmpfs of 64 KiB if mounting is allowed; else the size of a file is limited."""
    (runs / "trials").mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=64k", "none", str(runs / "trials")]
    mounted = subprocess.run(mount, capture_output=True, check=False)
    try:
        limit = {} if mounted.returncode == 0 else {"SAPNET_TEST_LIMIT": "1000"}
        full = start(runs, **limit)
        said = full.communicate()[1]
        assert full.returncode == 1
        line = said.splitlines()[-1].partition("DiskFault: ")[2]
        fault = errno.EFBIG if limit else errno.ENOSPC
        assert line.startswith(f"{runs / 'trials'}")
        assert in_order(line, os.strerror(fault), REMEDIES[fault], "SAPNET_RUNS")
        assert not [f for f in (runs / "trials").iterdir() if f.name.startswith((".writing", ".training"))]
    finally:
        if mounted.returncode == 0:
            subprocess.run(["umount", str(runs / "trials")], check=True)


def test_a_result_is_written_whole_or_not_at_all(runs, monkeypatch):
    written = []

    def fails(path, text):
        written.append(path)
        if len(written) == 4:
            raise OSError(errno.ENOSPC, "full")

    with monkeypatch.context() as patch:
        patch.setattr(results, "write_text", fails)
        with pytest.raises(OSError, match="make room"):
            run_trial(SWEEP[0])
    assert len(written) == 4 and not list((runs / "trials").iterdir())
    assert json.loads((run_trial(SWEEP[0]) / "metrics.json").read_text())["n"] == 12


if __name__ == "__main__":
    if limit := os.environ.get("SAPNET_TEST_LIMIT"):
        import resource

        resource.setrlimit(resource.RLIMIT_FSIZE, (int(limit), int(limit)))
    print("ready", flush=True)
    run_trials(SWEEP)
