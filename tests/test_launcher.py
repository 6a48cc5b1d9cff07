"""The gate itself: what happens to a program between its birth and its first instruction."""

import errno
import gc
import os
import select
import signal
from collections.abc import Callable
from pathlib import Path

import pytest

from cmemrun.errors import BadInput, ProgramNotExecutable, ProgramNotFound
from cmemrun.launcher import Program, original_environment, search
from cmemrun.model import Exit
from cmemrun.signals import Background, Foreground
from tests.dispositions import usual  # noqa: F401 (a fixture)
from tests.waiting import until

pytestmark = pytest.mark.usefixtures("usual")


def wait(program: Program) -> None:
    until("the end of the program", program.poll)


def ran(*command: str, restore: Callable[[], None] | None = None) -> Exit:
    """How a program ends that is let through at once."""
    program = Program(command, restore=restore or Background().restore)
    try:
        program.open_gate()
        wait(program)
        return program.ended(timed_out=False)
    finally:
        program.abandon()


def test_nothing_is_executed_before_the_gate_opens() -> None:
    program = Program(["true"], restore=Background().restore)
    # In the read that waits for us, where it does not run on to its end.
    until("it waits", lambda: state_of(program.pid) in "SZ")
    assert not program.poll() and not program.is_stopped()
    with open(f"/proc/{program.pid}/comm") as comm:
        assert comm.read() != "true\n"
    program.open_gate()
    wait(program)
    assert program.ended(timed_out=False).status == 0
    program.abandon()


def state_of(pid: int) -> str:
    return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]


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
    until("the stop", lambda: state_of(program.pid) == "T")
    assert not program.poll()
    assert program.take_stop() == signal.SIGSTOP
    assert program.is_stopped()
    # Each is told once.
    assert not program.poll() and program.take_stop() is None
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
    make, take = os.pipe, os.read
    copies: list[int] = []

    def pipe() -> tuple[int, int]:
        reading, writing = make()
        copies.append(os.dup(writing))
        return reading, writing

    def read(fd: int, size: int) -> bytes:
        can_wait = os.get_blocking(fd) and not select.select([fd], [], [], 0)[0]
        assert not can_wait, "it would wait for whoever has a copy"
        return take(fd, size)

    monkeypatch.setattr(os, "pipe", pipe)
    program = Program(["sh", "-c", "exit 3"], restore=Background().restore)
    monkeypatch.setattr(os, "pipe", make)
    try:
        program.open_gate()
        wait(program)
        monkeypatch.setattr(os, "read", read)
        assert program.ended(timed_out=False).status == 3
        assert len(copies) == 2
    finally:
        monkeypatch.setattr(os, "read", take)
        program.abandon()
        for copy in copies:
            os.close(copy)


def test_no_finalizer_runs_between_fork_and_exec(tmp_path: Path) -> None:
    """It would run on what the caller shares with its fork."""

    def restore() -> None:
        (tmp_path / "told").write_text(str(gc.isenabled()))

    assert gc.isenabled()
    assert ran("true", restore=restore).code == 0
    assert (tmp_path / "told").read_text() == "False"


def test_caller_with_closed_streams_gives_the_program_those_it_is_told_to(tmp_path: Path) -> None:
    """At a number that is free in between there may be something that does not outlive exec."""
    target = os.open(tmp_path / "out", os.O_WRONLY | os.O_CREAT)
    own = os.dup(0), os.dup(1)
    os.close(0)
    os.close(1)
    try:
        program = Program(
            ["echo", "told"], restore=Background().restore, streams=(None, target, None)
        )
        program.open_gate()
        wait(program)
        code = program.ended(timed_out=False).code
        program.abandon()
    finally:
        for number, fd in enumerate(own):
            os.dup2(fd, number)
        for fd in (*own, target):
            os.close(fd)
    assert code == 0
    assert (tmp_path / "out").read_text() == "told\n"


def test_streams_may_have_each_others_numbers(tmp_path: Path) -> None:
    out, error = (os.open(tmp_path / name, os.O_WRONLY | os.O_CREAT) for name in ("1", "2"))
    own = os.dup(1), os.dup(2)
    os.dup2(error, 1)
    os.dup2(out, 2)
    try:
        program = Program(
            ["sh", "-c", "echo out; echo error >&2"],
            restore=Background().restore,
            streams=(None, 2, 1),
        )
        program.open_gate()
        wait(program)
        program.abandon()
    finally:
        for number, fd in enumerate(own, start=1):
            os.dup2(fd, number)
        for fd in (out, error, *own):
            os.close(fd)
    assert ((tmp_path / "1").read_text(), (tmp_path / "2").read_text()) == ("out\n", "error\n")


