"""Commands that are run to their end, and what they wrote."""

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

from tests.loads import LOADS
from tests.running import call_cmemrun

__all__ = ["LOAD", "anon", "cmemrun", "fit", "measured"]

LOAD = [sys.executable, "-S", "-E", LOADS]


def cmemrun(
    *arguments: str, status: int = 0, at: Path | None = None
) -> "subprocess.CompletedProcess[str]":
    done = call_cmemrun(*arguments, cwd=at)
    assert done.returncode == status, done.stderr
    return done


def measured(
    path: Path, *arguments: str, status: int = 0, at: Path | None = None
) -> dict[str, Any]:
    done = cmemrun("--json", str(path), *arguments, status=status, at=at)
    document: dict[str, Any] = json.loads(path.read_text())
    return document | {"stderr": done.stderr}


def anon(mib: int) -> list[str]:
    return [*LOAD, "anon", str(mib), "0.05"]


def fit(tmp_path: Path, *arguments: str, status: int = 0) -> dict[str, Any]:
    document = tmp_path / "fit.json"
    done = call_cmemrun("fit", "--json", str(document), *arguments)
    assert done.returncode == status, done.stderr
    assert done.stdout == ""
    found: dict[str, Any] = json.loads(document.read_text())
    return found | {"stderr": done.stderr}
