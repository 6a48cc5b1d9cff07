"""Making a group in v1 and in v2: where, with which controllers, and what refusals become."""

import errno
import os
from collections.abc import Callable
from pathlib import Path

import pytest

from cmemrun.backends import tree, v1, v2
from cmemrun.backends.delegation import OTHERS
from cmemrun.backends.v1 import V1Group
from cmemrun.backends.v2 import V2Group
from cmemrun.errors import BadInput, NoGroup
from cmemrun.kernel.files import write_text
from cmemrun.kernel.hierarchy import Hierarchy, Mount
from cmemrun.model import UNLIMITED, Limits
from tests.backends.made_up import V1, V2_6_12, Heir, fill, legacy, unified

BUSY = OSError(errno.EBUSY, "Device or resource busy")
TOP = {"cgroup.controllers": "cpu memory pids\n", "cgroup.subtree_control": "memory pids\n"}


@pytest.fixture
def written(monkeypatch: pytest.MonkeyPatch) -> list[tuple[str, str]]:
    """What is written to groups, in order; it is written, too."""
    found: list[tuple[str, str]] = []

    def write(path: str, text: str) -> None:
        found.append((path, text))
        write_text(path, text)

    for module in (v1, v2):
        monkeypatch.setattr(module, "write_text", write)
    return found


