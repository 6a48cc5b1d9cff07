"""What this machine lets its caller measure: every way tried in earnest, one proved.

No second opinion: a way is usable where ``backends.make`` makes a group in it
for a waiting program, and its reason is the one that ``choose`` would give.
"""

import contextlib
import os
import subprocess
import sys
from collections.abc import Iterator
from typing import NamedTuple, Self

from cmemrun import __version__
from cmemrun.backends import make, open_manager, ways
from cmemrun.errors import CmemrunError, NoGroup
from cmemrun.keeper import Keeper
from cmemrun.kernel.files import parse_keyed, parse_limit, read_text
from cmemrun.kernel.hierarchy import Hierarchy, Mount, ancestors, detect, is_manager
from cmemrun.launcher import Program, Streams
from cmemrun.model import Run, Sample
from cmemrun.runner import Settings, measure
from cmemrun.sampler import Sampling
from cmemrun.signals import Background

__all__ = ["Diagnosis", "Machine", "Offer", "Place", "Proof", "Way", "examine"]

LOAD_BYTES = 16 * 2**20
# An interpreter's own memory varies by some pages from one start to the next.
_TOLERANCE_BYTES = 2**20
_REFRESH_SECONDS = 0.05
# The counters of memory.stat may lag 64 pages per CPU behind, until the kernel sums them
# up every 2 s (Linux 6.8, commit 7d7ef0a4686a; mm/memcontrol.c, FLUSH_TIME).
_FLUSH_SECONDS = 2.5
# Only against a hang: no sample came, or none that has the load.
_LONGEST_HOLD_SECONDS = 30

# Holds its memory until its standard input has a byte, or for so many seconds.
_LOAD = """
import mmap, os, select, sys
size = int(sys.argv[1])
memory = mmap.mmap(-1, max(size, 1), flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS)
for page in range(0, size, mmap.PAGESIZE):
    memory[page] = 1
os.write(1, b"!")
select.select([0], [], [], float(sys.argv[2]))
"""

# What a measurement is better for, each with what it is good for.
_V2_OFFERS = {
    "memory.peak": "the exact peak (Linux 5.19)",
    "memory.stat kernel": "kernel memory as one number (5.18)",
    "memory.swap.current": "swap",
    "memory.swap.peak": "the exact peak of swap (6.5)",
    "memory.pressure": "time lost for want of memory (PSI)",
    "memory.events.local": "kills of this very group (5.3)",
    "memory.oom.group": "killing the group as a whole (4.19)",
    "memory.reclaim": "asking for memory back (5.19)",
    "cgroup.kill": "ending all processes at once (5.14)",
    "pids.current": "the number of tasks",
}
_V1_OFFERS = {
    "memory.max_usage_in_bytes": "the exact peak",
    "memory.kmem.usage_in_bytes": "kernel memory",
    "memory.oom_control oom_kill": "OOM kills (4.13)",
    "memory.memsw.usage_in_bytes": "memory and swap together",
    "memory.pressure": "time lost for want of memory (PSI, beside it on v2)",
    "cgroup.kill": "ending all processes at once (5.14, beside it on v2)",
    "pids.current": "the number of tasks (beside it)",
}


class Machine(NamedTuple):
    """Kernel and memory; sizes in bytes."""

    kernel: str
    machine: str
    cpus: int
    memory_bytes: int
    swap_bytes: int
    overcommit_mode: int | None
    """0 by a rule of thumb, 1 always, 2 never beyond the limit (proc_sys_vm(5))."""
    commit_limit_bytes: int | None
    committed_bytes: int | None
    container: str | None
    """The container's kind as ``systemd-detect-virt`` has it, ``None`` where nobody says."""


class Place(NamedTuple):
    """Who and where the caller is."""

    user_id: int
    hierarchy: str
    """``unified``, ``hybrid``, ``legacy`` or ``none``."""
    memory_version: int | None
    """Of the hierarchy that has the memory controller."""
    manager: str | None
    """``systemd``, ``None`` where nobody manages the groups."""
    group: str | None
    """The caller's own group, ``None`` where it cannot be seen."""
    limit_bytes: int | None
    """The lowest limit of that and all above it that can be seen."""


class Way(NamedTuple):
    """One way to measure, tried."""

    name: str
    usable: bool
    group: str | None = None
    exact: bool | None = None
    """Whether the kernel keeps the peak."""
    reason: str | None = None
    remedy: str | None = None
    notes: tuple[str, ...] = ()


class Offer(NamedTuple):
    """Something a kernel may offer for a group."""

    name: str
    purpose: str
    offered: bool


