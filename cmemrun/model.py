"""What a measurement is made of: frozen values, no input or output.

``None`` always means that the kernel does not say; it is never written as 0.
``UNLIMITED`` is a limit's own value and no number.

Named tuples rather than dataclasses: a dozen of those takes 5 ms to define,
which every launch would pay for.
"""

from enum import Enum
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from datetime import datetime

__all__ = [
    "UNLIMITED",
    "Assertion",
    "BpfMap",
    "Budget",
    "Composition",
    "Environment",
    "Events",
    "Exit",
    "Identity",
    "Limit",
    "Limits",
    "Mappings",
    "Measurement",
    "Method",
    "Oom",
    "OomEvent",
    "OomLog",
    "OomTask",
    "OomVictim",
    "Paging",
    "Peaks",
    "Pressure",
    "Process",
    "Run",
    "Runtime",
    "Sample",
    "Setting",
    "Straggler",
    "Unlimited",
]


class Unlimited(Enum):
    """The kernel's ``max``."""

    MAX = "max"


UNLIMITED = Unlimited.MAX
Limit = int | Unlimited | None


class Events(NamedTuple):
    """Counts the kernel keeps of a group (``memory.events``; v1: what it has of them).

    They are not numbers of processes: a group kill counts its first victim
    twice, and ``oom`` can reach a thousand for one kill.
    """

    low: int | None = None
    high: int | None = None
    max: int | None = None
    oom: int | None = None
    oom_local: int | None = None
    """Of ``oom``: at this group's own limit, and not at that of one inside it (Linux 5.2)."""
    oom_kill: int | None = None
    oom_group_kill: int | None = None


class Composition(NamedTuple):
    """What lies inside the parts of a sample, in bytes; names as in ``memory.stat``."""

    file_mapped_bytes: int | None = None
    """Of ``file``: mapped by processes."""
    file_dirty_bytes: int | None = None
    file_writeback_bytes: int | None = None
    anon_thp_bytes: int | None = None
    """Of ``anon``: in transparent huge pages."""
    file_thp_bytes: int | None = None
    shmem_thp_bytes: int | None = None
    kernel_stack_bytes: int | None = None
    pagetables_bytes: int | None = None
    percpu_bytes: int | None = None
    vmalloc_bytes: int | None = None
    slab_reclaimable_bytes: int | None = None
    slab_unreclaimable_bytes: int | None = None


class Paging(NamedTuple):
    """What was fetched and put away, counted since the group was made (``memory.stat``)."""

    pgfault: int | None = None
    pgmajfault: int | None = None
    """Faults that waited for a disk."""
    workingset_refault_anon: int | None = None
    """Pages that had been reclaimed and were needed again (told apart since Linux 5.9)."""
    workingset_refault_file: int | None = None
    pswpin: int | None = None
    """Pages read back from swap; of a group since Linux 6.13."""
    pswpout: int | None = None


class Pressure(NamedTuple):
    """Time lost for want of memory, as the kernel counts it (PSI)."""

    some_seconds: float
    """At least one task waited for memory."""
    full_seconds: float | None
    """All that had work to do waited for it."""


class BpfMap(NamedTuple):
    """An eBPF map that a process held open, as its ``fdinfo`` has it."""

    id: int
    type: str
    """As in ``enum bpf_map_type``, in small letters; its number where it is newer than we."""
    memlock_bytes: int
    """What it takes: as computed when it was made, since Linux 6.4 as it is."""
    per_cpu_bytes: int
    """Of it in values for each CPU, which are in no group's numbers."""


class Mappings(NamedTuple):
    """PSS of a process by what is mapped, in bytes."""

    heap_bytes: int
    stack_bytes: int
    """The main thread's; those of others are anonymous."""
    libraries_bytes: int
    """Files with code in them, the program's own included."""
    anonymous_bytes: int
    files_bytes: int
    shared_bytes: int
    """Shared memory: tmpfs, memfd, System V, shared anonymous."""


