"""What the suite took and what was wrong, for the end of a long log."""

from collections import Counter
from collections.abc import Sequence

from rich.console import Console
from rich.table import Table

from scripts.suite.steps import Ended

__all__ = ["never_offered", "show"]

_WIDTH = 110
_SLOWEST = 5


def never_offered(ended: Sequence[Ended]) -> list[str]:
    """Which tests ran nowhere, as no place had what they need; a line each."""
    ran = {test.node for each in ended for test in each.tests}
    lacking = {node: names for each in ended for node, names in each.left_out.items()}
    return [
        f"{node} ran nowhere: it needs {', '.join(names)}"
        for node, names in sorted(lacking.items())
        if node not in ran
    ]


def show(ended: Sequence[Ended], wall_seconds: float) -> None:
    """Print a row a step and their sum; and for each step with tests its slowest."""
    table = Table(box=None, pad_edge=False)
    table.add_column("step")
    for name in ("wall s", "CPU s", "tests", "failed"):
        table.add_column(name, justify="right")
    for each in ended:
        count = Counter(test.outcome for test in each.tests)
        table.add_row(
            each.step.name,
            f"{each.wall_seconds:.0f}",
            "?" if each.cpu_seconds is None else f"{each.cpu_seconds:.0f}",
            str(len(each.tests) or ""),
            str(count["failed"] or ("red" if each.why_red else "")),
        )
    known = [each.cpu_seconds for each in ended if each.cpu_seconds is not None]
    tests = sum(len(each.tests) for each in ended)
    table.add_row("all", f"{wall_seconds:.0f}", f"{sum(known):.0f}", str(tests), "")
    Console(width=_WIDTH, highlight=False).print(table)
    print("\nslowest tests, in seconds")
    for each in ended:
        for number, line in enumerate(_slowest(each)):
            print(f"{'' if number else each.step.name:20} {line}")


def _slowest(ended: Ended) -> list[str]:
    by_time = sorted(ended.tests, key=lambda test: test.seconds, reverse=True)
    return [
        f"{test.seconds:4.0f} {test.node.removeprefix('tests/')}"
        for test in by_time[:_SLOWEST]
        if test.seconds >= 1
    ]
