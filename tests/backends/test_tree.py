"""Directories of groups: who is in them, how they are ended, and whose they are."""

import errno
import os
import pwd
import signal
from pathlib import Path

import pytest

from cmemrun.backends import delegation, tree, v2
from cmemrun.errors import NoGroup
from tests.backends.made_up import Heir, fill, unified
from tests.clock import Slow

NOBODY = pwd.getpwnam("nobody")


class Killed:
    """Stands for ``os.kill``: remembers who would have been killed, and what a file said then."""

    def __init__(self, watched: Path | None = None) -> None:
        self.pids: list[int] = []
        self.signals: set[int] = set()
        self.seen: list[str] = []
        self._watched = watched

    def __call__(self, pid: int, signum: int) -> None:
        self.pids.append(pid)
        self.signals.add(signum)
        if self._watched is not None:
            self.seen.append(self._watched.read_text())


@pytest.fixture
def killed(monkeypatch: pytest.MonkeyPatch) -> Killed:
    found = Killed()
    monkeypatch.setattr(os, "kill", found)
    return found


def test_process_outside_our_pid_namespace_is_no_member(tmp_path: Path) -> None:
    fill(tmp_path, {"cgroup.procs": "0\n12\n"})
    fill(tmp_path / "inner", {"cgroup.procs": "13\n0\n"})
    assert tree.members_of(str(tmp_path)) == {12}
    assert tree.members([str(tmp_path)]) == {12, 13}


def test_pid_0_is_never_killed(tmp_path: Path, killed: Killed) -> None:
    """It would mean our own process group."""
    fill(tmp_path, {"cgroup.procs": "0\n"})
    assert not tree.kill([str(tmp_path)])
    assert killed.pids == []
    fill(tmp_path, {"cgroup.procs": "0\n12\n"})
    assert tree.kill([str(tmp_path)])
    assert killed.pids == [12] and killed.signals == {signal.SIGKILL}


def test_process_outside_our_pid_namespace_is_another(tmp_path: Path) -> None:
    fill(tmp_path, {"cgroup.procs": "12\n"})
    inner = fill(tmp_path / "inner", {"cgroup.procs": "13\n"})
    assert tree.has_others_than(str(tmp_path), {12})
    assert not tree.has_others_than(str(tmp_path), {12, 13})
    fill(inner, {"cgroup.procs": "0\n13\n"})
    assert tree.has_others_than(str(tmp_path), {12, 13})


def test_word_that_no_kernel_writes_is_no_process(tmp_path: Path) -> None:
    fill(tmp_path, {"cgroup.procs": "-1\n12\nx\n"})
    assert tree.members_of(str(tmp_path)) == {12}


def test_all_are_killed_at_once_where_the_kernel_can(tmp_path: Path, killed: Killed) -> None:
    one, other = (
        fill(tmp_path / name, {"cgroup.kill": "0\n", "cgroup.freeze": "0\n", "cgroup.procs": "12"})
        for name in ("one", "other")
    )
    assert tree.kill([str(one), str(other)])
    for group in (one, other):
        assert (group / "cgroup.kill").read_text() == "1\n"
        assert (group / "cgroup.freeze").read_text() == "0\n"


