"""Text that somebody else chose, made safe to show."""

import os
import shlex
from collections.abc import Sequence

__all__ = ["command_line", "printable", "unicode_text"]


def unicode_text(text: str) -> str:
    """Text that any JSON parser takes: bytes that are no UTF-8 become ``\\xff``."""
    try:
        raw = os.fsencode(text)
    except UnicodeEncodeError:  # half a pair of UTF-16, which no argument can hold
        raw = text.encode("utf-8", "backslashreplace")
    return raw.decode("utf-8", "backslashreplace")


def printable(text: str) -> str:
    """One line without control characters: a program's arguments must not drive the terminal."""
    return "".join(
        char if char.isprintable() else char.encode("unicode_escape").decode("ascii")
        for char in unicode_text(text)
    )


def command_line(command: Sequence[str], width: int = 200) -> str:
    """A command as one would type it, shortened to ``width`` characters."""
    line = printable(shlex.join(command))
    return line if len(line) <= width else line[: width - 1] + "…"
