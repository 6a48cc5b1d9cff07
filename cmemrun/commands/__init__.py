"""The command line. Only here anything is printed, and only here the process ends.

Only the very first argument can be a verb; anything else, ``--`` and options
included, means ``run``, so a program called ``report`` is ``cmemrun -- report``.
"""

import os
import sys
import traceback
from collections.abc import Sequence
from typing import Any

import typer
from typer.core import TyperGroup
from typer.exceptions import TyperException

from cmemrun.commands.console import reserve_standard_streams, say
from cmemrun.commands.run import run
from cmemrun.errors import CmemrunError

__all__ = ["main"]

# These belong to the shell, not to a program that is run.
_OF_THE_GROUP = frozenset({"--install-completion", "--show-completion"})


class _RunByDefault(TyperGroup):
    """A group of verbs in which everything that is no verb is a command to run."""

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        if not args or (args[0] not in self.commands and args[0] not in _OF_THE_GROUP):
            args = ["run", *args]
        return super().parse_args(ctx, args)


app = typer.Typer(
    name="cmemrun",
    cls=_RunByDefault,
    pretty_exceptions_enable=False,
    help="Run a program in a memory cgroup of its own and report what it really used.",
)
app.command(
    "run",
    # What follows the program's name is the program's.
    context_settings={"allow_interspersed_args": False, "help_option_names": ["-h", "--help"]},
)(run)


@app.callback()
def _verbs() -> None:
    """Keep typer from taking the only verb for the whole program."""


def main(arguments: Sequence[str]) -> int:
    """Carry out a command line and return the exit status."""
    reserve_standard_streams()
    try:
        status = app(args=list(arguments), prog_name="cmemrun", standalone_mode=False)
        _flush()
    except CmemrunError as error:
        say(error.message, hint=error.hint)
        return error.exit_status
    except TyperException as error:
        say(_in_one_line(error), hint=_program_of_that_name(arguments))
        return CmemrunError.exit_status
    except (KeyboardInterrupt, typer.Abort):
        return 130
    except OSError as error:
        what = f"{error.filename}: {error.strerror}" if error.filename else error.strerror
        say(f"the system refused: {what}", hint="cmemrun --debug tells what was tried")
        return CmemrunError.exit_status
    except Exception as error:
        # Never Python's own status 1, which would be taken for the program's.
        say(f"a defect in cmemrun: {error!r}", hint="please report it with what --debug tells")
        if "--debug" in arguments:
            traceback.print_exc()
        return CmemrunError.exit_status
    return status if isinstance(status, int) else 0


def _in_one_line(error: TyperException) -> str:
    """Typer's words for bad input, with the option's name first."""
    option = getattr(error, "param", None)
    if option is not None and error.message:
        name = option.opts[0] if option.opts and option.opts[0].startswith("-") else None
        message = error.message.rstrip(".")
        return f"{name}: {message}" if name else message
    text = error.format_message().rstrip(".")
    return text[:1].lower() + text[1:]


def _program_of_that_name(arguments: Sequence[str]) -> str:
    """How to run the program, where somebody may have meant one by the name of a verb."""
    import shutil

    if arguments and not arguments[0].startswith("-") and shutil.which(arguments[0]):
        return f"to run the program {arguments[0]!r}: cmemrun -- {arguments[0]}"
    return "see cmemrun --help"


def _flush() -> None:
    """Write out what help or completion printed; a reader who has gone is no failure."""
    try:
        if sys.stdout is not None:  # it was closed when we started
            sys.stdout.flush()
    except OSError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
