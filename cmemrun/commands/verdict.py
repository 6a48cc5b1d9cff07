"""What is said of budgets, and the status that follows from them."""

from collections.abc import Iterable

from cmemrun.commands.console import say
from cmemrun.model import Budget

__all__ = ["BUDGET_BROKEN", "say_budgets"]

BUDGET_BROKEN = 123


def say_budgets(budgets: Iterable[Budget], *, name: str | None = None) -> int:
    """Say which are broken, or kept by a lower bound alone; the status, 0 where none is broken.

    ``name`` is whose they are, where there are several.
    """
    from cmemrun.report import words

    status = 0
    for budget in budgets:
        if not budget.passed:
            status = BUDGET_BROKEN
        elif budget.certainty != "lower-bound" or budget.proven:
            continue
        say(f"{name}: {words.budget(budget)}" if name else words.budget(budget))
    return status
