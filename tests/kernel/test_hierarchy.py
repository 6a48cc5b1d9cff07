"""Detection on made-up machines, each as a real one looked."""

from itertools import islice
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cmemrun.errors import KernelTextError, NoGroup
from cmemrun.kernel.hierarchy import (
    Hierarchy,
    Layout,
    ancestors,
    detect,
    parse_memberships,
    parse_mounts,
)

TMPFS = "31 23 0:28 / /sys/fs/cgroup rw,relatime - tmpfs tmpfs rw,mode=755\n"
MEMORY = "35 31 0:32 / /sys/fs/cgroup/memory rw,relatime - cgroup cgroup rw,memory\n"
CPU = "33 31 0:30 / /sys/fs/cgroup/cpu,cpuacct rw - cgroup cgroup rw,cpu,cpuacct\n"
SYSTEMD = "40 31 0:37 / /sys/fs/cgroup/systemd rw - cgroup cgroup rw,name=systemd\n"
BESIDE = "41 31 0:38 / /sys/fs/cgroup/unified rw,relatime - cgroup2 cgroup2 rw\n"
UNIFIED = "26 23 0:23 / /sys/fs/cgroup rw,nosuid shared:4 - cgroup2 cgroup2 rw,nsdelegate\n"


def machine(tmp_path: Path, mountinfo: str, cgroup: str) -> Hierarchy:
    proc = tmp_path / "proc/self"
    proc.mkdir(parents=True)
    (proc / "mountinfo").write_text("22 1 8:1 / / rw - ext4 /dev/vda rw\n" + mountinfo)
    (proc / "cgroup").write_text(cgroup)
    return detect(str(tmp_path))


def test_unified(tmp_path: Path) -> None:
    found = machine(tmp_path, UNIFIED, "0::/user.slice/session-1.scope\n")
    assert found.layout is Layout.UNIFIED
    assert found.v2 is not None and found.v1("memory") is None
    own = found.own_group(found.v2)
    assert own == f"{tmp_path}/sys/fs/cgroup/user.slice/session-1.scope"
    top = f"{tmp_path}/sys/fs/cgroup"
    assert list(ancestors(own, found.v2)) == [own, f"{top}/user.slice", top]


def test_memory_on_v1_beside_a_v2_tree_without_it(tmp_path: Path) -> None:
    found = machine(
        tmp_path, TMPFS + MEMORY + CPU + BESIDE, "4:memory:/a:b/c\n3:cpu,cpuacct:/\n0::/\n"
    )
    assert found.layout is Layout.HYBRID
    memory = found.v1("memory")
    assert memory is not None
    # Only the first two colons divide.
    assert found.own_group(memory) == f"{tmp_path}/sys/fs/cgroup/memory/a:b/c"
    assert found.v2 is not None
    assert found.own_group(found.v2) == f"{tmp_path}/sys/fs/cgroup/unified"
    cpu = found.v1("cpuacct")
    assert cpu is not None and found.own_group(cpu) == cpu.point


def test_legacy(tmp_path: Path) -> None:
    found = machine(tmp_path, TMPFS + MEMORY + SYSTEMD, "2:name=systemd:/x\n1:memory:/x\n")
    assert found.layout is Layout.LEGACY
    systemd = found.v1("name=systemd")
    assert systemd is not None
    assert found.own_group(systemd) == f"{tmp_path}/sys/fs/cgroup/systemd/x"


def test_nothing_at_all(tmp_path: Path) -> None:
    assert machine(tmp_path, TMPFS, "").layout is Layout.NONE
    with pytest.raises(NoGroup, match="mountinfo"):
        detect(str(tmp_path / "no-proc"))


def test_a_container_that_sees_the_hosts_path(tmp_path: Path) -> None:
    mount = MEMORY.replace("0:32 / ", "0:32 /docker/abc ")
    found = machine(tmp_path, TMPFS + mount, "4:memory:/docker/abc/job\n")
    memory = found.v1("memory")
    assert memory is not None
    assert found.own_group(memory) == f"{memory.point}/job"
    assert found.own_group(memory) is not None


