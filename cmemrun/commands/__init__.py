"""The command line. Only here anything is printed, and only here the process ends.

Only the very first argument can be a verb; anything else, ``--`` and options
included, means ``run``, so a program called ``report`` is ``cmemrun -- report``.
"""

import errno
import os
import sys
from collections.abc import Sequence

from cmemrun.commands.arguments import read_plainly
from cmemrun.commands.console import reserve_standard_streams, say
from cmemrun.commands.options.run import RunOptions
from cmemrun.commands.run import run
from cmemrun.errors import CmemrunError, ProgramNotFound
from cmemrun.signals import end_where_interrupted

__all__ = ["VERBS", "main"]

VERBS = ("run", "attach", "check", "compare", "doctor", "fit", "plot", "recommend", "report")
"""Each a function in the module of its name."""


def main(arguments: Sequence[str]) -> int:
    """Carry out a command line and return the exit status."""
    reserve_standard_streams()
    try:
        status = _carry_out(arguments)
        _flush()
        end_where_interrupted()
    except CmemrunError as error:
        say(error.message, hint=_verb_meant(error, arguments) or error.hint or error.usual_hint)
        return error.exit_status
    except KeyboardInterrupt:
        return 130
    except OSError as error:
        what = f"{error.filename}: {error.strerror}" if error.filename else error.strerror
        hint = "raise the limit: ulimit -n" if error.errno == errno.EMFILE else None
        say(f"the system refused: {what}", hint=hint or "cmemrun --debug tells what was tried")
        return CmemrunError.exit_status
    except ImportError as error:
        # Much is loaded when it is needed, and by then there may be no memory for it.
        say(f"a part of cmemrun cannot be loaded: {error}", hint="try again, or install it anew")
        return CmemrunError.exit_status
    except Exception as error:
        # Never Python's own status 1, which would be taken for the program's.
        say(f"a defect in cmemrun: {error!r}", hint="please report it with what --debug tells")
        if "--debug" in arguments:
            import traceback

            traceback.print_exc()
        return CmemrunError.exit_status
    return status


def _carry_out(arguments: Sequence[str]) -> int:
    verb = arguments[0] if arguments and arguments[0] in VERBS else None
    if verb in (None, "run"):
        plain = read_plainly(RunOptions.__annotations__, arguments[1 if verb else 0 :])
        if plain is not None:
            *options, command = plain
            return run(command, RunOptions(*options))
    from cmemrun.commands.application import carry_out

    return carry_out(arguments)


def _verb_meant(error: CmemrunError, arguments: Sequence[str]) -> str | None:
    """The verb somebody may have misspelt, where there is no program of that name."""
    if not isinstance(error, ProgramNotFound) or arguments[0] in (*VERBS, "--"):
        return None
    if arguments[0].startswith("-"):
        return None
    from difflib import get_close_matches

    close = get_close_matches(arguments[0], VERBS, n=1)
    return f"did you mean cmemrun {close[0]}?" if close else None


def _flush() -> None:
    """Write out what help or completion printed; a reader who has gone is no failure."""
    try:
        if sys.stdout is not None:  # it was closed when we started
            sys.stdout.flush()
    except OSError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
