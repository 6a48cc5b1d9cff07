"""Measurements as text: pure functions, the same on any machine."""

from collections.abc import Sequence
from importlib import import_module
from typing import NamedTuple

from cmemrun.errors import BadInput
from cmemrun.model import Measurement

__all__ = ["FORMATS", "Format", "render", "require"]


class Format(NamedTuple):
    """What measurements can become beside the report in words."""

    module: str
    """Below this package, with ``render(measurements)``."""
    is_appended: bool = False
    """It is added to a file that others write to as well."""
    library: str | None = None
    """What it takes that is not installed with us, but with ``cmemrun[metrics]``."""


FORMATS = {
    "json": Format("measurements"),
    "csv": Format("series_csv"),
    "markdown": Format("markdown"),
    "junit": Format("junit"),
    "github": Format("github"),
    "github-summary": Format("markdown", is_appended=True),
    "github-output": Format("github_output", is_appended=True),
    "gitlab-metrics": Format("gitlab_metrics"),
    "openmetrics": Format("openmetrics", library="prometheus_client"),
    "benchmark-action": Format("benchmark_action"),
    "bencher": Format("bencher"),
}
"""By the name they are asked for."""


def require(name: str) -> None:
    """Raise ``BadInput`` where the library that makes the format of this name is missing."""
    library = FORMATS[name].library
    if library is None:
        return
    try:
        import_module(library)
    except ImportError as error:
        raise BadInput(
            f"{name} needs {library.replace('_', '-')}, which is not installed",
            hint="pip install prometheus-client, or pipx inject cmemrun prometheus-client",
        ) from error


def render(measurements: Sequence[Measurement], name: str) -> str:
    """Measurements in the format of this name; ``BadInput`` where it cannot hold them."""
    module = import_module(f"cmemrun.report.{FORMATS[name].module}")
    text: str = module.render(measurements)
    return text
