"""Which tests run where, and a record of what ran: a pytest plugin.

A test says with ``@pytest.mark.needs("psi")`` what of the kernel it cannot do without, and with
``@pytest.mark.places("login")`` where on a machine with systemd it runs. Elsewhere it is left
out, and the record says so: ``scripts/test`` fails if it ran it nowhere.

With ``CMEMRUN_TEST_REPORT`` set to a path, the record is written there as JSON::

    {"tests": {NODE: [OUTCOME, SECONDS]}, "left_out": {NODE: [FEATURE, ...]}}
"""

import json
import os
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from cmemrun.kernel.hierarchy import detect
from tests import session

_PLACE = os.environ.get("CMEMRUN_TEST_PLACE")


def _reads(path: str, word: str) -> bool:
    return Path(path).exists() and word in Path(path).read_text()


def _has_memory(*, version: int) -> bool:
    memory = detect().memory
    return memory is not None and memory.version == version


def _copies_memory_for_a_fork_safely() -> bool:
    # User-Mode Linux from 6.8 on panics where a process is killed meanwhile: flush_tlb_mm walks
    # over what exit_mmap passes over (XA_ZERO_ENTRY, kernel/fork.c).
    release = tuple(int(number) for number in re.findall(r"\d+", os.uname().release)[:2])
    return release < (6, 8) or not _reads("/proc/cpuinfo", "User Mode Linux")


FEATURES: dict[str, Callable[[], bool]] = {
    "smp": lambda: (os.cpu_count() or 1) > 1,
    "huge_pages": lambda: _reads("/sys/kernel/mm/transparent_hugepage/enabled", "[always]"),
    "psi": lambda: Path("/proc/pressure/memory").exists() and detect().v2 is not None,
    "v1": lambda: _has_memory(version=1),
    "v2": lambda: _has_memory(version=2),
    "hybrid": lambda: _has_memory(version=1) and detect().v2 is not None,
    "own_machine": session.in_guest,
    "kill_in_fork": _copies_memory_for_a_fork_safely,
}
"""What a machine may lack, and whether the one we run on has it.

``own_machine``: nobody else is on it, and what the tests set for all of it is set for them alone.
"""


class _Record:
    """What ran, how it ended, how long it took; and what was left out for want of what."""

    def __init__(self) -> None:
        self.tests: dict[str, tuple[str, float]] = {}
        self.left_out: dict[str, list[str]] = {}

    def add(self, report: pytest.TestReport) -> None:
        outcome, seconds = self.tests.get(report.nodeid, ("passed", 0.0))
        if report.outcome != "passed":
            outcome = report.outcome
        self.tests[report.nodeid] = (outcome, seconds + report.duration)


_record = pytest.StashKey[_Record]()


def pytest_configure(config: pytest.Config) -> None:
    config.stash[_record] = _Record()
    config.pluginmanager.register(_Workers(config.stash[_record]), "workers-record")


@pytest.hookimpl(trylast=True)  # of those that the command line has selected
def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    offered = {name for name, is_there in FEATURES.items() if is_there()}
    left_out = config.stash[_record].left_out
    for item in items:
        elsewhere = [mark for mark in item.iter_markers("places") if _PLACE not in mark.args]
        needed = {name for mark in item.iter_markers("needs") for name in mark.args}
        if unknown := needed - FEATURES.keys():
            raise pytest.UsageError(f"{item.nodeid} needs {unknown}, unknown to {__name__}")
        lacking = [f"one of the places {', '.join(mark.args)}" for mark in elsewhere]
        if lacking := [*sorted(needed - offered), *lacking]:
            left_out[item.nodeid] = lacking
    config.hook.pytest_deselected(items=[item for item in items if item.nodeid in left_out])
    items[:] = [item for item in items if item.nodeid not in left_out]


def pytest_sessionfinish(session: pytest.Session) -> None:
    record = session.config.stash[_record]
    output = getattr(session.config, "workeroutput", None)
    if output is not None:  # of xdist: the one who wrote down the reports asks for this
        output["left_out"] = record.left_out
    elif path := os.environ.get("CMEMRUN_TEST_REPORT"):
        Path(path).write_text(json.dumps({"tests": record.tests, "left_out": record.left_out}))


class _Workers:
    """What comes from the tests, those of xdist's workers too."""

    def __init__(self, record: _Record) -> None:
        self._record = record

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        self._record.add(report)

    @pytest.hookimpl(optionalhook=True)
    def pytest_testnodedown(self, node: Any) -> None:
        self._record.left_out |= getattr(node, "workeroutput", {}).get("left_out", {})
