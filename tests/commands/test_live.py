"""The live view in a terminal (pyte draws it), beside programs that use that terminal, too."""

import json
import os
import re
import select
import shlex
import sys
import time
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path

import pexpect
import pyte
import pytest

from cmemrun.commands.live import Live
from tests.conftest import CMEMRUN, Cmemrun, needs_strace
from tests.gate import Gate, closed_gate
from tests.waiting import PATIENCE_SECONDS

pytestmark = pytest.mark.slow

PROMPT = "ready> "
RULE = "── cmemrun ─"


class Terminal:
    """A program in a terminal, and what somebody who looks at it sees."""

    def __init__(self, all_: "list[Terminal]", *command: str, lines: int, columns: int) -> None:
        """``all_``: those that are looked at together, this one included from now on."""
        self.all, self.is_open = all_, True
        all_.append(self)
        self.screen = pyte.HistoryScreen(columns, lines, history=1000)
        self.stream = pyte.ByteStream(self.screen)
        self.raw = b""
        self.program = pexpect.spawn(
            command[0], list(command[1:]), dimensions=(lines, columns), timeout=None
        )
        self.program.delayafterclose = 0.01

    def text(self) -> str:
        return "\n".join(self.screen.display)

    def lines(self) -> list[str]:
        """All that was ever written and not erased, scrolled away or not."""
        old = [
            "".join(row[column].data for column in range(self.screen.columns))
            for row in self.screen.history.top
        ]
        return [line.rstrip() for line in [*old, *self.screen.display] if line.strip()]

    def panel(self) -> list[str]:
        """Our rows, empty where there are none."""
        display = [line.rstrip() for line in self.screen.display]
        return next(
            (display[number:] for number, line in enumerate(display) if line.startswith(RULE)), []
        )

    def look(self, seconds: float) -> bool:
        """Take in what is written in that time, here and beside; whether there will be more."""
        end = time.monotonic() + seconds
        while self.is_open and (left := end - time.monotonic()) > 0:
            at_work = {one.program.child_fd: one for one in self.all if one.is_open}
            for fd in select.select(list(at_work), [], [], left)[0]:
                at_work[fd].take_in()
        return self.is_open

    def take_in(self) -> None:
        try:
            data = os.read(self.program.child_fd, 65536)
        except OSError:
            self.is_open = False
        else:
            self.raw += data
            self.stream.feed(data)

    def until(self, happens: Callable[[], object]) -> None:
        end = time.monotonic() + PATIENCE_SECONDS
        while not happens():
            assert time.monotonic() < end, self.text()
            if not self.look(0.02):
                assert happens(), self.text()

    def until_panel(self) -> None:
        # With what is told at a refresh, and so more than is known at the start.
        self.until(lambda: self.panel() and " PSS " in self.text())

    def end(self) -> int:
        """Wait for the end; the exit status."""
        end = time.monotonic() + PATIENCE_SECONDS
        while self.look(0.1):
            assert time.monotonic() < end, self.text()
        self.program.close()  # has ended
        return int(self.program.exitstatus or 0)

    def resize(self, lines: int, columns: int) -> None:
        self.look(0.01)
        self.screen.resize(lines, columns)
        self.program.setwinsize(lines, columns)


Start = Callable[..., Terminal]


@pytest.fixture
def start(monkeypatch: pytest.MonkeyPatch) -> Iterator[Start]:
    """Start a command in a terminal of its own; several can be at once."""
    # The one that pyte knows all of, without an alternate screen.
    monkeypatch.setenv("TERM", "linux")
    monkeypatch.setenv("LESS", "-R")
    monkeypatch.delenv("NO_COLOR", raising=False)
    started: list[Terminal] = []

    def run(*command: str, lines: int = 24, columns: int = 80) -> Terminal:
        return Terminal(started, *command, lines=lines, columns=columns)

    yield run
    for terminal in started:
        terminal.program.close(force=True)


@pytest.fixture
def gate(tmp_path: Path) -> Iterator[Gate]:
    """What a program waits at until all is drawn that is looked for while it runs."""
    with closed_gate(tmp_path / "gate") as made:
        yield made


def live(*arguments: str) -> list[str]:
    return [CMEMRUN, "-q", "--live", "--refresh", "200ms", *arguments]


def python(code: str) -> list[str]:
    # Without site, by which a process of scripts/coverage would be larger.
    return ["--", sys.executable, "-S", "-u", "-c", code]


COUNT = """
import time
x = bytearray(20 << 20)
for number in range(100):
    print("line", number)
    time.sleep(0.02)
    if number == 60:
        {}
print("no end of line", end="")
"""
COUNTED = [f"line {number}" for number in range(100)]


