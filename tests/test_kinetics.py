"""Published I3D weights: files of both layouts give the golden features, and other files are refused."""

import pickle

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from refusal import refused
from safetensors.torch import save_file
from test_backbone import GOLDEN, fill, needs_golden, relative

from sapnet_core.backbones.i3d import I3D, Unit3D, same_padding
from sapnet_core.backbones.kinetics_weights import load_kinetics, published_names
from sapnet_core.backbones.registry import backbone_digest, load_backbone
from sapnet_core.runtime import environment


@pytest.fixture(scope="module")
def published() -> dict[str, torch.Tensor]:
    return fill(I3D(1.0, 400)).state_dict()


def in_layout(state, layout: str):
    return state if layout == "rgb_imagenet" else {published_names()[name]: t for name, t in state.items()}


def equal(net: I3D, state) -> bool:
    own = net.state_dict()
    return all(torch.equal(own[name], tensor) for name, tensor in state.items())


@needs_golden
def test_names_are_those_of_both_files():
    rows = [line.split("\t") for line in (GOLDEN / "i3d_state_dict.tsv").read_text().splitlines()[1:]]
    assert published_names() == {row[0]: row[1] for row in rows}


@needs_golden
@pytest.mark.parametrize("layout", ["rgb_imagenet", "model_rgb"])
@pytest.mark.parametrize("size", ["16x112x112", "20x113x130"])
def test_golden_features_come_from_either_layout(published, tmp_path, layout, size):
    golden = torch.from_numpy(np.load(GOLDEN / "i3d.npz")[f"mixed_5c_{size}"])
    torch.save(in_layout(published, layout), tmp_path / "weights.pt")
    t, h, w = map(int, size.split("x"))
    n = np.arange(3 * t * h * w)
    x = torch.from_numpy((np.sin(0.37 * n) * np.cos(0.0113 * n)).astype(np.float32)).view(1, 3, t, h, w)
    with torch.inference_mode():
        assert relative(load_kinetics(tmp_path / "weights.pt")(x).mean((3, 4))[0], golden) < 1e-4
        if size == "16x112x112":  # with the forks' eps, the features differ
            assert relative(load_kinetics(tmp_path / "weights.pt", eps=1e-5)(x).mean((3, 4))[0], golden) > 1e-3


@pytest.mark.parametrize("layout", ["rgb_imagenet", "model_rgb"])
@pytest.mark.parametrize("classes", [400, 157, None])
def test_any_head_or_none(published, tmp_path, layout, classes):
    state = {k: v for k, v in published.items() if not k.startswith("logits")}
    if classes:
        state |= {k: published[k][:classes] for k in ("logits.conv3d.weight", "logits.conv3d.bias")}
    torch.save(in_layout(state, layout), tmp_path / "weights.pt")
    net = load_kinetics(tmp_path / "weights.pt")
    assert net.classes == classes and not net.training and equal(net, state)


def test_prefix_wrapper_counters_and_safetensors(published, tmp_path):
    bare = {k: v for k, v in published.items() if not k.endswith("num_batches_tracked")}
    torch.save({"epoch": 3, "state_dict": {f"module.{k}": v.half() for k, v in bare.items()}}, tmp_path / "a.pth")
    net = load_kinetics(tmp_path / "a.pth")
    assert equal(net, {k: v.half().float() for k, v in bare.items()})
    assert net.Mixed_5c.b0.bn.weight.dtype == torch.float32
    save_file(in_layout(bare, "model_rgb"), tmp_path / "b.safetensors")
    assert equal(load_kinetics(tmp_path / "b.safetensors"), bare)
    save_file({f"module.{k}": v for k, v in bare.items()}, tmp_path / "c.safetensors")
    assert equal(load_kinetics(tmp_path / "c.safetensors"), bare)


def plain(unit: Unit3D, x: torch.Tensor, eps: float) -> torch.Tensor:
    """The layer as the forks write it: explicit padding, convolution, PyTorch's BatchNorm, ReLU."""
    weight, bn = unit.conv3d.weight, unit.bn
    stride = 2 if weight.shape[2] == 7 else 1
    pads = [n for size in x.shape[:1:-1] for n in same_padding(size, weight.shape[2], stride)]
    x = F.conv3d(F.pad(x, pads), weight, stride=stride)
    return F.relu(F.batch_norm(x, bn.running_mean, bn.running_var, bn.weight, bn.bias, eps=eps))


@pytest.mark.parametrize("eps", [1e-3, 1e-5])
def test_eps_is_that_of_torchs_batch_norm(published, tmp_path, monkeypatch, eps):
    torch.save(published, tmp_path / "weights.pt")
    net = load_kinetics(tmp_path / "weights.pt", eps=eps)
    video = torch.randint(0, 256, (1, 9, 3, 33, 47), dtype=torch.uint8, generator=torch.Generator().manual_seed(5))
    x = video.transpose(1, 2) / 127.5 - 1
    with torch.inference_mode():
        ours, folded = net(x), net.folded(torch.float32).features(video, "dense")
        monkeypatch.setattr(Unit3D, "forward", lambda unit, x: plain(unit, x, eps))
        theirs = net(x)
        monkeypatch.setattr(Unit3D, "forward", lambda unit, x: plain(unit, x, 1.01e-3 - eps))
        assert relative(ours, net(x)) > 1e-3
    assert relative(ours, theirs) < 1e-5
    assert relative(folded, theirs.mean((3, 4)).transpose(1, 2)) < 1e-5


