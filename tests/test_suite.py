"""The tests as code: what they may not do to each other."""

import ast
from collections.abc import Iterator
from pathlib import Path

TESTS = Path(__file__).parent


def imported(tree: ast.AST) -> Iterator[str]:
    """The names in all imports, those inside of functions too."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            yield from (f"{node.module or ''}.{alias.name}" for alias in node.names)


def of_test_modules(source: str) -> list[str]:
    names = imported(ast.parse(source))
    return [name for name in names if any(part.startswith("test_") for part in name.split("."))]


def test_no_module_imports_from_a_test_module() -> None:
    """What several share has a module of its own; a test file can be moved, split or renamed."""
    for source, expected in (
        ("from tests.report.test_page import Strict", ["tests.report.test_page.Strict"]),
        ("def late():\n from . import test_page", [".test_page"]),
        ("import tests.test_series", ["tests.test_series"]),
        ("import pytest_subprocess", []),
    ):
        assert of_test_modules(source) == expected
    found = {
        str(path.relative_to(TESTS)): names
        for path in TESTS.rglob("*.py")
        if (names := of_test_modules(path.read_text()))
    }
    assert found == {}
