"""What a signal to us becomes: passed on once, and never acted upon by ourselves."""

import functools
import os
import select
import signal
import subprocess
import traceback
from collections.abc import Callable, Iterator, Sequence
from typing import ParamSpec, cast

import pytest

from cmemrun import signals as signalling
from cmemrun.launcher import Program
from cmemrun.signals import Background, Foreground
from tests.dispositions import usual  # noqa: F401 (a fixture)
from tests.waiting import PATIENCE_SECONDS, until

pytestmark = pytest.mark.usefixtures("usual")

OURS = os.getpgrp()
P = ParamSpec("P")


class Running:
    """A program that notes which signals it gets."""

    def __init__(self, pid: int = 2**22, group: int | None = None) -> None:
        self.pid = pid
        self.group = group
        self.got: list[int] = []
        self.stopped = False

    def signal(self, signum: signal.Signals) -> None:
        self.got.append(signum)

    def process_group(self) -> int | None:
        return self.group

    def is_stopped(self) -> bool:
        return self.stopped


def wait(waiter: Foreground, program: Running, seconds: float = PATIENCE_SECONDS) -> None:
    waiter.wait(cast(Program, program), seconds)


def alone(test: Callable[P, None]) -> Callable[P, None]:
    """Run a test in a fork: of several threads a signal takes any that does not block it."""

    @functools.wraps(test)
    def in_a_fork(*arguments: P.args, **more: P.kwargs) -> None:
        pid = os.fork()
        if pid == 0:
            try:
                test(*arguments, **more)
            except BaseException:
                traceback.print_exc()
                os._exit(1)
            os._exit(0)
        assert os.waitpid(pid, 0)[1] == 0

    return in_a_fork


@pytest.fixture
def waiter() -> Iterator[Foreground]:
    with Foreground() as found:
        yield found


@pytest.mark.parametrize(
    "signum", [signal.SIGTERM, signal.SIGHUP, signal.SIGUSR1, signal.SIGUSR2, signal.SIGQUIT]
)
@alone
def test_signal_to_us_is_passed_on(waiter: Foreground, signum: signal.Signals) -> None:
    program = Running()
    os.kill(os.getpid(), signum)
    wait(waiter, program)
    assert program.got == [signum]
    assert waiter.interrupted == waiter.asked_to_end == (signum not in {10, 12})
    assert not waiter.interrupted_by_terminal


def sent_by_child(signum: signal.Signals) -> int:
    """Have a child send it to us; the child's PID."""
    with subprocess.Popen(["sh", "-c", f"kill -{int(signum)} {os.getpid()}"]) as child:
        pass
    return child.pid


@alone
def test_what_the_program_sends_to_its_process_group_has_reached_it(waiter: Foreground) -> None:
    program = Running(sent_by_child(signal.SIGTERM))
    wait(waiter, program)
    # And its children's, which are in its group.
    relative = sent_by_child(signal.SIGTERM)
    waiter.is_relative = lambda pid: pid == relative
    wait(waiter, program)
    assert program.got == []
    sent_by_child(signal.SIGTERM)
    wait(waiter, program)
    assert program.got == [signal.SIGTERM]


def from_terminal(signum: signal.Signals) -> signal.struct_siginfo:
    """As the kernel sends it for a key (``SI_KERNEL``), which no process can."""
    fields = (int(signum), 0x80, 0, 0, 0, 0, 0)
    return signal.struct_siginfo(fields)


@pytest.mark.parametrize(("group", "got"), [(OURS, []), (OURS + 1, [signal.SIGINT])])
def test_what_the_terminal_sends_reaches_a_program_in_our_group_by_itself(
    waiter: Foreground, monkeypatch: pytest.MonkeyPatch, group: int, got: list[int]
) -> None:
    monkeypatch.setattr(signal, "sigtimedwait", lambda *_: from_terminal(signal.SIGINT))
    program = Running(group=group)
    wait(waiter, program)
    monkeypatch.undo()
    assert program.got == got
    assert waiter.interrupted_by_terminal


@alone
def test_ignored_signal_does_not_ask_to_end() -> None:
    """``nohup`` holds; the program has what is sent to us all the same."""
    signal.signal(signal.SIGHUP, signal.SIG_IGN)
    program = Running()
    with Foreground() as waiter:
        os.kill(os.getpid(), signal.SIGHUP)
        wait(waiter, program)
        assert not waiter.interrupted
    assert program.got == [signal.SIGHUP]


@alone
def test_new_size_of_the_terminal_is_told_and_passed_on(waiter: Foreground) -> None:
    program, resized = Running(), list[bool]()
    waiter.on_resize = lambda: resized.append(True)
    os.kill(os.getpid(), signal.SIGWINCH)
    wait(waiter, program)
    assert (program.got, resized) == ([signal.SIGWINCH], [True])


@alone
def test_end_of_a_child_is_no_signal_to_pass_on(waiter: Foreground) -> None:
    program = Running()
    subprocess.run(["true"], check=True)
    wait(waiter, program)
    assert program.got == []


def test_time_limit_ends_the_wait(waiter: Foreground) -> None:
    program = Running()
    wait(waiter, program, -1.0)
    wait(waiter, program, 0.001)
    assert program.got == [] and not waiter.interrupted


