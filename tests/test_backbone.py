"""I3D against golden values of the public implementations, and its optimized forms against direct computation."""

import os
import subprocess
import sys
import zlib
from pathlib import Path

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import nn

from sapnet_core.backbones import i3d
from sapnet_core.backbones.c3d import load_c3d
from sapnet_core.backbones.frozen import FUSED
from sapnet_core.backbones.i3d import (
    I3D,
    SHIPPED,
    FoldedI3D,
    Unit3D,
    fast_dtype,
    load_i3d,
    load_shipped,
    state_digest,
    training_dtype,
)
from sapnet_core.backbones.max_pool import same_padding
from sapnet_core.backbones.video_swin import load_swin
from sapnet_core.datasets import Record
from sapnet_core.recipes.pretrain_backbones import HEADS, VIEWS, Recipe, dive_classes, pretrain, pretrain_records
from sapnet_core.runtime.devices import torch_threads
from sapnet_core.runtime.files import read_tensors

GOLDEN = Path(__file__).resolve().parents[2] / "shared" / "golden"
needs_golden = pytest.mark.skipif(not GOLDEN.is_dir(), reason="no golden values beside the repository")


def fill(net: nn.Module) -> nn.Module:
    """Fill a network with the weights of the golden values: random numbers seeded by each parameter's name."""
    state = {}
    for name, tensor in net.state_dict().items():
        z = np.random.RandomState(zlib.crc32(name.encode())).standard_normal(tuple(tensor.shape))
        if name.endswith("num_batches_tracked"):
            z = np.zeros(())
        elif name.endswith("running_var"):
            z = 0.5 + np.abs(z)
        elif name.endswith(("running_mean", ".bias")):
            z = 0.1 * z
        elif name.endswith("bn.weight"):
            z = 1 + 0.1 * z
        else:
            z = z * np.sqrt(2 / np.prod(tensor.shape[1:]))
        state[name] = torch.as_tensor(z).to(tensor.dtype)
    net.load_state_dict(state)
    return net.eval()


def relative(mine: torch.Tensor, reference: torch.Tensor) -> float:
    """The largest absolute difference, relative to the largest absolute value of the reference."""
    return float((mine - reference).abs().max() / reference.abs().max())


@pytest.fixture(scope="module")
def full() -> I3D:
    return fill(I3D(1.0, 400))


@pytest.fixture(scope="module")
def narrow() -> I3D:
    return fill(I3D(0.125))


@needs_golden
def test_parameters_are_named_and_shaped_as_published(full):
    rows = [line.split("\t") for line in (GOLDEN / "i3d_state_dict.tsv").read_text().splitlines()[1:]]
    assert {row[0]: row[2] for row in rows} == {n: str(tuple(t.shape)) for n, t in full.state_dict().items()}
    assert len(rows) == 344


@needs_golden
@pytest.mark.parametrize("size", ["16x112x112", "20x113x130", "96x112x112", "16x224x224"])
def test_features_and_logits_are_the_published_networks(full, size):
    golden = np.load(GOLDEN / "i3d.npz")
    t, h, w = map(int, size.split("x"))
    n = np.arange(3 * t * h * w)
    x = torch.from_numpy((np.sin(0.37 * n) * np.cos(0.0113 * n)).astype(np.float32)).view(1, 3, t, h, w)
    with torch.inference_mode():
        assert relative(full(x).mean((3, 4))[0], torch.from_numpy(golden[f"mixed_5c_{size}"])) < 1e-4
        if f"logits_{size}" in golden:
            assert relative(full.classify(x)[0], torch.from_numpy(golden[f"logits_{size}"])) < 1e-4


FORMS = [
    ("direct", torch.float32, 1e-5),
    ("winograd", torch.float32, 1e-5),
    ("direct", torch.bfloat16, 3e-2),
    ("winograd", torch.bfloat16, 3e-2),
]


