"""The JSON document and the terminal report of made-up runs."""

import json
import re

import pytest

from cmemrun.analysis.oom import judge
from cmemrun.model import (
    Events,
    Exit,
    Limits,
    Straggler,
)
from cmemrun.report import document, terminal
from cmemrun.report.text import command_line, printable
from tests.made_up import ESCAPES, MIB, RUN


def test_the_names_other_programs_read() -> None:
    read = json.loads(document.render(RUN))
    assert read["schema"] == 1
    assert read["command"] == ["./myapp", "--flag"]
    assert read["started_at"] == "2026-01-02T03:04:05+00:00"
    assert read["exit"] == {"status": 0, "code": 0, "signal": None, "timed_out": False}
    assert set(read["environment"]) == {
        "kernel", "machine", "page_bytes", "cpus", "memory_bytes", "hierarchy", "cmemrun",
    }  # fmt: skip
    assert {
        "backend", "group", "peak_source", "lower_bound", "resolution_bytes", "refresh_seconds",
        "sample_count", "notes",
    } <= set(read["method"])  # fmt: skip
    assert read["limits"].pop("max_bytes") == "max"
    assert read["limits"].pop("oom_group") is False and read["limits"].pop("files") == []
    assert set(read["limits"].values()) == {None}
    assert read["peak_bytes"] == 101 * MIB
    assert read["peak_working_set_bytes"] == 90 * MIB
    for absent in ("file", "kernel", "swap"):
        assert read[f"peak_{absent}_bytes"] is None
    assert read["peak_tasks"] is None
    assert read["at_peak"]["working_set_bytes"] == 90 * MIB
    assert read["samples"][0].items() <= read["at_peak"].items()
    assert read["at_exit"]["anon_bytes"] is None
    assert read["at_exit"]["working_set_bytes"] is None
    assert read["events"] == {
        "low": None, "high": None, "max": 0, "oom": None, "oom_local": None, "oom_kill": 0,
        "oom_group_kill": None,
    }  # fmt: skip


def test_bytes_that_are_no_text() -> None:
    word = b"caf\xe9".decode("utf-8", "surrogateescape")
    assert json.loads(document.render(RUN._replace(command=(word,))))["command"] == ["caf\\xe9"]


def test_the_report_says_what_the_number_is() -> None:
    text = terminal.render(RUN, colour=False)
    assert "\x1b" not in text
    assert re.search(
        r"^peak +101\.0 MiB +the kernel's high-water mark, at most 512\.0 KiB too", text, re.M
    )
    assert re.search(r"^usage +100\.0 MiB +1\.0 MiB +101\.0 MiB +1\.00 s$", text, re.M)
    assert re.search(r"^swap +n/a +n/a +n/a$", text, re.M)
    assert "exit 0 after 2.50 s, CPU 1.25 s user, 500 ms system" in text
    assert "cgroup-v2, 7 samples, refresh 500 ms" in text
    sampled = RUN.method._replace(peak_source="sampled", lower_bound=True, notes=("a note",))
    text = terminal.render(RUN._replace(method=sampled), colour=False)
    assert "a lower bound" in text
    assert re.search(r"^note +a note$", text, re.M)


@pytest.mark.parametrize(
    ("end", "expected"),
    [
        (Exit(3, None), "exit 3"),
        (Exit(None, 9), "ended by SIGKILL (status 137)"),
        (Exit(None, 64), "ended by SIGRTMAX (status 192)"),
        (Exit(None, 50), "ended by signal 50 (status 178)"),
        (Exit(None, 15, timed_out=True), "ended by the time limit (status 124)"),
    ],
)
def test_the_end(end: Exit, expected: str) -> None:
    assert expected in terminal.render(RUN._replace(exit=end), colour=False)


def test_kills_limits_and_stragglers() -> None:
    run = RUN._replace(
        events=Events(high=2, max=5, oom=1, oom_kill=1),
        limits=Limits(max_bytes=64 * MIB, oom_group=True),
        stragglers=(Straggler(42, "nasty", ("nasty", ESCAPES)), Straggler(43, None, ())),
    )
    text = terminal.render(run._replace(oom=judge(run)), colour=False)
    assert "oom_kill 1" in text and "limit hit 5 times" in text
    assert re.search(r"^limit +64\.0 MiB, the whole group", text, re.M)
    assert "42 nasty" in text and "43 ? outlived" in text
    assert "\x1b" not in text and "\u202e" not in text and "\\x1b" in text
    unknown = terminal.render(RUN._replace(events=Events()), colour=False)
    assert "nothing here counts OOM kills" in unknown


def test_colour_changes_no_word() -> None:
    plain, coloured = terminal.render(RUN, colour=False), terminal.render(RUN, colour=True)
    assert "\x1b[" in coloured
    assert [
        line.rstrip() for line in re.sub(r"\x1b\[[0-9;]*m", "", coloured).split("\n")
    ] == plain.split("\n")


def test_command_lines_are_shown_as_typed_and_bounded() -> None:
    assert command_line(["a", "b c", "d'e"]) == "a 'b c' 'd'\"'\"'e'"
    assert len(command_line(["x" * 1000])) == 200
    assert printable("a\nb\tc\x00") == "a\\nb\\tc\\x00"
