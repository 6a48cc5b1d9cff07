"""Typical values for Bencher, which keeps them over time.

Bencher Metric Format: https://bencher.dev/docs/reference/bencher-metric-format
"""

import json
from collections.abc import Sequence

from cmemrun.analysis.statistics import Spread
from cmemrun.model import Measurement
from cmemrun.report.findings import decimal, find

__all__ = ["render"]


def render(measurements: Sequence[Measurement]) -> str:
    """An object of benchmarks and their measures; runs that were thrown off are in no value."""
    told = {
        finding.name: {field: _metric(spread) for field, spread in finding.figures.items()}
        for finding in find(measurements)
        if finding.figures
    }
    return json.dumps(told, indent=1, allow_nan=False) + "\n"


def _metric(spread: Spread) -> dict[str, float]:
    told = {"value": decimal(spread.median)}
    if spread.runs > 1:
        told |= {"lower_value": spread.minimum, "upper_value": spread.maximum}
    return told
