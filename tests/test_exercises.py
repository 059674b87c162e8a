"""Exercises: an empty answer is told, a wrong one is seen, and every solution in the notebooks passes its own check."""

import ast
import re
from contextlib import redirect_stdout
from io import StringIO

import pytest
import torch
from wording import in_order

from sapnet_core.reporting import notebooks
from sapnet_core.reporting.exercises import attempt

FOLDED = re.compile(r"<details><summary>Solution</summary>\s*```python\n(.*?)```", re.DOTALL)


def exercises() -> dict[str, tuple[str, str]]:
    """`notebook function` -> the code of the exercise cell, and the solution folded away in the cell below it."""
    found = {}
    for path in notebooks.find():
        cells = notebooks.load(path).cells
        for cell, below in zip(cells, cells[1:], strict=False):
            if "exercise" in cell.metadata.get("tags", []):
                solution = FOLDED.match(below.source)
                assert solution, f"{path.stem}: no solution folded away below the exercise {cell.id}"
                name = next(n.name for n in ast.parse(solution[1]).body if isinstance(n, ast.FunctionDef))
                found[f"{path.stem} {name}"] = cell.source, solution[1]
    return found


EXERCISES = exercises()


def pasted(source: str, solution: str) -> str:
    """The exercise cell as it is once a reader has replaced the empty function by the solution."""
    written = next(node for node in ast.parse(solution).body if isinstance(node, ast.FunctionDef))
    empty = [node for node in ast.parse(source).body if getattr(node, "name", None) == written.name]
    assert len(empty) == 1, f"the exercise has no function {written.name}, which its solution writes"
    lines = source.splitlines()
    end = empty[0].end_lineno
    while lines[end].startswith("    #"):  # the hints below the docstring
        end += 1
    return "\n".join([*lines[: empty[0].lineno - 1], solution, *lines[end:]])


def printed(source: str) -> list[str]:
    """The lines that a cell prints when it runs alone."""
    heard = StringIO()
    with redirect_stdout(heard):
        exec(compile(source, "exercise", "exec"), {})
    return heard.getvalue().splitlines()


def test_the_reader_writes_the_four_pieces_of_the_method():
    assert {name.split()[1] for name in EXERCISES} >= {
        "algorithm_1",
        "my_key_frames",
        "my_l_un",
        "my_group_contrast",
    }


@pytest.mark.parametrize("name", EXERCISES)
def test_an_empty_answer_is_told_in_one_line(name):
    said = printed(EXERCISES[name][0])
    assert len(said) == 1 and "not written yet" in said[0] and name.split()[1] in said[0]


@pytest.mark.parametrize("name", EXERCISES)
def test_the_solution_passes_its_check(name):
    said = printed(pasted(*EXERCISES[name]))
    assert len(said) >= 3 and all(line.startswith("✓ ") for line in said), said


@pytest.mark.parametrize("name", EXERCISES)
def test_a_wrong_answer_does_not_pass(name):
    source, solution = EXERCISES[name]
    *body, last = solution.rstrip().splitlines()
    assert last.startswith("    return "), "the last line of a solution returns its result"
    spoiled = "\n".join([*body, f"    return torch.as_tensor({last.removeprefix('    return ')}) + 1"])
    said = printed(pasted(source, spoiled))
    assert said and not all(line.startswith("✓ ") for line in said)


def square(x):
    return (x * x).sum()


CASES = {"two numbers": (torch.tensor([1.0, 2.0]),)}


@pytest.mark.parametrize(
    ("yours", "good", "told"),
    [
        (lambda x: None, False, ("… <lambda>", "None")),
        (square, True, ("✓ two numbers", 5, 5)),
        (lambda x: [5.0], False, ("✗ two numbers", "shape", "(1,)", "()")),
        (lambda x: x.mul_(x).sum(), True, ("✓ two numbers", 5, 5)),
        (lambda x: x.sum(), False, ("✗ two numbers", 3, 5)),
        (lambda x: torch.nan * x.sum(), False, ("✗ two numbers", "nan", "5.0000")),
        (lambda x: "five", False, ("✗ two numbers", "five")),
        (lambda x: [1, "two"], False, ("✗ two numbers", "list", "mixed")),
        (lambda x: object(), False, ("✗ two numbers", "number", "array")),
    ],
)
def test_answers(yours, good, told, capsys):
    assert attempt(yours, square, CASES) is good
    said = capsys.readouterr().out.splitlines()
    assert len(said) == 1 and said[0].startswith(told[0]) and in_order(said[0], *told)


def test_a_gradient_that_should_not_be_there(capsys):
    def held(x):
        return (x * x.detach()).sum()

    assert not attempt(held, square, CASES, gradients=True)
    said = capsys.readouterr().out.splitlines()
    assert in_order(said[0], "✓", "two numbers", 5, 5) and in_order(said[1], "✗", "two numbers", "gradients", 2, 4)
    assert attempt(square, square, CASES, gradients=True)


def test_arguments_are_left_as_they_are():
    x = torch.tensor([3.0])
    assert attempt(lambda x: x.zero_().sum(), lambda x: x.sum() * 0, {"zero": (x,)})
    assert x.tolist() == [3.0] and not x.requires_grad
