"""What v1 and v2 share: a group is a directory we made, with companions in other hierarchies.

A companion holds the same processes in a hierarchy without the memory
controller, for what that one offers: v2's ``cgroup.kill`` and ``cpu.stat``
beside v1's memory, v1's ``freezer`` and ``pids``. A run can do without any.
"""

import os
import re
from resource import struct_rusage

from cmemrun.backends import tree
from cmemrun.backends.base import Adopt, CpuTime
from cmemrun.errors import BadInput, NoGroup
from cmemrun.kernel.files import ControlFile, parse_keyed, parse_pressure, read_text, write_text
from cmemrun.log import Log
from cmemrun.model import Composition, Limit, Pressure

__all__ = ["DirectoryGroup", "make_companion"]

log = Log(__name__)

# A process that is stuck in the kernel cannot be killed; the keeper goes on
# trying after we have given up.
_END_SECONDS = 10.0

# How far apart usage may be before and after memory.stat is read.
_SAME_SHARE = 1 / 64
_ATTEMPTS = 3


class DirectoryGroup:
    """The half of a Group that is the same in every hierarchy: to enter it and to end it."""

    # A wake-up is what looking costs.
    slowest_probe_seconds = 0.010

    way = ""

    unlimited = "max"
    """What is written for no limit."""

    def __init__(
        self, where: str, usage: str, companions: tuple[str, ...], notes: tuple[str, ...]
    ) -> None:
        """Open what the kernel offers; ``OSError`` where usage itself cannot be read."""
        self.where = where
        self.notes = list(notes)
        self.resolution_bytes = charge_resolution_bytes()
        self._companions = list(companions)
        self._files: list[ControlFile] = []
        self._usage = self._open(f"{where}/{usage}")
        self._stat = self._offered(f"{where}/memory.stat")
        self._last_stat: dict[bytes, int] = {}

    @property
    def directories(self) -> list[str]:
        return [self.where, *self._companions]

    def attach(self, pid: int) -> None:
        for companion in list(self._companions):
            try:
                tree.add(companion, pid)
            except OSError as error:
                log.debug("companion refuses group=%s reason=%r", companion, error.strerror)
                self._companions.remove(companion)
                tree.remove([companion])
        try:
            tree.add(self.where, pid)
        except OSError as error:
            raise NoGroup(f"{self.where} does not take the program: {error.strerror}") from error
        log.debug("attached pid=%d groups=%s", pid, self.directories)

    def high_water_bytes(self, program: struct_rusage | None) -> int:
        return 0

    def upper_bound_bytes(self) -> int | None:
        return None

    def holds(self, pid: int) -> bool:
        # Zombies keep their groups in the v2 tree (Linux 4.4), which lists them no more.
        name = os.path.basename(self.where)
        text = read_text(f"/proc/{pid}/cgroup") or b""
        return any(name.encode() in line.split(b"/") for line in text.splitlines())

    def members(self) -> set[int]:
        return tree.members(self.directories)

    def kill(self) -> None:
        tree.kill(self.directories)

    def remove(self) -> bool:
        gone = tree.end(self.directories, _END_SECONDS)
        log.debug("removed groups=%s gone=%s", self.directories, gone)
        return gone

    def cpu_time(self) -> CpuTime | None:
        for directory in self.directories:
            # Every v2 group has it, whatever controllers are enabled (Linux 4.15).
            text = read_text(f"{directory}/cpu.stat")
            if text and b"user_usec" in text:
                microseconds = dict(line.split() for line in text.splitlines())
                return CpuTime(
                    int(microseconds[b"user_usec"]) / 1e6, int(microseconds[b"system_usec"]) / 1e6
                )
        return None

    composition_keys: tuple[bytes | None, ...] = ()
    """The keys of ``memory.stat`` in the order of ``Composition``."""

    def composition(self) -> Composition | None:
        stat = self._last_stat
        if not stat:
            return None
        return Composition(*(stat.get(key) if key else None for key in self.composition_keys))

    def pressure(self) -> Pressure | None:
        for directory in self.directories:
            # Every v2 group has it, whatever controllers are enabled (Linux 4.20).
            # With psi=0 there is none, or one that cannot be read (EOPNOTSUPP).
            text = read_text(f"{directory}/memory.pressure")
            if text:
                some, full = parse_pressure(text)
                return Pressure(some / 1e6, None if full is None else full / 1e6)
        return None

    def close(self) -> None:
        for file in self._files:
            file.close()
        self._files.clear()

    def usage(self) -> int:
        return self._usage.scalar()

    def _read_stat_and_usage(self, keys: tuple[bytes, ...]) -> tuple[dict[bytes, int], int]:
        """Both of one moment, as nearly as two reads can be.

        Between the two a busy machine may let the program run for longer than
        it takes to double; then the parts would be those of another size. Usage
        is read last, so what is charged in between makes it too high for its
        parts and never too low.
        """
        usage = self._usage.scalar()
        for _ in range(_ATTEMPTS):
            before, stat = usage, self._read_stat(keys)
            usage = self._usage.scalar()
            if abs(usage - before) <= max(before * _SAME_SHARE, self.resolution_bytes):
                break
        return stat, usage

    def _read_stat(self, keys: tuple[bytes, ...]) -> dict[bytes, int]:
        """``memory.stat``, as fresh as it can be had.

        The kernel adds up what changed in inner groups when it thinks that much
        did, and forgets to where a reader came while an inner group was
        changing: a group's sums were seen to lag tens of MiB behind those of
        the one group in it for up to two seconds (Linux 6.18). An inner group's
        own sums do not, and a group has at least what its inner ones have.
        """
        stat = self._stat.keyed() if self._stat else {}
        if stat and has_inner_groups(self.where):
            _raise_to_inner(self.where, stat, keys)
        self._last_stat = stat
        return stat

    def _open(self, path: str) -> ControlFile:
        file = ControlFile(path)
        self._files.append(file)
        return file

    def _offered(self, path: str) -> ControlFile | None:
        file = ControlFile.offered(path)
        if file:
            self._files.append(file)
        return file

    def _set_limit(self, name: str, value: Limit) -> None:
        """Write ``--limit`` where this hierarchy has it."""
        page_bytes = os.sysconf("SC_PAGESIZE")
        if isinstance(value, int) and value < page_bytes:
            # The kernel rounds down, and a limit of 0 kills whoever comes.
            raise BadInput(f"--limit: {value} is less than a page", hint="write 512Mi for example")
        self._set(name, str(value) if isinstance(value, int) else self.unlimited, option="--limit")

    def _set(self, name: str, value: str, *, option: str) -> None:
        """Write to one of our own files, for an option somebody gave."""
        try:
            write_text(f"{self.where}/{name}", value)
        except FileNotFoundError as error:
            raise BadInput(
                f"{option}: this kernel has no {name} for the group", hint=f"run without {option}"
            ) from error
        except OSError as error:
            raise BadInput(
                f"{option}: the kernel refuses {value} for {name}: {error.strerror}"
            ) from error


