"""How far off each tool is, for loads of known size: ``scripts/accuracy`` runs this.

Prints a Markdown table to standard output, and how far it has come to standard error.
"""

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from scripts.peers.loads import LOADS, MIB, NOTHING, Load, Places, program
from scripts.peers.machine import describe
from scripts.peers.tools import OURS, TOOLS, Tool, ToolFailed

__all__ = ["Comparison", "compare", "found_places"]

LEAST_HOLD_SECONDS = 0.3


@dataclass
class Comparison:
    """What was measured: bytes, or ``None`` where a tool saw nothing or failed."""

    loads: Sequence[Load]
    tools: Sequence[Tool]
    rounds: int
    hold_seconds: float
    expected: dict[str, int] = field(default_factory=dict)
    """For a load's name, in bytes."""
    measured: dict[tuple[str, str], list[tuple[int | None, int | None]]] = field(
        default_factory=dict
    )
    """For a tool's and a load's name: with the load and without it, in each round."""
    alone: dict[str, list[int | None]] = field(default_factory=dict)
    """For a tool's name: the interpreter doing nothing, in each round."""
    failures: dict[str, None] = field(default_factory=dict)
    """What tools said that could not measure; each once."""
    methods: dict[str, dict[str, Any]] = field(default_factory=dict)
    """For a load's name: how ours was got, and how exact it says it is."""

    def errors(self, tool: Tool, load: Load) -> list[int]:
        """Measured less expected, in bytes, of each round that has both."""
        return [
            with_it - without - self.expected[load.name]
            for with_it, without in self.measured.get((tool.name, load.name), ())
            if with_it is not None and without is not None
        ]


@contextmanager
def found_places() -> Iterator[Places]:
    """Where files can be: a disk, with the file to be read on it, and a tmpfs."""
    disk = os.environ.get("CMEMRUN_TEST_DISK", "/var/tmp")
    with tempfile.TemporaryDirectory(dir=disk) as directory:
        places = Places(disk=directory, tmpfs="/dev/shm")
        with open(places.file, "wb", buffering=0) as file:
            for _ in range(64):
                file.write(b"x" * MIB)
            os.fsync(file.fileno())
        yield places


def forget(path: str) -> None:
    """Drop a file's page cache, so that who reads it next is charged for it."""
    fd = os.open(path, os.O_RDONLY)
    os.posix_fadvise(fd, 0, 0, os.POSIX_FADV_DONTNEED)
    os.close(fd)


def compare(
    loads: Sequence[Load], tools: Sequence[Tool], *, rounds: int, hold: float
) -> Comparison:
    """Each load with each tool, one tool after the other, as many times as there are rounds."""
    found = Comparison(loads, tools, rounds, hold)
    with found_places() as places, tempfile.TemporaryDirectory(dir="/var/tmp") as directory:
        found.expected = {load.name: load.expected_bytes(places) for load in loads}
        # What is read first is charged to who reads it, the interpreter's own files as well.
        # Who fails here does so again below, and is named there.
        for load in loads:
            subprocess.run(load.command(places, 0), check=False, stderr=subprocess.DEVNULL)
        for tool in tools:
            _measure(tool, program(*NOTHING, "0"), directory, found)
        for number in range(rounds):
            without: dict[tuple[str, tuple[str, ...]], int | None] = {}
            for tool in tools:
                nothing = _measure(tool, program(*NOTHING, str(hold)), directory, found)
                found.alone.setdefault(tool.name, []).append(nothing)
                without[tool.name, NOTHING] = nothing
            for load in loads:
                print(f"{number + 1}/{rounds} {load.name}", end="", file=sys.stderr, flush=True)
                for tool in tools:
                    key = (tool.name, load.without)
                    if key not in without:
                        words = load.command_without(hold)
                        without[key] = _measure(tool, words, directory, found)
                    if load.reads_file:
                        forget(places.file)
                    with_it = _measure(tool, load.command(places, hold), directory, found, load)
                    both = (with_it, without[key])
                    found.measured.setdefault((tool.name, load.name), []).append(both)
                    error = _mib(found.errors(tool, load)[-1:])
                    print(f", {tool.name} {error}", end="", file=sys.stderr, flush=True)
                print(file=sys.stderr)
    return found


def _measure(
    tool: Tool, command: list[str], directory: str, found: Comparison, load: Load | None = None
) -> int | None:
    try:
        said = tool.run(command, Path(directory))
        if tool is OURS and load is not None:
            found.methods[load.name] = json.loads(said.file)["method"]
        return tool.read(said)
    except ToolFailed as failure:
        found.failures[str(failure)] = None
        return None


