"""The description of one training run.

`experiments.trial_data` gives the data that it learns from, `experiments.trial_hash` names it, `experiments.fit` trains
it, and `experiments.results` stores its result on disk.
"""

from dataclasses import dataclass

from sapnet_core.backbones.registry import BACKBONES
from sapnet_core.datasets.clips import CLIP_SAMPLINGS
from sapnet_core.experiments.profiles import DATASETS, MEASURED
from sapnet_core.experiments.selection import SELECT
from sapnet_core.features.sequences import SAMPLINGS
from sapnet_core.features.source import SOURCE_NAMES, TWINS
from sapnet_core.features.video_source import BOXES
from sapnet_core.methods import METHODS, trains_backbone
from sapnet_core.methods.settings import check_settings
from sapnet_core.runtime.values import choice, number, text, whole

__all__ = ["STAGE_OF", "TEACHERS", "Trial"]

TEACHERS = ("actor", "photometric", "frame")
# which part of the backbone learns -> the data that are stored of a video; "last blocks" are Mixed_5b and Mixed_5c
STAGE_OF = {"frozen": "features", "last blocks": "maps", "all": "pixels"}
MOST = 2**63 - 1  # largest seed that PyTorch accepts


@dataclass(frozen=True)
class Trial:
    """Description of one training run.

    Attributes:
        dataset: "mtl-aqa", "finediving", "rg", "finefs", "ui-prmd", "jigsaws" or "folder".
        source: "drawn" (twins of annotations drawn by the simulator), "official" (twins of the annotation files in the
            folder `SAPNET_DATA`), "videos" (the videos or sequences in that folder), "features" (published features in
            that folder, in place of videos) or "joints" (FineDiving's pose tracks in that folder).
        method: a name in `sapnet_core.methods`.
        share: labeled share of the training videos, in (0, 1]; 1 is the supervised column.
        seed: seed of labeled samples, weights and batches; equal seeds share labeled samples across methods.
        target: "execution" (learn score / difficulty, multiply the prediction by difficulty), "score", or the name of a
            record's sub-score, such as "tes".
        train, test: numbers of videos in each split, None for the official sizes.
        steps: number of optimizer steps; with `epochs`, their minimum.
        epochs: passes over the labeled videos, 0 to take `steps` alone. One rule for all methods: more labels mean more
            steps, so that a trial with all labels is trained as thoroughly as one with few.
        size: height and width of frames in pixels.
        twin_seed: seed of the drawn annotations and of the rendered twins.
        part: "test", or "validation", which holds out a quarter of the training videos and scores these (for tuning).
        group: the class that is learned and scored alone, such as "Ball"; "" for all.
        boxes: source of the actor's boxes: "true" (the simulator), "detected", or "whole" (no crop); see
            `features.video_source`.
        teacher: the teacher's view: the "actor" crop, the whole "frame", or "photometric", whole frames with changed
            colors, light and sharpness.
        clip_sampling: a name in `datasets.clips.CLIP_SAMPLINGS` (E1), or for sequences one in `sequences.SAMPLINGS`; ""
            is the dataset's protocol, "windows" for sequences.
        select: the step whose weights are scored: "last"; "validation", the best step on a quarter of the labeled
            videos, which L_reg then does not see; or "test-best", the best step on the scored videos themselves. The
            last is common in the field but biased: it reports the maximum of many evaluations on the test scores.
        overrides: settings of the method that differ from its defaults, as sorted pairs of name and value.
        backbone: the network whose features are learned from, a name in `backbones.registry.BACKBONES`.
        backbone_training: "frozen": the backbone's features are fixed; "last blocks": I3D's Mixed_5b and Mixed_5c learn
            too, from cached maps of the blocks before; "all": all of I3D learns, from pixels.

    Raises:
        ValueError: a field or a setting of the method has a value that cannot be used.
    """

    dataset: str
    source: str
    method: str
    share: float
    seed: int
    target: str
    train: int | None
    test: int | None
    steps: int
    size: int = 112
    twin_seed: int = 0
    part: str = "test"
    group: str = ""
    boxes: str = "true"
    teacher: str = "actor"
    clip_sampling: str = ""
    select: str = "last"
    overrides: tuple[tuple[str, object], ...] = ()
    backbone: str = "i3d"
    backbone_training: str = "frozen"
    epochs: float = 0.0

    def __post_init__(self):
        number("share", self.share, 0, 1, "least")
        number("epochs", self.epochs, 0)
        for name in ("share", "epochs"):  # 1 and 1.0 are one trial, and have one hash
            object.__setattr__(self, name, float(getattr(self, name)))
        for name, known in (
            ("dataset", (*DATASETS, *MEASURED, "folder")),
            ("source", SOURCE_NAMES),
            ("part", ("test", "validation")),
            ("boxes", BOXES),
            ("teacher", TEACHERS),
            ("clip_sampling", ("", *CLIP_SAMPLINGS, *SAMPLINGS)),
            ("select", SELECT),
            ("backbone", tuple(BACKBONES)),
            ("backbone_training", tuple(STAGE_OF)),
        ):
            choice(name, getattr(self, name), tuple(known))
        for name, least in (("seed", 0), ("twin_seed", 0), ("steps", 1), ("size", 2), ("train", 1), ("test", 1)):
            if name not in ("train", "test") or getattr(self, name) is not None:
                whole(name, getattr(self, name), least, MOST)
        text("target", self.target), text("group", self.group)
        object.__setattr__(self, "overrides", tuple(sorted(_pairs(self.overrides), key=lambda pair: pair[0])))
        check_settings(self.method, dict(self.overrides))
        if self.backbone_training != "frozen":
            self._check_trained()

    @property
    def is_twin(self) -> bool:
        """Whether the trial's videos are simulated twins, whose quality is known."""
        return self.source in TWINS

    def _check_trained(self) -> None:
        """Refuse a trial that cannot train its backbone. Raises ValueError."""
        asked = f"backbone_training={self.backbone_training!r}"
        if self.backbone != "i3d" or self.dataset not in DATASETS:
            raise ValueError(f"{asked}: only I3D on videos can be trained, not {self.backbone!r} on {self.dataset!r}")
        if self.source in ("features", "joints"):
            raise ValueError(
                f"{asked}: it needs maps or pixels of videos, and {SOURCE_NAMES[self.source]} have neither"
            )
        if not trains_backbone(self.method):
            known = ", ".join(name for name in METHODS if trains_backbone(name))
            raise ValueError(f"{asked}: {self.method} learns from fixed features: choose one of {known}")
        if self.teacher == "photometric":
            raise ValueError(f"{asked}: the teacher's view must be 'actor' or 'frame', not {self.teacher!r}")

    @property
    def sub_score(self) -> str:
        """The record's sub-score that serves as the true score: "score", also if the target is execution."""
        return "score" if self.target == "execution" else self.target


def _pairs(overrides: object) -> list[tuple[str, object]]:
    every = list(overrides) if isinstance(overrides, (tuple, list)) else [None]
    pairs = [tuple(pair) for pair in every if isinstance(pair, (tuple, list)) and len(pair) == 2]
    if len(pairs) < len(every) or len({str(name) for name, _ in pairs}) < len(pairs):
        wanted = "give pairs of a setting's name and its value, each name once"
        raise ValueError(f"overrides={overrides!r} are not settings: {wanted}")
    return [(str(name), value) for name, value in pairs]