@needs_golden
@pytest.mark.parametrize("size", ["16x112x112", "20x113x130", "96x112x112"])
@pytest.mark.parametrize("form, dtype, bound", FORMS)
def test_each_inference_form_gives_the_published_features(full, monkeypatch, size, form, dtype, bound):
    if dtype == torch.bfloat16 and fast_dtype("cpu") != dtype:
        pytest.skip("no bfloat16 in this processor")
    t, h, w = map(int, size.split("x"))
    n = torch.arange(3 * t * h * w, dtype=torch.float64)
    x = (torch.sin(0.37 * n) * torch.cos(0.0113 * n)).to(dtype).view(1, 3, t, h, w)
    net = FoldedI3D(full, dtype, form=form)
    monkeypatch.setattr(net, "scaled", lambda _: x.transpose(1, 2))  # the golden input is not uint8
    features = net.features(torch.zeros(1, t, 3, h, w, dtype=torch.uint8), "dense")[0]  # (T', C)
    expected = torch.from_numpy(np.load(GOLDEN / "i3d.npz")[f"mixed_5c_{size}"]).T
    assert relative(features, expected) < bound


@pytest.mark.parametrize("size", [(16, 12, 12), (7, 13, 10), (1, 3, 5)])
def test_first_layer_on_folded_pixels_is_the_plain_convolution(size):
    draw = torch.Generator().manual_seed(1)
    x = torch.randn(2, 3, *size, generator=draw, dtype=torch.float64)
    unit = i3d.Unit3D(3, 4, 7).double().eval()
    pads = [n for s in size[::-1] for n in same_padding(s, 7, 2)]
    reference = F.relu(unit.bn(F.conv3d(F.pad(x, pads), unit.conv3d.weight, stride=2)))
    assert torch.allclose(unit(x), reference, atol=1e-12)


each_sampling = pytest.mark.parametrize(
    "clip_sampling,frames,size",
    [
        ("9x16", 96, (49, 64)),
        ("10x16", 103, (33, 46)),
        ("10x16", 104, (32, 32)),
        ("dense", 96, (32, 32)),
        ("dense", 103, (49, 64)),
        ("dense", 17, (33, 31)),
        ("dense", 1, (32, 32)),
        ("segments", 48, (40, 33)),
    ],
)


@each_sampling
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize("wide", [1, 64])
def test_fewer_products_give_the_same_features(narrow, monkeypatch, clip_sampling, frames, size, dtype, wide):
    if dtype == torch.bfloat16 and fast_dtype("cpu") != dtype:
        pytest.skip("no bfloat16 in this processor")
    monkeypatch.setattr(i3d, "WIDE", wide)
    monkeypatch.setattr(i3d, "LONG", {})
    draw = torch.Generator().manual_seed(6)
    videos = torch.randint(0, 256, (2, frames, 3, *size), dtype=torch.uint8, generator=draw)
    direct, fewer = (FoldedI3D(narrow, dtype, form=form) for form in ("direct", "winograd"))
    assert len(fewer.fewer) == (20 if wide == 1 else 1) and not direct.fewer  # all temporal kernels, or the stem's
    ours, reference = fewer.features(videos, clip_sampling), direct.features(videos, clip_sampling)
    assert ours.shape == reference.shape and relative(ours, reference) < (1e-5 if dtype == torch.float32 else 3e-2)
    assert torch.equal(
        fewer.features(videos[1:], clip_sampling), ours[1:]
    )  # bit-identical, whatever was computed before


def test_a_processor_takes_the_form_that_pays(narrow, full):
    forms = {
        (net.width, dtype): net.folded(dtype).form
        for net in (narrow, full)
        for dtype in (torch.float32, torch.bfloat16)
    }
    assert set(forms.values()) <= {"direct", "winograd"}
    if FUSED:
        assert [key for key, form in forms.items() if form == "direct"] == [(0.125, torch.bfloat16)]
        assert set(full.folded(torch.float32).fewer) == {
            "Conv3d_1a_7x7",
            "Conv3d_2c_3x3",
            *(f"{name}.b1b" for name in i3d.MIXED),
        }
    if fast_dtype("cpu") == torch.bfloat16:
        assert narrow.folded(torch.bfloat16).layers[i3d.STEM][0].shape[1:] == (12, 7, 4, 4)
    with pytest.raises(ValueError, match="form 'fft'.*direct, winograd"):
        FoldedI3D(narrow, form="fft")


def clips_of(videos: torch.Tensor, starts, length: int) -> torch.Tensor:
    """Clips (B, clips, 3, length, H, W), scaled to -1 ... 1, of uint8 videos (B, T, 3, H, W)."""
    x = videos.float() * (2 / 255) - 1
    return torch.stack([x[:, s : s + length].transpose(1, 2) for s in starts], 1)