class Proof(NamedTuple):
    """A known load, measured: what it read above the same program without the load."""

    load_bytes: int
    anon_bytes: int | None
    peak_bytes: int | None
    backend: str | None = None
    """How it was measured, as ``method.backend`` of a run."""
    error: str | None = None

    @property
    def passed(self) -> bool:
        """Whether the anonymous memory is the load, within a MiB."""
        return (
            self.anon_bytes is not None
            and abs(self.anon_bytes - self.load_bytes) <= _TOLERANCE_BYTES
        )


class Diagnosis(NamedTuple):
    """All of it."""

    cmemrun: str
    machine: Machine
    place: Place
    ways: tuple[Way, ...]
    """In the order in which they are tried; then the others."""
    chosen: str
    """The name of the way that is taken without options."""
    offers: tuple[Offer, ...]
    proof: Proof

    @property
    def group_possible(self) -> bool:
        """Whether a group can be had, and has been shown to count rightly."""
        return self.chosen != "proc" and self.proof.passed


def examine() -> Diagnosis:
    """Try every way, and measure a known load in the best one.

    Raises ``NoGroup`` where there is no ``/proc`` to read.
    """
    hierarchy = detect()
    order = ways(hierarchy)
    tried = {name: _try(hierarchy, name) for name in order}
    chosen = next(name for name in order if tried[name][0].usable)
    return Diagnosis(
        cmemrun=__version__,
        machine=_machine(),
        place=_place(hierarchy),
        ways=(*(way for way, _ in tried.values()), *_not_tried(hierarchy, order)),
        chosen=chosen,
        offers=tried[chosen][1],
        proof=_prove(chosen),
    )


def _try(hierarchy: Hierarchy, name: str) -> tuple[Way, tuple[Offer, ...]]:
    """Make a group in one way for a program that waits and is never executed."""
    if name == "proc":
        return Way(name, True, exact=False), ()
    with contextlib.ExitStack() as stack:
        program = Program([sys.executable], restore=Background().restore)
        stack.callback(program.abandon)
        keeper = stack.enter_context(Keeper())
        asked = stack.enter_context(open_manager([name]))
        try:
            group = make(name, hierarchy, program.pid, keeper, asked)
            stack.callback(group.remove)
            stack.callback(group.close)
            group.attach(program.pid)
        except NoGroup as refusal:
            return Way(name, False, reason=refusal.message, remedy=refusal.hint), ()
        exact = group.peak() is not None
        way = Way(name, True, group=group.where, exact=exact, notes=tuple(group.notes))
        return way, _offers(group.directories)


def _not_tried(hierarchy: Hierarchy, order: list[str]) -> Iterator[Way]:
    """Why there is no point in the other ways, or no good."""
    if "systemd" not in order:
        yield Way("systemd", False, reason="systemd is not the manager here")
    memory = 1 if hierarchy.v1("memory") else 2
    for version in (2, 1):
        name = f"v{version}"
        if version != memory:
            yield Way(name, False, reason=f"the memory controller is not in a {name} tree")
        elif name not in order:
            yield Way(name, False, reason="systemd manages the groups here and is asked instead")


def _offers(directories: list[str]) -> tuple[Offer, ...]:
    if not directories:
        return ()
    known = _V2_OFFERS if os.path.exists(f"{directories[0]}/memory.current") else _V1_OFFERS
    return tuple(
        Offer(name, purpose, any(_has(directory, name) for directory in directories))
        for name, purpose in known.items()
    )


def _has(directory: str, name: str) -> bool:
    file, _, key = name.partition(" ")
    if not key:
        return os.path.exists(f"{directory}/{file}")
    text = read_text(f"{directory}/{file}")
    return text is not None and key.encode() in parse_keyed(text)


def _prove(chosen: str) -> Proof:
    # Never by falling back in silence: that would prove another way.
    require = None if chosen == "proc" else "cgroup"
    proof = _proved(require, 0.0)
    if proof.passed or proof.error is not None:
        return proof
    return _proved(require, _FLUSH_SECONDS)


def _proved(require: str | None, hold_seconds: float) -> Proof:
    try:
        (without, anon_without), (with_load, anon_with) = (
            _measure(size, require, hold_seconds) for size in (0, LOAD_BYTES)
        )
    except CmemrunError as error:
        return Proof(LOAD_BYTES, None, None, error=error.message)
    return Proof(
        LOAD_BYTES,
        None if anon_with is None or anon_without is None else anon_with - anon_without,
        with_load.peak_bytes - without.peak_bytes,
        backend=with_load.method.backend,
    )


