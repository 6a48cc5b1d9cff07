"""A group in v1's memory hierarchy, with companions in those beside it."""

import os
from collections.abc import Sequence

from cmemrun.backends import tree
from cmemrun.backends.base import Adopt, Taken
from cmemrun.backends.directory import DirectoryGroup, make_companion
from cmemrun.backends.reading import DirectorySource, number_in, pressure_in
from cmemrun.errors import BadInput, NoGroup
from cmemrun.kernel.files import (
    ControlFile,
    parse_keyed,
    parse_limit,
    parse_scalar,
    read_text,
    write_text,
)
from cmemrun.kernel.hierarchy import Hierarchy, Mount, ancestors
from cmemrun.kernel.release import is_older_than
from cmemrun.log import Log
from cmemrun.model import UNLIMITED, Events, Limit, Limits, Sample

__all__ = ["V1Group", "V1Source", "companion_mounts", "companions", "make"]

log = Log(__name__)


_KEYS = (b"total_rss", b"total_cache", b"total_shmem", b"total_inactive_file", b"total_swap")


_INNER_KILLS = (
    "the program made groups of its own: on v1 an OOM kill in one that it has removed"
    " again is seen only where a sample came in between"
)


# Memory and swap together.
_BOTH = "memory.memsw.limit_in_bytes"


class V1Source(DirectorySource):
    """One memory directory and its companions.

    Usage, peak and ``total_*`` cover the groups made inside; ``oom_control``
    does not (``memcg_memory_event`` stops at the first level on v1), so its
    kills are summed over them.
    """

    name = "cgroup-v1"
    # It has nothing of the kernel's parts, nor of huge pages in files.
    composition_keys = (b"total_mapped_file", b"total_dirty", b"total_writeback", b"total_rss_huge")
    paging_keys = (
        *(b"total_pgfault", b"total_pgmajfault"),
        *(b"total_workingset_refault_anon", b"total_workingset_refault_file"),
        *(b"total_pswpin", b"total_pswpout"),
    )

    def __init__(
        self, where: str, companions: tuple[str, ...] = (), notes: tuple[str, ...] = ()
    ) -> None:
        super().__init__(where, "memory.usage_in_bytes", companions, notes)
        self._kernel = self._offered(f"{where}/memory.kmem.usage_in_bytes")
        self._peak = self._offered(f"{where}/memory.max_usage_in_bytes")
        self._failures = self._offered(f"{where}/memory.failcnt")
        self._counts_both = is_older_than(6, 15) is True
        other = "memory.memsw.failcnt" if self._counts_both else _BOTH
        self._with_swap = self._offered(f"{where}/{other}")
        self._oom = self._offered(f"{where}/memory.oom_control")
        pids = [self._offered(f"{companion}/pids.current") for companion in companions]
        self._tasks: ControlFile | None = next(filter(None, pids), None)
        # Kills counted in groups that the program made and removed again.
        self._inner_kills: dict[str, int] = {}

    def take(self, elapsed_seconds: float) -> Taken:
        taken, usage = self._take_stat_and_usage(_KEYS)
        kernel = self._kernel.read() if self._kernel else None
        tasks = self._tasks.read() if self._tasks else None
        failures = self._failures.read() if self._failures else None
        with_swap = self._with_swap.read() if self._with_swap else None
        oom = self._oom.read() if self._oom else None
        inner_kills = 0 if oom is None else self._count_inner_kills(taken.inner is not None)
        pressure = self._take_pressure()

        def understand() -> Sample:
            # Unprefixed keys leave out inner groups.
            stat = self._understand_stat(taken)
            kills = None if oom is None else parse_keyed(oom).get(b"oom_kill")  # Linux 4.13
            return Sample(
                elapsed_seconds=elapsed_seconds,
                usage_bytes=usage,
                anon_bytes=stat.get(b"total_rss"),
                file_bytes=stat.get(b"total_cache"),
                kernel_bytes=number_in(kernel),
                shmem_bytes=stat.get(b"total_shmem"),
                # memory.kmem.tcp counts only once somebody has limited it, and
                # what it counts is not in usage.
                sock_bytes=None,
                inactive_file_bytes=stat.get(b"total_inactive_file"),
                swap_bytes=stat.get(b"total_swap"),
                tasks=self._tasks_in(tasks),
                events=Events(
                    max=self._limit_hits(failures, with_swap),
                    oom_kill=None if kills is None else kills + inner_kills,
                ),
                pressure=pressure_in(pressure),
                paging=self._paging(),
            )

        return Taken(elapsed_seconds, usage, understand)

    def peak(self) -> int | None:
        return self._peak.scalar() if self._peak else None

    def limits(self) -> Limits:
        maximum, both = self._limit("memory.limit_in_bytes"), self._limit(_BOTH)
        swap = both
        if isinstance(both, int) and isinstance(maximum, int):
            swap = both - maximum
        tasks = [read_text(f"{one}/pids.max") for one in self.directories]
        return Limits(
            max_bytes=maximum,
            oom_group=False,
            low_bytes=self._limit("memory.soft_limit_in_bytes"),
            swap_max_bytes=swap,
            pids_max=next((parse_limit(text) for text in tasks if text), None),
        )

    def _limit(self, name: str) -> Limit:
        text = read_text(f"{self.where}/{name}")
        return _limit_in(text) if text else None

    def _limit_hits(self, failures: bytes | None, with_swap: bytes | None) -> int | None:
        """How often a limit was met, ``None`` where this kernel does not say.

        A charge is tried against memory and swap together first: with ``--swap 0`` that is the
        same limit, and memory's own is never met (memcontrol.c, ``try_charge_memcg``). Since
        Linux 6.15 only what memory's own refused is counted (``track_failcnt`` in
        ``mem_cgroup_css_alloc``); before, each limit has its count.
        """
        hits = number_in(failures)
        if hits is None or with_swap is None:
            return hits
        if self._counts_both:
            return hits + parse_scalar(with_swap)
        return hits if _limit_in(with_swap) is UNLIMITED else None

    def _count_inner_kills(self, has_inner_groups: bool) -> int:
        """The highest that was seen of each group inside, those that have gone included."""
        if has_inner_groups:
            if _INNER_KILLS not in self.notes:
                self.notes.append(_INNER_KILLS)
            for group in tree.descendants(self.where):
                text = read_text(f"{group}/memory.oom_control")
                if text:
                    self._inner_kills[group] = parse_keyed(text).get(b"oom_kill", 0)
        return sum(self._inner_kills.values())


