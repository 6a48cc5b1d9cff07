"""From launch to exit, over the program alone; and what loading ``cmemrun`` takes."""

import functools
import sys
import tempfile
from pathlib import Path

from scripts.costs.measuring import CMEMRUN, PROGRAMS, Effort, Table, alternated, compared, seconds
from scripts.peers.tools import CGMEMTIME, OURS, TOOLS, Tool

PROGRAM = ["/bin/true"]
ALONE = "the program alone"


def launching(effort: Effort) -> Table:
    """``/bin/true`` by every tool that is here."""
    commands = {
        ALONE: PROGRAM,
        "Python that does nothing": [sys.executable, "-c", "pass"],
        "a least program with typer": [sys.executable, PROGRAMS, "hello"],
        "**cmemrun**": [CMEMRUN, *PROGRAM],
    }
    with tempfile.TemporaryDirectory(prefix="cmemrun-cost-") as where:
        for tool in rivals():
            commands[tool.name] = tool.around(PROGRAM, Path(where, "said"))
        return _over(ALONE, "Launch to exit of `/bin/true`", commands, effort.times(41))


def rivals() -> list[Tool]:
    """Those that are here; but for cgmemtime, in whose place we have a Python program."""
    return [tool for tool in TOOLS if tool not in (OURS, CGMEMTIME) and tool.why_not() is None]


def loading(effort: Effort) -> Table:
    """What a Python program pays for it."""
    python = [sys.executable, "-c"]
    commands = {
        "nothing": [*python, "pass"],
        "`import cmemrun`": [*python, "import cmemrun"],
        "`from cmemrun import measure`": [*python, "from cmemrun import measure"],
    }
    return _over("nothing", "Loading it into Python", commands, effort.times(41))


def _over(base: str, title: str, commands: dict[str, list[str]], times: int) -> Table:
    values = alternated(
        {name: functools.partial(seconds, command) for name, command in commands.items()}, times
    )
    rows, figures = [], {}
    for name, found in values.items():
        whole = compared([value * 1000 for value in found])
        over = compared(
            [(mine - alone) * 1000 for mine, alone in zip(found, values[base], strict=True)]
        )
        figures[name] = {"ms": whole._asdict(), "over_ms": over._asdict()}
        shown = "" if name == base else f"{over.median:.1f} ({over.low:.1f} to {over.high:.1f})"
        rows.append((name, f"{whole.median:.1f}", shown))
    columns = ("", "ms", f"over {base}, ms")
    return Table(f"{title}, {times} times in turn", columns, tuple(rows), figures)
