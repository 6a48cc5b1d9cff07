"""What later steps of a GitHub job may ask for: lines for the file of ``$GITHUB_OUTPUT``.

https://docs.github.com/en/actions/reference/workflows-and-actions/workflow-commands#setting-an-output-parameter
"""

import json
import secrets
from collections.abc import Iterator, Sequence

from cmemrun.model import Measurement
from cmemrun.report import markdown
from cmemrun.report.findings import decimal, find

__all__ = ["render"]


def render(measurements: Sequence[Measurement]) -> str:
    """``name=value`` and multiline values; the delimiter of those is a new one each time."""
    return "".join(_output(name, value) for name, value in _values(measurements))


def _values(measurements: Sequence[Measurement]) -> Iterator[tuple[str, str]]:
    findings = find(measurements)
    figures = [
        {field: decimal(spread.median) for field, spread in finding.figures.items()}
        for finding in findings
    ]
    yield "passed", json.dumps(all(finding.passed for finding in findings))
    if len(findings) == 1:
        for field, value in figures[0].items():
            yield field, str(value)
    told = [
        {"name": finding.name, "passed": finding.passed} | values
        for finding, values in zip(findings, figures, strict=True)
    ]
    yield "measurements", json.dumps(told)
    yield "markdown", markdown.render(measurements).removesuffix("\n")


def _output(name: str, value: str) -> str:
    if "\n" not in value:
        return f"{name}={value}\n"
    # Nobody who chose what is in the value can have known it.
    delimiter = f"cmemrun_{secrets.token_hex(16)}"
    return f"{name}<<{delimiter}\n{value}\n{delimiter}\n"