class V1Group(V1Source, DirectoryGroup):
    """One that we made."""

    def _set_limit(self, name: str, value: Limit, option: str, wanted: Limits) -> None:
        written = "-1" if value is UNLIMITED else str(value)
        if name == "max_bytes":
            self._set("memory.limit_in_bytes", written, option=option)
        elif name == "low_bytes":
            self._set("memory.soft_limit_in_bytes", written, option=option)
        elif name == "pids_max":
            self._set("pids.max", "max" if written == "-1" else written, option=option)
        elif name == "swap_max_bytes":
            self._set_swap(value, wanted.max_bytes, option)
        else:
            file = {"high_bytes": "memory.high", "min_bytes": "memory.min"}.get(name, "zswap")
            raise _not_on_v1(option, f"v1 has no {file}")

    def _set_swap(self, value: Limit, limit: Limit, option: str) -> None:
        """On v1 the two have one limit together."""
        if value is UNLIMITED:
            self._set(_BOTH, "-1", option=option)
        elif isinstance(limit, int) and isinstance(value, int):
            self._set(_BOTH, str(limit + value), option=option)
        else:
            raise _not_on_v1(option, "v1 limits swap and memory together only, so it wants --limit")

    def _set_together(self) -> None:
        raise _not_on_v1("--oom-group", "v1 has no group kill")


def _limit_in(text: bytes) -> Limit:
    # "No limit" reads as the largest multiple of a page.
    page = os.sysconf("SC_PAGESIZE")
    value = parse_limit(text)
    return UNLIMITED if isinstance(value, int) and value >= (2**63 - 1) // page * page else value


def _not_on_v1(option: str, why: str) -> BadInput:
    return BadInput(f"{option}: {why}", hint="run without it, or where memory is on v2")


def make(hierarchy: Hierarchy, adopt: Adopt, *, places: Sequence[str] | None = None) -> V1Group:
    """A new group below the first of ``places`` that takes one.

    Those are by default the caller's own group and all above it. Raises
    ``NoGroup`` with every reason.
    """
    mount = hierarchy.v1("memory")
    if mount is None:
        raise NoGroup("no v1 memory hierarchy is mounted")
    name = tree.fresh_name()
    refusals = []
    if places is None:
        places = list(ancestors(hierarchy.own_group(mount) or mount.point, mount))
    for place in places:
        path = f"{place}/{name}"
        beside = {
            kind: mount and (hierarchy.own_group(mount) or mount.point)
            for kind, mount in companion_mounts(hierarchy).items()
        }
        try:
            adopt(path)
            tree.create(path)
            _count_inner_groups(path)
            return V1Group(path, companions(beside, name, adopt))
        except OSError as error:
            log.debug("way=cgroup-v1 parent=%s refused=%r", place, error.strerror)
            tree.remove([path, *(f"{parent}/{name}" for parent in beside.values() if parent)])
            refusals.append(tree.refusal(place, error))
    raise tree.all_refused(refusals)


def companion_mounts(hierarchy: Hierarchy) -> dict[str, Mount | None]:
    """What else than memory a group is good for, and where."""
    return {
        "ending": hierarchy.v2,
        "freezing": hierarchy.v1("freezer"),
        "counting": hierarchy.v1("pids"),
    }


def companions(beside: dict[str, str | None], name: str, adopt: Adopt) -> tuple[str, ...]:
    """The directories beside the memory group, each below the given one of its kind."""
    ending = make_companion(beside["ending"], name, adopt) or make_companion(
        beside["freezing"], name, adopt
    )
    counting = make_companion(beside["counting"], name, adopt)
    return tuple(filter(None, (ending, counting)))


def _count_inner_groups(path: str) -> None:
    """Have usage cover groups made inside, where that is not always so (before Linux 5.11)."""
    if read_text(f"{path}/memory.use_hierarchy") == b"0\n":
        write_text(f"{path}/memory.use_hierarchy", "1")
