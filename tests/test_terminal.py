"""Job control in a real pseudo-terminal: with cmemrun everything is as without it."""

import json
import os
import re
import signal
import sys
import termios
from collections.abc import Iterator
from pathlib import Path
from typing import TypeAlias

import pexpect
import pytest

from tests.conftest import CMEMRUN
from tests.processes import (
    catches,
    child_named,
    has_taken_signals,
    is_stopped,
    state,
    waits_in,
)
from tests.waiting import PATIENCE_SECONDS, until

pytestmark = pytest.mark.slow

PROMPT = "ready> "
Terminal: TypeAlias = "pexpect.spawn[str]"


def spawn(command: str, *arguments: str) -> Terminal:
    """A program in a terminal of its own."""
    terminal = pexpect.spawn(
        command,
        list(arguments),
        timeout=PATIENCE_SECONDS,
        encoding="utf-8",
        dimensions=(24, 100),
    )
    # A test waits for what it needs before it types.
    terminal.delaybeforesend = None
    terminal.delayafterclose = terminal.delayafterterminate = 0.02
    return terminal


@pytest.fixture
def shell(monkeypatch: pytest.MonkeyPatch) -> Iterator[Terminal]:
    """An interactive bash in a terminal, to which cmemrun is ``m`` (quiet) and ``M``."""
    monkeypatch.setenv("PS1", PROMPT)
    monkeypatch.setenv("TERM", "xterm")
    terminal = spawn("bash", "--norc", "--noprofile", "-i")
    terminal.expect_exact(PROMPT)
    send(terminal, "bind 'set enable-bracketed-paste off' 2> /dev/null")
    send(terminal, f'm() {{ {CMEMRUN} -q -- "$@"; }}; M() {{ {CMEMRUN} -- "$@"; }}')
    yield terminal
    if not terminal.closed:
        terminal.sendline("kill -9 $(jobs -p) 2> /dev/null; exit")
    terminal.close(force=True)


def send(terminal: Terminal, line: str) -> str:
    """Type a line and return what it printed."""
    terminal.sendline(line)
    terminal.expect_exact(PROMPT)
    return str(terminal.before).split("\r\n", 1)[-1]


def status(terminal: Terminal) -> int:
    return int(send(terminal, "echo $?").split()[0])


def child_of(terminal: Terminal, name: str) -> int | None:
    """The process of that name that the terminal's shell has started, if there is one."""
    assert terminal.pid is not None
    return child_named(terminal.pid, name)


def matched(terminal: Terminal) -> "re.Match[str]":
    """What the last pattern expected has found."""
    assert isinstance(terminal.match, re.Match)
    return terminal.match


def started(terminal: Terminal, name: str) -> int:
    """Wait until a program runs there; its process."""
    return until(f"{name} runs", lambda: child_of(terminal, name) or 0)


def in_foreground(terminal: Terminal, name: str) -> int:
    """Wait until a program sleeps in the foreground of a terminal in its usual mode."""

    def found() -> int:
        pid = child_of(terminal, name)
        if pid is None or state(pid) != "S":
            return 0
        is_usual = termios.tcgetattr(terminal.child_fd)[3] & termios.ICANON
        is_there = os.tcgetpgrp(terminal.child_fd) == os.getpgid(pid)
        return pid if is_usual and is_there else 0

    return until(f"{name} is in the foreground", found)


def stop(terminal: Terminal) -> None:
    """Press Ctrl-Z, and wait for the shell to say that its job is stopped."""
    terminal.send("\x1a")
    terminal.expect_exact("Stopped")
    terminal.expect_exact(PROMPT)


# Says what it counted whenever it is asked, and ends when it is asked twice.
COUNT_SIGNALS = """
import os, signal, sys, time
got, asked = [], []
def count(*_):
    got.append(1)
    os.write(1, b"a signal\\n")
def answer(*_):
    asked.append(1)
    os.write(1, b"got: %d %d\\n" % (len(got), os.get_terminal_size().columns))
signal.signal(int(sys.argv[1]), count)
signal.signal(signal.SIGUSR1, answer)
os.write(1, b"up\\n")
while len(asked) < 2:
    time.sleep(0.01)
sys.exit(7)
"""


def assert_counted(terminal: Terminal, number: int, columns: int) -> None:
    """The program got so many signals in all, and has that size, once cmemrun has passed on all."""
    cmemrun = started(terminal, "cmemrun")
    terminal.expect_exact("a signal")
    for _ in range(2):
        until("all signals are taken", lambda: has_taken_signals(cmemrun))
        os.kill(cmemrun, signal.SIGUSR1)
        terminal.expect(r"got: (\d+) (\d+)")
        assert matched(terminal).groups() == (str(number), str(columns))
    terminal.expect_exact(PROMPT)
    assert status(terminal) == 7


