"""Typical values for github-action-benchmark, which draws them over the commits.

For its tool ``customSmallerIsBetter``:
https://github.com/benchmark-action/github-action-benchmark#examples
"""

import json
from collections.abc import Iterator, Sequence
from typing import Any

from cmemrun.analysis.metrics import METRICS
from cmemrun.model import Measurement
from cmemrun.report import words
from cmemrun.report.findings import Finding, decimal, find

__all__ = ["render"]


def render(measurements: Sequence[Measurement]) -> str:
    """A list of values, each for itself; runs that were thrown off are in none."""
    told = [entry for finding in find(measurements) for entry in _entries(finding)]
    return json.dumps(told, indent=1, allow_nan=False) + "\n"


def _entries(finding: Finding) -> Iterator[dict[str, Any]]:
    for field, spread in finding.figures.items():
        kind = METRICS[spread.metric].kind
        entry: dict[str, Any] = {
            "name": f"{finding.name} - {field}",
            "unit": kind.value,
            "value": decimal(spread.median),
        }
        if spread.runs > 1:
            entry["range"] = f"{kind.tell(spread.minimum)} to {kind.tell(spread.maximum)}"
            entry["extra"] = f"median of {spread.runs} runs"
        if spread.metric == "peak":
            source = words.peak_source(finding.runs[0])
            entry["extra"] = "\n".join(filter(None, (entry.get("extra"), source)))
        yield entry
