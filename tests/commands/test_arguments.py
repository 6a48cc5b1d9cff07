"""A command line means the same to the plain reader and to typer, which knows more forms."""

import importlib
from typing import Any

import pytest
from hypothesis import strategies as st

from cmemrun.commands import application
from cmemrun.commands.arguments import kind_of, read_plainly
from cmemrun.commands.options.run import RunOptions
from tests.hostile.fuzz import fuzz

FIELDS = RunOptions.__annotations__
FLAGS = [
    flag
    for annotation in FIELDS.values()
    for flag in (*kind_of(annotation)[1].flags, kind_of(annotation)[1].negative)
    if flag
]
VALUES = [
    "a.b=c",
    "7",
    "1s",
    "400ms",
    "12Mi",
    "auto",
    "v1",
    "exact",
    "end",
    "off",
    "-",
    "",
    "x=y",
    "--",
    "-q",
]
WORDS = st.one_of(
    st.sampled_from(FLAGS),
    st.sampled_from(VALUES),
    st.builds("{}={}".format, st.sampled_from(FLAGS), st.sampled_from(VALUES)),
    st.sampled_from(["-qo", "-ofile", "--ref", "--version", "-h", "-", "true", "run", "\udcff"]),
    st.text(max_size=3),
)


@pytest.fixture
def through_typer(monkeypatch: pytest.MonkeyPatch) -> list[Any]:
    seen: list[Any] = []

    def run(command: Any, options: Any) -> int:
        seen.append((*options, command))
        return 0

    monkeypatch.setattr(importlib.import_module("cmemrun.commands.run"), "run", run)
    monkeypatch.setattr(application, "say", lambda *_, **__: None)
    return seen


@fuzz(st.lists(WORDS, max_size=6), quick=150, long=10_000)
def test_what_is_read_plainly_typer_reads_the_same(
    through_typer: list[Any], words: list[str]
) -> None:
    plain = read_plainly(FIELDS, words)
    if plain is not None:
        through_typer.clear()
        application.carry_out(["run", *words])
        assert through_typer == [plain]


@pytest.mark.parametrize(
    "words",
    [
        ["true"],
        ["--", "--quiet"],
        ["--refresh", "1s", "--json=-", "-q", "--no-oom-group", "-o", "f", "sh", "-c", "exit"],
        [flag for flag in FLAGS if "oom-group" in flag] + ["true", "--refresh", "x"],
        ["--set", "a.b=1", "--pids", "9", "--set=c.d=x=y", "true"],
        ["--limit", "1Gi", "--limit", "2Gi", "true", "-"],
    ],
)
def test_what_people_write_is_plain(through_typer: list[Any], words: list[str]) -> None:
    plain = read_plainly(FIELDS, words)
    assert plain is not None
    application.carry_out(["run", *words])
    assert through_typer == [plain]


@pytest.mark.parametrize(
    "line",
    [
        "",
        "-q",
        "--json",
        "--refresh 1 true",
        "--backend v3 true",
        "--quiet=1 true",
        "-qo f true",
        "--help",
        "--version true",
        "--nothing true",
        "--no-oom-group=1 true",
    ],
)
def test_the_rest_is_typers(line: str) -> None:
    assert read_plainly(FIELDS, line.split()) is None
