"""Budgets as test cases: JUnit XML, as Jenkins, GitLab and others read it.

There is no standard. This keeps to the schema of Jenkins' xUnit plugin (junit-10.xsd),
to which GitLab's reading fits, too:
https://docs.gitlab.com/ci/testing/unit_test_reports
"""

from collections.abc import Iterator, Sequence
from xml.etree import ElementTree
from xml.etree.ElementTree import Element, SubElement

from cmemrun.model import Budget, Measurement, Run
from cmemrun.report import terminal, words
from cmemrun.report.findings import Finding, decimal, find
from cmemrun.report.text import printable

__all__ = ["render"]


def render(measurements: Sequence[Measurement]) -> str:
    """A suite for each measurement, with a case for each budget and one for the program."""
    root = Element("testsuites", name="cmemrun")
    suites = [_suite(root, finding) for finding in find(measurements)]
    for count in ("tests", "failures", "errors"):
        root.set(count, str(sum(int(suite.get(count, "0")) for suite in suites)))
    ElementTree.indent(root)
    text: bytes = ElementTree.tostring(root, encoding="utf-8", xml_declaration=True)
    return f"{text.decode()}\n"


def _suite(root: Element, finding: Finding) -> Element:
    seconds = sum(run.wall_seconds for run in finding.runs)
    suite = SubElement(
        root,
        "testsuite",
        name=finding.name,
        tests=str(1 + len(finding.budgets)),
        failures=str(sum(not budget.passed for budget in finding.budgets)),
        errors=str(int(bool(finding.failures))),
        skipped="0",
        time=f"{seconds:.3f}",
        timestamp=f"{finding.runs[0].started_at:%Y-%m-%dT%H:%M:%S}",
    )
    properties = SubElement(suite, "properties")
    for name, value in _properties(finding):
        SubElement(properties, "property", name=name, value=printable(value))
    command = _case(suite, finding, "command", seconds)
    if finding.failures:
        failed = next(run for run in finding.runs if run.exit.status)
        _add(command, "error", "; ".join(finding.failures), failed)
    for budget in finding.budgets:
        case = _case(suite, finding, words.allowance(budget), 0.0)
        if not budget.passed:
            _add(case, "failure", words.budget(budget), _judged(finding, budget))
    if finding.remarks:
        SubElement(suite, "system-out").text = "\n".join(map(printable, finding.remarks))
    return suite


def _properties(finding: Finding) -> Iterator[tuple[str, str]]:
    yield "runs", str(len(finding.runs))
    for field, spread in finding.figures.items():
        yield field, str(decimal(spread.median))
        if spread.runs > 1:
            yield f"lowest_{field}", str(spread.minimum)
            yield f"highest_{field}", str(spread.maximum)
    method = finding.runs[0].method
    yield "backend", method.backend
    yield "peak_source", method.peak_source


def _case(suite: Element, finding: Finding, name: str, seconds: float) -> Element:
    return SubElement(
        suite, "testcase", classname=finding.name, name=printable(name), time=f"{seconds:.3f}"
    )


def _judged(finding: Finding, budget: Budget) -> Run:
    """The run that a budget was judged by; of a budget of all of them any is as good."""
    return next((run for run in finding.runs if budget in run.budgets), finding.runs[0])


def _add(case: Element, kind: str, message: str, run: Run) -> None:
    # XML 1.0 has no control characters at all, not even escaped ones; in a report there
    # are none either.
    found = SubElement(case, kind, type=f"cmemrun.{kind}", message=printable(message))
    found.text = "\n" + terminal.render(run, colour=False)