def _mib(errors: list[int]) -> str:
    return f"{statistics.median(errors) / MIB:+.2f}" if errors else "n/a"


def table(found: Comparison) -> str:
    """The errors in Markdown, with how they were got before and what the numbers are after."""
    tools = found.tools
    rows = [
        ("load", "expected", *(tool.name for tool in tools), "cmemrun says at most"),
        ("---", *("---:" for _ in range(len(tools) + 2))),
        *(
            (
                load.name,
                f"{found.expected[load.name] / MIB:.2f}",
                *(_mib(found.errors(tool, load)) for tool in tools),
                _said(found.methods.get(load.name)),
            )
            for load in found.loads
        ),
        ("*the interpreter alone, as measured*", "", *(_alone(found, tool) for tool in tools), ""),
    ]
    return "\n".join(
        [
            f"Error in MiB, {_of_rounds(found.rounds)}; what is held is held for"
            f" {found.hold_seconds:g} s. {describe(tools)}.",
            "",
            *(f"| {' | '.join(row)} |" for row in rows),
            "",
            *_notes(found),
        ]
    )


def _of_rounds(number: int) -> str:
    return "in one round" if number == 1 else f"median of {number} rounds"


def _said(method: dict[str, Any] | None) -> str:
    if method is None:
        return "n/a"
    exact = "" if method["peak_source"] == "kernel" else ", a lower bound"
    return f"{method['resolution_bytes'] / MIB:.2f}{exact}"


def _alone(found: Comparison, tool: Tool) -> str:
    sizes = [size for size in found.alone.get(tool.name, ()) if size is not None]
    return f"{statistics.median(sizes) / MIB:.2f}" if sizes else "n/a"


def _notes(found: Comparison) -> Iterator[str]:
    for tool in found.tools:
        yield f"* {tool.name}: {tool.meaning}, in units of {tool.unit}"
    worst = max(
        (abs(error) for load in found.loads for error in found.errors(OURS, load)), default=0
    )
    yield (
        "* the last column is how much too high the kernel's mark may be, as cmemrun says with each"
        " run, and so by how much either way the difference of two may be off; none was off by more"
        f" than {worst / MIB:.2f} MiB in any round"
    )
    for tool in TOOLS:
        if reason := tool.why_not():
            yield f"* not here: {tool.name}: {reason}"
    for failure in found.failures:
        yield f"* failed: {failure}"


def document(found: Comparison) -> dict[str, Any]:
    """Every value there is."""
    return {
        "machine": describe(found.tools),
        "rounds": found.rounds,
        "hold_seconds": found.hold_seconds,
        "methods": found.methods,
        "failures": list(found.failures),
        "loads": [
            {
                "name": load.name,
                "expected_bytes": found.expected[load.name],
                "measured_bytes_with_and_without": {
                    tool.name: found.measured[tool.name, load.name] for tool in found.tools
                },
            }
            for load in found.loads
        ],
    }


def main() -> None:
    parser = argparse.ArgumentParser(prog="scripts/accuracy", description=__doc__)
    parser.add_argument("--rounds", type=int, default=3, metavar="N")
    parser.add_argument("--loads", default="", metavar="A,B", help="with A or B in the name")
    parser.add_argument("--tools", default="", metavar="A,B", help="likewise")
    parser.add_argument("--json", metavar="FILE", help="write every value there")
    asked = parser.parse_args()
    loads = [load for load in LOADS if any(part in load.name for part in asked.loads.split(","))]
    tools = [tool for tool in TOOLS if any(part in tool.name for part in asked.tools.split(","))]
    if not loads or not tools or asked.rounds < 1:
        parser.error(
            f"nothing to do; the loads are: {', '.join(one.name for one in LOADS)};"
            f" the tools are: {', '.join(one.name for one in TOOLS)}"
        )
    tools = [tool for tool in tools if not tool.why_not()]
    # Longer than any of them looks away.
    hold = max(LEAST_HOLD_SECONDS, *(1.5 * tool.interval_seconds for tool in tools))
    found = compare(loads, tools, rounds=asked.rounds, hold=hold)
    if asked.json:
        Path(asked.json).write_text(json.dumps(document(found), indent=1) + "\n")
    print(table(found))


if __name__ == "__main__":
    main()
