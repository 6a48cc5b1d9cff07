"""Job control in a real pseudo-terminal: with cmemrun everything is as without it."""

import json
import os
import re
import signal
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import TypeAlias

import pexpect
import pytest

from tests.conftest import CMEMRUN

pytestmark = pytest.mark.slow

PROMPT = "ready> "
Terminal: TypeAlias = "pexpect.spawn[str]"


@pytest.fixture
def shell(monkeypatch: pytest.MonkeyPatch) -> Iterator[Terminal]:
    """An interactive bash in a terminal, to which cmemrun is ``m`` (quiet) and ``M``."""
    monkeypatch.setenv("PS1", PROMPT)
    monkeypatch.setenv("TERM", "xterm")
    terminal = pexpect.spawn(
        "bash", ["--norc", "--noprofile", "-i"], timeout=15, encoding="utf-8", dimensions=(24, 100)
    )
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
    return printed(terminal).split("\r\n", 1)[-1]


def printed(terminal: Terminal) -> str:
    """What came before the last thing expected."""
    assert isinstance(terminal.before, str)
    return terminal.before


def status(terminal: Terminal) -> int:
    return int(send(terminal, "echo $?").split()[0])


COUNT_SIGNALS = """
import os, signal, sys, time
got = []
signal.signal(int(sys.argv[1]), lambda *_: got.append(1))
print("up", flush=True)
end = time.time() + 1.5
while time.time() < end:
    time.sleep(0.05)
print("got:", len(got), os.get_terminal_size().columns)
sys.exit(7)
"""


def test_ctrl_c_reaches_the_program_once(shell: Terminal, tmp_path: Path) -> None:
    program = tmp_path / "count.py"
    program.write_text(COUNT_SIGNALS)
    shell.sendline(f"m {sys.executable} {program} 2")
    shell.expect_exact("up\r\n")
    shell.sendintr()
    shell.expect(r"got: (\d+)")
    assert isinstance(shell.match, re.Match) and shell.match[1] == "1"
    shell.expect_exact(PROMPT)
    assert status(shell) == 7


def test_ctrl_c_ends_the_program_and_gives_the_report(shell: Terminal) -> None:
    shell.sendline("M sleep 100")
    time.sleep(0.7)
    shell.sendintr()
    shell.expect_exact("SIGINT")
    shell.expect_exact("high-water mark")
    shell.expect_exact(PROMPT)
    assert status(shell) == 130


def test_ctrl_c_while_the_report_is_written_ends_a_loop(shell: Terminal, tmp_path: Path) -> None:
    """Once all is told: here somebody has yet to read it."""
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    shell.sendline(f"for i in 1 2 3; do {CMEMRUN} -q --json {pipe} echo up; done")
    shell.expect_exact("up\r\n")
    time.sleep(1)
    shell.sendintr()
    time.sleep(0.5)
    assert json.loads(pipe.read_text())["exit"]["status"] == 0
    shell.expect_exact(PROMPT)
    assert send(shell, "echo turn $i").split()[:2] == ["turn", "1"]


def test_ctrl_z_and_fg(shell: Terminal) -> None:
    shell.sendline("m sh -c 'echo one; sleep 1; echo two'")
    shell.expect_exact("one\r\n")
    time.sleep(0.2)
    shell.send("\x1a")
    shell.expect_exact("Stopped")
    shell.expect_exact(PROMPT)
    time.sleep(1.2)
    shell.sendline("fg")
    shell.expect_exact("two\r\n")
    shell.expect_exact(PROMPT)
    assert status(shell) == 0


def test_a_program_that_ignores_ctrl_z_goes_on(shell: Terminal) -> None:
    shell.sendline("m sh -c \"trap '' TSTP; echo one; sleep 1; echo two\"")
    shell.expect_exact("one\r\n")
    time.sleep(0.2)
    shell.send("\x1a")
    shell.expect_exact("two\r\n")
    shell.expect_exact(PROMPT)
    assert "Stopped" not in printed(shell)
    assert status(shell) == 0


def test_a_pager_that_stops_itself(shell: Terminal, tmp_path: Path) -> None:
    text = tmp_path / "text"
    text.write_text("\n".join(f"line {number}" for number in range(200)))
    shell.sendline(f"m less {text}")
    shell.expect_exact("line 20")
    shell.send("\x1a")
    shell.expect_exact("Stopped")
    shell.expect_exact(PROMPT)
    shell.sendline("fg")
    shell.expect_exact("line 20")
    shell.send("G")
    shell.expect_exact("line 199")
    shell.send("q")
    shell.expect_exact(PROMPT)
    assert status(shell) == 0


@pytest.mark.slow
def test_an_editor(shell: Terminal, tmp_path: Path) -> None:
    text = tmp_path / "text"
    shell.sendline(f"m vi -u NONE {text}")
    time.sleep(1.0)
    shell.send("ihello\x1b")
    time.sleep(0.3)
    shell.send("\x1a")
    shell.expect_exact("Stopped")
    shell.expect_exact(PROMPT)
    shell.sendline("fg")
    time.sleep(0.5)
    shell.send(":wq\r")
    shell.expect_exact(PROMPT)
    assert text.read_text() == "hello\n"
    # The terminal is as it was: what is typed is seen, and lines are lines.
    assert "typed" in send(shell, "echo typed")


