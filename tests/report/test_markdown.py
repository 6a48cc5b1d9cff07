"""Markdown as GitHub's own cmark-gfm reads it, and as markdown-it does, for others."""

import re
from html.parser import HTMLParser
from itertools import pairwise

from cmarkgfm import github_flavored_markdown_to_html
from cmarkgfm.cmark import Options
from hypothesis import example, given
from hypothesis import strategies as st
from markdown_it import MarkdownIt
from markdown_it.token import Token

from cmemrun.model import Budget, Exit, Measurement
from cmemrun.report import markdown, words
from cmemrun.report.findings import find
from cmemrun.report.text import printable
from tests.made_up import MIB, RUN, runs
from tests.report.hostile import EVERYTHING, NASTY, measurements, texts

READER = MarkdownIt("gfm-like")
_STRUCTURE = {
    "heading_open", "heading_close", "inline", "table_open", "table_close", "thead_open",
    "thead_close", "tbody_open", "tbody_close", "tr_open", "tr_close", "th_open", "th_close",
    "td_open", "td_close", "bullet_list_open", "bullet_list_close", "list_item_open",
    "list_item_close", "paragraph_open", "paragraph_close",
}  # fmt: skip


def told(token: Token) -> str:
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


def read(text: str) -> tuple[list[list[str]], list[str]]:
    """The rows of all tables, and the lines beside them, as both have them."""
    cells = _Cells()
    cells.feed(github_flavored_markdown_to_html(text, Options.CMARK_OPT_UNSAFE))
    cells.close()
    assert (cells.rows, cells.lines) == read_by_markdown_it(text)
    return cells.rows, cells.lines


def read_by_markdown_it(text: str) -> tuple[list[list[str]], list[str]]:
    rows: list[list[str]] = []
    lines: list[str] = []
    tokens = READER.parse(text)
    assert {token.type for token in tokens} <= _STRUCTURE
    for before, token in pairwise(tokens):
        if token.type == "tr_open":
            rows.append([])
        elif token.type == "inline":
            (rows[-1] if before.type in ("td_open", "th_open") else lines).append(told(token))
    return rows, lines


def test_it_tells_what_was_measured() -> None:
    good = Measurement("./myapp --flag", tuple(runs(100, 101, 110)))
    budgets = (Budget("peak", 64 * MIB, 101 * MIB, "exact"), Budget("working_set", 1, 1, "sampled"))
    bad = Measurement("sh -c 'a | b'", (RUN._replace(exit=Exit(3), budgets=budgets),))
    text = markdown.render([good, bad])
    rows, lines = read(text)
    assert rows[0][1:4] == ["command", "runs", "peak"]
    assert rows[1][:4] == ["✅", "./myapp --flag", "3", "101.0 MiB, up to 110.0 MiB"]
    assert rows[2][:4] == ["❌", "sh -c 'a | b'", "1", "101.0 MiB"]
    within = "working_set 1 B is within the allowed 1 B, margin 0 B (sampled, not proven)"
    assert rows[4:] == [
        ["❌", bad.name, "exit 3"],
        ["❌", bad.name, "peak 101.0 MiB is over the allowed 64.0 MiB, margin -37.0 MiB"],
        ["✅", bad.name, within],
    ]
    assert lines == ["Memory"]
    # What we say stands there as it is.
    assert "`working_set" not in text and "`exit 3`" not in text


@given(measurements)
@example(EVERYTHING)
def test_hostile_words_stay_words(many: list[Measurement]) -> None:
    rows, lines = read(markdown.render(many))
    found = find(many)
    assert [row[1] for row in rows[1 : 1 + len(many)]] == [one.name for one in found]
    assert all(len(row) == len(rows[0]) for row in rows[: 1 + len(many)])
    told = [
        [one.name, printable(text)]
        for one in found
        for text in (*one.failures, *map(words.budget, one.budgets), *one.remarks)
    ]
    assert [row[1:] for row in rows[2 + len(many) :]] == told
    assert lines == ["Memory"]


@given(texts)
@example("".join(NASTY))
def test_a_word_comes_back(text: str) -> None:
    for written in (markdown.code(text), markdown.prose(text)) if text else ():
        rows, _ = read(f"| a | b |\n| - | - |\n| x{written}x | y |\n")
        assert rows[1] == [f"x{printable(text)}x", "y"]


@given(st.text("ab1 _.,:;'()-%w@/é", max_size=20))
@example("http://a1")
@example(":smile:")
def test_plain_words_are_plain(text: str) -> None:
    text = f"it is {text}x"
    written = markdown.prose(text)
    rows, _ = read(f"| a |\n| - |\n| {written} |\n")
    assert rows[1] == [text]
    assert ("`" in written) or not re.search(r"[@/]|:\S|www\.|\b_|_\b", text)
