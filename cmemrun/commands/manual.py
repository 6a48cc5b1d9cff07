"""The manual page, from the same declaration as --help; written by ``scripts/manual``.

In the macros of man(7), which groff and mandoc know, and man-db's ``man`` shows.
"""

import re
from typing import Any

import typer

from cmemrun import __version__
from cmemrun.commands.help import groups, usage

__all__ = ["manual"]

_STATUS = (
    ("0..255", "the program's own, for run: 128+N where signal N has ended it"),
    ("123", "a budget is broken, and the program succeeded"),
    ("124", "the program was ended by --timeout"),
    ("125", "cmemrun itself failed, and says why in one line"),
    ("126", "the program is there and cannot be executed"),
    ("127", "there is no such program"),
)
_FILES = (
    ("/sys/fs/cgroup", "the groups; one called cmemrun-... is made for a run and removed after it"),
    ("budgets.toml, pyproject.toml", "commands and their budgets, for check"),
    (".cmemrun/NAME.json", "a baseline, of --save-baseline NAME"),
)
_ENVIRONMENT = (
    ("NO_COLOR", "no colour where it is set to anything"),
    ("TERM", "none either where it is dumb"),
    ("PATH", "where the program is looked for"),
    ("COLUMNS", "how wide --help may be"),
    ("XDG_DATA_HOME, XDG_CONFIG_HOME, ZDOTDIR", "where --install-completion writes"),
)
_OTHERS = ("systemd-run(1)", "time(1)", "proc(5)", "cgroups(7)")


def manual(command_line: Any) -> str:
    """The page for ``man``; ``command_line`` is typer's."""
    root = typer.Context(command_line, info_name="cmemrun")
    verbs = dict(command_line.commands)
    run = verbs.pop("run")
    summary, text, examples = _parts(run)
    lines = [
        f'.TH CMEMRUN 1 "" "cmemrun {__version__}" "User Commands"',
        ".ad l",
        ".nh",
        ".SH NAME",
        f"cmemrun \\- {_escaped(summary[0].lower() + summary[1:].rstrip('.'))}",
        ".SH SYNOPSIS",
        *_lines_of(usage(one) for one in (run, *verbs.values())),
        ".SH DESCRIPTION",
        *_paragraphs([summary, *text]),
        ".PP",
        "Only the very first word can be a verb; a program called like one is run as",
        "\\fBcmemrun \\-\\- report\\fR.",
        ".SH OPTIONS",
        *_options(run, root),
        ".SH VERBS",
    ]
    for name, verb in verbs.items():
        summary, text, shown = _parts(verb)
        lines += [f".SS {_escaped(name)}", *_paragraphs([summary, *text])]
        lines += _own_options(verb, run, root)
        examples += shown
    lines += [".SH EXIT STATUS", *_terms(_STATUS)]
    lines += [".SH EXAMPLES", ".EX", *map(_escaped, dict.fromkeys(examples)), ".EE"]
    lines += [".SH FILES", *_terms(_FILES), ".SH ENVIRONMENT", *_terms(_ENVIRONMENT)]
    lines += [".SH SEE ALSO", *_references(_OTHERS)]
    return "\n".join(lines) + "\n"


def _parts(verb: Any) -> tuple[str, list[str], list[str]]:
    """Of a verb's help: the first line, the paragraphs, the examples."""
    summary, *rest = verb.help.split("\n\n")
    text = [part for part in rest if not part.startswith("\b")]
    examples = [part for part in rest if part.startswith("\b")]
    return summary, text, [line.strip() for part in examples for line in part.splitlines()[2:]]


def _options(verb: Any, root: Any) -> list[str]:
    lines = []
    for name, records in _records(verb, root).items():
        lines += [f".SS {_escaped(name)}", *_terms(records)]
    return lines


def _own_options(verb: Any, run: Any, root: Any) -> list[str]:
    """Of another verb: what it has not from ``run``, and the names of what it has."""
    known = [one for records in _records(run, root).values() for one in records]
    records = [one for some in _records(verb, root).values() for one in some]
    shared = [name.split()[0].rstrip(",") for name, text in records if (name, text) in known]
    lines = _terms(one for one in records if one not in known)
    return [*lines, ".PP", _bold(f"With the meaning they have above: {', '.join(shared)}.")]


def _records(verb: Any, root: Any) -> dict[str, list[Any]]:
    """The names and the help of all parameters, by group."""
    ctx = verb.make_context(verb.name, [], parent=root, resilient_parsing=True)
    return {
        name: [one.get_help_record(ctx) for one in parameters]
        for name, parameters in groups(verb, ctx).items()
    }


def _terms(terms: Any) -> list[str]:
    return [line for name, text in terms for line in (".TP", _bold(name), _escaped(text))]


def _paragraphs(texts: list[str]) -> list[str]:
    """The first stands right below a heading."""
    lines = [line for text in texts for line in (".PP", *map(_escaped, text.splitlines()))]
    return lines[1:]


def _lines_of(texts: Any) -> list[str]:
    return [line for text in texts for line in (_bold(text), ".br")][:-1]


def _references(pages: tuple[str, ...]) -> list[str]:
    found = [re.fullmatch(r"(.+)\((\d)\)", page) for page in pages]
    named = [f".BR {page[1]} ({page[2]})" for page in found if page]
    return [*(f"{line}," for line in named[:-1]), named[-1]]


def _bold(text: str) -> str:
    """The words to be typed as they are, not those that stand for others."""
    shown = re.sub(r"(?<![\w<|-])(-{1,2}[A-Za-z][\w-]*|cmemrun\b( [a-z]+)?)", r"\0\1\0", text)
    parts = shown.split("\0")
    return "".join(
        f"\\fB{_escaped(part)}\\fR" if place % 2 else _escaped(part, inside=place > 0)
        for place, part in enumerate(parts)
    )


def _escaped(text: str, *, inside: bool = False) -> str:
    text = text.replace("\\", "\\e").replace("-", "\\-")
    # At a line's start these begin a request.
    return f"\\&{text}" if text[:1] in (".", "'") and not inside else text
