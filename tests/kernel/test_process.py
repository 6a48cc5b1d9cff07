"""Which processes are looked at, and how closely."""

import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from cmemrun.kernel.process import (
    all_processes,
    descendants,
    describe,
    has_executed,
    identify,
    is_alive,
    largest,
    memory_of,
)
from cmemrun.model import Identity
from tests.waiting import until

Start = Callable[..., "subprocess.Popen[bytes]"]


def test_only_the_largest_are_looked_at_closely() -> None:
    """Only the largest are asked for more than their RSS."""
    crowd = [subprocess.Popen(["sleep", "1000"]) for _ in range(50)]
    load = "x = bytearray(64 << 20); import time; time.sleep(1000)"
    big = subprocess.Popen([sys.executable, "-c", load])
    until(
        "the load is there", lambda: any(one.rss_bytes > 64 << 20 for one in largest([big.pid], 1))
    )
    found = largest([process.pid for process in [*crowd, big]], 5)
    for process in [*crowd, big]:
        process.kill()
        process.wait()
    assert len(found) == 5 and found[0].pid == big.pid
    assert [who.rss_bytes for who in found] == sorted(
        (who.rss_bytes for who in found), reverse=True
    )


def test_who_descends_from_whom() -> None:
    root, child, grandchild = Identity(10, 5), Identity(11, 6), Identity(12, 6)
    older, other = Identity(13, 4), Identity(14, 9)
    parents = {root: 1, child: 10, grandchild: 11, older: 10, other: 1}
    assert descendants([root], parents) == {root, child, grandchild}
    # It has ended while the others were looked at, and then somebody else has its number.
    del parents[root]
    assert descendants([root], parents) == {child, grandchild}
    parents[Identity(10, 8)] = 1
    assert descendants([root], parents) == set()


@pytest.fixture
def start(tmp_path: Path) -> Iterator[Start]:
    """Start a script of some name, which is the name of its process, and end it after the test."""
    started = []

    def begin(name: str, *commands: str) -> "subprocess.Popen[bytes]":
        script = tmp_path / name
        script.write_text("\n".join(["#!/bin/sh", *commands]) + "\n")
        script.chmod(0o755)
        process = subprocess.Popen([script], stdin=subprocess.PIPE)
        started.append(process)
        return process

    yield begin
    for process in started:
        process.kill()
        process.communicate()


def is_zombie(pid: int) -> bool:
    return "State:\tZ" in Path(f"/proc/{pid}/status").read_text()


def test_zombie_and_reused_number_are_not_alive(start: Start) -> None:
    lives, ended = start("lives", "read -r word"), start("ends", "exit 0")
    living, zombie = identify(lives.pid), identify(ended.pid)
    assert living is not None and zombie is not None
    until("it has ended", lambda: is_zombie(ended.pid))
    assert is_alive(living) and not is_alive(zombie)
    assert not is_alive(living._replace(start_ticks=living.start_ticks + 1))
    assert all_processes()[zombie] == all_processes()[living] == os.getpid()
    ended.wait()
    assert identify(ended.pid) is None and zombie not in all_processes()


def test_name_with_brackets_hides_no_field(start: Start) -> None:
    process = start("a) S 1 (b", "read -r word")
    until("it executes", lambda: describe(process.pid).name == "a) S 1 (b")
    identity = identify(process.pid)
    assert identity is not None
    assert all_processes()[identity] == os.getpid()
    # The start is that of the kernel's 22nd field, after the last bracket.
    fields = Path(f"/proc/{process.pid}/stat").read_text().rpartition(")")[2].split()
    assert identity.start_ticks == int(fields[19]) > 1


def test_name_forges_no_memory_of_a_zombie(start: Start) -> None:
    process = start("a\rVmRSS:\t1", "read -r word")
    until("it executes", lambda: "VmRSS:" in (describe(process.pid).name or ""))
    found = memory_of(process.pid)
    assert found is not None and found.highest_resident_bytes > 4096
    process.communicate()
    ended = start("b\rVmRSS:\t1", "exit 0")
    until("it has ended", lambda: is_zombie(ended.pid))
    assert memory_of(ended.pid) is None


def test_copy_of_the_caller_has_not_executed(start: Start) -> None:
    reading, writing = os.pipe()
    pid = os.fork()
    if not pid:
        os.close(writing)
        os.read(reading, 1)
        os._exit(0)
    try:
        assert not has_executed(pid)
    finally:
        os.close(reading)
        os.close(writing)
        os.waitpid(pid, 0)
    process = start("program", "read -r word")
    until("it executes", lambda: describe(process.pid).name == "program")
    assert has_executed(process.pid)
    assert not has_executed(2**22 + 1)


def test_memory_of_its_own_is_less_than_its_share_and_that_less_than_all(start: Start) -> None:
    names = ["one", "two"]
    processes = [start(name, "read -r word") for name in names]
    until("they execute", lambda: [describe(one.pid).name for one in processes] == names)
    # Both have the same shell and the same libraries mapped.
    [found] = largest([processes[0].pid], 1)
    assert found.uss_bytes is not None and found.pss_bytes is not None
    assert 0 < found.uss_bytes < found.pss_bytes < found.rss_bytes
