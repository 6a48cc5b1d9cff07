"""A run written line by line while it goes on (JSON lines), and read back, torn or whole.

The first line is ``{"begun": …}``, the document as it was known before the start;
then ``{"sample": …}`` for every full sample, with the processes where they were
looked at; the last is ``{"run": …}``, the document without its samples. A record
without that one is of a run whose end nobody saw, the machine's for instance.
"""

import json
from collections.abc import Iterable
from typing import Any

from cmemrun.analysis.oom import judge
from cmemrun.errors import BadInput
from cmemrun.model import Run, Sample
from cmemrun.report.document import run_from, sample_from, sample_of, to_document
from cmemrun.series import Series

__all__ = ["first_line", "is_record", "last_line", "read", "sample_line"]

_HINT = "give a file that cmemrun --record has written"

# What is kept may hold that much, looked at each time that so much was read: of ours a
# sample has 60 values, and where its processes were looked at 20 times 30 more.
_MOST_VALUES = 12_000_000
_WEIGHED_BYTES = 64 * 2**20
# Longer than there have been computers: a time whose span could not be counted.
_LONGEST_SECONDS = 1e10


def first_line(begun: Run) -> str:
    """The line before the first sample."""
    return _line("begun", to_document(begun))


def sample_line(sample: Sample) -> str:
    """The line of one sample."""
    return _line("sample", sample_of(sample))


def last_line(run: Run) -> str:
    """The line that makes a record whole."""
    return _line("run", to_document(run._replace(samples=())))


def is_record(line: bytes) -> bool:
    """Whether this is how a record starts."""
    return line.startswith(b'{"begun":')


def read(lines: Iterable[bytes]) -> Run:
    """The run of a record, its samples thinned if they are many.

    What comes after a line that cannot be read, a torn last one for instance, is
    passed over, and a note says so. Raises ``BadInput`` where there is no record.
    """
    begun: Run | None = None
    run: Run | None = None
    series, highest = Series(), Sample(0.0, 0)
    unweighed = 0
    for line in lines:
        unweighed += len(line)
        if unweighed > _WEIGHED_BYTES:
            unweighed = 0
            if _count(series.samples()) > _MOST_VALUES:
                raise BadInput("it has more values than any record of cmemrun's", hint=_HINT)
        kind, told = _told(line)
        if begun is None:
            if kind != "begun":
                raise BadInput("it is no record of cmemrun's", hint=_HINT)
            begun = run_from(told)
        elif kind == "sample":
            try:
                sample = sample_from(told)
            except (TypeError, ValueError):
                break
            if not 0 <= sample.elapsed_seconds < _LONGEST_SECONDS:
                break
            series.add(sample)
            highest = _higher(highest, sample)
        elif kind == "run":
            run = run_from(told)
            break
        elif not kind:
            break
    if begun is None:
        raise BadInput("it is empty", hint=_HINT)
    if run is None:
        run = _torn(begun, series, highest)
    return run._replace(samples=series.samples())


def _torn(begun: Run, series: Series, highest: Sample) -> Run:
    """What can be said of a run whose end was not recorded."""
    last = series.last or highest
    notes = (
        *begun.method.notes,
        f"the record ends {last.elapsed_seconds:.1f} s after the start, without the run's end:"
        " the peak is that of the samples in it",
    )
    run = begun._replace(
        wall_seconds=last.elapsed_seconds,
        method=begun.method._replace(sample_count=series.count, notes=notes),
        peak_bytes=highest.usage_bytes,
        peaks=series.peaks,
        at_peak=highest,
        at_peak_anon=series.at_peak_anon,
        at_peak_working_set=series.at_peak_working_set,
        at_exit=last,
        events=last.events,
        pressure=last.pressure,
        samples=series.samples(),
    )
    return run._replace(oom=judge(run))


def _higher(highest: Sample, sample: Sample) -> Sample:
    """The higher one, with the processes that were looked at last on the way there."""
    if sample.usage_bytes < highest.usage_bytes:
        return highest
    if sample.processes:
        return sample
    return sample._replace(
        processes=highest.processes, processes_elapsed_seconds=highest.processes_elapsed_seconds
    )


def _count(value: object) -> int:
    return sum(map(_count, value)) if isinstance(value, tuple) else 1


def _told(line: bytes) -> tuple[str, Any]:
    """What a line holds; no kind where it is torn."""
    try:
        [(kind, told)] = json.loads(line).items()
    except (ValueError, AttributeError, RecursionError):
        return "", None
    return kind, told


def _line(kind: str, told: dict[str, Any]) -> str:
    return json.dumps({kind: told}, allow_nan=False, separators=(",", ":")) + "\n"