@pytest.mark.slow
def test_a_shell_of_its_own(shell: Terminal) -> None:
    shell.sendline("m env PS1='inner> ' bash --norc --noprofile -i")
    shell.expect_exact("inner> ")
    shell.sendline("sleep 100")
    time.sleep(0.5)
    shell.sendintr()
    shell.expect_exact("inner> ")
    shell.sendline("echo $?")
    shell.expect_exact("130\r\n")
    shell.expect_exact("inner> ")
    shell.sendline("sleep 100")
    time.sleep(0.5)
    shell.send("\x1a")
    shell.expect_exact("Stopped")
    shell.expect_exact("inner> ")
    shell.sendline("kill %1; wait; yes | head -n 2; suspend")
    shell.expect_exact("y\r\ny\r\n")
    shell.expect_exact("Stopped")
    shell.expect_exact(PROMPT)
    shell.sendline("fg")
    time.sleep(0.5)
    shell.sendline("exit 3")
    shell.expect_exact(PROMPT)
    assert status(shell) == 3


def test_reading_in_the_background_stops(shell: Terminal) -> None:
    send(shell, f"{CMEMRUN} -q cat &")
    time.sleep(1.0)
    assert "Stopped" in send(shell, "jobs")
    shell.sendline("fg")
    time.sleep(0.3)
    shell.sendline("typed")
    shell.expect_exact("typed\r\n")
    shell.expect_exact("typed\r\n")
    shell.sendeof()
    shell.expect_exact(PROMPT)
    assert status(shell) == 0


def test_a_new_size_reaches_the_program_once(shell: Terminal, tmp_path: Path) -> None:
    program = tmp_path / "count.py"
    program.write_text(COUNT_SIGNALS)
    shell.sendline(f"m {sys.executable} {program} 28")
    shell.expect_exact("up\r\n")
    time.sleep(0.2)
    shell.setwinsize(30, 77)
    shell.expect(r"got: (\d+) (\d+)")
    assert isinstance(shell.match, re.Match) and shell.match.groups() == ("1", "77")
    shell.expect_exact(PROMPT)


def test_ctrl_c_ends_a_loop_of_the_shell(shell: Terminal) -> None:
    for loop in (
        f"for i in 1 2 3; do {CMEMRUN} -q sleep 2; echo next; done",
        f"bash -c 'for i in 1 2 3; do {CMEMRUN} -q sleep 2; echo next; done'",
    ):
        shell.sendline(loop)
        time.sleep(1.0)
        shell.sendintr()
        shell.expect_exact(PROMPT)
        assert "next\r\n" not in printed(shell)
        assert status(shell) == 130


def test_ctrl_z_while_it_waits_for_what_lingers(shell: Terminal) -> None:
    shell.sendline(f"{CMEMRUN} -q --linger wait sh -c 'sleep 1.5 & echo up'")
    shell.expect_exact("up\r\n")
    time.sleep(0.5)
    shell.send("\x1a")
    shell.expect_exact("Stopped")
    shell.expect_exact(PROMPT)
    shell.sendline("fg")
    shell.expect_exact(PROMPT)
    assert status(shell) == 0


def test_a_stop_by_a_third_party_in_a_script(shell: Terminal, tmp_path: Path) -> None:
    """As cpulimit does: whoever stopped the program continues the program, and not us."""
    script = tmp_path / "script"
    script.write_text(
        f"{CMEMRUN} -q sh -c 'echo $$ > {tmp_path}/pid; sleep 1; :' & wait $!; echo over\n"
    )
    shell.sendline(f"sh {script}")
    while not (tmp_path / "pid").exists():
        time.sleep(0.05)
    time.sleep(0.2)
    pid = int((tmp_path / "pid").read_text())
    os.kill(pid, signal.SIGSTOP)
    time.sleep(0.3)
    os.kill(pid, signal.SIGCONT)
    shell.expect_exact("over\r\n")
    shell.expect_exact(PROMPT)


def test_a_terminal_of_our_own() -> None:
    """As ``ssh -t host cmemrun bash``: we lead the session, and the program is not its leader."""
    terminal = pexpect.spawn(CMEMRUN, ["-q", "bash", "--norc", "-i"], timeout=15, encoding="utf-8")
    terminal.expect(r"[$#] ")
    terminal.sendline("sleep 100")
    time.sleep(0.3)
    terminal.sendintr()
    terminal.expect(r"[$#] ")
    # The line is cut: the kernel tells the leader of the session, which tells the program.
    terminal.close(force=False)
    assert not terminal.isalive()
    interrupted = pexpect.spawn(CMEMRUN, ["-q", "sleep", "100"], timeout=15)
    time.sleep(0.7)
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
