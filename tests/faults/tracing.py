"""Real errors of system calls, at any step of any part of a run, by strace."""

import contextlib
import json
import os
import re
import select
import signal
import subprocess
import sys
import sysconfig
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import cmemrun
from tests.waiting import PATIENCE_SECONDS, until

STOPPED = str(Path(__file__).with_name("stopped.py"))

_CALL = re.compile(r"(\w+)\((.*)")
# What a call is about: the path that is named, or the file behind a descriptor.
_TARGET = re.compile(r"AT_FDCWD<[^>]*>, \"([^\"]*)\"|\"([^\"]*)\"|\d+<([^>]*)>")
# Python's own modules and ours, libraries and the program's file: to be read, once it is there.
_LIBRARIES = re.compile(
    "|".join(
        re.escape(path)
        for path in (
            *(sys.prefix, sysconfig.get_path("stdlib"), str(Path(cmemrun.__file__).parent)),
            *("/usr/", "/lib/", "/etc/ld.so", "/bin/"),
        )
    )
)
_CHANGING = re.compile(r"cmemrun-\d+-[0-9a-f]+|[0-9a-f]{12,}|\d+")
_HANGS_SECONDS = PATIENCE_SECONDS
"""A run that takes as long has not ended."""


class Step(NamedTuple):
    """The ``number``-th of all calls of this name that a part of the run makes."""

    call: str
    number: int
    target: str
    """What it is about, without what differs from run to run."""


class Fault(NamedTuple):
    """What happens at a step: ``error=ENOSPC``, ``signal=SIGKILL``, ``delay_enter=100000`` (µs)."""

    step: Step
    what: str
    lasts: bool = False
    """Whether it happens at all such calls from then on."""

    def __str__(self) -> str:
        since = "from" if self.lasts else "at"
        return f"{self.what} {since} {self.step.call} {self.step.number} of {self.step.target!r}"

    @property
    def injection(self) -> str:
        """As strace wants it."""
        return f"{self.step.call}:{self.what}:when={self.step.number}{'+' * self.lasts}"

    @property
    def traced(self) -> str:
        """The calls that show whether it was hit: fewer cost strace less."""
        return f"{self.step.call},execve"


class Traced(NamedTuple):
    """A run of which one part was traced."""

    status: int | None
    """``None`` where it had to be ended."""

    stdout: str
    stderr: str
    steps: tuple[Step, ...]
    was_hit: bool
    """Whether it came to the step at which the fault was to be."""

    pid: int
    """The launcher's, after which its groups are called."""


class Tracer:
    """A context: runs of cmemrun, one after the other, with one part of each under strace."""

    def __enter__(self) -> "Tracer":
        self._server = subprocess.Popen(
            [sys.executable, STOPPED], stdin=subprocess.PIPE, stdout=subprocess.PIPE
        )
        self.pid = self._server.pid
        return self

    def __exit__(self, *_: object) -> None:
        # Its answers have no end while a run that was left has a copy of the pipe.
        self._server.kill()
        self._server.wait()
        for stream in (self._server.stdin, self._server.stdout):
            assert stream is not None
            stream.close()

    def trace(
        self, part: str, arguments: Sequence[str], directory: Path, fault: Fault | None = None
    ) -> Traced:
        """Run cmemrun in a directory, where its standard streams are left as files."""
        assert self._server.stdin is not None
        self._server.stdin.write(json.dumps([part, str(directory), arguments]).encode())
        self._server.stdin.flush()
        what, thread, pid = self._answer()
        assert what == "thread", f"{part} was not reached: {what} {thread}"
        launcher, process = int(pid), int(_status(thread, "Tgid"))
        log = directory / "strace"
        options = ["-y", "-o", str(log)]
        if fault is not None:
            options += ["-e", f"trace={fault.traced}", "-e", f"inject={fault.injection}"]
        try:
            status = self._follow(thread, process, launcher, options)
        except BaseException:
            # What is stopped would stay so, and its launcher wait for it.
            _kill(process, launcher)
            raise
        counts, steps = _read(log.read_text())
        was_hit = fault is not None and counts[fault.step.call] >= fault.step.number
        texts = [(directory / name).read_text() for name in ("stdout", "stderr")]
        return Traced(status, texts[0], texts[1], steps, was_hit, launcher)

    def _follow(self, thread: str, process: int, launcher: int, options: list[str]) -> int | None:
        """Trace what has stopped until the run has ended; with which status it did."""
        until("it stops", lambda: _status(thread, "State")[0] == "T", every=0.001)
        strace = subprocess.Popen(
            ["strace", *options, "-p", thread], stderr=subprocess.PIPE, text=True
        )
        try:
            assert strace.stderr is not None
            said = strace.stderr.readline()
            assert "attached" in said, said
            os.kill(process, signal.SIGCONT)
            try:
                status: int | None = int(self._answer(_HANGS_SECONDS)[1])
            except TimeoutError:
                status = None
                _kill(process, launcher)
                self._answer()
            strace.wait(PATIENCE_SECONDS)
        finally:
            strace.kill()
            strace.communicate()
        return status

    def _answer(self, within: float = PATIENCE_SECONDS) -> list[str]:
        assert self._server.stdout is not None
        answers = self._server.stdout
        if not select.select([answers], [], [], within)[0]:
            raise TimeoutError
        return answers.readline().decode().split()


def without_numbers(path: str) -> str:
    """A path without what differs from run to run."""
    return _CHANGING.sub("#", path)


def _kill(*processes: int) -> None:
    for process in processes:
        with contextlib.suppress(ProcessLookupError):
            os.kill(process, signal.SIGKILL)


def _status(thread: str, name: str) -> str:
    text = Path(f"/proc/{thread}/status").read_text()
    found: list[str] = re.findall(rf"^{name}:\s+(.*)", text, re.MULTILINE)
    return found[0]


def _read(text: str) -> tuple[Counter[str], tuple[Step, ...]]:
    """How often each call was made, and the steps that are not about libraries."""
    counts: Counter[str] = Counter()
    found = []
    for line in text.splitlines():
        call = _CALL.match(line)
        if call is None:
            continue
        counts[call[1]] += 1
        target = _TARGET.match(call[2])
        path = next(filter(None, target.groups()), "") if target else ""
        if call[1] == "execve" and line.endswith(" = 0"):
            break  # what follows is the program's
        if not _LIBRARIES.match(path):
            found.append(Step(call[1], counts[call[1]], without_numbers(path)))
    return counts, tuple(found)
