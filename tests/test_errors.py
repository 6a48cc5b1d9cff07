"""Every error of the family says what to do next."""

import ast
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from cmemrun import errors
from tests.conftest import CMEMRUN

PACKAGE = Path(__file__).parents[1] / "cmemrun"
FAMILY = {
    name: one
    for name, one in vars(errors).items()
    if isinstance(one, type) and issubclass(one, errors.CmemrunError)
}


def made() -> Iterator[tuple[str, ast.Call]]:
    """Every place where one is made, and how."""
    for path in sorted(PACKAGE.rglob("*.py")):
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.Call) and ast.unparse(node.func).split(".")[-1] in FAMILY:
                yield f"{path.relative_to(PACKAGE)}:{node.lineno}", node


def has_hint(call: ast.Call) -> bool:
    given = [one.value for one in call.keywords if one.arg == "hint"]
    if given:
        return not (isinstance(given[0], ast.Constant) and not given[0].value)
    return FAMILY[ast.unparse(call.func).split(".")[-1]].usual_hint is not None


def test_each_has_a_hint() -> None:
    places = list(made())
    assert len(places) > 100
    without = [place for place, call in places if not has_hint(call)]
    assert without == []


@pytest.mark.parametrize(
    ("source", "has"),
    [
        ('BadInput("x")', False),
        ('BadInput("x", hint=None)', False),
        ('BadInput("x", hint="")', False),
        ('errors.BadInput("x")', False),
        ('BadInput("x", hint="y")', True),
        ('NoGroup("x")', True),
    ],
)
def test_the_rule_itself(source: str, has: bool) -> None:
    call = ast.parse(source, mode="eval").body
    assert isinstance(call, ast.Call)
    assert has_hint(call) is has


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ("--parent /sys/fs/cgroup/none true", "name a directory like /sys/fs/cgroup/mine"),
        ("--pod none true", "see that it is there and readable"),
        ("recommend none", "see that it is there and readable"),
        ("--parameter-step-size 2 true", "add --parameter-scan"),
        ("fit --squeeze --check true true", "leave it out, or --squeeze"),
        ("fit --squeeze --max-runs 5 true", "leave it out, or --squeeze"),
        ("./none", "see that the path is right"),
        ("no-such-program", "install it, or write where it is"),
        ("--json none/run.json true", "name a file in a directory you can write to"),
        ("--docker --memory-swap=1g true", "add -m"),
        ("attach", "--pid 1234"),
    ],
)
def test_it_is_shown_in_the_same_line(line: str, said: str, tmp_path: Path) -> None:
    done = subprocess.run(
        [CMEMRUN, *line.split()], capture_output=True, text=True, check=False, cwd=tmp_path
    )
    assert done.returncode in (125, 127)
    assert done.stderr.count("\n") == 1
    assert said in done.stderr
