"""A run written line by line while it goes on (JSON lines), and read back, torn or whole.

The first line is ``{"begun": …}``, the document as it was known before the start;
then ``{"sample": …}`` for every full sample, as the document has it, with the processes
where they were looked at, with those ``events`` and ``paging`` counts that are not as in
the line before, and with a ``composition`` where it is the best that was known of the
peak until then; the last is ``{"run": …}``, the document without its samples. A record
without that one is of a run whose end nobody saw, the machine's for instance.
"""

import json
from collections.abc import Iterable
from typing import Any

from cmemrun.analysis.oom import judge
from cmemrun.analysis.peak import doubts
from cmemrun.errors import BadInput
from cmemrun.model import Events, Paging, Run, Sample
from cmemrun.report.document import run_from, sample_from, sample_of, to_document
from cmemrun.series import Series, is_at_peak

__all__ = ["first_line", "is_record", "last_line", "read", "sample_line"]

_HINT = "give a file that cmemrun --record has written"

# What is counted on and on, and so is the same in most lines of a program that waits.
_COUNTS = ("events", "paging")
_NOTHING = Sample(0.0, 0)

# What is kept may hold that much, looked at each time that so much was read: of ours a
# sample has 60 values, and where its processes were looked at 20 times 30 more.
_MOST_VALUES = 12_000_000
_WEIGHED_BYTES = 64 * 2**20
# Longer than there have been computers: a time whose span could not be counted.
_LONGEST_SECONDS = 1e10


def first_line(begun: Run) -> str:
    """The line before the first sample."""
    return _line("begun", to_document(begun))


def sample_line(sample: Sample, before: Sample | None = None) -> str:
    """The line of one sample; ``before`` is the one that the last line is of."""
    told = sample_of(sample)
    for name in _COUNTS:
        counts, known = getattr(sample, name), getattr(before or _NOTHING, name)
        if counts != known:
            told[name] = _changed(counts, known)
    if sample.composition is not None:
        told["composition"] = sample.composition._asdict()
    return _line("sample", told)


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
    series, peak, before = Series(), _Peak(), _NOTHING
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
                sample = before = sample_from(told | _counts(told, before))
            except (AttributeError, TypeError, ValueError):
                break
            if not 0 <= sample.elapsed_seconds < _LONGEST_SECONDS:
                break
            peak.look(sample, begun.method.resolution_bytes)
            series.add(sample._replace(composition=None))
        elif kind == "run":
            run = run_from(told)
            break
        elif not kind:
            break
    if begun is None:
        raise BadInput("it is empty", hint=_HINT)
    if run is None:
        run = _torn(begun, series, peak)
    return run._replace(samples=series.samples())


class _Peak:
    """What the samples of a record say of the peak."""

    def __init__(self) -> None:
        self.highest = _NOTHING
        self._best: Sample | None = None

    @property
    def best(self) -> Sample:
        """What the sampler took for the sample at the peak, where the record tells."""
        return self._best or self.highest

    def look(self, sample: Sample, resolution_bytes: int) -> None:
        self.highest = _higher(self.highest, sample)
        best = self._best
        if sample.composition is not None:
            self._best = sample if best is None else _described(sample, best)
        elif best and sample.processes and is_at_peak(sample, best, resolution_bytes):
            self._best = best.with_processes_of(sample)


def _torn(begun: Run, series: Series, peak: _Peak) -> Run:
    """What can be said of a run whose end was not recorded."""
    last, method = series.last or _NOTHING, begun.method
    peak_bytes = peak.highest.usage_bytes
    notes = (
        *method.notes,
        f"the record ends {last.elapsed_seconds:.1f} s after the start, without the run's end:"
        " the peak is that of the samples in it",
        *doubts(peak_bytes, peak.best, method.resolution_bytes),
    )
    run = begun._replace(
        wall_seconds=last.elapsed_seconds,
        method=method._replace(sample_count=series.count, probe_count=None, notes=notes),
        peak_bytes=peak_bytes,
        peaks=series.peaks,
        at_peak=peak.best,
        at_peak_anon=series.at_peak_anon,
        at_peak_working_set=series.at_peak_working_set,
        at_exit=last,
        events=last.events,
        pressure=last.pressure,
        paging=last.paging,
        samples=series.samples(),
    )
    return run._replace(oom=judge(run))


def _higher(highest: Sample, sample: Sample) -> Sample:
    """The higher one, with the processes that were looked at last on the way there."""
    return highest if sample.usage_bytes < highest.usage_bytes else _described(sample, highest)


def _described(sample: Sample, other: Sample) -> Sample:
    """With the other's processes, where it has none itself."""
    return sample if sample.processes else sample.with_processes_of(other)


def _changed(counts: Events | Paging, known: Events | Paging) -> dict[str, int | None]:
    """Those that are not as they were."""
    names = zip(counts._fields, counts, known, strict=True)
    return {name: count for name, count, before in names if count != before}


def _counts(told: Any, before: Sample) -> dict[str, Any]:
    """The counts of a line: those that are not in it are as in the line before."""
    known = {name: getattr(before, name)._asdict() | told.get(name, {}) for name in _COUNTS}
    # It is in every line, and in those of an older cmemrun alone.
    return known | {"events": known["events"] | {"oom_kill": told.get("oom_kill")}}


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