class Process(NamedTuple):
    """A process and its memory; ``None`` where the kernel hides it from us."""

    pid: int
    ppid: int | None
    name: str
    command: tuple[str, ...]
    rss_bytes: int
    pss_bytes: int | None
    """Shared pages divided by how many share them."""
    uss_bytes: int | None
    """What would be given back if it ended."""
    swap_bytes: int | None
    threads: int | None
    mappings: Mappings | None = None
    """Of the largest, where it was asked for."""


class Sample(NamedTuple):
    """One look at everything a group says, all sizes in bytes.

    ``file_bytes`` holds the page cache and, as the kernel has it, ``shmem_bytes``.
    ``kernel_bytes`` holds no socket buffers: those are ``sock_bytes``.
    """

    elapsed_seconds: float
    usage_bytes: int
    anon_bytes: int | None = None
    file_bytes: int | None = None
    kernel_bytes: int | None = None
    shmem_bytes: int | None = None
    sock_bytes: int | None = None
    inactive_file_bytes: int | None = None
    swap_bytes: int | None = None
    tasks: int | None = None
    events: Events = Events()
    pressure: Pressure | None = None
    """Until then; ``None`` where the kernel does not count it for the group."""
    paging: Paging = Paging()
    composition: Composition | None = None
    """Of the sample at the peak only."""
    processes: tuple[Process, ...] = ()
    """The largest by RSS, the largest first: at the peak, and where they are tracked."""
    processes_elapsed_seconds: float | None = None
    """When they were looked at: at or shortly before the sample."""

    @property
    def working_set_bytes(self) -> int | None:
        """Usage minus inactive file, as the kubelet and cAdvisor compute it; never below 0."""
        if self.inactive_file_bytes is None:
            return None
        return max(0, self.usage_bytes - self.inactive_file_bytes)

    def with_processes_of(self, other: "Sample") -> "Sample":
        """The same, with those who were seen for another one."""
        return self._replace(
            processes=other.processes, processes_elapsed_seconds=other.processes_elapsed_seconds
        )

    @property
    def unexplained_bytes(self) -> int:
        """What of usage is in none of its parts; 0 where a part is not known.

        A little always is, charged in advance; much is a sign of parts that are
        not up to date (the kernel adds them up late).
        """
        if self.anon_bytes is None or self.file_bytes is None or self.kernel_bytes is None:
            return 0
        parts = self.anon_bytes + self.file_bytes + self.kernel_bytes + (self.sock_bytes or 0)
        return max(0, self.usage_bytes - parts)


class Peaks(NamedTuple):
    """The highest value seen in any sample, each for itself and so of different moments."""

    working_set_bytes: int | None = None
    anon_bytes: int | None = None
    file_bytes: int | None = None
    kernel_bytes: int | None = None
    swap_bytes: int | None = None
    tasks: int | None = None

    def raised_to(self, sample: Sample) -> "Peaks":
        """With whatever is higher in a sample."""
        new = Peaks(*(_max(value, getattr(sample, name)) for name, value in self._asdict().items()))
        return self if new == self else new


class Limits(NamedTuple):
    """What the kernel enforces on a group; ``None`` where it was not asked or does not say."""

    max_bytes: Limit = None
    oom_group: bool | None = None
    high_bytes: Limit = None
    """Above it processes are slowed down and reclaimed from."""
    low_bytes: Limit = None
    """Below it memory is reclaimed only where nobody else has any."""
    min_bytes: Limit = None
    """Below it memory is never reclaimed."""
    swap_max_bytes: Limit = None
    zswap_max_bytes: Limit = None
    pids_max: Limit = None
    """Of processes and threads."""
    oom_score_adj: int | None = None
    """Of the main process when it starts, which those it makes inherit."""
    files: tuple[tuple[str, str], ...] = ()
    """Other files of the group and what was written to each."""


class Setting(NamedTuple):
    """One file of a group, what somebody's rule writes to it, and where that rule is from."""

    file: str
    value: str
    rule: str
    source: str


