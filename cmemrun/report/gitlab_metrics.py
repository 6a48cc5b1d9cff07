"""Typical sizes and counts for GitLab, which shows in a merge request what has changed.

A metrics report, in OpenMetrics text:
https://docs.gitlab.com/ci/testing/metrics_reports

It compares the values as text and shows them as they are, so they are written as plain
numbers, and there are no times, which are never the same twice.
"""

from collections.abc import Iterator, Sequence

from cmemrun.analysis.metrics import METRICS, Kind
from cmemrun.model import Measurement
from cmemrun.report.findings import Finding, decimal, find

__all__ = ["render"]


def render(measurements: Sequence[Measurement]) -> str:
    """A line for each size and count of each measurement, those of one kind together."""
    return "\n".join([*_lines(find(measurements)), "# EOF"]) + "\n"


def _lines(findings: Sequence[Finding]) -> Iterator[str]:
    for metric in METRICS.values():
        for finding in findings:
            spread = finding.figures.get(metric.field)
            if spread is not None and metric.kind is not Kind.SECONDS:
                label = f'{{command="{_escaped(finding.name)}"}}'
                yield f"cmemrun_{metric.field}{label} {decimal(spread.median)}"


def _escaped(text: str) -> str:
    # To GitLab's parser (Gitlab::Ci::Parsers::Metrics::Generic) a # begins a comment, in
    # quotes as well, and OpenMetrics has no other way to write one.
    return text.replace("#", r"\x23").replace("\\", r"\\").replace('"', r"\"")