@pytest.mark.parametrize(
    "clip_sampling,frames,starts,length",
    [
        ("9x16", 96, range(0, 81, 10), 16),
        ("10x16", 103, [*range(0, 81, 10), 86], 16),
        ("dense", 96, [0], 96),
        ("dense", 103, [0], 103),
    ],
)
def test_inference_form_gives_the_features_of_the_trainable_form(narrow, clip_sampling, frames, starts, length):
    draw = torch.Generator().manual_seed(3)
    videos = torch.randint(0, 256, (2, frames, 3, 49, 64), dtype=torch.uint8, generator=draw)
    with torch.inference_mode():
        clips = clips_of(videos, starts, length)
        maps = narrow(clips.flatten(0, 1)).mean((3, 4)).transpose(1, 2)  # (B*clips, T', C)
    reference = maps.reshape(2, -1, 128)
    assert relative(narrow.folded(torch.float32).features(videos, clip_sampling), reference) < 1e-5
    if fast_dtype("cpu") == torch.bfloat16:  # a processor without bfloat16 refuses these convolutions
        assert relative(narrow.folded(torch.bfloat16).features(videos, clip_sampling), reference) < 3e-2
    both = narrow.folded().features(videos, clip_sampling)
    alone = torch.cat([narrow.folded().features(video[None], clip_sampling) for video in videos])
    assert torch.equal(both, alone)


def test_another_eps_is_another_network_in_both_forms(narrow):
    video = torch.randint(0, 256, (1, 96, 3, 32, 32), dtype=torch.uint8, generator=torch.Generator().manual_seed(4))
    right, other = narrow.folded(torch.float32), fill(I3D(0.125, eps=1e-5))
    assert {module.eps for module in other.modules() if isinstance(module, nn.BatchNorm3d)} == {1e-5}
    with torch.inference_mode():
        maps = other(clips_of(video, [0], 96)[:, 0]).mean((3, 4)).transpose(1, 2)
    folded = other.folded(torch.float32)
    assert relative(folded.features(video, "dense"), maps) < 1e-5
    assert relative(folded.features(video, "dense"), right.features(video, "dense")) > 1e-4


def test_pixels_are_scaled_as_named(narrow):
    video = torch.randint(0, 256, (1, 16, 3, 33, 32), dtype=torch.uint8, generator=torch.Generator().manual_seed(4))
    mean, sd = torch.tensor([0.485, 0.456, 0.406]), torch.tensor([0.229, 0.224, 0.225])
    x = (video[0].transpose(0, 1) / 255 - mean.view(3, 1, 1, 1)) / sd.view(3, 1, 1, 1)  # as torchvision normalizes
    with torch.inference_mode():
        expected = narrow(x[None]).mean((3, 4)).transpose(1, 2)
    net = narrow.folded(torch.float32, "imagenet")
    assert relative(net.features(video, "dense"), expected) < 1e-5
    with pytest.raises(ValueError, match="symmetric, imagenet"):
        narrow.folded(scaling="caffe")


def test_gradients_are_finite_and_the_same_each_time():
    """On maps of 2x2x2, the bfloat16 gradients of some processors read uninitialized memory: `training_dtype` must
    choose float32 there."""
    net, clips = load_i3d().to(memory_format=torch.channels_last_3d).train(), torch.randn(4, 3, 16, 64, 64)
    state, dtype, seen = {k: v.clone() for k, v in net.state_dict().items()}, training_dtype("cpu"), []
    for _ in range(3):
        net.load_state_dict(state)
        net.zero_grad()
        with torch.autocast("cpu", dtype, enabled=dtype != torch.float32):
            maps = net(clips)
        maps.float().square().mean().backward()
        seen.append(torch.cat([p.grad.flatten() for p in net.parameters()]))
    assert seen[0].isfinite().all() and torch.equal(seen[0], seen[1]) and torch.equal(seen[0], seen[2])


def test_features_refuse_what_they_cannot_read(narrow):
    net = narrow.folded()
    with pytest.raises(ValueError, match="uint8"):
        net.features(torch.zeros(1, 96, 3, 32, 32), "9x16")
    with pytest.raises(ValueError, match="uint8"):
        net.features(torch.zeros(1, 3, 96, 32, 32, dtype=torch.uint8), "9x16")
    with pytest.raises(ValueError, match="frames"):
        net.features(torch.zeros(1, 90, 3, 32, 32, dtype=torch.uint8), "9x16")


