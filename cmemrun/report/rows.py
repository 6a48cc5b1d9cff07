"""What the tables and lists of a Run hold, the same in a terminal and on a page.

Plain text, not yet made safe.
"""

from collections.abc import Iterator

from cmemrun.analysis.views import as_others_show
from cmemrun.model import Run
from cmemrun.report import words
from cmemrun.units import format_duration, format_size

__all__ = ["SIZES", "WHY_OTHERS_DIFFER", "inside", "method", "runtime", "shown_by", "sizes"]

# From this share of the peak on something inside it is named.
_WORTH_SHARE = 0.01

_INSIDE = {
    "file_mapped_bytes": "mapped files",
    "file_dirty_bytes": "dirty",
    "file_writeback_bytes": "being written",
    "anon_thp_bytes": "huge pages of anon",
    "file_thp_bytes": "huge pages of files",
    "shmem_thp_bytes": "huge pages of shared memory",
    "pagetables_bytes": "page tables",
    "kernel_stack_bytes": "kernel stacks",
    "percpu_bytes": "per-CPU memory",
    "vmalloc_bytes": "vmalloc",
    "slab_reclaimable_bytes": "reclaimable slab",
    "slab_unreclaimable_bytes": "unreclaimable slab",
}

SIZES = ("at peak", "at exit", "highest", "seen at")
"""The columns of ``sizes``, after the name of the size."""

WHY_OTHERS_DIFFER = (
    "at the peak: with or without inactive page cache, all of it, or kernel memory;"
    " RSS counts shared pages for each process"
)


def sizes(run: Run) -> Iterator[tuple[str, ...]]:
    """What the usage was made of, when it was highest, at the end, and each at its own highest."""
    highest = {"usage_bytes": run.peak_bytes, **run.peaks._asdict()}
    moments = {
        "usage_bytes": run.at_peak,
        "working_set_bytes": run.at_peak_working_set,
        "anon_bytes": run.at_peak_anon,
    }
    for label, name in words.SIZES:
        moment = moments.get(name)
        yield (
            label,
            words.size(getattr(run.at_peak, name)),
            words.size(getattr(run.at_exit, name)),
            words.size(highest[name]),
            format_duration(moment.elapsed_seconds) if moment else "",
        )


def inside(run: Run) -> str:
    """What lies inside the parts at the peak, where it is worth a word; empty without any."""
    peak, composition = run.at_peak, run.at_peak.composition
    found = {"shared memory": peak.shmem_bytes, "sockets": peak.sock_bytes}
    for name, label in _INSIDE.items():
        found[label] = getattr(composition, name) if composition else None
    least = run.peak_bytes * _WORTH_SHARE
    worth = {label: size for label, size in found.items() if size and size >= least}
    return ", ".join(f"{label} {format_size(size)}" for label, size in worth.items())


def shown_by(run: Run) -> str:
    """What others would show of it, where it ran as a container; else empty."""
    if not run.rules:
        return ""
    return ", ".join(
        f"{view.tool} {format_size(view.size_bytes)}"
        for view in as_others_show(run)
        if view.size_bytes is not None
    )


def runtime(run: Run) -> Iterator[str]:
    """What its language runtime makes of the limit, and what that was told."""
    if run.runtime is None:
        return
    if run.runtime.does:
        yield run.runtime.does
    for name, value in run.runtime.environment:
        yield f"--runtime-env has set {name}={value}"


def method(run: Run) -> str:
    """How it was measured, and how often."""
    how = run.method
    told = (
        f"{how.backend}, {words.counted(how.sample_count, 'sample')},"
        f" refresh {format_duration(how.refresh_seconds)}"
    )
    if how.probe_count is None:
        return told
    if how.probe_seconds is None:
        return f"{told}, nothing in between"
    return f"{told}, usage looked at {words.counted(how.probe_count, 'time')} in between"
