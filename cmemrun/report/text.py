"""Text that somebody else chose, made safe to show."""

import os
import re
import shlex
from collections.abc import Sequence

__all__ = [
    "command_line",
    "for_people",
    "printable",
    "shortened",
    "unicode_text",
    "whole_command_line",
]

# What GitHub's runner takes out of a job's log for a command: the one at the start of a line,
# the other anywhere in it (actions/runner, src/Runner.Common/ActionCommand.cs).
_COMMAND = re.compile(r"^(\s*):(?=:)", re.MULTILINE)
_OLD_COMMAND = "##["


def unicode_text(text: str) -> str:
    """Text that any JSON parser takes: bytes that are no UTF-8 become ``\\xff``."""
    try:
        raw = os.fsencode(text)
    except UnicodeEncodeError:  # half a pair of UTF-16, which no argument can hold
        raw = text.encode("utf-8", "backslashreplace")
    return raw.decode("utf-8", "backslashreplace")


def printable(text: str) -> str:
    """One line without control characters: a program's arguments must not drive the terminal."""
    line = "".join(
        char if char.isprintable() else char.encode("unicode_escape").decode("ascii")
        for char in unicode_text(text)
    )
    return line.replace(_OLD_COMMAND, r"#\x23[")


def for_people(text: str) -> str:
    """A text of printable lines, none of which is a command to the CI job that logs it."""
    return _COMMAND.sub(r"\1\\x3a", text)


def whole_command_line(command: Sequence[str]) -> str:
    """A command as one would type it, in one line however long: what tells it from others."""
    return printable(shlex.join(command))


def command_line(command: Sequence[str], width: int = 200) -> str:
    """A command to be shown, shortened to ``width`` columns of a terminal."""
    return shortened(whole_command_line(command), width)


def shortened(text: str, width: int = 200) -> str:
    """A text of at most ``width`` characters and columns of a terminal: some take two or none."""
    short = text if len(text) <= width else text[: width - 1] + "…"
    if text.isascii():
        return short
    from rich.cells import cell_len, set_cell_size

    return short if cell_len(short) <= width else set_cell_size(short, width - 1) + "…"
