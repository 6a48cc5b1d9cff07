"""Every format as its own readers take it: their libraries, schemas and documentation.

``junit-10.xsd`` is of Jenkins' xUnit plugin, as pytest's source has it; scripts/venv fetches it.
"""

import json
import re
import shlex
import sys
from html.parser import HTMLParser
from itertools import pairwise
from pathlib import Path
from typing import Any

import fastjsonschema
import xmlschema
from cmarkgfm import github_flavored_markdown_to_html
from cmarkgfm.cmark import Options
from junitparser import JUnitXml, TestSuite
from markdown_it import MarkdownIt
from markdown_it.token import Token
from prometheus_client.openmetrics import parser

__all__ = [
    "as_gitlab_reads",
    "commands",
    "junit_suites",
    "markdown_tables",
    "of_bencher",
    "of_benchmark_action",
    "openmetrics_values",
    "outputs",
    "value",
]

_JUNIT = xmlschema.XMLSchema(Path(sys.prefix) / "share" / "junit-10.xsd")


def junit_suites(text: str) -> list[TestSuite]:
    """The suites, by a schema that a plugin of Jenkins has, with figures that add up."""
    _JUNIT.validate(text.encode())
    found = JUnitXml.fromstring(text.encode())
    suites = list(found)
    assert found.tests == sum(suite.tests for suite in suites)
    assert found.failures == sum(suite.failures for suite in suites)
    assert found.errors == sum(suite.errors for suite in suites)
    for suite in suites:
        said = (suite.tests, suite.failures, suite.errors)
        suite.update_statistics()
        assert said == (suite.tests, suite.failures, suite.errors)
    return suites


def _unescaped(text: str, more: dict[str, str]) -> str:
    for written, char in ({"%0D": "\r", "%0A": "\n"} | more | {"%25": "%"}).items():
        text = text.replace(written, char)
    return text


def commands(text: str) -> list[tuple[str, dict[str, str], str]]:
    """Each line's command, parameters and value: ``::command name=value,…::value``."""
    found = []
    for line in re.split(r"[\r\n]", text.removesuffix("\n")):
        assert line.startswith("::")
        head, _, value = line[2:].partition("::")
        command, _, parameters = head.partition(" ")
        pairs = [part.partition("=") for part in parameters.split(",")]
        told = {name: _unescaped(text, {"%3A": ":", "%2C": ","}) for name, _, text in pairs}
        found.append((command, told, _unescaped(value, {})))
    return found


def outputs(text: str) -> dict[str, str]:
    """``name=value`` lines, and ``name<<delimiter`` with all lines up to that."""
    found: dict[str, str] = {}
    lines = iter(text.split("\n"))
    for line in lines:
        equals, heredoc = line.find("="), line.find("<<")
        if not line:
            continue
        if equals >= 0 and (heredoc < 0 or equals < heredoc):
            name, _, value = line.partition("=")
        else:
            name, _, delimiter = line.partition("<<")
            assert delimiter
            value = "\n".join(iter(lambda: next(lines), delimiter))
        assert name not in found
        found[name] = value
    return found


_MARKDOWN_IT = MarkdownIt("gfm-like")
_STRUCTURE = {
    "heading_open", "heading_close", "inline", "table_open", "table_close", "thead_open",
    "thead_close", "tbody_open", "tbody_close", "tr_open", "tr_close", "th_open", "th_close",
    "td_open", "td_close", "bullet_list_open", "bullet_list_close", "list_item_open",
    "list_item_close", "paragraph_open", "paragraph_close",
}  # fmt: skip


def _words_of(token: Token) -> str:
    """The text of a cell or a line, which nothing but text and code makes up."""
    assert {child.type for child in token.children or ()} <= {"text", "code_inline"}
    return "".join(child.content for child in token.children or ())


