"""``cmemrun check``: all commands of a file, against the budgets it has for them."""

from collections.abc import Sequence

from cmemrun.commands.budget_file import Named, read_budgets
from cmemrun.commands.console import log_everything
from cmemrun.commands.options.check import CheckOptions
from cmemrun.commands.profiles import profile_of
from cmemrun.commands.publication import open_publication
from cmemrun.commands.repeats import (
    Ended,
    Repeated,
    conclude,
    ended_by_exception,
    measure_repeatedly,
)
from cmemrun.errors import BadInput, CmemrunError
from cmemrun.model import Measurement

__all__ = ["check"]


def check(names: list[str], options: CheckOptions) -> int:
    """Run the commands of a budget file, and judge each by its budgets.

    All of them, or those named. A file has [commands.NAME] with a command and the
    options of cmemrun run by their long names; in pyproject.toml it is
    [tool.cmemrun.commands.NAME]. The exit status is that of the first
    command that failed, else 123 for a broken budget.

    \b
    Examples:
      cmemrun check
      cmemrun check import --budget ci/budgets.toml
      cmemrun check --export junit=memory.xml --json memory.json
    """
    if options.debug:
        log_everything()
    chosen = _chosen(read_budgets(options.budget), names)
    with open_publication(options) as publication:
        return conclude(_measured(chosen, options), publication, report_only=options.report_only)


def _chosen(named: Sequence[Named], names: Sequence[str]) -> list[Named]:
    unknown = set(names) - {one.name for one in named}
    if unknown:
        raise BadInput(
            f"there is no command {', '.join(sorted(unknown))}",
            hint="there are " + ", ".join(one.name for one in named),
        )
    return [one for one in named if not names or one.name in names]


def _measured(chosen: Sequence[Named], options: CheckOptions) -> Repeated:
    """All of them, as far as nothing of ours fails and nobody wants an end."""
    done: list[Measurement] = []
    try:
        with ended_by_exception():
            for one in chosen:
                run = one.options._replace(quiet=options.quiet)
                part = measure_repeatedly({one.name: one.command}, run, profile_of(run))
                done += part.measurements
                if part.is_cut_short:
                    return part._replace(measurements=tuple(done))
    except CmemrunError as failure:
        return Repeated(tuple(done), failure)
    except Ended as ended:
        return Repeated(
            tuple(done), was_interrupted=True, was_interrupted_by_terminal=ended.by_terminal
        )
    return Repeated(tuple(done))
