"""The tools that measure memory, ours first: how each is called, and how its number is read.

``Tool.around`` is all that a stopwatch needs of one; ``Tool.run`` and ``Tool.read`` are for
who wants its number. None of them needs anything prepared but BenchExec, where memory is on
cgroup v2 without systemd: there somebody has to make ``/benchexec`` (``scripts/accuracy``).
"""

import contextlib
import json
import os
import re
import shlex
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from importlib.metadata import version as version_of
from importlib.util import find_spec
from pathlib import Path

from cmemrun.kernel.hierarchy import detect

__all__ = ["CGMEMTIME", "OURS", "TOOLS", "Said", "Tool", "ToolFailed"]

KIB, MIB = 2**10, 2**20
_LONGEST_SECONDS = 300.0
_CLEANING_UP_SECONDS = 10.0


class ToolFailed(Exception):
    """A tool that could not measure, in its own words."""


@dataclass(frozen=True)
class Said:
    """What a tool has written: to its streams, and into the file that it was given."""

    stdout: str
    stderr: str
    file: str


@dataclass(frozen=True)
class Tool:
    """One that measures a command."""

    name: str
    around: Callable[[Sequence[str], Path], list[str]]
    """The words that run a command with it; the path is for a file of its own."""
    read: Callable[[Said], int | None]
    """Its number in bytes; ``None`` where it has seen nothing."""
    meaning: str
    unit: str
    """What it writes its number in: nothing smaller can be told from it."""
    why_not: Callable[[], str | None]
    """Why it does not run here, and how to have it; ``None`` where it does."""
    version: Callable[[], str]
    interval_seconds: float = 0.0
    """How long it looks away, where it samples; what is held for less may be missed."""

    def run(self, command: Sequence[str], directory: Path) -> Said:
        """Measure a command, with ``directory`` for what is written."""
        file = directory / "said"
        file.unlink(missing_ok=True)
        with subprocess.Popen(
            self.around(command, file),
            cwd=directory,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            start_new_session=True,
        ) as process:
            try:
                stdout, stderr = process.communicate(timeout=_LONGEST_SECONDS)
            except BaseException as error:
                _end_session(process)
                if isinstance(error, subprocess.TimeoutExpired):
                    message = f"{self.name}: not done after {_LONGEST_SECONDS:g} s"
                    raise ToolFailed(message) from None
                raise
        said = Said(stdout, stderr, file.read_text() if file.exists() else "")
        if process.returncode != 0:
            last = (stderr or stdout).strip().rpartition("\n")[2]
            raise ToolFailed(f"{self.name}: status {process.returncode}: {last}")
        return said


def _end_session(leader: "subprocess.Popen[str]") -> None:
    """End a tool and what it has started, having let it clean up after itself."""
    with contextlib.suppress(ProcessLookupError):
        os.killpg(leader.pid, signal.SIGTERM)
        with contextlib.suppress(subprocess.TimeoutExpired):
            leader.wait(_CLEANING_UP_SECONDS)
        os.killpg(leader.pid, signal.SIGKILL)


def _is_root() -> bool:
    return os.geteuid() == 0


def _has_systemd() -> bool:
    return os.path.isdir("/run/systemd/system")  # sd_booted(3)


def _memory_is_on_v2() -> bool:
    memory = detect().memory
    return memory is not None and memory.version == 2


def _first_line(*command: str) -> str:
    if not shutil.which(command[0]):
        return ""
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    return (done.stdout or done.stderr).strip().partition("\n")[0]


def _number_in(text: str) -> str:
    found = re.search(r"\d+(?:\.\d+)*", text)
    return found[0] if found else "of unknown version"


def _needs_module(name: str) -> Callable[[], str | None]:
    return lambda: None if find_spec(name) else f"{name} is not installed (scripts/venv dev peers)"


# cmemrun


def _cmemrun(command: Sequence[str], file: Path) -> list[str]:
    return [sys.executable, "-m", "cmemrun", "--quiet", "--json", str(file), "--", *command]


OURS = Tool(
    name="cmemrun",
    around=_cmemrun,
    read=lambda said: int(json.loads(said.file)["peak_bytes"]),
    meaning="high-water mark of a group made for the run",
    unit="1 byte",
    why_not=_needs_module("cmemrun"),
    version=lambda: version_of("cmemrun"),
)


# The method of cgmemtime, which is in no package of Debian's and on v2 alone.


def _cgmemtime(command: Sequence[str], file: Path) -> list[str]:
    return [sys.executable, str(Path(__file__).with_name("high_water.py")), str(file), *command]


def _why_no_cgmemtime() -> str | None:
    if not _is_root():
        return "it makes a group, which needs root"
    memory = detect().memory
    if memory is None:
        return "no memory controller is mounted"
    if memory.version == 2:
        enabled = Path(memory.point, "cgroup.subtree_control").read_text().split()
        if "memory" not in enabled:
            return f"the memory controller is not enabled below {memory.point}"
    return None


# BenchExec's runexec


def _runexec(command: Sequence[str], file: Path) -> list[str]:
    # Its own containers have a tmpfs for files, which would be measured as memory.
    words = [sys.executable, "-m", "benchexec.runexecutor", "--no-container"]
    words += ["--output", "/dev/null", "--", *command]
    if _memory_is_on_v2() and _has_systemd():
        # Its INSTALL.md: a scope of its own, delegated to it.
        words = ["systemd-run", "--scope", "--quiet", "--property=Delegate=yes", *words]
    return words


