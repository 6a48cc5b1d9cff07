"""Becoming another user, wholly: for root who measures on behalf of somebody else.

A program so run has that user's rights and none of root's: not its groups,
capabilities or kernel keys. Of the environment it gets what ``su`` without ``-``
gives it. What we write for the user is written
with the user's rights, too, so no link laid out in a home directory makes root
write elsewhere.
"""

import contextlib
import errno
import os
from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, NamedTuple

from cmemrun.errors import BadInput, CmemrunError
from cmemrun.kernel.files import read_text

if TYPE_CHECKING:
    import ctypes

__all__ = ["User", "acting_as", "become", "environment_of", "find_user", "libc", "not_allowed"]

_PR_CAP_AMBIENT, _PR_CAP_AMBIENT_CLEAR_ALL = 47, 4  # prctl(2), Linux 4.3
_LINUX_CAPABILITY_VERSION_3 = 0x20080522  # capset(2)
_KEYCTL_JOIN_SESSION_KEYRING = 1  # keyctl(2), which no C library wraps
_KEYCTL_NUMBERS = {
    **dict.fromkeys(("aarch64", "riscv64", "loongarch64"), 219),
    **dict.fromkeys(("ppc64", "ppc64le"), 271),
    **{"x86_64": 250, "s390x": 280},
}

# By default below HOME (XDG Base Directory Specification).
_PLACES_OF_ITS_OWN = (
    *("XDG_RUNTIME_DIR", "XDG_CONFIG_HOME", "XDG_DATA_HOME", "XDG_STATE_HOME", "XDG_CACHE_HOME"),
)


class User(NamedTuple):
    """Who somebody is to the kernel, and where at home."""

    name: str
    uid: int
    gid: int
    groups: tuple[int, ...]
    home: str
    shell: str


def find_user(name: str) -> User:
    """A user by name or number, groups included.

    Raises ``BadInput`` where there is none.
    """
    import pwd

    try:
        try:
            entry = pwd.getpwnam(name)
        except KeyError:
            entry = pwd.getpwuid(int(name))
    except (KeyError, ValueError, OverflowError) as error:
        raise BadInput(f"there is no user {name!r}", hint="write a name or a number") from error
    groups = os.getgrouplist(entry.pw_name, entry.pw_gid)
    return User(
        entry.pw_name, entry.pw_uid, entry.pw_gid, tuple(groups), entry.pw_dir, entry.pw_shell
    )


def environment_of(user: User, environment: Mapping[str, str]) -> dict[str, str]:
    """An environment made the user's own, as ``su`` without ``-`` does."""
    own = dict(environment)
    own |= {"HOME": user.home, "USER": user.name, "LOGNAME": user.name}
    own["SHELL"] = user.shell or "/bin/sh"  # passwd(5)
    for name in (*_PLACES_OF_ITS_OWN, "DBUS_SESSION_BUS_ADDRESS", "XAUTHORITY", "MAIL"):
        own.pop(name, None)
    runtime = f"/run/user/{user.uid}"
    with contextlib.suppress(OSError):
        if os.stat(runtime).st_uid == user.uid:
            own["XDG_RUNTIME_DIR"] = runtime
    return own


def not_allowed(user: User, number: int) -> CmemrunError:
    """What to say where somebody could not become a user."""
    return CmemrunError(
        f"cannot become {user.name}: {os.strerror(number)}",
        hint="run as root with all of its rights (CAP_SETUID, CAP_SETGID)",
    )


def libc() -> "ctypes.CDLL":
    """The C library, for what Python has no name for; to be loaded before a fork.

    Loaded in the child it would be charged to the program, a MiB of it.
    """
    import ctypes

    return ctypes.CDLL(None, use_errno=True)


def become(user: User, libc: "ctypes.CDLL") -> None:
    """Be this user from now on, without a way back.

    Raises ``OSError`` where that is refused, ``PermissionError`` also where a
    right of root's has stayed (securebits can keep some).
    """
    import ctypes

    os.setgroups(user.groups)
    os.setresgid(user.gid, user.gid, user.gid)
    if user.uid != 0:
        _leave_keyring(libc)
    os.setresuid(user.uid, user.uid, user.uid)
    if user.uid == 0:
        return
    libc.prctl(_PR_CAP_AMBIENT, _PR_CAP_AMBIENT_CLEAR_ALL, 0, 0, 0)
    # The change of user clears what is effective and permitted; what could be
    # inherited by a program with capabilities of its own it leaves.
    header = (ctypes.c_uint32 * 2)(_LINUX_CAPABILITY_VERSION_3, 0)
    libc.capset(header, (ctypes.c_uint32 * 6)())
    is_user = os.getresuid() == (user.uid,) * 3 and os.getresgid() == (user.gid,) * 3
    if not is_user or _has_any_right(b"CapInh", b"CapPrm", b"CapEff"):
        raise PermissionError(errno.EPERM, "not all rights could be given up")


def _has_any_right(*kinds: bytes) -> bool:
    """Whether this thread has capabilities of these kinds; ``PermissionError`` if none can tell."""
    # Not self: the rights are each thread's own.
    status = dict(
        line.split(b":", 1) for line in (read_text("/proc/thread-self/status") or b"").splitlines()
    )
    try:
        return any(int(status[kind], 16) for kind in kinds)
    except KeyError:
        raise PermissionError(errno.EPERM, "what rights are left cannot be seen") from None


def _leave_keyring(libc: "ctypes.CDLL") -> None:
    """Leave the session's keyring for a new one, which is empty.

    Whoever possesses it may use its keys, whatever its user ID. While still
    root: a user who has used up the quota of keys could not have a new one, and
    would keep root's.
    """
    import ctypes

    machine = os.uname().machine
    if machine not in _KEYCTL_NUMBERS or ctypes.sizeof(ctypes.c_void_p) != 8:
        raise PermissionError(errno.EPERM, f"the kernel's keys on {machine} are not known to us")
    if libc.syscall(_KEYCTL_NUMBERS[machine], _KEYCTL_JOIN_SESSION_KEYRING, None) < 0:
        number = ctypes.get_errno()
        # A kernel without keys has none to give away.
        if number != errno.ENOSYS:
            raise OSError(number, os.strerror(number))


@contextlib.contextmanager
def acting_as(user: User | None) -> Iterator[None]:
    """Open and write files with this user's rights, and so as its owner.

    Root comes back afterwards: it is for our own code only. Raises
    ``CmemrunError`` where we may not.
    """
    if user is None or os.geteuid() != 0:
        yield
        return
    groups, gid = os.getgroups(), os.getegid()
    with contextlib.ExitStack() as back:
        try:
            os.setgroups(user.groups)
            back.callback(os.setgroups, groups)
            os.setegid(user.gid)
            back.callback(os.setegid, gid)
            os.seteuid(user.uid)
            back.callback(os.seteuid, 0)
            if user.uid != 0 and _has_any_right(b"CapEff"):
                # securebits can keep them, and root's links would be followed.
                raise PermissionError(errno.EPERM, "not all rights could be given up")
        except OSError as error:
            raise not_allowed(user, error.errno or errno.EPERM) from error
        yield
