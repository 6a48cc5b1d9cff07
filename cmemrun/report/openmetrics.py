"""Measurements as gauges, for Prometheus, its Pushgateway and the textfile collector.

OpenMetrics text by the standard client library:
https://github.com/prometheus/OpenMetrics/blob/main/specification/OpenMetrics.md

The textfile collector of node_exporter reads the older text format, in which what
OpenMetrics adds (``# UNIT``, ``# EOF``) is a comment. As there are gauges only, without
timestamps, both read the same out of it.
"""

from collections.abc import Iterable, Iterator, Sequence
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from cmemrun.analysis.metrics import METRICS, Kind
from cmemrun.model import Budget, Measurement
from cmemrun.report import require
from cmemrun.report.findings import Finding, find
from cmemrun.report.text import printable

if TYPE_CHECKING:
    from prometheus_client import CollectorRegistry, Metric

__all__ = ["registry_of", "render"]


def render(measurements: Sequence[Measurement]) -> str:
    """All gauges as text; ``BadInput`` where the library is not there."""
    registry = registry_of(measurements)
    from prometheus_client.openmetrics.exposition import generate_latest

    text: bytes = generate_latest(registry)  # type: ignore[no-untyped-call]
    return text.decode()


def registry_of(measurements: Sequence[Measurement]) -> "CollectorRegistry":
    """All gauges for the library, to be pushed for instance; ``BadInput`` likewise."""
    require("openmetrics")
    from prometheus_client import CollectorRegistry

    registry = CollectorRegistry()
    registry.register(_Gauges(find(measurements)))
    return registry


class _Gauges:
    def __init__(self, findings: Sequence[Finding]) -> None:
        self._findings = findings

    def collect(self) -> "Iterator[Metric]":
        yield from self._figures()
        yield _gauge(
            "runs", "Runs of the command.", (([one.name], len(one.runs)) for one in self._findings)
        )
        yield _gauge(
            "failed_runs",
            "Runs in which the program failed.",
            (([one.name], len(one.failures)) for one in self._findings),
        )
        yield _gauge(
            "peak_is_lower_bound",
            "1 where the peak may have been higher than what was seen.",
            (
                ([one.name], any(run.method.lower_bound for run in one.runs))
                for one in self._findings
            ),
        )
        yield _gauge(
            "start_time_seconds",
            "Start of the last run, in seconds since 1970.",
            (([one.name], _seconds(one.runs[-1].started_at)) for one in self._findings),
            unit="seconds",
        )
        yield from self._budgets()

    def _figures(self) -> "Iterator[Metric]":
        for metric in METRICS.values():
            unit = "" if metric.kind is Kind.COUNT else metric.kind.value
            told = [
                ([one.name], one.figures[metric.field])
                for one in self._findings
                if metric.field in one.figures
            ]
            several = [(labels, spread) for labels, spread in told if spread.runs > 1]
            # The unit stands last in a name.
            for prefix, which, value, spreads in (
                ("", "median", "median", told),
                ("lowest_", "lowest", "minimum", several),
                ("highest_", "highest", "maximum", several),
            ):
                if spreads:
                    yield _gauge(
                        f"{prefix}{metric.field}",
                        f"The {which} {metric.name.replace('_', ' ')} of the runs.",
                        [(labels, getattr(spread, value)) for labels, spread in spreads],
                        unit=unit,
                    )

    def _budgets(self) -> "Iterator[Metric]":
        told: dict[tuple[str, ...], Budget] = {}
        for finding in self._findings:
            # What is over counts, should one be there twice.
            for budget in sorted(finding.budgets, key=lambda one: one.passed):
                metric = printable(budget.metric)
                labels = (finding.name, metric, f"{metric}<={budget.allowed}")
                told.setdefault(labels, budget)
        for name, text, values in (
            (
                "allowed",
                "What is allowed, in the unit of its metric.",
                [(labels, budget.allowed) for labels, budget in told.items()],
            ),
            (
                "measured",
                "What was measured, in the worst of the runs.",
                [
                    (labels, budget.measured)
                    for labels, budget in told.items()
                    if budget.measured is not None
                ],
            ),
            (
                "passed",
                "1 where what was measured is within what is allowed.",
                [(labels, budget.passed) for labels, budget in told.items()],
            ),
        ):
            yield _gauge(f"budget_{name}", text, values, "metric", "budget")


def _seconds(moment: datetime) -> float:
    return moment.replace(tzinfo=moment.tzinfo or UTC).timestamp()


def _gauge(
    name: str,
    text: str,
    values: Iterable[tuple[Sequence[str], float]],
    *labels: str,
    unit: str = "",
) -> "Metric":
    from prometheus_client.core import GaugeMetricFamily

    family = GaugeMetricFamily(f"cmemrun_{name}", text, labels=("command", *labels), unit=unit)
    for label_values, value in values:
        family.add_metric(label_values, value)
    return family
