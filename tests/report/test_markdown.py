"""Markdown as GitHub's own cmark-gfm reads it, and as markdown-it does, for others."""

import re

from hypothesis import example, given
from hypothesis import strategies as st

from cmemrun.model import Budget, Exit, Measurement
from cmemrun.report import markdown
from cmemrun.report.text import printable
from tests.made_up import MIB, RUN, runs
from tests.report.hostile import NASTY, texts
from tests.report.readers import markdown_tables as read


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
