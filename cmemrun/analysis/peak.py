"""Whether the parts at the peak are those of the peak."""

from collections.abc import Iterator

from cmemrun.model import Sample
from cmemrun.units import format_size

__all__ = ["doubts"]

# How far below the peak the sample at the peak may be without a word of it.
_CLOSE_SHARE = 0.02


def doubts(peak_bytes: int, at_peak: Sample, resolution_bytes: int) -> Iterator[str]:
    """What a reader of the parts at the peak must know, in sentences."""
    missing, unexplained = peak_bytes - at_peak.usage_bytes, at_peak.unexplained_bytes
    close = max(peak_bytes * _CLOSE_SHARE, resolution_bytes)
    if missing > close:
        yield (
            f"no sample was closer to the peak than {format_size(missing)}:"
            " the parts at peak are of that one"
        )
    if unexplained > close:
        yield (
            f"{format_size(unexplained)} of the usage at peak are in none of its parts:"
            " the kernel counts them there later, and takes them out earlier"
        )
