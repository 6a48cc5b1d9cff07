"""What every test has: the installed command, and a watch that nothing is left behind."""

import contextlib
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import time
import uuid
from collections.abc import Callable, Generator, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from cmemrun.backends import tree
from cmemrun.kernel.hierarchy import Mount, detect
from tests import own_cgroup, session, warm
from tests.session import in_guest
from tests.waiting import PATIENCE_SECONDS, slowness

pytest_plugins = ["tests.selection"]

# The one beside this interpreter, or, where the machine has it elsewhere, on PATH.
CMEMRUN = shutil.which("cmemrun", path=f"{Path(sys.executable).parent}:{os.environ['PATH']}") or ""
# Somebody who may write nowhere, but look everywhere: Python may lie in root's own home.
ORDINARY = (
    *("setpriv", "--reuid=65534", "--regid=65534", "--clear-groups"),
    *("--inh-caps=+dac_read_search", "--ambient-caps=+dac_read_search"),
)
needs_strace = pytest.mark.skipif(
    not shutil.which("strace"), reason="there is no strace (apt install strace)"
)
_IS_STRICT = os.environ.get("CMEMRUN_TEST_STRICT") == "1"

_MARK = "CMEMRUN_TEST_MARK"
_RUN = re.compile(r"cmemrun-\d+-")


_LEFTOVER_SECONDS = 30.0
"""What is left behind is mostly gone in milliseconds; where many tests fail, each waits for it."""


@dataclass(frozen=True)
class Result:
    """One finished command, with the JSON document where one was asked for."""

    status: int
    stdout: str
    stderr: str
    document: dict[str, Any] | None

    def __getitem__(self, name: str) -> Any:
        assert self.document is not None, self.stderr
        return self.document[name]


Cmemrun = Callable[..., Result]


@pytest.hookimpl(trylast=True)
def pytest_configure(config: pytest.Config) -> None:
    # Last, when pytest itself has decided on its colours.
    session.make_usual()
    if config.pluginmanager.has_plugin("hypothesispytest"):  # not on machines with systemd
        _make_properties_steady()


def _make_properties_steady() -> None:
    """A stall of the machine is no failure of a property; CI tries the same examples each time."""
    from hypothesis import settings

    settings.register_profile("steady", deadline=None)
    settings.register_profile("strict", deadline=None, derandomize=True, database=None)
    settings.load_profile("strict" if _IS_STRICT else "steady")


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport() -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """In CI nothing is left out quietly: there a skip is a failure."""
    report = yield
    if report.skipped and _IS_STRICT:
        report.outcome = "failed"
    return report


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """How many hostile inputs and faults were tried, by all workers together."""
    reports = terminalreporter.stats.get("", [])
    for name, what in (("inputs", "hostile inputs"), ("faults", "faults")):
        counts = [dict(one.user_properties).get(name, 0) for one in reports]
        if total := sum(counts):
            terminalreporter.line(f"{total} {what} in {sum(map(bool, counts))} tests")


def hierarchy_of_memory() -> tuple[Mount, str]:
    """The tree that has the memory controller, and our own group in it."""
    hierarchy = detect()
    mount = hierarchy.memory
    assert mount is not None
    own = hierarchy.own_group(mount)
    assert own is not None
    return mount, own


def groups() -> set[str]:
    """Every cgroup of a run that there is now, but for those of other people's runs."""
    found: set[str] = set()
    for top in own_cgroup.searched():
        for directory, names, _ in os.walk(top):
            found.update(f"{directory}/{name}" for name in names if _RUN.match(name))
    is_ours_alone = own_cgroup.is_entered() or in_guest()
    return found if is_ours_alone else {group for group in found if not _is_of_others(group)}


def _is_of_others(group: str) -> bool:
    launcher = group.rpartition("/")[2].split("-")[1]
    if int(launcher) == os.getpid():
        return False
    try:
        environment = Path(f"/proc/{launcher}/environ").read_bytes()
    except OSError:
        return False
    return f"{_MARK}={os.environ.get(_MARK)}".encode() not in environment


def processes(mark: str) -> dict[int, str]:
    """Every process, but ourselves, whose environment carries the mark; the keeper's does."""
    wanted, found = f"{_MARK}={mark}".encode(), {}
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit() and int(entry.name) != os.getpid():
            try:
                if wanted in (entry / "environ").read_bytes():
                    found[int(entry.name)] = (entry / "cmdline").read_text()
            except OSError:
                pass
    return found


@pytest.fixture(scope="session", autouse=True)
def in_own_cgroup() -> Iterator[None]:
    """Share no cgroup with other runs of the tests; a guest is ours alone anyway."""
    with contextlib.nullcontext() if in_guest() else own_cgroup.entered():
        yield


@pytest.fixture(scope="session", autouse=True)
def warm_start(in_own_cgroup: None) -> Iterator[None]:
    """``warm.run`` starts the installed command as a fork of what has loaded it."""
    with warm.serving(CMEMRUN):
        yield


@pytest.fixture(autouse=True)
def mark(warm_start: None, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """A mark on everything this test starts; none of it, and no cgroup, may outlive the test."""
    value = uuid.uuid4().hex
    monkeypatch.setenv(_MARK, value)
    before = groups()
    yield value
    begun = time.monotonic()
    while (left := (groups() - before, processes(value))) != (set(), {}):
        waited = time.monotonic() - begun
        if waited > _LEFTOVER_SECONDS and waited > _LEFTOVER_SECONDS * slowness():
            end(*left)
            pytest.fail(f"left behind: {left}")
        time.sleep(0.02)


def end(groups: Iterable[str], pids: Iterable[int]) -> None:
    """End what a test has left behind, which would take part in those after it."""
    for pid in pids:
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)
    tree.end(sorted(groups), 5)


@pytest.fixture
def open_path() -> Iterator[Path]:
    """A directory that other users may enter; pytest closes those above ``tmp_path`` to them."""
    with tempfile.TemporaryDirectory(prefix="cmemrun-test-") as name:
        path = Path(name)
        path.chmod(0o755)
        yield path


@pytest.fixture
def cmemrun(tmp_path: Path) -> Cmemrun:
    """Run the command; by default with ``--json`` into a file that is read back.

    Warm, as a fork: where its start is what is tested use ``installed_cmemrun``.
    ``verb``: the first argument is a verb, which comes before every option.
    """
    return _started_by(warm.run, tmp_path)


@pytest.fixture
def installed_cmemrun(tmp_path: Path) -> Cmemrun:
    """As ``cmemrun``, and each time it is a new interpreter that starts."""
    return _started_by(subprocess.run, tmp_path)


def _started_by(start: Callable[..., Any], directory: Path) -> Cmemrun:
    def run(
        *arguments: str,
        document: bool = True,
        verb: bool = False,
        seconds: float = PATIENCE_SECONDS,
        **more: Any,
    ) -> Result:
        path = directory / "run.json"
        path.unlink(missing_ok=True)
        asked = ["--json", str(path)] if document else []
        done = start(
            [CMEMRUN, *arguments[:verb], *asked, *arguments[verb:]],
            capture_output=True,
            text=True,
            timeout=seconds,
            check=False,
            **({} if "input" in more else {"stdin": subprocess.DEVNULL}) | more,
        )
        read = json.loads(path.read_text()) if path.exists() else None
        return Result(done.returncode, done.stdout, done.stderr, read)

    return run
