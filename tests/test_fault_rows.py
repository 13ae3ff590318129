"""Every row of the matrix of faults has a test that is marked with it, or a reason why there is none."""

import ast
from functools import cache
from pathlib import Path

import pytest

from tests.fault_rows import ROWS


@cache
def marked() -> dict[int, list[str]]:
    """{row: the tests that prove it}, read from their source."""
    found: dict[int, list[str]] = {}
    for path in sorted(Path(__file__).parent.glob("test_*.py")):
        for function in ast.walk(ast.parse(path.read_text())):
            if isinstance(function, ast.FunctionDef | ast.AsyncFunctionDef):
                for row in rows_of(function):
                    found.setdefault(row, []).append(f"{path.stem}.{function.name}")
    return found


def rows_of(function: ast.FunctionDef | ast.AsyncFunctionDef) -> list[int]:
    marks = [each for each in function.decorator_list if isinstance(each, ast.Call)]
    words = [each.args for each in marks if ast.unparse(each.func) == "pytest.mark.fault"]
    return [int(ast.literal_eval(row)) for args in words for row in args]


@pytest.mark.parametrize("number", ROWS)
def test_every_row_is_proven_or_says_why_not(number: int) -> None:
    row = ROWS[number]
    assert bool(marked().get(number)) != bool(row.not_here), f"{number}: {row.fault}"


def test_every_mark_is_a_row() -> None:
    assert marked().keys() <= ROWS.keys()
