"""Completion, as each shell does it in a terminal when Tab is pressed."""

import contextlib
import os
import subprocess
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pexpect
import pyte
import pytest

from cmemrun.commands import VERBS
from tests.conftest import CMEMRUN
from tests.running import call_cmemrun
from tests.waiting import PATIENCE_SECONDS, slowness

SHELLS = {
    "bash": ["--norc", "--noprofile", "-i"],
    "zsh": ["-f", "-i"],
    "fish": ["--no-config", "-i"],
}
PROMPT = "ready> "
SETUP = {
    "bash": "PS1='ready> '; bind 'set bell-style none'; bind 'set show-all-if-ambiguous on'",
    "zsh": "PS1='ready> '; unsetopt beep; setopt nolistambiguous",
    "fish": "function fish_prompt; echo -n 'ready> '; end; set -g fish_autosuggestion_enabled 0",
}


class Terminal:
    """A shell that has our completion, and what stands in its window."""

    def __init__(self, shell: str, directory: Path) -> None:
        self._screen = pyte.Screen(120, 60)
        self._stream = pyte.Stream(self._screen)
        self._shell = pexpect.spawn(
            shell, SHELLS[shell], cwd=str(directory), encoding="utf-8", dimensions=(60, 120)
        )
        self._shell.delaybeforesend = None
        self._shell_name, self._directory = shell, directory

    def start(self) -> None:
        shell, script = self._shell_name, self._directory / "completion"
        script.write_text(call_cmemrun("--show-completion", shell, check=True).stdout)
        self._wait_for(lambda shown: shown.endswith(("#", "$", "%", ">")))
        self._shell.send(f"{SETUP[shell]}; . {script}; clear\r")
        self._wait_for(lambda shown: shown == PROMPT.strip())

    def complete(self, typed: str, wanted: str) -> str:
        """All that is shown once it has ``wanted``; the line is empty again."""
        assert wanted not in typed
        self._shell.send(typed + "\t")
        started = time.monotonic()
        shown = self._wait_for(lambda text: wanted in text)
        self.seconds = time.monotonic() - started
        self._clear()
        return shown

    def press_tab(self, typed: str) -> None:
        """Complete without knowing what comes of it: the shell shows what is typed after that."""
        self._shell.send(typed + "\t~over~")
        # What is typed may be as long as a line of the terminal.
        self._wait_for(lambda text: "~over~" in text.replace("\n", ""))
        self._clear()

    def _clear(self) -> None:
        self._shell.send("\x03")
        self._wait_for(lambda text: text.splitlines()[-1] == PROMPT.strip())
        self._shell.send("clear\r")
        self._wait_for(lambda text: text == PROMPT.strip())

    def close(self) -> None:
        self._shell.close(force=True)

    def _wait_for(self, right: Callable[[str], bool]) -> str:
        deadline = time.monotonic() + PATIENCE_SECONDS
        while True:
            try:
                self._stream.feed(self._shell.read_nonblocking(65536, timeout=0.03))
                continue
            except pexpect.TIMEOUT:
                pass
            shown = "\n".join(line.rstrip() for line in self._screen.display).strip()
            if right(shown):
                return shown
            assert time.monotonic() < deadline, shown


