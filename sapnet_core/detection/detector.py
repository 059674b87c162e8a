"""Person detection: three single-shot detectors behind one interface, and their average precision.

- "ssd300": SSD300-VGG16 (Liu et al., ECCV 2016), the paper's choice; "ssdlite320": SSDLite320-MobileNetV3, a light
  alternative. Both are torchvision's, with weights trained on COCO, from a file or by download.
- "shipped": a small SSDLite at 160 x 160 on a narrow MobileNetV3, one class, that comes with the package. It was
  trained on simulated frames alone (`sapnet_core.recipes.train_detector`), so that it detects simulated people only.

An SSD processes each image once. Every cell of several feature maps has anchors, boxes of fixed sizes and shapes; for
each anchor the network predicts class logits and a code (tx, ty, tw, th) that moves the anchor to the person:
cx = ax + aw tx / 10, cy = ay + ah ty / 10, w = aw exp(tw / 5), h = ah exp(th / 5).

Boxes are xyxy in continuous pixels of the given frames (see `detection.crops`), whatever the network's input size.
"""

import contextlib
import io
from collections import OrderedDict
from collections.abc import Sequence
from functools import partial
from pathlib import Path

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.nn.utils.fusion import fuse_conv_bn_eval
from torchvision.models import detection
from torchvision.models.detection.anchor_utils import DefaultBoxGenerator
from torchvision.models.detection.image_list import ImageList
from torchvision.models.detection.ssd import SSD
from torchvision.models.detection.ssdlite import SSDLiteHead
from torchvision.models.mobilenetv3 import mobilenet_v3_small
from torchvision.ops import Conv2dNormActivation, batched_nms, clip_boxes_to_image

from sapnet_core.detection.crops import resize_boxes
from sapnet_core.runtime.files import fill_weights, read_weights
from sapnet_core.runtime.fingerprint import cached_file_digest, code_digest, fingerprint

__all__ = [
    "DETECTORS",
    "SHIPPED",
    "Detector",
    "detection_scores",
    "detector_digest",
    "load_detector",
    "looked_at",
    "small_ssd",
]

SHIPPED = Path(__file__).parent.parent / "weights" / "person_sim.safetensors"
PERSON = 1  # class of people in COCO, and the only class of the shipped detector; 0 is the background
DETECTORS = {
    "ssd300": (detection.ssd300_vgg16, detection.SSD300_VGG16_Weights.COCO_V1),
    "ssdlite320": (detection.ssdlite320_mobilenet_v3_large, detection.SSDLite320_MobileNet_V3_Large_Weights.COCO_V1),
}
CANDIDATES = 100  # anchors per frame that are decoded: those with the highest scores


class _Maps(nn.Module):
    """MobileNetV3-small as a feature pyramid with strides 8, 16, 32 and 64.

    A map is taken where a block has expanded its channels and has yet to halve the map, as SSDLite does. The next
    coarser map is added to those of strides 16 and 8 through a 1x1 convolution, as feature pyramids do: divers are
    small and close to each other, so they need fine maps, but recognizing one needs a large receptive field.
    """

    def __init__(self, width: float, norm):
        super().__init__()
        layers = mobilenet_v3_small(width_mult=width, norm_layer=norm).features
        deep = layers[11].out_channels
        coarse = nn.Sequential(
            Conv2dNormActivation(deep, 64, 1, norm_layer=norm, activation_layer=nn.ReLU6),
            Conv2dNormActivation(64, 64, 3, 2, groups=64, norm_layer=norm, activation_layer=nn.ReLU6),
            Conv2dNormActivation(64, 128, 1, norm_layer=norm, activation_layer=nn.ReLU6),
        )
        self.stages = nn.ModuleList(
            [
                nn.Sequential(*layers[:4], layers[4].block[0]),
                nn.Sequential(layers[4].block[1:], *layers[5:9], layers[9].block[0]),
                nn.Sequential(layers[9].block[1:], *layers[10:12]),
                coarse,
            ]
        )
        self.channels = [layers[4].block[0].out_channels, layers[9].block[0].out_channels, deep, 128]
        self.down = nn.ModuleList(
            Conv2dNormActivation(coarser, finer, 1, norm_layer=norm, activation_layer=None)
            for finer, coarser in zip(self.channels[:2], self.channels[1:3], strict=True)
        )

    def forward(self, x: Tensor) -> OrderedDict[str, Tensor]:
        maps = []
        for stage in self.stages:
            maps.append(x := stage(x))
        for k in (1, 0):
            maps[k] = maps[k] + F.interpolate(self.down[k](maps[k + 1]), maps[k].shape[-2:])
        return OrderedDict((str(number), x) for number, x in enumerate(maps))


