"""A group's directory read: what v1 and v2 share of it, whoever made the group.

A companion holds the same processes in a hierarchy without the memory
controller, for what that one offers: v2's ``cpu.stat`` and ``memory.pressure``
beside v1's memory, v1's ``pids``.
"""

import contextlib
import os
from collections.abc import Iterable, Iterator
from typing import NamedTuple

from cmemrun.backends import tree
from cmemrun.backends.base import CpuTime
from cmemrun.errors import KernelTextError
from cmemrun.kernel.files import (
    ControlFile,
    parse_keyed,
    parse_pressure,
    parse_scalar,
    read_text,
)
from cmemrun.kernel.release import is_older_than
from cmemrun.log import Log
from cmemrun.model import Composition, Paging, Pressure

__all__ = ["DirectorySource", "Seen", "charge_resolution_bytes", "number_in", "pressure_in"]

log = Log(__name__)

# How far apart usage may be before and after memory.stat is read.
_SAME_SHARE = 1 / 64
_ATTEMPTS = 3

_MOST_SEEN = 10_000


class TakenStat(NamedTuple):
    """``memory.stat``, and what the groups inside say of some of its keys."""

    text: bytes | None
    inner: dict[bytes, int] | None
    """``None`` where there are no groups inside."""


class Seen:
    """Numbers of processes that were seen: the last new ones, where new ones come without end."""

    def __init__(self) -> None:
        self._pids: dict[int, None] = {}

    def add(self, pids: Iterable[int]) -> None:
        self._pids.update(dict.fromkeys(pids))
        while len(self._pids) > _MOST_SEEN:
            del self._pids[next(iter(self._pids))]

    def __contains__(self, pid: int) -> bool:
        return pid in self._pids


class DirectorySource:
    """The half of a Source that is the same in every hierarchy."""

    # A wake-up is what looking costs.
    slowest_probe_seconds = 0.010

    def __init__(
        self, where: str, usage: str, companions: tuple[str, ...], notes: tuple[str, ...]
    ) -> None:
        """Open what the kernel offers; ``OSError`` where usage itself cannot be read."""
        self.where = where
        self.notes = list(notes)
        self.resolution_bytes = charge_resolution_bytes()
        self._resolution_with_inner_bytes = charge_resolution_bytes(has_inner_groups=True)
        self._companions = list(companions)
        self._files: list[ControlFile] = []
        self._usage = self._open(f"{where}/{usage}")
        self._directory = self._open(where)
        self._stat = self._offered(f"{where}/memory.stat")
        # Every v2 group has it, whatever controllers are enabled (Linux 4.20). With
        # psi=0 there is none, or one that cannot be read.
        pressures = [self._offered(f"{one}/memory.pressure") for one in (where, *companions)]
        self._pressure: ControlFile | None = next(filter(None, pressures), None)
        self._last_stat: dict[bytes, int] = {}
        self._seen = Seen()
        self._most_tasks: int | None = None

    @property
    def directories(self) -> list[str]:
        return [self.where, *self._companions]

    def members(self) -> set[int]:
        found = tree.members(self.directories)
        self._seen.add(found)
        return found

    def has_seen(self, pid: int) -> bool:
        return pid in self._seen

    def has_strangers(self) -> bool:
        return False

    def cpu_time(self) -> CpuTime | None:
        for directory in self.directories:
            # Every v2 group has it, whatever controllers are enabled (Linux 4.15).
            text = read_text(f"{directory}/cpu.stat")
            told: dict[bytes, int] = {}
            # The program has run by now: what is not understood is not worth losing the rest.
            with contextlib.suppress(KernelTextError):
                told = parse_keyed(text or b"")
            user, system = told.get(b"user_usec"), told.get(b"system_usec")
            if user is not None and system is not None:
                return CpuTime(user / 1e6, system / 1e6)
        return None

    composition_keys: tuple[bytes | None, ...] = ()
    """The keys of ``memory.stat`` in the order of ``Composition``."""

    paging_keys: tuple[bytes, ...] = ()
    """Likewise in the order of ``Paging``."""

    def composition(self) -> Composition | None:
        stat = self._last_stat
        if not stat:
            return None
        return Composition(*(stat.get(key) if key else None for key in self.composition_keys))

    def close(self) -> None:
        for file in self._files:
            file.close()
        self._files.clear()

    def usage(self) -> int:
        return self._usage.scalar()

    def _paging(self) -> Paging:
        """Of the last ``memory.stat`` that was understood."""
        return Paging(*map(self._last_stat.get, self.paging_keys))

    def _tasks_in(self, text: bytes | None) -> int | None:
        """What ``pids.current`` says, and never more than a limit of our own.

        It has a new task for as long as the kernel takes to find that the limit refuses it
        (``pids_try_charge``): on a machine that is busy with others that was seen.
        """
        found = number_in(text)
        if found is None or self._most_tasks is None:
            return found
        return min(found, self._most_tasks)

    def _take_pressure(self) -> bytes | None:
        if self._pressure is None:
            return None
        try:
            return self._pressure.read()
        except OSError as error:
            # Older kernels have the file with psi=0, too, and refuse to read it
            # (psi_show); and a companion may have been given up.
            log.debug("no pressure reason=%r", error.strerror)
            self._pressure = None
            return None

    def _take_stat_and_usage(self, keys: tuple[bytes, ...]) -> tuple[TakenStat, int]:
        """Both of one moment, as nearly as two reads can be.

        Between the two a busy machine may let the program run for longer than
        it takes to double; then the parts would be those of another size. Usage
        is read last, so what is charged in between makes it too high for its
        parts and never too low.
        """
        usage = self._usage.scalar()
        for _ in range(_ATTEMPTS):
            before, stat = usage, self._take_stat(keys)
            usage = self._usage.scalar()
            if abs(usage - before) <= max(before * _SAME_SHARE, self.resolution_bytes):
                break
        return stat, usage

    def _take_stat(self, keys: tuple[bytes, ...]) -> TakenStat:
        """``memory.stat``, as fresh as it can be had.

        The kernel adds up what changed in inner groups when it thinks that much
        did, and forgets to where a reader came while an inner group was
        changing: a group's sums were seen to lag tens of MiB behind those of
        the one group in it for up to two seconds (Linux 6.18). An inner group's
        own sums do not, and a group has at least what its inner ones have.
        """
        text = self._stat.read() if self._stat else None
        if not self._has_inner_groups():
            return TakenStat(text, None)
        self.resolution_bytes = self._resolution_with_inner_bytes
        return TakenStat(text, _sums_of_inner(self.where, keys))

    def _understand_stat(self, taken: TakenStat) -> dict[bytes, int]:
        stat = parse_keyed(taken.text) if taken.text is not None else {}
        for key, total in (taken.inner or {}).items():
            if key in stat:
                stat[key] = max(stat[key], total)
        self._last_stat = stat
        return stat

    def _has_inner_groups(self) -> bool:
        """Whether there are groups inside: a directory has two links and one for each in it."""
        return os.fstat(self._directory.fd).st_nlink > 2

    def _open(self, path: str) -> ControlFile:
        with self._whole():
            file = ControlFile(path)
        self._files.append(file)
        return file

    def _offered(self, path: str) -> ControlFile | None:
        with self._whole():
            file = ControlFile.offered(path)
        if file:
            self._files.append(file)
        return file

    @contextlib.contextmanager
    def _whole(self) -> Iterator[None]:
        """Where one file fails, give back the others: nobody else will have us to close."""
        try:
            yield
        except (OSError, KernelTextError):
            self.close()
            raise


