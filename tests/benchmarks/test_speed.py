"""Each hot path against its alternative: equal results, and a speed ratio that holds even on a busy machine.

The bounds are about half of the ratios on the slowest processor measured, when idle; `python -m sapnet_core benchmark`
measures them.
"""

import pytest
import torch

from sapnet_core.__main__ import main
from sapnet_core.backbones.i3d import I3D, fast_dtype, load_i3d
from sapnet_core.recipes import benchmark
from sapnet_core.recipes.stages import stages
from sapnet_core.sapnet.pseudo_labels import greedy_states


@pytest.fixture(autouse=True)
def one_thread():
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


@pytest.mark.parametrize("size", [(16, 32, 32), (9, 33, 46)])
def test_the_plain_form_is_the_same_network(size):
    net, x = load_i3d(), torch.randn(2, 3, *size, generator=torch.Generator().manual_seed(0))
    with torch.inference_mode():
        plain, ours = benchmark.PlainI3D(net)(x), net(x)
    assert plain.is_contiguous() and (plain - ours).abs().max() < 1e-5 * ours.abs().max()


@pytest.mark.speed
@pytest.mark.parametrize(("width", "least"), [(0.25, 1.3), (1.0, 1.2)])
def test_inference_outruns_the_plain_form(width, least):
    torch.manual_seed(0)
    net = load_i3d() if width == 0.25 else I3D(width)
    row = benchmark.inference(net, rounds=1 if width == 1 else 3, dtype=torch.float32)
    assert row["difference"] < 1e-5 and row["ratio"] > least


@pytest.mark.speed
@pytest.mark.skipif(fast_dtype("cpu") != torch.bfloat16, reason="no bfloat16 in this processor")
def test_bfloat16_outruns_the_plain_form_within_its_bound():
    row = benchmark.inference(rounds=3)
    assert row["difference"] < 3e-2 and row["ratio"] > 1.7


@pytest.mark.speed
def test_a_training_step_computes_what_the_plain_form_does_and_takes_no_longer():
    """On a CPU in float32 the goal is equal speed: which form is faster depends on the processor (ratio 1.0 to 1.5)."""
    row = benchmark.training_step(rounds=3)
    assert row["difference"] < 1e-4 and row["ratio"] > 0.7


@pytest.mark.speed
def test_clustering_outruns_loops_at_no_worse_inertia():
    pytest.importorskip("faiss")
    by_faiss, by_sklearn = benchmark.clustering(rounds=3)
    assert by_faiss["ratio"] > 0.8 and by_sklearn["ratio"] > 3
    assert max(by_faiss["difference"], by_sklearn["difference"]) < 0.025


@pytest.mark.speed
def test_selection_outruns_a_loop_and_chooses_alike():
    by_state, by_video = benchmark.selection()
    assert by_state["ratio"] > 5 and by_video["ratio"] > 1
    assert by_state["difference"] == by_video["difference"] == 0


def test_ties_go_to_the_lowest_state_in_loops_and_in_ours():
    draw = torch.Generator().manual_seed(0)
    distance = torch.randint(1, 4, (50, 6, 5), generator=draw).double()  # few values: many exact ties
    distance[:, 3] = distance[:, 1]
    expected = greedy_states(distance, 4)
    for every in (True, False):
        assert torch.equal(torch.from_numpy(benchmark.selection_by_loop(distance.numpy(), 4, every)), expected)


@pytest.mark.speed
def test_stages_add_up_to_the_networks_operations():
    net = load_i3d().folded(torch.float32)
    table = stages(net, rounds=1).set_index("stage")
    assert table.loc["Conv3d_1a_7x7", "gflop"] == pytest.approx(2e-9 * 343 * 3 * 16 * 8 * 56 * 56)
    assert table.loc["Mixed_3b", "gflop"] > 0 and (table.ms > 0).all()
    whole = benchmark.inference(rounds=2, dtype=torch.float32)["ms"]
    assert 0.3 < table.ms.sum() / whole < 3


@pytest.fixture
def rows(monkeypatch):
    """Replace each comparison by a row with its name and the number of PyTorch's threads."""
    for name in ("inference", "training_step", "clustering", "selection"):

        def row(*args, name=name, **kwargs):
            made = {"what": name, "ours": "ours", "goal": None, "ms": torch.get_num_threads()}
            return [made] if name in ("clustering", "selection") else made

        monkeypatch.setattr(benchmark, name, row)
    return monkeypatch


def test_threads_are_lent_to_the_comparisons_and_given_back(rows, capsys):
    assert set(benchmark.compare(threads=2).ms) == {2} and torch.get_num_threads() == 1
    assert set(benchmark.compare().ms) == {1}
    main(["benchmark", "--threads", "2"])
    assert "2 thread(s)" in capsys.readouterr().out and torch.get_num_threads() == 1
