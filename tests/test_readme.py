"""The README is true: its commands run, its map is the code's, its names are the document's."""

import ast
import json
import os
import re
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.conftest import CMEMRUN

ROOT = Path(__file__).parents[1]
README = (ROOT / "README.md").read_text()
COMMANDS = [
    line for block in re.findall(r"```sh\n(.*?)```", README, re.S) for line in block.splitlines()
]


@pytest.mark.slow
@pytest.mark.parametrize("command", COMMANDS)
def test_commands(command: str, tmp_path: Path) -> None:
    # In a directory that has what they name, so that what they write goes there.
    for name in ("examples", "scripts"):
        (tmp_path / name).symlink_to(ROOT / name)
    done = subprocess.run(
        ["sh", "-c", command],
        cwd=tmp_path,
        env=os.environ | {"PATH": f"{Path(CMEMRUN).parent}:{os.environ['PATH']}"},
        check=False,
        stdin=subprocess.DEVNULL,
    )
    assert done.returncode == 0
    assert len(COMMANDS) >= 10


def test_scripts_that_it_names_can_be_run() -> None:
    for name in re.findall(r"scripts/([a-z]+)(?![a-z/])", README):
        assert shutil.which(str(ROOT / "scripts" / name)), name


def test_names_of_the_document(cmemrun: Callable[..., Any]) -> None:
    written = json.loads(json.dumps(cmemrun("--max-peak", "1Gi", "true").document))
    section = README.split("## JSON")[1].split("## Limits")[0]
    named = set(re.findall(r"`([a-z_]+)`", section))
    for name, value in written.items():
        assert name in named
        for inner in value if isinstance(value, dict) else ():
            assert inner in named, (name, inner)
    for name in [*written["budgets"][0], *written["samples"][0]]:
        assert name in named


LAYERS = [
    {"errors", "log"},
    {"units", "model"},
    {"kernel"},
    {"backends"},
    {"series", "kubernetes", "docker", "profile"},
    {"census"},
    {"identity", "keeper", "signals", "launcher", "sampler"},
    {"runtimes"},
    {"analysis"},
    {"account"},
    {"runner"},
    {"watcher", "diagnosis", "squeezer"},
    {"report"},  # which below may import much less
    {"api"},
    {"pytest_plugin"},
]
PORTABLE = [{"errors", "units", "model"}, {"series"}, {"analysis"}, {"report"}]


def imported(path: Path) -> set[str]:
    """The rooms of the package that a file imports from when it is loaded or later."""
    found = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.ImportFrom) and (node.module or "").startswith("cmemrun."):
            found.add(node.module.split(".")[1])  # type: ignore[union-attr]
        elif isinstance(node, ast.ImportFrom) and node.module == "cmemrun":
            found.update(alias.name for alias in node.names if alias.name != "__version__")
    return found


def test_nobody_imports_from_the_right() -> None:
    rooms = {path.stem: [path] for path in (ROOT / "cmemrun").glob("[!_]*.py")}
    for folder in (
        "kernel",
        "kubernetes",
        "runtimes",
        "backends",
        "analysis",
        "report",
        "api",
        "commands",
    ):
        rooms[folder] = list((ROOT / "cmemrun" / folder).rglob("*.py"))
    for layers in (LAYERS, PORTABLE):
        allowed: set[str] = set()
        for layer in layers:
            allowed |= layer
            for room in layer:
                for path in rooms[room]:
                    wrong = imported(path) - allowed
                    assert not wrong, f"{path} imports {wrong}"
    listed = set().union(*LAYERS, *PORTABLE, {"commands"})
    assert set(rooms) == listed
