"""Runs as text: pure functions, the same on any machine."""

from importlib import import_module

from cmemrun.model import Run

__all__ = ["FORMATS", "render"]

FORMATS = {
    "json": "document",
    "csv": "series_csv",
}
"""What a saved run can become beside the report in words: each a module with ``render``."""


def render(run: Run, name: str) -> str:
    """A run in the format of this name."""
    text: str = import_module(f"cmemrun.report.{FORMATS[name]}").render(run)
    return text
