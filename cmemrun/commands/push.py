"""Measurements sent to a Prometheus Pushgateway."""

from collections.abc import Sequence
from http.client import HTTPException

from cmemrun.errors import OutputError
from cmemrun.model import Measurement
from cmemrun.report.openmetrics import registry_of

__all__ = ["push"]


def push(measurements: Sequence[Measurement], url: str, job: str) -> None:
    """Replace what a Pushgateway has of a job; ``BadInput``, ``OutputError``."""
    registry = registry_of(measurements)
    from prometheus_client import push_to_gateway

    try:
        push_to_gateway(url, job=job, registry=registry)
    except (OSError, HTTPException, ValueError) as error:  # the last two of what is no address
        raise OutputError(
            f"--push: cannot push to {url!r}: {error}",
            hint="name a Pushgateway, for example --push http://localhost:9091",
        ) from error
