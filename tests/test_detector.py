"""Person detectors: boxes through the resize, our decoding against torchvision's, weight files, AP, training."""

import pickle
from pathlib import Path

import pytest
import torch
from torchvision.models import detection
from torchvision.ops import box_iou

from sapnet_core.datasets import load_records
from sapnet_core.detection.crops import resize_boxes
from sapnet_core.detection.detector import (
    SHIPPED,
    Detector,
    detection_scores,
    detector_digest,
    load_detector,
    looked_at,
    small_ssd,
)
from sapnet_core.recipes import train_detector as detector_training
from sapnet_core.recipes.train_detector import (
    Recipe,
    carry_boxes,
    draw_windows,
    evaluate,
    people_boxes,
    recipe_records,
    train_detector,
)
from sapnet_core.runtime.files import read_tensors, write_tensors
from sapnet_core.simulator import simulate
from sapnet_core.simulator.draw_annotations import write_annotations
from sapnet_core.simulator.settings import SimSettings


def seeded(build, seed: int = 0):
    """A network with random weights; the state of the global RNG stays untouched."""
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        return build()


def lively(net):
    """Set the BatchNorm statistics of a random network to those of a few images, so that its outputs vary."""
    for module in net.modules():
        if isinstance(module, torch.nn.BatchNorm2d):
            module.momentum = 1.0
    net.train()
    with torch.no_grad():
        x = pictures(8, net.transform.fixed_size[1], net.transform.fixed_size[0], 9).float() / 128 - 1
        net.head(list(net.backbone(x).values()))
    return net.eval()


@pytest.fixture(scope="module")
def random_small() -> Detector:
    return Detector(lively(seeded(small_ssd)), "random", threshold=0.5)


@pytest.fixture(scope="module")
def shipped() -> Detector:
    return load_detector()


@pytest.fixture(scope="module")
def dives(tmp_path_factory):
    root = write_annotations("finediving", tmp_path_factory.mktemp("dives") / "set", 6, 1, 77).parent
    return load_records("finediving", root)[:6]


@pytest.fixture(scope="module")
def twin(dives):
    return simulate(dives[0], seed=31, settings=SimSettings(bystanders=0, nuisance=0.5, texture=0.5), size=128)


def pictures(count: int, height: int, width: int, seed: int = 0) -> torch.Tensor:
    """Smooth random images (count, 3, height, width), uint8, in which neighboring pixels are alike."""
    draw = torch.Generator().manual_seed(seed)
    coarse = torch.rand(count, 3, 6, 9, generator=draw)
    smooth = torch.nn.functional.interpolate(coarse, (height, width), mode="bicubic").clamp(0, 1)
    return (255 * smooth).to(torch.uint8)


def test_each_fourth_frame_and_the_last_are_searched():
    assert looked_at(10, 4).tolist() == [0, 4, 8, 9] and looked_at(9, 4).tolist() == [0, 4, 8]
    assert looked_at(1, 4).tolist() == [0] and looked_at(3, 1).tolist() == [0, 1, 2]
    with pytest.raises(ValueError, match="at least 1"):
        looked_at(0, 4)


@pytest.mark.parametrize("name", ["small", "ssdlite320"])
def test_lean_decoding_finds_what_torchvisions_own_finds(name):
    """With folded BatchNorm, the person class alone, few candidates and batched frames, the boxes are those of
    SSD.forward for class 1."""
    large = detection.ssdlite320_mobilenet_v3_large
    small = name == "small"
    net = lively(seeded(small_ssd if small else lambda: large(weights=None, weights_backbone=None, num_classes=4)))
    frames = pictures(2, 90, 150)
    threshold, overlap = 0.6 if small else 0.26, 0.45
    net.score_thresh, net.nms_thresh, net.topk_candidates, net.detections_per_img = threshold, overlap, 100, 10**6
    with torch.inference_mode():
        whole = net([frame.float() / 255 for frame in frames])
    mine = Detector(net, name, threshold=threshold, overlap=overlap, most=1000).detect(frames)
    for (boxes, scores), reference in zip(mine, whole, strict=True):
        person = reference["labels"] == 1
        theirs, sure = reference["boxes"][person], reference["scores"][person]
        assert 5 < len(boxes) and abs(len(boxes) - len(theirs)) <= 2  # near ties may be decided differently
        off, place = torch.cdist(boxes, theirs, p=1).min(1)
        same = (off < 0.1) & ((scores - sure[place]).abs() < 1e-3)
        assert same.sum() >= len(boxes) - 2


