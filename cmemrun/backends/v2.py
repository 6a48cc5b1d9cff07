"""A group in the v2 tree, where that one has the memory controller."""

import errno
from collections.abc import Sequence

from cmemrun.backends import tree
from cmemrun.backends.base import Adopt, Taken
from cmemrun.backends.delegation import OTHERS, divide
from cmemrun.backends.directory import DirectoryGroup
from cmemrun.backends.reading import DirectorySource, number_in, pressure_in
from cmemrun.errors import NoGroup
from cmemrun.kernel.files import parse_keyed, parse_limit, read_text, write_text
from cmemrun.kernel.hierarchy import Hierarchy, ancestors
from cmemrun.log import Log
from cmemrun.model import UNLIMITED, Events, Limit, Limits, Paging, Sample

__all__ = ["V2Group", "V2Source", "make"]

log = Log(__name__)

DERIVED_KERNEL = (
    "this kernel has no kernel line in memory.stat: kernel is usage - anon - file - sock,"
    " too high by what the kernel has charged in advance"
)


_KEYS = (b"anon", b"file", b"kernel", b"sock", b"shmem", b"inactive_file")


_LIMITS = {
    "max_bytes": "memory.max",
    "high_bytes": "memory.high",
    "low_bytes": "memory.low",
    "min_bytes": "memory.min",
    "swap_max_bytes": "memory.swap.max",
    "zswap_max_bytes": "memory.zswap.max",
    "pids_max": "pids.max",
}


class V2Source(DirectorySource):
    """One directory; every number covers it and all groups below it."""

    name = "cgroup-v2"
    composition_keys = (
        *(b"file_mapped", b"file_dirty", b"file_writeback"),
        *(b"anon_thp", b"file_thp", b"shmem_thp"),
        *(b"kernel_stack", b"pagetables", b"percpu", b"vmalloc"),
        *(b"slab_reclaimable", b"slab_unreclaimable"),
    )
    paging_keys = tuple(name.encode() for name in Paging._fields)

    def __init__(
        self, where: str, companions: tuple[str, ...] = (), notes: tuple[str, ...] = ()
    ) -> None:
        super().__init__(where, "memory.current", companions, notes)
        self._events = self._offered(f"{where}/memory.events")
        self._local_events = self._offered(f"{where}/memory.events.local")  # Linux 5.2
        self._last_events: tuple[bytes | None, bytes | None] = (None, None)
        # Without swap, or with cgroup.memory=noswap, there is none of these.
        self._swap = self._offered(f"{where}/memory.swap.current")
        self._tasks = self._offered(f"{where}/pids.current")
        # Linux 5.19 (commit 8e20d4b33266); in a group of our own it starts at our start.
        self._peak = self._offered(f"{where}/memory.peak")
        with self._whole():
            if self._stat and b"kernel" not in self._stat.keyed():
                self.notes.append(DERIVED_KERNEL)

    def take(self, elapsed_seconds: float) -> Taken:
        taken, usage = self._take_stat_and_usage(_KEYS)
        swap = self._swap.read() if self._swap else None
        tasks = self._tasks.read() if self._tasks else None
        events, local = self._take_events()
        pressure = self._take_pressure()

        def understand() -> Sample:
            stat = self._understand_stat(taken)
            anon, file, sock = stat.get(b"anon"), stat.get(b"file"), stat.get(b"sock")
            kernel = stat.get(b"kernel")
            if kernel is None and anon is not None and file is not None:
                # Before Linux 5.18. Not the sum of the named parts: pipe buffers and
                # other page-level allocations have no key, and those were the
                # larger half of a measured load.
                kernel = max(0, usage - anon - file - (sock or 0))
            return Sample(
                elapsed_seconds=elapsed_seconds,
                usage_bytes=usage,
                anon_bytes=anon,
                file_bytes=file,
                kernel_bytes=kernel,
                shmem_bytes=stat.get(b"shmem"),
                sock_bytes=sock,
                inactive_file_bytes=stat.get(b"inactive_file"),
                swap_bytes=number_in(swap),
                tasks=self._tasks_in(tasks),
                events=_events_in(events, local),
                pressure=pressure_in(pressure),
                paging=self._paging(),
            )

        return Taken(elapsed_seconds, usage, understand)

    def _take_events(self) -> tuple[bytes | None, bytes | None]:
        """With those inside, and of this very group: it has no news where the others have none."""
        events, local = self._last_events
        now = self._events.read() if self._events else None
        if now != events:
            local = self._local_events.read() if self._local_events else None
            self._last_events = now, local
        return now, local

    def peak(self) -> int | None:
        return self._peak.scalar() if self._peak else None

    def limits(self) -> Limits:
        told = {
            name: parse_limit(text)
            for name, file in _LIMITS.items()
            if (text := read_text(f"{self.where}/{file}"))
        }
        together = read_text(f"{self.where}/memory.oom.group")
        return Limits(oom_group=together.strip() == b"1" if together else None, **told)  # type: ignore[arg-type]


