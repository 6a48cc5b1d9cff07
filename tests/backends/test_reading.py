"""How exact what is read of a group is, and that its parts are of one moment."""

import os
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace

import pytest

from cmemrun.backends.base import CpuTime
from cmemrun.backends.reading import DirectorySource, charge_resolution_bytes
from cmemrun.backends.v1 import V1Group
from cmemrun.backends.v2 import V2Group
from cmemrun.kernel.files import ControlFile
from cmemrun.model import Composition, Paging, Pressure
from tests.backends.made_up import V1, V2_6_12, fill

KIB = 2**10


@pytest.mark.parametrize("cpus", [1, 2, 8])
@pytest.mark.parametrize(
    ("release", "pages", "kept"),
    [
        ("4.19.0-26-amd64", 32, 1),
        ("5.10.0-30-amd64", 32, 1),
        # Red Hat took 64 pages back to its 5.14.
        ("5.14.0-427.el9.x86_64", 64, 1),
        ("5.15.0-100-generic", 64, 1),
        ("6.1.0-21-amd64", 64, 1),
        ("6.12.9", 64, 1),
        ("6.15.11", 64, 1),
        ("6.16.0-rc1", 64, 7),
        ("6.18.3", 64, 7),
        ("10.0", 64, 7),
        # Without a number in front the larger one is the safe answer.
        ("mainline", 64, 7),
    ],
)
def test_stated_resolution_is_what_the_kernel_charges_in_advance(
    release: str, pages: int, kept: int, cpus: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    told = {"SC_NPROCESSORS_ONLN": cpus, "SC_PAGESIZE": 4 * KIB}
    monkeypatch.setattr(os, "uname", lambda: SimpleNamespace(release=release))
    monkeypatch.setattr(os, "sysconf", told.__getitem__)
    assert charge_resolution_bytes() == cpus * pages * 4 * KIB
    # A batch for one group is charged before another's is given back.
    assert charge_resolution_bytes(has_inner_groups=True) == (kept + 1) * cpus * pages * 4 * KIB


@pytest.fixture
def of_6_18(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "uname", lambda: SimpleNamespace(release="6.18.3"))


@pytest.mark.usefixtures("of_6_18")
def test_resolution_grows_with_groups_inside_and_does_not_shrink_again(tmp_path: Path) -> None:
    group = V2Group(str(fill(tmp_path, V2_6_12)))
    group.take(0.0)
    assert group.resolution_bytes == charge_resolution_bytes()
    (tmp_path / "inner").mkdir()
    group.take(1.0)
    assert group.resolution_bytes == 8 * charge_resolution_bytes()
    (tmp_path / "inner").rmdir()
    group.take(2.0)
    assert group.resolution_bytes == 8 * charge_resolution_bytes()
    group.close()


def test_cpu_time_of_user_and_system_are_told_apart(tmp_path: Path) -> None:
    companion = fill(
        tmp_path / "beside",
        {"cpu.stat": "usage_usec 10000000\nuser_usec 7500000\nsystem_usec 2500000\n"},
    )
    group = V1Group(str(fill(tmp_path / "memory", V1)), (str(companion),))
    assert group.cpu_time() == CpuTime(user_seconds=7.5, system_seconds=2.5)
    (companion / "cpu.stat").write_text("usage_usec 10000000\n")
    assert group.cpu_time() is None
    group.close()


def grown(mib: int) -> dict[str, str]:
    return {
        "memory.current": f"{mib * 2**20}\n",
        "memory.stat": f"anon {mib * 2**20}\nfile 0\nkernel 0\n",
    }


@pytest.mark.parametrize(
    ("times", "usage", "anon"),
    [
        (0, 10, 10),
        (1, 20, 20),
        (2, 30, 30),
        # It never ends: usage is too high for the parts, and never too low.
        (9, 40, 30),
    ],
)
def test_parts_are_read_again_until_they_are_of_the_usage(
    times: int, usage: int, anon: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A program may go on growing while they are read, for so many times."""
    real, sizes = ControlFile.read, [20 + 10 * time for time in range(times)]

    def read(file: ControlFile) -> bytes:
        told = real(file)
        if file.path.endswith("memory.stat") and sizes:
            fill(tmp_path, grown(sizes.pop(0)))
        return told

    group = V2Group(str(fill(tmp_path, V2_6_12 | grown(10))))
    monkeypatch.setattr(ControlFile, "read", read)
    sample = group.take(0.0).understand()
    assert (sample.usage_bytes, sample.anon_bytes) == (usage * 2**20, anon * 2**20)
    group.close()


def test_composition_and_paging_are_of_the_last_sample_understood(tmp_path: Path) -> None:
    keys = (
        *("file_mapped", "file_dirty", "file_writeback", "anon_thp", "file_thp", "shmem_thp"),
        *("kernel_stack", "pagetables", "percpu", "vmalloc"),
        *("slab_reclaimable", "slab_unreclaimable"),
    )
    paged = (
        *("pgfault", "pgmajfault", "workingset_refault_anon", "workingset_refault_file"),
        *("pswpin", "pswpout"),
    )
    stat = "".join(f"{key} {number}\n" for number, key in enumerate((*keys, *paged), start=1))
    group = V2Group(str(fill(tmp_path, V2_6_12 | {"memory.stat": stat})))
    assert group.composition() is None
    sample = group.take(0.0).understand()
    assert group.composition() == Composition(*range(1, 13))
    assert sample.paging == Paging(*range(13, 19))
    group.close()


def test_composition_on_v1_has_what_covers_groups_inside(tmp_path: Path) -> None:
    names = (
        *("mapped_file", "dirty", "writeback", "rss_huge", "pgfault", "pgmajfault"),
        *("workingset_refault_anon", "workingset_refault_file", "pswpin", "pswpout"),
    )
    stat = "".join(
        f"{name} 99\ntotal_{name} {number}\n" for number, name in enumerate(names, start=1)
    )
    group = V1Group(str(fill(tmp_path, V1 | {"memory.stat": stat})))
    sample = group.take(0.0).understand()
    assert group.composition() == Composition(1, 2, 3, 4)
    assert sample.paging == Paging(5, 6, 7, 8, 9, 10)
    group.close()


def test_pressure_of_some_and_of_all_are_told_apart(tmp_path: Path) -> None:
    stall = "avg10=0.00 avg60=0.00 avg300=0.00"
    text = f"some {stall} total=2000000\nfull {stall} total=500000\n"
    group = V2Group(str(fill(tmp_path, V2_6_12 | {"memory.pressure": text})))
    assert group.take(0.0).understand().pressure == Pressure(2.0, 0.5)
    group.close()


@pytest.mark.parametrize(("make", "files"), [(V1Group, V1), (V2Group, V2_6_12)])
def test_members_are_remembered_after_they_end(
    make: Callable[[str], DirectorySource], files: dict[str, str], tmp_path: Path
) -> None:
    group = make(str(fill(tmp_path, files | {"cgroup.procs": "12\n"})))
    inner = fill(tmp_path / "inner", {"cgroup.procs": "13\n"})
    assert group.members() == {12, 13}
    (inner / "cgroup.procs").unlink()
    (tmp_path / "cgroup.procs").write_text("")
    assert group.members() == set()
    assert group.has_seen(12) and group.has_seen(13) and not group.has_seen(14)
    group.close()


def test_nothing_stays_open(tmp_path: Path) -> None:
    fill(tmp_path, V2_6_12)
    before = os.listdir("/proc/self/fd")
    V2Group(str(tmp_path)).close()
    assert os.listdir("/proc/self/fd") == before
    (tmp_path / "memory.stat").unlink()
    (tmp_path / "memory.stat").mkdir()
    with pytest.raises(OSError, match="directory"):
        V2Group(str(tmp_path))
    assert os.listdir("/proc/self/fd") == before
