"""Arrows point down: the five folders import `hermes` and never each other; `hermes` imports none of them."""

import ast
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
PARTS = ("gitserver", "hooks", "builder", "runner", "web")
COMPOSITION_ROOT = ROOT / "hermes" / "serve.py"
FILES = sorted(path for part in ("hermes", *PARTS) for path in (ROOT / part).rglob("*.py"))
MAX_LINES = 250
MAX_FUNCTION_LINES = 40


def imported(path: Path) -> set[str]:
    """Every module that a file imports, by its full name."""
    names: set[str] = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            names.add(node.module)
    return names


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(ROOT)))
def test_imports_point_down(path: Path) -> None:
    if path == COMPOSITION_ROOT:
        return
    part = path.relative_to(ROOT).parts[0]
    others = {name.partition(".")[0] for name in imported(path)} & set(PARTS)
    assert others <= {part}, f"{path} imports {others}"
    assert "hermes.serve" not in imported(path), f"{path} imports the composition root"


def test_our_folders_are_the_ones_that_are_imported() -> None:
    """Names such as `web` clash in site-packages; what runs must be what is here."""
    import builder
    import gitserver
    import runner
    import web

    for module in (web, builder, runner, gitserver):
        assert Path(module.__file__ or "").is_relative_to(ROOT)


def test_rooms_are_small() -> None:
    """A file over the limit has a second reason to change; a function over it hides one."""
    large = [f"{path.relative_to(ROOT)}: {n}" for path in FILES if (n := lines_of(path)) > MAX_LINES]
    long = [
        f"{path}:{each.name}" for path in FILES for each in functions(path) if span(each) > MAX_FUNCTION_LINES
    ]
    assert not large + long


def lines_of(path: Path) -> int:
    if "migrations" in path.parts:
        return 0
    return len(path.read_text().splitlines())


def functions(path: Path) -> list[ast.FunctionDef | ast.AsyncFunctionDef]:
    if "versions" in path.parts:
        return []
    tree = ast.parse(path.read_text())
    return [node for node in ast.walk(tree) if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)]


def span(function: ast.FunctionDef | ast.AsyncFunctionDef) -> int:
    return (function.end_lineno or 0) - function.lineno + 1