def test_ctrl_c_reaches_the_program_once(shell: Terminal, tmp_path: Path) -> None:
    program = tmp_path / "count.py"
    program.write_text(COUNT_SIGNALS)
    shell.sendline(f"m {sys.executable} {program} {signal.SIGINT:d}")
    shell.expect_exact("up\r\n")
    shell.sendintr()
    assert_counted(shell, 1, 100)


def test_ctrl_c_ends_the_program_and_gives_the_report(shell: Terminal) -> None:
    shell.sendline("M sleep 100")
    in_foreground(shell, "sleep")
    shell.sendintr()
    shell.expect_exact("SIGINT")
    shell.expect_exact("high-water mark")
    shell.expect_exact(PROMPT)
    assert status(shell) == 130


def test_ctrl_c_while_the_report_is_written_ends_a_loop(shell: Terminal, tmp_path: Path) -> None:
    """Once all is told: here nobody has read it yet."""
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    shell.sendline(f"for i in 1 2 3; do {CMEMRUN} -q --json {pipe} echo up; done")
    shell.expect_exact("up\r\n")
    cmemrun = started(shell, "cmemrun")
    until("it waits for a reader", lambda: waits_in(cmemrun, "wait_for_partner"))
    shell.sendintr()
    until("Ctrl-C has come", lambda: not catches(cmemrun, signal.SIGINT))
    assert json.loads(pipe.read_text())["exit"]["status"] == 0
    shell.expect_exact(PROMPT)
    assert send(shell, "echo turn $i").split()[:2] == ["turn", "1"]


def test_ctrl_z_and_fg(shell: Terminal) -> None:
    shell.sendline("m sh -c 'echo one; read word; echo two $word'")
    shell.expect_exact("one\r\n")
    program = in_foreground(shell, "sh")
    cmemrun = started(shell, "cmemrun")
    stop(shell)
    assert is_stopped(program) and is_stopped(cmemrun)
    shell.sendline("fg")
    in_foreground(shell, "sh")
    shell.sendline("three")
    shell.expect_exact("two three\r\n")
    shell.expect_exact(PROMPT)
    assert status(shell) == 0


def test_a_program_that_ignores_ctrl_z_goes_on(shell: Terminal) -> None:
    shell.sendline("m sh -c \"trap '' TSTP; echo one; read word; echo two $word\"")
    shell.expect_exact("one\r\n")
    program = in_foreground(shell, "sh")
    cmemrun = started(shell, "cmemrun")
    shell.send("\x1a")
    shell.expect_exact("^Z")
    until("it has taken the signal", lambda: has_taken_signals(cmemrun))
    assert not is_stopped(program)
    shell.sendline("")
    shell.expect_exact("two\r\n")
    shell.expect_exact(PROMPT)
    assert "Stopped" not in str(shell.before)
    assert status(shell) == 0


def test_a_pager_that_stops_itself(shell: Terminal, tmp_path: Path) -> None:
    text = tmp_path / "text"
    text.write_text("\n".join(f"line {number}" for number in range(200)))
    shell.sendline(f"m less {text}")
    shell.expect_exact("line 20")
    # What comes between its writing and its waiting for a key, less keeps for the next key.
    pager = started(shell, "less")
    until("less waits for a key", lambda: state(pager) == "S")
    stop(shell)
    shell.sendline("fg")
    shell.expect_exact("line 20")
    shell.send("G")
    shell.expect_exact("line 199")
    shell.send("q")
    shell.expect_exact(PROMPT)
    assert status(shell) == 0


def test_an_editor(shell: Terminal, tmp_path: Path) -> None:
    text = tmp_path / "text"
    shell.sendline(f"m vi -u NONE {text}")
    shell.expect_exact("~")
    shell.send("ihello")
    shell.expect_exact("hello")
    shell.send("\x1b")
    stop(shell)
    shell.sendline("fg")
    shell.expect_exact("hello")
    shell.send(":wq\r")
    shell.expect_exact(PROMPT)
    assert text.read_text() == "hello\n"
    # The terminal is as it was: what is typed is seen, and lines are lines.
    assert "typed" in send(shell, "echo typed")


def test_a_shell_of_its_own(shell: Terminal) -> None:
    shell.sendline("m env PS1='inner> ' bash --norc --noprofile -i")
    shell.expect_exact("inner> ")
    shell.sendline("sleep 100")
    in_foreground(shell, "sleep")
    shell.sendintr()
    shell.expect_exact("inner> ")
    shell.sendline("echo $?")
    shell.expect_exact("130\r\n")
    shell.expect_exact("inner> ")
    shell.sendline("sleep 100")
    in_foreground(shell, "sleep")
    shell.send("\x1a")
    shell.expect_exact("Stopped")
    shell.expect_exact("inner> ")
    shell.sendline("kill %1; wait; yes | head -n 2; suspend")
    shell.expect_exact("y\r\ny\r\n")
    shell.expect_exact("Stopped")
    shell.expect_exact(PROMPT)
    shell.sendline("fg")
    shell.expect_exact("inner> ")
    shell.sendline("exit 3")
    shell.expect_exact(PROMPT)
    assert status(shell) == 3