def small_ssd(width: float = 0.75, size: int = 160) -> SSD:
    """The architecture of "shipped": an SSDLite built from torchvision's parts, with one class and random weights.

    Anchors have 0.17 to 1 of the image's size, in upright, square and flat shapes: divers fold and turn.
    """
    norm = partial(nn.BatchNorm2d, eps=1e-3, momentum=0.03)
    maps = _Maps(width, norm)
    anchors = DefaultBoxGenerator([[2, 3], [2, 3], [2, 3], [2]], scales=[0.17, 0.3, 0.5, 0.75, 1.0])
    head = SSDLiteHead(maps.channels, anchors.num_anchors_per_location(), 2, norm)
    half = [0.5, 0.5, 0.5]
    return SSD(maps, anchors, (size, size), 2, head=head, image_mean=half, image_std=half)


def looked_at(frames: int, every: int) -> Tensor:
    """Indices of the frames that are searched: every `every`-th, and the last; (1 + ceil((frames - 1) / every),) int64.

    Raises:
        ValueError: `frames` or `every` is below 1.
    """
    if frames < 1 or every < 1:
        raise ValueError(f"{frames} frames, every {every}th: give at least 1 of both")
    return torch.cat([torch.arange(0, frames - 1, every), torch.tensor([frames - 1])])


class Detector:
    """Detector of people in frames, by a torchvision SSD.

    Args:
        net: SSD whose class 1 is people; it is changed in place: batch normalization is folded into the convolutions.
        name: its name in tables.
        threshold: minimum score, the softmax probability of "person".
        overlap: IoU above which only the higher-scored of two boxes is kept (non-maximum suppression).
        most: maximum number of boxes per frame.
    """

    def __init__(self, net: SSD, name: str, *, threshold: float = 0.3, overlap: float = 0.45, most: int = 10):
        self.net, self.name = net.eval().requires_grad_(False), name
        self.threshold, self.overlap, self.most = threshold, overlap, most
        for unit in net.modules():
            if isinstance(unit, Conv2dNormActivation) and isinstance(unit[1], nn.BatchNorm2d):
                unit[0], unit[1] = fuse_conv_bn_eval(unit[0], unit[1]), nn.Identity()
        net.to(memory_format=torch.channels_last)
        transform = net.transform
        self.size = (transform.fixed_size[1], transform.fixed_size[0])  # height, width
        self.device = next(net.parameters()).device
        mean, std = (
            torch.tensor([v], device=self.device)[..., None, None]  # (1, 3, 1, 1)
            for v in (transform.image_mean, transform.image_std)
        )
        self.gain, self.shift = 1 / (255 * std), -mean / std
        self._anchors: Tensor | None = None

    @property
    def anchors(self) -> Tensor:
        """Anchors (A, 4) xyxy, in pixels of the network's input image."""
        if self._anchors is None:
            self.detect(torch.zeros(1, 3, *self.size, dtype=torch.uint8))
        return self._anchors

    def _heads(self, frames: Tensor) -> tuple[Tensor, Tensor]:
        """Box codes (B, A, 4) and probability of "person" (B, A) at the anchors, for uint8 frames (B, 3, H, W)."""
        x = frames.to(self.device).float().mul_(self.gain).add_(self.shift)
        # torchvision's resize, which the COCO weights expect: without antialiasing, pixel centers at one half
        x = F.interpolate(x, self.size, mode="bilinear", align_corners=False).to(memory_format=torch.channels_last)
        maps = list(self.net.backbone(x).values())
        heads = self.net.head(maps)
        if self._anchors is None:
            self._anchors = self.net.anchor_generator(ImageList(x[:1], [self.size]), maps)[0]  # (A, 4)
        logits = heads["cls_logits"]
        return heads["bbox_regression"], (logits[..., PERSON] - logits.logsumexp(-1)).exp()

    @torch.inference_mode()
    def detect(self, frames: Tensor, every: int = 1, batch: int = 16) -> list[tuple[Tensor, Tensor]]:
        """Detect people in the frames of `looked_at(len(frames), every)`, highest score first.

        Args:
            frames: uint8 (T, 3, H, W).
            batch: frames per forward pass.

        Returns: for each of these frames, boxes (n, 4) xyxy float32 inside the frame, and scores (n,), on the CPU.

        Raises:
            ValueError: the frames have another dtype or shape.
        """
        if frames.dtype != torch.uint8 or frames.ndim != 4 or frames.shape[1] != 3:
            raise ValueError(f"frames are {frames.dtype} {tuple(frames.shape)}: give uint8 (T, 3, H, W)")
        found = []
        for part in frames[looked_at(len(frames), every)].split(batch):
            codes, person = self._heads(part)
            score, place = person.topk(min(CANDIDATES, person.shape[1]))  # (B, 100): the highest scores
            row, column = (score > self.threshold).nonzero(as_tuple=True)
            score, place = score[row, column], place[row, column]
            boxes = self.net.box_coder.decode_single(codes[row, place], self._anchors[place])
            boxes = clip_boxes_to_image(boxes, self.size)
            keep = batched_nms(boxes, score, row, self.overlap)  # sorted by score, highest first
            boxes = resize_boxes(boxes[keep], self.size, tuple(frames.shape[-2:])).cpu()
            row, score = row[keep].cpu(), score[keep].cpu()
            found += [(boxes[row == i][: self.most], score[row == i][: self.most]) for i in range(len(part))]
        return found


