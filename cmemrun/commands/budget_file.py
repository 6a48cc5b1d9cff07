"""Budgets in a file that is reviewed: named commands, each with what it may use.

``[commands.NAME]`` in a file of its own, ``[tool.cmemrun.commands.NAME]`` in
``pyproject.toml``: ``command``, and the options of ``cmemrun run`` by their long
names. ``baseline`` and ``tolerance`` are other words for ``against`` and ``fail-on``.
"""

import os
import tomllib
from collections.abc import Sequence
from typing import Any, NamedTuple

from cmemrun.commands.arguments import options_from
from cmemrun.commands.options import values
from cmemrun.commands.options.run import RunOptions
from cmemrun.commands.reading import read_file
from cmemrun.errors import BadInput
from cmemrun.model import Assertion

__all__ = ["Named", "budgets_for", "read_budgets"]

_FILES = ("budgets.toml", "pyproject.toml")
_MOST_BYTES = 2**20
_MOST_DOTS = 1000

_SYNONYMS = {"baseline": "against", "tolerance": "fail-on"}

# Where things go is the caller's to say, and so is what is run at all.
_NOT_IN_A_FILE = frozenset(
    {
        *("json", "output", "record", "export", "live", "quiet", "debug", "explain"),
        *("budget", "report-only", "user"),
    }
)


class Named(NamedTuple):
    """A command of the file."""

    name: str
    command: tuple[str, ...]
    options: RunOptions


def read_budgets(path: str | None) -> list[Named]:
    """The commands of a file, by default of ``budgets.toml`` or ``pyproject.toml`` here.

    Raises ``BadInput``, with the path and the name, for whatever cannot be understood.
    """
    found = path if path is not None else next(filter(os.path.exists, _FILES), None)
    if found is None:
        raise BadInput(
            f"there is neither {' nor '.join(_FILES)} here", hint="name a file with --budget"
        )
    table = _load(found)
    if os.path.basename(found) == "pyproject.toml":
        table = _table(_table(table.get("tool", {})).get("cmemrun", {}))
    commands = _table(table.get("commands", {}))
    if not commands:
        raise BadInput(
            f"{found!r} has no commands",
            hint="write [commands.NAME], in pyproject.toml [tool.cmemrun.commands.NAME]",
        )
    named = []
    for name, told in commands.items():
        try:
            named.append(_named(name, _table(told)))
        except BadInput as error:
            raise BadInput(f"{found!r}: {name}: {error.message}", hint=error.hint) from error
    return named


def budgets_for(command: Sequence[str], options: RunOptions) -> RunOptions:
    """The options with the budgets that their file has for this command."""
    named = read_budgets(options.budget)
    for one in named:
        if list(one.command) == list(command):
            told = one.options
            return options._replace(
                assertions=(*_peak(told), *told.assertions, *options.assertions),
                against=options.against or told.against,
                fail_on=options.fail_on or told.fail_on,
            )
    raise BadInput(
        f"--budget: {options.budget!r} has no budget for this command",
        hint=f"it has {', '.join(one.name for one in named[:5])}; cmemrun check runs those",
    )


def _peak(told: RunOptions) -> tuple[Assertion, ...]:
    # Beside the one on the command line, which may be stricter.
    return () if told.max_peak is None else (Assertion("peak", told.max_peak),)


def _load(path: str) -> dict[str, Any]:
    text = read_file(path, _MOST_BYTES, "file of budgets")
    # A key of many parts takes time by their square: half a minute for 64 KiB of "a.a.a".
    if max((line.count(b".") for line in text.splitlines()), default=0) > _MOST_DOTS:
        raise BadInput(
            f"{path!r} has a line with more than {_MOST_DOTS} dots",
            hint="commands.NAME is as deep as it gets",
        )
    try:
        return tomllib.loads(text.decode())
    except (ValueError, RecursionError) as error:
        raise BadInput(
            f"{path!r} is no TOML: {error}",
            hint="see examples/budgets.toml in the source, or https://toml.io",
        ) from error


def _table(value: object) -> dict[str, Any]:
    if not isinstance(value, dict):
        raise BadInput(f"{value!r:.80} is no table", hint="write [commands.NAME]")
    return value


def _named(name: str, told: dict[str, Any]) -> Named:
    given = {}
    for key, value in told.items():
        word = key.replace("_", "-")
        word = _SYNONYMS.get(word, word)
        if word in _NOT_IN_A_FILE:
            raise BadInput(f"{key} is for the command line", hint="leave it out of the file")
        if word in given:
            raise BadInput(f"{key}: one thing is told by two names", hint="baseline is against")
        given[word] = value
    given.pop("command", None)
    command = told.get("command")
    if isinstance(command, str):
        command = list(values.words(command))
    if (
        not isinstance(command, list)
        or not command
        or not all(isinstance(word, str) for word in command)
    ):
        raise BadInput("command is missing", hint="write command = ['./myapp', '--flag']")
    return Named(
        name, tuple(command), RunOptions(**options_from(RunOptions.__annotations__, given))
    )
