"""What is said of a measurement in every format."""

from cmemrun.model import Budget, Exit, Measurement, Oom
from cmemrun.report.findings import decimal, find
from tests.made_up import MIB, RUN, runs


def test_what_can_be_read_stays_as_it_is() -> None:
    a, b = Measurement("a 'b' |`", (RUN,)), Measurement("a (2)", (RUN,))
    assert [one.name for one in find([a, b])] == [a.name, b.name]
    again = [Measurement("a", (RUN,)), b, Measurement("a", (RUN,))]
    assert [one.name for one in find(again)] == ["a", "a (2)", "a (3)"]
    assert find([Measurement("", (RUN,))])[0].name == RUN.method.group


def test_the_typical_and_the_highest() -> None:
    (one,) = find([Measurement("x", tuple(runs(100, 101, 110)))])
    assert one.tell("peak") == "101.0 MiB, up to 110.0 MiB"
    assert (one.tell("wall"), one.tell("swap")) == ("2.50 s", "n/a")
    (one,) = find([Measurement("x", tuple(runs(100)))])
    assert one.tell("peak") == "100.0 MiB" and one.passed and not one.remarks
    (one,) = find([Measurement("x", tuple(runs(100, 200)))])
    assert decimal(one.figures["peak_bytes"].median) == 150 * MIB
    assert repr(decimal(2.0)) == "2" and decimal(2.5) == 2.5


def test_what_was_thrown_off_is_in_no_typical_value() -> None:
    killed = RUN._replace(exit=Exit(signal=9), oom=Oom("main-killed", "own"))
    (one,) = find([Measurement("x", (killed,))])
    assert one.figures == {} and one.tell("peak") == "up to 101.0 MiB"
    (failure,) = one.failures
    assert failure == (
        "ended by SIGKILL (status 137), the OOM killer ended the program, at the group's own limit"
    )
    assert one.remarks == ("in no typical value, as the OOM killer struck",)
    (one,) = find([Measurement("x", (RUN, killed))])
    assert one.failures == (f"run 2 of 2: {failure}",) and len(one.remarks) == 1


def test_a_child_killed_while_all_went_well_is_told() -> None:
    run = RUN._replace(oom=Oom("child-killed"))
    (one,) = find([Measurement("x", (RUN, RUN, run))])
    assert one.passed and not one.failures
    assert one.remarks[0].startswith("run 3 of 3: the OOM killer ended a child")


def test_the_worst_run_decides() -> None:
    good, bad = (RUN._replace(budgets=(Budget("peak", 5, size, "exact"),)) for size in (4, 6))
    (one,) = find([Measurement("x", (good, bad, good))])
    assert not one.passed and [budget.measured for budget in one.budgets] == [6]
    grown = Measurement("x", (good,), growth=(Budget("anon", 1, 2, "exact"),))
    assert not find([grown])[0].passed


def test_a_lower_bound_is_called_one() -> None:
    method = RUN.method._replace(lower_bound=True, peak_source="sampled")
    (one,) = find([Measurement("x", (RUN._replace(method=method),))])
    assert "a lower bound" in one.remarks[0]
