"""Dive numbers: the grammar of World Aquatics, degrees of difficulty, and FineDiving's subaction numbers.

Groups 1-4 (forward, back, reverse, inward): `<group><flying 0|1><half somersaults><position>`, such as 107B. Group 5
(twisting): `5<direction><half somersaults><half twists><position>`, as 5253B. Group 6 (armstand): `6<direction><half
somersaults>[<half twists>]<position>`, as 6243D. Positions: A straight, B pike, C tuck, D free.
"""

import re
from dataclasses import dataclass

__all__ = ["Dive", "DiveFact", "DIVES", "SUBACTION_NAMES", "parse_dive", "difficulty", "board_height", "subaction_ids"]

DIRECTIONS = ("forward", "back", "reverse", "inward")
GRAMMAR = re.compile(
    r"(?P<plain>[1-4])(?P<flying>[01])(?P<half>\d|1[01])(?P<position>[A-D])"
    r"|5(?P<twisting>[1-4])(?P<half5>[1-9])(?P<twists5>[1-9])(?P<position5>[A-D])"
    r"|6(?P<armstand>[1-3])(?P<half6>[1-9])(?P<twists6>[1-9])?(?P<position6>[A-D])"
)


@dataclass(frozen=True, slots=True)
class Dive:
    """The parts of a dive number.

    Attributes:
        group: 1 forward, 2 back, 3 reverse, 4 inward, 5 twisting, 6 armstand.
        armstand: whether it starts from a handstand.
        direction: "forward", "back", "reverse" or "inward".
        half_somersaults, half_twists: half turns about the two axes.
        position: "A" straight, "B" pike, "C" tuck, "D" free.
        flying: whether the somersault begins straight (second digit 1 in groups 1-4).
    """

    group: int
    armstand: bool
    direction: str
    half_somersaults: int
    half_twists: int
    position: str
    flying: bool


def parse_dive(number: str) -> Dive:
    """Parse a dive number, in upper or lower case.

    A number without half somersaults (MTL-AQA writes "300B" for "301B") is read as one half somersault, since a dive
    needs at least one to enter the water.

    Raises:
        ValueError: the text is no dive number.
    """
    match = GRAMMAR.fullmatch(number.strip().upper())
    if not match:
        raise ValueError(f"{number!r} is not a dive number: write it like '107B', '5253B', '626C' or '6243D'")
    part = match.groupdict()
    group = 5 if part["twisting"] else 6 if part["armstand"] else int(part["plain"])
    return Dive(
        group=group,
        armstand=group == 6,
        direction=DIRECTIONS[int(part["twisting"] or part["armstand"] or part["plain"]) - 1],
        half_somersaults=max(1, int(part["half"] or part["half5"] or part["half6"])),
        half_twists=int(part["twists5"] or part["twists6"] or 0),
        position=part["position"] or part["position5"] or part["position6"],
        flying=part["flying"] == "1",
    )


@dataclass(frozen=True, slots=True)
class DiveFact:
    """A dive from a board: number, board height in meters, degree of difficulty, and its frequency per 1000 dives in
    MTL-AQA and in FineDiving. `synchronized`: it belongs to the first rounds of a synchronized event, where the degree
    is fixed at 2.0."""

    number: str
    height: int
    difficulty: float
    mtl_aqa: int
    finediving: int
    synchronized: bool


