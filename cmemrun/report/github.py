"""What went wrong as annotations of a GitHub job: lines for its log.

https://docs.github.com/en/actions/reference/workflows-and-actions/workflow-commands
"""

from collections.abc import Iterator, Sequence

from cmemrun.model import Measurement
from cmemrun.report import words
from cmemrun.report.findings import Finding, find
from cmemrun.report.text import printable

__all__ = ["render"]

# A step has ten annotations of each level, and those that come first.
_LEVELS = ("error", "warning", "notice")


def render(measurements: Sequence[Measurement]) -> str:
    """Errors first, then warnings, then what was measured."""
    told = [
        (level, finding.name, text)
        for finding in find(measurements)
        for level, text in _annotations(finding)
    ]
    told.sort(key=lambda one: _LEVELS.index(one[0]))
    return "".join(
        f"::{level} title={_property(f'cmemrun: {name}')}::{_data(text)}\n"
        for level, name, text in told
    )


def _annotations(finding: Finding) -> Iterator[tuple[str, str]]:
    for text in finding.failures:
        yield "error", text
    for budget in finding.budgets:
        if not budget.passed:
            yield "error", words.budget(budget)
        elif budget.certainty != "exact" and not budget.proven:
            yield "warning", words.budget(budget)
    for text in finding.remarks:
        yield "warning", text
    yield "notice", f"peak {finding.tell('peak')}, time {finding.tell('wall')}"


def _data(text: str) -> str:
    """What follows the second ``::``, where a line's end would have to be escaped as well."""
    return printable(text).replace("%", "%25")


def _property(text: str) -> str:
    """A parameter, which a comma or a colon would end."""
    return _data(text).replace(":", "%3A").replace(",", "%2C")