def load_detector(
    name: Path | str = "shipped", weights: Path | str | None = None, device: torch.device | str = "cpu"
) -> Detector:
    """A detector by name: "shipped", "ssdlite320" or "ssd300"; or by its file of weights, whose entries identify it.

    Args:
        weights: a file of weights in the format of safetensors or of `torch.save` (read as plain tensors, without
            running code from it), or "download" for torchvision's COCO weights. None takes the weights in the package,
            which only "shipped" has.

    Raises:
        ValueError: the name is unknown, there are no weights, or the file does not hold exactly the weights of this
            detector; the message names the first wrong entry.
        FileNotFoundError: there is no such file.
    """
    names = ("shipped", *DETECTORS)
    if name not in names and weights is None and Path(name).suffix:
        name, weights = _kind(Path(name)), name
    if name not in names:
        raise ValueError(f"detector {name!r} is unknown: choose one of {', '.join(names)}, or give a file of weights")
    if weights is None and name != "shipped":
        raise ValueError(f'detector {name!r} has no weights in the package: give weights=PATH or weights="download"')
    if weights == "download" and name in DETECTORS:
        build, published = DETECTORS[name]
        return Detector(build(weights=published, progress=False).to(device), name)
    path = Path(weights or SHIPPED)
    state, metadata = read_weights(path)
    recipe = metadata.get("recipe", {})
    if name == "shipped":
        if not {"width", "size"} <= recipe.keys():
            raise ValueError(
                f"{path}: no detector of this project: give a file that `sapnet recipe train_detector` wrote"
            )
        net = small_ssd(float(recipe["width"]), int(recipe["size"]))
        counters = {key: t for key, t in net.state_dict().items() if key.endswith("num_batches_tracked")}
        state = {**counters, **{key: t.float() for key, t in state.items()}}
    else:
        net = DETECTORS[name][0](weights=None, weights_backbone=None)
    fill_weights(net, state, path)
    return Detector(net.to(device), name)


def detector_digest(weights: Path | None = None) -> str:
    """Hash of everything on which boxes and tracks of a detector depend: its file of weights (the one in the package if
    None) and its source code. No weights are loaded."""
    return fingerprint(cached_file_digest(weights or SHIPPED), code_digest("detection.detector", "detection.tracking"))


def _kind(path: Path) -> str:
    """The name of the detector that a file of weights belongs to."""
    state, metadata = read_weights(path)
    return "shipped" if metadata.get("recipe") else "ssd300" if "backbone.scale_weight" in state else "ssdlite320"


def detection_scores(found: Sequence[tuple[Tensor, Tensor]], truth: Sequence[Tensor]) -> dict[str, float]:
    """COCO's average precision of detections per frame, (boxes (n, 4), scores (n,)), against true boxes (m, 4).

    Returns: {"AP": mean over IoU thresholds 0.5, 0.55 ... 0.95, "AP50": at 0.5, "AR10": recall with 10 boxes per frame,
    mean over thresholds}, in 0..1, by pycocotools; NaN without a true box.

    Raises:
        ValueError: `found` and `truth` have different numbers of frames.
    """
    from pycocotools.coco import COCO
    from pycocotools.cocoeval import COCOeval

    if len(found) != len(truth):
        raise ValueError(f"detections of {len(found)} frames, truth of {len(truth)}: give one entry a frame each")

    def entries(boxes_of_frames):
        for image, boxes in enumerate(boxes_of_frames, 1):
            for x1, y1, x2, y2 in boxes.tolist():
                size = [x1, y1, x2 - x1, y2 - y1]
                yield {"image_id": image, "category_id": PERSON, "bbox": size, "area": size[2] * size[3], "iscrowd": 0}

    true = [{**entry, "id": number} for number, entry in enumerate(entries(truth), 1)]
    if not true:
        return dict.fromkeys(("AP", "AP50", "AR10"), float("nan"))
    scores = torch.cat([score for _, score in found]).tolist()
    guess = [{**entry, "score": s} for entry, s in zip(entries([boxes for boxes, _ in found]), scores, strict=True)]
    with contextlib.redirect_stdout(io.StringIO()):  # pycocotools prints its progress
        gold = COCO()
        images = [{"id": i + 1} for i in range(len(truth))]
        gold.dataset = {"images": images, "annotations": true, "categories": [{"id": PERSON}]}
        gold.createIndex()
        if not guess:
            return dict.fromkeys(("AP", "AP50", "AR10"), 0.0)
        judge = COCOeval(gold, gold.loadRes(guess), "bbox")
        judge.evaluate()
        judge.accumulate()
        judge.summarize()
    return {name: float(judge.stats[i]) for name, i in (("AP", 0), ("AP50", 1), ("AR10", 7))}