# number, height ("s": first rounds of synchronized events), degree of difficulty, dives per 1000: MTL-AQA, FineDiving
TABLE = """
101B 3s 2.0 0 4    101B 10s 2.0 0 3   103B 3s 2.0 0 3    103B 10s 2.0 0 3   103B 10 1.6 14 6   105B 3 2.4 3 1
105B 10 2.3 1 1    107B 3 3.1 24 39   107B 10 3.0 88 69  107C 3 2.8 4 2     107C 10 2.7 4 3    109C 3 3.8 13 26
109C 10 3.7 29 27  201B 3s 2.0 0 11   201B 10s 2.0 0 9   201B 10 1.8 5 2    205B 3 3.0 33 47   205B 10 2.9 28 21
205C 3 2.8 9 5     207B 10 3.6 24 24  207C 3 3.6 4 9     207C 10 3.3 63 44  301B 3s 2.0 0 10   301B 10s 2.0 0 12
301B 10 1.9 13 7   305B 3 3.0 15 28   305B 10 2.9 4 0    305C 10 2.8 22 18  307C 3 3.5 23 31   307C 10 3.4 55 47
401B 3s 2.0 0 7    401B 10s 2.0 0 5   403B 10 2.0 15 8   405B 3 3.0 15 29   405B 10 2.8 17 15  405C 3 2.7 8 5
407B 10 3.5 1 2    407C 3 3.4 24 32   407C 10 3.2 103 83 409C 10 4.1 4 2    5132D 10 2.1 4 2   5132D 10s 2.0 0 1
5152B 3 3.0 12 27  5152B 10 2.9 6 4   5154B 3 3.4 26 37  5154B 10 3.3 1 1   5156B 3 3.9 4 10   5156B 10 3.8 4 3
5172B 10 3.6 0 1   5231D 10 2.0 4 2   5231D 10s 2.0 0 2  5233D 10 2.4 2 1   5235D 10 2.8 4 2   5237D 10 3.3 1 1
5251B 10 2.6 5 3   5253B 3 3.4 0 3    5253B 10 3.2 76 67 5255B 10 3.6 37 26 5331D 10 2.1 1 1   5335D 10 2.9 1 1
5337D 3 3.5 0 7    5337D 10 3.4 2 1   5353B 3 3.3 15 10  5355B 3 3.7 2 1    612B 10 1.9 3 2    614B 10 2.4 2 1
6142D 10 3.1 7 3   6241B 10 2.7 3 2   6243D 10 3.2 46 36 6245D 10 3.6 16 11 626B 10 3.5 9 8    626C 10 3.3 23 18
636C 10 3.4 4 2
"""
DIVES = tuple(
    DiveFact(number, int(height.rstrip("s")), float(degree), int(mtl), int(fine), height.endswith("s"))
    for number, height, degree, mtl, fine in zip(*[iter(TABLE.split())] * 5, strict=True)
)


def difficulty(number: str, height: int) -> float:
    """Degree of difficulty of a dive from a board of 3 or 10 meters; individual events take precedence.

    Raises:
        ValueError: the dive is not in the table at this height.
    """
    facts = [fact for fact in DIVES if (fact.number, fact.height) == (number.upper(), height)]
    if not facts:
        raise ValueError(f"no difficulty degree known for {number} from {height} m: the table holds the dives of DIVES")
    return min(facts, key=lambda fact: fact.synchronized).difficulty


def board_height(number: str, degree: float) -> int:
    """Board height (3 or 10 meters) at which the dive's difficulty is nearest to `degree`; 10 for an unknown dive."""
    facts = [fact for fact in DIVES if fact.number == number.upper()]
    return min(facts, key=lambda fact: abs(fact.difficulty - degree)).height if facts else 10


# FineDiving's numbers of subactions: take-offs, somersaults by position and half turns, twists by half turns
TAKE_OFFS = {"forward": 1, "back": 2, "reverse": 3, "inward": 4}
ARMSTAND = {"forward": 5, "back": 6, "reverse": 7}
SOMERSAULTS = {"A": (39, 8, 9, 10, 11), "B": (37, *range(12, 20)), "C": (40, *range(20, 28), None, 28)}
TWISTS = (*range(29, 36), 41, 42)
ENTRY = 36
SUBACTION_NAMES = (
    {number: direction.capitalize() for direction, number in TAKE_OFFS.items()}
    | {number: f"Arm.{direction.capitalize()}" for direction, number in ARMSTAND.items()}
    | {
        number: f"{half / 2:g} Som{'s' * (half > 2)}.{word}"
        for (position, numbers), word in zip(SOMERSAULTS.items(), ("Straight", "Pike", "Tuck"), strict=True)
        for half, number in enumerate(numbers, 1)
        if number
    }
    | {number: f"{half / 2:g} Twist{'s' * (half > 2)}" for half, number in enumerate(TWISTS, 1)}
    | {ENTRY: "Entry", 38: "Background"}
)


def subaction_ids(dive: Dive) -> tuple[int, ...]:
    """FineDiving's subaction numbers of a dive, in order: take-off, flight, entry.

    A twist comes before the somersaults; in forward twisting dives it comes between them, and their number occurs
    twice. The free position is labeled pike.

    Raises:
        ValueError: FineDiving has no number for the somersaults.
    """
    numbers = SOMERSAULTS[dive.position.replace("D", "B")]
    if dive.half_somersaults > len(numbers) or not numbers[dive.half_somersaults - 1]:
        raise ValueError(f"FineDiving has no number for {dive.half_somersaults / 2:g} somersaults in {dive.position}")
    flight = (numbers[dive.half_somersaults - 1],)
    if dive.half_twists:
        twist = (TWISTS[dive.half_twists - 1],)
        flight = flight + twist + flight if dive.group == 5 and dive.direction == "forward" else twist + flight
    return ((ARMSTAND if dive.armstand else TAKE_OFFS)[dive.direction], *flight, ENTRY)
