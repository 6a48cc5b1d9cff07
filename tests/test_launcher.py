"""The gate itself: what happens to a program between its birth and its first instruction."""

import os
import signal
import threading
import time

import pytest

from cmemrun.errors import ProgramNotExecutable, ProgramNotFound
from cmemrun.launcher import Program, search
from cmemrun.signals import Background, Foreground


def wait(program: Program) -> None:
    deadline = time.monotonic() + 10
    while not program.poll():
        assert time.monotonic() < deadline
        time.sleep(0.005)


def test_nothing_is_executed_before_the_gate_opens() -> None:
    program = Program(["true"], restore=Background().restore)
    time.sleep(0.05)
    assert not program.poll()
    with open(f"/proc/{program.pid}/comm") as comm:
        assert comm.read() != "true\n"
    program.open_gate()
    wait(program)
    assert program.ended(timed_out=False).status == 0
    program.abandon()


def test_an_abandoned_program_is_gone() -> None:
    program = Program(["sleep", "100"], restore=Background().restore)
    program.abandon()
    assert not os.path.exists(f"/proc/{program.pid}")


@pytest.mark.parametrize("signum", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_a_signal_while_it_waits_ends_it_as_it_would_the_program(signum: signal.Signals) -> None:
    with Foreground() as waiter:
        program = Program(["sleep", "100"], restore=waiter.restore)
        os.kill(program.pid, signum)
        program.open_gate()
        wait(program)
        assert program.ended(timed_out=False).signal == signum
        program.abandon()


def test_a_stop_on_the_way_is_seen() -> None:
    def restore() -> None:
        os.kill(os.getpid(), signal.SIGSTOP)

    program = Program(["true"], restore=restore)
    program.open_gate()
    deadline = time.monotonic() + 10
    while program.take_stop() != signal.SIGSTOP:
        assert not program.poll() and time.monotonic() < deadline
    assert program.is_stopped()
    program.signal(signal.SIGCONT)
    wait(program)
    assert program.ended(timed_out=False).code == 0
    program.abandon()


def test_a_failure_in_between_is_told() -> None:
    def restore() -> None:
        raise RuntimeError("on purpose")

    program = Program(["true"], restore=restore)
    program.open_gate()
    wait(program)
    with pytest.raises(ProgramNotExecutable):
        program.ended(timed_out=False)
    program.abandon()


def test_whoever_has_a_copy_of_its_pipe_is_not_waited_for(monkeypatch: pytest.MonkeyPatch) -> None:
    """Another thread's fork without an exec has one, for as long as it lives."""
    make, copies = os.pipe, []

    def pipe() -> tuple[int, int]:
        reading, writing = make()
        copies.append(os.dup(writing))
        return reading, writing

    def close() -> None:
        while copies:
            os.close(copies.pop())

    monkeypatch.setattr(os, "pipe", pipe)
    program = Program(["sh", "-c", "exit 3"], restore=Background().restore)
    program.open_gate()
    wait(program)
    rescue = threading.Timer(5, close)
    rescue.start()
    assert program.ended(timed_out=False).status == 3
    assert copies
    rescue.cancel()
    program.abandon()
    close()


def test_a_wait_of_months() -> None:
    """Longer than poll(2) can count."""
    reading, writing = os.pipe()
    os.write(writing, b"!")
    Background().sleep((reading,), 1e9)
    os.close(reading)
    os.close(writing)


def test_the_search() -> None:
    assert search("a/b", {"PATH": "/x"}) == ["a/b"]
    assert search("b", {"PATH": "/x::/y"}) == ["/x/b", "b", "/y/b"]
    assert search("b", {})[0].startswith("/")
    with pytest.raises(ProgramNotFound):
        Program([""], restore=Background().restore)