def test_a_processor_with_bfloat16_instructions_that_onednn_may_not_use_computes_in_float32():
    asked = """import torch
torch.cpu._is_avx512_bf16_supported = lambda: True
from sapnet_core.backbones.i3d import fast_dtype
print(fast_dtype("cpu"), torch.ops.mkldnn._is_mkldnn_bf16_supported())"""
    limited = {**os.environ, "ONEDNN_MAX_CPU_ISA": "AVX2"}
    printed = subprocess.run([sys.executable, "-c", asked], env=limited, check=True, text=True, capture_output=True)
    assert printed.stdout.split() == ["torch.float32", "False"]


def test_shipped_weights_are_small_whole_and_know_what_a_dive_is():
    assert SHIPPED.stat().st_size <= 4 * 2**20
    tensors, metadata = read_tensors(SHIPPED)
    assert i3d.state_digest(load_i3d().state_dict()) == metadata["digest"]
    assert load_shipped().channels == 256
    assert not any("logits" in name or "head" in name for name in tensors)
    for view in VIEWS:
        for head in HEADS:
            assert metadata["accuracy"][view][head] > metadata["chance"][head] + 0.05, (view, head)


@pytest.mark.parametrize(
    "number,classes",
    [
        ("107B", (0, 7, 0, 1)),
        ("5253B", (1, 5, 3, 1)),
        ("6243D", (5, 4, 3, 3)),
        ("409C", (3, 9, 0, 2)),
        ("626C", (5, 6, 0, 2)),
    ],
)
def test_pretraining_asks_for_what_the_dive_number_says_and_not_the_score(number, classes):
    for score in (0.0, 90.0):
        record = Record("mtl-aqa", "1", "e", "p", 0, 100, score, 3.0, number, (), (), (), "train")
        assert dive_classes(record) == classes


@pytest.mark.parametrize(
    "backbone, load",
    [
        ("i3d", load_i3d),
        pytest.param("c3d", load_c3d, marks=pytest.mark.slow),
        pytest.param("swin", load_swin, marks=pytest.mark.slow),
    ],
)
def test_pretraining_can_be_made_again(tmp_path, backbone, load):
    recipe = Recipe(videos=6, epochs=1, width=0.125, size=48, crop=40, batch=4, backbone=backbone, decay=0.01)
    seen: list[dict] = []
    first = pretrain(tmp_path / "a.safetensors", recipe, jobs=1, folder=tmp_path, progress=seen.append)
    again = pretrain(tmp_path / "b.safetensors", recipe, jobs=1, folder=tmp_path)
    assert first == again and (tmp_path / "a.safetensors").read_bytes() == (tmp_path / "b.safetensors").read_bytes()
    net = load(tmp_path / "a.safetensors")
    assert state_digest(net.state_dict()) == first["digest"]
    assert net.channels == (64 if backbone == "c3d" else 128)  # C3D has 512 channels at full width
    assert read_tensors(tmp_path / "a.safetensors")[1]["recipe"]["backbone"] == backbone and seen
    assert len({r.key for r, _ in pretrain_records(recipe, tmp_path)}) == 6
    assert {r.dataset for r, _ in pretrain_records(recipe, tmp_path)} == {"pretrain"}
    with pytest.raises(ValueError, match="held_out=0.0"):
        pretrain(tmp_path / "c.safetensors", Recipe(held_out=0.0), folder=tmp_path)


def test_an_unknown_backbone_is_named(tmp_path):
    with pytest.raises(ValueError, match="backbone 'resnet'.*i3d, c3d, swin"):
        pretrain(tmp_path / "a.safetensors", Recipe(videos=4, backbone="resnet"), folder=tmp_path)
    assert not (tmp_path / "a.safetensors").exists() and not [*tmp_path.rglob("*.safetensors")]  # before any rendering


def test_a_network_that_is_trained_keeps_channels_last_on_one_thread():
    """If one layer returns another memory format, the pools and convolutions after it take several times as long."""
    net, lost = I3D(0.125).eval(), []
    for name, module in net.named_modules():
        if isinstance(module, Unit3D):
            module.register_forward_hook(
                lambda module, _, out, name=name: (
                    lost.append(name) if not out.is_contiguous(memory_format=torch.channels_last_3d) else None
                )
            )
    with torch_threads(1):
        net(torch.randn(2, 3, 16, 64, 64, requires_grad=True))
    assert not lost
