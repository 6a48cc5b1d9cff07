"""v1 and v2 on made-up groups: old kernels' texts, and refusals that real ones do not give here."""

import errno
import fcntl
import os
from pathlib import Path

import pytest

from cmemrun.backends import choose, delegation, tree, v1, v2
from cmemrun.backends.reading import Seen
from cmemrun.backends.surrounding import Surrounding
from cmemrun.backends.v1 import V1Group
from cmemrun.backends.v2 import V2Group
from cmemrun.errors import BadInput, NoGroup
from cmemrun.kernel.files import ControlFile
from cmemrun.kernel.hierarchy import Hierarchy, Mount
from cmemrun.model import UNLIMITED, Events, Limits, Pressure
from tests.backends.made_up import V1, V2_5_10, V2_6_12, Heir, fill, unified


def test_v2_of_today(tmp_path: Path) -> None:
    group = V2Group(str(fill(tmp_path, V2_6_12)))
    sample = group.take(1.5).understand()
    assert (sample.elapsed_seconds, sample.usage_bytes) == (1.5, 10_000_000)
    assert (sample.anon_bytes, sample.file_bytes, sample.kernel_bytes) == (
        4000000,
        3000000,
        2000000,
    )
    assert (sample.shmem_bytes, sample.sock_bytes, sample.swap_bytes) == (0, 500000, 4096)
    assert (sample.tasks, sample.working_set_bytes) == (7, 9_000_000)
    assert sample.events == Events(0, 1, 2, 3, 1, 4, 5)
    (tmp_path / "memory.events.local").write_text("oom 2\n")
    assert group.take(2.0).understand().events.oom_local == 1  # not asked for without news
    (tmp_path / "memory.events").write_text("oom 4\n")
    assert group.take(2.5).understand().events.oom_local == 2
    assert group.peak() == 11_000_000
    assert group.notes == []
    group.close()