class Exit(NamedTuple):
    """How the program ended.

    ``code`` is what it exited with, ``signal`` the number of the signal that
    ended it; one of them is ``None``, and both are where nobody saw the end.
    ``timed_out`` is set where we ended it.
    """

    code: int | None = None
    signal: int | None = None
    timed_out: bool = False

    @property
    def status(self) -> int | None:
        """One number, as a shell has it: the code, 128+N, and 124 on our time limit."""
        if self.timed_out:
            return 124
        return self.code if self.signal is None else 128 + self.signal

    @property
    def succeeded(self) -> bool:
        """Whether the program said so itself, in time."""
        return self.status == 0


class Identity(NamedTuple):
    """A process that cannot be mistaken for a later one with its number."""

    pid: int
    start_ticks: int
    """When it started, in clock ticks since boot (``/proc/PID/stat``, field 22)."""


class Straggler(NamedTuple):
    """A process that outlived the main process."""

    pid: int
    name: str | None
    command: tuple[str, ...]


class OomVictim(NamedTuple):
    """A process that the OOM killer ended, as the kernel log has it; sizes of that moment."""

    pid: int
    """In the machine's own PID namespace."""
    name: str
    """At most 15 characters, the process's own to choose."""
    anon_bytes: int
    file_bytes: int
    shmem_bytes: int | None
    oom_score_adj: int | None


class OomTask(NamedTuple):
    """A process that the OOM killer looked at."""

    pid: int
    name: str
    rss_bytes: int
    swap_bytes: int
    oom_score_adj: int


class OomEvent(NamedTuple):
    """One decision of the OOM killer; ``None`` and empty where the log leaves it out."""

    invoked_by: str | None
    """Whose allocation it was."""
    limit_group: str | None
    """The group whose limit was hit, as a path from the hierarchy's root."""
    victim_group: str | None
    machine: bool
    """It was the machine's memory that ran out, and nobody's limit."""
    together: bool
    """The whole group was killed (``memory.oom.group``)."""
    victims: tuple[OomVictim, ...]
    tasks: tuple[OomTask, ...]
    whose: str | None = None
    """Where that group is, seen from the run's: ``own``, ``inner`` or ``ancestor``."""


class OomLog(NamedTuple):
    """What the kernel log says of OOM kills in the group."""

    source: str | None
    """Where it was read, ``None`` where nobody lets us."""
    refusal: str
    """Why not, empty where it was."""
    events: tuple[OomEvent, ...]
    pids_are_ours: bool
    """We are in the machine's own PID namespace, whose numbers the log has."""
    unplaced: int = 0
    """Kills that it tells of without their group, as most lines of many are left out."""
    is_whole: bool = True
    """Unset where lines were overwritten before they were read, or could not be read."""


class Oom(NamedTuple):
    """What is to be thought of a run's end, and why.

    ``verdict`` is ``none``, ``main-killed``, ``child-killed`` (the program went
    on), ``group-killed``, ``sigkill-not-oom`` or ``unknown``; ``limit`` is whose
    was hit, ``own``, ``ancestor`` or ``machine``, ``None`` where nobody says.
    """

    verdict: str
    limit: str | None = None
    victims: tuple[OomVictim, ...] = ()
    evidence: tuple[str, ...] = ()
    tasks: tuple[OomTask, ...] = ()
    """The processes that the killer chose from the first time, the largest first."""
    last_samples: tuple[Sample, ...] = ()
    """The last ones taken before the first kill was counted."""
    processes: tuple[Process, ...] = ()
    """Who was seen in the group last before that."""
    processes_elapsed_seconds: float | None = None


class Runtime(NamedTuple):
    """The language runtime that a program is made with, told by its file."""

    name: str
    """``go``, ``jvm``, ``node`` or ``dotnet``."""
    version: str | None
    file: str
    """The program's, or that of what interprets it."""
    settings: tuple[str, ...] = ()
    """What the caller has told it of memory, each as it is written."""
    does: str = ""
    """What it does with the run's limit; empty without one."""
    environment: tuple[tuple[str, str], ...] = ()
    """Variables that we have set for it."""


