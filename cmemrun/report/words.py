"""What a Run says in words, the same in every report for people; plain text, not yet made safe."""

import signal

from cmemrun.analysis.metrics import METRICS, Kind
from cmemrun.model import Budget, Mappings, Run, Unlimited
from cmemrun.units import format_duration, format_size

__all__ = [
    "SIZES",
    "allowance",
    "budget",
    "counted",
    "duration",
    "end",
    "kills",
    "limits",
    "mapped",
    "maps",
    "paging",
    "peak_source",
    "size",
    "stalled",
]

SIZES = (
    ("usage", "usage_bytes"),
    ("working set", "working_set_bytes"),
    ("anon", "anon_bytes"),
    ("file", "file_bytes"),
    ("kernel", "kernel_bytes"),
    ("swap", "swap_bytes"),
)
"""The rows of every table of sizes: their names, and those of a sample."""

_VERDICTS = {
    "none": "no OOM kill",
    "main-killed": "the OOM killer ended the program",
    "child-killed": "the OOM killer ended a child of the program, which itself went on",
    "group-killed": "the OOM killer ended the whole group",
    "sigkill-not-oom": "no OOM kill, though SIGKILL ended it",
    "unknown": "SIGKILL ended it, and nobody can say whether that was the OOM killer",
}
_WHOSE_LIMIT = {
    "own": ", at the group's own limit",
    "ancestor": ", at the limit of a group above",
    "machine": ", as the machine was out of memory",
}
_LIMITS = {
    "high_bytes": "high",
    "low_bytes": "low",
    "min_bytes": "min",
    "swap_max_bytes": "swap",
    "zswap_max_bytes": "zswap",
    "pids_max": "pids",
    "oom_score_adj": "oom_score_adj",
}
# What the kernel has where nobody asked, and nobody wants to read.
_UNSET = {"low_bytes": 0, "min_bytes": 0}
_PAGING = {
    "pgmajfault": "major faults",
    "workingset_refault_anon": "refaults of anon",
    "workingset_refault_file": "refaults of files",
    "pswpin": "pages swapped in",
    "pswpout": "pages swapped out",
}


def size(size_bytes: int | None) -> str:
    """A size, or that the kernel does not say it."""
    return "n/a" if size_bytes is None else format_size(size_bytes)


def duration(seconds: float | None) -> str:
    """A time, likewise."""
    return "n/a" if seconds is None else format_duration(seconds)


def peak_source(run: Run) -> str:
    """How the peak was got, and how exact it is."""
    method = run.method
    if method.peak_source == "kernel":
        return (
            f"the kernel's high-water mark, at most {format_size(method.resolution_bytes)} too high"
        )
    if method.backend == "proc":
        return "a LOWER BOUND: sampled, without page cache and kernel memory"
    if not method.sample_count:
        return "a lower bound: no sample was taken"
    return "a lower bound: the highest sample, without the kernel's high-water mark"


def budget(budget: Budget) -> str:
    """Measured, allowed, margin, and how sure."""
    name, kind = budget.metric, _kind(budget)
    allowed = kind.tell(budget.allowed)
    if budget.measured is None or budget.margin is None:
        return f"{name} was not measured, and {allowed} is allowed"
    state = "within" if budget.passed else "over"
    told = (
        f"{name} {kind.tell(budget.measured)} is {state} the allowed {allowed},"
        f" margin {kind.tell(budget.margin)}"
    )
    if budget.certainty == "exact":
        return told
    doubt = ", not proven" if budget.passed and not budget.proven else ""
    return f"{told} ({budget.certainty.replace('-', ' ')}{doubt})"


def allowance(budget: Budget) -> str:
    """What is allowed, as short as a budget can be named."""
    return f"{budget.metric} <= {_kind(budget).tell(budget.allowed)}"


def _kind(budget: Budget) -> Kind:
    """What it is counted in; a metric of a later version is a count."""
    return METRICS[budget.metric].kind if budget.metric in METRICS else Kind.COUNT


def end(run: Run) -> str | None:
    """How the program ended; ``None`` where nobody saw that."""
    told = run.exit
    if told.timed_out:
        return "ended by the time limit (status 124)"
    if told.signal is not None:
        return f"ended by {_signal_name(told.signal)} (status {told.status})"
    return None if told.code is None else f"exit {told.code}"


