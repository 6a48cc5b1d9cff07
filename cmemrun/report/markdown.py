"""Measurements as Markdown, for a job's summary or a comment.

GitHub Flavored Markdown, of which GitLab's is another dialect: https://github.github.com/gfm/
"""

import re
from collections.abc import Iterator, Sequence

from cmemrun.model import Measurement
from cmemrun.report import words
from cmemrun.report.findings import Finding, find
from cmemrun.report.text import printable

__all__ = ["render"]

# Nothing that emphasizes, links or begins anything; points and underscores inside of
# numbers and words only, spaces not at the ends, where readers take them off.
_PLAIN = re.compile(
    r"(?! )(?:[^\W_]|(?<=[^\W_])_(?=[^\W_])|(?<=\d)\.(?=\d)|[,:;](?= )|[ %'()-])+(?<! )", re.ASCII
)

_COLUMNS = {
    "peak": "peak",
    "working set": "working_set",
    "anon": "anon",
    "file": "file",
    "kernel": "kernel",
    "time": "wall",
}


def render(measurements: Sequence[Measurement]) -> str:
    """A table of the measurements, and one of their budgets and all else that is to be known."""
    return "\n".join(_lines(find(measurements))) + "\n"


def _lines(findings: Sequence[Finding]) -> Iterator[str]:
    yield "### Memory"
    yield ""
    yield _row("", "command", "runs", *_COLUMNS)
    yield _row("---", "---", *["---:"] * (1 + len(_COLUMNS)))
    for finding in findings:
        values = map(finding.tell, _COLUMNS.values())
        yield _row(_mark(finding.passed), code(finding.name), str(len(finding.runs)), *values)
    told = [(mark, one.name, text) for one in findings for mark, text in _told(one)]
    if told:
        yield ""
        yield _row("", "command", "")
        yield _row("---", "---", "---")
    for mark, name, text in told:
        yield _row(mark, code(name), prose(text))


def _told(finding: Finding) -> Iterator[tuple[str, str]]:
    for text in finding.failures:
        yield _mark(False), text
    for budget in finding.budgets:
        yield _mark(budget.passed), words.budget(budget)
    for text in finding.remarks:
        yield "⚠️", text


def _mark(passed: bool) -> str:
    return "✅" if passed else "❌"


def _row(*cells: str) -> str:
    return f"| {' | '.join(cells)} |"


def prose(text: str) -> str:
    """A sentence as it is, or as ``code`` where something in it could be more than text."""
    return text if _PLAIN.fullmatch(text) else code(text)


def code(text: str) -> str:
    """A cell of somebody's words as code, where nothing is markup, a link, or mentions anyone."""
    text = printable(text)
    longest = max(map(len, re.findall("`+", text)), default=0)
    fence = "`" * (longest + 1)
    # One space on either side is taken off again, if there is anything but spaces.
    room = " " if text.strip(" ") and (text[0] in "` " or text[-1] in "` ") else ""
    # In a table a pipe is escaped in code as well (section 4.10).
    return f"{fence}{room}{text}{room}{fence}".replace("|", r"\|")
