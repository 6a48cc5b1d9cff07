"""Several runs and comparisons, as tables and as documents."""

import json

import pytest

from cmemrun.analysis.budget import judge
from cmemrun.analysis.comparison import compare, judge_growth
from cmemrun.errors import BadInput
from cmemrun.model import Assertion, Exit, Measurement
from cmemrun.report import document, measurements
from cmemrun.report.summary import render, render_comparison
from tests.made_up import MIB, RUN, runs

BEFORE = Measurement("before", tuple(runs(100, 100.1, 100.3, 99.9)))
AFTER = Measurement("after\x1b[31m", (*runs(106, 106.2, 105.9, 190), RUN._replace(exit=Exit(3))))


def row(text: str, label: str) -> list[str]:
    """The cells of the first row with a label."""
    return next(line.split()[1:] for line in text.splitlines() if line.startswith(label))


def test_a_table_of_several_runs() -> None:
    text = render([BEFORE], colour=False)
    assert row(text, "peak")[:2] == ["100.0", "MiB"]
    assert "runs         4, peaks by the kernel's high-water mark" in text
    assert "./myapp --flag" in text and "before" in text
    assert "closer together than the kernel's counting can tell (512.0 KiB)" in text


def test_what_is_odd_is_said() -> None:
    judged = [
        one._replace(budgets=judge(one, [Assertion("peak", 150 * MIB)])) for one in AFTER.runs
    ]
    text = render([AFTER._replace(runs=tuple(judged))], colour=False)
    assert "\x1b" not in text and r"after\x1b[31m" in text
    assert "run 5: its status is 3" in text
    assert "peak: far from the others is run 4" in text
    assert "peak 190.0 MiB is over the allowed 150.0 MiB" in text


def test_a_comparison() -> None:
    text = render_comparison(BEFORE, AFTER, compare(BEFORE.runs, AFTER.runs), colour=False)
    cells = row(text, "peak")
    assert cells[-1] == "worse" and "+6.1" in cells
    assert row(text, "anon")[-1] == "same"
    single = compare(BEFORE.runs[:1], AFTER.runs[:1])
    text = render_comparison(BEFORE, AFTER, single, colour=False)
    assert row(text, "peak")[-1] == "unclear" and "too few runs" in text


def test_narrow_and_coloured() -> None:
    text = render([BEFORE, AFTER], colour=True, width=60)
    assert "\x1b[" in text and r"after\x1b[31m" in text


def test_one_run_is_a_document_of_its_own() -> None:
    only = measurements.of_run(RUN)
    assert measurements.render([only]) == document.render(RUN)
    (read,) = measurements.measurements_from(json.loads(measurements.render([only])))
    assert read.runs == (RUN._replace(oom_log=None),) and read.name == "./myapp --flag"


def test_several_runs_in_a_document() -> None:
    written = json.loads(measurements.render([BEFORE]))
    assert list(written) == ["schema", "command", "runs", "statistics", "budgets", "name"]
    peak = written["statistics"]["metrics"]["peak_bytes"]
    assert (peak["minimum"], peak["maximum"]) == (int(99.9 * MIB), int(100.3 * MIB))
    assert (peak["runs"], peak["is_beyond_resolution"]) == (4, False)
    (read,) = measurements.measurements_from(written)
    assert [run.peak_bytes for run in read.runs] == [run.peak_bytes for run in BEFORE.runs]


def test_growth_is_read_again() -> None:
    (growth,) = judge_growth(compare(BEFORE.runs, AFTER.runs), {"peak": 0.05})
    told = measurements.render([AFTER._replace(growth=(growth,))])
    (read,) = measurements.measurements_from(json.loads(told))
    assert read.growth == (growth,) and not growth.passed


def test_several_measurements_in_a_document() -> None:
    written = json.loads(measurements.render([BEFORE, AFTER]))
    assert [one["name"] for one in written["measurements"]] == ["before", "after\x1b[31m"]
    assert written["measurements"][1]["statistics"]["left_out"][0]["run"] == 4
    read = measurements.measurements_from(written)
    assert [(one.name, len(one.runs)) for one in read] == [("before", 4), ("after\x1b[31m", 5)]


@pytest.mark.parametrize(
    "read",
    [
        None, [], {}, 3, {"measurements": []}, {"measurements": [3]}, {"measurements": {}},
        {"statistics": {}}, {"statistics": {}, "runs": []}, {"statistics": {}, "runs": [{}]},
        {"runs": [], "cliff_bytes": 1},
        {"statistics": {}, "runs": [json.loads(document.render(RUN))], "budgets": [3]},
    ],
)  # fmt: skip
def test_what_is_no_measurement_is_refused(read: object) -> None:
    with pytest.raises(BadInput):
        measurements.measurements_from(read)