class _Cells(HTMLParser):
    """The rows of all tables, and what else there is, of HTML without anything more in it."""

    def __init__(self) -> None:
        super().__init__()
        self.rows: list[list[str]] = []
        self.lines: list[str] = []
        self.told = ""

    def handle_starttag(self, tag: str, attributes: object) -> None:
        assert tag in ("table", "thead", "tbody", "tr", "th", "td", "code", "h3")
        if tag == "tr":
            self.rows.append([])
        if tag != "code":
            self.told = ""

    def handle_data(self, data: str) -> None:
        self.told += data

    def handle_endtag(self, tag: str) -> None:
        if tag in ("td", "th"):
            self.rows[-1].append(self.told)
        elif tag == "h3":
            self.lines.append(self.told)

    def handle_comment(self, data: str) -> None:
        raise AssertionError(data)

    # Only their arguments' names differ.
    handle_decl = handle_pi = unknown_decl = handle_comment  # type: ignore[assignment]


def markdown_tables(text: str) -> tuple[list[list[str]], list[str]]:
    """The rows of all tables, and the lines beside them, as both have them."""
    cells = _Cells()
    cells.feed(github_flavored_markdown_to_html(text, Options.CMARK_OPT_UNSAFE))
    cells.close()
    assert (cells.rows, cells.lines) == _by_markdown_it(text)
    return cells.rows, cells.lines


def _by_markdown_it(text: str) -> tuple[list[list[str]], list[str]]:
    rows: list[list[str]] = []
    lines: list[str] = []
    tokens = _MARKDOWN_IT.parse(text)
    assert {token.type for token in tokens} <= _STRUCTURE
    for before, token in pairwise(tokens):
        if token.type == "tr_open":
            rows.append([])
        elif token.type == "inline":
            (rows[-1] if before.type in ("td_open", "th_open") else lines).append(_words_of(token))
    return rows, lines


Values = dict[tuple[str, frozenset[tuple[str, str]]], float]


def openmetrics_values(text: str, reader: object = parser) -> Values:
    """All values, each there once."""
    found: Values = {}
    for family in reader.text_string_to_metric_families(text):  # type: ignore[attr-defined]
        assert family.type in ("gauge", "unknown")
        for sample in family.samples:
            key = (sample.name, frozenset(sample.labels.items()))
            assert key not in found and sample.timestamp is None
            found[key] = sample.value
    return found


def value(found: Values, name: str, **labels: str) -> float | None:
    return found.get((name, frozenset(labels.items())))


def as_gitlab_reads(text: str) -> dict[str, str]:
    """Without comments, and the rest as a shell takes it apart (its parser's ``Generic``)."""
    found: dict[str, str] = {}
    for line in text.split("\n"):
        words = shlex.split(re.sub("#.*$", "", line))
        if words:
            name, told = words
            assert name not in found
            found[name] = told
    return found


# https://bencher.dev/docs/reference/bencher-metric-format: benchmarks (names of up to 1024
# characters), their measures (64), and of each up to three numbers.
_METRIC = {
    "type": "object",
    "properties": {name: {"type": "number"} for name in ("value", "lower_value", "upper_value")},
    "required": ["value"],
    "additionalProperties": False,
}
_BENCHMARK = {
    "type": "object",
    "propertyNames": {"minLength": 1, "maxLength": 64},
    "additionalProperties": _METRIC,
    "minProperties": 1,
}
_BENCHER = fastjsonschema.compile(
    {
        "$schema": "http://json-schema.org/draft-07/schema",
        "type": "object",
        "propertyNames": {"minLength": 1, "maxLength": 1024},
        "additionalProperties": _BENCHMARK,
    }
)
# https://github.com/benchmark-action/github-action-benchmark#examples: "custom benchmarks".
_BENCHMARK_ACTION = fastjsonschema.compile(
    {
        "$schema": "http://json-schema.org/draft-07/schema",
        "type": "array",
        "items": {
            "type": "object",
            "properties": {
                "name": {"type": "string", "minLength": 1},
                "unit": {"type": "string", "minLength": 1},
                "value": {"type": "number"},
                "range": {"type": "string"},
                "extra": {"type": "string"},
            },
            "required": ["name", "unit", "value"],
            "additionalProperties": False,
        },
    }
)


def of_bencher(text: str) -> Any:
    return _BENCHER(json.loads(text))


def of_benchmark_action(text: str) -> Any:
    return _BENCHMARK_ACTION(json.loads(text))
