"""The command line as typer has it: help, completion, and words for every mistake."""

import importlib
import inspect
import shutil
from collections.abc import Sequence
from typing import Any, Optional

import typer
from typer.core import TyperGroup
from typer.exceptions import TyperException

from cmemrun import __version__
from cmemrun.commands import VERBS
from cmemrun.commands.arguments import explained, is_choice, kind_of
from cmemrun.commands.console import say
from cmemrun.commands.options.attach import AttachOptions
from cmemrun.commands.options.check import CheckOptions
from cmemrun.commands.options.fit import FitOptions
from cmemrun.commands.options.run import RunOptions
from cmemrun.errors import CmemrunError

__all__ = ["carry_out"]

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


def carry_out(arguments: Sequence[str]) -> int:
    """Carry out a command line and return the exit status."""
    try:
        status = _built()(args=list(arguments), prog_name="cmemrun", standalone_mode=False)
    except TyperException as error:
        say(_in_one_line(error), hint=_program_of_that_name(arguments))
        return CmemrunError.exit_status
    except typer.Abort:
        return 130
    return status if isinstance(status, int) else 0


def _built() -> Any:
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
    text = error.format_message().rstrip(".")
    return text[:1].lower() + text[1:]


def _program_of_that_name(arguments: Sequence[str]) -> str:
    """How to run the program, where somebody may have meant one by the name of a verb."""
    if arguments and not arguments[0].startswith("-") and shutil.which(arguments[0]):
        return f"to run the program {arguments[0]!r}: cmemrun -- {arguments[0]}"
    return "see cmemrun --help"


def _show_version(wanted: bool) -> None:
    if wanted:
        typer.echo(f"cmemrun {__version__}")
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
        given.pop("version", None)
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
_VERSION = inspect.Parameter(
    "version",
    inspect.Parameter.POSITIONAL_OR_KEYWORD,
    annotation=bool,
    default=typer.Option(
        False,
        "--version",
        rich_help_panel="Output",
        callback=_show_version,
        is_eager=True,
        help="Show the version and exit.",
        show_default=False,
    ),
)
_HELP = {"help_option_names": ["-h", "--help"]}

_DECLARED: dict[str, tuple[Any, ...]] = {
    "run": (RunOptions, _PROGRAM, _VERSION),
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
    app.command(verb, context_settings=settings)(function)
