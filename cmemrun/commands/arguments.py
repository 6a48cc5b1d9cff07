"""What ``run`` takes, declared once: read here where it is plain, by typer where it is not.

To load typer takes longer than everything else of a launch together (80 of
130 ms), and nearly every launch is plain: options spelled out in full, values
that are good, then the program. Whatever is not, help, completion and every
mistake included, goes through typer, which is built from the same declaration
(``application``) and has the only say in what is wrong with it.
"""

from collections.abc import Callable, Mapping, Sequence
from enum import Enum
from typing import Any, NamedTuple, get_args

from cmemrun.errors import BadInput

__all__ = ["Option", "explained", "is_choice", "kind_of", "options_from", "read_plainly"]


# No option takes a number of more digits, and Python does not print one of thousands.
_LARGEST = 2**63


class Option(NamedTuple):
    """One option, in the metadata of an annotated field.

    The field's type says what it takes: ``bool`` nothing, an ``Enum`` one of its
    values, anything else a text that ``parse`` makes something of (``BadInput``
    where it cannot). ``default`` is written as on the command line.
    """

    flags: tuple[str, ...]
    help: str
    panel: str
    metavar: str | None = None
    default: str | bool | None = None
    parse: Callable[[str], Any] = str
    negative: str | None = None
    """What switches it off, for a switch."""
    repeated: bool = False
    """It may be given more than once, and what is had is a tuple of all values."""
    words: int = 1
    """That follow it; of several ``parse`` makes nothing."""


def explained(parse: Callable[[str], Any]) -> Callable[[str], Any]:
    """A parser for typer, whose refusals reach the user with the option's name."""
    import typer

    def parse_option(text: str) -> Any:
        try:
            return parse(text)
        except BadInput as error:
            raise typer.BadParameter(f"{error.message}; {error.hint}") from error

    return parse_option


def kind_of(annotation: Any) -> tuple[Any, Option]:
    """The type and the option of an annotated field."""
    kind, option = get_args(annotation)
    named = [part for part in get_args(kind) if part is not type(None)]
    return (named[0] if named else kind), option


def is_choice(kind: Any) -> bool:
    """Whether it is one of some values."""
    return isinstance(kind, type) and issubclass(kind, Enum)


def read_plainly(fields: dict[str, Any], arguments: Sequence[str]) -> tuple[Any, ...] | None:
    """The value of every field and, last, the command; ``None`` where it takes more to know.

    ``fields`` are the annotations of the options, in order.
    """
    known = {name: kind_of(annotation) for name, annotation in fields.items()}
    named = {
        flag: name
        for name, (_, option) in known.items()
        if option.words == 1
        for flag in option.flags
    }
    switches = {name for name, (kind, _) in known.items() if kind is bool}
    negatives = {
        option.negative: name for name, (_, option) in known.items() if option.negative is not None
    }
    repeated = {name for name, (_, option) in known.items() if option.repeated}
    given: dict[str, Any] = {name: option.default for name, (_, option) in known.items()}
    given |= dict.fromkeys(repeated, ())
    rest = list(arguments)
    while rest and rest[0].startswith("-"):
        word = rest.pop(0)
        if word == "--":
            break
        flag, equals, text = word.partition("=")
        if flag in negatives and not equals:
            given[negatives[flag]] = False
        elif flag not in named or (equals and not flag.startswith("--")):
            return None
        elif named[flag] in switches:
            if equals:
                return None
            given[named[flag]] = True
        elif equals or rest:
            value = text if equals else rest.pop(0)
            name = named[flag]
            given[name] = (*given[name], value) if name in repeated else value
        else:
            return None
    if not rest:
        return None
    try:
        values = [_value(*known[name], given[name]) for name in known]
    except (BadInput, ValueError):
        return None
    return (*values, rest)


def options_from(fields: dict[str, Any], given: Mapping[str, object]) -> dict[str, Any]:
    """The value of every field, from some options by their long names without dashes.

    Values are texts, as on the command line, ``True`` and ``False`` for switches, and
    lists for what may be repeated. Raises ``BadInput`` with the name that is wrong.
    """
    known = {name: kind_of(annotation) for name, annotation in fields.items()}
    named = {flag: name for name, (_, option) in known.items() for flag in option.flags}
    found = {
        name: () if option.repeated else _value(kind, option, option.default)
        for name, (kind, option) in known.items()
    }
    for word, value in given.items():
        name = named.get(f"--{word.replace('_', '-')}")
        if name is None or known[name][1].words > 1:
            raise BadInput(f"{word}: there is no such option", hint="cmemrun --help lists them")
        try:
            found[name] = _given(*known[name], value)
        except BadInput as error:
            raise BadInput(f"{word}: {error.message}", hint=error.hint) from error
    return found


def _given(kind: Any, option: Option, value: object) -> Any:
    if kind is bool:
        if not isinstance(value, bool):
            raise BadInput(
                f"{value!r} is neither true nor false", hint="write true or false, without quotes"
            )
        return value
    texts = value if isinstance(value, list) and option.repeated else [value]
    if any(isinstance(text, int) and abs(text) > _LARGEST for text in texts):
        raise BadInput(
            "so large a number is no text", hint="write it as on the command line, in quotes"
        )
    if any(isinstance(text, bool) or not isinstance(text, str | int) for text in texts):
        raise BadInput(f"{value!r} is no text", hint="write it as on the command line, in quotes")
    if any("\0" in str(text) for text in texts):
        raise BadInput(f"{value!r} has a NUL byte in it", hint="leave it out")
    try:
        if option.repeated:
            return _value(kind, option, [str(text) for text in texts])
        return _value(kind, option, str(texts[0]))
    except ValueError as error:
        if not is_choice(kind):
            raise
        choices = ", ".join(one.value for one in kind)
        raise BadInput(f"{value!r} is none of {choices}", hint="write one of those") from error


def _value(kind: Any, option: Option, given: Any) -> Any:
    if given is None or kind is bool:
        return given
    if option.repeated:
        return tuple(map(option.parse, given))
    return kind(given) if is_choice(kind) else option.parse(given)
