"""A scope of systemd's around the waiting program: the manager makes the group, we read it.

The scope is asked for with two processes, the program and the keeper: with the
program alone it would be gone, and its peak with it, as soon as the program has
ended. ``Delegate`` makes its inside ours; there each of the two gets a leaf, as
v2 allows no processes beside inner groups, and the program's is read like any
other group.
"""

import errno
import os
import re
import shutil
import subprocess
import time
from collections.abc import Sequence

from cmemrun.backends import tree
from cmemrun.backends.base import Adopt
from cmemrun.backends.directory import make_companion
from cmemrun.backends.v1 import V1Group
from cmemrun.backends.v2 import V2Group
from cmemrun.errors import NoGroup
from cmemrun.kernel.files import read_text, write_text
from cmemrun.kernel.hierarchy import Hierarchy, is_manager, parse_memberships
from cmemrun.log import Log

__all__ = ["make", "show"]

log = Log(__name__)

NAME = "systemd-scope"

# A bus that takes longer has a fault; the next way is tried.
_BUS_SECONDS = 2.0
_MANAGER = (
    "org.freedesktop.systemd1",
    "/org/freedesktop/systemd1",
    "org.freedesktop.systemd1.Manager",
)
_JOB = re.compile(r'o "/org/freedesktop/systemd1/job/\d+"\s*')


def make(hierarchy: Hierarchy, program: int, keeper: int, adopt: Adopt) -> V1Group | V2Group:
    """A new scope with both processes in it, and in it a group for the program.

    Raises ``NoGroup`` with the reason, and the remedy where there is one.
    """
    unit = f"{tree.fresh_name()}.scope"
    _start_scope(unit, program, keeper)
    scope = _wait_for_scope(hierarchy, unit, {program, keeper})
    try:
        return _divide(hierarchy, scope, keeper, adopt)
    except OSError as error:
        raise NoGroup(
            f"the scope that systemd made cannot be used: {error.filename}: {error.strerror}"
        ) from error


def show(manager: str, unit: str, properties: Sequence[str]) -> dict[str, str]:
    """Properties of a unit, as its manager (``--user`` or ``--system``) tells them.

    Of a unit that it does not know it tells the defaults. Raises ``NoGroup``
    where it cannot be asked.
    """
    wanted = [f"--property={name}" for name in properties]
    answer = _ask("systemctl", [manager, "show", *wanted, "--", unit])
    return dict(line.split("=", 1) for line in answer.splitlines() if "=" in line)


def _start_scope(unit: str, program: int, keeper: int) -> None:
    """Ask the manager, the system's for root and else the user's own, over D-Bus."""
    bus = "--system" if os.geteuid() == 0 else "--user"
    # Delegate, and a CollectMode that leaves no failed unit behind an OOM kill.
    properties = [
        *("Description", "s", "a program measured by cmemrun"),
        *("PIDs", "au", "2", str(program), str(keeper)),
        *("Delegate", "b", "true"),
        *("CollectMode", "s", "inactive-or-failed"),
    ]
    answer = _ask(
        "busctl",
        [
            *(bus, f"--timeout={_BUS_SECONDS:.0f}", "call", *_MANAGER),
            *("StartTransientUnit", "ssa(sv)a(sa(sv))", unit, "fail", "4", *properties, "0"),
        ],
    )
    if not _JOB.fullmatch(answer):
        raise NoGroup(f"systemd answers with something else than a job: {answer[:80]!r}")
    log.debug("scope asked for unit=%s bus=%s", unit, bus)


