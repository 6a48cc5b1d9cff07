"""What is kept over time, by schemas written from the documentation of who keeps it."""

import json
from typing import Any

import fastjsonschema
from hypothesis import example, given

from cmemrun.model import Measurement, Oom
from cmemrun.report import bencher, benchmark_action
from cmemrun.report.findings import find
from tests.made_up import MIB, RUN, runs
from tests.report.hostile import EVERYTHING, measurements

# https://bencher.dev/docs/reference/bencher-metric-format: benchmarks (names of up to 1024
# characters), their measures (64), and of each up to three numbers.
_METRIC = {
    "type": "object",
    "properties": {name: {"type": "number"} for name in ("value", "lower_value", "upper_value")},
    "required": ["value"],
    "additionalProperties": False,
}
_BENCHMARK = {
    "type": "object",
    "propertyNames": {"minLength": 1, "maxLength": 64},
    "additionalProperties": _METRIC,
    "minProperties": 1,
}
BENCHER = fastjsonschema.compile(
    {
        "$schema": "http://json-schema.org/draft-07/schema",
        "type": "object",
        "propertyNames": {"minLength": 1, "maxLength": 1024},
        "additionalProperties": _BENCHMARK,
    }
)
# https://github.com/benchmark-action/github-action-benchmark#examples: "custom benchmarks".
BENCHMARK_ACTION = fastjsonschema.compile(
    {
        "$schema": "http://json-schema.org/draft-07/schema",
        "type": "array",
        "items": {
            "type": "object",
            "properties": {
                "name": {"type": "string", "minLength": 1},
                "unit": {"type": "string", "minLength": 1},
                "value": {"type": "number"},
                "range": {"type": "string"},
                "extra": {"type": "string"},
            },
            "required": ["name", "unit", "value"],
            "additionalProperties": False,
        },
    }
)
SEVERAL = Measurement("a", tuple(runs(100, 104, 101)))
KILLED = Measurement("killed", (RUN._replace(oom=Oom("main-killed")),))


def told(text: str) -> Any:
    return BENCHMARK_ACTION(json.loads(text))


def test_bencher() -> None:
    found = BENCHER(json.loads(bencher.render([SEVERAL, Measurement("b", (RUN,)), KILLED])))
    assert list(found) == ["a", "b"]
    assert found["a"]["peak_bytes"] == {
        "value": 101 * MIB, "lower_value": 100 * MIB, "upper_value": 104 * MIB,
    }  # fmt: skip
    assert found["b"]["wall_seconds"] == {"value": 2.5}
    assert "peak_swap_bytes" not in found["b"]


def test_benchmark_action() -> None:
    found = told(benchmark_action.render([SEVERAL, Measurement("b", (RUN,)), KILLED]))
    entries = {entry["name"]: entry for entry in found}
    assert len(entries) == len(found) and not [name for name in entries if "killed" in name]
    assert entries["a - peak_bytes"] == {
        "name": "a - peak_bytes",
        "unit": "bytes",
        "value": 101 * MIB,
        "range": "100.0 MiB to 104.0 MiB",
        "extra": "median of 3 runs\nthe kernel's high-water mark, at most 512.0 KiB too high",
    }
    assert entries["b - wall_seconds"] == {
        "name": "b - wall_seconds", "unit": "seconds", "value": 2.5,
    }  # fmt: skip


@given(measurements)
@example(EVERYTHING)
def test_hostile_words_stay_words(many: list[Measurement]) -> None:
    names = [one.name for one in find(many) if one.figures]
    assert list(BENCHER(json.loads(bencher.render(many)))) == names
    found = told(benchmark_action.render(many))
    assert [entry["name"] for entry in found if entry["name"].endswith(" - peak_bytes")] == [
        f"{name} - peak_bytes" for name in names
    ]
