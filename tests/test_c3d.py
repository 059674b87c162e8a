"""C3D: both forms compute the same network, weight files are recognized, and features are means of the clips' maps."""

import pytest
import torch
import torch.nn.functional as F
from refusal import refused
from safetensors.torch import save_file
from test_backbone import clips_of, relative

from sapnet_core.backbones.c3d import C3D, CHANNELS, SHIPPED, FrozenC3D, load_c3d
from sapnet_core.backbones.frozen import SCALINGS
from sapnet_core.backbones.i3d import fast_dtype, state_digest
from sapnet_core.backbones.registry import backbone_digest, load_backbone
from sapnet_core.recipes.pretrain_backbones import HEADS, RECIPES, Recipe
from sapnet_core.runtime.files import read_tensors


def drawn(width: float, norm: bool = False) -> C3D:
    """A C3D in evaluation mode with random parameters and random running statistics."""
    draw = torch.Generator().manual_seed(7)
    net = C3D(width, norm)
    for name, tensor in net.state_dict().items():
        z = torch.randn(tensor.shape, generator=draw)
        if tensor.ndim > 1:
            tensor.copy_(z * (2 / tensor[0].numel()) ** 0.5)
        elif name.endswith("running_var") or name.startswith("norm.") and name.endswith(".weight"):
            tensor.copy_(0.5 + z.abs())
        elif tensor.is_floating_point():
            tensor.copy_(0.1 * z)
    return net.eval()


@pytest.fixture(scope="module")
def narrow() -> C3D:
    return drawn(0.125)


@pytest.fixture(scope="module")
def port(narrow) -> dict[str, torch.Tensor]:
    """A state dict as in published files of Sports-1M weights, with fully connected layers; an eighth of the width."""
    heads = {f"fc{n}.{part}": torch.ones(3) for n in (6, 7, 8) for part in ("weight", "bias")}
    return narrow.state_dict() | heads


def by_hand(x: torch.Tensor, state: dict[str, torch.Tensor]) -> torch.Tensor:
    """The published network written out, from (n, 3, T, H, W) to conv5b's maps, for sizes that the pools divide."""
    for name in CHANNELS:
        if name in ("conv2", "conv3a", "conv4a", "conv5a"):
            x = F.max_pool3d(x, (1, 2, 2) if name == "conv2" else 2)
        x = F.relu(F.conv3d(x, state[f"{name}.weight"], state[f"{name}.bias"], padding=1))
    return x


def test_parameters_are_named_and_shaped_as_published():
    with torch.device("meta"):
        state = C3D().state_dict()
    assert [*state] == [f"{name}.{part}" for name in CHANNELS for part in ("weight", "bias")]
    assert state["conv3a.weight"].shape == (256, 128, 3, 3, 3) and state["conv5b.bias"].shape == (512,)
    assert sum(tensor.numel() for tensor in state.values()) == 27_655_936


def test_layers_follow_each_other_as_published(narrow):
    x = torch.randn(2, 3, 16, 32, 48, generator=torch.Generator().manual_seed(0))
    with torch.inference_mode():
        assert torch.allclose(narrow(x), by_hand(x, narrow.state_dict()), atol=1e-5)
        assert narrow(x).shape == (2, 64, 2, 2, 3) and narrow.channels == 64
        assert narrow(torch.randn(1, 3, 9, 33, 17)).shape == (1, 64, 2, 3, 2)  # the pools round up


def test_the_published_form_is_the_trained_one():
    net = drawn(0.125, norm=True)
    x = torch.randn(2, 3, 16, 32, 32, generator=torch.Generator().manual_seed(1))
    published = net.train().published()
    assert net.training and net.norm and not published.training and not published.norm
    with torch.inference_mode():
        assert relative(published(x), net.eval()(x)) < 1e-5
        assert relative(net.train()(x), published(x)) > 1e-2  # batch statistics differ from the running ones
    assert state_digest(published.published().state_dict()) == state_digest(published.state_dict())


