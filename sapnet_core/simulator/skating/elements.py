"""Names of skating elements in score sheets: the notation of the International Skating Union (ISU), and base values.

Jumps: turns and letters, joined by "+": 3Lz+3T, 2A, 3F+1Eu+3S. Spins: optional F (flying) and C (change of foot), then
USp, LSp, CSp, SSp or CoSp, and a level: LSp4, CSSp3, CCoSp4, FCSp2. Sequences: StSq3, ChSq1. Marks after a jump: "<" is
a quarter to half a turn short, "<<" is more, "q" is a quarter; "e" and "!" are a wrong and an unclear edge. Marks after
an element: "x" is the second half of the program, "V" a spin with a missing requirement, "*" an invalid element.
"""

import re
from dataclasses import dataclass

import torch

from sapnet_core.datasets.records import Element

__all__ = ["Jump", "SkatingElement", "parse_element", "read_element", "worth", "draw_elements"]

JUMPS = ("A", "Lz", "F", "Lo", "S", "T", "Eu")
SHORT = {"": 0.0, "q": 0.2, "<": 0.33, "<<": 0.6}  # missing turns by mark
JUMP = re.compile(r"(?P<turns>[1-5])?(?P<kind>A|Lz|F|Lo|S|T|Eu)(?P<marks>(?:<<|<|q|e|!|\*|x)*)")
SPIN = re.compile(r"(?P<flying>F)?(?P<change>C)?(?P<what>Co|U|L|C|S)Sp(?P<level>[0-4B])?(?:V[1-4]?|\*|x|b|p\d)*")
SEQUENCE = re.compile(r"(?P<what>StSq|ChSq|ChSt|CiSt|SlSt|SeSt|SpSq|CoSt)(?P<level>[0-4B])?(?:V|\*|x|b)*")
POSITIONS = {"U": ("upright",), "L": ("layback",), "C": ("camel",), "S": ("sit",), "Co": ("camel", "sit", "upright")}
# Base values (ISU communication 2168 and similar), for drawn lists and for the weight of a jump in a combination: of
# jumps by number of turns, 1 to 5; of spins and step sequences (`SPINS`) by level, base and 1 to 4.
BASE = {
    "A": (1.1, 3.3, 8.0, 12.5, 14.0),
    "Lz": (0.6, 2.1, 5.9, 11.5, 14.0),
    "F": (0.5, 1.8, 5.3, 11.0, 14.0),
    "Lo": (0.5, 1.7, 4.9, 10.5, 14.0),
    "S": (0.4, 1.3, 4.3, 9.7, 14.0),
    "T": (0.4, 1.3, 4.2, 9.5, 14.0),
    "Eu": (0.5, 0.5, 0.5, 0.5, 0.5),
}
SPINS = {"CCoSp": (1.7, 2.0, 2.5, 3.0, 3.5), "FCSp": (1.6, 1.9, 2.3, 2.8, 3.2), "FSSp": (1.7, 2.0, 2.3, 2.6, 3.0)}
SPINS |= {"LSp": (1.2, 1.5, 1.9, 2.4, 2.7), "CSSp": (1.6, 1.9, 2.3, 2.6, 3.0), "StSq": (1.5, 1.8, 2.6, 3.3, 3.9)}
STEP = {"jump": 0.1, "spin": 0.1, "sequence": 0.14}  # fraction of the base value per grade of execution


@dataclass(frozen=True, slots=True)
class Jump:
    """One jump: its `kind` (one of `JUMPS`), nominal number of `turns` (an Axel's includes its extra half turn),
    `missing` turns, and whether the sheet marks the `edge` of its take-off."""

    kind: str
    turns: float
    missing: float = 0.0
    edge: bool = False


@dataclass(frozen=True, slots=True)
class SkatingElement:
    """An element, parsed from its name.

    Attributes:
        kind: "jump", "spin" or "sequence".
        jumps: the jumps of a jump element, in order; () for other kinds.
        positions: positions of a spin, in order: "camel", "sit", "upright", "layback".
        level: 0 (base) to 4; 1 for a choreographic sequence.
        flying, change: whether a spin is entered by a jump, and whether it changes the foot.
        choreographic: whether a sequence has spirals and spread eagles instead of turns.
    """

    kind: str
    jumps: tuple[Jump, ...] = ()
    positions: tuple[str, ...] = ()
    level: int = 0
    flying: bool = False
    change: bool = False
    choreographic: bool = False


def _level(text: str | None) -> int:
    return int(text) if text and text.isdigit() else 0


def _jumps(name: str) -> tuple[Jump, ...] | None:
    parts = [part for part in name.split("+") if part not in ("COMBO", "SEQ", "REP", "")]
    matches = [JUMP.fullmatch(part) for part in parts]
    if not matches or not all(matches):
        return None
    jumps = []
    for match in matches:
        turns = float(match["turns"] or 1) + 0.5 * (match["kind"] == "A")
        turns = 1.0 if match["kind"] == "Eu" else turns
        missing = max(SHORT.get(mark, 0.0) for mark in ["", *re.findall("<<|<|q", match["marks"])])
        jumps.append(Jump(match["kind"], turns, missing, "e" in match["marks"] or "!" in match["marks"]))
    return tuple(jumps)


