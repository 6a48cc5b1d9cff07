"""Samples kept of a run of any length, in bounded memory, and what was highest in them."""

from cmemrun.model import Peaks, Sample

__all__ = ["Series", "is_at_peak", "is_near", "notable"]

# A new high is notable, and worth a full read, from this share above the last
# one on; so a program that grows and grows costs one for every 1.6 %.
_NOTABLE_SHARE = 1 / 64
_NOTABLE_BYTES = 65536


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


def notable(usage_bytes: int) -> int:
    """How much more or less than a usage is worth a look."""
    return max(int(usage_bytes * _NOTABLE_SHARE), _NOTABLE_BYTES)


def is_near(sample: Sample, peak: Sample) -> bool:
    """Whether usage is as high as that of the peak, but for what is not worth a look."""
    return sample.usage_bytes >= peak.usage_bytes - notable(peak.usage_bytes)


def is_at_peak(sample: Sample, peak: Sample, resolution_bytes: int) -> bool:
    """Whether those who are there at a sample are those who make up the peak."""
    return is_near(sample, peak) and not _is_giving_back(sample, peak, resolution_bytes)


def _is_giving_back(sample: Sample, peak: Sample, resolution_bytes: int) -> bool:
    """Whether pages were just leaving, so that the parts are of less than usage is.

    They are taken out of anon one by one and out of usage by the 10,000 (mmu_gather,
    ``MAX_GATHER_BATCH_COUNT``): a program that ends, whose last pages may be charged then.
    What it shared stays until all of it is unmapped: seen where both samples are described.
    ``peak`` is the best that is known of the peak.
    """
    if peak.kernel_bytes is None:
        return False  # no group, and usage is made of the parts
    usage, had, has = sample.usage_bytes, _of_programs(peak), _of_programs(sample)
    if _unmapped(sample, peak) > notable(usage) and usage <= peak.usage_bytes + resolution_bytes:
        return True
    if had - has <= notable(usage) or had > peak.usage_bytes + resolution_bytes:
        return False
    if sample.unexplained_bytes == 0:
        # Where kernel is what is left over (v2 before Linux 5.18), a much higher usage is
        # believed, as it may be kernel memory.
        return usage < peak.usage_bytes + notable(peak.usage_bytes)
    risen = usage - peak.usage_bytes
    return sample.unexplained_bytes - peak.unexplained_bytes > risen


def _of_programs(sample: Sample) -> int:
    return (sample.anon_bytes or 0) + (sample.file_bytes or 0)


def _unmapped(sample: Sample, peak: Sample) -> int:
    """How much less of files was mapped than at the peak; 0 where that is not known."""
    if sample.composition is None or peak.composition is None:
        return 0
    had, has = peak.composition.file_mapped_bytes, sample.composition.file_mapped_bytes
    return 0 if had is None or has is None else had - has