@pytest.mark.parametrize(
    ("more", "said"),
    [
        ({"directory": "/no/such/directory"}, "cannot start in '/no/such/directory'"),
        ({"streams": (None, 999, None)}, "cannot have these streams"),
    ],
)
def test_what_it_cannot_have_is_not_told_of_the_program(more: dict[str, object], said: str) -> None:
    program = Program(["true"], restore=Background().restore, **more)  # type: ignore[arg-type]
    program.open_gate()
    wait(program)
    with pytest.raises(BadInput, match=said):
        program.ended(timed_out=False)
    program.abandon()


def test_nothing_of_the_callers_is_open_in_a_program_that_waits(tmp_path: Path) -> None:
    """Another thread's run waits for the end of its pipes."""
    reading, writing = os.pipe()
    program = Program(["true"], restore=Background().restore)
    os.close(writing)
    until("the end of the pipe", lambda: select.select([reading], [], [], 0)[0])
    assert os.read(reading, 1) == b""
    os.close(reading)
    program.abandon()


@pytest.mark.parametrize(
    ("ask", "signum"), [(Program.terminate, signal.SIGTERM), (Program.kill, signal.SIGKILL)]
)
def test_program_is_asked_to_end_by_sigterm_and_ended_by_sigkill(
    ask: Callable[[Program], None], signum: signal.Signals
) -> None:
    program = Program(["sleep", "100"], restore=Background().restore)
    program.open_gate()
    ask(program)
    wait(program)
    assert program.ended(timed_out=False) == Exit(None, signum)
    program.abandon()


def test_signal_after_its_end_reaches_nobody(monkeypatch: pytest.MonkeyPatch) -> None:
    """Its PID may be another's by then."""
    program = Program(["true"], restore=Background().restore)
    program.open_gate()
    wait(program)
    monkeypatch.setattr(os, "kill", lambda *_: pytest.fail("a signal to somebody else"))
    program.terminate()
    program.kill()
    program.abandon()


def test_end_that_another_has_waited_for_is_not_known() -> None:
    program = Program(["true"], restore=Background().restore)
    program.open_gate()
    os.waitpid(program.pid, 0)
    assert program.poll()
    end = program.ended(timed_out=False)
    assert (end.code, end.signal, end.status) == (None, None, None)
    program.abandon()


def test_exit_and_signal_are_told_apart() -> None:
    assert ran("sh", "-c", "exit 9") == Exit(9, None)
    assert ran("sh", "-c", "kill -9 $$") == Exit(None, 9)
    program = Program(["true"], restore=Background().restore)
    program.open_gate()
    wait(program)
    assert program.ended(timed_out=True) == Exit(0, None, timed_out=True)
    program.abandon()


@pytest.fixture
def path(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> list[Path]:
    """Two directories, which are all of PATH."""
    found = [tmp_path / "first", tmp_path / "second"]
    for directory in found:
        directory.mkdir()
    monkeypatch.setenv("PATH", ":".join(map(str, found)))
    return found


def program_at(place: Path, text: str, mode: int = 0o755) -> None:
    place.write_text(text)
    place.chmod(mode)


def test_what_is_not_executable_is_passed_over_on_path(path: list[Path]) -> None:
    program_at(path[0] / "it", "#!/bin/sh\nexit 1\n", 0o644)
    with pytest.raises(ProgramNotExecutable, match=r"first/it.*Permission denied"):
        ran("it")
    program_at(path[1] / "it", "#!/bin/sh\nexit 2\n")
    assert ran("it").code == 2


def test_missing_interpreter_is_not_a_missing_program(path: list[Path]) -> None:
    program_at(path[0] / "it", "#!/no/such/interpreter\n")
    with pytest.raises(ProgramNotExecutable, match="its interpreter is missing"):
        ran("it")
    with pytest.raises(ProgramNotFound, match="no program 'other' on PATH"):
        ran("other")


def test_script_without_a_first_line_is_the_shells(path: list[Path]) -> None:
    program_at(path[0] / "it", "exit $1\n")
    assert ran("it", "7").code == 7
    # What is no text is for no shell.
    program_at(path[0] / "it", "\0exit 7\n")
    with pytest.raises(ProgramNotExecutable, match=os.strerror(errno.ENOEXEC)) as refusal:
        ran("it", "7")
    assert "neither a program for this machine nor a script" in (refusal.value.hint or "")


def test_nameless_entry_of_the_environment_is_left_out(monkeypatch: pytest.MonkeyPatch) -> None:
    """Some shells leave one, and Python cannot pass it on."""
    monkeypatch.setattr(os, "environ", {"": "x", "A": "b"})
    assert original_environment() == {"A": "b"}


def test_variable_that_python_adds_in_the_c_locale_is_left_out(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    at_start = Path("/proc/self/environ").read_bytes().split(b"\0")
    assert not any(entry.startswith(b"LC_CTYPE=") for entry in at_start)
    monkeypatch.setenv("LC_CTYPE", "C.UTF-8")
    assert "LC_CTYPE" not in original_environment()
    monkeypatch.setenv("LC_ALL", "C.UTF-8")
    assert original_environment()["LC_ALL"] == "C.UTF-8"


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
