"""A group of somebody's, watched: what is told is what came since the watch began."""

import os
from pathlib import Path

import pytest

from cmemrun.backends import attached
from cmemrun.backends.attached import Attached
from cmemrun.backends.base import CpuTime
from cmemrun.errors import NoGroup
from cmemrun.kernel.files import ControlFile
from cmemrun.kernel.hierarchy import Hierarchy, Mount
from cmemrun.model import Events, Paging, Pressure
from tests.backends.made_up import V1, V2_6_12, fill, unified

STALL = "avg10=0.00 avg60=0.00 avg300=0.00"
WATCHED = V2_6_12 | {
    "memory.pressure": f"some {STALL} total=3000000\nfull {STALL} total=1000000\n",
    "cpu.stat": "usage_usec 12000000\nuser_usec 8000000\nsystem_usec 4000000\n",
    "memory.stat": "anon 4000000\nfile 3000000\nkernel 2000000\npgfault 100\npgmajfault 7\n",
}


def watch(top: Path, name: str = "job") -> Attached:
    """A v2 group ``name`` below ``top``, watched from now on."""
    hierarchy = unified(top, "/")
    assert hierarchy.v2 is not None
    return Attached(hierarchy, hierarchy.v2, str(top / name))


@pytest.fixture(autouse=True)
def no_mark_of_our_own(monkeypatch: pytest.MonkeyPatch) -> None:
    """As before Linux 6.12: a file that is no kernel's takes any write."""
    monkeypatch.setattr(attached, "_own_mark", lambda _: None)


def test_counters_are_what_they_rose_by(tmp_path: Path) -> None:
    fill(tmp_path / "job", WATCHED)
    source = watch(tmp_path)
    nothing = source.take(0.0).understand()
    assert nothing.events == Events(0, 0, 0, 0, 0, 0, 0)
    assert nothing.pressure == Pressure(0.0, 0.0)
    fill(
        tmp_path / "job",
        {
            "memory.events": "low 0\nhigh 1\nmax 3\noom 5\noom_kill 7\noom_group_kill 5\n",
            "memory.pressure": f"some {STALL} total=3500000\nfull {STALL} total=1250000\n",
            "cpu.stat": "usage_usec 20000000\nuser_usec 14000000\nsystem_usec 6000000\n",
            "memory.stat": "anon 1\nfile 2\nkernel 3\npgfault 130\npgmajfault 8\n",
        },
    )
    sample = source.take(1.0).understand()
    assert sample.events == Events(0, 0, 1, 2, 0, 3, 0)
    assert sample.pressure == Pressure(0.5, 0.25)
    assert sample.paging == Paging(pgfault=30, pgmajfault=1)
    assert source.cpu_time() == CpuTime(6.0, 2.0)
    # What is held is no count.
    assert (sample.anon_bytes, sample.usage_bytes) == (1, 10_000_000)
    source.close()


def test_counter_that_is_not_offered_is_not_told(tmp_path: Path) -> None:
    fill(tmp_path / "job", V2_6_12 | {"memory.events": "low 0\n"})
    source = watch(tmp_path)
    fill(tmp_path / "job", {"memory.events": "low 0\noom_kill 7\n"})
    sample = source.take(1.0).understand()
    assert (sample.events.low, sample.events.oom_kill) == (0, None)
    assert sample.pressure is None
    assert source.cpu_time() is None
    source.close()


def test_mark_that_is_older_than_the_watch_is_no_peak_of_it(tmp_path: Path) -> None:
    fill(tmp_path / "job", WATCHED)
    source = watch(tmp_path)
    assert source.peak() is None
    assert "is older than the watch" in source.notes[-1]
    fill(tmp_path / "job", {"memory.peak": "11000001\n"})
    assert source.peak() == 11_000_001
    source.close()


