"""Words that a program or a stranger chose, wherever there are any, on all our ways out.

What each format makes of them is judged by its own parser in ``tests/report``, with the
same words.
"""

import csv
import io
import json
import os
import re
import subprocess
import sys
from enum import Enum
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import pytest

from cmemrun.analysis.comparison import compare
from cmemrun.commands import inputs
from cmemrun.commands.console import say
from cmemrun.model import Limits, Measurement
from cmemrun.report import FORMATS, figure, page, panel, render, summary, terminal
from cmemrun.report.curve_page import render as render_curve
from cmemrun.report.fit_document import SavedFit
from tests.cgroups import made_group
from tests.conftest import CMEMRUN, Cmemrun
from tests.hostile.full import FULL, FULL_SAMPLE, SEARCH
from tests.hostile.fuzz import IS_LONG, fuzz, tried
from tests.report.hostile import NASTY, texts
from tests.report.reading import Strict
from tests.running import call_cmemrun
from tests.waiting import slowness

pytestmark = pytest.mark.slow

_COLOURS = re.compile(r"\x1b\[[0-9;]*m")
_OF_COMMANDS_OR_JSON = ("github", "json", "benchmark-action", "bencher")


def spoken(value: Any, word: str) -> Any:
    """The value with this word wherever there is any."""
    if isinstance(value, str):
        return word
    if isinstance(value, Enum) or not isinstance(value, tuple):
        return value
    words = [spoken(one, word) for one in value]
    return type(value)(*words) if hasattr(value, "_fields") else tuple(words)


def run_of(word: str) -> Any:
    # A limit has files by name, and a Run what it wrote, which is in no report.
    return spoken(FULL, word)


def harmless(text: str) -> None:
    """Nothing in it drives a terminal, is hidden, or turns the direction of writing."""
    odd = [char for char in text if not char.isprintable() and char != "\n"]
    assert not odd, ascii(text)


def told(text: str) -> None:
    """And nothing that GitHub's runner takes for a command in the log of a job.

    (actions/runner, src/Runner.Common/ActionCommand.cs: ``TryParseV2``, ``TryParse``)
    """
    harmless(text)
    for line in _COLOURS.sub("", text).splitlines():
        assert not line.lstrip().startswith("::"), ascii(line)
        assert "##[" not in line, ascii(line)


def test_no_way_out_lets_it_do_anything(request: pytest.FixtureRequest) -> None:
    for word in NASTY if IS_LONG else NASTY[::3]:
        tried[request.node.name] += 1
        walk(word)


@fuzz(texts, quick=20, long=3000)
def test_no_way_out_lets_any_text_do_anything(word: str) -> None:
    walk(word)


def walk(word: str) -> None:
    run = run_of(word)
    one, several = Measurement(word, (run,)), Measurement(word, (run, run))
    for name in FORMATS:
        text = render([one] if name == "csv" else [one, several], name)
        # Commands are what that one is made of, and JSON is JSON.
        (harmless if name in _OF_COMMANDS_OR_JSON else told)(text)
        text.encode()
    for cell in (cell for row in csv.reader(io.StringIO(render([one], "csv"))) for cell in row):
        # Names of ours and numbers: nothing that a spreadsheet takes for a formula.
        assert re.fullmatch(r"[a-z_]+|[0-9.e-]*", cell), cell
    for columns in (None, 60):
        told(terminal.render(run, colour=False, width=columns))
        coloured = terminal.render(run, colour=True, width=columns)
        harmless(_COLOURS.sub("", coloured))
        assert coloured.count("\x1b") % 2 == 0
    base = one._replace(runs=(FULL._replace(oom=FULL.oom._replace(verdict="none")),))
    for width in (60, 110):
        told(summary.render([one, several], colour=False, width=width))
    compared = compare(base.runs, several.runs)
    told(summary.render_comparison(base, several, compared, colour=False))
    view = panel.View(
        run._replace(limits=Limits(max_bytes=2**30)), spoken(FULL_SAMPLE, word), (FULL_SAMPLE,), 1.0
    )
    for columns in (panel.LEAST_COLUMNS, 120):
        rows = panel.render(view, rows=7, columns=columns, colour=False)
        assert len(rows) == 7
        harmless("\n".join(rows))


