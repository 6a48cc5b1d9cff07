"""What is kept over time, by schemas written from the documentation of who keeps it."""

from cmemrun.model import Measurement, Oom
from cmemrun.report import bencher, benchmark_action
from tests.made_up import MIB, RUN, runs
from tests.report.readers import of_bencher, of_benchmark_action

SEVERAL = Measurement("a", tuple(runs(100, 104, 101)))
KILLED = Measurement("killed", (RUN._replace(oom=Oom("main-killed")),))


def test_bencher() -> None:
    found = of_bencher(bencher.render([SEVERAL, Measurement("b", (RUN,)), KILLED]))
    assert list(found) == ["a", "b"]
    assert found["a"]["peak_bytes"] == {
        "value": 101 * MIB, "lower_value": 100 * MIB, "upper_value": 104 * MIB,
    }  # fmt: skip
    assert found["b"]["wall_seconds"] == {"value": 2.5}
    assert "peak_swap_bytes" not in found["b"]


def test_benchmark_action() -> None:
    found = of_benchmark_action(
        benchmark_action.render([SEVERAL, Measurement("b", (RUN,)), KILLED])
    )
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