@pytest.mark.parametrize("layout", ["rgb_imagenet", "model_rgb"])
def test_what_lacks_or_does_not_fit_is_named_as_the_file_names_it(published, tmp_path, layout):
    file, key = tmp_path / "weights.pt", "Mixed_4c.b1b.conv3d.weight"
    named = in_layout({key: 0}, layout).popitem()[0]
    torch.save({k: v for k, v in in_layout(published, layout).items() if k != named}, file)
    refused(load_kinetics, file, f"{named!r} is missing")
    torch.save(in_layout(published, layout) | {named: published[key][:, :7]}, file)
    refused(load_kinetics, file, named, "(224, 7, 3, 3, 3), not (224, 112, 3, 3, 3)")
    torch.save(in_layout(published, layout) | {"fc.weight": torch.zeros(2)}, file)
    refused(load_kinetics, file, "'fc.weight' does not belong")
    torch.save({k: v for k, v in in_layout(published, layout).items() if "5c" not in k}, file)
    words = ("ixed_5c.b", "more do not fit") if layout == "rgb_imagenet" else ("mixed_5c.branch",)
    refused(load_kinetics, file, *words)


def test_other_networks_and_foreign_files_are_refused(published, tmp_path):
    file = tmp_path / "weights.pt"
    torch.save(I3D(0.5).state_dict(), file)
    refused(load_kinetics, file, "'Conv3d_1a_7x7.bn.bias' is (32,), not (64,)", "more do not fit", "give a file")
    for one in ("weight", "bias"):
        torch.save({k: v for k, v in published.items() if k != f"logits.conv3d.{one}"}, file)
        refused(load_kinetics, file, f"'logits.conv3d.{one}' is missing")
    torch.save(published | in_layout({"logits.conv3d.bias": torch.zeros(400)}, "model_rgb"), file)
    refused(load_kinetics, file, "'conv3d_0c_1x1.conv3d.bias' is also present as 'logits.conv3d.bias' too")
    torch.save([1, 2], file)
    refused(load_kinetics, file, "not named tensors")
    torch.save({}, file)
    refused(load_kinetics, file, "is missing")
    torch.save({1: torch.zeros(2)}, file)
    refused(load_kinetics, file, "entry 1 is not a named tensor")
    with pytest.raises(FileNotFoundError):
        load_kinetics(tmp_path / "absent.pt")


def test_what_holds_no_numbers_is_refused(published, tmp_path):
    key = "Mixed_3b.b0.conv3d.weight"
    weight = published[key]
    holes = weight.clone()
    holes[3, 2] = torch.nan
    endless = torch.zeros(1).expand(10**12, *weight.shape[1:])
    for bad in (holes, weight.to(torch.complex64)):
        torch.save(published | {key: bad}, tmp_path / "weights.pt")
        refused(load_kinetics, tmp_path / "weights.pt", f"{key!r} is not a named tensor")
    for bad in (weight.to("meta"), weight.to_sparse(), endless):
        torch.save(published | {key: bad}, tmp_path / "weights.pt")
        refused(load_kinetics, tmp_path / "weights.pt", "not a plain file of tensors")


@pytest.mark.parametrize("kind", ["zip", "legacy", "safetensors"])
def test_torn_files_are_refused_wherever_they_end(tmp_path, kind):
    state, file = {name: torch.ones(20) for name in "ab"}, tmp_path / f"torn.{kind}"
    if kind == "safetensors":
        save_file(state, file)
    else:  # the files of 2017 have the legacy format
        torch.save(state, file, _use_new_zipfile_serialization=kind == "zip")
    whole = file.read_bytes()
    for end in range(0, len(whole), 5):
        file.write_bytes(whole[:end])
        refused(load_kinetics, file, "damaged", "again")


class Hostile:
    def __init__(self, mark):
        self.mark = mark

    def __reduce__(self):
        return open, (self.mark, "w")


def test_a_hostile_pickle_runs_nothing(tmp_path):
    file, mark = tmp_path / "weights.pt", tmp_path / "ran"
    for write in (
        lambda: torch.save({"a": Hostile(str(mark))}, file),
        lambda: file.write_bytes(pickle.dumps(Hostile(str(mark)))),
    ):
        write()
        refused(load_kinetics, file, "not a plain file of tensors")
        assert not mark.exists()


def test_the_users_weights_make_other_features(published, tmp_path, monkeypatch):
    torch.save(published, tmp_path / "weights.pt")
    monkeypatch.setenv("SAPNET_I3D", str(tmp_path / "weights.pt"))
    net = load_backbone("i3d")
    own = backbone_digest("i3d")
    assert net.channels == 1024
    monkeypatch.delenv("SAPNET_I3D")
    assert load_backbone("i3d").channels == 256 and backbone_digest("i3d") != own
    monkeypatch.setenv("SAPNET_I3D", str(tmp_path / "absent.pt"))
    with pytest.raises(FileNotFoundError, match=r"absent\.pt"):
        environment.i3d()