def _events_in(text: bytes | None, local: bytes | None) -> Events:
    counts = {} if text is None else parse_keyed(text)
    return Events(
        low=counts.get(b"low"),
        high=counts.get(b"high"),
        max=counts.get(b"max"),
        oom=counts.get(b"oom"),
        oom_local=None if local is None else parse_keyed(local).get(b"oom"),
        oom_kill=counts.get(b"oom_kill"),
        oom_group_kill=counts.get(b"oom_group_kill"),  # Linux 5.17
    )


class V2Group(V2Source, DirectoryGroup):
    """One that we made."""

    def _set_limit(self, name: str, value: Limit, option: str, wanted: Limits) -> None:
        written = "max" if value is UNLIMITED else str(value)
        self._set(_LIMITS[name], written, option=option)

    def _set_together(self) -> None:
        self._set("memory.oom.group", "1", option="--oom-group")


class _Populated(NoGroup):
    """The "no internal processes" rule is in the way."""


def make(
    hierarchy: Hierarchy,
    adopt: Adopt,
    *,
    places: Sequence[str] | None = None,
    may_divide: bool = False,
) -> V2Group:
    """A new group below the first of ``places`` that takes one.

    Those are by default the caller's own group and all above it, for root without a
    user's. A group with processes cannot hand the memory controller on ("no internal
    processes", cgroup-v2.rst), except at the root; where that is what refuses a place,
    it is divided, if we may. Raises ``NoGroup`` with every reason.
    """
    mount = hierarchy.v2
    if mount is None:
        raise NoGroup("no cgroup v2 tree is mounted")
    refusals: list[NoGroup] = []
    populated = []
    if places is None:
        above = ancestors(hierarchy.own_group(mount) or mount.point, mount)
        places = [place for place in above if not tree.is_of_another(place)]
        if not places:
            refusals.append(NoGroup("our own group and all above it belong to somebody else"))
    for place in places:
        try:
            return _make_below(place, adopt)
        except NoGroup as refusal:
            log.debug("way=cgroup-v2 parent=%s refused=%r", place, refusal.message)
            refusals.append(refusal)
            if isinstance(refusal, _Populated):
                populated.append(place)
    for place in populated if may_divide else ():
        try:
            divide(place)
            return _make_below(place, adopt, divided=True)
        except NoGroup as refusal:
            log.debug("way=cgroup-v2 divided=%s refused=%r", place, refusal.message)
            refusals.append(refusal)
    raise tree.all_refused(refusals)


def _make_below(parent: str, adopt: Adopt, *, divided: bool = False) -> V2Group:
    enabled = ["memory"] if divided else []
    for controller in ("memory", "pids"):
        # memory first: enabling only pids over processes turns the whole group
        # into "domain threaded" and what is made below it into "domain invalid".
        try:
            if _enable(parent, controller):
                enabled.append(controller)
        except NoGroup:
            if controller == "memory":
                raise
    notes = []
    if enabled:
        notes.append(f"enabled below {parent}, and left so: {' and '.join(enabled)}")
    if divided:
        notes.append(f"the processes that were in {parent} itself are in {OTHERS} below it now")
    path = f"{parent}/{tree.fresh_name()}"
    try:
        adopt(path)
        tree.create(path)
        return V2Group(path, notes=tuple(notes))
    except OSError as error:
        tree.remove([path])
        raise tree.refusal(parent, error) from error


def _enable(parent: str, controller: str) -> bool:
    """See that the groups below ``parent`` have a controller; whether that took a change."""
    offered = (read_text(f"{parent}/cgroup.controllers") or b"").split()
    if controller.encode() not in offered:
        raise NoGroup(f"{parent} has no {controller} controller")
    enabled = (read_text(f"{parent}/cgroup.subtree_control") or b"").split()
    if controller.encode() in enabled:
        return False
    try:
        write_text(f"{parent}/cgroup.subtree_control", f"+{controller}")
    except OSError as error:
        refused = f"{parent} cannot hand the {controller} controller on"
        if error.errno == errno.EBUSY:
            raise _Populated(f"{refused}: it holds processes") from error
        raise NoGroup(f"{refused}: {error.strerror}") from error
    return True
