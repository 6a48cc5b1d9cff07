"""JUnit XML as junitparser reads it, and by the schema of Jenkins' xUnit plugin.

``junit-10.xsd`` is that plugin's, as pytest's source has it; scripts/venv fetches it.
"""

from junitparser import Error, Failure, TestSuite

from cmemrun.model import Budget, Exit, Measurement
from cmemrun.report import junit, words
from tests.made_up import MIB, RUN, runs
from tests.report.readers import junit_suites

OVER = Budget("peak", 64 * MIB, 101 * MIB, "exact")
WITHIN = Budget("wall", 5.0, 2.5, "exact")


def read(many: list[Measurement]) -> list[TestSuite]:
    return junit_suites(junit.render(many))


def test_a_case_for_each_budget_and_one_for_the_program() -> None:
    (suite,) = read([Measurement("./myapp", (RUN._replace(budgets=(OVER, WITHIN)),))])
    assert (suite.name, suite.timestamp, suite.time) == ("./myapp", "2026-01-02T03:04:05", 2.5)
    command, over, within = suite
    assert [case.classname for case in suite] == ["./myapp"] * 3
    assert (command.name, command.time, command.result) == ("command", 2.5, [])
    assert (over.name, within.name) == ("peak <= 64.0 MiB", "wall <= 5.00 s")
    (failure,) = over.result
    assert isinstance(failure, Failure) and failure.message == words.budget(OVER)
    assert "101.0 MiB   the kernel's high-water mark" in failure.text
    assert within.result == []
    told = {one.name: one.value for one in suite.properties()}
    assert (told["peak_bytes"], told["runs"]) == (str(101 * MIB), "1")
    assert not [name for name in told if "lowest" in name]


def test_a_program_that_failed() -> None:
    (suite,) = read([Measurement("x", (RUN, RUN._replace(exit=Exit(3)), RUN))])
    (case,) = suite
    (error,) = case.result
    assert isinstance(error, Error) and error.message == "run 2 of 3: exit 3"
    assert "exit 3 after 2.50 s" in error.text
    assert (suite.tests, suite.failures, suite.errors) == (1, 0, 1)
    assert "in no typical value" in suite._elem.findtext("system-out")


def test_without_budgets_there_is_the_program() -> None:
    unseen = RUN._replace(exit=Exit(), command=())
    first, second = read([Measurement("a", (RUN,)), Measurement("b", (unseen,))])
    assert [[case.name for case in suite] for suite in (first, second)] == [["command"]] * 2
    assert (first.errors, second.errors) == (0, 0)


def test_several_runs() -> None:
    (suite,) = read([Measurement("x", tuple(runs(100, 120, 130)))])
    told = {one.name: one.value for one in suite.properties()}
    assert [told[f"{name}peak_bytes"] for name in ("lowest_", "", "highest_")] == [
        str(size * MIB) for size in (100, 120, 130)
    ]


def test_the_run_that_decided_is_shown() -> None:
    worse = OVER._replace(measured=200 * MIB)
    bad = RUN._replace(budgets=(worse,), peak_bytes=200 * MIB)
    (suite,) = read([Measurement("x", (RUN._replace(budgets=(OVER,)), bad))])
    (failure,) = list(suite)[1].result
    assert "200.0 MiB   the kernel's" in failure.text