@pytest.mark.parametrize("word", NASTY if IS_LONG else NASTY[::30])
def test_a_page_and_a_picture_show_it_and_no_more(
    word: str, request: pytest.FixtureRequest
) -> None:
    tried[request.node.name] += 1
    run = run_of(word)
    search = inputs._parse("f", json.dumps(SEARCH).encode())
    assert isinstance(search, SavedFit)
    for text in (
        page.render([run]),
        page.render([run, run]),
        render_curve(search._replace(command=(word,), warnings=(word,))),
    ):
        parser = Strict()
        parser.feed(text)
        parser.close()
        assert not parser.open
        assert {tag for tag, _ in parser.elements} <= ELEMENTS
        for _, attributes in parser.elements:
            assert attributes.keys() <= ATTRIBUTES
        harmless("".join(parser.texts))
    for theme in ("light", "dark"):
        svg = figure.render([run], "svg", theme=theme, processes=True)
        for element in ElementTree.fromstring(svg).iter():  # noqa: S314 (it is ours)
            assert element.tag.rpartition("}")[2] in DRAWN, element.tag
            for name, value in element.attrib.items():
                assert not name.startswith("on"), name
                # Its own parts and none of anybody's: <use xlink:href="#…">.
                assert not name.endswith("href") or value.startswith("#"), value


ELEMENTS = {
    *("html", "head", "meta", "title", "style", "body", "h1", "h2", "h3", "p", "div", "picture"),
    *("source", "img", "dl", "dt", "dd", "table", "thead", "tbody", "tr", "th", "td", "code"),
    *("span", "strong"),
}
ATTRIBUTES = {
    *("lang", "charset", "http-equiv", "content", "name", "class", "media", "srcset", "src", "alt"),
    "scope",
}

DRAWN = {
    *("svg", "title", "metadata", "defs", "style", "g", "path", "use", "clipPath", "rect"),
    # What the title is called in there (Dublin Core, RDF).
    *("RDF", "Work", "type", "format", "creator", "Agent"),
}

ASKED = [
    ["{}"], ["./{}/x"], ["report", "{}"], ["-o", "{}/x", "true"], ["--json", "/no/{}", "true"],
    ["--assert", "{}", "true"], ["--limit", "{}", "true"], ["--user", "x{}", "true"],
    ["--against", "{}", "true"], ["--pod", "{}", "true"], ["--budget", "{}", "true"],
    ["--timeout", "{}", "true"], ["--docker", "{}", "true"], ["--prepare", "{}/no", "true"],
    ["--set", "{}=1", "true"], ["attach", "--container", "{}"], ["attach", "--cgroup", "/{}"],
    ["check", "{}"], ["fit", "{}"], ["plot", "{}", "-o", "x.svg"], ["--{}", "true"],
    ["report", "{}", "--push", "http://{}"], ["-L", "a", "{}", "{}"],
    ["--save-baseline", "{}", "x"],
]  # fmt: skip


@pytest.mark.parametrize("asked", ASKED, ids=lambda asked: asked[0])
def test_our_own_errors_show_it_and_no_more(asked: list[str], tmp_path: Path) -> None:
    word = "\x1b]52;c;eA==\x07\x9b31m\u202e\n::error::x\r\u200b"
    given = [one.replace("{}", word) for one in asked]
    done = call_cmemrun(*map(os.fsencode, given), os.fsencode("\udc9b"), cwd=tmp_path, text=False)
    told = done.stderr.decode()
    assert done.returncode in (125, 127) and told.count("\n") == 1 and told.startswith("cmemrun: ")
    harmless(told)
    assert done.stdout == b"" and len(told) < 3000