def test_batches_and_the_most_boxes_change_nothing_else(random_small):
    frames = pictures(9, 80, 80)
    one, many = random_small.detect(frames, batch=1), random_small.detect(frames, every=1, batch=16)
    for (a, s), (b, t) in zip(one, many, strict=True):
        torch.testing.assert_close(a, b, atol=1e-3, rtol=1e-4)
        torch.testing.assert_close(s, t, atol=1e-4, rtol=1e-3)
        assert len(a) <= random_small.most and (s.diff() <= 0).all() and (s > 0.5).all()
    assert len(random_small.detect(frames, every=4)) == 3  # 0, 4, 8


class Fixed(torch.nn.Module):
    """A detection head that predicts one box for every image, from the anchor with the highest IoU."""

    def __init__(self, net, box: torch.Tensor, anchors: torch.Tensor):
        super().__init__()
        best = box_iou(box[None], anchors)[0].argmax()
        self.codes = torch.zeros(1, len(anchors), 4)
        self.codes[0, best] = net.box_coder.encode_single(box[None], anchors[best : best + 1])[0]
        self.logits = torch.zeros(1, len(anchors), 2)
        self.logits[..., 0] = 5.0
        self.logits[0, best] = torch.tensor([0.0, 5.0])

    def forward(self, maps):
        count = len(maps[0])
        return {"bbox_regression": self.codes.repeat(count, 1, 1), "cls_logits": self.logits.repeat(count, 1, 1)}


@pytest.mark.parametrize("picture", [(160, 160), (80, 320), (256, 456), (33, 57)])
def test_place_in_the_network_comes_back_as_the_place_in_the_frame(picture):
    """From the network's input to the frame, a box scales with the width in x and with the height in y, and is not
    shifted."""
    detector = Detector(seeded(small_ssd), "fixed")
    box = torch.tensor([40.0, 24.0, 72.0, 120.0])  # 0.25, 0.15, 0.45 and 0.75 of 160 pixels
    detector.net.head = Fixed(detector.net, box, detector.anchors)
    height, width = picture
    ((boxes, scores),) = detector.detect(torch.zeros(1, 3, height, width, dtype=torch.uint8))
    expected = torch.tensor([[0.25 * width, 0.15 * height, 0.45 * width, 0.75 * height]])
    torch.testing.assert_close(boxes, expected, atol=1e-3, rtol=1e-4)
    torch.testing.assert_close(boxes, resize_boxes(box[None], (160, 160), picture), atol=1e-3, rtol=1e-4)
    assert len(scores) == 1 and scores[0] > 0.99


def test_shipped_weights_find_a_diver_where_the_truth_is(shipped, twin):
    shown = detector_training.actor_shown(twin)
    assert 0.3 < shown.float().mean() < 1  # at the end the diver is under water
    found = shipped.detect(twin.video[shown])
    best = torch.stack(
        [
            box_iou(boxes, true[None]).amax() if len(boxes) else torch.zeros(())
            for (boxes, _), true in zip(found, twin.boxes[shown], strict=True)
        ]
    )
    assert best.mean() > 0.6 and (best > 0.5).float().mean() > 0.8
    # no constant offset: the medians of the centers' errors are near 0
    off = torch.stack(
        [
            ((b[0, :2] + b[0, 2:]) - (t[:2] + t[2:])) / 2
            for (b, _), t in zip(found, twin.boxes[shown], strict=True)
            if len(b)
        ]
    )
    assert off.median(0).values.abs().max() < 1.5