@alone
def test_signals_that_come_while_the_program_ends_are_not_ours() -> None:
    got: list[int] = []
    signums = (signal.SIGINT, signal.SIGTERM, signal.SIGUSR1)
    for signum in signums:
        signal.signal(signum, lambda number, _: got.append(number))
    with Foreground():
        for signum in signums:
            os.kill(os.getpid(), signum)
    assert got == [] and not set(signums) & signal.sigpending()


def test_mask_and_ignored_children_are_given_back_to_the_program() -> None:
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)
    signal.signal(signal.SIGHUP, signal.SIG_IGN)
    signal.signal(signal.SIGUSR1, lambda *_: None)
    mask = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGUSR2})
    reading, writing = os.pipe()
    with Foreground() as waiter:
        # Ignored, it would have the kernel reap the program.
        assert signal.getsignal(signal.SIGCHLD) is signal.SIG_DFL
        program = Program(
            ["grep", "^Sig[BI]", "/proc/self/status"],
            restore=waiter.restore,
            streams=(None, writing, None),
        )
        program.open_gate()
        until("its end", program.poll)
        program.abandon()
    signal.pthread_sigmask(signal.SIG_SETMASK, mask)
    os.close(writing)
    with open(reading) as pipe:
        told = dict(line.split(":\t") for line in pipe.read().splitlines())
    blocked, ignored = ({*numbers(told[name])} for name in ("SigBlk", "SigIgn"))
    assert blocked == {*mask, signal.SIGUSR2}
    # What Python ignores was not ignored before; what has a handler has none.
    assert {signal.SIGCHLD, signal.SIGHUP} <= ignored
    assert not {signal.SIGPIPE, signal.SIGXFSZ, signal.SIGUSR1, signal.SIGINT} & ignored


def numbers(mask: str) -> Iterator[int]:
    """The signals of a mask as ``/proc/PID/status`` has it."""
    bits = int(mask, 16)
    return (number for number in range(1, 65) if bits >> (number - 1) & 1)


@pytest.mark.parametrize(("is_foreground", "is_job"), [(True, True), (False, True), (True, False)])
def test_sigstop_stops_us_only_as_a_job_in_the_foreground(
    waiter: Foreground, monkeypatch: pytest.MonkeyPatch, is_foreground: bool, is_job: bool
) -> None:
    """Debuggers and throttlers send it, too, who continue only the program."""
    stops: list[bool] = []

    def stop() -> bool:
        stops.append(True)
        return True

    monkeypatch.setattr(signalling, "_is_job", lambda: is_job)
    monkeypatch.setattr(
        signalling, "_foreground_group", lambda: OURS if is_foreground else OURS + 1
    )
    monkeypatch.setattr(waiter, "_stop", stop)
    program = Running(group=OURS)
    program.stopped = True
    waiter.stopped(cast(Program, program), signal.SIGSTOP)
    assert bool(stops) == (is_foreground and is_job)
    assert program.got == ([signal.SIGCONT] if stops else [])
    # What the terminal sends stops a whole job.
    waiter.stopped(cast(Program, program), signal.SIGTSTP)
    assert stops[-1:] == [True]


def test_program_that_runs_again_is_not_continued(
    waiter: Foreground, monkeypatch: pytest.MonkeyPatch
) -> None:
    program = Running(group=OURS)
    for continued, stopped, got in ((True, False, []), (False, True, []), (True, True, [18])):
        monkeypatch.setattr(waiter, "_stop", lambda told=continued: told)
        program.stopped = stopped
        waiter.stopped(cast(Program, program), signal.SIGTSTP)
        assert program.got == got


def test_in_a_thread_the_end_of_the_program_ends_the_wait(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    waiter, over = Background(), list[bool]()

    def sleep(handles: Sequence[int], _: float | None) -> None:
        # What it waits for, and whether there is nothing left to wait for.
        [handle] = handles
        over.append(bool(select.select([handle], [], [], 0)[0]))

    monkeypatch.setattr(waiter, "sleep", sleep)
    with subprocess.Popen(["sh", "-c", "read x"], stdin=subprocess.PIPE) as child:
        program = cast(Program, Running(child.pid))
        waiter.wait(program, None)
        assert over == [False] and child.stdin is not None
        child.stdin.close()
        os.waitid(os.P_PID, child.pid, os.WEXITED | os.WNOWAIT)
        waiter.wait(program, None)
        assert over == [False, True]
    # Whom somebody has waited for is not waited for again.
    waiter.wait(program, None)
    assert over == [False, True]


def test_in_a_thread_a_readable_handle_ends_the_sleep() -> None:
    reading, writing = os.pipe()
    os.write(writing, b"!")
    Background().sleep((reading,), None)
    Background().sleep((), 0.0)
    os.close(reading)
    os.close(writing)


def test_in_a_thread_no_disposition_is_touched() -> None:
    before = {signum: signal.getsignal(signum) for signum in signal.valid_signals()}
    Background().wait(cast(Program, Running()), 0.0)
    assert {signum: signal.getsignal(signum) for signum in signal.valid_signals()} == before
