"""The pytest plugin: what the commands that a test starts may use.

The fixture ``cmemrun`` measures, the marker ``memory_budget`` judges, and
``--memory-report`` tells. Everything but pytest is loaded when a test needs it.
"""

import re
import threading
from collections.abc import Generator, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Protocol, TypedDict, Unpack, cast

import pytest

if TYPE_CHECKING:
    from cmemrun.api import Options, Run
    from cmemrun.api.measuring import Command
    from cmemrun.model import Budget

__all__ = ["BudgetNotProven", "Measure"]

_MARKER = (
    "memory_budget(peak, *assertions): what each command may use that the test starts through"
    " the fixture cmemrun, for example memory_budget('64Mi', 'oom_kill=0')"
)
_TAIL_CHARACTERS = 2000
_TABLE_CHARACTERS = 60


class BudgetNotProven(pytest.PytestWarning):
    """A command is within its budget as far as was seen, and may have been over it unseen."""


class Measure(Protocol):
    """The fixture ``cmemrun``, for annotations."""

    def __call__(
        self, command: "Command", *, check: bool = True, **options: "Unpack[Options]"
    ) -> "Run":
        """As ``cmemrun.measure``, with the budgets of the test; what it writes is captured.

        The test fails where the command does, unless ``check=False``.
        """
        ...


class _Line(TypedDict):
    """A line of the table: what can be sent from a worker of xdist."""

    command: str
    peak_bytes: int
    lower_bound: bool
    budgets: list[tuple[str, str]]


@dataclass
class _Measured:
    """What a test has measured, with its budgets."""

    assertions: Sequence[str]
    is_asked: bool
    """The test itself has a budget, so there must be something to judge."""
    runs: "list[Run]" = field(default_factory=lambda: [])
    reported: int = 0
    """How many of the runs have gone with a report."""


_MEASURED = pytest.StashKey[_Measured]()


def pytest_addoption(parser: pytest.Parser) -> None:
    group = parser.getgroup("cmemrun", "memory of the commands that tests start")
    group.addoption(
        "--memory-budget",
        metavar="SIZE",
        help="Peak that each measured command may have, where its test has no memory_budget.",
    )
    group.addoption(
        "--memory-report",
        action="store_true",
        help="Print what was measured at the end, and have it in the JUnit XML.",
    )


def pytest_configure(config: pytest.Config) -> None:
    config.addinivalue_line("markers", _MARKER)
    size = config.getoption("memory_budget")
    if size is not None:
        from cmemrun.errors import BadInput

        try:
            _peak(size)
        except BadInput as error:
            raise pytest.UsageError(f"--memory-budget: {error.message}; {error.hint}") from error
    if config.getoption("memory_report"):
        config.pluginmanager.register(_Report(), "cmemrun-report")


@pytest.fixture
def cmemrun(request: pytest.FixtureRequest) -> Measure:
    """Measure a command; see ``Measure``. The test fails where one is over its budget."""
    from cmemrun.api import measure

    measured = _Measured(*_assertions(request.node))
    request.node.stash[_MEASURED] = measured
    lock = threading.Lock()

    def run(command: "Command", *, check: bool = True, **options: "Unpack[Options]") -> "Run":
        if not {"stdout", "stderr", "capture_output"} & options.keys():
            options["capture_output"] = True
        own = options.get("assertions", ())
        if not isinstance(own, str):  # which ``measure`` refuses
            options["assertions"] = [*measured.assertions, *own]
        found = measure(command, **options)
        with lock:
            measured.runs.append(found)
        if check and not found.exit.succeeded:
            pytest.fail(_failure(found))
        return found

    return run


@pytest.hookimpl(wrapper=True)
def pytest_runtest_call(item: pytest.Item) -> Generator[None, object, object]:
    """After the body, as a part of it: a broken budget is a failure, and no error."""
    result = yield
    measured = item.stash.get(_MEASURED, None)
    if measured is not None:
        if measured.is_asked and not measured.runs:
            pytest.fail("memory_budget: the test has measured no command", False)
        _judge(item, measured.runs)
    elif any(mark.name == "memory_budget" for mark in item.own_markers):
        pytest.fail("memory_budget: the test measures nothing; use the fixture cmemrun", False)
    return result


