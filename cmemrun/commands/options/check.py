"""What ``check`` takes."""

from typing import Annotated, NamedTuple

from cmemrun.commands.arguments import Option
from cmemrun.commands.options.repeats import Exports
from cmemrun.commands.options.shared import Debug, JsonFile, Quiet, ReportFile
from cmemrun.identity import User

__all__ = ["CheckOptions"]


class CheckOptions(NamedTuple):
    """What ``check`` was asked for, and on the command line the only declaration of it."""

    budget: Annotated[
        str | None,
        Option(
            ("--budget",),
            "The file with the commands.  [default: budgets.toml, else pyproject.toml]",
            "Budgets",
            metavar="FILE",
        ),
    ]
    report_only: Annotated[
        bool,
        Option(
            ("--report-only",),
            "Say of a broken budget that it is, and keep the status of the programs.",
            "Budgets",
            default=False,
        ),
    ]
    output: ReportFile
    json: JsonFile
    exports: Exports
    quiet: Quiet
    debug: Debug

    @property
    def record(self) -> None:
        """There is one of each run only."""
        return

    @property
    def live(self) -> bool:
        """Likewise."""
        return False

    @property
    def user(self) -> User | None:
        """Outputs are the caller's."""
        return None
