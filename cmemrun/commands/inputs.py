"""Runs that were saved, read for the verbs that need no cgroup. They may be a stranger's."""

import contextlib
import sys
from collections.abc import Iterator
from typing import BinaryIO

from cmemrun.errors import BadInput
from cmemrun.model import Run
from cmemrun.report import document, record

__all__ = ["read_run"]

# A document has two thousand samples and some processes; a line of a record is
# one of them. What is larger by far is none of ours, and would take our memory.
_MOST_BYTES = 256 * 2**20
_LONGEST_LINE_BYTES = 16 * 2**20


def read_run(path: str) -> Run:
    """What ``--json`` or ``--record`` has written to ``path``; ``-`` is standard input.

    Raises ``BadInput``, with the path, where it cannot be read or is neither.
    """
    try:
        with _opened(path) as file:
            start = file.readline(_LONGEST_LINE_BYTES)
            if record.is_record(start):
                return record.read(_lines(start, file))
            text = start + file.read(_MOST_BYTES)
    except OSError as error:
        raise BadInput(f"cannot read {path!r}: {error.strerror}") from error
    except BadInput as error:
        raise _of(path, error) from error
    try:
        if len(text) > _MOST_BYTES:
            raise BadInput("it is larger than any document of cmemrun's")
        return document.parse(text.decode())
    except UnicodeDecodeError as error:
        raise BadInput(f"{path!r} is no text") from error
    except BadInput as error:
        raise _of(path, error) from error


def _of(path: str, error: BadInput) -> BadInput:
    return BadInput(f"{path!r}: {error.message}", hint=error.hint)


@contextlib.contextmanager
def _opened(path: str) -> Iterator[BinaryIO]:
    if path == "-":
        yield sys.stdin.buffer
    else:
        with open(path, "rb") as file:
            yield file


def _lines(start: bytes, file: BinaryIO) -> Iterator[bytes]:
    while start:
        yield start
        start = file.readline(_LONGEST_LINE_BYTES)
