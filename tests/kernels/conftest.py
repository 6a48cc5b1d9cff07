"""The same acceptance tests on every kernel: here, and in guests by ``scripts/kernels test``."""

import contextlib
import ctypes
import os
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from cmemrun.backends import tree
from tests.conftest import hierarchy_of_memory, in_guest

LOADS = str(Path(__file__).with_name("loads.py"))
MIB = 2**20
PR_SET_THP_DISABLE = 41
WITHOUT_KMSG = ("unshare", "-m", "sh", "-c", 'mount --bind /dev/null /dev/kmsg; exec "$@"', "-")
"""What is run behind this finds the kernel log's device put out of sight."""


def linux() -> tuple[int, ...]:
    """The first two numbers of this kernel's release."""
    return tuple(map(int, os.uname().release.split("-")[0].split("+")[0].split(".")[:2]))


@pytest.fixture
def load(cmemrun: Callable[..., Any]) -> Callable[..., Any]:
    """Measure one of the known loads: ``load("anon", "64")``, ``options=[…]`` for cmemrun's own."""

    def run(*arguments: str, options: tuple[str, ...] = (), **more: Any) -> Any:
        return cmemrun(*options, "--", sys.executable, "-S", "-E", LOADS, *arguments, **more)

    return run


def make_group(parent: str, name: str) -> str:
    """A group in another one, which on v2 has to hand the controller on."""
    path = f"{parent}/{name}"
    if hierarchy_of_memory()[0].version == 2:
        Path(parent, "cgroup.subtree_control").write_text("+memory")
    os.mkdir(path)
    return path


def limit_group(path: str, max_bytes: int) -> None:
    """As somebody may do it with a group of theirs."""
    version = hierarchy_of_memory()[0].version
    limit = "memory.max" if version == 2 else "memory.limit_in_bytes"
    Path(path, limit).write_text(str(max_bytes))


@contextlib.contextmanager
def made_group(name: str, max_bytes: int | None = None) -> Iterator[str]:
    """A group beside ours that somebody else might have made, with a limit perhaps."""
    # On v2 the tests start in the root group, which alone may have both
    # processes and groups with controllers.
    path = make_group(hierarchy_of_memory()[1], name)
    hierarchical = Path(path, "memory.use_hierarchy")
    if hierarchical.exists() and hierarchical.read_text() == "0\n":  # before Linux 5.11
        hierarchical.write_text("1")
    if max_bytes is not None:
        limit_group(path, max_bytes)
    try:
        yield path
    finally:
        assert tree.end([path], 10.0)


@pytest.fixture
def disk(tmp_path: Path) -> str:
    """A directory on a real disk, where a file's pages are page cache and not shmem."""
    if in_guest():
        return "/mnt"
    assert os.statvfs(tmp_path).f_bavail, "no room"
    return os.environ.get("CMEMRUN_TEST_DISK", "/var/tmp")


@pytest.fixture
def without_huge_pages() -> Iterator[None]:
    """For what is told apart more closely than a huge page is large.

    Where all memory may be in them (``always``), khugepaged adds up to 2 MiB to whatever runs
    when it comes by. Children inherit it (``MMF_INIT_MASK``).
    """
    prctl = ctypes.CDLL(None).prctl
    assert prctl(PR_SET_THP_DISABLE, 1, 0, 0, 0) == 0
    yield
    assert prctl(PR_SET_THP_DISABLE, 0, 0, 0, 0) == 0