@fuzz(texts, texts)
def test_what_we_say_is_one_line(message: str, hint: str) -> None:
    reading, writing = os.pipe()
    before = os.dup(2)
    os.dup2(writing, 2)
    try:
        say(message, hint=hint)
    finally:
        os.dup2(before, 2)
        for fd in (before, writing):
            os.close(fd)
    told = os.read(reading, 65536).decode()
    os.close(reading)
    assert told.count("\n") == 1
    harmless(told)


EVIL = "\x1b[2J\u202e|`<b>"


def test_a_program_calls_itself_what_it_likes(cmemrun: Cmemrun) -> None:
    """Its own name by prctl, its arguments, and those of what it leaves running."""
    script = (
        "import ctypes, os, sys, time\n"
        "ctypes.CDLL(None).prctl(15, '\\x1b[2J\\u202e\\r\\n'.encode(), 0, 0, 0)\n"
        "x = bytearray(30 << 20)\n"
        "os.fork() or time.sleep(1000)\n"
        f"time.sleep({0.3 * slowness()})\n"
    )
    run = cmemrun("--processes", "--smaps", "--", sys.executable, "-c", script, EVIL)
    assert run.status == 0 and "outlived the program" in run.stderr
    harmless(run.stderr)
    names = {process["name"] for process in run["at_peak"]["processes"]}
    assert any(name.startswith("\x1b[2J") for name in names)  # JSON has it as it is, escaped
    # And one that has ended and is not waited for is no memory: its name has a line of status.
    script = (
        "import ctypes, os, time\n"
        "ctypes.CDLL(None).prctl(15, b'\\rVmRSS:99999999', 0, 0, 0)\n"
        "os.fork() or os._exit(0)\n"
        f"time.sleep({0.3 * slowness()})\n"
    )
    run = cmemrun("--backend", "proc", "--refresh", "50ms", "--", sys.executable, "-c", script)
    assert run["method"]["sample_count"] >= 4 and run["peak_bytes"] < 2**30, run.stderr
    assert "Traceback" not in run.stderr


def test_a_group_and_a_mount_of_any_name(cmemrun: Cmemrun, tmp_path: Path) -> None:
    # A name of a group may hold all but a line's end and a slash.
    entered = 'echo $$ > "$0/cgroup.procs" && exec "$@"'
    commands = (["true"], ["doctor"], ["--debug", "true"], ["--backend", "proc", "true"])
    results = []
    with made_group(f"cmemrun-test{os.getpid()}-\x1b[2J\u202e\r|`") as path:
        for arguments in commands:
            done = subprocess.run(
                ["sh", "-c", entered, path, CMEMRUN, *arguments],
                capture_output=True,
                text=True,
                check=False,
            )
            results.append(done)
    for done in results:
        assert done.returncode in (0, 1) and "Traceback" not in done.stderr, done.stderr
        harmless(done.stdout + done.stderr)
    assert any("cmemrun-test" in done.stderr for done in results)
    point = tmp_path / "a\rb 99 1 0:1 x"
    point.mkdir()
    script = f'mount -t tmpfs x "$1" && exec "{CMEMRUN}" -q true'
    done = subprocess.run(
        ["unshare", "--mount", "sh", "-c", script, "sh", str(point)],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr


def test_pytests_report_shows_it_and_no_more(tmp_path: Path) -> None:
    (tmp_path / "test_it.py").write_text(
        "import pytest\n"
        "@pytest.mark.memory_budget('1Ki')\n"
        f"def test_it(cmemrun): cmemrun(['sh', '-c', ':', {EVIL + chr(0x9B)!r}])\n"
    )
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "--color=no",
         "--memory-report", "--junitxml=x.xml", "--tb=line", "test_it.py"],
        cwd=tmp_path, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 1 and "memory of commands" in done.stdout
    harmless(done.stdout + done.stderr)
    harmless((tmp_path / "x.xml").read_text())


def test_these_words_are_worth_it() -> None:
    """Most of them would do something, or the tests above could not fail."""
    assert sum(any(not char.isprintable() for char in word) for word in NASTY) >= 20
    with pytest.raises(AssertionError):
        harmless("\x1b[2J")