class Environment(NamedTuple):
    """Where a run was made."""

    kernel: str
    machine: str
    page_bytes: int
    cpus: int
    memory_bytes: int
    hierarchy: str
    cmemrun: str


class Method(NamedTuple):
    """How the numbers were got, and what they are worth.

    ``peak_source`` is ``kernel`` (its high-water mark, read after the end) or
    ``sampled`` (the highest usage we saw, so ``lower_bound`` is set).
    ``resolution_bytes`` is how much too high usage and a kernel's peak may be.
    ``probe_seconds`` is ``None`` where usage was not looked at between two samples, and
    ``probe_count`` where nobody recorded how often it was.
    """

    backend: str
    group: str
    peak_source: str
    lower_bound: bool
    resolution_bytes: int
    refresh_seconds: float
    probe_seconds: float | None
    sample_count: int
    probe_count: int | None
    notes: tuple[str, ...] = ()
    attached: bool = False
    """The group was there before: the numbers are of the time it was watched."""


class Assertion(NamedTuple):
    """So much of a metric (``analysis.metrics``) is allowed, in its unit."""

    metric: str
    allowed: int | float


class Budget(NamedTuple):
    """What somebody allowed, beside what was measured, in the metric's unit.

    ``certainty`` is ``exact``, ``sampled`` (the highest of the samples) or
    ``lower-bound``; ``proven`` that it is within, whatever was missed.
    """

    metric: str
    allowed: int | float
    measured: int | float | None
    certainty: str
    proven: bool = False

    @property
    def margin(self) -> int | float | None:
        """What was left; below 0 where it was not enough, ``None`` where nothing was measured."""
        return None if self.measured is None else self.allowed - self.measured

    @property
    def passed(self) -> bool:
        """Whether the measured value is within the allowed one; never without one."""
        return self.margin is not None and self.margin >= 0


class Run(NamedTuple):
    """One measured command, from its birth to the end of its last process.

    Or a group that was there before, watched for a while (``method.attached``).
    """

    command: tuple[str, ...]
    user: str | None
    pid: int | None
    started_at: "datetime"
    wall_seconds: float
    cpu_user_seconds: float | None
    cpu_system_seconds: float | None
    exit: Exit
    environment: Environment
    method: Method
    limits: Limits
    peak_bytes: int
    upper_bound_bytes: int | None
    peaks: Peaks
    at_peak: Sample
    at_exit: Sample
    events: Events
    pressure: Pressure | None = None
    paging: Paging = Paging()
    at_peak_anon: Sample | None = None
    """The one with the highest anon, as ``at_peak`` is the one with the highest usage."""
    at_peak_working_set: Sample | None = None
    bpf_maps: tuple[BpfMap, ...] = ()
    """All that a process of the group was seen to hold."""
    bpf_maps_charged: bool | None = None
    """Whether this kernel charges them to the group of who makes them; ``None`` without any."""
    rules: tuple[Setting, ...] = ()
    """Of a container manager, that the limits follow; none where nobody asked for them."""
    oom_log: OomLog | None = None
    """``None`` where nothing gave a reason to look."""
    oom: Oom = Oom("none")
    samples: tuple[Sample, ...] = ()
    stragglers: tuple[Straggler, ...] = ()
    budgets: tuple[Budget, ...] = ()
    runtime: Runtime | None = None
    """``None`` where the program is of none that is known."""
    stdout: str | None = None
    """What it wrote there, where we were asked to read it."""
    stderr: str | None = None


class Measurement(NamedTuple):
    """A command that was measured, once or several times."""

    name: str
    """As its budgets or its command line call it."""
    runs: tuple[Run, ...]
    """In the order they were made; at least one."""
    growth: tuple[Budget, ...] = ()
    """Budgets of all of them together: what may be more than in a baseline."""


def _max(one: int | None, other: int | None) -> int | None:
    return max((value for value in (one, other) if value is not None), default=None)