def test_lines_scroll_above_it_and_nothing_is_left(
    start: Start, gate: Gate, tmp_path: Path
) -> None:
    document = tmp_path / "run.json"
    script = COUNT.format(gate.python)
    terminal = start(*live("--limit", "64MiB", "--json", str(document)), *python(script))
    terminal.until_panel()
    rule, usage, parts, history, process, *rest = terminal.panel()
    assert re.fullmatch(r"── cmemrun ─+ \d:\d\d:\d\d ──", rule) and len(rule) == 79
    assert re.fullmatch(
        r"usage +\d\d\.\d MiB  [█▓▒░]+ +\d\d % of limit +64\.0 MiB   peak .*", usage
    )
    assert parts.startswith("█ anon") and re.fullmatch("history [▁▂▃▄▅▆▇█]+", history)
    assert re.match(rf"\d+ +2\d\.\d MiB PSS  {re.escape(sys.executable)} -S -u -c", process)
    assert rest == ["", ""]
    assert b"\x1b[32m\xe2\x96\x88" in terminal.raw  # in colours
    # Lines of the program above, none among ours.
    above = terminal.screen.display[: 24 - 7]
    assert not any(line.strip() and not line.startswith("line ") for line in above)
    gate.open()
    assert terminal.end() == 0
    assert terminal.lines() == [*COUNTED, "no end of line"]
    assert terminal.screen.margins is None
    cursor = terminal.screen.cursor
    assert cursor.x == len("no end of line")
    assert terminal.screen.display[cursor.y].startswith("no end of line")
    # Who is there is looked at for us, and kept for those only who asked for it.
    assert not [one for one in json.loads(document.read_text())["samples"] if "processes" in one]


def test_the_report_comes_when_it_is_gone(start: Start, gate: Gate) -> None:
    terminal = start(CMEMRUN, "--live", "--", "sh", "-c", f"{gate.shell}; exit 3", lines=40)
    terminal.until(terminal.panel)
    gate.open()
    assert terminal.end() == 3
    text = terminal.text()
    assert text.startswith("cmemrun      sh -c ") and RULE not in text and "exit 3" in text


CURSES = """
import curses
def show(screen):
    for row in range(curses.LINES - 1):
        screen.addstr(row, 0, f"row {row} of a program")
    screen.getkey()
curses.wrapper(show)
"""


LINE = "this is line {}"


def is_whole(terminal: Terminal, line: str) -> bool:
    """Whether nothing is there but the program's screen, with such lines."""
    display = [row.rstrip() for row in terminal.screen.display[:23]]
    return display == [line.format(number) for number in range(23)]


