"""Max-pools: each form against PyTorch's pool of maps padded by hand.

The kernel for GPUs runs here in Triton's interpreter, which has to be chosen before Triton is imported. So this file,
run as a program, pools all `CASES` and prints what it found; the tests read that.
"""

import importlib.util
import json
import os
import subprocess
import sys
from collections import Counter
from itertools import product
from pathlib import Path

import pytest
import torch
import torch.nn.functional as F

from sapnet_core.backbones import max_pool as pooling
from sapnet_core.backbones.i3d import I3D, POOL_BEFORE, FoldedI3D
from sapnet_core.backbones.max_pool import (
    NEIGHBORS,
    max_of_neighbors,
    max_pool,
    max_pool_fused,
    max_pool_same,
    same_padding,
)

ROOT = Path(__file__).resolve().parent.parent
needs_triton = pytest.mark.skipif(
    importlib.util.find_spec("triton") is None, reason="Triton is not installed: it comes with PyTorch for CUDA"
)
I3D_POOLS = {name: POOL_BEFORE[name] for name in ("Mixed_3b", "Mixed_4b", "Mixed_5b")}  # Conv3d_2b_1x1 is as Mixed_3b
I3D_POOLS["in a block"] = NEIGHBORS
OTHER_POOLS = {"long": ((5, 1, 4), (3, 2, 3)), "thinning": ((1, 1, 1), (2, 3, 1)), "even": ((2, 4, 2), (1, 1, 1))}
# (B, C, T, H, W): more cells and more channels than one program makes, odd sizes, channels of no power of 2, one cell
SHAPES = [(2, 8, 3, 7, 9), (1, 70, 2, 13, 11), (1, 3, 1, 1, 1)]
DTYPES = {"float32": torch.float32, "bfloat16": torch.bfloat16, "float16": torch.float16}
CASES = [
    *product(I3D_POOLS, SHAPES, ["float32", "bfloat16"]),
    *product(OTHER_POOLS, SHAPES, ["float32"]),
    ("Mixed_4b", SHAPES[1], "float16"),
    ("Mixed_4b", SHAPES[1], "float32, channels first"),
]


def padded_pool(x: torch.Tensor, kernel, stride) -> torch.Tensor:
    pads = [n for axis in list(zip(x.shape[2:], kernel, stride, strict=True))[::-1] for n in same_padding(*axis)]
    return F.max_pool3d(F.pad(x, pads, value=-torch.inf), kernel, stride)


def some_maps(shape, dtype: torch.dtype) -> torch.Tensor:
    """Every second channel is negative alone: there a zero from outside would win."""
    x = torch.randn(shape, generator=torch.Generator().manual_seed(sum(shape)))
    x[:, ::2] -= 300
    return x.to(dtype).contiguous(memory_format=torch.channels_last_3d)


@pytest.mark.parametrize(
    "size,kernel,stride,pads",
    [
        (112, 7, 2, (2, 3)),
        (113, 7, 2, (3, 3)),
        (56, 3, 2, (0, 1)),
        (57, 3, 2, (1, 1)),
        (7, 2, 2, (0, 1)),
        (4, 2, 2, (0, 0)),
    ],
)
def test_same_padding_puts_the_odd_zero_at_the_back(size, kernel, stride, pads):
    assert same_padding(size, kernel, stride) == pads


@pytest.mark.parametrize("size", [(5, 8, 9), (1, 7, 2), (6, 1, 5)])
@pytest.mark.parametrize("kernel,stride", list(POOL_BEFORE.values())[1:])
def test_pooling_ignores_what_is_padded(size, kernel, stride):
    x = torch.randn(2, 3, *size, generator=torch.Generator().manual_seed(0))
    assert torch.equal(max_pool_same(x, kernel, stride), padded_pool(x, kernel, stride))


def test_maximum_of_neighbors_is_the_pool():
    x = torch.randn(2, 5, 3, 4, 6, generator=torch.Generator().manual_seed(2))
    assert torch.equal(max_of_neighbors(x), F.max_pool3d(x, 3, 1, 1))
    assert torch.equal(max_of_neighbors(x[:, :, :1]), F.max_pool3d(x[:, :, :1], 3, 1, 1))
    assert torch.equal(max_pool(x, *NEIGHBORS), F.max_pool3d(x, 3, 1, 1))


def right(pool: str, shape, name: str) -> bool:
    """Whether the kernel's maps of a case are every reference's, number for number, and channels-last."""
    kernel, stride = (I3D_POOLS | OTHER_POOLS)[pool]
    x = some_maps(shape, DTYPES[name.partition(",")[0]])
    ours = max_pool_fused(x.contiguous() if "first" in name else x, kernel, stride)
    references = [padded_pool(x.float(), kernel, stride).to(x.dtype)]
    references += [form(x, kernel, stride) for form in (max_pool, max_pool_same) if pool in I3D_POOLS]
    good = ours.dtype == x.dtype and ours.is_contiguous(memory_format=torch.channels_last_3d)
    return good and all(torch.equal(ours, reference) for reference in references)


