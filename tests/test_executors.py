"""Trials give the same bytes on every executor, and no trial is lost when a worker is killed."""

import os
import shutil
import signal
import socket
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from threading import Thread

import pytest
from tasks import die, fail_at_two, square_after_one_death
from wording import in_order

from sapnet_core.__main__ import main
from sapnet_core.experiments import run, tables
from sapnet_core.experiments import trial_data as trials
from sapnet_core.experiments.results import trial_folder
from sapnet_core.experiments.run import run_trials
from sapnet_core.experiments.trial import Trial
from sapnet_core.runtime import environment, executors
from sapnet_core.runtime.executors import run_tasks

SMALL = Trial("finediving", "drawn", "sap-net", 0.5, 0, "score", 24, 12, steps=5, size=64)
SWEEP = [replace(SMALL, seed=seed, method=method) for method in ("sap-net", "mlp") for seed in (0, 1, 2)]
WAIT = 180  # seconds; generous, since the machine may be busy
SAME = ("config.json", "metrics.json", "predictions.csv", "curves.csv")


@pytest.fixture(scope="module")
def computed(own_runs):
    """(runs folder with the features alone, {trial: files}) after the sweep has run in this process."""
    alone = {folder.name: contents(folder) for folder in run_trials(SWEEP)}
    trials._data.cache_clear()
    shutil.rmtree(own_runs / "trials")
    return own_runs, alone


def contents(folder):
    """File name -> content of a result's files that do not depend on time."""
    return {name: (folder / name).read_bytes() for name in SAME}


@pytest.fixture
def runs(computed, tmp_path, monkeypatch):
    """A fresh runs folder with the features; a cluster's workers know its path only from the settings sent to them."""
    for name in ("SAPNET_DATA", "SAPNET_DASK"):
        monkeypatch.delenv(name, raising=False)
    shutil.copytree(computed[0], tmp_path / "runs", symlinks=True)
    monkeypatch.setenv("SAPNET_RUNS", str(tmp_path / "runs"))
    trials._data.cache_clear()
    yield tmp_path / "runs"
    trials._data.cache_clear()


def all_as_alone(folders, alone, runs) -> bool:
    """Whether all results have the same bytes as `alone`; asserts that the trials folder holds nothing else."""
    assert {f.name for f in (runs / "trials").iterdir()} == {f.name for f in folders}
    return {folder.name: contents(folder) for folder in folders} == alone


def test_pools_give_what_one_process_gives(runs, computed):
    seen = []
    assert all_as_alone(run_trials(SWEEP, jobs=2, progress=lambda *at: seen.append(at)), computed[1], runs)
    assert seen == [(done, len(SWEEP)) for done in range(len(SWEEP) + 1)]


def test_threads_of_one_process_do_not_mix_their_random_numbers(runs, computed):
    with ThreadPoolExecutor(3) as pool:
        assert all_as_alone(run_trials(SWEEP, executor=pool), computed[1], runs)


def test_a_dead_process_of_a_pool_costs_no_task(tmp_path):
    tasks = [(str(tmp_path / "flag"), index) for index in range(6)]
    done = list(run_tasks(square_after_one_death, tasks, jobs=2))
    assert sorted((index, value) for index, _, value in done) == [(i, i * i) for i in range(6)]


@pytest.mark.slow
def test_processes_that_keep_dying_are_one_clear_error():
    with pytest.raises(RuntimeError, match=" 2 .* 3 .*--jobs"):
        list(run_tasks(die, [(1,), (2,), (3,)], jobs=2))


@pytest.mark.parametrize("jobs", [0, -1, 1.5, "2", None, True])
def test_a_wrong_number_of_processes_is_refused(jobs):
    with pytest.raises(ValueError, match="jobs"):
        list(run_tasks(fail_at_two, [(1,), (3,)], jobs=jobs))


@pytest.mark.parametrize("jobs", [1, 2])
def test_an_error_names_its_task(jobs):
    with pytest.raises(ValueError, match="no such dive") as caught:
        list(run_tasks(fail_at_two, [(1,), (2,)], jobs=jobs))
    assert any(in_order(note, "(2,)", socket.gethostname()) for note in caught.value.__notes__)