def kernel_makes(files: dict[str, str], monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Have every directory that is made have files in it, as the kernel does; which are made."""
    made: list[str] = []

    def create(path: str) -> None:
        made.append(path)
        Path(path).mkdir()
        fill(Path(path), files)

    monkeypatch.setattr(tree, "create", create)
    return made


def test_v2_group_is_adopted_before_it_is_made(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whoever is killed in between leaves nothing behind."""
    made = kernel_makes(V2_6_12, monkeypatch)
    adopted: list[tuple[str, bool]] = []
    group = v2.make(
        unified(fill(tmp_path, TOP), "/"), lambda path: adopted.append((path, os.path.exists(path)))
    )
    assert adopted == [(group.where, False)]
    assert made == [group.where]
    assert group.notes == []
    group.close()


def test_controllers_are_enabled_memory_first(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, written: list[tuple[str, str]]
) -> None:
    """Over processes pids alone would make the whole group "domain threaded"."""
    kernel_makes(V2_6_12, monkeypatch)
    fill(tmp_path, TOP | {"cgroup.subtree_control": ""})
    group = v2.make(unified(tmp_path, "/"), lambda _: None)
    control = f"{tmp_path}/cgroup.subtree_control"
    assert written == [(control, "+memory"), (control, "+pids")]
    assert group.notes == [f"enabled below {tmp_path}, and left so: memory and pids"]
    group.close()


def test_group_without_pids_is_a_group(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    kernel_makes(V2_6_12, monkeypatch)
    fill(tmp_path, {"cgroup.controllers": "memory\n", "cgroup.subtree_control": "memory\n"})
    group = v2.make(unified(tmp_path, "/"), lambda _: None)
    assert group.notes == []
    group.close()


@pytest.mark.parametrize("may_divide", [True, False])
def test_group_that_holds_processes_is_divided_where_we_may(
    may_divide: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    made = kernel_makes(V2_6_12, monkeypatch)
    fill(tmp_path, TOP | {"cgroup.subtree_control": ""})
    divided: list[str] = []

    def refuse(path: str, _: str) -> None:
        if not divided:
            raise BUSY
        fill(tmp_path, {"cgroup.subtree_control": "memory pids\n"})

    def divide(top: str) -> None:
        divided.append(top)
        fill(tmp_path, {"cgroup.subtree_control": "memory\n"})

    monkeypatch.setattr(v2, "write_text", refuse)
    monkeypatch.setattr(v2, "divide", divide)
    hierarchy = unified(tmp_path, "/")
    if not may_divide:
        with pytest.raises(NoGroup, match="it holds processes"):
            v2.make(hierarchy, lambda _: None)
        assert divided == made == []
        return
    group = v2.make(hierarchy, lambda _: None, places=[str(tmp_path)], may_divide=True)
    assert divided == [str(tmp_path)]
    assert group.notes == [
        f"enabled below {tmp_path}, and left so: memory and pids",
        f"the processes that were in {tmp_path} itself are in {OTHERS} below it now",
    ]
    group.close()


def test_place_that_refuses_for_another_reason_is_not_divided(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    fill(tmp_path, TOP | {"cgroup.subtree_control": ""})

    def refuse(path: str, _: str) -> None:
        raise PermissionError(errno.EACCES, "Permission denied")

    monkeypatch.setattr(v2, "write_text", refuse)
    monkeypatch.setattr(v2, "divide", lambda _: pytest.fail("divided"))
    with pytest.raises(NoGroup, match="cannot hand the memory controller on: Permission denied"):
        v2.make(unified(tmp_path, "/"), lambda _: None, places=[str(tmp_path)], may_divide=True)


def test_next_place_is_tried_and_nothing_is_left_in_the_first(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    inner = fill(tmp_path / "job", TOP)
    fill(tmp_path, TOP)

    def create(path: str) -> None:
        Path(path).mkdir()
        if Path(path).parent == tmp_path:
            fill(Path(path), V2_6_12)

    monkeypatch.setattr(tree, "create", create)
    group = v2.make(unified(tmp_path, "/job"), lambda _: None)
    assert Path(group.where).parent == tmp_path
    assert sorted(path.name for path in inner.iterdir()) == sorted(TOP)
    group.close()


@pytest.mark.parametrize(("before", "after"), [("0\n", "1\n"), ("1\n", "1\n")])
def test_v1_group_counts_those_made_inside(
    before: str, after: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Before Linux 5.11 that has to be asked for."""
    kernel_makes(V1 | {"memory.use_hierarchy": before}, monkeypatch)
    group = v1.make(legacy(tmp_path, "/"), lambda _: None)
    assert Path(group.where, "memory.use_hierarchy").read_text() == after
    group.close()


def beside(tmp_path: Path, *kinds: str) -> Hierarchy:
    """A v1 memory hierarchy with others beside it."""
    mounts = [Mount(f"{tmp_path}/memory", "/", 1, frozenset({"memory"}))]
    mounts += [Mount(f"{tmp_path}/{kind}", "/", 1, frozenset({kind})) for kind in kinds if kind]
    if "" in kinds:
        mounts.append(Mount(f"{tmp_path}/unified", "/", 2, frozenset()))
    for mount in mounts:
        Path(mount.point).mkdir()
    return Hierarchy(tuple(mounts), dict.fromkeys(("memory", *kinds), "/"))


@pytest.mark.parametrize(
    ("kinds", "used"),
    [
        ((), []),
        (("freezer",), ["freezer"]),
        # What ends all at once is better than what freezes them first.
        (("freezer", ""), ["unified"]),
        (("pids", "freezer"), ["freezer", "pids"]),
    ],
)
def test_v1_group_has_companions(
    kinds: tuple[str, ...], used: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    kernel_makes(V1, monkeypatch)
    heir = Heir()
    group = v1.make(beside(tmp_path, *kinds), heir.adopt)
    tops = [Path(one).parent.name for one in group.directories]
    assert tops == ["memory", *used]
    assert len({Path(one).name for one in group.directories}) == 1
    # All of them are somebody's to remove.
    assert set(group.directories) <= set(heir.paths)
    group.close()


def test_v1_tasks_are_the_companions(tmp_path: Path) -> None:
    companion = fill(tmp_path / "pids", {"pids.current": "5\n", "pids.max": "9\n"})
    group = V1Group(str(fill(tmp_path / "memory", V1)), (str(companion),))
    assert group.take(0.0).understand().tasks == 5
    assert group.limits().pids_max == 9
    group.close()


def test_companion_that_refuses_the_program_is_given_up(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    fill(tmp_path / "memory", V1 | {"cgroup.procs": ""})
    (tmp_path / "beside").mkdir()
    group = V1Group(f"{tmp_path}/memory", (f"{tmp_path}/beside",))
    group.attach(12)
    assert group.directories == [f"{tmp_path}/memory"]
    assert not (tmp_path / "beside").exists()
    assert (tmp_path / "memory/cgroup.procs").read_text() == "12"
    (tmp_path / "memory/cgroup.procs").unlink()
    with pytest.raises(NoGroup, match="does not take the program"):
        group.attach(12)
    group.close()


def test_v1_counts_inner_kills_once_although_they_are_read_often(tmp_path: Path) -> None:
    group = V1Group(str(fill(tmp_path, V1)))
    for name, kills in (("a", 2), ("b", 3)):
        fill(tmp_path / name, {"memory.oom_control": f"oom_kill {kills}\n"})
    for _ in range(3):
        assert group.take(0.0).understand().events.oom_kill == 1 + 2 + 3
    fill(tmp_path / "a", {"memory.oom_control": "oom_kill 4\n"})
    assert group.take(0.0).understand().events.oom_kill == 1 + 4 + 3
    assert len(group.notes) == 1 and "only where a sample came in between" in group.notes[0]
    group.close()


def test_v1_swap_is_what_may_be_used_beside_memory(tmp_path: Path) -> None:
    files = {
        "memory.limit_in_bytes": "67108864\n",
        "memory.memsw.limit_in_bytes": "100000000\n",
        "memory.soft_limit_in_bytes": "50000000\n",
    }
    group = V1Group(str(fill(tmp_path, V1 | files)))
    limits = group.limits()
    assert (limits.max_bytes, limits.low_bytes) == (67108864, 50000000)
    assert limits.swap_max_bytes == 100000000 - 67108864
    fill(tmp_path, {"memory.memsw.limit_in_bytes": "9223372036854771712\n"})
    assert group.limits().swap_max_bytes is UNLIMITED
    group.close()


def test_v1_swap_limit_is_set_with_that_of_memory(tmp_path: Path) -> None:
    files = dict.fromkeys(("memory.limit_in_bytes", "memory.memsw.limit_in_bytes"), "00000000\n")
    group = V1Group(str(fill(tmp_path, V1 | files)))
    group.limit(Limits(max_bytes=40960000, swap_max_bytes=10000000))
    assert (tmp_path / "memory.memsw.limit_in_bytes").read_text() == "50960000\n"
    with pytest.raises(BadInput, match="it wants --limit"):
        group.limit(Limits(swap_max_bytes=4096))
    with pytest.raises(BadInput, match=r"--high: v1 has no memory\.high"):
        group.limit(Limits(high_bytes=4096))
    group.close()


@pytest.mark.parametrize(
    ("make", "files", "asked", "file"),
    [
        (V2Group, V2_6_12, Limits(max_bytes=40960000), "memory.max"),
        (V2Group, V2_6_12, Limits(high_bytes=40960000), "memory.high"),
        (V2Group, V2_6_12, Limits(low_bytes=40960000), "memory.low"),
        (V2Group, V2_6_12, Limits(min_bytes=40960000), "memory.min"),
        (V2Group, V2_6_12, Limits(swap_max_bytes=40960000), "memory.swap.max"),
        (V2Group, V2_6_12, Limits(zswap_max_bytes=40960000), "memory.zswap.max"),
        (V2Group, V2_6_12, Limits(pids_max=40960000), "pids.max"),
        (V1Group, V1, Limits(max_bytes=40960000), "memory.limit_in_bytes"),
        (V1Group, V1, Limits(low_bytes=40960000), "memory.soft_limit_in_bytes"),
        (V1Group, V1, Limits(pids_max=40960000), "pids.max"),
    ],
)
def test_each_limit_has_its_file(
    make: Callable[[str], V1Group | V2Group],
    files: dict[str, str],
    asked: Limits,
    file: str,
    tmp_path: Path,
) -> None:
    group = make(str(fill(tmp_path, files | {file: "12345678\n"})))
    before = {path.name: path.read_bytes() for path in tmp_path.iterdir()}
    told = group.limit(asked)
    after = {path.name: path.read_bytes() for path in tmp_path.iterdir()}
    assert {name for name, text in after.items() if before[name] != text} == {file}
    assert after[file] == b"40960000\n"
    for name, value in asked._asdict().items():
        if value is not None and name != "files":
            assert getattr(told, name) == value
    group.close()


def test_limit_below_a_page_is_refused(tmp_path: Path) -> None:
    """The kernel rounds it down to 0 and kills whoever comes."""
    group = V2Group(str(fill(tmp_path, V2_6_12)))
    with pytest.raises(BadInput, match="less than a page"):
        group.limit(Limits(max_bytes=os.sysconf("SC_PAGESIZE") - 1))
    assert (tmp_path / "memory.max").read_text() == "max\n"
    group.close()


def test_refused_limit_is_a_note_unless_we_are_strict(tmp_path: Path) -> None:
    group = V2Group(str(fill(tmp_path, V2_6_12)))
    group.limit(Limits(high_bytes=4096), strict=False)
    assert len(group.notes) == 1 and group.notes[0].startswith("not set: --high")
    with pytest.raises(BadInput, match="--high"):
        group.limit(Limits(high_bytes=4096))
    group.close()


@pytest.mark.parametrize(
    "name", ["cgroup.procs", "cgroup.kill", "../memory.max", "memory", "tasks"]
)
def test_only_a_controllers_file_can_be_set(name: str, tmp_path: Path) -> None:
    group = V2Group(str(fill(tmp_path, V2_6_12 | {"cgroup.procs": "", "tasks": ""})))
    with pytest.raises(BadInput, match="no file of a controller's"):
        group.limit(Limits(files=((name, "1"),)))
    group.close()


def test_file_that_was_set_is_told_as_the_kernel_has_it(tmp_path: Path) -> None:
    fill(tmp_path / "group", V2_6_12)
    group = V2Group(f"{tmp_path}/group")
    fill(tmp_path / "group", {"memory.swap.high": "max     \n"})
    assert group.limit(Limits(files=(("memory.swap.high", "1G"),))).files == (
        ("memory.swap.high", "1Gx"),
    )
    group.close()


@pytest.mark.parametrize(
    ("path", "root"),
    [
        ("/a/cmemrun-1-abc", "/a/cmemrun-1-abc"),
        ("/a/cmemrun-1-abc/inner/innermost", "/a/cmemrun-1-abc"),
        ("/a/cmemrun-1-abcd", None),
        ("/a", None),
    ],
)
def test_group_is_found_in_the_kernels_paths(path: str, root: str | None, tmp_path: Path) -> None:
    group = V2Group(str(fill(tmp_path / "cmemrun-1-abc", V2_6_12)))
    assert group.root_in(path) == root
    group.close()