def test_pressure_is_not_offered_with_psi_0(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Older kernels have the file all the same, and refuse to read it (``psi_show``)."""
    group = V2Group(str(fill(tmp_path / "without", V2_6_12)))
    assert group.take(0.0).understand().pressure is None
    told = "some avg10=0.00 avg60=0.00 avg300=0.00 total=1500000\n"
    files = V2_6_12 | {"memory.pressure": told + told.replace("some", "full")}
    group = V2Group(str(fill(tmp_path / "with", files)))
    assert group.take(0.0).understand().pressure == Pressure(1.5, 1.5)
    real = ControlFile.read

    def refuse(file: ControlFile) -> bytes:
        if file.path.endswith("memory.pressure"):
            raise OSError(errno.EOPNOTSUPP, "Operation not supported")
        return real(file)

    monkeypatch.setattr(ControlFile, "read", refuse)
    for _ in range(2):
        assert group.take(1.0).understand().pressure is None
    group.close()


@pytest.mark.parametrize(("limit", "tasks"), [("max", 7), ("7", 7), ("6", 6)])
def test_a_task_that_is_being_refused_is_none(tmp_path: Path, limit: str, tasks: int) -> None:
    """It is in ``pids.current`` for a moment (``pids_try_charge``)."""
    fill(tmp_path, V2_6_12 | {"pids.max": f"{limit}\n"})
    group = V2Group(str(tmp_path))
    assert group.take(0.0).understand().tasks == 7  # nobody has said whose limit it is
    group.limit(Limits(pids_max=UNLIMITED if limit == "max" else int(limit)))
    assert group.take(0.0).understand().tasks == tasks
    group.close()


def test_v2_before_peak_kernel_swap_and_pids(tmp_path: Path) -> None:
    group = V2Group(str(fill(tmp_path, V2_5_10)))
    sample = group.take(0).understand()
    assert group.peak() is None
    # The rest, not the sum of the named parts, which miss most of it.
    assert sample.kernel_bytes == 10_000_000 - 4_000_000 - 3_000_000 - 500_000
    assert "no kernel line" in group.notes[0]
    assert (sample.swap_bytes, sample.tasks) == (None, None)
    assert sample.events.oom_group_kill is None
    # More inactive file than usage: stat and usage are not of one instant.
    assert sample.working_set_bytes == 0
    assert group.limit(Limits()) == Limits(UNLIMITED, None)
    group.close()


def test_v2_kernel_is_never_below_zero(tmp_path: Path) -> None:
    group = V2Group(str(fill(tmp_path, V2_5_10 | {"memory.current": "1000\n"})))
    assert group.take(0).understand().kernel_bytes == 0
    group.close()


def test_v1_counts_inner_groups_and_their_kills(tmp_path: Path) -> None:
    group = V1Group(str(fill(tmp_path, V1)))
    sample = group.take(0).understand()
    assert (sample.anon_bytes, sample.file_bytes, sample.kernel_bytes) == (
        4000000,
        3000000,
        2000000,
    )
    assert (sample.shmem_bytes, sample.working_set_bytes) == (1_000_000, 9_500_000)
    # No swap accounting here, and sockets are counted elsewhere: not 0.
    assert (sample.swap_bytes, sample.sock_bytes, sample.tasks) == (None, None, None)
    assert sample.events == Events(max=3, oom_kill=1)
    assert group.limit(Limits()) == Limits(UNLIMITED, False)
    inner = fill(tmp_path / "inner", {"memory.oom_control": "oom_kill 2\n"})
    assert group.take(0).understand().events.oom_kill == 3
    # The program removed it: what was counted there was counted.
    (inner / "memory.oom_control").unlink()
    inner.rmdir()
    assert group.take(0).understand().events.oom_kill == 3
    group.close()


@pytest.mark.parametrize(("late", "expected"), [(1000, 7000), (9000, 9000)])
def test_a_sum_is_not_below_what_inner_groups_say(tmp_path: Path, late: int, expected: int) -> None:
    fill(tmp_path, V2_6_12 | {"memory.stat": f"anon {late}\nfile 5\n"})
    fill(tmp_path / "a", {"memory.stat": "anon 3000\nfile 0\n"})
    fill(tmp_path / "b", {"memory.stat": "anon 100\nfile 0\n"})
    fill(tmp_path / "b/c", {"memory.stat": "anon 4000\nfile 1\n"})
    group = V2Group(str(tmp_path))
    sample = group.take(0).understand()
    assert (sample.anon_bytes, sample.file_bytes) == (expected, 5)
    group.close()


def test_v1_before_oom_kills_were_counted(tmp_path: Path) -> None:
    files = V1 | {"memory.oom_control": "oom_kill_disable 0\nunder_oom 0\n"}
    group = V1Group(str(fill(tmp_path, files)))
    assert group.take(0).understand().events.oom_kill is None
    group.close()


@pytest.mark.parametrize(
    ("both", "is_old", "hits"),
    [
        ("104857600", True, 7),
        ("67108864", True, 7),
        ("9223372036854771712", True, 7),
        ("9223372036854771712", False, 3),
        # Which of the two is met first is not told, and hits of this one are not counted.
        ("104857600", False, None),
        ("67108864", False, None),
    ],
)
def test_v1_counts_hits_of_both_limits(
    both: str, is_old: bool, hits: int | None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(v1, "is_older_than", lambda *_: is_old)
    files = V1 | {
        "memory.limit_in_bytes": "67108864\n",
        "memory.memsw.limit_in_bytes": f"{both}\n",
        "memory.memsw.failcnt": "4\n" if is_old else "0\n",
    }
    group = V1Group(str(fill(tmp_path, files)))
    assert group.take(0).understand().events.max == hits
    if not is_old:
        # Somebody else may change it meanwhile.
        (tmp_path / "memory.memsw.limit_in_bytes").write_text("9223372036854771712\n")
        assert group.take(0).understand().events.max == 3
        (tmp_path / "memory.memsw.limit_in_bytes").write_text("67108864\n")
        assert group.take(0).understand().events.max is None
    group.close()


def test_v1_has_no_group_kill(tmp_path: Path) -> None:
    group = V1Group(str(fill(tmp_path, V1)))
    with pytest.raises(BadInput, match="--oom-group"):
        group.limit(Limits(oom_group=True))
    group.close()


def test_a_limit_the_kernel_has_no_file_for(tmp_path: Path) -> None:
    group = V2Group(str(fill(tmp_path, {"memory.current": "0\n"})))
    with pytest.raises(BadInput, match="--limit"):
        group.limit(Limits(max_bytes=4096))
    assert group.limit(Limits()) == Limits(None, None)
    group.close()


def test_every_reason_is_told_where_no_group_can_be_had(tmp_path: Path) -> None:
    fill(tmp_path, {"cgroup.controllers": "cpu memory\n", "cgroup.subtree_control": "memory\n"})
    fill(tmp_path / "job", {"cgroup.controllers": "cpu\n", "cgroup.subtree_control": ""})
    heir, hierarchy = Heir(), unified(tmp_path, "/job")
    with pytest.raises(NoGroup) as refusal:
        choose(hierarchy, 1, heir, Surrounding(hierarchy), require="cgroup")
    message = refusal.value.message
    # A made-up directory gets no control files, so even the last one is refused.
    assert f"{tmp_path}/job has no memory controller" in message
    assert f"cannot make a group below {tmp_path}:" in message
    assert "neither our group nor one above it was left to us" in message
    assert len(heir.paths) == 1 and not Path(heir.paths[0]).exists()


def test_memory_on_neither(tmp_path: Path) -> None:
    with pytest.raises(NoGroup, match="no cgroup v2 tree is mounted"):
        v2.make(Hierarchy((), {}), lambda _: None)
    with pytest.raises(NoGroup, match="no v1 memory"):
        v1.make(Hierarchy((), {}), lambda _: None)


def test_parents(tmp_path: Path) -> None:
    hierarchy = unified(tmp_path, "/")
    for parent in ("relative", "/missing", f"{tmp_path}/missing"):
        with pytest.raises(BadInput, match="--parent"):
            choose(hierarchy, 1, Heir(), Surrounding(hierarchy), parent=parent)
    (tmp_path / "mine").mkdir()
    for parent in ("/mine", f"{tmp_path}/mine", f"{tmp_path}/mine/../mine"):
        with pytest.raises(NoGroup, match=f"{tmp_path}/mine has no memory controller"):
            choose(hierarchy, 1, Heir(), Surrounding(hierarchy), parent=parent)
    named = Mount(os.fspath(tmp_path), "/", 1, frozenset({"name=systemd"}))
    with pytest.raises(BadInput, match="without the memory controller"):
        hierarchy = Hierarchy((named,), {})
        choose(hierarchy, 1, Heir(), Surrounding(hierarchy), parent=f"{tmp_path}/mine")


def test_a_division_that_fails_half_way_is_undone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    files = {"cgroup.procs": "", "cgroup.subtree_control": "", "cgroup.controllers": "memory\n"}
    fill(tmp_path, files)
    top, others = str(tmp_path), f"{tmp_path}/{delegation.OTHERS}"
    where = dict.fromkeys((11, 12, 13), top)

    def add(path: str, pid: int) -> None:
        if pid == 13:
            raise PermissionError(errno.EACCES, "Permission denied")
        where[pid] = path

    def members_of(path: str) -> list[int]:
        return [pid for pid, group in where.items() if group == path]

    monkeypatch.setattr(tree, "add", add)
    monkeypatch.setattr(tree, "members_of", members_of)
    with pytest.raises(NoGroup, match="cannot be divided: Permission denied"):
        delegation.divide(top)
    assert set(where.values()) == {top}
    assert not Path(others).exists()
    # Where the kernel goes on saying that somebody is in it, likewise.
    del where[13]
    busy = OSError(errno.EBUSY, "Device or resource busy")
    monkeypatch.setattr(delegation, "write_text", lambda *_: (_ for _ in ()).throw(busy))
    with pytest.raises(NoGroup, match="cannot be moved"):
        delegation.divide(top)
    assert set(where.values()) == {top}


@pytest.mark.parametrize("held", [fcntl.LOCK_EX, fcntl.LOCK_SH])
def test_a_division_waits_for_another_one(
    held: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nor is its own one shared."""
    monkeypatch.setattr(delegation, "_LOCK_SECONDS", 0.05)
    fd = os.open(tmp_path, os.O_RDONLY)
    fcntl.flock(fd, held)
    with pytest.raises(NoGroup, match="somebody holds a lock"):
        delegation.divide(str(tmp_path))
    os.close(fd)


def test_who_was_seen_is_not_remembered_without_end() -> None:
    seen = Seen()
    for first in range(0, 30_000, 10):
        seen.add(range(first, first + 20))
    assert 29_999 in seen and 20_020 in seen
    assert 10_000 not in seen


def test_division_moves_all_and_enables_memory_alone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Those that are forked meanwhile, too; what has ended is no reason to fail."""
    files = {"cgroup.procs": "", "cgroup.subtree_control": "", "cgroup.controllers": "memory\n"}
    fill(tmp_path, files)
    top, others = str(tmp_path), f"{tmp_path}/{delegation.OTHERS}"
    rounds = [{11, 12}, {13}, set[int]()]
    moved: list[tuple[str, int]] = []
    written: list[tuple[str, str]] = []

    def add(path: str, pid: int) -> None:
        if pid == 12:
            raise ProcessLookupError(errno.ESRCH, "No such process")
        moved.append((path, pid))

    def write(path: str, text: str) -> None:
        written.append((path, text))
        if rounds:
            raise OSError(errno.EBUSY, "Device or resource busy")

    monkeypatch.setattr(tree, "add", add)
    monkeypatch.setattr(tree, "members_of", lambda _: rounds.pop(0))
    monkeypatch.setattr(delegation, "write_text", write)
    delegation.divide(top)
    assert moved == [(others, 11), (others, 13)]
    assert set(written) == {(f"{top}/cgroup.subtree_control", "+memory")}
    assert len(written) == 3
    assert Path(others).is_dir()


@pytest.mark.parametrize(
    ("files", "said"),
    [
        ({"cgroup.controllers": "cpu\n", "cgroup.procs": ""}, "has no memory controller"),
        ({"cgroup.controllers": "memory\n", "cgroup.procs": "0\n"}, "another PID namespace"),
    ],
)
def test_what_cannot_be_divided_is_left_as_it_was(
    files: dict[str, str], said: str, tmp_path: Path
) -> None:
    fill(tmp_path, files)
    with pytest.raises(NoGroup, match=said):
        delegation.divide(str(tmp_path))
    assert sorted(path.name for path in tmp_path.iterdir()) == sorted(files)


def test_lock_is_given_back(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(delegation, "_LOCK_SECONDS", 0.0)
    for _ in range(2):
        with pytest.raises(NoGroup, match="has no memory controller"):
            delegation.divide(str(tmp_path))