@pytest.mark.parametrize(
    "clip_sampling,frames,starts,length",
    [
        ("9x16", 96, range(0, 81, 10), 16),
        ("10x16", 103, [*range(0, 81, 10), 86], 16),
        ("dense", 103, [0], 103),
        ("segments", 32, [0, 16], 16),
    ],
)
def test_features_are_maps_averaged_over_space(narrow, clip_sampling, frames, starts, length):
    draw = torch.Generator().manual_seed(3)
    videos = torch.randint(0, 256, (2, frames, 3, 35, 48), dtype=torch.uint8, generator=draw)
    with torch.inference_mode():
        maps = narrow(clips_of(videos, starts, length).flatten(0, 1)).mean((3, 4)).transpose(1, 2)
    reference = maps.reshape(2, -1, 64)
    assert relative(FrozenC3D(narrow, torch.float32).features(videos, clip_sampling), reference) < 1e-5
    if fast_dtype("cpu") == torch.bfloat16:
        assert relative(FrozenC3D(narrow, torch.bfloat16).features(videos, clip_sampling), reference) < 3e-2
    both = FrozenC3D(narrow).features(videos, clip_sampling)
    assert torch.equal(both, torch.cat([FrozenC3D(narrow).features(video[None], clip_sampling) for video in videos]))


def test_sports_1m_weights_see_blue_first_and_means_taken_off(narrow, port, tmp_path):
    file = tmp_path / "c3d.pickle"
    torch.save({f"module.{name}": tensor for name, tensor in port.items()}, file)
    net = load_c3d(file)
    assert net.width == 0.125 and net.scaling == "sports-1m" and not net.training
    video = torch.randint(0, 256, (1, 16, 3, 32, 32), dtype=torch.uint8, generator=torch.Generator().manual_seed(4))
    less = video.float() - torch.tensor(SCALINGS["sports-1m"][0]).view(3, 1, 1)
    with torch.inference_mode():
        expected = by_hand(less.flip(2).transpose(1, 2), narrow.state_dict()).mean((3, 4)).transpose(1, 2)
    frozen = FrozenC3D(net, torch.float32)
    assert relative(frozen.features(video, "dense"), expected) < 1e-5
    assert frozen.scaling == "sports-1m"


def test_safetensors_of_the_same_names_are_taken_too(narrow, tmp_path):
    save_file(narrow.state_dict(), tmp_path / "c3d.safetensors")
    net = load_c3d(tmp_path / "c3d.safetensors")
    assert torch.equal(net.conv5b.weight, narrow.conv5b.weight)
    assert torch.equal(net.conv1.weight.flip(1), narrow.conv1.weight)


def test_what_lacks_or_does_not_fit_is_named(port, tmp_path):
    file = tmp_path / "c3d.pickle"
    torch.save({name: t for name, t in port.items() if name != "conv4b.bias"}, file)
    refused(load_c3d, file, "'conv4b.bias' is missing")
    torch.save({name: t for name, t in port.items() if name != "conv1.weight"}, file)
    refused(load_c3d, file, "entry 'conv1.")
    torch.save(port | {"conv3a.weight": port["conv3a.weight"][:, :7]}, file)
    refused(load_c3d, file, "'conv3a.weight' is (32, 7, 3, 3, 3), not (32, 16, 3, 3, 3)")
    torch.save(port | {"conv6.weight": torch.zeros(2)}, file)
    refused(load_c3d, file, "'conv6.weight' does not belong")
    torch.save({"Conv3d_1a_7x7.conv3d.weight": torch.zeros(2)}, file)
    refused(load_c3d, file, "'Conv3d_1a_7x7.conv3d.weight' does not belong", "more do not fit")
    torch.save(port | {"conv2.bias": torch.full((16,), torch.nan)}, file)
    refused(load_c3d, file, "'conv2.bias' is not a named tensor")
    with pytest.raises(FileNotFoundError):
        load_c3d(tmp_path / "absent.pickle")


def test_the_users_weights_take_the_place_of_the_shipped(port, tmp_path, monkeypatch):
    monkeypatch.delenv("SAPNET_C3D", raising=False)
    shipped = backbone_digest("c3d")
    torch.save(port, tmp_path / "c3d.pickle")
    monkeypatch.setenv("SAPNET_C3D", str(tmp_path / "c3d.pickle"))
    assert load_backbone("c3d").channels == 64 and backbone_digest("c3d") != shipped
    monkeypatch.setenv("SAPNET_C3D", str(tmp_path / "absent.pickle"))
    with pytest.raises(FileNotFoundError, match="SAPNET_C3D"):
        load_backbone("c3d")
    assert backbone_digest("i3d")  # other backbones do not read SAPNET_C3D


def test_shipped_weights_are_small_whole_and_know_what_a_dive_is():
    assert SHIPPED.stat().st_size <= 4 * 2**20
    metadata, net = read_tensors(SHIPPED)[1], load_c3d()
    assert state_digest(net.state_dict()) == metadata["digest"] and net.scaling == "symmetric"
    assert Recipe(**metadata["recipe"]) == RECIPES["c3d"]
    for part in metadata["accuracy"].values():
        assert all(part[head] > metadata["chance"][head] + 0.05 for head in HEADS), part
