"""Standard error: where everything of ours goes, so that the program's output stays its own."""

import contextlib
import os
import select

from cmemrun.errors import OutputError
from cmemrun.report.text import printable, shortened

__all__ = [
    "closed_at_start",
    "colour",
    "log_everything",
    "print_out",
    "reserve_standard_streams",
    "say",
    "show",
    "width",
    "write_all",
]

_LONGEST = 2000


closed_at_start: set[int] = set()
"""Standard streams that were closed when we came, and whose places we have filled."""


def say(message: str, *, hint: str | None = None) -> None:
    """Report something of ours in one line: what happened, and what to do next."""
    # A stranger's file may have any length of text where a number is wanted.
    told = shortened(printable(message), _LONGEST)
    show(f"cmemrun: {told}" + (f"; {printable(hint)}" if hint else "") + "\n")


def show(text: str) -> None:
    """Write to standard error, past any buffer; a reader who has gone is no failure."""
    with contextlib.suppress(OSError):
        write_all(2, text)


def print_out(text: str) -> None:
    """Write to standard output; ``OutputError`` where that fails, a reader who has gone apart."""
    if 1 in closed_at_start:
        raise OutputError("standard output is closed", hint="give it a file: > report.txt")
    try:
        write_all(1, text)
    except BrokenPipeError:
        pass  # who has read enough has got what was wanted
    except OSError as error:
        raise OutputError(f"cannot write to standard output: {error.strerror}") from error


def write_all(fd: int, data: str | bytes) -> None:
    """Write it all to a descriptor, one that somebody made non-blocking included."""
    left = memoryview(data.encode("utf-8", "backslashreplace") if isinstance(data, str) else data)
    while left:
        try:
            left = left[os.write(fd, left) :]
        except BlockingIOError:
            select.select([], [fd], [])


def colour(fd: int = 2) -> bool:
    """Whether a standard stream is for eyes that want colour (https://no-color.org)."""
    return os.isatty(fd) and not os.environ.get("NO_COLOR") and os.environ.get("TERM") != "dumb"


def width(fd: int = 2) -> int | None:
    """How wide the terminal of a standard stream is; ``None`` where there is none, or it is 0.

    A terminal that nobody looks at, a CI job's for instance, may have no size.
    """
    return (os.get_terminal_size(fd).columns or None) if os.isatty(fd) else None


def log_everything() -> None:
    """Write the library's log to standard error: what is tried, and what came of it."""
    import logging

    class Log(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            text = printable(record.getMessage())
            show(f"cmemrun: debug {record.relativeCreated:.0f} ms {record.name} {text}\n")

    logger = logging.getLogger("cmemrun")
    logger.setLevel(logging.DEBUG)
    logger.addHandler(Log())


def reserve_standard_streams() -> None:
    """Fill the places of closed standard streams, so that no file of ours gets their numbers.

    Else the report for a closed standard error would go to whatever was opened
    next, a control file for instance. The program finds them closed, as they were.
    """
    for fd in range(3):
        try:
            os.fstat(fd)
        except OSError:
            os.open(os.devnull, os.O_RDWR)
            closed_at_start.add(fd)