@pytest.hookimpl(wrapper=True)
def pytest_runtest_teardown(item: pytest.Item) -> Generator[None, object, object]:
    """What fixtures measure after the body is judged as well: an error, as all in a teardown."""
    measured = item.stash.get(_MEASURED, None)
    judged = len(measured.runs) if measured is not None else 0
    result = yield
    if measured is not None:
        _judge(item, measured.runs[judged:])
    return result


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(
    item: pytest.Item,
) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """Have what a phase measured go with its report, from a worker of xdist, too."""
    report = yield
    measured = item.stash.get(_MEASURED, None)
    if measured is not None and item.config.getoption("memory_report"):
        new = measured.runs[measured.reported :]
        cast(Any, report).cmemrun = [_line(run) for run in new]
        for number, run in enumerate(new, start=measured.reported + 1):
            item.user_properties += _properties(f"cmemrun.{number}", run)
        measured.reported += len(new)
        # The JUnit XML has those of the teardown's report, which were copied before.
        report.user_properties = list(item.user_properties)
    return report


class _Report:
    """The table at the end: gathers from every report, whoever made it."""

    def __init__(self) -> None:
        self._found: list[tuple[str, _Line]] = []

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        lines: list[_Line] = getattr(report, "cmemrun", [])
        self._found += [(report.nodeid, line) for line in lines]

    # Quoted: pytest has the name since 8.4.
    def pytest_terminal_summary(self, terminalreporter: "pytest.TerminalReporter") -> None:
        from cmemrun.units import format_size

        terminalreporter.section("memory of commands")
        if not self._found:
            terminalreporter.line("no test has measured any")
        for nodeid, line in sorted(self._found, key=lambda found: -found[1]["peak_bytes"]):
            bound = "≥ " if line["lower_bound"] else ""
            peak = f"{bound}{format_size(line['peak_bytes'])}".rjust(12)
            terminalreporter.line(f"{peak}  {nodeid}  {line['command']}")
            for state, told in line["budgets"]:
                terminalreporter.line(f"{state.rjust(12)}  {told}", red=state == "over")


def _peak(size: object) -> str:
    """The assertion that a budget's size is; ``BadInput``."""
    from cmemrun.errors import BadInput
    from cmemrun.units import parse_size

    size_bytes = size if isinstance(size, int) else parse_size(str(size))
    if size_bytes < 1:
        raise BadInput(f"{size!r} leaves nothing", hint="write 64Mi for example")
    return f"peak<={size_bytes}"


def _assertions(node: pytest.Item) -> tuple[list[str], bool]:
    """The budgets of a test, and whether they are its own."""
    from cmemrun.analysis.budget import parse_assertion
    from cmemrun.errors import BadInput

    mark = node.get_closest_marker("memory_budget")
    if mark is None:
        default = node.config.getoption("memory_budget")
        return [] if default is None else [_peak(default)], False
    if mark.kwargs or not mark.args:
        raise pytest.UsageError(f"memory_budget takes sizes and assertions in order: {_MARKER}")
    try:
        found = [
            _peak(one) if isinstance(one, int) or re.fullmatch(r"[^<=]*", one) else str(one)
            for one in mark.args
        ]
        for text in found:
            parse_assertion(text)
    except BadInput as error:
        raise pytest.UsageError(f"memory_budget: {error.message}; {error.hint}") from error
    return found, any(own.name == "memory_budget" for own in node.own_markers)


def _judge(item: pytest.Item, runs: "Sequence[Run]") -> None:
    broken: list[str] = []
    for run in runs:
        for budget in run.budgets:
            told = f"{_command(run)}: {_words(budget)}"
            if not budget.passed:
                broken.append(told)
            elif not budget.proven:
                item.warn(BudgetNotProven(told))
    if broken:
        pytest.fail("over the memory budget\n" + "\n".join(broken), pytrace=False)


def _line(run: "Run") -> _Line:
    return {
        "command": _command(run, _TABLE_CHARACTERS),
        "peak_bytes": run.peak_bytes,
        "lower_bound": run.method.lower_bound,
        "budgets": [
            ("within" if budget.passed else "over", _words(budget)) for budget in run.budgets
        ],
    }


def _properties(prefix: str, run: "Run") -> list[tuple[str, object]]:
    found: list[tuple[str, object]] = [
        (f"{prefix}.command", _command(run)),
        (f"{prefix}.peak_bytes", run.peak_bytes),
        (f"{prefix}.lower_bound", str(run.method.lower_bound).lower()),
    ]
    found += [(f"{prefix}.budget.{budget.metric}", _words(budget)) for budget in run.budgets]
    return found


def _words(budget: "Budget") -> str:
    from cmemrun.report.words import budget as words_of

    told = words_of(budget)
    return f"{told} (exact)" if budget.certainty == "exact" else told


def _command(run: "Run", width: int = 200) -> str:
    from cmemrun.report.text import command_line

    return command_line(run.command, width)


def _failure(run: "Run") -> str:
    from cmemrun.report.words import end, kills

    told = f"{_command(run)}: {end(run) or 'its end was not seen'}; {kills(run)}"
    output = "".join((run.stdout or "", run.stderr or ""))[-_TAIL_CHARACTERS:]
    return f"{told}\n{output}".rstrip()
