"""Groups found by what a user knows of them: a path, a process, a container."""

import os
from pathlib import Path

import pytest

from cmemrun.backends.places import find, group_of_container, group_of_process
from cmemrun.errors import BadInput, NoGroup
from cmemrun.kernel.hierarchy import Hierarchy
from tests.backends.made_up import fill, unified

ID = "0123456789abcdef" * 4
OTHER = "01234567fedcba98" * 4


def test_group_by_its_path_as_the_kernel_has_it(tmp_path: Path) -> None:
    hierarchy = unified(tmp_path, "/")
    (tmp_path / "a/b").mkdir(parents=True)
    for path in ("/a/b", f"{tmp_path}/a/b", "/a/../a/b/"):
        assert find(hierarchy, "--cgroup", path) == (hierarchy.v2, f"{tmp_path}/a/b")


@pytest.mark.parametrize(
    "name",
    [
        ID,
        f"docker-{ID}.scope",
        f"libpod-{ID}.scope",
        f"cri-containerd-{ID}.scope",
        f"crio-{ID}",
    ],
)
def test_container_by_the_start_of_its_id(name: str, tmp_path: Path) -> None:
    fill(tmp_path / "machine" / name, {"cgroup.procs": "12\n"})
    fill(tmp_path / "machine" / f"libpod-conmon-{ID}.scope", {"cgroup.procs": "11\n"})
    hierarchy = unified(tmp_path, "/")
    for known in (ID, ID[:12]):
        assert group_of_container(hierarchy, known) == (
            hierarchy.v2,
            f"{tmp_path}/machine/{name}",
        )


def test_container_is_where_all_of_it_lives(tmp_path: Path) -> None:
    """``crun`` puts everything into one group below its scope."""
    scope = tmp_path / f"libpod-{ID}.scope"
    fill(scope / "container", {"cgroup.procs": "12\n"})
    hierarchy = unified(tmp_path, "/")
    assert group_of_container(hierarchy, ID)[1] == f"{scope}/container"
    # Not so where something is beside it, or in the scope itself.
    fill(scope / "container/inner", {"cgroup.procs": "13\n"})
    assert group_of_container(hierarchy, ID)[1] == f"{scope}/container"
    fill(scope, {"cgroup.procs": "14\n"})
    assert group_of_container(hierarchy, ID)[1] == str(scope)
    fill(scope, {"cgroup.procs": ""})
    fill(scope / "beside", {"cgroup.procs": "15\n"})
    assert group_of_container(hierarchy, ID)[1] == str(scope)


def test_group_inside_of_the_same_name_is_not_another_container(tmp_path: Path) -> None:
    inner = fill(tmp_path / f"docker-{ID}.scope" / ID, {"cgroup.procs": "12\n"})
    fill(inner.parent, {"cgroup.procs": "13\n"})
    assert group_of_container(unified(tmp_path, "/"), ID)[1] == str(inner.parent)


def test_container_that_is_not_the_only_one_is_refused(tmp_path: Path) -> None:
    hierarchy = unified(tmp_path, "/")
    with pytest.raises(BadInput, match="no container's group here"):
        group_of_container(hierarchy, ID)
    for one in (ID, OTHER):
        (tmp_path / f"docker-{one}.scope").mkdir()
    # By its start, as docker and podman have it.
    with pytest.raises(BadInput, match="no container's group here"):
        group_of_container(hierarchy, ID[1:13])
    with pytest.raises(BadInput, match="2 containers have"):
        group_of_container(hierarchy, ID[:8])
    for name in ("web", ID[:5], f"{ID}0", ID.upper()):
        with pytest.raises(BadInput, match="is no ID"):
            group_of_container(hierarchy, name)


def group_of(hierarchy: Hierarchy, path: str, monkeypatch: pytest.MonkeyPatch) -> str:
    """Where a process is said to be whose group is ``path``."""
    monkeypatch.setattr(
        Hierarchy, "seen_from", lambda self, _: self._replace(memberships={"": path})
    )
    return group_of_process(hierarchy, 12)[1]


def test_group_of_a_process(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    hierarchy = unified(tmp_path, "/")
    assert group_of(hierarchy, "/a/b", monkeypatch) == f"{tmp_path}/a/b"
    with pytest.raises(NoGroup, match="in the root group, which is the whole machine"):
        group_of(hierarchy, "/", monkeypatch)
    # That of a namespace is a group as any other.
    assert group_of(unified(tmp_path, "/", "/a"), "/a", monkeypatch) == str(tmp_path)
    with pytest.raises(NoGroup, match="outside of what can be seen here"):
        group_of(hierarchy, "/../other", monkeypatch)


def test_group_of_no_process(tmp_path: Path) -> None:
    with pytest.raises(BadInput, match="there is no process"):
        group_of_process(unified(tmp_path, "/"), 2**22 + 1)
    with pytest.raises(NoGroup, match="no cgroup hierarchy"):
        group_of_process(Hierarchy((), {}), os.getpid())