def _measure(load_bytes: int, require: str | None, hold_seconds: float) -> tuple[Run, int | None]:
    """Measure a load that stays until a sample has shown it, however late that comes.

    Returns the run, and the anonymous memory that samples of the load have shown.
    """
    command = [sys.executable, "-S", "-E", "-c", _LOAD, str(load_bytes), str(_LONGEST_HOLD_SECONDS)]
    with _Holder(load_bytes, hold_seconds) as holder:
        settings = Settings(
            sampling=Sampling(refresh_seconds=_REFRESH_SECONDS),
            require=require,
            streams=holder.streams,
        )
        return measure(command, settings, observers=[holder]), holder.anon_bytes


class _Holder:
    """An observer that ends the load ``hold_seconds`` after a sample has shown it."""

    def __init__(self, load_bytes: int, hold_seconds: float) -> None:
        self._load_bytes, self._hold_seconds = load_bytes, hold_seconds
        self._is_loaded = False
        self._seen_at: float | None = None
        self.anon_bytes: int | None = None
        """The most that samples of the load have shown; ``None`` without any."""

    def __enter__(self) -> Self:
        with contextlib.ExitStack() as stack:
            self._loaded, telling = _pipe(stack)
            waiting, self._end = _pipe(stack)
            os.set_blocking(self._loaded, False)
            self.streams: Streams = (waiting, telling, None)
            self._stack = stack.pop_all()
        return self

    def __exit__(self, *_: object) -> None:
        self._stack.close()

    def begin(self, run: Run) -> None:
        """Nothing is known yet."""

    def sample(self, sample: Sample) -> None:
        if not self._is_loaded:
            # This sample may have been taken before it was; the next one was not.
            with contextlib.suppress(BlockingIOError):
                self._is_loaded = bool(os.read(self._loaded, 1))
            return
        anon, now = sample.anon_bytes, sample.elapsed_seconds
        if anon is not None:
            self.anon_bytes = max(anon, self.anon_bytes or 0)
        if self._seen_at is None and (anon is None or anon >= self._load_bytes):
            self._seen_at = now
        if self._seen_at is not None and now >= self._seen_at + self._hold_seconds:
            os.write(self._end, b"!")


def _pipe(stack: contextlib.ExitStack) -> tuple[int, int]:
    ends = os.pipe()
    for end in ends:
        stack.callback(os.close, end)
    return ends


def _machine() -> Machine:
    import psutil

    system = os.uname()
    meminfo = dict(line.split(b":", 1) for line in (read_text("/proc/meminfo") or b"").splitlines())
    overcommit = read_text("/proc/sys/vm/overcommit_memory")

    def of_meminfo(name: bytes) -> int | None:
        return int(meminfo[name].split()[0]) * 1024 if name in meminfo else None

    return Machine(
        kernel=system.release,
        machine=system.machine,
        cpus=os.sysconf("SC_NPROCESSORS_ONLN"),
        memory_bytes=psutil.virtual_memory().total,
        swap_bytes=psutil.swap_memory().total,
        overcommit_mode=int(overcommit) if overcommit else None,
        commit_limit_bytes=of_meminfo(b"CommitLimit"),
        committed_bytes=of_meminfo(b"Committed_AS"),
        container=_container(),
    )


def _container() -> str | None:
    try:
        told = subprocess.run(
            ["systemd-detect-virt", "--container"],
            capture_output=True,
            text=True,
            errors="replace",
            timeout=2,
            check=False,
            stdin=subprocess.DEVNULL,
        )
    except (OSError, subprocess.TimeoutExpired):
        return None
    name = told.stdout.strip()
    return None if name in ("", "none") else name


def _place(hierarchy: Hierarchy) -> Place:
    memory = hierarchy.memory
    group = hierarchy.own_group(memory) if memory else None
    return Place(
        user_id=os.geteuid(),
        hierarchy=hierarchy.layout.value,
        memory_version=memory.version if memory else None,
        manager="systemd" if is_manager() else None,
        group=group,
        limit_bytes=_lowest_limit(group, memory) if memory and group else None,
    )


def _lowest_limit(group: str, mount: Mount) -> int | None:
    name = "memory.max" if mount.version == 2 else "memory.limit_in_bytes"
    limits = []
    for place in ancestors(group, mount):
        text = read_text(f"{place}/{name}")
        limit = parse_limit(text) if text else None
        # v1 writes the largest multiple of a page for no limit.
        if isinstance(limit, int) and limit < 2**62:
            limits.append(limit)
    return min(limits, default=None)