def test_mark_of_our_own_is_the_peak(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Since Linux 6.12; also where it is lower than the group's own."""
    fill(tmp_path / "job", WATCHED)
    fill(tmp_path, {"own": "9000000\n"})
    monkeypatch.setattr(attached, "_own_mark", lambda _: ControlFile(f"{tmp_path}/own"))
    before = os.listdir("/proc/self/fd")
    source = watch(tmp_path)
    assert source.peak() == 9_000_000
    source.close()
    source.close()
    assert os.listdir("/proc/self/fd") == before


def test_without_a_mark_the_peak_is_the_highest_sample(tmp_path: Path) -> None:
    fill(tmp_path / "job", WATCHED)
    (tmp_path / "job/memory.peak").unlink()
    source = watch(tmp_path)
    assert source.peak() is None
    assert "keeps no high-water mark" in source.notes[-1]
    source.close()


def test_resolution_is_that_of_the_group_also_with_groups_inside(tmp_path: Path) -> None:
    fill(tmp_path / "job", WATCHED)
    source = watch(tmp_path)
    source._inner._resolution_with_inner_bytes = 7 * source.resolution_bytes
    before = source.resolution_bytes
    (tmp_path / "job/inner").mkdir()
    source.take(1.0)
    assert source.resolution_bytes == 7 * before
    source.close()


@pytest.mark.parametrize(
    ("path", "root"),
    [
        ("/a/job", "/a/job"),
        ("/a/job/inner", "/a/job"),
        ("/a/jobs", None),
        # Our namespace shows less than the log does.
        ("/machine/a/job/inner", "/machine/a/job"),
        ("/b/job", None),
    ],
)
def test_group_is_found_in_the_kernels_paths(path: str, root: str | None, tmp_path: Path) -> None:
    fill(tmp_path / "a/job", WATCHED)
    source = watch(tmp_path, "a/job")
    assert source.root_in(path) == root
    source.close()


def test_all_of_a_namespace_is_in_its_root(tmp_path: Path) -> None:
    fill(tmp_path, WATCHED)
    source = watch(tmp_path, "")
    assert source.root_in("/whatever") == ""
    source.close()


def test_group_without_memory_names_the_one_above_that_has_it(tmp_path: Path) -> None:
    fill(tmp_path / "a", WATCHED)
    (tmp_path / "a/b/c").mkdir(parents=True)
    with pytest.raises(NoGroup, match=r"memory\.current") as refusal:
        watch(tmp_path, "a/b/c")
    assert f"--cgroup {tmp_path}/a" in (refusal.value.hint or "")
    (tmp_path / "other").mkdir()
    with pytest.raises(NoGroup) as refusal:
        watch(tmp_path, "other")
    assert "none above it" in (refusal.value.hint or "")


def test_v1_group_is_read_with_those_beside_it_that_hold_the_same(tmp_path: Path) -> None:
    for name in ("memory", "pids", "unified"):
        (tmp_path / name).mkdir()
    hierarchy = Hierarchy(
        (
            Mount(f"{tmp_path}/memory", "/", 1, frozenset({"memory"})),
            Mount(f"{tmp_path}/pids", "/", 1, frozenset({"pids"})),
            Mount(f"{tmp_path}/unified", "/", 2, frozenset()),
        ),
        {},
    )
    own = os.getpid()
    fill(tmp_path / "memory/job", V1 | {"cgroup.procs": f"{own}\n"})
    fill(tmp_path / "pids/job", {"cgroup.procs": f"{own}\n", "pids.current": "3\n"})
    # One with others in it tells of them, too.
    fill(tmp_path / "unified/job", {"cgroup.procs": f"{own}\n1\n", "cpu.stat": "user_usec 5\n"})
    mount = hierarchy.v1("memory")
    assert mount is not None
    source = Attached(hierarchy, mount, f"{tmp_path}/memory/job")
    assert source.take(0.0).understand().tasks == 3
    assert source._inner.directories == [f"{tmp_path}/memory/job", f"{tmp_path}/pids/job"]
    source.close()


def test_empty_v1_group_has_none_beside_it(tmp_path: Path) -> None:
    """Any other that is empty would hold the same."""
    fill(tmp_path / "memory/job", V1 | {"cgroup.procs": ""})
    fill(tmp_path / "pids/job", {"cgroup.procs": "", "pids.current": "0\n"})
    mounts = [Mount(f"{tmp_path}/{kind}", "/", 1, frozenset({kind})) for kind in ("memory", "pids")]
    source = Attached(Hierarchy(tuple(mounts), {}), mounts[0], f"{tmp_path}/memory/job")
    assert source._inner.directories == [f"{tmp_path}/memory/job"]
    source.close()