def test_v1_group_is_frozen_while_it_is_killed_and_thawed_to_die(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    fill(tmp_path, {"freezer.state": "THAWED", "cgroup.procs": "12\n13\n"})
    state = tmp_path / "freezer.state"
    killed = Killed(state)
    monkeypatch.setattr(os, "kill", killed)
    assert tree.kill([str(tmp_path)])
    assert sorted(killed.pids) == [12, 13]
    assert killed.seen == ["FROZEN", "FROZEN"]
    assert state.read_text() == "THAWED"


def test_v2_group_is_frozen_while_it_is_killed_before_linux_5_14(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Frozen processes die at once there."""
    fill(tmp_path, {"cgroup.freeze": "0", "cgroup.procs": "12\n"})
    killed = Killed(tmp_path / "cgroup.freeze")
    monkeypatch.setattr(os, "kill", killed)
    assert tree.kill([str(tmp_path)])
    assert killed.seen == ["1"]


def test_inner_groups_are_removed_first(tmp_path: Path) -> None:
    (tmp_path / "top" / "inner" / "innermost").mkdir(parents=True)
    assert tree.remove([str(tmp_path / "top")])
    assert not (tmp_path / "top").exists()


def test_removing_what_is_gone_or_busy_is_no_error(tmp_path: Path) -> None:
    busy = fill(tmp_path / "busy", {"file": ""})
    assert tree.remove([str(tmp_path / "gone")])
    assert not tree.remove([str(tmp_path / "gone"), str(busy)])


@pytest.mark.parametrize(("sleeps", "gone"), [(5, True), (15, False)])
def test_group_whose_processes_cannot_die_yet_is_waited_for(
    sleeps: int, gone: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, killed: Killed
) -> None:
    group = fill(tmp_path / "group", {"cgroup.procs": "12\n"})
    monkeypatch.setattr(tree, "time", Slow(group / "cgroup.procs", sleeps))
    assert tree.end([str(group)], 600.0) == gone
    assert group.exists() != gone
    # Again and again: on v1 new ones may have been born meanwhile.
    assert killed.pids == [12] * (5 if gone else 11)


@pytest.mark.parametrize("number", [errno.EMFILE, errno.ENFILE])
def test_running_out_of_descriptors_is_raised_and_not_a_refusal(number: int) -> None:
    error = OSError(number, os.strerror(number))
    with pytest.raises(OSError, match=os.strerror(number)) as raised:
        tree.refusal("/sys/fs/cgroup", error)
    assert raised.value is error


@pytest.mark.parametrize(
    ("number", "hint"),
    [(errno.EROFS, "unmask=/sys/fs/cgroup"), (errno.EACCES, "run as root"), (errno.ENOSPC, None)],
)
def test_refusal_says_what_would_help(number: int, hint: str | None) -> None:
    refusal = tree.refusal("/sys/fs/cgroup", OSError(number, os.strerror(number)))
    assert os.strerror(number) in refusal.message
    assert refusal.hint is None if hint is None else hint in (refusal.hint or "")


def test_name_cannot_be_known_before(tmp_path: Path) -> None:
    names = {tree.fresh_name() for _ in range(100)}
    assert len(names) == 100
    assert all(name.startswith(f"cmemrun-{os.getpid()}-") for name in names)


def test_directory_that_is_there_already_is_not_taken(tmp_path: Path) -> None:
    with pytest.raises(FileExistsError):
        tree.create(str(tmp_path))


@pytest.fixture
def users(tmp_path: Path) -> Path:
    """A group that was given to a user, in one of root's."""
    fill(tmp_path, {"cgroup.controllers": "cpu\n", "cgroup.subtree_control": ""})
    group = fill(
        tmp_path / "user",
        {"cgroup.controllers": "memory\n", "cgroup.subtree_control": "memory\n", "cgroup.type": ""},
    )
    os.chown(group, NOBODY.pw_uid, NOBODY.pw_gid)
    return group


def test_root_makes_no_group_in_a_users_delegated_group(users: Path) -> None:
    """That user owns the way out of all that is made in it."""
    heir, hierarchy = Heir(), unified(users.parent, "/user")
    with pytest.raises(NoGroup, match=f"{users.parent} has no memory controller"):
        v2.make(hierarchy, heir.adopt)
    assert heir.paths == []
    with pytest.raises(NoGroup, match="all above it belong to somebody else"):
        v2.make(unified(users, "/"), heir.adopt)
    assert heir.paths == []
    # Root may if told so.
    with pytest.raises(NoGroup, match=f"cannot make a group below {users}"):
        v2.make(hierarchy, heir.adopt, places=[str(users)])
    assert len(heir.paths) == 1


def test_nothing_of_a_users_is_left_to_root(users: Path) -> None:
    hierarchy = unified(users, "/")
    with pytest.raises(NoGroup, match=f"{users} belongs to somebody else"):
        delegation.left_to_us(hierarchy, hierarchy.v2, None)
    os.chown(users, 0, 0)
    assert delegation.left_to_us(hierarchy, hierarchy.v2, None) == [str(users)]
    # Root's own group in a user's: the group around it is not root's to work in.
    inner = fill(users / "inner", {"cgroup.type": ""})
    os.chown(users, NOBODY.pw_uid, NOBODY.pw_gid)
    inside = unified(users, "/inner")
    with pytest.raises(NoGroup, match="neither our group nor one above it was left to us"):
        delegation.left_to_us(inside, inside.v2, None)
    assert inner.exists()
