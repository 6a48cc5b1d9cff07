"""A group that is there already, for as long as a block takes."""

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

import cmemrun
from tests.api.conftest import MIB, load
from tests.cgroups import made_group
from tests.waiting import until

pytestmark = pytest.mark.usefixtures("nothing_left")


@pytest.fixture
def group() -> Iterator[str]:
    with made_group(f"somebodys-{os.getpid()}") as path:
        yield path


@pytest.fixture
def server(group: str) -> Iterator["subprocess.Popen[str]"]:
    """Holds as many MiB as it is told to, on standard input, and answers."""
    code = """
import sys
for line in sys.stdin:
    held = bytearray(int(line) * 2**20); held[::4096] = b"x" * len(held[::4096])
    print("held", flush=True)
"""
    enter = 'echo $$ > $0/cgroup.procs; exec "$@"'
    process = subprocess.Popen(
        ["sh", "-c", enter, group, sys.executable, "-S", "-c", code],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    ask(process, 1)
    with process:
        yield process
        process.kill()


def ask(process: "subprocess.Popen[str]", mib: int) -> None:
    assert process.stdin and process.stdout
    print(mib, file=process.stdin, flush=True)
    assert process.stdout.readline() == "held\n"


def test_a_live_process(server: "subprocess.Popen[str]") -> None:
    with cmemrun.watch(pid=server.pid, refresh="20ms") as watching:
        before = watching.sample.usage_bytes
        with pytest.raises(RuntimeError):
            _ = watching.run
        ask(server, 64)
        until("it is seen", lambda: watching.sample.usage_bytes >= before + 60 * MIB)
        ask(server, 1)
    run = watching.run
    assert isinstance(run, cmemrun.Run)
    assert 64 * MIB <= run.peak_bytes < 100 * MIB and run.method.attached
    assert run.exit.status is None and run.pid == server.pid
    assert "its end not seen" in repr(run)
    assert server.poll() is None


def test_an_exception_of_the_callers(server: "subprocess.Popen[str]", group: str) -> None:
    with (
        pytest.raises(ZeroDivisionError),
        cmemrun.watch(cgroup=group, refresh=0.02) as watching,
    ):
        ask(server, 32)
        _ = 1 // 0
    assert watching.run.peak_bytes >= 32 * MIB


def test_what_ends_before_the_block_does(server: "subprocess.Popen[str]", group: str) -> None:
    with cmemrun.watch(cgroup=group) as watching:
        job = watching._job
        assert job is not None
        server.kill()
        server.wait()
        until("the watch ends by itself", job.future.done)
    assert watching.run.peak_bytes > 0


def test_two_at_once(server: "subprocess.Popen[str]", group: str) -> None:
    with cmemrun.watch(cgroup=group) as one, cmemrun.watch(pid=server.pid) as other:
        ask(server, 16)
        inner = cmemrun.measure(load("anon", "48"))
    assert inner.peak_bytes >= 48 * MIB
    for watching in (one, other):
        assert 16 * MIB <= watching.run.peak_bytes < 48 * MIB


def test_what_cannot_be_watched_is_raised(group: str) -> None:
    for wrong in ({}, {"pid": 1, "cgroup": "/"}, {"pid": 1, "refresh": 0}):
        with pytest.raises(cmemrun.BadInput):
            cmemrun.watch(**wrong)
    for error, asked in (
        (cmemrun.BadInput, {"pid": 2**22 + 1}),
        (cmemrun.BadInput, {"cgroup": "/no/such/group"}),
        (cmemrun.BadInput, {"container": "ffffffffffff"}),
        (cmemrun.NoGroup, {"cgroup": group}),
    ):
        with pytest.raises(error), cmemrun.watch(**asked):
            pytest.fail("it was entered")


def test_once_only(server: "subprocess.Popen[str]", group: str, tmp_path: Path) -> None:
    # The end of the block does not wait for the next refresh.
    watching = cmemrun.watch(cgroup=group, refresh=1e6)
    with pytest.raises(RuntimeError):
        _ = watching.sample
    with watching:
        pass
    first = watching.run
    with pytest.raises(RuntimeError), watching:
        pytest.fail("it was entered again")
    assert watching.run == first
