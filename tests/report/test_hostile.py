"""Hostile words stay words in every format, as the format's own readers take it."""

import json
from collections.abc import Callable

import pytest
from hypothesis import example
from prometheus_client import parser as classic

from cmemrun.model import Measurement
from cmemrun.report import FORMATS, render, words
from cmemrun.report.findings import Finding, decimal, find
from cmemrun.report.text import printable
from tests.hostile.fuzz import fuzz
from tests.report.hostile import EVERYTHING, measurements
from tests.report.readers import (
    as_gitlab_reads,
    commands,
    junit_suites,
    markdown_tables,
    of_bencher,
    of_benchmark_action,
    openmetrics_values,
    outputs,
    value,
)

pytestmark = pytest.mark.slow

Check = Callable[[dict[str, str], list[Finding]], None]
"""Reads one of the texts, which are there by the names of their formats."""


def json_(texts: dict[str, str], found: list[Finding]) -> None:
    assert texts["json"].isascii()
    read = json.loads(texts["json"])
    for told, one in zip(read.get("measurements", [read]), found, strict=True):
        for run in told.get("runs", [told]):
            assert len(run["command"]) == len(one.runs[0].command)
            "".join(run["command"]).encode()


def markdown(texts: dict[str, str], found: list[Finding]) -> None:
    rows, lines = markdown_tables(texts["markdown"])
    assert [row[1] for row in rows[1 : 1 + len(found)]] == [one.name for one in found]
    assert all(len(row) == len(rows[0]) for row in rows[: 1 + len(found)])
    told = [
        [one.name, printable(text)]
        for one in found
        for text in (*one.failures, *map(words.budget, one.budgets), *one.remarks)
    ]
    assert [row[1:] for row in rows[2 + len(found) :]] == told
    assert lines == ["Memory"]


def github_summary(texts: dict[str, str], found: list[Finding]) -> None:
    assert texts["github-summary"] == texts["markdown"]


def junit(texts: dict[str, str], found: list[Finding]) -> None:
    for suite, one in zip(junit_suites(texts["junit"]), found, strict=True):
        assert suite.name == one.name
        command, over, within = suite
        assert {case.classname for case in suite} == {one.name}
        assert command.result[0].message == printable("; ".join(one.failures))
        names = [printable(words.allowance(budget)) for budget in one.budgets]
        assert [over.name, within.name] == names
        assert over.result[0].message == printable(words.budget(one.budgets[0]))
        assert within.result == []


def github(texts: dict[str, str], found: list[Finding]) -> None:
    read = commands(texts["github"])
    names = {f"cmemrun: {one.name}" for one in found}
    assert [command for command, _, _ in read if command == "error"] == ["error"] * sum(
        len(one.failures) + 1 for one in found
    )
    for command, parameters, _ in read:
        assert command in ("error", "warning", "notice")
        assert list(parameters) == ["title"] and parameters["title"] in names
    values = {value for _, _, value in read}
    for one in found:
        for text in (*one.failures, *one.remarks, words.budget(one.budgets[0])):
            assert printable(text) in values


def github_output(texts: dict[str, str], found: list[Finding]) -> None:
    read = outputs(texts["github-output"])
    figures = list(found[0].figures) if len(found) == 1 else []
    assert list(read) == ["passed", *figures, "measurements", "markdown"]
    assert read["markdown"] + "\n" == texts["markdown"]
    for told, one in zip(json.loads(read["measurements"]), found, strict=True):
        assert (told["name"], told["passed"]) == (one.name, False)
        assert told.get("peak_bytes") == (
            decimal(one.figures["peak_bytes"].median) if one.figures else None
        )


def gitlab_metrics(texts: dict[str, str], found: list[Finding]) -> None:
    told = as_gitlab_reads(texts["gitlab-metrics"])
    read = openmetrics_values(texts["gitlab-metrics"])
    assert len(told) == len(read)
    for one in found:
        command = one.name.replace("#", r"\x23")
        peak = value(read, "cmemrun_peak_bytes", command=command)
        if one.figures:
            assert peak is not None and peak == decimal(one.figures["peak_bytes"].median)
            assert told[f"cmemrun_peak_bytes{{command={command}}}"] == str(int(peak))
        else:
            assert peak is None


def openmetrics(texts: dict[str, str], found: list[Finding]) -> None:
    text = texts["openmetrics"]
    read = openmetrics_values(text)
    # The textfile collector reads the older format.
    assert openmetrics_values(text, classic) == read
    names = {dict(labels)["command"] for name, labels in read if name == "cmemrun_runs"}
    assert names == {one.name for one in found}
    assert {dict(labels)["command"] for _, labels in read} == names
    assert sum(name == "cmemrun_budget_passed" for name, _ in read) == 2 * len(found)


def benchmark_action(texts: dict[str, str], found: list[Finding]) -> None:
    read = of_benchmark_action(texts["benchmark-action"])
    peaks = [entry["name"] for entry in read if entry["name"].endswith(" - peak_bytes")]
    assert peaks == [f"{one.name} - peak_bytes" for one in found if one.figures]


def bencher(texts: dict[str, str], found: list[Finding]) -> None:
    names = [one.name for one in found if one.figures]
    assert list(of_bencher(texts["bencher"])) == names


CHECKS: dict[str, Check] = {
    "json": json_,
    "markdown": markdown,
    "junit": junit,
    "github": github,
    "github-summary": github_summary,
    "github-output": github_output,
    "gitlab-metrics": gitlab_metrics,
    "openmetrics": openmetrics,
    "benchmark-action": benchmark_action,
    "bencher": bencher,
}


def test_every_format_has_a_check() -> None:
    # CSV has numbers only, of one run: tests/hostile/test_words.py looks at each cell.
    assert CHECKS.keys() == FORMATS.keys() - {"csv"}


@example(EVERYTHING)
@fuzz(measurements, quick=60, long=5_000)
def test_hostile_words_stay_words_in_every_format(many: list[Measurement]) -> None:
    found = find(many)
    texts = {name: render(many, name) for name in CHECKS}
    for name, check in CHECKS.items():
        try:
            check(texts, found)
        except Exception as error:
            raise AssertionError(f"{name}: {error}") from error


@example(EVERYTHING)
@fuzz(measurements, quick=60, long=5_000)
def test_names_are_one_line_and_none_is_another_one_s(many: list[Measurement]) -> None:
    names = [one.name for one in find([*many, *many])]
    assert len(set(names)) == 2 * len(many)
    assert all(name.isprintable() and 0 < len(name) < 220 for name in names)
