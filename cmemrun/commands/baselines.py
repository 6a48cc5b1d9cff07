"""What was measured before, to compare with: kept by name, in a file, or in git."""

import os
import re
import subprocess
from collections.abc import Sequence
from typing import NamedTuple

from cmemrun.commands.inputs import parse_measurements, read_measurements
from cmemrun.commands.output import Output, open_output
from cmemrun.errors import BadInput
from cmemrun.model import Measurement

__all__ = ["Baseline", "Kept", "open_baseline", "read_baseline"]

_DIRECTORY = ".cmemrun"
_NAME = re.compile(r"[A-Za-z0-9_][A-Za-z0-9._-]{0,99}")


class Baseline(NamedTuple):
    """Measurements to compare with."""

    source: str
    measurements: tuple[Measurement, ...]

    def of(self, name: str) -> Measurement:
        """The one of a name, or the only one there is; ``BadInput`` where that is not clear."""
        for one in self.measurements:
            if one.name == name:
                return one
        if len(self.measurements) == 1:
            return self.measurements[0]
        raise BadInput(
            f"{self.source!r} has nothing of {name!r}",
            hint="it has " + ", ".join(repr(one.name) for one in self.measurements[:5]),
        )


class Kept(NamedTuple):
    """Where a baseline is to be written."""

    output: Output

    def save(self, measurements: Sequence[Measurement]) -> None:
        """Write it as a whole; ``OutputError``."""
        from cmemrun.report.measurements import render

        self.output.write(render(measurements))


def open_baseline(name: str) -> Kept:
    """Try the place of a baseline of this name, below the working directory."""
    if not _NAME.fullmatch(name):
        raise BadInput(
            f"--save-baseline: {name!r} is no name", hint="letters, digits, dots and dashes"
        )
    try:
        os.makedirs(_DIRECTORY, exist_ok=True)
    except OSError as error:
        raise BadInput(f"--save-baseline: cannot make {_DIRECTORY}: {error.strerror}") from error
    return Kept(open_output("--save-baseline", _path(name)))


def read_baseline(given: str) -> Baseline:
    """A baseline by its name, else a file, else ``REV:FILE`` in git; ``BadInput``."""
    if _NAME.fullmatch(given) and os.path.exists(_path(given)):
        return Baseline(given, tuple(read_measurements(_path(given))))
    if os.path.exists(given) or ":" not in given:
        if not os.path.exists(given):
            raise BadInput(
                f"--against: there is neither a baseline nor a file {given!r}",
                hint="make one: cmemrun --save-baseline NAME …",
            )
        return Baseline(given, tuple(read_measurements(given)))
    return Baseline(given, tuple(parse_measurements(given, _from_git(given))))


def _path(name: str) -> str:
    return f"{_DIRECTORY}/{name}.json"


def _from_git(given: str) -> bytes:
    revision, _, path = given.partition(":")
    try:
        done = subprocess.run(
            # A path is taken from the directory we are in only if it says so.
            ["git", "show", "--end-of-options", f"{revision}:./{path}"],
            check=False,
            capture_output=True,
            stdin=subprocess.DEVNULL,
        )
    except OSError as error:
        raise BadInput(f"--against: cannot run git: {error.strerror}") from error
    if done.returncode:
        said = done.stderr.decode(errors="backslashreplace").strip().splitlines()
        raise BadInput(f"--against: git: {said[0] if said else done.returncode}")
    return done.stdout
