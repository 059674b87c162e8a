"""Pydantic schema of the JSON file of one FineFS video: the required keys, and the kind of each value.

Other keys are ignored. Numbers may be written as text, as in some published files. Optional keys (`competition`, the
class of an element, the panel's marks) may be absent or have a value of any kind.
"""

import math
import re
from collections.abc import Mapping
from typing import Annotated, Any

from pydantic import AliasChoices, BaseModel, Field, PlainValidator, ValidationError

from sapnet_core.datasets.fields import Fault, shown

__all__ = ["Annotation", "ExecutedElement", "parse_annotation"]

TIME = re.compile(r"\s*(\d{1,2})-(\d{1,2}(?:\.\d+)?)\s*,\s*(\d{1,2})-(\d{1,2}(?:\.\d+)?)\s*", re.ASCII)


def _refused(value: object, expected: str) -> Fault:
    return Fault(f"is {shown(value)}, not {expected}")


def _points(value: object) -> float:
    try:
        is_number = isinstance(value, int | float) and not isinstance(value, bool)
        is_text = isinstance(value, str) and value.isascii() and "_" not in value
        number = float(value) if is_number or is_text else math.nan
    except (ValueError, OverflowError):
        number = math.nan
    if not abs(number) < 1e4:
        raise _refused(value, "a number of points")
    return number


def _score(value: object) -> float:
    number = _points(value)
    if number < 0:
        raise _refused(value, "a number of points of at least 0")
    return number


def _title(value: object) -> str:
    title = value.strip() if isinstance(value, str) else ""
    if not title or not title.isprintable():
        raise _refused(value, "the name of an element")
    return title


def _seconds(value: object) -> tuple[float, float]:
    match = TIME.fullmatch(value) if isinstance(value, str) else None
    if match is None:
        raise _refused(value, "a time such as '0-25,0-29'")
    start, end = (60 * int(match[i]) + float(match[i + 1]) for i in (1, 3))  # "minute-second,minute-second"
    return start, end


Points = Annotated[float, PlainValidator(_points)]
Score = Annotated[float, PlainValidator(_score)]


class ExecutedElement(BaseModel):
    """A jump, spin or sequence: its name, start and end in seconds, base value and grade of execution."""

    element: Annotated[str, PlainValidator(_title)]
    time: Annotated[tuple[float, float], PlainValidator(_seconds)]
    bv: Score
    goe: Points
    coarse_class: Any = None
    linfo: Any = None
    minfo: Any = None
    rinfo: Any = None


class ProgramComponent(BaseModel):
    """The panel's score of a component; its key is spelled as in the published files or as in their description."""

    score_of_panel: Score = Field(validation_alias=AliasChoices("score_of_panel", "score_of_pannel"))


class ProgramComponents(BaseModel):
    """The five components of a program, each with the panel's score."""

    skating_skills: ProgramComponent
    transitions: ProgramComponent
    performance: ProgramComponent
    composition: ProgramComponent
    interpretation: ProgramComponent


class Annotation(BaseModel):
    """The scores of one routine, its components, and its elements by their names in the file."""

    factor: Points
    executed_element: dict[Any, ExecutedElement] = Field(min_length=1)
    program_component: ProgramComponents
    total_segment_score: Score
    total_element_score: Score
    total_program_component_score: Score = Field(alias="total_program_component_score(factored)")
    deductions: Points
    competition: Any = None


def parse_annotation(content: object) -> Annotation:
    """Convert a file's content, as returned by `json.load`, to an annotation.

    Raises:
        Fault: a key is absent or has a value of another kind; the message gives the path of the first such key, and
            the number of further ones.
    """
    try:
        return Annotation.model_validate(content)
    except ValidationError as error:
        first, *others = error.errors(include_url=False)
        raise Fault(_told(first) + f" (and {len(others)} more)" * bool(others)) from None


def _told(error: Mapping[str, Any]) -> str:
    """The message for one of Pydantic's errors: the path of the key, and its fault."""
    path = ".".join(str(part)[:60] for part in error["loc"])
    kind = {"missing": "no key {!r}", "too_short": "key {!r} is empty"}.get(error["type"])
    if kind:
        return kind.format(path)
    is_ours = error["type"] == "value_error"
    text = error["ctx"]["error"] if is_ours else f"is {shown(error['input'])}, not an object"
    return f"key {path!r} {text}" if path else "the file is not a JSON object"
