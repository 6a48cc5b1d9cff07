"""Samples kept of a run of any length, in bounded memory, and what was highest in them."""

from cmemrun.model import Peaks, Sample

__all__ = ["Series"]


class Series:
    """Samples in order of time, thinned evenly once they are many.

    Time is divided into spans, and of each span the sample with the highest and
    the one with the lowest usage are kept, so no extreme is ever lost; a span is
    doubled whenever there are more than ``capacity`` of them. ``peaks``,
    ``at_peak_anon`` and ``at_peak_working_set`` are of all that were added.
    """

    def __init__(self, span_seconds: float = 0.001, capacity: int = 1024) -> None:
        """``span_seconds`` is how fine to keep at best."""
        self._span_seconds = span_seconds
        self._capacity = capacity
        self._spans: list[tuple[int, Sample, Sample]] = []
        self.count = 0
        self.last: Sample | None = None
        self.peaks = Peaks()
        self.at_peak_anon: Sample | None = None
        self.at_peak_working_set: Sample | None = None

    def add(self, sample: Sample) -> None:
        """Keep a sample that is no older than the one before."""
        self.count += 1
        self.last = sample
        self._note_highest(sample)
        self._put(sample, sample)
        if len(self._spans) > self._capacity:
            self._span_seconds *= 2
            spans, self._spans = self._spans, []
            for _, low, high in spans:
                self._put(low, high)

    def samples(self) -> tuple[Sample, ...]:
        """What was kept, and always the last one."""
        kept: list[Sample] = []
        for _, low, high in self._spans:
            pair = [low] if low is high else sorted((low, high), key=_when)
            kept.extend(pair)
        if self.last is not None and kept[-1] is not self.last:
            kept.append(self.last)
        return tuple(kept)

    def _note_highest(self, sample: Sample) -> None:
        before, self.peaks = self.peaks, self.peaks.raised_to(sample)
        if self.peaks.anon_bytes != before.anon_bytes:
            self.at_peak_anon = sample
        if self.peaks.working_set_bytes != before.working_set_bytes:
            self.at_peak_working_set = sample

    def _put(self, low: Sample, high: Sample) -> None:
        index = int(high.elapsed_seconds / self._span_seconds)
        if not self._spans or self._spans[-1][0] != index:
            self._spans.append((index, low, high))
            return
        _, lowest, highest = self._spans[-1]
        if low.usage_bytes < lowest.usage_bytes:
            lowest = low
        if high.usage_bytes > highest.usage_bytes:
            highest = high
        self._spans[-1] = (index, lowest, highest)


def _when(sample: Sample) -> float:
    return sample.elapsed_seconds