def parse_element(name: str) -> SkatingElement:
    """Parse the name of an element.

    Raises:
        ValueError: the text is not the name of an element.
    """
    text = re.sub(r"\s+", "", name)
    if jumps := _jumps(text.removesuffix("x")):
        return SkatingElement("jump", jumps=jumps)
    if match := SPIN.fullmatch(text):
        positions = POSITIONS[match["what"]]
        if match["change"] and len(positions) == 1:
            positions *= 2  # the same position on the other foot
        elif match["change"]:
            positions += ("sit", "upright")
        return SkatingElement(
            "spin",
            positions=positions,
            level=_level(match["level"]),
            flying=bool(match["flying"]),
            change=bool(match["change"]),
        )
    if match := SEQUENCE.fullmatch(text):
        free = match["what"] in ("ChSq", "ChSt", "SpSq")
        return SkatingElement("sequence", level=1 if free else _level(match["level"]), choreographic=free)
    raise ValueError(f"{name!r} is not a skating element: write it like '3Lz+3T', '2A', 'CCoSp4', 'StSq3' or 'ChSq1'")


def read_element(name: str, kind: str) -> SkatingElement:
    """Parse the name of an element as far as possible; an unreadable one becomes a typical element of its class.

    Args:
        name: text from the score sheet, possibly irregular.
        kind: coarse class, such as "jump", "spin" or "sequence"; used only where the name cannot be parsed.

    Raises:
        ValueError: neither the name nor the class can be parsed.
    """
    try:
        return parse_element(name)
    except ValueError as error:
        coarse, digits = kind.lower(), [int(digit) for digit in re.findall(r"[0-9]", name)]
        if "jump" in coarse:
            turns = [float(digit) for digit in digits if 1 <= digit <= 4] or [2.0]
            return SkatingElement("jump", jumps=tuple(Jump("T", t) for t in turns[:3]))
        level = min(digits[-1], 4) if digits else 1
        if "spin" in coarse:
            return SkatingElement("spin", positions=POSITIONS["Co"], level=level)
        if any(word in coarse for word in ("seq", "step", "choreo")):
            return SkatingElement("sequence", level=level, choreographic="choreo" in coarse)
        raise ValueError(f"{error}; its class {kind!r} is unknown: use jump, spin or sequence") from None


def worth(element: Element) -> tuple[float, float]:
    """Weight and quality of an element's execution: (points between worst and best grade, quality in [0, 1]).

    Each of the ten steps between grade -5 and grade 5 is worth a fraction `STEP` of the base value, for a combination
    of that of its best jump. An element without a base value has no grade and gives (0, 0.5).
    """
    read = read_element(element.name, element.kind)
    base = element.base
    if read.kind == "jump":
        points = [BASE[jump.kind][min(int(jump.turns), 5) - 1] for jump in read.jumps]
        base *= max(points) / sum(points)
    span = 10 * STEP[read.kind] * base
    if span <= 0:
        return 0.0, 0.5
    return span, min(max(0.5 + element.goe / span, 0.0), 1.0)


def draw_elements(group: str, frames: int, rate: float, uniform: torch.Tensor) -> tuple[Element, ...]:
    """Draw a typical list of elements for a program, spread over its duration, all with a grade of execution of 0.

    Args:
        group: "FS" for a free skating of twelve elements; any other group is a short program of seven.
        frames, rate: number of frames and frame rate of the program.
        uniform: (36,) random numbers in [0, 1).
    """
    pick = iter(uniform.tolist())

    def one(*names):
        return names[int(next(pick) * len(names))]

    jumps = [one("3Lz+3T", "3F+3T", "4T+3T", "3Lz+2T"), one("3A", "2A"), one("3F", "3Lo", "3Lz")]
    names = [*jumps[:2], one("FCSp4", "FSSp3"), jumps[2], one("CSSp4", "LSp4"), one("StSq3", "StSq4"), "CCoSp4"]
    if group == "FS":
        more = [one("4T", "3Lz"), one("2A+1Eu+3S", "3F+2T"), one("3Lo", "3S"), one("3T", "2A")]
        names = [*names[:3], *more[:2], names[3], names[5], *more[2:], names[4], "ChSq1", names[6]]
    span, room = frames / rate, {"jump": 4.0, "spin": 10.0, "sequence": 26.0}
    kinds = [parse_element(name).kind for name in names]
    free = max(span - 6 - sum(room[kind] for kind in kinds), 0.25 * span)
    squeeze = min((span - 6 - free) / sum(room[kind] for kind in kinds), 1.0)
    gaps = torch.tensor([0.5 + next(pick) for _ in range(len(names) + 1)])
    gaps = (free * gaps / gaps.sum()).tolist()
    time, elements = 3.0, []
    for name, kind, gap in zip(names, kinds, gaps, strict=False):
        time += gap
        end = time + max(squeeze * room[kind], 0.1)
        elements.append(Element(name, kind, round(time * rate), round(end * rate), _base(name), 0.0))
        time = end
    return tuple(elements)


def _base(name: str) -> float:
    read = parse_element(name)
    if read.kind == "jump":
        return round(sum(BASE[jump.kind][int(jump.turns) - 1] for jump in read.jumps), 2)
    return 3.0 if read.choreographic else SPINS[name[:-1]][read.level]