def _read_runexec(said: Said) -> int | None:
    found = re.search(r"^memory=(\d+)B$", said.stdout, re.M)
    return int(found[1]) if found else None


def _why_no_runexec() -> str | None:
    reason = _needs_module("benchexec")()
    if reason or not _memory_is_on_v2() or _has_systemd():
        return reason
    if not os.path.isdir("/sys/fs/cgroup/benchexec"):
        return "without systemd it wants a group /benchexec with all controllers (its INSTALL.md)"
    return None


# systemd-run


_UNITS = {"B": 1, "K": KIB, "M": MIB, "G": 2**30}


def _read_systemd_run(said: Said) -> int | None:
    found = re.search(r"Memory peak: ([\d.]+)([BKMG])", said.stderr)
    return round(float(found[1]) * _UNITS[found[2]]) if found else None


def _systemd_version() -> str:
    return _number_in(_first_line("systemd-run", "--version"))


def _why_no_systemd_run() -> str | None:
    if not _has_systemd():
        return "this machine was not booted by systemd"
    if not _is_root():
        return "it would ask for a password"
    if int(_systemd_version().partition(".")[0]) < 255:
        return f"systemd {_systemd_version()} prints no memory peak; 255 and newer do"
    return None


# GNU time


_TIME = "/usr/bin/time"  # where a shell's own would come first


def _why_no_time() -> str | None:
    return None if os.access(_TIME, os.X_OK) else "not installed (apt-get install time)"


# psrecord and mprof


def _psrecord(command: Sequence[str], file: Path) -> list[str]:
    words = [sys.executable, "-m", "psrecord", shlex.join(command)]
    return [*words, "--include-children", "--log", str(file)]


def _read_psrecord(said: Said) -> int | None:
    """Lines of time, CPU, "Real (MB)" and "Virtual (MB)", its MB being 2**20."""
    rows = [line.split() for line in said.file.splitlines() if not line.startswith("#")]
    return max((round(float(row[2]) * MIB) for row in rows), default=None)


def _mprof(command: Sequence[str], file: Path) -> list[str]:
    words = [sys.executable, "-m", "mprof", "run", "--include-children"]
    return [*words, "--output", str(file), *command]


def _read_mprof(said: Said) -> int | None:
    """Lines ``MEM 64.25 1763804212.1``, in MiB."""
    found = re.findall(r"^MEM ([\d.]+)", said.file, re.M)
    return max((round(float(value) * MIB) for value in found), default=None)


# runc


def _runc(command: Sequence[str], file: Path) -> list[str]:
    return [sys.executable, str(Path(__file__).with_name("in_runc.py")), str(file), *command]


def _read_runc(said: Said) -> int | None:
    """Its events, a line of JSON each, with the group's usage and, where there is one, its mark."""
    events = [json.loads(line) for line in said.file.splitlines()]
    memory = [one["data"]["memory"]["usage"] for one in events if one["type"] == "stats"]
    return max((max(one["usage"], one.get("max", 0)) for one in memory), default=None)


def _why_no_runc() -> str | None:
    if not _is_root():
        return "its container would need root"
    return None if shutil.which("runc") else "not installed (apt-get install runc)"


CGMEMTIME = Tool(
    name="cgmemtime's method",
    around=_cgmemtime,
    read=lambda said: int(said.file),
    meaning="high-water mark of a group made for the run",
    unit="1 byte",
    why_not=_why_no_cgmemtime,
    version=lambda: "",  # ours
)

TOOLS = (
    OURS,
    CGMEMTIME,
    Tool(
        name="runexec",
        around=_runexec,
        read=_read_runexec,
        meaning="high-water mark of a group made for the run",
        unit="1 byte",
        why_not=_why_no_runexec,
        version=lambda: version_of("BenchExec"),
    ),
    Tool(
        name="systemd-run --wait",
        around=lambda command, file: ["systemd-run", "--wait", "--collect", *command],
        read=_read_systemd_run,
        meaning="high-water mark of the service's group",
        unit="0.1 MiB",
        why_not=_why_no_systemd_run,
        version=_systemd_version,
    ),
    Tool(
        name="GNU time",
        around=lambda command, file: [_TIME, "-f", "%M", "-o", str(file), *command],
        read=lambda said: int(said.file) * KIB,
        meaning="highest RSS of the largest single process (`%M`)",
        unit="1 KiB",
        why_not=_why_no_time,
        # Debian's says "UNKNOWN" of itself.
        version=lambda: _number_in(_first_line("dpkg-query", "-W", "-f", "${Version}", "time")),
    ),
    Tool(
        name="psrecord",
        around=_psrecord,
        read=_read_psrecord,
        meaning="RSS of all processes added up, the highest of its samples, as many as it can take",
        unit="0.001 MiB",
        why_not=_needs_module("psrecord"),
        version=lambda: version_of("psrecord"),
    ),
    Tool(
        name="mprof",
        around=_mprof,
        read=_read_mprof,
        meaning="RSS of all processes added up, the highest of its samples, one in 0.1 s",
        unit="0.000001 MiB",
        why_not=_needs_module("memory_profiler"),
        version=lambda: version_of("memory_profiler"),
        interval_seconds=0.1,
    ),
    Tool(
        name="runc events",
        around=_runc,
        read=_read_runc,
        meaning="mark of its container's group, runc's own start in it, as last seen each second",
        unit="1 byte",
        why_not=_why_no_runc,
        version=lambda: _number_in(_first_line("runc", "--version")),
        interval_seconds=1.0,
    ),
)
