"""Node and the JVM under limits: what is said of their heaps is what they take."""

import re
from typing import Any

import pytest

from tests.conftest import Cmemrun, hierarchy_of_memory
from tests.runtimes import real
from tests.runtimes.real import MIB

pytestmark = pytest.mark.slow


def said(result: Any) -> float:
    """The size of the heap that a report names."""
    found = re.search(r"heap of at most ([0-9.]+) MiB", result["runtime"]["does"])
    assert found, result["runtime"]
    return float(found[1])


@pytest.fixture
def node(cmemrun: Cmemrun) -> Any:
    def run(*options: str) -> tuple[float, Any]:
        result = cmemrun(*options, "--", real.node(), "-e", real.HEAP_OF_NODE)
        assert result.status == 0, result.stderr
        return round(int(result.stdout) / MIB, 1), result

    return run


def test_node(node: Any) -> None:
    for limit in ("256Mi", "600Mi", "900Mi"):
        heap, result = node("--limit", limit)
        assert heap == said(result)
    heap, result = node("--limit", "256Mi")
    assert heap > 256 and "killed before" in result["runtime"]["does"]
    heap, result = node("--limit", "256Mi", "--runtime-env")
    assert heap == said(result) <= 200
    assert result["runtime"]["environment"] == {"NODE_OPTIONS": "--max-old-space-size=192"}


def test_node_goes_by_the_soft_limit(node: Any) -> None:
    soft = "--high" if hierarchy_of_memory()[0].version == 2 else "--low"
    heap, result = node("--limit", "900Mi", soft, "600Mi")
    assert heap == said(result) == node("--limit", "600Mi")[0]


def test_a_jvm(cmemrun: Cmemrun) -> None:
    ask = ["-XX:+PrintFlagsFinal", "-version"]

    def heap(*options: str) -> tuple[float, Any]:
        result = cmemrun(*options, "--", real.java(), *ask)
        found = re.search(r" MaxHeapSize +=  *([0-9]+)", result.stdout)
        assert found and result.status == 0, result.stderr
        return int(found[1]) / MIB, result

    for limit, least, share in (("128Mi", 64, 96), ("300Mi", 124, 226), ("400Mi", 124, 300)):
        taken, result = heap("--limit", limit)
        assert taken == said(result) >= least
        taken, result = heap("--limit", limit, "--runtime-env")
        assert taken == said(result) == share
        assert "Picked up JAVA_TOOL_OPTIONS" in result.stderr
    told = cmemrun("--limit", "400Mi", "--runtime-env", "--", real.java(), "-Xmx77m", *ask)
    assert "-Xmx77m (command line)" in told["runtime"]["does"]
    assert told["runtime"]["environment"] == {} and "Picked up" not in told.stderr