def _sums_of_inner(directory: str, keys: tuple[bytes, ...]) -> dict[bytes, int]:
    """Over the groups right below, of which each has at least what its own inner ones have."""
    sums = dict.fromkeys(keys, 0)
    for inner in tree.children(directory):
        text = read_text(f"{inner}/memory.stat")
        if text:
            stat, inside = parse_keyed(text), _sums_of_inner(inner, keys)
            for key in keys:
                sums[key] += max(stat.get(key, 0), inside[key])
    return sums


def number_in(text: bytes | None) -> int | None:
    """What a file with one number says, where there is such a file."""
    return None if text is None else parse_scalar(text)


def pressure_in(text: bytes | None) -> Pressure | None:
    """What ``memory.pressure`` says, likewise."""
    if text is None:
        return None
    some, full = parse_pressure(text)
    return Pressure(some / 1e6, None if full is None else full / 1e6)


def charge_resolution_bytes(*, has_inner_groups: bool = False) -> int:
    """How much too high the kernel's own counters may be.

    It charges in batches and keeps the rest for later, on every CPU: 64 pages
    since Linux 6.1 (``MEMCG_CHARGE_BATCH``, commit 1813e51eece0), 32 before. No
    file tells. Distributions took that commit back to older kernels, Red Hat
    to its 5.14, so between those two the larger one is the safe answer.

    Since Linux 6.16 a CPU keeps some for up to seven groups at once
    (``NR_MEMCG_STOCK``), before for one. What it keeps for an inner group is
    charged to those around it, too: ten groups with a page each had 1.8 MiB.
    And a batch is charged before what is kept for another group is given back
    for it (``refill_stock``, mm/memcontrol.c): 512,000 bytes were seen on one CPU.
    """
    batch_pages = 32 if is_older_than(5, 14) else 64
    kept = 1 if is_older_than(6, 16) else 7
    batches = (kept + 1 if has_inner_groups else 1) * os.sysconf("SC_NPROCESSORS_ONLN")
    return batches * batch_pages * os.sysconf("SC_PAGESIZE")
