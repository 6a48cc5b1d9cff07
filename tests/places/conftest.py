"""Tests for a machine with systemd, run in its guests by ``scripts/systemd test``."""

import os

import pytest

PLACE = os.environ.get("CMEMRUN_TEST_PLACE")

# Elsewhere there is no such place to be in.
collect_ignore_glob = [] if PLACE else ["test_*.py"]


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Leave out what is about another place than the one we are in."""
    elsewhere = [
        item for item in items for mark in item.iter_markers("places") if PLACE not in mark.args
    ]
    config.hook.pytest_deselected(items=elsewhere)
    items[:] = [item for item in items if item not in elsewhere]
