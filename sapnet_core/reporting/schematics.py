"""A small schematic for each family of systems: boxes and arrows from features to the score, what is special in color.

A schematic is one column of a page wide, and its text is legible at that width.
"""

from typing import NamedTuple

import matplotlib.pyplot as plt
from matplotlib.patches import FancyArrowPatch, FancyBboxPatch

from sapnet_core.reporting.style import COLORS, COLUMN

__all__ = ["SCHEMATICS", "Schematic", "schematic"]

ACROSS, UP = COLUMN / 4, 0.44  # inches from box to box
WIDTH, HEIGHT = 0.72, 0.34  # inches of a box
SPECIAL, PLAIN = ("#FCE6BF", COLORS[1]), ("white", "#666666")  # face and edge


class Schematic(NamedTuple):
    """What a schematic shows.

    Attributes:
        boxes: text -> (place from left to right, 0 to 3; place from bottom to top).
        special: the boxes in color.
        arrows: pairs of boxes; those in `both` have two heads, and are in color.
        alt: the picture in words, for readers who cannot see it.
    """

    boxes: dict[str, tuple[float, float]]
    special: tuple[str, ...]
    arrows: tuple[tuple[str, str], ...]
    alt: str
    both: tuple[tuple[str, str], ...] = ()


def _chain(*boxes: str) -> tuple[tuple[str, str], ...]:
    return tuple(zip(boxes, boxes[1:], strict=False))


def _through(first: str, middle: tuple[str, ...], last: str) -> tuple[tuple[str, str], ...]:
    """Arrows from the first box to each in the middle, and from each of these to the last."""
    return (*((first, box) for box in middle), *((box, last) for box in middle))


STEPS, CLIPS = ("first step", "next step", "last step"), ("clip before", "this clip", "clip after")

SCHEMATICS: dict[str, Schematic] = {
    "regression": Schematic(
        {"clip\nfeatures": (0, 0), "mean\nover time": (1, 0), "layers": (2, 0), "one number:\nthe score": (3, 0)},
        ("one number:\nthe score",),
        _chain("clip\nfeatures", "mean\nover time", "layers", "one number:\nthe score"),
        "Four boxes in a row: clip features, their mean over time, layers, and in color one number, the score.",
    ),
    "distribution": Schematic(
        {
            "clip\nfeatures": (0, 0),
            "layers": (1, 0),
            "a share for\neach level": (2, 0),
            "mean of all:\nthe score": (3, 0),
        },
        ("a share for\neach level",),
        _chain("clip\nfeatures", "layers", "a share for\neach level", "mean of all:\nthe score"),
        "Four boxes in a row: clip features, layers, in color a share for each level of the scale, and the mean of all "
        "levels, which is the score.",
    ),
    "pairs": Schematic(
        {
            "features of\nthe video": (0, 1),
            "features of\nan exemplar": (0, 0),
            "compare": (1, 0.5),
            "difference\nof scores": (2, 0.5),
            "score of the\nexemplar": (2, -0.5),
            "sum:\nthe score": (3, 0.5),
        },
        ("compare", "difference\nof scores"),
        (
            ("features of\nthe video", "compare"),
            ("features of\nan exemplar", "compare"),
            *_chain("compare", "difference\nof scores", "sum:\nthe score"),
            ("score of the\nexemplar", "sum:\nthe score"),
        ),
        "The features of a video and of a labeled exemplar are compared, in color; the difference that comes out is "
        "added to the known score of the exemplar.",
    ),
    "parsing": Schematic(
        {
            "clips in\norder": (0, 1),
            "first step": (1, 2),
            "next step": (1, 1),
            "last step": (1, 0),
            "read every\nstep": (2, 1),
            "the score": (3, 1),
        },
        STEPS,
        (*_through("clips in\norder", STEPS, "read every\nstep"), ("read every\nstep", "the score")),
        "Arrows lead from the clips in order to three boxes in color, the first, the next and the last step of the "
        "action; every step is read, and the score follows.",
    ),
    "graphs": Schematic(
        {
            "clip\nfeatures": (0, 1.3),
            "clip before": (1, 2.6),
            "this clip": (1, 1.3),
            "clip after": (1, 0),
            "sum up": (2, 1.3),
            "the score": (3, 1.3),
        },
        (),
        (*_through("clip\nfeatures", CLIPS, "sum up"), ("sum up", "the score")),
        "The features of three clips that follow each other, joined by colored arrows with two heads: neighbors "
        "exchange what they hold. Then they are summed up to the score.",
        both=_chain(*CLIPS),
    ),
    "semi-supervised": Schematic(
        {
            "labeled\nvideos": (0, 1),
            "unlabeled\nvideos": (0, 0),
            "the same\nlayers": (1, 0.5),
            "score": (2, 1),
            "second\nanswer": (2, 0),
            "loss with\nthe label": (3, 1),
            "loss without\na label": (3, 0),
        },
        ("unlabeled\nvideos", "second\nanswer", "loss without\na label"),
        (
            ("labeled\nvideos", "the same\nlayers"),
            ("unlabeled\nvideos", "the same\nlayers"),
            *_chain("the same\nlayers", "score", "loss with\nthe label"),
            *_chain("the same\nlayers", "second\nanswer", "loss without\na label"),
        ),
        "Labeled and unlabeled videos pass the same layers. Above, the score has a loss with the label; below, in "
        "color, a second answer has a loss that needs none.",
    ),
}


def schematic(family: str) -> str:
    """Draw the schematic of a family as a new figure, and return its text alternative, for `pictures.picture`.

    Raises:
        ValueError: there is no such family; the message lists the known ones.
    """
    if family not in SCHEMATICS:
        raise ValueError(f"family {family!r} has no schematic: choose one of {', '.join(SCHEMATICS)}")
    shown, patches = SCHEMATICS[family], {}
    places = {text: (ACROSS * (x + 0.5), UP * y) for text, (x, y) in shown.boxes.items()}
    bottom, top = (f(y for _, y in places.values()) + s * (HEIGHT / 2 + 0.04) for f, s in ((min, -1), (max, 1)))
    fig = plt.figure(figsize=(COLUMN, top - bottom))
    fig.set_layout_engine("none")
    ax = fig.add_axes((0, 0, 1, 1))
    ax.set(xlim=(0, COLUMN), ylim=(bottom, top))
    ax.axis("off")
    for text, (x, y) in places.items():
        face, edge = SPECIAL if text in shown.special else PLAIN
        corner = (x - WIDTH / 2, y - HEIGHT / 2)
        style, width = "round,pad=0,rounding_size=0.05", 1.6 if text in shown.special else 0.8
        box = FancyBboxPatch(corner, WIDTH, HEIGHT, style, fc=face, ec=edge, lw=width)
        patches[text] = ax.add_patch(box)
        ax.text(x, y, text, ha="center", va="center", fontsize=7, linespacing=1.05)
    for pair in (*shown.arrows, *shown.both):
        special = pair in shown.both
        ends = {"patchA": patches[pair[0]], "patchB": patches[pair[1]], "shrinkA": 0, "shrinkB": 0}
        look = {"color": COLORS[1], "lw": 2.0} if special else {"color": PLAIN[1], "lw": 0.9}
        head = "<|-|>" if special else "-|>"
        ax.add_patch(
            FancyArrowPatch(places[pair[0]], places[pair[1]], arrowstyle=head, mutation_scale=7, **ends, **look)
        )
    return shown.alt