def test_boxes_move_and_mirror_and_grow_with_the_picture(shipped, twin):
    video = twin.video[detector_training.actor_shown(twin)][::6]
    height, width = video.shape[-2:]
    plain = shipped.detect(video)

    def compare(changed, carry, least=0.75):
        pairs = [(carry(a[:1]), b) for (a, _), (b, _) in zip(plain, shipped.detect(changed), strict=True) if len(a)]
        ious = torch.stack([box_iou(a, b).amax() if len(b) else torch.zeros(()) for a, b in pairs])
        assert len(pairs) >= 3 and ious.median() > least

    flip = torch.tensor([-1.0, 1, -1, 1])
    compare(video.flip(-1), lambda b: (b * flip + torch.tensor([width, 0.0, width, 0.0]))[:, [2, 1, 0, 3]])
    big = torch.nn.functional.interpolate(video.float(), (2 * height, 3 * width), mode="bilinear").to(torch.uint8)
    compare(big, lambda b: resize_boxes(b, (height, width), (2 * height, 3 * width)), 0.9)
    moved = torch.nn.functional.pad(video.float(), (16, 0, 8, 0), mode="replicate").to(torch.uint8)
    moved = moved[..., :height, :width]  # 16 pixels to the right, 8 down
    compare(moved, lambda b: b + torch.tensor([16.0, 8, 16, 8]))


def test_no_person_no_box(shipped):
    for boxes, scores in shipped.detect(torch.full((2, 3, 60, 100), 128, dtype=torch.uint8)):
        assert boxes.shape == (0, 4) and scores.shape == (0,)


def test_frames_must_be_what_they_are_said_to_be(random_small):
    with pytest.raises(ValueError, match=r"float32 \(2, 3, 8, 8\)"):
        random_small.detect(torch.zeros(2, 3, 8, 8))
    with pytest.raises(ValueError, match=r"\(2, 8, 8, 3\)"):
        random_small.detect(torch.zeros(2, 8, 8, 3, dtype=torch.uint8))


def test_coco_weights_from_a_file_are_loaded_whole_or_refused(tmp_path):
    net = seeded(lambda: detection.ssdlite320_mobilenet_v3_large(weights=None, weights_backbone=None))
    state = net.state_dict()
    torch.save(state, tmp_path / "whole.pth")
    detector = load_detector("ssdlite320", tmp_path / "whole.pth")
    assert detector.size == (320, 320) and len(detector.detect(pictures(1, 40, 50))) == 1
    assert load_detector(tmp_path / "whole.pth").name == "ssdlite320"  # recognized by its content
    key = "head.classification_head.module_list.0.1.bias"
    changes = {
        "partial": ({k: v for k, v in state.items() if k != key}, f"partial.pth: .*'{key}'"),
        "classes": (state | {key: torch.zeros(12)}, rf"classes.pth: .*'{key}'.*\(12,\).*\(546,\)"),
        "other": (state | {"extra": torch.zeros(1)}, "other.pth: .*'extra'"),
        "nested": ({"weights": state}, "nested.pth: "),
    }
    for name, (content, message) in changes.items():
        torch.save(content, tmp_path / f"{name}.pth")
        with pytest.raises(ValueError, match=message) as error:
            load_detector("ssdlite320", tmp_path / f"{name}.pth")
        assert "\n" not in str(error.value)


class Evil:
    """A hostile pickle: unpickling it creates the file `mark`."""

    def __init__(self, mark: Path):
        self.mark = mark

    def __reduce__(self):
        return Path.touch, (self.mark,)


def test_hostile_pickle_is_refused_and_not_run(tmp_path):
    file, mark = tmp_path / "evil.pth", tmp_path / "ran"
    file.write_bytes(pickle.dumps({"a": Evil(mark)}, protocol=2))
    torch.save({"a": Evil(mark)}, tmp_path / "evil2.pth")
    for path in (file, tmp_path / "evil2.pth"):
        with pytest.raises(ValueError, match=f"{path.name}: ") as error:
            load_detector("ssd300", path)
        assert "\n" not in str(error.value) and not mark.exists()


def test_names_and_weights_that_are_missing_are_named(tmp_path):
    with pytest.raises(ValueError, match="yolo.*shipped, ssd300, ssdlite320"):
        load_detector("yolo")
    with pytest.raises(ValueError, match='weights="download"'):
        load_detector("ssd300")
    with pytest.raises(FileNotFoundError):
        load_detector("shipped", tmp_path / "none.safetensors")
    write_tensors(tmp_path / "foreign.safetensors", {"a": torch.zeros(1)})
    with pytest.raises(ValueError, match="foreign.safetensors"):
        load_detector("shipped", tmp_path / "foreign.safetensors")


def test_shipped_file_is_small_and_tells_its_recipe():
    assert SHIPPED.stat().st_size < 4_000_000
    tensors, metadata = read_tensors(SHIPPED)
    assert all(t.dtype == torch.float16 for t in tensors.values())
    assert set(metadata["held_out"]) == set(metadata["recipe"]["sports"])
    for kinds in metadata["held_out"].values():
        for figures in kinds.values():
            assert figures["AP50"] > 0.5 and figures["IoU"] > 0.5


