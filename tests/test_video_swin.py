"""Video Swin: torchvision's files give torchvision's features, other files are refused, and a clip has two steps."""

import pytest
import torch
import torch.nn.functional as F
from refusal import refused
from test_backbone import clips_of, relative
from torchvision.models.video import swin3d_b, swin3d_s, swin3d_t

from sapnet_core.backbones.i3d import fast_dtype, state_digest
from sapnet_core.backbones.registry import load_backbone
from sapnet_core.backbones.video_swin import SHIPPED, FrozenSwin, VideoSwin, _published_form, load_swin, small_form
from sapnet_core.recipes.pretrain_backbones import HEADS, RECIPES, Recipe
from sapnet_core.runtime.files import read_tensors


def draw(net):
    g = torch.Generator().manual_seed(11)
    with torch.no_grad():
        for parameter in net.parameters():
            parameter.add_(0.05 * torch.randn(parameter.shape, generator=g))
    return net.eval()


@pytest.fixture(scope="module")
def tiny():
    """torchvision's smallest Video Swin, with random weights."""
    return draw(swin3d_t(weights=None))


@pytest.fixture(scope="module")
def small() -> VideoSwin:
    return draw(VideoSwin(**small_form(0.125)))


@pytest.mark.parametrize("wrapped", [False, True])
def test_torchvisions_file_gives_torchvisions_features(tiny, tmp_path, wrapped):
    state = tiny.state_dict()
    torch.save({"model": {f"module.{k}": v for k, v in state.items()}} if wrapped else state, tmp_path / "swin3d_t.pth")
    video = torch.randint(0, 256, (1, 16, 3, 40, 64), dtype=torch.uint8, generator=torch.Generator().manual_seed(4))
    mean, sd = torch.tensor([0.485, 0.456, 0.406]), torch.tensor([0.229, 0.224, 0.225])
    x = (video.transpose(1, 2) / 255 - mean.view(3, 1, 1, 1)) / sd.view(3, 1, 1, 1)  # as torchvision normalizes
    seen = []
    hook = tiny.norm.register_forward_hook(lambda module, given, out: seen.append(out))
    with torch.inference_mode():
        tiny(x)
    hook.remove()
    halves = seen[0].mean((2, 3)).unflatten(1, (2, 4)).mean(2)  # (1, 8, H', W', C) -> two steps
    frozen = FrozenSwin(load_swin(tmp_path / "swin3d_t.pth"), torch.float32)
    assert frozen.channels == 768 and frozen.scaling == "imagenet"
    assert relative(frozen.features(video, "dense"), halves) < 1e-4


@pytest.mark.parametrize("build", [swin3d_t, swin3d_s, swin3d_b])
def test_the_three_published_networks_are_told_apart(build):
    with torch.device("meta"):
        state = {name: t for name, t in build(weights=None).state_dict().items() if not name.startswith("head.")}
        own = VideoSwin(**_published_form(state)).state_dict()
    assert {name: t.shape for name, t in own.items()} == {name: t.shape for name, t in state.items()}


@pytest.mark.parametrize(
    "clip_sampling,frames,starts,length",
    [("10x16", 103, [*range(0, 81, 10), 86], 16), ("dense", 103, [0], 103), ("segments", 32, [0, 16], 16)],
)
def test_features_are_maps_averaged_over_space_and_eight_frames(small, clip_sampling, frames, starts, length):
    chance = torch.Generator().manual_seed(3)
    videos = torch.randint(0, 256, (2, frames, 3, 33, 40), dtype=torch.uint8, generator=chance)
    with torch.inference_mode():
        maps = small(clips_of(videos, starts, length).flatten(0, 1))  # (2*clips, C, T', H', W')
    means = maps.mean((3, 4))
    assert maps.shape[2] == -(-length // 4) and maps.shape[1] == small.channels == 128
    steps = [part.mean(2) for part in means.split(2, 2)]  # a token covers four frames, a step eight
    reference = torch.stack(steps, 1).reshape(2, -1, 128)
    assert relative(FrozenSwin(small, torch.float32).features(videos, clip_sampling), reference) < 1e-4
    if fast_dtype("cpu") == torch.bfloat16:
        assert relative(FrozenSwin(small, torch.bfloat16).features(videos, clip_sampling), reference) < 6e-2
    both = FrozenSwin(small).features(videos, clip_sampling)
    assert torch.equal(both, torch.cat([FrozenSwin(small).features(video[None], clip_sampling) for video in videos]))


def test_frames_of_any_size_have_features(small):
    net = FrozenSwin(small)
    for height, width in ((30, 45), (64, 33)):
        assert net.features(torch.zeros(1, 16, 3, height, width, dtype=torch.uint8), "dense").shape == (1, 2, 128)
    with pytest.raises(ValueError, match="uint8"):
        net.features(torch.zeros(1, 16, 3, 32, 32), "dense")


def test_what_lacks_or_does_not_fit_is_named(tiny, tmp_path):
    file, state = tmp_path / "swin.pth", tiny.state_dict()
    key = "features.4.3.attn.qkv.weight"
    torch.save({name: t for name, t in state.items() if name != key}, file)
    refused(load_swin, file, f"{key!r} is missing")
    torch.save(state | {key: state[key][:5]}, file)
    refused(load_swin, file, f"{key!r} is (5, 384), not (1152, 384)")
    torch.save(state | {"fc.weight": torch.zeros(2)}, file)
    refused(load_swin, file, "'fc.weight' does not belong")
    torch.save({name: t for name, t in state.items() if not name.startswith("features.4.5.")}, file)
    refused(load_swin, file, "'features.4.5.", "more do not fit")
    torch.save(draw(VideoSwin(**small_form(0.25))).state_dict(), file)  # without metadata on its form
    refused(load_swin, file, "not (", "more do not fit")
    torch.save({"conv1.weight": torch.zeros(64)}, file)
    refused(load_swin, file, "'conv1.weight' does not belong")


def test_the_users_weights_take_the_place_of_the_shipped(tiny, tmp_path, monkeypatch):
    monkeypatch.delenv("SAPNET_SWIN", raising=False)
    assert load_backbone("swin").channels < 768
    torch.save(tiny.state_dict(), tmp_path / "swin3d_t.pth")
    monkeypatch.setenv("SAPNET_SWIN", str(tmp_path / "swin3d_t.pth"))
    assert load_backbone("swin").channels == 768


def test_shipped_weights_are_small_whole_and_know_what_a_dive_is():
    assert SHIPPED.stat().st_size <= 4 * 2**20
    (tensors, metadata), net = read_tensors(SHIPPED), load_swin()
    assert state_digest(net.state_dict()) == metadata["digest"] and net.scaling == "symmetric"
    assert not any(name.startswith("head") or "index" in name for name in tensors)
    assert Recipe(**metadata["recipe"]) == RECIPES["swin"]
    for part in metadata["accuracy"].values():
        assert all(part[head] > metadata["chance"][head] + 0.05 for head in HEADS), part
    x = torch.zeros(1, 3, 16, 32, 32)
    with torch.inference_mode():
        assert F.adaptive_avg_pool3d(net(x), 1).isfinite().all()