def test_a_pool_ends_with_the_process_that_asked(tmp_path):
    """When a run is killed, its worker processes end as well."""
    script = tmp_path / "asks.py"
    script.write_text(
        "import sys\nfrom tasks import rest\nfrom sapnet_core.runtime.executors import run_tasks\n"
        "if __name__ == '__main__':\n    list(run_tasks(rest, [(sys.argv[1], i) for i in (0, 1)], jobs=2))\n"
    )
    variables = {**os.environ, "PYTHONPATH": f"{environment.root()}{os.pathsep}{environment.root() / 'tests'}"}
    asks = subprocess.Popen([sys.executable, script, tmp_path], env=variables)
    pids = wait_for(lambda: len(found := [*tmp_path.glob("*.pid")]) == 2 and [int(f.stem) for f in found])
    asks.kill()
    asks.wait()
    wait_for(lambda: not any(alive(pid) for pid in pids))


def alive(pid: int) -> bool:
    """Whether a process runs (a zombie does not)."""
    try:
        with open(f"/proc/{pid}/stat") as file:
            return file.read().rpartition(")")[2].split()[0] != "Z"
    except FileNotFoundError:
        return False


def wait_for(what):
    """Poll until `what()` is true, and return its value; fails after `WAIT` seconds."""
    end = time.monotonic() + WAIT
    while not (value := what()):
        assert time.monotonic() < end, "waited in vain"
        time.sleep(0.02)
    return value


@pytest.fixture
def cluster(tmp_path):
    """A Dask scheduler and two workers on this machine: (scheduler's address, {worker's address: its process})."""
    distributed = pytest.importorskip("distributed")
    variables = {k: v for k, v in os.environ.items() if not k.startswith("SAPNET")}
    variables |= {
        "PYTHONPATH": str(environment.root()),
        "OMP_NUM_THREADS": "1",
        "SAPNET_RUNS": str(tmp_path / "unused"),
    }
    where, started = tmp_path / "scheduler.json", []

    def start(*arguments):
        log = open(tmp_path / f"{len(started)}.log", "w")
        started.append(
            subprocess.Popen(
                [sys.executable, "-m", "dask", *arguments], env=variables, cwd=tmp_path, stdout=log, stderr=log
            )
        )

    try:
        here = ("--host", "127.0.0.1", "--no-dashboard", "--scheduler-file", str(where))
        start("scheduler", "--port", "0", *here)
        wait_for(where.is_file)
        for name in ("one", "two"):
            start("worker", "--no-nanny", "--nthreads", "1", "--local-directory", str(tmp_path / name), *here)
        with distributed.Client(scheduler_file=str(where), set_as_default=False) as client:
            client.wait_for_workers(2, timeout=WAIT)
            address, pids = client.scheduler.address, client.run(os.getpid)
        yield address, {worker: next(p for p in started if p.pid == pid) for worker, pid in pids.items()}
    finally:
        for process in started:
            process.kill()
            process.wait()


@pytest.mark.slow
def test_a_cluster_loses_a_worker_and_no_result(cluster, runs, computed, monkeypatch):
    address, workers = cluster
    long = [replace(SMALL, seed=seed, steps=150) for seed in (10, 11)]  # each worker begins with one of these
    victim = next(iter(workers.values()))

    def kill_one():
        wait_for(lambda: len([*(runs / "trials").glob(".training-*.safetensors")]) == 2)
        victim.send_signal(signal.SIGKILL)

    monkeypatch.setenv("SAPNET_DASK", address)
    monkeypatch.setenv("SAPNET_CHECKPOINT", "0.05")
    killer = Thread(target=kill_one)
    killer.start()
    folders = run_trials([*long, *SWEEP])
    killer.join()
    assert victim.wait() == -signal.SIGKILL
    assert {f.name for f in (runs / "trials").iterdir() if ".tmp" not in f.name} == {f.name for f in folders}
    assert len({*folders}) == 8 and {f.name: contents(f) for f in folders[2:]} == computed[1]
    disturbed = [contents(folder) for folder in folders[:2]]
    monkeypatch.delenv("SAPNET_DASK")
    shutil.rmtree(runs / "trials")
    assert [contents(folder) for folder in run_trials(long)] == disturbed