def _ask(tool: str, arguments: Sequence[str]) -> str:
    """What one of systemd's tools says to standard output; ``NoGroup`` where it fails."""
    if not is_manager():
        raise NoGroup("systemd is not the manager here")
    path = shutil.which(tool)
    if path is None:
        raise NoGroup(f"there is no {tool} to ask systemd with", hint="install systemd's tools")
    try:
        answer = subprocess.run(
            [path, *arguments],
            capture_output=True,
            text=True,
            errors="replace",
            timeout=_BUS_SECONDS + 0.5,
            check=False,
            stdin=subprocess.DEVNULL,
            env=_environment(),
        )
    except subprocess.TimeoutExpired:
        raise NoGroup(f"systemd's bus does not answer within {_BUS_SECONDS:.0f} s") from None
    except OSError as error:
        raise NoGroup(f"{path} cannot be run: {error.strerror}") from error
    if answer.returncode != 0:
        reason = answer.stderr.strip().splitlines()[-1:] or [f"status {answer.returncode}"]
        raise NoGroup(f"systemd refuses: {reason[0]}", hint=_remedy(reason[0]))
    return answer.stdout


def _environment() -> dict[str, str]:
    """Where the user's bus is, also for who has no session (sudo, cron, CI)."""
    environment = dict(os.environ)
    socket = f"/run/user/{os.geteuid()}/bus"
    if "DBUS_SESSION_BUS_ADDRESS" not in environment and os.path.exists(socket):
        environment["DBUS_SESSION_BUS_ADDRESS"] = f"unix:path={socket}"
    return environment


def _remedy(reason: str) -> str | None:
    if "connect to bus" in reason:
        return "let your user manager run without a login: sudo loginctl enable-linger $USER"
    return None


def _wait_for_scope(hierarchy: Hierarchy, unit: str, pids: set[int]) -> str:
    """The path of the scope, once all are in it: the manager answers before it moves anybody."""
    deadline, wait = time.monotonic() + _BUS_SECONDS, 0.0005
    key = "memory" if hierarchy.v1("memory") else ""
    while True:
        places = [parse_memberships(read_text(f"/proc/{pid}/cgroup") or b"") for pid in pids]
        paths = {place.get(key, "") for place in places}
        if len(paths) == 1 and (scope := paths.pop()).endswith(f"/{unit}"):
            return scope
        if time.monotonic() > deadline:
            if any(path.endswith(f"/{unit}") for place in places for path in place.values()):
                raise NoGroup("systemd gives its users no memory groups on v1")
            raise NoGroup(f"systemd has not started {unit} within {_BUS_SECONDS:.0f} s")
        time.sleep(wait)
        wait = min(wait * 2, 0.02)


def _divide(hierarchy: Hierarchy, scope: str, keeper: int, adopt: Adopt) -> V1Group | V2Group:
    name = tree.fresh_name()
    memory = hierarchy.v1("memory")
    if memory is not None:
        top = f"{memory.point}{scope}"
        path = f"{top}/{name}"
        adopt(path)
        tree.create(path)
        pids = make_companion(hierarchy, hierarchy.v1("pids"), name, adopt)
        group: V1Group | V2Group = V1Group(path, (pids,) if pids else ())
    else:
        assert hierarchy.v2 is not None  # noqa: S101 (the program has just been found in it)
        top = f"{hierarchy.v2.point}{scope}"
        path, beside = f"{top}/{name}", f"{top}/keeper"
        adopt(path)
        for directory in (path, beside):
            tree.create(directory)
        tree.add(beside, keeper)
        _hand_on(top, path)
        group = V2Group(path)
    group.name = NAME
    return group


def _hand_on(top: str, leaf: str) -> None:
    """Give the leaves memory and, if possible, pids; the program has to leave the top first."""
    for pid in tree.members_of(top):
        tree.add(leaf, pid)
    for controller in ("memory", "pids"):
        try:
            write_text(f"{top}/cgroup.subtree_control", f"+{controller}")
        except OSError as error:
            if controller == "memory":
                if error.errno == errno.ENOENT:
                    raise NoGroup(
                        "the manager that made the scope has no memory controller itself",
                        hint="delegate it: see systemd's CGROUP_DELEGATION, Delegate=memory",
                    ) from error
                raise
