"""Help: what it says, that it fits, and that the manual page says the same."""

import os
import re
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pexpect
import pytest

from cmemrun.commands import VERBS
from cmemrun.commands.application import command_line
from cmemrun.commands.manual import manual
from tests.conftest import CMEMRUN
from tests.running import call_cmemrun

ROOT = Path(__file__).parents[2]
PAGE = ROOT / "cmemrun/share/cmemrun.1"


def shown(*arguments: str, columns: int = 80, **environment: str) -> str:
    done = call_cmemrun(
        *arguments, "--help", check=True, env=os.environ | {"COLUMNS": str(columns)} | environment
    )
    assert done.stderr == ""
    return done.stdout


def options() -> Iterator[tuple[str, Any]]:
    for verb, command in command_line().commands.items():
        for parameter in command.params:
            yield verb, parameter


def unbroken(text: str) -> str:
    """Lines end at hyphens, too."""
    return "".join(text.split())


@pytest.mark.parametrize("verb", VERBS)
def test_it_fits_has_an_example_and_loses_nothing_that_is_declared(verb: str) -> None:
    """As square brackets were lost, which rich takes for markup."""
    for columns in (80, 120):
        text = shown(verb, columns=columns)
        assert max(map(len, text.splitlines())) <= min(columns, 100)
        assert text.startswith("Usage: cmemrun")
        assert "\n  Examples:\n    cmemrun " in text
        assert "\x1b" not in text
        told = unbroken(text)
        for parameter in command_line().commands[verb].params:
            assert unbroken(parameter.help) in told, parameter.name
        assert {"run": "[default:1]", "check": "[commands.NAME]"}.get(verb, "") in told


def test_the_first_screen_says_how_to_run_it_and_what_else_there_is() -> None:
    text = shown()
    assert text == shown("run")
    screen = text.splitlines()[:24]
    assert screen[0] == "Usage: cmemrun [OPTIONS] [--] PROGRAM [ARG]..."
    assert "    cmemrun ./myapp --flag" in screen
    for verb in set(VERBS) - {"run"}:
        assert any(re.match(rf"  {verb} +\S", line) for line in screen), verb


def test_groups_have_the_everyday_ones_first() -> None:
    text = shown()
    headings = [line for line in text.splitlines() if re.fullmatch(r"\w.*:", line)]
    assert headings[:3] == ["Verbs:", "Arguments:", "Common:"]
    assert headings[-1] == "Other:"
    common = text.split("\nCommon:\n")[1].split("\n\n")[0]
    for option in ("--refresh", "--limit", "--max-peak", "--json", "--live"):
        assert f"{option} " in common


@pytest.mark.parametrize(
    ("environment", "bold"),
    [({"TERM": "xterm"}, True), ({"TERM": "dumb"}, False), ({"NO_COLOR": "1"}, False)],
)
def test_in_a_terminal_names_stand_out(environment: dict[str, str], bold: bool) -> None:
    text = pexpect.run(
        f"{CMEMRUN} --help", env=os.environ | {"TERM": "xterm"} | environment, encoding="utf-8"
    )
    assert ("\x1b[1mUsage: \x1b[0m" in text) is bold
    assert ("\x1b" in text) is bold


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ([], "cmemrun ./myapp"),
        (["--refesh", "1s"], "did you mean --refresh?"),
        (["report", "--fromat", "csv"], "did you mean --format?"),
        (["reprot", "run.json"], "did you mean cmemrun report?"),
        (["report"], "missing argument 'FILE...'; see cmemrun report --help"),
        (["--install-completion"], "see cmemrun --help"),
    ],
)
def test_a_slip_gets_one_line_with_the_next_step(arguments: list[str], said: str) -> None:
    done = call_cmemrun(*arguments)
    assert done.returncode == (127 if "reprot" in arguments else 125)
    assert done.stderr.startswith("cmemrun: ")
    assert done.stderr.count("\n") == 1
    assert said in done.stderr
    assert done.stdout == ""


def test_the_manual_page_is_the_one_of_these_options() -> None:
    assert PAGE.read_text() == manual(command_line()), "write it anew: scripts/manual"


def rendered() -> str:
    done = subprocess.run(
        ["man", "--warnings", "--local-file", PAGE],
        capture_output=True,
        text=True,
        check=True,
        env=os.environ | {"MANWIDTH": "80", "LC_ALL": "C.UTF-8", "MAN_KEEP_FORMATTING": ""},
    )
    assert done.stderr == ""
    return done.stdout


def test_the_manual_page_reads_well() -> None:
    text = rendered()
    assert max(map(len, text.splitlines())) <= 80
    headings = re.findall(r"^\w.*", text, re.M)[1:-1]
    assert headings == [
        *("NAME", "SYNOPSIS", "DESCRIPTION", "OPTIONS", "VERBS", "EXIT STATUS"),
        *("EXAMPLES", "FILES", "ENVIRONMENT", "SEE ALSO"),
    ]
    for _, parameter in options():
        for flag in (*parameter.opts, *parameter.secondary_opts):
            if flag.startswith("-"):
                assert re.search(rf"^ +(-\w, |--[\w-]+ / )?{flag}\b", text, re.M), flag
        assert unbroken(parameter.help) in unbroken(text), parameter.name


def test_the_manual_page_has_no_mistake_that_a_checker_knows() -> None:
    groff: list[str | Path] = ["groff", "-ww", "-z", "-man", "-Tutf8", "-K", "utf8", PAGE]
    done = subprocess.run(groff, capture_output=True, text=True, check=True)
    assert done.stderr == ""
    lint: list[str | Path] = ["mandoc", "-T", "lint", "-W", "warning", PAGE]
    done = subprocess.run(lint, capture_output=True, text=True, check=False)
    # It is the same whenever it is made, so it has no date.
    found = [line for line in done.stdout.splitlines() if "missing date" not in line]
    assert found == []
