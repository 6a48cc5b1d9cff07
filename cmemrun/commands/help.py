"""Help for a terminal: how to run it and examples first, then the options by group.

Plain text: typer's own way, rich, takes square brackets for markup, and so loses
``[default: 1]`` and ``[commands.NAME]``.
"""

from typing import Any

import typer
from typer.core import TyperArgument, TyperCommand

from cmemrun.commands.console import colour

__all__ = ["VerbCommand", "groups", "usage"]

# Names that are longer have a line of their own.
_WIDEST_NAME = 24


class VerbCommand(TyperCommand):
    """A verb, whose help is the whole program's where it is the one that may be left out."""

    def format_usage(self, ctx: Any, formatter: Any) -> None:
        formatter.write(_strong("Usage: ") + f"{usage(self)}\n")
        if _may_be_left_out(self):
            formatter.write("       cmemrun VERB --help\n")

    def format_options(self, ctx: Any, formatter: Any) -> None:
        if _may_be_left_out(self):
            with formatter.section(_strong("Verbs")):
                formatter.write_dl(
                    [
                        (_strong(name), verb.help.partition("\n")[0])
                        for name, verb in ctx.parent.command.commands.items()
                        if verb is not self
                    ]
                )
        for name, parameters in groups(self, ctx).items():
            with formatter.section(_strong(name)):
                records = [one.get_help_record(ctx) for one in parameters]
                formatter.write_dl(
                    [(_strong(names), text) for names, text in records], col_max=_WIDEST_NAME
                )


def usage(verb: Any) -> str:
    """How a verb is called, in a line."""
    words = ["cmemrun"] if _may_be_left_out(verb) else ["cmemrun", verb.name]
    words.append("[OPTIONS]")
    arguments = [one.metavar for one in verb.params if isinstance(one, TyperArgument)]
    if not verb.context_settings["allow_interspersed_args"]:
        words.append("[--]")
    return " ".join(words + arguments)


def groups(verb: Any, ctx: Any) -> dict[str, list[Any]]:
    """The parameters of a verb by the heading they stand under, everyday ones first."""
    options = [one for one in verb.get_params(ctx) if not isinstance(one, TyperArgument)]
    named = dict.fromkeys(one.rich_help_panel for one in options if one.rich_help_panel)
    # What has no heading, as --help, comes last.
    rest = "Other" if named else "Options"
    order: dict[str, list[Any]] = {
        "Arguments": [one for one in verb.params if isinstance(one, TyperArgument)],
        **{name: [] for name in named if name != rest},
        rest: [],
    }
    for one in options:
        order[one.rich_help_panel or rest].append(one)
    return {name: parameters for name, parameters in order.items() if parameters}


def _may_be_left_out(verb: Any) -> bool:
    return bool(verb.name == "run")


def _strong(text: str) -> str:
    return typer.style(text, bold=True) if colour(1) else text
