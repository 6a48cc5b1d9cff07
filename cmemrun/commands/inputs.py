"""Runs and searches that were saved, read again. They may be a stranger's."""

import contextlib
import sys
from collections.abc import Iterator
from typing import BinaryIO

from cmemrun.commands.reading import about, read_whole
from cmemrun.errors import BadInput
from cmemrun.model import Measurement, Run
from cmemrun.report import document, fit_document, measurements, record
from cmemrun.report.fit_document import SavedFit

__all__ = [
    "MOST_BYTES",
    "parse_measurements",
    "read_fit",
    "read_measurements",
    "read_run",
    "read_runs",
    "read_saved",
]

# A document has two thousand samples and some processes; a line of a record is
# one of them. What is larger by far is none of ours, and would take our memory.
MOST_BYTES = 256 * 2**20
# Of ours one takes 24 bytes and more; of two bytes each, it would be 24 times the text.
_MOST_VALUES = 12_000_000
_LONGEST_LINE_BYTES = 16 * 2**20


def read_run(path: str) -> Run:
    """What ``--json`` or ``--record`` has written of one run; else as ``read_runs``."""
    runs = read_runs(path)
    if len(runs) > 1:
        raise BadInput(
            f"{path!r} has {len(runs)} runs, and one is wanted",
            hint="cmemrun report and cmemrun compare take several",
        )
    return runs[0]


def read_runs(path: str) -> list[Run]:
    """All runs in a file, as ``read_measurements`` reads it."""
    return [run for one in read_measurements(path) for run in one.runs]


def read_measurements(path: str) -> list[Measurement]:
    """What ``--json`` or ``--record`` has written of one command or several.

    Raises ``BadInput``, with the path, where it cannot be read or is nothing of ours.
    """
    return _measurements(path, read_saved(path))


def parse_measurements(source: str, text: bytes) -> list[Measurement]:
    """The same of a text that was read already; ``source`` is what to call it."""
    return _measurements(source, _parse(source, text))


def read_fit(path: str) -> SavedFit:
    """What the ``--json`` of ``fit`` has written, likewise."""
    saved = read_saved(path)
    if not isinstance(saved, SavedFit):
        raise BadInput(
            f"{path!r} is a run, and no result of cmemrun fit",
            hint="give what cmemrun fit --json FILE has written",
        )
    return saved


def read_saved(path: str) -> list[Measurement] | SavedFit:
    """Whatever of these is in ``path``; ``-`` is standard input."""
    with about(path), _opened(path) as file:
        start = file.readline(_LONGEST_LINE_BYTES)
        if record.is_record(start):
            run = record.read(_lines(start, file))
            return [measurements.of_run(run)]
        text = start + read_whole(file, MOST_BYTES, "document of cmemrun's")
    return _parse(path, text)


def _parse(source: str, text: bytes) -> list[Measurement] | SavedFit:
    try:
        with about(source):
            if sum(text.count(mark) for mark in (b",", b"[", b"{")) > _MOST_VALUES:
                raise BadInput(
                    "it has more values than any document of cmemrun's",
                    hint="give what --json or --record has written",
                )
            read = document.load(text.decode())
            if fit_document.is_fit(read):
                return fit_document.fit_from(read)
            return measurements.measurements_from(read)
    except UnicodeDecodeError as error:
        raise BadInput(
            f"{source!r} is no text", hint="give what --json or --record has written"
        ) from error


def _measurements(source: str, saved: list[Measurement] | SavedFit) -> list[Measurement]:
    if isinstance(saved, SavedFit):
        raise BadInput(
            f"{source!r} is no run but a search of cmemrun fit's", hint="cmemrun plot draws it"
        )
    return saved


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