@pytest.fixture
def text(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """A file of a hundred lines in the working directory."""
    monkeypatch.chdir(tmp_path)
    Path("text").write_text("".join(f"{LINE.format(number)}\n" for number in range(100)))
    return "text"


def full_screen(text: str) -> dict[str, list[str]]:
    return {
        "less": ["less", text],
        "vi": ["vi", "-n", "-u", "NONE", text],
        "curses": [sys.executable, "-c", CURSES],
    }


def test_a_full_screen_program_never_sees_us(start: Start, text: str) -> None:
    """What the terminal is told is, byte for byte, what it is told without us."""
    commands = full_screen(text).values()
    pairs = [(start(*live("--", *command)), start(*command)) for command in commands]

    def are_drawn() -> bool:
        texts = [terminal.text() for pair in pairs for terminal in pair]
        return all("line 20" in text or "row 22" in text for text in texts)

    pairs[0][0].until(are_drawn)
    pairs[0][0].look(1.3)  # later than we would come
    for with_us, without in pairs:
        assert with_us.raw == without.raw


def test_full_screen_programs_that_come_later(start: Start, text: str, tmp_path: Path) -> None:
    with closed_gate(tmp_path / "before") as before, closed_gate(tmp_path / "end") as end:
        script = f"echo before; {before.shell}; {{}}; echo after; {end.shell}; printf end"
        terminals = {
            name: start(*live("--", "sh", "-c", script.format(shlex.join(command))))
            for name, command in full_screen(text).items()
        }
        one = terminals["less"]

        def whole() -> list[str]:
            """The terminals in which nothing is but the program's screen."""
            return [
                name
                for name, terminal in terminals.items()
                if is_whole(terminal, "row {} of a program" if name == "curses" else LINE)
            ]

        def has_panel(name: str) -> bool:
            return bool(terminals[name].panel())

        one.until(lambda: all(map(has_panel, terminals)))
        before.open()
        one.until(lambda: len(whole()) == len(terminals))
        one.look(0.5)
        written = [len(terminal.raw) for terminal in terminals.values()]
        one.look(0.5)
        assert [len(terminal.raw) for terminal in terminals.values()] == written
        assert whole() == list(terminals)
        for name, terminal in terminals.items():
            # All of it scrolls: nobody has said otherwise, or the program has said just that.
            assert terminal.screen.margins in (None, (0, 23))
            terminal.program.send(":q\r" if name == "vi" else "q")
        # It comes back when there are lines again, and is gone for good at the end.
        one.until(lambda: all(map(has_panel, terminals)))
        end.open()
    for terminal in terminals.values():
        assert terminal.end() == 0
        assert RULE not in "\n".join(terminal.lines()) and "kernel" not in terminal.text()
        assert terminal.lines()[-2:] == ["after", "end"]
        assert terminal.screen.margins is None


@needs_strace
def test_a_pager_that_does_not_wait_for_a_key_yet(start: Start, gate: Gate, text: str) -> None:
    """It keeps a SIGWINCH for later that comes behind its screen, its second write."""
    options = ("-e", "trace=write", "-e", "inject=write:delay_exit=90000:when=2")
    command = shlex.join(["strace", "-f", "-o", "trace", *options, "less", text])
    terminal = start(*live("--", "sh", "-c", f"echo before; {gate.shell}; {command}"))
    terminal.until(terminal.panel)
    gate.open()
    terminal.until(lambda: is_whole(terminal, LINE))
    terminal.program.send("q")
    assert terminal.end() == 0
    assert "(DELAYED)" in Path("trace").read_text()


ASK = """
import getpass, readline
{}
for number in range(30):
    print("line", number)
print("got", getpass.getpass("secret? "), input("name? "))
"""


def test_it_stays_where_somebody_is_asked(start: Start, gate: Gate) -> None:
    """For a password the terminal does not echo, and readline does that itself."""
    terminal = start(*live(), *python(ASK.format(gate.python)))
    terminal.until_panel()
    gate.open()

    def asks(asked: str) -> object:
        return asked in terminal.text() and terminal.panel()

    def goes_on(rule: str) -> bool:
        return (terminal.panel() or [""])[0] > rule

    for asked, answer in (("secret?", "hidden\r"), ("name?", "")):
        terminal.until(partial(asks, asked))
        rule = terminal.panel()[0]
        # Its clock goes on.
        terminal.until(partial(goes_on, rule))
        terminal.program.send(answer)
    terminal.program.send("my name\r")
    assert terminal.end() == 0
    expected = [*COUNTED[:30], "secret?", "name? my name", "got hidden my name"]
    assert terminal.lines() == expected


def test_a_new_size(start: Start, gate: Gate) -> None:
    terminal = start(*live(), *python(COUNT.format(gate.python)), lines=24, columns=80)
    terminal.until_panel()
    # What is written while we do not know of a new size yet may be lost or have rests behind it.
    terminal.until(lambda: "line 60" in terminal.text())
    terminal.resize(32, 100)
    terminal.until(lambda: len((terminal.panel() or [""])[0]) == 99)
    assert terminal.screen.margins == (0, 32 - 7 - 1)
    terminal.resize(32, 60)
    terminal.until(lambda: len((terminal.panel() or [""])[0]) == 59)
    terminal.resize(32, 30)
    terminal.until(lambda: not terminal.panel())
    assert terminal.screen.margins is None
    gate.open()
    assert terminal.end() == 0
    assert "".join(terminal.lines()).count("cmemrun") == 0
    assert terminal.lines() == [*COUNTED, "no end of line"]


def test_where_it_stays_away(start: Start, tmp_path: Path) -> None:
    bare = ["--", "sh", "-c", "sleep 1; echo here"]
    file = tmp_path / "stderr"
    terminals = [
        start(*live(*bare), lines=11),
        start(*live(*bare), columns=39),
        start("env", "TERM=dumb", *live(*bare)),
        start("env", "-u", "TERM", *live(*bare)),
        start("sh", "-c", f"{shlex.join(live(*bare))} 2> {file}"),
        # In the background; a terminal that is not ours.
        start("bash", "-c", f"set -m; {shlex.join(live(*bare))} & wait"),
        start("setsid", "-w", *live(*bare)),
    ]
    for terminal in terminals:
        assert terminal.end() == 0
        assert b"here\r\n" in terminal.raw and b"\x1b" not in terminal.raw
    assert file.read_bytes() == b""


def test_not_on_what_is_no_terminal(cmemrun: Cmemrun, tmp_path: Path) -> None:
    run = cmemrun("--live", "-q", "--refresh", "50ms", "--", "sh", "-c", "sleep 0.8; echo here")
    assert (run.status, run.stdout, run.stderr) == (0, "here\n", "")
    assert not [one for one in run["samples"] if "processes" in one]
    # Nobody is there in its first line.
    seen = f"until grep -q '\"processes\": *\\[{{' {tmp_path}/record; do sleep 0.05; done"
    record = ["--record", str(tmp_path / "record"), "--refresh", "50ms"]
    both = cmemrun("--live", "--processes", "-q", *record, "--", "sh", "-c", seen)
    assert [one for one in both["samples"] if "processes" in one]


def test_without_colours_and_names_that_would_drive_the_terminal(
    start: Start, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("NO_COLOR", "1")
    # A short name: the command is shown in what is left of a line.
    monkeypatch.chdir(tmp_path)
    gate = Gate(Path("gate"))
    code = f"x = bytearray(9 << 20); {gate.python}"
    names = ["\x1b[2J\x1b[5;5Hevil\n", "汉字" * 40]
    terminal = start(*live(), *python(code), *names)
    wide = start(*live(), *python(code), *names, columns=200)
    terminal.until_panel()
    process, below, last = terminal.panel()[4:7]
    assert " PSS  " in process and process.endswith("…") and (below, last) == ("", "")
    wide.until_panel()
    assert "\\x1b[2J\\x1b[5;5Hevil\\n" in wide.panel()[4]
    assert "汉字" in wide.panel()[4]
    gate.close()
    assert terminal.end() == 0
    assert set(re.findall(rb"\x1b\[[0-9;]*m", terminal.raw)) == {b"\x1b[m"}
    assert b"\x1b[2J" not in terminal.raw
    assert terminal.lines() == []


def test_ctrl_z_and_fg(start: Start, gate: Gate, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PS1", PROMPT)
    terminal = start("bash", "--norc", "--noprofile", "-i")
    terminal.until(lambda: PROMPT in terminal.text())
    script = f"echo step 1; {gate.shell}; echo step 2"
    terminal.program.sendline(f"clear; {shlex.join(live('--', 'sh', '-c', script))}")
    terminal.until_panel()
    terminal.program.send("\x1a")
    terminal.until(lambda: "Stopped" in terminal.text())
    assert not terminal.panel() and terminal.screen.margins is None
    terminal.program.sendline("clear; seq 40")
    counted = list(map(str, range(18, 41)))
    terminal.until(
        lambda: [line.strip() for line in terminal.screen.display] == [*counted, PROMPT.strip()]
    )
    terminal.look(0.3)
    assert [line.strip() for line in terminal.screen.display[:23]] == counted
    terminal.program.sendline("fg")
    terminal.until(terminal.panel)
    gate.open()
    terminal.until(lambda: "step 2" in terminal.text())
    terminal.until(lambda: not terminal.panel())
    terminal.program.sendline("echo over $?")
    terminal.until(lambda: "over 0" in terminal.text())
    assert terminal.screen.margins is None
    assert "kernel" not in "\n".join(terminal.lines())


def test_a_stopped_terminal_holds_up_no_end(start: Start, gate: Gate, tmp_path: Path) -> None:
    done = tmp_path / "done"
    command = shlex.join(live("--", "sh", "-c", gate.shell))
    terminal = start("sh", "-c", f"{command}; echo $? > {done}; cat > /dev/null")
    terminal.until(terminal.panel)
    terminal.program.send("\x13")
    # Its clock stands still: nothing comes any more.
    written = -1
    while written != len(terminal.raw):
        written = len(terminal.raw)
        terminal.look(1.5)
    gate.open()
    terminal.until(lambda: done.exists() and done.read_text())
    assert done.read_text() == "0\n"
    assert len(terminal.raw) == written


def test_a_terminal_that_goes(start: Start) -> None:
    """Nothing is left of us; the fixture around every test looks."""
    terminal = start(*live("--", "sleep", "100"))
    terminal.until(terminal.panel)
    terminal.program.close(force=True)


def test_one_that_was_never_begun() -> None:
    unused = Live()
    unused.hide()
    unused.show()
    unused.look()
    unused.close()


def test_nothing_of_it_is_loaded_where_it_is_not_asked_for(cmemrun: Cmemrun) -> None:
    run = cmemrun(
        "-q", "--", "true", document=False, env=os.environ | {"PYTHONPROFILEIMPORTTIME": "1"}
    )
    assert "cmemrun.runner" in run.stderr
    assert "commands.live" not in run.stderr and "rich" not in run.stderr
