"""A Run as a person reads it, in a terminal or a log."""

from collections.abc import Iterator

from cmemrun.analysis.views import as_others_show
from cmemrun.model import Run, Sample
from cmemrun.report import words
from cmemrun.report.text import command_line, for_people, printable
from cmemrun.units import format_duration, format_size

__all__ = ["render"]

# Select Graphic Rendition (ECMA-48, 8.3.117).
_PLAIN, _BOLD, _DIM, _RED, _GREEN = (f"\x1b[{code}m" for code in (0, 1, 2, 31, 32))

_LABEL_WIDTH = 13
_COLUMN_WIDTH = 12

# From this share of the peak on something inside it is named.
_WORTH_SHARE = 0.01
_MOST_PROCESSES = 8
_MOST_TASKS = 5
_COMMAND_WIDTH = 60

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

_WHY_THEY_DIFFER = (
    "at the peak: with or without inactive page cache, all of it, or kernel memory;"
    " RSS counts shared pages for each process"
)


def render(run: Run, *, colour: bool) -> str:
    """The whole report, ending in a newline; ``colour`` only for a terminal."""
    return for_people("\n".join(_Report(run, colour).lines()) + "\n")


class _Report:
    def __init__(self, run: Run, colour: bool) -> None:
        self.run = run
        self.colour = colour

    def lines(self) -> Iterator[str]:
        run = self.run
        yield self._row("cmemrun", self._bold(self._subject()))
        if run.user is not None:
            yield self._row("", f"as {printable(run.user)}")
        yield self._row("", self._outcome())
        yield ""
        yield self._row(
            "peak", f"{self._bold(format_size(run.peak_bytes))}   {words.peak_source(run)}"
        )
        if run.upper_bound_bytes is not None:
            between = f"{format_size(run.peak_bytes)} and {format_size(run.upper_bound_bytes)}"
            yield self._row("", f"between {between}, which the group we are in rose by")
        for budget in run.budgets:
            told = printable(words.budget(budget))
            yield self._row("budget", self._mark(told, good=budget.passed))
        yield ""
        yield from self._table()
        yield from self._inside()
        if maps := words.maps(run):
            yield self._row("eBPF maps", maps)
        yield ""
        yield from self._processes()
        yield from self._kills()
        yield self._row("stalled", words.stalled(run))
        if paged := words.paging(run):
            yield self._row("paging", paged)
        yield self._row("limit", printable(words.limits(run)))
        yield from self._runtime()
        for straggler in run.stragglers:
            name = command_line(straggler.command) or printable(straggler.name or "?")
            yield self._row("ended", f"{straggler.pid} {name} outlived the program")
        if run.rules:
            shown = ", ".join(
                f"{view.tool} {format_size(view.size_bytes)}"
                for view in as_others_show(run)
                if view.size_bytes is not None
            )
            yield self._row("shown by", shown)
            yield self._row("", _WHY_THEY_DIFFER)
        yield self._row("measured", self._method())
        yield self._row("", printable(run.method.group))
        for note in run.method.notes:
            yield self._row("note", printable(note))

    def _subject(self) -> str:
        run = self.run
        if run.command or not run.method.attached:
            return command_line(run.command)
        return printable(run.method.group)

    def _outcome(self) -> str:
        run = self.run
        return (
            f"{self._end()} {format_duration(run.wall_seconds)}, CPU"
            f" {words.duration(run.cpu_user_seconds)} user,"
            f" {words.duration(run.cpu_system_seconds)} system"
        )

    def _end(self) -> str:
        told = words.end(self.run)
        if told is None:
            return "watched for" if self.run.method.attached else "seen for"
        return f"{self._mark(told, good=self.run.exit.succeeded)} after"

    def _table(self) -> Iterator[str]:
        run = self.run
        highest = {
            "usage_bytes": run.peak_bytes,
            "working_set_bytes": run.peaks.working_set_bytes,
            "anon_bytes": run.peaks.anon_bytes,
            "file_bytes": run.peaks.file_bytes,
            "kernel_bytes": run.peaks.kernel_bytes,
            "swap_bytes": run.peaks.swap_bytes,
        }
        moments = {
            "usage_bytes": run.at_peak,
            "working_set_bytes": run.at_peak_working_set,
            "anon_bytes": run.at_peak_anon,
        }
        yield self._cells("", "at peak", "at exit", "highest", "seen at", dim=True)
        for label, name in words.SIZES:
            moment = moments.get(name)
            yield self._cells(
                label,
                _value(run.at_peak, name),
                _value(run.at_exit, name),
                words.size(highest[name]),
                format_duration(moment.elapsed_seconds) if moment else "",
            )

    def _inside(self) -> Iterator[str]:
        """What lies inside the parts at the peak, where it is worth a word."""
        peak, composition = self.run.at_peak, self.run.at_peak.composition
        found = {"shared memory": peak.shmem_bytes, "sockets": peak.sock_bytes}
        for name, label in _INSIDE.items():
            found[label] = getattr(composition, name) if composition else None
        worth = {
            label: size
            for label, size in found.items()
            if size and size >= self.run.peak_bytes * _WORTH_SHARE
        }
        if worth:
            told = ", ".join(f"{label} {format_size(size)}" for label, size in worth.items())
            yield self._row("inside", told)

    def _processes(self) -> Iterator[str]:
        peak = self.run.at_peak
        if not peak.processes or peak.processes_elapsed_seconds is None:
            return
        when = format_duration(peak.processes_elapsed_seconds)
        yield self._cells("processes", "PSS", "USS", "RSS", dim=True) + self._dim(f"   at {when}")
        for process in peak.processes[:_MOST_PROCESSES]:
            sizes = (process.pss_bytes, process.uss_bytes, process.rss_bytes)
            line = command_line(process.command, _COMMAND_WIDTH) or printable(process.name)
            yield f"{self._cells(str(process.pid), *map(words.size, sizes))}   {line}"
            if process.mappings:
                yield self._row("", self._dim(f"{'':4}{words.mapped(process.mappings)}"))
        if len(peak.processes) > _MOST_PROCESSES:
            yield self._row("", f"and {len(peak.processes) - _MOST_PROCESSES} smaller ones")
        yield ""

    def _kills(self) -> Iterator[str]:
        oom, told = self.run.oom, printable(words.kills(self.run))
        if oom.verdict == "none":
            yield self._row("OOM", told)
            return
        yield self._row("OOM", self._mark(told, good=False))
        for text in oom.evidence:
            yield self._row("", printable(text))
        if oom.tasks:
            tasks = [
                f"{printable(task.name)} ({task.pid}) {format_size(task.rss_bytes)}"
                for task in oom.tasks[:_MOST_TASKS]
            ]
            more = len(oom.tasks) - len(tasks)
            yield self._row("", "chosen from: " + ", ".join(tasks) + (f", +{more}" * bool(more)))
        if oom.last_samples:
            seen = [
                f"{format_size(sample.usage_bytes)} at {format_duration(sample.elapsed_seconds)}"
                for sample in oom.last_samples
            ]
            yield self._row("", f"usage before it: {', '.join(seen)}")

    def _runtime(self) -> Iterator[str]:
        runtime = self.run.runtime
        if runtime is None:
            return
        if runtime.does:
            yield self._row("runtime", printable(runtime.does))
        for name, value in runtime.environment:
            yield self._row("", printable(f"--runtime-env has set {name}={value}"))

    def _method(self) -> str:
        method = self.run.method
        probes = (
            f"usage looked at {method.probe_count} times in between"
            if method.probe_seconds is not None
            else "nothing in between"
        )
        return (
            f"{printable(method.backend)}, {method.sample_count} samples,"
            f" refresh {format_duration(method.refresh_seconds)}, {probes}"
        )

    def _row(self, label: str, text: str) -> str:
        return f"{self._dim(label.ljust(_LABEL_WIDTH))}{text}".rstrip()

    def _cells(self, label: str, *cells: str, dim: bool = False) -> str:
        text = "".join(cell.rjust(_COLUMN_WIDTH) for cell in cells)
        return self._row(label, self._dim(text) if dim else text)

    def _bold(self, text: str) -> str:
        return self._styled(_BOLD, text)

    def _dim(self, text: str) -> str:
        return self._styled(_DIM, text) if text.strip() else text

    def _mark(self, text: str, *, good: bool) -> str:
        return self._styled(_GREEN if good else _RED, text)

    def _styled(self, code: str, text: str) -> str:
        return f"{code}{text}{_PLAIN}" if self.colour else text


def _value(sample: Sample, name: str) -> str:
    return words.size(getattr(sample, name))