def test_reading_in_the_background_stops(shell: Terminal) -> None:
    send(shell, f"{CMEMRUN} -q cat &")
    cmemrun = started(shell, "cmemrun")
    until("cmemrun is stopped", lambda: is_stopped(cmemrun))
    assert "Stopped" in send(shell, "jobs")
    shell.sendline("fg")
    in_foreground(shell, "cat")
    shell.sendline("typed")
    shell.expect_exact("typed\r\n")
    shell.expect_exact("typed\r\n")
    shell.sendeof()
    shell.expect_exact(PROMPT)
    assert status(shell) == 0


def test_a_new_size_reaches_the_program_once(shell: Terminal, tmp_path: Path) -> None:
    program = tmp_path / "count.py"
    program.write_text(COUNT_SIGNALS)
    shell.sendline(f"m {sys.executable} {program} {signal.SIGWINCH:d}")
    shell.expect_exact("up\r\n")
    shell.setwinsize(30, 77)
    assert_counted(shell, 1, 77)


def test_ctrl_c_ends_a_loop_of_the_shell(shell: Terminal) -> None:
    for loop in (
        f"for i in 1 2 3; do {CMEMRUN} -q sleep 100; echo next; done",
        f"bash -c 'for i in 1 2 3; do {CMEMRUN} -q sleep 100; echo next; done'",
    ):
        shell.sendline(loop)
        in_foreground(shell, "sleep")
        shell.sendintr()
        shell.expect_exact(PROMPT)
        assert "next\r\n" not in str(shell.before)
        assert status(shell) == 130


def test_ctrl_z_while_it_waits_for_what_lingers(shell: Terminal) -> None:
    shell.sendline(f"{CMEMRUN} -q --linger wait sh -c 'sleep 100 & echo up $!'")
    shell.expect(r"up (\d+)\r\n")
    lingering = int(matched(shell)[1])
    until("the program has ended", lambda: child_of(shell, "sh") is None)
    stop(shell)
    until("what lingers is stopped, too", lambda: is_stopped(lingering))
    shell.sendline("fg")
    in_foreground(shell, "cmemrun")
    os.kill(lingering, signal.SIGTERM)
    shell.expect_exact(PROMPT)
    assert status(shell) == 0


def test_a_stop_by_a_third_party_in_a_script(shell: Terminal, tmp_path: Path) -> None:
    """As cpulimit does: it continues the program, and not us."""
    script, pipe = tmp_path / "script", tmp_path / "pipe"
    os.mkfifo(pipe)
    script.write_text(
        f"{CMEMRUN} -q sh -c 'echo up $$; read word < {pipe}; :' & wait $!; echo over\n"
    )
    shell.sendline(f"sh {script}")
    shell.expect(r"up (\d+)\r\n")
    program = int(matched(shell)[1])
    cmemrun = started(shell, "cmemrun")
    for _ in range(3):
        os.kill(program, signal.SIGSTOP)
        until("the program is stopped", lambda: is_stopped(program))
        until("cmemrun knows of it", lambda: has_taken_signals(cmemrun))
        os.kill(program, signal.SIGCONT)
        until("the program goes on", lambda: not is_stopped(program))
    pipe.write_text("go on\n")
    shell.expect_exact("over\r\n")
    shell.expect_exact(PROMPT)


def test_a_terminal_of_our_own() -> None:
    """As ``ssh -t host cmemrun bash``: we lead the session, and the program is not its leader."""
    terminal = spawn(CMEMRUN, "-q", "bash", "--norc", "-i")
    terminal.expect(r"[$#] ")
    terminal.sendline("sleep 100")
    in_foreground(terminal, "sleep")
    terminal.sendintr()
    terminal.expect(r"[$#] ")
    # The line is cut: the kernel tells the leader of the session, which tells the program.
    terminal.close(force=False)
    assert not terminal.isalive()
    interrupted = spawn(CMEMRUN, "-q", "sleep", "100")
    in_foreground(interrupted, "sleep")
    interrupted.sendintr()
    interrupted.expect(pexpect.EOF)
    interrupted.close()
    assert interrupted.exitstatus == 130


def test_a_killed_terminal_leaves_nothing(shell: Terminal) -> None:
    shell.sendline("M sh -c 'echo up; sleep 100'")
    shell.expect_exact("up\r\n")
    shell.close(force=True)


def test_colour_only_where_it_is_wanted(shell: Terminal) -> None:
    assert "\x1b[1m" in send(shell, "M true")
    assert "\x1b[" not in send(shell, "NO_COLOR=1 M true")
    assert "\x1b[" not in send(shell, "M true 2>&1 | cat")