def test_a_cluster_that_does_not_share_the_folder_is_named(runs, monkeypatch):
    """A worker that writes to a folder of its own is simulated by a result path that does not exist here."""
    monkeypatch.setattr(run.time, "sleep", lambda seconds: None)
    monkeypatch.setattr(run, "_run", hide)
    with pytest.raises(FileNotFoundError, match="/elsewhere.*SAPNET_RUNS"):
        run_trials(SWEEP[:1])


def hide(several, *_):
    return ["/elsewhere"]


def test_no_scheduler_is_said_at_once(runs, monkeypatch):
    dask = pytest.importorskip("dask")
    monkeypatch.setenv("SAPNET_DASK", "tcp://127.0.0.1:9")
    with dask.config.set({"distributed.comm.timeouts.connect": "1s"}):
        with pytest.raises(ConnectionError, match="tcp://127.0.0.1:9"):
            run_trials(SWEEP[:1])
    assert not trial_folder(SWEEP[0]).exists()


def test_workers_are_told_all_that_is_set(monkeypatch, tmp_path):
    monkeypatch.setenv("SAPNET_RUNS", os.path.relpath(tmp_path))
    monkeypatch.setenv("SAPNET_SPLIT", "ordered")
    monkeypatch.delenv("SAPNET_DATA", raising=False)
    for name in ("SAPNET_C3D", "SAPNET_SWIN"):
        (tmp_path / name).write_bytes(b"weights")
        monkeypatch.setenv(name, os.path.relpath(tmp_path / name))
    settings = executors._settings()
    assert settings["SAPNET_RUNS"] == str(tmp_path) and settings["SAPNET_SPLIT"] == "ordered"
    assert settings["SAPNET_DATA"] == ""  # overrides the worker's own value
    assert [settings[name] for name in ("SAPNET_C3D", "SAPNET_SWIN")] == [
        str(tmp_path / "SAPNET_C3D"),
        str(tmp_path / "SAPNET_SWIN"),
    ]


def test_the_command_line_hands_the_cluster_on(monkeypatch, tmp_path):
    asked = []
    for name, value in (("SAPNET_DASK", ""), ("SAPNET_DATA", ""), ("SAPNET_RUNS", str(tmp_path))):
        monkeypatch.setenv(name, value)
    monkeypatch.setattr(tables, "run_trials", lambda *_, **__: asked.append(os.environ["SAPNET_DASK"]))
    with socket.create_server(("127.0.0.1", 0)) as scheduler:
        address = f"tcp://127.0.0.1:{scheduler.getsockname()[1]}"
        assert main(["trials", "--tables", "fig14", "--dask", address]) == 0
    assert asked == [address]
    assert main(["trials", "--tables", "fig14", "--dask", address]) == 2 and len(asked) == 1  # the scheduler is gone


@pytest.mark.parametrize("address", ["nonsense", "tcp://", "tcp://host", "tcp://host:port", "host 1", ""])
def test_what_is_no_address_of_a_cluster_is_refused(capsys, address):
    with pytest.raises(SystemExit) as stop:
        main(["trials", "--dask", address])
    said = capsys.readouterr().err
    assert stop.value.code == 2 and said.count("\n") == 1 and "--dask" in said and "tcp://host:8786" in said


def test_a_cluster_needs_dask(monkeypatch):
    monkeypatch.setattr(executors, "find_spec", lambda name: None)
    monkeypatch.setenv("SAPNET_DASK", "")
    executors.reach_cluster()
    monkeypatch.setenv("SAPNET_DASK", "tcp://127.0.0.1:9")
    with pytest.raises(ModuleNotFoundError, match=r"pip install -e '\.\[cluster\]'"):
        executors.reach_cluster()