def kills(run: Run) -> str:
    """Whom the OOM killer struck, and at whose limit."""
    verdict = run.oom.verdict
    if verdict == "none" and run.events.oom_kill is None:
        return _not_seen(run) or "nothing here counts OOM kills"
    told = _VERDICTS.get(verdict, verdict)
    if verdict == "child-killed" and run.exit.status is None:
        told = "the OOM killer ended a process of the group"
    if verdict == "unknown" and run.exit.signal != signal.SIGKILL:
        told = "the OOM killer struck in the group, and nobody can say whom"
    return told + _WHOSE_LIMIT.get(run.oom.limit or "", "")


def stalled(run: Run) -> str:
    """How long it waited for memory."""
    if run.pressure is None:
        return _not_seen(run) or f"not offered here: {_why_no_pressure(run)}"
    full = run.pressure.full_seconds
    told = f"{format_duration(run.pressure.some_seconds)} waiting for memory"
    return told if full is None else f"{told}, {format_duration(full)} of it all at once"


def _why_no_pressure(run: Run) -> str:
    """What is missing for PSI, which every v2 group has, whatever its controllers are."""
    method, layout = run.method, run.environment.hierarchy
    if method.backend == "proc":
        return "the kernel counts pressure (PSI) of groups only"
    if layout == "legacy":
        return "the kernel counts pressure (PSI) of v2 groups only, and there is no v2 tree"
    without = "the kernel was started with psi=0 or built without it (CONFIG_PSI, Linux 4.20)"
    if layout == "hybrid" and method.backend != "cgroup-v2":
        what = "holds just these processes" if method.attached else "was made beside v1's"
        return f"no v2 group {what}, or {without}"
    # Whoever made it may have had it not counted, to spare the cost (Linux 6.1).
    return f"{without}, or cgroup.pressure is 0" if method.attached else without


def _not_seen(run: Run) -> str:
    """Why something is not known, where that is no fault of the kernel's."""
    return "" if run.method.sample_count else "not known: no sample was taken"


def counted(number: int, what: str) -> str:
    """So many of something: ``1 sample``, ``2 samples``."""
    return f"{number} {what}{'' if number == 1 else 's'}"


def paging(run: Run) -> str:
    """What was fetched back and put away; empty where nothing was."""
    counts = run.paging._asdict()
    return ", ".join(f"{label} {counts[name]}" for name, label in _PAGING.items() if counts[name])


def limits(run: Run) -> str:
    """What the kernel enforced, and how often that was felt."""
    found, events = run.limits, run.events
    if found.max_bytes is None:
        told = ["not known"]
    elif isinstance(found.max_bytes, Unlimited):
        told = ["none of its own"]
    else:
        told = [format_size(found.max_bytes)]
    for name, label in _LIMITS.items():
        value = getattr(found, name)
        if isinstance(value, int) and value != _UNSET.get(name):
            told.append(f"{label} {format_size(value) if name.endswith('_bytes') else value}")
    told += [f"{file} {value}" for file, value in found.files]
    if found.oom_group:
        told.append("the whole group is killed together")
    if events.max:
        told.append(f"limit hit {counted(events.max, 'time')}")
    if events.high:
        told.append(f"high exceeded {counted(events.high, 'time')}")
    return ", ".join(told)


def maps(run: Run) -> str:
    """eBPF maps, which are kernel memory, and in part in nobody's numbers; empty without any."""
    found = run.bpf_maps
    if not found:
        return ""
    told = f"{len(found)} held open, {format_size(sum(one.memlock_bytes for one in found))}"
    outside = sum(one.per_cpu_bytes for one in found)
    if not run.bpf_maps_charged:
        return f"{told}: this kernel charges them to no group"
    if outside:
        return f"{told}: of it {format_size(outside)} for each CPU, charged to no group"
    return f"{told}: in kernel, as far as the group made them"


def mapped(mappings: Mappings) -> str:
    """A process's memory by what is mapped."""
    sizes = {name.removesuffix("_bytes"): value for name, value in mappings._asdict().items()}
    return ", ".join(f"{name} {format_size(value)}" for name, value in sizes.items() if value)


def _signal_name(number: int) -> str:
    try:
        return signal.Signals(number).name
    except ValueError:
        return f"signal {number}"