def interpreted() -> dict:
    """What this file prints as a program."""
    x = some_maps((1, 3, 4, 5, 6), torch.float32)
    x[0, 1, 2, 3, 4], x[0, 2] = torch.nan, -torch.inf
    kernel, stride = POOL_BEFORE["Mixed_4b"]
    ours, reference = max_pool_fused(x, kernel, stride), max_pool_same(x, kernel, stride)
    assert ours.isnan().any() and (ours[0, 2] == -torch.inf).all()
    special = torch.equal(ours.isnan(), reference.isnan()) and torch.equal(ours.nan_to_num(), reference.nan_to_num())

    calls: Counter = Counter()
    net = I3D(0.0625).eval()
    fused, plain = FoldedI3D(net, pools="triton"), net.folded()
    pool = fused.pool
    fused.pool = lambda x, kernel, stride: (calls.update([f"{kernel} {stride}"]), pool(x, kernel, stride))[1]
    video = torch.randint(256, (1, 9, 3, 45, 40), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))
    same = torch.equal(fused.features(video, "dense"), plain.features(video, "dense"))
    return {
        "wrong": [case for case in CASES if not right(*case)],
        "special": special,
        "features": same,
        "digest": fused.digest == plain.digest,
        "calls": calls,
    }


@needs_triton
def test_the_kernel_is_the_pool_and_changes_no_feature():
    done = subprocess.run(
        [sys.executable, __file__],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
        env={**os.environ, "TRITON_INTERPRET": "1", "PYTHONPATH": str(ROOT)},
    )
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout)
    assert found["wrong"] == []
    assert found["special"]  # NaN goes on, and so does -inf
    assert found["features"] and found["digest"]
    expected = Counter(f"{kernel} {stride}" for kernel, stride in [*POOL_BEFORE.values(), *[NEIGHBORS] * 9])
    assert found["calls"] == expected  # all 13 pools went through the kernel


@needs_triton
@pytest.mark.skipif(os.environ.get("TRITON_INTERPRET") == "1", reason="the interpreter compiles nothing")
@pytest.mark.parametrize("dtype,channels", [("bf16", 480), ("bf16", 120), ("fp32", 832)])
def test_the_kernel_compiles_for_a_gpu_and_moves_sixteen_bytes_at_a_time(dtype, channels, tmp_path, monkeypatch):
    """No GPU is needed for that. At full width and at the shipped one: 120 is a multiple of 8 and not of 16."""
    import triton
    from triton.backends.compiler import GPUTarget
    from triton.compiler import ASTSource

    from sapnet_core.backbones.triton_pool import pool_kernel as kernel

    monkeypatch.setenv("TRITON_CACHE_DIR", str(tmp_path))
    values = (channels, *[n for part in POOL_BEFORE["Mixed_4b"] for n in part], pooling.CELLS, pooling.CHANNELS)
    constants = dict(zip(kernel.arg_names[-len(values) :], values, strict=True))
    types = {name: "constexpr" if name in constants else "i32" for name in kernel.arg_names}
    types |= {"source": f"*{dtype}", "target": f"*{dtype}"}
    aligned = {(place,): [["tt.divisibility", 16]] for place in (0, 1)}  # as PyTorch's memory is
    places = {(kernel.arg_names.index(name),): value for name, value in constants.items()}
    made = triton.compile(ASTSource(kernel, types, places, aligned), target=GPUTarget("cuda", 90, 32))
    for move in ("ld.global", "st.global"):
        lines = [line for line in made.asm["ptx"].splitlines() if move in line]
        assert lines and all(f"{move}.v4.b32" in line for line in lines)


def test_pools_that_do_not_run_are_refused_by_name():
    with pytest.raises(ValueError, match="torch, triton"):
        I3D(0.0625).folded(pools="cudnn")
    assert pooling.pool_form("torch", torch.device("cpu")) is max_pool


@needs_triton
@pytest.mark.skipif(os.environ.get("TRITON_INTERPRET") == "1", reason="the interpreter runs on a CPU")
def test_pools_in_triton_are_refused_on_a_cpu():
    with pytest.raises(ValueError, match="not on cpu"):
        I3D(0.0625).folded(pools="triton")
    with pytest.raises(ValueError, match="not on cpu"):
        max_pool_fused(torch.zeros(1, 1, 1, 1, 1), *NEIGHBORS)


def test_without_triton_the_plain_form_is_left(monkeypatch):
    monkeypatch.setitem(sys.modules, "triton", None)
    monkeypatch.delitem(sys.modules, "sapnet_core.backbones.triton_pool", raising=False)
    monkeypatch.delattr("sapnet_core.backbones.triton_pool", raising=False)
    spec = importlib.util.spec_from_file_location("pooling_alone", pooling.__file__)
    alone = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(alone)
    x = some_maps((1, 3, 4, 5, 6), torch.float32)
    assert torch.equal(alone.pool_form("torch", x.device)(x, *NEIGHBORS), max_pool(x, *NEIGHBORS))
    with pytest.raises(ImportError, match="choose pools='torch'"):
        alone.pool_form("triton", torch.device("cuda"))
    with pytest.raises(ImportError, match="choose pools='torch'"):
        alone.max_pool_fused(x, *NEIGHBORS)


if __name__ == "__main__":
    torch.set_num_threads(1)
    print(json.dumps(interpreted()))