@pytest.mark.parametrize("path", ["/..", "/../sibling", "/gone (deleted)", "/docker/other"])
def test_a_group_that_cannot_be_seen_from_here(tmp_path: Path, path: str) -> None:
    mount = UNIFIED.replace("0:23 / ", "0:23 /docker/abc ") if "docker" in path else UNIFIED
    found = machine(tmp_path, mount, f"0::{path}\n")
    assert found.v2 is not None
    assert found.own_group(found.v2) is None


def test_a_mount_from_before_the_namespace(tmp_path: Path) -> None:
    found = machine(tmp_path, UNIFIED.replace("0:23 / ", "0:23 /.. "), "0::/\n")
    assert found.v2 is not None
    assert found.own_group(found.v2) is None


def test_a_later_mount_hides_what_it_covers() -> None:
    over = TMPFS.replace("31 23", "50 31")
    assert parse_mounts((TMPFS + MEMORY + over).encode()) == ()
    [seen] = parse_mounts((TMPFS + MEMORY + over + UNIFIED).encode())
    assert seen.version == 2


def test_odd_names() -> None:
    [mount] = parse_mounts(UNIFIED.replace("/sys/fs/cgroup", "/a\\040b\\134\\011").encode())
    assert mount.point == "/a b\\\t"


def test_the_innermost_mount_of_a_path(tmp_path: Path) -> None:
    found = machine(tmp_path, UNIFIED + MEMORY, "0::/\n")
    inner = found.mount_of(f"{tmp_path}/sys/fs/cgroup/memory/x")
    assert inner is not None and inner.version == 1
    assert found.mount_of("/elsewhere") is None
    assert found.mount_of(f"{tmp_path}/sys/fs/cgroupies") is None


@pytest.mark.parametrize("line", ["x\n", "1 2 3 - cgroup\n", "35 31 0:32 / /m rw cgroup c rw\n"])
def test_a_line_we_do_not_understand(line: str) -> None:
    with pytest.raises(KernelTextError):
        parse_mounts(line.encode())
    with pytest.raises(KernelTextError):
        parse_memberships(b"0:no second colon\n")


@given(st.binary(max_size=400))
def test_hostile_bytes(text: bytes) -> None:
    for parse in (parse_mounts, parse_memberships):
        try:
            parse(text)
        except KernelTextError:
            continue


def test_this_very_machine() -> None:
    found = detect()
    assert found.layout is not Layout.NONE
    mount = found.v1("memory") or found.v2
    assert mount is not None
    own = found.own_group(mount)
    assert own is not None and Path(own, "cgroup.procs").exists()


def test_memory_is_where_v1_has_it_and_else_on_v2(tmp_path: Path) -> None:
    hybrid = machine(tmp_path / "a", TMPFS + MEMORY + BESIDE, "4:memory:/\n0::/\n")
    assert hybrid.memory is not None and hybrid.memory.version == 1
    unified = machine(tmp_path / "b", UNIFIED, "0::/\n")
    assert unified.memory is not None and unified.memory.version == 2
    assert machine(tmp_path / "c", TMPFS, "").memory is None


def test_ancestors_end_at_the_mount(tmp_path: Path) -> None:
    found = machine(tmp_path, UNIFIED, "0::/\n")
    assert found.v2 is not None
    point = found.v2.point
    assert list(ancestors(f"{point}/a/b", found.v2)) == [f"{point}/a/b", f"{point}/a", point]
    assert list(ancestors("/elsewhere/a", found.v2)) == []
    everything = found.v2._replace(point="/")
    assert list(islice(ancestors("/a", everything), 9)) == ["/a", "/"]


def test_group_beside_the_mounts_root_is_not_seen(tmp_path: Path) -> None:
    mount = UNIFIED.replace("0:23 / ", "0:23 /docker/abc ")
    found = machine(tmp_path, mount, "0::/docker/abcdef\n")
    assert found.v2 is not None and found.own_group(found.v2) is None
