"""The command line as typer has it: help, completion, and words for every mistake."""

import importlib
import inspect
import shutil
from collections.abc import Callable, Sequence
from enum import Enum
from typing import Any, Optional

import typer
from typer.core import TyperGroup
from typer.exceptions import TyperException

from cmemrun import __version__
from cmemrun.commands import VERBS
from cmemrun.commands.arguments import explained, is_choice, kind_of
from cmemrun.commands.completion import SHELLS, install, script
from cmemrun.commands.console import print_out, say
from cmemrun.commands.help import VerbCommand
from cmemrun.commands.options.attach import AttachOptions
from cmemrun.commands.options.check import CheckOptions
from cmemrun.commands.options.fit import FitOptions
from cmemrun.commands.options.run import RunOptions
from cmemrun.errors import CmemrunError

__all__ = ["carry_out", "command_line"]


class _RunByDefault(TyperGroup):
    """A group of verbs in which everything that is no verb is a command to run."""

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        if not args or args[0] not in self.commands:
            args = ["run", *args]
        return super().parse_args(ctx, args)


app = typer.Typer(
    name="cmemrun",
    cls=_RunByDefault,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
    add_completion=False,
    help="Run a program in a memory cgroup of its own and report what it really used.",
)


def carry_out(arguments: Sequence[str]) -> int:
    """Carry out a command line and return the exit status."""
    try:
        status = command_line()(args=list(arguments), prog_name="cmemrun", standalone_mode=False)
    except TyperException as error:
        say(_in_one_line(error), hint=_next_step(error, arguments))
        return CmemrunError.exit_status
    except typer.Abort:
        return 130
    return status if isinstance(status, int) else 0


def command_line() -> Any:
    """The command line, with options that take several words, which typer has no way to say."""
    built: Any = typer.main.get_command(app)
    for verb, (fields, *_) in _DECLARED.items():
        for option in built.commands[verb].params:
            if option.name in fields.__annotations__:
                option.nargs = kind_of(fields.__annotations__[option.name])[1].words
    return built


def _in_one_line(error: TyperException) -> str:
    """Typer's words for bad input, with the option's name first."""
    option = getattr(error, "param", None)
    if option is not None and error.message:
        name = option.opts[0] if option.opts and option.opts[0].startswith("-") else None
        message = error.message.rstrip(".")
        return f"{name}: {message}" if name else message
    text = (error.message or error.format_message()).rstrip(".")
    return text[:1].lower() + text[1:]


def _next_step(error: TyperException, arguments: Sequence[str]) -> str:
    meant = getattr(error, "possibilities", None)
    if meant:
        return f"did you mean {' or '.join(sorted(meant))}?"
    first = arguments[0] if arguments else ""
    # Somebody may have meant a program by the name of a verb.
    if not first.startswith("-") and shutil.which(first):
        return f"to run the program {first!r}: cmemrun -- {first}"
    return f"see cmemrun {first} --help" if first in VERBS else "see cmemrun --help"


def _show_version(wanted: bool) -> None:
    if wanted:
        typer.echo(f"cmemrun {__version__}")
        raise typer.Exit


def _show_completion(shell: Enum | None) -> None:
    if shell is not None:
        print_out(script(shell.value, command_line()))
        raise typer.Exit


def _install_completion(shell: Enum | None) -> None:
    if shell is not None:
        say(install(shell.value, command_line()))
        raise typer.Exit


def _parameter(name: str, annotation: Any) -> inspect.Parameter:
    kind, option = kind_of(annotation)
    flags = option.flags
    if option.negative is not None:
        flags = (f"{flags[0]}/{option.negative}", *flags[1:])
    text = kind is not bool and not is_choice(kind)
    read: Any = Any if text else Optional[kind]  # noqa: UP045 (typer wants a type)
    shown = typer.Option(
        [] if option.repeated else option.default,
        *flags,
        help=option.help,
        rich_help_panel=option.panel,
        metavar=option.metavar,
        parser=explained(option.parse) if text else None,
        show_default=option.default is not None,
    )
    return inspect.Parameter(
        name,
        inspect.Parameter.KEYWORD_ONLY,
        default=shown,
        annotation=list[Any] if option.repeated else read,
    )


def _command(module: Any, verb: str, fields: Any, *first: inspect.Parameter) -> Any:
    """A verb as typer reads a command line off it: by a signature."""

    def call(**given: Any) -> int:
        for one in _AT_ONCE:
            given.pop(one.name, None)
        taken = [given.pop(one.name) or [] for one in first if one.name in given]
        for name, annotation in fields.__annotations__.items():
            if kind_of(annotation)[1].repeated:
                given[name] = tuple(given[name] or ())
        status: int = getattr(module, verb)(*taken, fields(**given))
        return status

    call.__doc__ = getattr(module, verb).__doc__
    options = [_parameter(name, kind) for name, kind in fields.__annotations__.items()]
    call.__signature__ = inspect.Signature([*first, *options])  # type: ignore[attr-defined]
    return call


_PROGRAM = inspect.Parameter(
    "command",
    inspect.Parameter.POSITIONAL_OR_KEYWORD,
    annotation=Optional[list[str]],  # noqa: UP045 (typer wants a type)
    default=typer.Argument(
        None,
        metavar="PROGRAM [ARG]...",
        help="What to run, with its own arguments.",
        show_default=False,
    ),
)
_NAMES = inspect.Parameter(
    "names",
    inspect.Parameter.POSITIONAL_OR_KEYWORD,
    annotation=Optional[list[str]],  # noqa: UP045 (typer wants a type)
    default=typer.Argument(
        None, metavar="[NAME]...", help="The commands to run; all without one.", show_default=False
    ),
)


def _at_once(
    name: str, annotation: Any, act: Callable[[Any], None], help: str
) -> inspect.Parameter:
    """An option that has something done instead of a run."""
    return inspect.Parameter(
        name,
        inspect.Parameter.POSITIONAL_OR_KEYWORD,
        annotation=Optional[annotation],  # noqa: UP045 (typer wants a type)
        default=typer.Option(
            None,
            f"--{name.replace('_', '-')}",
            callback=act,
            is_eager=True,
            help=help,
        ),
    )


_Shell = Enum("_Shell", [(name.upper(), name) for name in SHELLS])  # type: ignore[misc]
_AT_ONCE = (
    _at_once(
        "install_completion", _Shell, _install_completion, "Install completion for this shell."
    ),
    _at_once("show_completion", _Shell, _show_completion, "Print the script for that."),
    _at_once("version", bool, _show_version, "Show the version and exit."),
)
_HELP = {"help_option_names": ["-h", "--help"], "max_content_width": 100}

_DECLARED: dict[str, tuple[Any, ...]] = {
    "run": (RunOptions, _PROGRAM, *_AT_ONCE),
    "attach": (AttachOptions,),
    "check": (CheckOptions, _NAMES),
    "fit": (FitOptions, _PROGRAM),
}

for verb in VERBS:
    module = importlib.import_module(f"cmemrun.commands.{verb}")
    declared = _DECLARED.get(verb)
    function = _command(module, verb, *declared) if declared else getattr(module, verb)
    # What follows the program's name is the program's.
    settings = _HELP | {"allow_interspersed_args": verb not in ("run", "fit")}
    app.command(verb, cls=VerbCommand, context_settings=settings)(function)