@pytest.fixture(params=SHELLS)
def terminal(
    request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Iterator[Terminal]:
    for name in ("HOME", "XDG_CONFIG_HOME", "XDG_DATA_HOME", "XDG_CACHE_HOME", "ZDOTDIR"):
        monkeypatch.setenv(name, str(tmp_path / "home"))
    (tmp_path / "home").mkdir()
    programs = tmp_path / "programs"
    programs.mkdir()
    for name in ("measurable", "attachable"):
        (programs / name).write_text("#!/bin/sh\n")
        (programs / name).chmod(0o755)
    (tmp_path / "saved.json").write_text("")
    monkeypatch.setenv("PATH", f"{Path(CMEMRUN).parent}:{programs}:{os.environ['PATH']}")
    monkeypatch.setenv("TERM", "xterm")
    with contextlib.closing(Terminal(request.param, tmp_path)) as made:
        made.start()
        yield made


@pytest.mark.slow
def test_what_tab_completes(terminal: Terminal) -> None:
    for typed, wanted in (
        ("cmemrun att", "attach"),
        ("cmemrun --max", "--max-peak"),
        ("cmemrun --no-oom", "--no-oom-group"),
        ("cmemrun --backend sys", "systemd"),
        ("cmemrun --backend=sys", "systemd"),
        ("cmemrun run --linger w", "wait"),
        ("cmemrun --refresh 1s --req", "--require"),
        ("cmemrun --parameter-list size 1,2 --req", "--require"),
        ("cmemrun --against main:base.json --req", "--require"),
        ("cmemrun --json sav", "saved.json"),
        ("cmemrun --json=sav", "saved.json"),
        ("cmemrun -o sav", "saved.json"),
        ("cmemrun report sav", "saved.json"),
        ("cmemrun report --format github-s", "github-summary"),
        ("cmemrun compare base.json sav", "saved.json"),
        ("cmemrun fit --slow", "--slowdown"),
        ("cmemrun fit --slowdown 5% measur", "measurable"),
        ("cmemrun measur", "measurable"),
        ("cmemrun --limit 1Gi measur", "measurable"),
        ("cmemrun -- measur", "measurable"),
        ("cmemrun run -- measur", "measurable"),
        ("cmemrun measurable --anything sav", "saved.json"),
        ("cmemrun -q -- measurable sav", "saved.json"),
    ):
        terminal.complete(typed, wanted)


@pytest.mark.slow
def test_verbs_come_first_and_no_program_without_a_letter(terminal: Terminal) -> None:
    shown = terminal.complete("cmemrun ", "recommend")
    for verb in VERBS:
        assert verb in shown
    assert "measurable" not in shown
    assert "attachable" in terminal.complete("cmemrun atta", "attachable")


@pytest.mark.slow
def test_nothing_typed_is_executed(terminal: Terminal, tmp_path: Path) -> None:
    ran = tmp_path / "ran"
    (tmp_path / f"$(touch {ran.name})saved").write_text("")
    for typed in (
        f"cmemrun --backend '$(touch {ran})",
        f"cmemrun --json '`touch {ran}`' --max",
        f"cmemrun '$(touch {ran})",
        f"cmemrun -- '$(touch {ran})' sav",
        f"cmemrun report '$(touch {ran.name})s",
    ):
        terminal.press_tab(typed)
    assert not ran.exists()


@pytest.mark.slow
def test_it_is_quick(terminal: Terminal) -> None:
    times = []
    for _ in range(3):
        terminal.complete("cmemrun --max", "--max-peak")
        times.append(terminal.seconds)
    print(f"the quickest of {len(times)}: {min(times) * 1000:.0f} ms")
    assert min(times) < 0.3 * slowness()


@pytest.mark.slow
@pytest.mark.parametrize("shell", SHELLS)
def test_installed_it_is_there_in_the_next_shell(
    shell: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("XDG_CONFIG_HOME", "XDG_DATA_HOME", "ZDOTDIR"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("PATH", f"{Path(CMEMRUN).parent}:{os.environ['PATH']}")
    rc = tmp_path / {"bash": ".bashrc", "zsh": ".zshrc", "fish": "none"}[shell]
    if shell != "fish":
        rc.write_text("echo mine")  # without a newline at its end
    for _ in range(2):
        done = call_cmemrun("--install-completion", shell, check=True)
        assert str(tmp_path) in done.stderr
    if shell != "fish":
        assert rc.read_text().startswith("echo mine\n")
        assert rc.read_text().count("cmemrun") == 2
    ask = {
        "bash": "complete -p cmemrun",
        "zsh": "echo $_comps[cmemrun]",
        "fish": "complete -C 'cmemrun --max-p'",
    }[shell]
    found = subprocess.run(
        [shell, "-i", "-c", ask],
        capture_output=True,
        text=True,
        check=False,
        timeout=PATIENCE_SECONDS,
    )
    assert {"bash": "_cmemrun", "zsh": "_cmemrun", "fish": "--max-peak"}[shell] in found.stdout


BASH_COMPLETION = Path("/usr/share/bash-completion/bash_completion")


@pytest.mark.parametrize("before", ["", "--limit 1Gi", "-q --", "fit --slowdown 5% --", "run"])
def test_what_follows_the_program_is_completed_as_without_us(before: str) -> None:
    """As a program has it that brings its own completion; zsh and fish do so by themselves."""
    if not BASH_COMPLETION.exists():
        pytest.skip("there is no bash-completion here")
    script = f"""
        . {BASH_COMPLETION}
        eval "$({CMEMRUN} --show-completion bash)"
        complete -W "apple apricot banana" measurable
        COMP_WORDS=(cmemrun {before} measurable --colour red ap)
        COMP_CWORD=$((${{#COMP_WORDS[@]}} - 1)) COMP_LINE="${{COMP_WORDS[*]}}"
        COMP_POINT=${{#COMP_LINE}} COMP_TYPE=9 COMP_KEY=9
        _cmemrun 2> /dev/null
        echo "${{COMPREPLY[*]}}"
    """
    done = subprocess.run(
        ["bash", "--norc", "-c", script], capture_output=True, text=True, check=True
    )
    assert done.stdout.split() == ["apple", "apricot"]


@pytest.mark.parametrize("shell", ["tcsh", ""])
def test_other_shells_are_refused(shell: str) -> None:
    done = call_cmemrun("--show-completion", shell)
    assert done.returncode == 125
    assert "'bash', 'zsh', 'fish'" in done.stderr


def test_what_cannot_be_installed_says_what_to_do(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / ".local").write_text("")
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.delenv("XDG_DATA_HOME", raising=False)
    done = call_cmemrun("--install-completion", "bash")
    assert done.returncode == 125
    assert "cmemrun --show-completion bash > FILE" in done.stderr
