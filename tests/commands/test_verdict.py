"""Which budgets are spoken of, and the status that follows."""

import pytest

from cmemrun.commands.verdict import say_budgets
from cmemrun.model import Budget


@pytest.mark.parametrize(
    ("measured", "certainty", "proven", "status", "said"),
    [
        (5, "exact", True, 0, ""),
        (5, "sampled", False, 0, ""),
        (5, "lower-bound", True, 0, ""),
        (5, "lower-bound", False, 0, "within the allowed"),
        (11, "exact", False, 123, "over the allowed"),
        (11, "lower-bound", False, 123, "over the allowed"),
        (None, "exact", False, 123, "not measured"),
    ],
)
def test_broken_budget_gives_123_and_an_unproven_one_is_said(
    capfd: pytest.CaptureFixture[str],
    measured: int | None,
    certainty: str,
    proven: bool,
    status: int,
    said: str,
) -> None:
    budget = Budget("oom_kill", 10, measured, certainty, proven)
    assert say_budgets([budget], name="test") == status
    written = capfd.readouterr().err
    assert said in written and bool(written) is bool(said)
    assert not written or written.startswith("cmemrun: test: oom_kill ")


def test_one_broken_budget_of_several_gives_123() -> None:
    kept, broken = Budget("oom_kill", 1, 1, "exact"), Budget("oom_kill", 1, 2, "exact")
    assert say_budgets([broken, kept]) == 123
    assert say_budgets([]) == 0