def test_average_precision_by_hand():
    truth = [torch.tensor([[0.0, 0, 10, 10]]), torch.tensor([[5.0, 5, 15, 25]])]
    right = [(truth[0], torch.tensor([0.9])), (truth[1], torch.tensor([0.8]))]
    assert detection_scores(right, truth) == {"AP": 1.0, "AP50": 1.0, "AR10": 1.0}
    # IoU 10/14 = 0.714: correct up to threshold 0.7
    wide = [(torch.tensor([[0.0, 0, 10, 14]]), torch.tensor([0.9])), right[1]]
    scores = detection_scores(wide, truth)
    # At thresholds from 0.75 on, the most confident detection is wrong: precision is 1/2 up to recall 1/2 (51 of 101
    # points) and 0 beyond.
    assert scores["AP50"] == 1.0 and abs(scores["AP"] - (5 + 5 * 0.5 * 51 / 101) / 10) < 1e-6
    none = [(torch.empty(0, 4), torch.empty(0))] * 2
    assert detection_scores(none, truth)["AP"] == 0.0
    assert torch.isnan(torch.tensor(detection_scores(right, [torch.empty(0, 4)] * 2)["AP"]))
    with pytest.raises(ValueError, match="2 frames"):
        detection_scores(right, truth[:1])


def test_windows_carry_boxes_as_they_cut_pictures():
    video = torch.zeros(6, 3, 144, 144, dtype=torch.uint8)
    video[..., 60:90, 50:70] = 255
    boxes = torch.full((6, 3, 4), torch.nan)
    boxes[:, 0] = torch.tensor([50.0, 60.0, 70.0, 90.0])
    windows = draw_windows(boxes, 144, torch.Generator().manual_seed(5))
    assert (windows[:, 0] > windows[:, 2]).any() and (windows[:, 0] < windows[:, 2]).any()  # some mirrored, some not
    cut = detector_training.crop_track(video, windows, 160)[:, 0] > 127
    for picture, carried in zip(cut, carry_boxes(boxes, windows, 160), strict=True):
        assert len(carried) == 1
        rows, columns = picture.any(1).nonzero()[:, 0], picture.any(0).nonzero()[:, 0]
        seen = torch.stack([columns[0], rows[0], columns[-1] + 1, rows[-1] + 1]).float()
        torch.testing.assert_close(carried[0], seen, atol=1.0, rtol=0)


def test_people_of_a_twin_are_the_actor_while_seen_and_those_who_stand_by(dives):
    twin = simulate(dives[1], seed=31, settings=SimSettings(bystanders=3), size=112)
    people = people_boxes(twin)
    assert people.shape[1] == 4
    gone = people[:, 0].isnan().any(1)
    assert gone[-1] and not gone[: len(gone) // 3].any()  # under water at the end
    torch.testing.assert_close(people[~gone, 0], twin.boxes[~gone])


def test_recipe_learns_and_writes_what_can_be_loaded(tmp_path):
    recipe = Recipe(sports=("finediving",), dives=5, frames=30, epochs=16, width=0.5, size=96, held_out=0.2, batch=8)
    news = []
    history = train_detector(tmp_path / "w.safetensors", recipe, workers=1, folder=tmp_path, progress=news.append)
    assert history["loss"][-1] < 0.95 * history["loss"][0]
    assert news[-1]["step"] == 48 and set(history["held_out"]["finediving"]) == {"plain", "wild"}
    detector = load_detector("shipped", tmp_path / "w.safetensors")
    assert detector_digest(tmp_path / "w.safetensors") != detector_digest()
    assert detector.size == (96, 96) and len(detector.detect(pictures(5, 50, 60), every=2)) == 3
    with pytest.raises(ValueError, match="held_out"):
        recipe_records(Recipe(dives=1), tmp_path)


def test_evaluation_is_of_the_twins_it_is_given(shipped, dives):
    figures = evaluate(shipped, [(3, dives[0])], Recipe(), wild=False)
    assert set(figures) == {"AP", "AP50", "AR10", "IoU", "found", "lost", "fps"} and figures["AP50"] > 0.5