def has_inner_groups(directory: str) -> bool:
    """Whether the program made groups: a directory has two links and one for each in it."""
    return os.stat(directory).st_nlink > 2


def _raise_to_inner(directory: str, stat: dict[bytes, int], keys: tuple[bytes, ...]) -> None:
    """Have no key of ``stat`` lower than its sum over the groups right below."""
    sums = dict.fromkeys(keys, 0)
    for inner in tree.children(directory):
        text = read_text(f"{inner}/memory.stat")
        if text:
            inner_stat = parse_keyed(text)
            _raise_to_inner(inner, inner_stat, keys)
            for key in keys:
                sums[key] += inner_stat.get(key, 0)
    for key in keys:
        if key in stat:
            stat[key] = max(stat[key], sums[key])


def charge_resolution_bytes() -> int:
    """How much too high the kernel's own counters may be.

    It charges in batches and keeps the rest for later, on every CPU: 64 pages
    since Linux 6.1 (``MEMCG_CHARGE_BATCH``, commit 1813e51eece0), 32 before. No
    file tells. Distributions took that commit back to older kernels, Red Hat
    to its 5.14, so between those two the larger one is the safe answer.
    """
    version = re.match(r"(\d+)\.(\d+)", os.uname().release)
    old = version is not None and (int(version[1]), int(version[2])) < (5, 14)
    batch_pages = 32 if old else 64
    return batch_pages * os.sysconf("SC_PAGESIZE") * os.sysconf("SC_NPROCESSORS_ONLN")


def make_companion(parent: str | None, name: str, adopt: Adopt) -> str | None:
    """A directory beside the memory group, ``None`` where its hierarchy has no place for one."""
    if parent is None:
        return None
    path = f"{parent}/{name}"
    try:
        adopt(path)
        tree.create(path)
    except OSError as error:
        log.debug("no companion parent=%s reason=%r", parent, error.strerror)
        return None
    return path
