"""What v1 and v2 share: a group is a directory we made, with companions in other hierarchies.

Companions also serve to end a group: v2's ``cgroup.kill`` beside v1's memory,
v1's ``freezer``. A run can do without any.
"""

import contextlib
import os
import re
from collections.abc import Iterator
from resource import struct_rusage

from cmemrun.backends import tree
from cmemrun.backends.base import LIMIT_OPTIONS, Adopt
from cmemrun.backends.reading import DirectorySource
from cmemrun.errors import BadInput, NoGroup
from cmemrun.kernel.files import read_text, write_text
from cmemrun.log import Log
from cmemrun.model import Limit, Limits

__all__ = ["DirectoryGroup", "make_companion"]

log = Log(__name__)

# A process that is stuck in the kernel cannot be killed; the keeper goes on
# trying after we have given up.
_END_SECONDS = 10.0

# Not cgroup.*, which moves, stops and kills.
_CONTROL_FILE = re.compile(r"(?!cgroup\.)[a-z_]+(?:\.[A-Za-z0-9_]+)+")
_LONGEST_VALUE = 200


class DirectoryGroup(DirectorySource):
    """The half of a Group that is the same in every hierarchy: to enter it and to end it."""

    way = ""
    _end_seconds = _END_SECONDS

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

    def root_in(self, path: str) -> str | None:
        # No other group has its name.
        name, names = os.path.basename(self.where), path.split("/")
        return "/".join(names[: names.index(name) + 1]) if name in names else None

    def holds(self, pid: int) -> bool:
        # Zombies keep their groups in the v2 tree (Linux 4.4), which lists them no more.
        name = os.path.basename(self.where)
        text = read_text(f"/proc/{pid}/cgroup") or b""
        return any(name.encode() in line.split(b"/") for line in text.splitlines())

    def kill(self) -> None:
        tree.kill(self.directories)

    def remove(self) -> bool:
        # Who has waited once in vain does not wait again at the end of all.
        seconds, self._end_seconds = self._end_seconds, 0.0
        gone = tree.end(self.directories, seconds)
        log.debug("removed groups=%s gone=%s", self.directories, gone)
        return gone

    def limit(self, wanted: Limits, *, strict: bool = True) -> Limits:
        """Set what is wanted and return what the kernel made of it (see ``Group``)."""
        page_bytes = os.sysconf("SC_PAGESIZE")
        if isinstance(wanted.max_bytes, int) and wanted.max_bytes < page_bytes:
            # The kernel rounds down, and a limit of 0 kills whoever comes.
            raise BadInput(
                f"--limit: {wanted.max_bytes} is less than a page", hint="write 512Mi for example"
            )
        for name, option in LIMIT_OPTIONS.items():
            value = getattr(wanted, name)
            if value is not None:
                with self._noting(strict):
                    self._set_limit(name, value, option, wanted)
        if wanted.oom_group:
            with self._noting(strict):
                self._set_together()
        written = tuple(self._set_file(file, value) for file, value in wanted.files)
        made = self.limits()._replace(files=written)
        self._most_tasks = made.pids_max if isinstance(made.pids_max, int) else None
        return made

    @contextlib.contextmanager
    def _noting(self, strict: bool) -> Iterator[None]:
        """Have a refusal be a note, unless we are strict."""
        try:
            yield
        except BadInput as refusal:
            if strict:
                raise
            self.notes.append(f"not set: {refusal.message}")

    def limits(self) -> Limits:
        raise NotImplementedError

    def _set_limit(self, name: str, value: Limit, option: str, wanted: Limits) -> None:
        """Set one of them in the way of this hierarchy; ``wanted`` are all."""
        raise NotImplementedError

    def _set_together(self) -> None:
        """Have all killed where one is."""
        raise NotImplementedError

    def _set_file(self, file: str, value: str) -> tuple[str, str]:
        """Write to a file of the group for ``--set``; the file and what it holds then."""
        if not _CONTROL_FILE.fullmatch(file):
            raise BadInput(
                f"--set: {file!r} is no file of a controller's", hint="memory.swap.high=1G, say"
            )
        self._set(file, value, option="--set")
        held = read_text(f"{self._holder_of(file)}/{file}")
        return file, held.decode("utf-8", "replace").strip()[:_LONGEST_VALUE] if held else value

    def _set(self, name: str, value: str, *, option: str) -> None:
        """Write to one of our own files, for an option somebody gave."""
        try:
            write_text(f"{self._holder_of(name)}/{name}", value)
        except FileNotFoundError as error:
            raise BadInput(
                f"{option}: this kernel has no {name} for the group", hint=f"run without {option}"
            ) from error
        except (OSError, ValueError) as error:
            why = error.strerror if isinstance(error, OSError) else "it is empty"
            raise BadInput(
                f"{option}: the kernel refuses {value!r} for {name}: {why}",
                hint=f"give another value, or run without {option}",
            ) from error

    def _holder_of(self, name: str) -> str:
        """Which of the group's directories has a file; its first where none has."""
        having = (one for one in self.directories if os.path.exists(f"{one}/{name}"))
        return next(having, self.where)


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
