"""The same acceptance tests on every kernel: here, and in guests by ``scripts/guest test``."""

import ctypes
import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.conftest import Cmemrun, Result
from tests.loads import LOAD, Hold

PR_SET_THP_DISABLE = 41


@pytest.fixture
def hold(tmp_path: Path) -> Iterator[Hold]:
    """What loads hold for until the test, or its end, releases it."""
    with Hold(tmp_path) as held:
        yield held


@pytest.fixture
def load(cmemrun: Cmemrun, tmp_path: Path) -> Callable[..., Result]:
    """Measure one of the known loads: ``load("anon", "64")``, ``options=[…]`` for cmemrun's own.

    ``held``: it holds until it was sampled at its height. ``seen``: until the samples show that.
    """

    def run(
        *arguments: str,
        options: tuple[str, ...] = (),
        held: bool = False,
        loads: int = 1,
        seen: Callable[..., bool] | None = None,
        **more: Any,
    ) -> Result:
        if not held and seen is None:
            return cmemrun(*options, "--", *LOAD, *arguments, **more)
        hold = Hold(tmp_path)
        if "--refresh" not in options:
            options = (*options, "--refresh", "100ms")
        with hold.until_sampled(loads) if seen is None else hold.until(seen, loads):
            return cmemrun(*hold.options, *options, "--", *LOAD, *arguments, str(hold), **more)

    return run


@pytest.fixture
def disk() -> str:
    """A directory on a real disk, where a file's pages are page cache and not shmem.

    A guest has one at /mnt.
    """
    usual = "/mnt" if os.path.ismount("/mnt") else "/var/tmp"
    found = os.environ.get("CMEMRUN_TEST_DISK", usual)
    assert os.statvfs(found).f_bavail, f"no room in {found}"
    return found


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
